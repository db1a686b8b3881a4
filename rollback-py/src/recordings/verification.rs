//! Whether an environment does again what was recorded of it.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use rollback_core::{Deviation, PeerId, Replay, ReplayError, Verdict, Wrong};

use super::{RecordingFile, RecordingsError};
use crate::env_game::PyGame;

/// How many frames, state hashes and outputs were equal, and the segments; or the first mismatch.
#[derive(IntoPyObject)]
pub(crate) enum Verification {
    Verified((u32, u32, u32, Vec<CheckedSegment>)),
    Wrong(Mismatch),
}

/// The frame, kind and text of a mismatch.
#[derive(IntoPyObject)]
pub(crate) struct Mismatch(u32, &'static str, String);

/// The first frame of a segment, whose state it begins with, and what is otherwise in the disputed frames before it.
#[derive(IntoPyObject)]
pub(crate) struct CheckedSegment(u32, Option<u8>, Option<Mismatch>);

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
    let mismatch = match verdict {
        Ok(Verdict::Verified { frames, hashes_checked, outputs_checked, segments }) => {
            let segments = segments.iter().map(|segment| {
                let source = segment.source.map(PeerId::slot);
                CheckedSegment(segment.from.index(), source, segment.disputed.map(of_wrong))
            });
            let segments = segments.collect();
            let checked = (frames.index(), hashes_checked, outputs_checked, segments);
            return Ok(Verification::Verified(checked));
        }
        Ok(Verdict::Wrong(wrong)) => of_wrong(wrong),
        Err(error @ ReplayError::InputWidth { .. }) => Mismatch(0, "width", error.to_string()),
        Err(ReplayError::Game(error)) => {
            let (frame, text) = (error.frame().index(), error.to_string());
            let raised = error.into_source();
            // An interrupt is nobody's mismatch.
            if !raised.is_instance_of::<PyException>(py) {
                return Err(raised.into());
            }
            Mismatch(frame, "failure", format!("{text} ({raised})"))
        }
    };
    Ok(Verification::Wrong(mismatch))
}

fn of_wrong(wrong: Wrong) -> Mismatch {
    let kind = match wrong.what {
        Deviation::StartHash { .. } => "start",
        Deviation::StateHash { .. } | Deviation::Unreadable => "state",
        Deviation::Output { .. } => "output",
        Deviation::EndedEarly | Deviation::NotEnded => "end",
    };
    Mismatch(wrong.frame.index(), kind, wrong.what.to_string())
}
