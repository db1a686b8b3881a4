//! Recordings for Python: read, compared, verified by simulating them again, and written as tables. What the
//! bytes of actions and outputs mean is decoded in Python, from the environment's spaces.

mod comparison;
mod dump;
mod error;
mod file;
mod frames;
mod table;
mod verification;

pub(crate) use comparison::compare_recordings;
pub(crate) use dump::DumpFile;
pub(crate) use error::RecordingsError;
pub(crate) use file::RecordingFile;
pub(crate) use frames::{RecordedFrame, RecordedFrames};
pub(crate) use table::TableWriter;
pub(crate) use verification::verify_recording;

use pyo3::prelude::*;

/// Puts the classes and functions of recordings into the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<DumpFile>()?;
    module.add_class::<RecordingFile>()?;
    module.add_class::<RecordedFrame>()?;
    module.add_class::<RecordedFrames>()?;
    module.add_class::<TableWriter>()?;
    module.add_function(wrap_pyfunction!(compare_recordings, module)?)?;
    module.add_function(wrap_pyfunction!(verify_recording, module)?)
}
