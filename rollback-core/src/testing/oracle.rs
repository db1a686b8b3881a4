//! What must hold in every simulation, each under a name, and how a failure is told.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::{Frame, PeerId};

/// A promise of the engine that the simulator watches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Oracle {
    /// The stable logs of all peers are equal byte for byte as far as both go, without a gap.
    StableLogs,
    /// Every state and output of a stable frame is that of a naive lockstep run of the stable log.
    Reference,
    /// An input in the log is the one that its player gave, or agreed idle after its peer has gone.
    Inputs,
    /// A frame that was stepped without a guess is never stepped with other inputs.
    Retraction,
    /// A frame is stepped on the state before it, and only known states are loaded.
    Stepping,
    /// Every frame is new to a game once, in order and without a gap but for frames whose outcome was taken over; and once final, it
    /// stays so and is recorded so.
    Newness,
    /// agreed ≤ stable ≤ confirmed, none of them moves back, and the current frame is within the window.
    Ladder,
    /// After all faults have healed, every survivor goes on, ends and is finished in bounded time.
    Liveness,
    /// All that are present at an agreed end report the same.
    Ends,
    /// A datagram fits, a remote gets one with inputs a call, and what a call gives out is bounded.
    Bounds,
    /// Nobody reports a desync of a deterministic game.
    Desync,
    /// The engine returns no error of its own.
    Errors,
    /// The game fails only under guessed inputs.
    GameFailure,
    /// No peer departs that was heard in time.
    Departures,
    /// Frames pass no faster than the tick rate and the controller's limit; and nobody slows the others down whose machine keeps
    /// its time, nor anybody below the limit.
    Pace,
    /// In a pause all stand still at the agreed frame, until whoever paused resumes or is gone.
    Pauses,
    /// Those who watch step the stable log of their hosts, whole, in order and no sooner, up to its end.
    Watching,
    /// Who is sent away goes, all members are told alike why, and nobody comes back into a closed slot.
    Kicks,
}

impl Oracle {
    /// Every promise.
    pub const ALL: [Self; 18] = [
        Self::StableLogs,
        Self::Reference,
        Self::Inputs,
        Self::Retraction,
        Self::Stepping,
        Self::Newness,
        Self::Ladder,
        Self::Liveness,
        Self::Ends,
        Self::Bounds,
        Self::Desync,
        Self::Errors,
        Self::GameFailure,
        Self::Departures,
        Self::Pace,
        Self::Pauses,
        Self::Watching,
        Self::Kicks,
    ];

    /// The promise in words.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::StableLogs => "stable logs are equal",
            Self::Reference => "states equal the lockstep reference",
            Self::Inputs => "recorded inputs are those that were given",
            Self::Retraction => "confirmed frames are never retracted",
            Self::Stepping => "frames are stepped in order on known states",
            Self::Newness => "a frame is new to the game once, and final is final",
            Self::Ladder => "the ladder of finality holds",
            Self::Liveness => "play goes on after healing",
            Self::Ends => "ends agree",
            Self::Bounds => "datagrams and queues are bounded",
            Self::Desync => "no desync is reported of a deterministic game",
            Self::Errors => "the engine returns no error of its own",
            Self::GameFailure => "the game fails only under guessed inputs",
            Self::Departures => "only peers that were silent depart",
            Self::Pace => "frames pass at the tick rate, or at what a slow machine can hold",
            Self::Pauses => "in a pause all stand still at the agreed frame",
            Self::Watching => "those who watch see the stable log, whole and in order",
            Self::Kicks => "who is kicked goes, and its slot is closed",
        }
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.promise())
    }
}

/// A promise broken, as it is found: the peer and the moment are added by who knows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Violation {
    pub(crate) oracle: Oracle,
    pub(crate) frame: Option<Frame>,
    pub(crate) detail: String,
}

impl Violation {
    pub(crate) fn new(oracle: Oracle, detail: String) -> Self {
        Self { oracle, frame: None, detail }
    }

    pub(crate) fn at(oracle: Oracle, frame: Frame, detail: String) -> Self {
        Self { oracle, frame: Some(frame), detail }
    }
}

/// A simulation that broke a promise, and how to see it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The seed of the simulation.
    pub seed: u64,
    /// The promise that was broken.
    pub oracle: Oracle,
    /// Where, when it was one peer.
    pub peer: Option<PeerId>,
    /// At which frame, when it was one.
    pub frame: Option<Frame>,
    /// When, in true time since the beginning.
    pub at: Duration,
    /// What was seen.
    pub detail: String,
    /// What was simulated: peers, frames, configuration, faults, and what was planned for a moment.
    pub setting: String,
    /// The command that repeats it.
    pub command: String,
    /// The same promise broken in the smallest simulation that was found.
    pub shrunk: Option<Box<Self>>,
    /// How many peers and frames there were, and what was planned.
    pub(crate) peers: usize,
    pub(crate) frames: u32,
    pub(crate) planned: BTreeSet<usize>,
    /// What could happen by chance.
    pub(crate) chances: Vec<&'static str>,
    /// Nothing was simulated.
    pub(crate) is_refused: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: broken at {:.3} s", self.seed, self.at.as_secs_f64())?;
        if let Some(peer) = self.peer {
            write!(f, ", {peer}")?;
        }
        if let Some(frame) = self.frame {
            write!(f, ", frame {frame}")?;
        }
        write!(f, ": {} ({:?})", self.oracle, self.oracle)?;
        write!(f, "\n  seen: {}\n  in:   {}", self.detail, self.setting)?;
        write!(f, "\n  repeat with: {}", self.command)?;
        self.shrunk.as_ref().map_or(Ok(()), |shrunk| write!(f, "\nshrunk: {shrunk}"))
    }
}

impl core::error::Error for Failure {}
