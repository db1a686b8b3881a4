//! A journal of a session: every call into it, and every answer of the game and the predictor.
//!
//! A session reads no clock and no random numbers: it is a function of its calls and of what it is answered. So its
//! journal plays the whole session again, bit for bit, on any computer and without the game; what went wrong once can be
//! looked at call by call, with a debugger, on an engine that has been changed since.
//!
//! ```
//! # use core::convert::Infallible;
//! # use rollback_core::*;
//! use rollback_core::journal::JournalReplay;
//! # #[derive(Clone, Default)] struct Duel { x: [i32; 2] }
//! # impl Game for Duel {
//! #     type Input = i8; type Snapshot = Self; type Error = Infallible;
//! #     fn save(&self, slot: &mut Self) -> Result<(), Infallible> { slot.clone_from(self); Ok(()) }
//! #     fn load(&mut self, slot: &Self) -> Result<(), Infallible> { self.clone_from(slot); Ok(()) }
//! #     fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> { Ok(Outcome::Running) }
//! #     fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> { hasher.write_i32s(&slot.x); Ok(()) }
//! # }
//! # let config = SessionConfig::builder().players(1).build()?;
//! # let local = PeerId::new(0).unwrap();
//! # let ticket = Ticket { session: 1, episode: 0, seed: 1, roster: Roster::new(&[local])?, local, incarnation: 0 };
//! # let player = PlayerHandle::new(0).unwrap();
//! # let mut game = Duel::default();
//! let mut session = Session::with_journal(&config, &ticket, Facts::default(), &game, Timestamp::ZERO)?;
//! let mut journal = Vec::new();
//! for tick in 0..60 {
//!     let now = Timestamp::from_millis(tick * 16);
//!     session.set_local_input(player, &1)?;
//!     session.advance_frame(now, &mut game)?;
//!     while session.poll_output(now).is_some() {}
//!     journal.extend(session.take_journal()); // to a file
//! }
//!
//! let mut replay = JournalReplay::<i8>::new(&journal)?;
//! while let Some(call) = replay.next_call()? {
//!     println!("{call:?}: at frame {}", replay.session().current_frame());
//! }
//! # assert_eq!(replay.session().current_frame(), session.current_frame());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod entry;
mod header;
mod replay;
mod witness;

use alloc::format;
use alloc::vec::Vec;

pub(crate) use self::entry::Entry;
use self::header::put_header;
pub use self::replay::{Answered, Call, Difference, Failed, JournalError, JournalReplay};
pub(crate) use self::witness::Witness;
use crate::hash::short_hash;
use crate::{
    Advance, AdvanceError, Costs, Facts, Input, Output, PlayerHandle, SessionConfig, StateHash,
    Step, Ticket, Timestamp,
};

/// Writes the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    bytes: Vec<u8>,
    now: Timestamp,
    costs: Costs,
    is_full: bool,
}

impl Journal {
    /// A journal that begins with what its session was made of.
    pub(crate) fn new(
        config: &SessionConfig,
        ticket: &Ticket,
        facts: &Facts,
        (start, now): (StateHash, Timestamp),
    ) -> Self {
        let mut bytes = Vec::new();
        put_header(&mut bytes, config, ticket, facts, (start, now));
        Self { bytes, now, costs: Costs::default(), is_full: false }
    }

    pub(crate) fn note(&mut self, entry: &Entry<'_>) {
        // Cut at a whole entry, as a file is that was not written to its end.
        self.is_full |= self.bytes.len() > UNREAD_BYTES_MAX;
        if !self.is_full {
            entry.encode(&mut self.now, &mut self.bytes);
        }
    }

    /// Costs are asked for at every frame and seldom differ.
    fn note_costs(&mut self, costs: Costs) {
        if costs != self.costs {
            self.costs = costs;
            self.note(&Entry::Costs(costs));
        }
    }

    /// What was written since this was last called.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.bytes)
    }
}

/// What a call to advance answered, in short.
pub(crate) fn digest_of_advance<E>(advance: &Result<Advance, AdvanceError<E>>) -> u32 {
    match advance {
        Ok(advance) => short(format!("{advance:?}").as_bytes()),
        Err(AdvanceError::Game(error)) => short(format!("game {}", error.frame()).as_bytes()),
        Err(AdvanceError::MissingInput { player }) => short(format!("{player}").as_bytes()),
        Err(AdvanceError::Unreadable { frame }) => short(format!("unreadable {frame}").as_bytes()),
        Err(AdvanceError::OtherState { frame }) => short(format!("other state {frame}").as_bytes()),
        Err(AdvanceError::Incompatible { peer, mismatches }) => {
            short(format!("{peer} {mismatches}").as_bytes())
        }
    }
}

/// Something to do, in short.
pub(crate) fn digest_of_output(output: &Output<'_>) -> u32 {
    match output {
        Output::Datagram { to, bytes } => short(bytes) ^ u32::from(to.slot()),
        Output::Event(event) => short(format!("{event:?}").as_bytes()),
        Output::Stable(frame) => short(format!("{frame:?}").as_bytes()),
    }
}

/// The inputs of a step and how they are known, in short.
fn digest_of_step<I: Input>(step: &Step<'_, I>) -> u32 {
    let players = PlayerHandle::all(step.player_count());
    let known = players.map(|player| (step.status(player), step.flags(player)));
    let known = known.collect::<Vec<_>>();
    short(format!("{} {:?} {known:?}", step.frame(), step.row()).as_bytes())
}

fn short(bytes: &[u8]) -> u32 {
    short_hash(bytes, 0)
}

/// So much is kept for a driver that does not take it; what follows is left out.
const UNREAD_BYTES_MAX: usize = 64 << 20;
