//! How far two recordings are equal.

use pyo3::prelude::*;
use rollback_core::recording::{Comparison, compare};

use super::RecordingFile;

/// The verdict, the frame it speaks of, and what differs there.
#[pyfunction]
pub(crate) fn compare_recordings(
    py: Python<'_>,
    one: &RecordingFile,
    other: &RecordingFile,
) -> (&'static str, u32, Option<String>) {
    let (one, other) = (&one.recording, &other.recording);
    match py.detach(|| compare(one, other)) {
        Comparison::Equal => ("EQUAL", one.frame_count().index(), None),
        Comparison::Prefix { frames } => ("PREFIX", frames.index(), None),
        Comparison::Different { frame, what } => {
            ("DIFFERENT", frame.index(), Some(what.to_string()))
        }
    }
}
