//! A game loop of `rollback-webrtc` on the data channels of `matchbox_socket`, for an application that has them already. With a
//! `matchbox_server` on this computer, in two terminals:
//!
//! ```text
//! cargo run -p rollback-matchbox -- ws://127.0.0.1:3536/duel
//! ```

mod transport;

use std::convert::Infallible;
use std::env;
use std::error::Error;

use rollback_core::{
    Advance, End, Facts, Game, Outcome, PeerSet, SessionConfig, StateHasher, Step,
};
use rollback_webrtc::{EpisodeSetup, GameLoop, START_TIMEOUT};
use transport::MatchboxTransport;

/// Two players push towards a hundred.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Duel {
    x: [i32; 2],
}

fn main() -> Result<(), Box<dyn Error>> {
    let room = env::args().nth(1).ok_or("expected the link of a room")?;
    let (end, duel) = play(&room)?;
    println!("{end:?} {duel:?}");
    Ok(())
}

fn play(room: &str) -> Result<(End, Duel), Box<dyn Error>> {
    let transport = MatchboxTransport::join(room, 2)?;
    let setup = EpisodeSetup {
        config: SessionConfig::builder().players(2).input_delay_frames(2).build()?,
        ticket: transport.ticket()?,
        facts: Facts::default(),
        recording: None,
        participants: vec![String::new(); 2],
        late: PeerSet::EMPTY,
        completed_episodes: 0,
        start_timeout: START_TIMEOUT,
        rejoins: false,
    };
    let local = setup.ticket.local;
    let mut duel = Duel::default();
    let mut episode = GameLoop::new(transport, setup, &duel)?;
    let end = loop {
        let frame = episode.session().current_frame().index();
        let push = i8::from(!frame.is_multiple_of(3 + u32::from(local.slot())));
        episode.set_local_input(&push)?;
        if let Advance::Ended(end) = episode.advance_frame(&mut duel)? {
            break end;
        }
        episode.sleep_until_next_frame();
    };
    episode.finish(&mut duel)?;
    Ok((end, duel))
}

impl Game for Duel {
    type Input = i8;
    type Snapshot = Self;
    type Error = Infallible;

    fn save(&self, slot: &mut Self) -> Result<(), Infallible> {
        slot.clone_from(self);
        Ok(())
    }

    fn load(&mut self, slot: &Self) -> Result<(), Infallible> {
        self.clone_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> {
        for (x, push) in self.x.iter_mut().zip(step.inputs()) {
            *x += i32::from(push);
        }
        Ok(if self.x.contains(&100) { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_i32s(&slot.x);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use matchbox_signaling::SignalingServer;
    use rollback_core::EndCause;

    use super::*;

    #[test]
    fn two_members_of_a_room_end_in_the_same_state() {
        let mut server = SignalingServer::full_mesh_builder((Ipv4Addr::LOCALHOST, 0)).build();
        let address = server.bind().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.spawn(server.serve());
        let room = format!("ws://{address}/duel");
        let threads = [room.clone(), room]
            .map(|room| thread::spawn(move || play(&room).map_err(|error| error.to_string())));
        let [one, other] = threads.map(|thread| thread.join().unwrap().unwrap());
        assert_eq!(one, other);
        assert_eq!(one.0.cause, EndCause::Finished);
        assert!(one.1.x.contains(&100));
        runtime.shutdown_background();
    }
}
