//! The file that an episode is recorded to. Knows paths and disks; the bytes come from `rollback-core`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rollback_core::recording::{HeaderError, RecordingHeader, RecordingWriter, WriterError};
use rollback_core::{Agreed, End, StableFrame, StateHash};

/// A recording that grows with the episode. Every block goes to the system as soon as its states are agreed, so a
/// process that dies, however it dies, leaves a file that is readable up to its last whole block. It is forced to the
/// disk at the end only: a computer that dies may lose what the system had not written yet.
#[derive(Debug)]
pub(crate) struct RecordingFile {
    path: PathBuf,
    file: File,
    writer: RecordingWriter,
}

impl RecordingFile {
    /// Begins a file that does not exist yet, so that no data is ever overwritten.
    pub(crate) fn create(path: &Path, header: &RecordingHeader) -> Result<Self, RecordError> {
        let writer = RecordingWriter::new(header)?;
        let options = OpenOptions::new().write(true).create_new(true).open(path);
        let file = options.map_err(|source| io_error(path, source))?;
        let mut recording = Self { path: path.to_owned(), file, writer };
        recording.write_out()?;
        Ok(recording)
    }

    pub(crate) fn push(&mut self, frame: &StableFrame<'_>) -> Result<(), RecordError> {
        Ok(self.writer.push(frame)?)
    }

    /// Writes out what is agreed.
    pub(crate) fn agreed(&mut self, agreed: Agreed) -> Result<(), RecordError> {
        self.writer.agreed(agreed);
        self.write_out()
    }

    /// Writes the rest and the end, and waits until it is on the disk.
    pub(crate) fn finish(
        &mut self,
        end: End,
        end_hash: Option<StateHash>,
        completed_episodes: u32,
    ) -> Result<(), RecordError> {
        if self.writer.is_finished() {
            return Ok(());
        }
        if let Some(hash) = end_hash {
            self.writer.set_end_hash(hash);
        }
        self.writer.finish(end, completed_episodes)?;
        self.write_out()?;
        self.file.sync_all().map_err(|source| io_error(&self.path, source))
    }

    fn write_out(&mut self) -> Result<(), RecordError> {
        let bytes = self.writer.take_bytes();
        self.file.write_all(&bytes).map_err(|source| io_error(&self.path, source))
    }
}

fn io_error(path: &Path, source: io::Error) -> RecordError {
    RecordError::Io { path: path.to_owned(), source }
}

/// Why an episode could not be recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A field of the header is too long.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A frame could not be recorded.
    #[error(transparent)]
    Writer(#[from] WriterError),
}
