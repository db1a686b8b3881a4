//! The possible results of stepping a recording again.

use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::{Frame, GameError, PeerId, StateHash};

/// What came of verifying a recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The simulation did what was recorded, in every frame.
    Verified {
        /// How many frames were stepped.
        frames: Frame,
        /// How many state hashes were equal, with the one of the start.
        hashes_checked: u32,
        /// How many outputs were equal.
        outputs_checked: u32,
        /// The parts of the episode that were checked each by itself: one, and one more for each state that all took over after a
        /// desync.
        segments: Vec<Segment>,
    },
    /// It did something else.
    Wrong(Wrong),
}

/// A part of an episode in which the states follow from each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its first frame.
    pub from: Frame,
    /// Whose state it begins with; the state after `reset` where there is none.
    pub source: Option<PeerId>,
    /// What this simulation does differently in the frames before it, which the members disagreed on: nothing, where it does
    /// as that peer's did.
    pub disputed: Option<Wrong>,
}

/// The first place where the simulation did not do what was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// The frame.
    pub frame: Frame,
    /// What differs.
    pub what: Deviation,
}

/// How the simulation differs from its recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deviation {
    /// The state after `reset` is another one: another environment, version or seed.
    StartHash {
        /// The hash recorded.
        expected: StateHash,
        /// The hash of the game given.
        got: StateHash,
    },
    /// The state before the frame is another one.
    StateHash {
        /// The hash recorded.
        expected: StateHash,
        /// The hash now.
        got: StateHash,
        /// The last frame whose state is known to be right: a step from there on went wrong.
        since: Frame,
    },
    /// The state that all took over at this frame is not what this simulation came to, and it cannot read it.
    Unreadable,
    /// The step gave another output.
    Output {
        /// The first byte of the output that differs.
        offset: usize,
    },
    /// The simulation ended before this frame, and the recording has it.
    EndedEarly,
    /// The recording says that the simulation ended before this frame, and it did not.
    NotEnded,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartHash { expected, got } => {
                write!(f, "expected the start state {expected}, got {got}")
            }
            Self::StateHash { expected, got, since } => {
                write!(f, "expected the state {expected}, got {got}; right up to frame {since}")
            }
            Self::Unreadable => f.write_str("the state that all took over cannot be read"),
            Self::Output { offset } => write!(f, "the output differs from byte {offset} on"),
            Self::EndedEarly => f.write_str("the simulation ended before this frame"),
            Self::NotEnded => f.write_str("the simulation should have ended before this frame"),
        }
    }
}

/// Why a recording cannot be replayed with this game.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ReplayError<E> {
    /// The game's inputs have another width than those recorded.
    #[error("expected a game with inputs of {expected} bytes, got {got}")]
    InputWidth {
        /// The width recorded.
        expected: usize,
        /// The width of the game's inputs.
        got: usize,
    },
    /// The simulation failed.
    #[error(transparent)]
    Game(#[from] GameError<E>),
}
