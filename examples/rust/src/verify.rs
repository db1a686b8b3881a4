//! Simulates a recording again, from the seed in its header.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rollback_core::recording::{Recording, RecordingError};
use rollback_core::{Frame, Replay, ReplayError, Verdict, Wrong};

use crate::arena::Arena;
use crate::ballast::Ballast;
use crate::play::{FRAMES, STATE_BYTES};

/// Whether the game does again what was recorded. Answers how many frames it did.
///
/// # Errors
/// When it does something else, or the file is no recording of this game.
pub fn verify(file: &Path) -> Result<Frame, VerifyError> {
    let recording = Recording::decode(&fs::read(file)?)?;
    let header = recording.header();
    let fact = |name| {
        let fact = header.must_match.iter().find(|(known, _)| known == name);
        fact.and_then(|(_, number)| number.parse::<u32>().ok()).ok_or(VerifyError::OtherGame)
    };
    let ballast = Ballast::new(fact(STATE_BYTES)? as usize, Duration::ZERO);
    let arena = Arena::new(header.config.players(), fact(FRAMES)?, header.seed);
    let arena = arena.with_ballast(ballast);
    match Replay::new(&recording, arena)?.verify()? {
        Verdict::Verified { frames, .. } => Ok(frames),
        Verdict::Wrong(wrong) => Err(VerifyError::Wrong(wrong)),
    }
}

/// Why a recording is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is damaged.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// It is of another game.
    #[error("the recording does not say how many frames an episode of the arena has")]
    OtherGame,
    /// It cannot be stepped.
    #[error(transparent)]
    Replay(#[from] ReplayError<Infallible>),
    /// The game does something else.
    #[error("frame {}: {}", .0.frame, .0.what)]
    Wrong(Wrong),
}
