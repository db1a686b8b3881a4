//! The race on rollback-core.

use std::convert::Infallible;
use std::error::Error;

use rollback_core::{
    Advance, Event, Facts, Game, Input, Outcome, Output, PeerId, PlayerHandle, Roster, Session,
    SessionConfig, StateHasher, Step, Ticket, Timestamp,
};

use crate::race::{Keys, Race};
use crate::wire::Wire;

/// One player's computer.
pub struct Computer {
    /// The race as it is shown.
    pub race: Race,
    session: Session<Race>,
    player: PlayerHandle,
    other: PeerId,
    wire: Wire,
}

impl Computer {
    /// The computer of peer `local`, which hosts player `local`, with a wire to the other one.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn new(local: u8, wire: Wire) -> Result<Self, Box<dyn Error>> {
        let config = SessionConfig::builder().players(2).input_delay_frames(2).build()?;
        let roster = Roster::one_player_each(2)?;
        let local = PeerId::new(local).ok_or("a peer is 0 to 7")?;
        let player = roster.players_of(local).next().ok_or("a peer of two")?;
        let other = roster.peers().without(local).lowest().ok_or("two peers")?;
        let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
        let race = Race::default();
        let session = Session::new(&config, &ticket, Facts::default(), &race, Timestamp::ZERO)?;
        Ok(Self { race, session, player, other, wire })
    }

    /// One turn of the game's loop, every 1/60 s. Answers whether the race is over.
    ///
    /// # Errors
    /// When the two cannot play together.
    pub fn tick(
        &mut self,
        now: Timestamp,
        keys: impl FnOnce(u32) -> Keys,
    ) -> Result<bool, Box<dyn Error>> {
        while let Some(bytes) = self.wire.receive() {
            self.session.handle_datagram(now, self.other, &bytes);
        }
        let keys = keys(self.session.current_frame().index());
        self.session.set_local_input(self.player, &keys)?;
        let advance = self.session.advance_frame(now, &mut self.race)?;
        while let Some(output) = self.session.poll_output(now) {
            match output {
                Output::Datagram { bytes, .. } => self.wire.send(bytes),
                Output::Event(Event::Desync(desync)) => println!("{desync:?}"),
                Output::Event(_) | Output::Stable(_) => {}
            }
        }
        // An end is told when it is final on both sides.
        Ok(matches!(advance, Advance::Ended(_)))
    }

    /// How many times it went back.
    #[must_use]
    pub fn rollbacks(&self) -> u64 {
        self.session.counters().rollback.rollbacks
    }
}

impl Game for Race {
    type Input = Keys;
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

    fn step(&mut self, step: &Step<'_, Keys>) -> Result<Outcome, Infallible> {
        let mut keys = step.inputs();
        self.advance([keys.next(), keys.next()].map(Option::unwrap_or_default));
        Ok(if self.is_over() { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u32(slot.frame);
        hasher.write_i32s(&slot.position);
        hasher.write_i32s(&slot.speed);
        Ok(())
    }
}

impl Input for Keys {
    const WIDTH: usize = 1;

    fn write(&self, bytes: &mut [u8]) {
        bytes.fill(u8::from(self.row) | u8::from(self.brake) << 1);
    }

    fn read(bytes: &[u8]) -> Self {
        let bits = bytes.first().copied().unwrap_or_default();
        Self { row: bits & 1 != 0, brake: bits & 2 != 0 }
    }
}
