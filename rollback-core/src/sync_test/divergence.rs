//! The result of a sync test that failed, and its text.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use thiserror::Error;

use crate::{Frame, Game, GameError, Leaves};

/// Why a game does not pass.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SyncTestError<E> {
    /// The game's inputs are too wide, or empty.
    #[error("expected inputs of 1 to {max} bytes, got {got}")]
    InputWidth {
        /// The widest that can be played.
        max: usize,
        /// The width of the game's inputs.
        got: usize,
    },
    /// The game failed.
    #[error(transparent)]
    Game(#[from] GameError<E>),
    /// The game came back to something else than it was.
    #[error("{0}")]
    Diverged(Divergence),
}

/// The first place where a game is not what it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// The frame whose state, or whose step's output or end, differs.
    pub frame: Frame,
    /// How many frames the rollback went back; 0 where there was none.
    pub depth: u32,
    /// What differs.
    pub what: Diverged,
    /// The first leaf that differs, where the game names leaves.
    pub leaf: Option<String>,
    /// The first bytes that differ, where the game writes its states as bytes ([`Game::export`]) and both are there.
    pub bytes: Option<Range<usize>>,
}

/// In what a game is not what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Diverged {
    /// Hashing one saved state twice gave two hashes: the hash takes in something beside the state.
    Hash,
    /// A saved state changed while the game was stepped or loaded: the two share memory.
    Slot,
    /// The state that was just loaded is not the one saved: the snapshot does not hold all of it.
    Load,
    /// Stepping again from a loaded state gave another state: there is state outside the snapshot.
    State,
    /// Stepping again gave another output.
    Output,
    /// The game ended one time and not the other.
    End,
    /// Two states that the game calls the same are not, or do not lead to the same.
    Same,
    /// Two inputs that the game's input calls equivalent led to different states, outputs or ends.
    Equivalent,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frame, depth, what, leaf, bytes } = self;
        let what = match what {
            Diverged::Hash => "a saved state has two hashes",
            Diverged::Slot => "a saved state changed after it was saved",
            Diverged::Load => "the loaded state is not the one saved",
            Diverged::State => "stepping again gave another state",
            Diverged::Output => "stepping again gave another output",
            Diverged::End => "the game ended one time and not the other",
            Diverged::Same => "a state called the same led to another",
            Diverged::Equivalent => "an input called equivalent led to something else",
        };
        write!(f, "frame {frame}, rollback of {depth} frames: {what}")?;
        if let Some(leaf) = leaf {
            write!(f, "; the first leaf that differs is {leaf}")?;
        }
        match bytes {
            Some(bytes) => write!(f, "; the first bytes that differ are {bytes:?}"),
            None => Ok(()),
        }
    }
}

/// Where two states differ, as far as the game tells.
#[derive(Default)]
pub(super) struct Place {
    leaf: Option<String>,
    bytes: Option<Range<usize>>,
}

impl Place {
    /// The first leaf that differs, or that only one of both has.
    pub(super) fn of_leaves(one: &Leaves, other: &Leaves) -> Self {
        let longest = one.len().max(other.len());
        let digests = |leaves: &Leaves| leaves.digests().map(Some).collect::<Vec<_>>();
        let (ones, others) = (digests(one), digests(other));
        let differs = |index: &usize| {
            one.name(*index) != other.name(*index)
                || ones.get(*index).copied().flatten() != others.get(*index).copied().flatten()
        };
        let first = (0..longest).find(differs);
        let name = first.and_then(|index| one.name(index).or(other.name(index)));
        Self { leaf: name.map(ToString::to_string), bytes: None }
    }

    /// And the first bytes that do, all of them in a row.
    pub(super) fn and_bytes<G: Game>(
        self,
        game: &G,
        one: &G::Snapshot,
        other: &G::Snapshot,
    ) -> Self {
        let export = |slot| {
            let mut bytes = Vec::new();
            matches!(game.export(slot, &mut bytes), Ok(true)).then_some(bytes)
        };
        let (Some(one), Some(other)) = (export(one), export(other)) else { return self };
        let differs = |index: &usize| one.get(*index) != other.get(*index);
        let longest = one.len().max(other.len());
        let bytes = (0..longest).find(differs).map(|first| {
            let count = (first..longest).take_while(differs).count();
            first..first + count
        });
        Self { bytes, ..self }
    }
}

pub(super) fn diverged<E>(
    frame: Frame,
    depth: u32,
    what: Diverged,
    place: Place,
) -> SyncTestError<E> {
    let Place { leaf, bytes } = place;
    SyncTestError::Diverged(Divergence { frame, depth, what, leaf, bytes })
}
