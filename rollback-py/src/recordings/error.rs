//! Why a recording cannot be read, played offline or written as a table, and the Python exception of each.

use std::error::Error as _;
use std::io;
use std::path::Path;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::errors::RecordingError;

/// What goes wrong with a recording. Each names the file, and a damage its place in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordingsError {
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{path}: {source}{}", cause(source))]
    Damaged { path: String, source: rollback_core::recording::RecordingError },
    #[error("{path}: expected a recording of at most {max} bytes, got {got}")]
    TooLong { path: String, max: u64, got: u64 },
    #[error("the recording cannot take this header: {0}")]
    Header(#[from] rollback_core::recording::HeaderError),
    #[error("the recording cannot take this frame: {0}")]
    Writer(#[from] rollback_core::recording::WriterError),
    #[error(transparent)]
    Dump(#[from] rollback_core::DumpError),
    #[error("the episode cannot begin: {0}")]
    Session(String),
    #[error("the episode stopped at frame {frame}: {cause}")]
    Stopped { frame: u32, cause: String },
    #[error("{path}: {source}")]
    Parquet { path: String, source: parquet::errors::ParquetError },
    #[error("there is no column of kind {0:?}")]
    ColumnKind(String),
    #[error(
        "expected {expected} values in each of {columns} columns, got {got} in column {column}"
    )]
    ColumnLength { columns: usize, expected: usize, column: usize, got: usize },
    #[error("column {column} is required, and row {row} has no value")]
    MissingValue { column: usize, row: usize },
    #[error("the table is finished")]
    TableFinished,
    #[error(transparent)]
    Python(#[from] PyErr),
}

impl RecordingsError {
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.display().to_string(), source }
    }
}

impl From<RecordingsError> for PyErr {
    fn from(error: RecordingsError) -> Self {
        let message = error.to_string();
        match error {
            RecordingsError::Python(error) => error,
            // Python makes of the number the class it is known by, as FileNotFoundError.
            RecordingsError::File { path, source } => match source.raw_os_error() {
                Some(code) => PyOSError::new_err((code, source.kind().to_string(), path)),
                None => PyOSError::new_err(message),
            },
            RecordingsError::ColumnKind(_)
            | RecordingsError::ColumnLength { .. }
            | RecordingsError::MissingValue { .. }
            | RecordingsError::TableFinished => PyValueError::new_err(message),
            RecordingsError::Damaged { .. }
            | RecordingsError::TooLong { .. }
            | RecordingsError::Header(_)
            | RecordingsError::Writer(_)
            | RecordingsError::Dump(_)
            | RecordingsError::Session(_)
            | RecordingsError::Stopped { .. }
            | RecordingsError::Parquet { .. } => RecordingError::new_err(message),
        }
    }
}

/// The cause behind an error, for a message of one line.
fn cause(error: &rollback_core::recording::RecordingError) -> String {
    error.source().map(|source| format!(" ({source})")).unwrap_or_default()
}
