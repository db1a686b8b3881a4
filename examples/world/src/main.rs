//! A game whose state lives in the application's world, here that of the entity component system `hecs`: the engine keeps no
//! state, it is handed the world in each call. Two computers in one process play; each datagram is under way for five frames.
//!
//! ```text
//! cargo run -p rollback-world
//! ```

mod arena;

use std::collections::VecDeque;
use std::error::Error;

use arena::Arena;
use hecs::World;
use rollback_core::{
    Advance, Facts, Frame, Output, PeerId, PlayerHandle, Roster, Session, SessionConfig, Ticket,
    Timestamp,
};

/// An entity of the application that is none of the simulation's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Camera {
    frames_shown: u32,
}

/// One computer.
struct Computer {
    arena: Arena,
    session: Session<Arena>,
    player: PlayerHandle,
    other: PeerId,
    /// What is under way to this computer: when it arrives, and what.
    incoming: VecDeque<(u32, Vec<u8>)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    for computer in play()? {
        let rollbacks = computer.session.counters().rollback.rollbacks;
        println!("hits {:?}, {rollbacks} rollbacks", computer.arena.hits());
    }
    Ok(())
}

fn play() -> Result<[Computer; 2], Box<dyn Error>> {
    let [mut one, mut other] = [Computer::new(0)?, Computer::new(1)?];
    for tick in 0..TICKS_MAX {
        let one_is_over = one.turn(tick, &mut other.incoming)?;
        let other_is_over = other.turn(tick, &mut one.incoming)?;
        if one_is_over && other_is_over {
            return Ok([one, other]);
        }
    }
    Err("the game does not end".into())
}

impl Computer {
    fn new(local: u8) -> Result<Self, Box<dyn Error>> {
        let mut world = World::new();
        world.spawn((Camera { frames_shown: 0 },));
        let arena = Arena::new(world);

        let config = SessionConfig::builder().players(2).input_delay_frames(1).build()?;
        let roster = Roster::one_player_each(2)?;
        let local = PeerId::new(local).ok_or("a peer is 0 to 7")?;
        let player = roster.players_of(local).next().ok_or("a peer of two")?;
        let other = roster.peers().without(local).lowest().ok_or("two peers")?;
        let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
        let session = Session::new(&config, &ticket, Facts::default(), &arena, Timestamp::ZERO)?;
        Ok(Self { arena, session, player, other, incoming: VecDeque::new() })
    }

    /// One turn of the game's loop. Answers whether the game is over.
    fn turn(
        &mut self,
        tick: u32,
        outgoing: &mut VecDeque<(u32, Vec<u8>)>,
    ) -> Result<bool, Box<dyn Error>> {
        let now = Timestamp::from_micros(u64::from(tick) * 16_667);
        let arrived = self.incoming.partition_point(|(due, _)| *due <= tick);
        for (_, bytes) in self.incoming.drain(..arrived) {
            self.session.handle_datagram(now, self.other, &bytes);
        }
        let keys = keys(self.player, self.session.current_frame());
        self.session.set_local_input(self.player, &keys)?;
        // The world goes in, and comes back a frame later.
        let advance = self.session.advance_frame(now, &mut self.arena)?;
        while let Some(output) = self.session.poll_output(now) {
            if let Output::Datagram { bytes, .. } = output {
                outgoing.push_back((tick + DELAY_TICKS, bytes.to_vec()));
            }
        }
        self.show();
        Ok(matches!(advance, Advance::Ended(_)))
    }

    /// The application's own systems run as ever.
    fn show(&mut self) {
        for camera in self.arena.world.query_mut::<&mut Camera>() {
            camera.frames_shown += 1;
        }
    }
}

/// What the players do, in place of a keyboard.
fn keys(player: PlayerHandle, frame: Frame) -> u8 {
    let (frame, player) = (frame.index(), u32::try_from(player.index()).unwrap_or_default());
    let steer = 1 << ((frame / (9 + 4 * player)) % 4);
    let fires = frame % (7 + player) == 0;
    steer | u8::from(fires) << 4
}

/// How long a datagram is under way.
const DELAY_TICKS: u32 = 5;

/// Many times what the game takes.
const TICKS_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use rollback_core::{Game, SyncTest};

    use super::*;

    #[test]
    fn both_worlds_end_alike_after_rollbacks() {
        let [one, other] = play().unwrap();
        let states = [&one, &other].map(|computer| {
            let mut rows = Default::default();
            computer.arena.save(&mut rows).unwrap();
            rows
        });
        assert_eq!(states[0], states[1]);
        assert!(one.arena.hits().iter().all(|hits| *hits > 0), "{:?}", one.arena.hits());
        for computer in [&one, &other] {
            assert!(computer.session.counters().rollback.rollbacks > 10);
        }
    }

    #[test]
    fn what_is_the_applications_own_is_not_rolled_back() {
        let [one, _] = play().unwrap();
        let mut query = one.arena.world.query::<&Camera>();
        let cameras: Vec<Camera> = query.iter().copied().collect();
        assert!(matches!(cameras[..], [Camera { frames_shown: 600.. }]), "{cameras:?}");
    }

    #[test]
    fn the_world_comes_back_to_what_it_was() {
        let report = SyncTest::new(2)
            .frames(1_000)
            .run(&mut Arena::new(World::new()), |frame, player| keys(player, frame))
            .unwrap();
        assert!(report.ended, "{report:?}");
    }
}
