//! The scenario on this project's engine.

#![expect(clippy::expect_used, reason = "what cannot even start ends the scenario")]

use std::convert::Infallible;

use rollback_benches::{
    game::{self, Inputs},
    workload::TICK_NS,
};
use rollback_core::{
    Event, Facts, Game, Outcome, Output, PeerId, PlayerHandle, Roster, Session, SessionConfig,
    StateHasher, Step, Ticket, Timestamp,
};

use super::{Computer, History, PLAYERS, TIMEOUT, Wires, inputs};

/// The computer of player `me`.
///
/// # Panics
/// When the engine refuses a configuration that is in range.
#[must_use]
pub(crate) fn computer(me: usize, wires: Wires) -> Box<dyn Computer> {
    let world = World(game::Game::new(STATE_BYTES));
    let config = SessionConfig::builder().players(PLAYERS).departure_timeout(TIMEOUT).build();
    let config = config.expect("values in range");
    let roster = Roster::one_player_each(PLAYERS).expect("a small roster");
    let local = peer(me).expect("a peer of three");
    let player = roster.players_of(local).next().expect("a player each");
    let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
    let session = Session::new(&config, &ticket, Facts::default(), &world, Timestamp::ZERO);
    Box::new(OnRollback {
        session: session.expect("a session that fits its game"),
        world,
        inputs: inputs(),
        history: History::default(),
        player,
        wires,
    })
}

struct OnRollback {
    session: Session<World>,
    world: World,
    inputs: Inputs,
    history: History,
    player: PlayerHandle,
    wires: Wires,
}

impl Computer for OnRollback {
    fn tick(&mut self, tick: u64) -> Result<(), String> {
        let now = Timestamp::from_micros(tick * TICK_NS / 1000);
        while let Some((from, bytes)) = self.wires.receive() {
            if let Some(from) = peer(from) {
                self.session.handle_datagram(now, from, &bytes);
            }
        }
        let frame = u64::from(self.session.current_frame().index());
        let input = self.inputs.of(self.player.index(), frame);
        let given = self.session.set_local_input(self.player, &input);
        given.map_err(|error| error.to_string())?;
        let advanced = self.session.advance_frame(now, &mut self.world);
        advanced.map_err(|error| error.to_string())?;
        while let Some(output) = self.session.poll_output(now) {
            match output {
                Output::Datagram { to, bytes } => self.wires.send(to.index(), bytes.to_vec()),
                Output::Event(Event::ViewChanged { cut, .. }) => {
                    self.history.cut = Some(cut.index() as usize);
                }
                Output::Event(_) => {}
                Output::Stable(frame) => {
                    self.history.rows.push(frame.inputs.try_into().expect("a byte a player"));
                }
            }
        }
        Ok(())
    }

    fn history(&self) -> History {
        self.history.clone()
    }
}

struct World(game::Game);

impl Game for World {
    type Input = u8;
    type Snapshot = Box<[u64]>;
    type Error = Infallible;

    fn save(&self, slot: &mut Box<[u64]>) -> Result<(), Infallible> {
        if slot.is_empty() {
            *slot = self.0.empty_slot();
        }
        self.0.save_to(slot);
        Ok(())
    }

    fn load(&mut self, slot: &Box<[u64]>) -> Result<(), Infallible> {
        self.0.load_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Infallible> {
        self.0.step(step.inputs());
        Ok(Outcome::Running)
    }

    fn hash(&self, slot: &Box<[u64]>, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u64s(slot);
        Ok(())
    }
}

fn peer(index: usize) -> Option<PeerId> {
    u8::try_from(index).ok().and_then(PeerId::new)
}

const STATE_BYTES: usize = 64;
