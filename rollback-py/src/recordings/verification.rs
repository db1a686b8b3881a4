//! Whether an environment does again what was recorded of it.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use rollback_core::{Deviation, Replay, ReplayError, Verdict};

use super::{RecordingFile, RecordingsError};
use crate::env_game::PyGame;

/// How many frames, state hashes and outputs were equal; or the frame, kind and text of the first mismatch.
#[derive(IntoPyObject)]
pub(crate) enum Verification {
    Verified((u32, u32, u32)),
    Wrong((u32, &'static str, String)),
}

/// Steps a recording again with `game`, an `EnvGame` that was just reset with the recording's seed, up to the first
/// frame that is wrong.
#[pyfunction]
pub(crate) fn verify_recording(
    py: Python<'_>,
    file: &RecordingFile,
    game: &Bound<'_, PyAny>,
) -> Result<Verification, RecordingsError> {
    let game = PyGame::new(game)?;
    let verdict = Replay::new(&file.recording, game).and_then(Replay::verify);
    let (frame, kind, text) = match verdict {
        Ok(Verdict::Verified { frames, hashes_checked, outputs_checked, .. }) => {
            let checked = (frames.index(), hashes_checked, outputs_checked);
            return Ok(Verification::Verified(checked));
        }
        Ok(Verdict::Wrong(wrong)) => {
            let kind = match wrong.what {
                Deviation::StartHash { .. } => "start",
                Deviation::StateHash { .. } | Deviation::Unreadable => "state",
                Deviation::Output { .. } => "output",
                Deviation::EndedEarly | Deviation::NotEnded => "end",
            };
            (wrong.frame.index(), kind, wrong.what.to_string())
        }
        Err(error @ ReplayError::InputWidth { .. }) => (0, "width", error.to_string()),
        Err(ReplayError::Game(error)) => {
            let (frame, text) = (error.frame().index(), error.to_string());
            let raised = error.into_source();
            // An interrupt is nobody's mismatch.
            if !raised.is_instance_of::<PyException>(py) {
                return Err(raised.into());
            }
            (frame, "failure", format!("{text} ({raised})"))
        }
    };
    Ok(Verification::Wrong((frame, kind, text)))
}
