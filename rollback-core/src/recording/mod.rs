//! The file of one episode: a pure function of the frames that became stable, so that peers can compare it byte by
//! byte. Knows its bytes (`docs/recording-format.md`), and nothing of disks.
//!
//! ```
//! use rollback_core::recording::{Recording, RecordingHeader, RecordingWriter};
//! use rollback_core::{End, EndCause, Frame, Roster, SessionConfig, StableFrame, StateHash};
//!
//! let header = RecordingHeader {
//!     session: 7,
//!     episode: 0,
//!     seed: 42,
//!     config: SessionConfig::builder().players(2).build()?,
//!     roster: Roster::one_player_each(2)?,
//!     participants: vec!["p-01".into(), "p-02".into()],
//!     must_match: vec![],
//!     may_differ: vec![vec![], vec![]],
//!     start_hash: StateHash::default(),
//! };
//! let mut writer = RecordingWriter::new(&header)?;
//! let row = StableFrame {
//!     frame: Frame::ZERO, inputs: &[1, 2], flags: &[0, 0], items: &[], output: &[], state_hash: None, keyframe: None,
//! };
//! writer.push(&row)?;
//! writer.finish(End { frame: Frame::new(1), cause: EndCause::Finished, by: None }, 1)?;
//!
//! let recording = Recording::decode(&writer.take_bytes())?;
//! assert!(recording.is_complete());
//! assert_eq!(recording.frames().next().map(|frame| frame.inputs), Some(vec![1, 2]));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod compare;
mod cursor;
mod error;
mod file;
#[cfg(test)]
pub(crate) mod fixtures;
mod header;
mod reader;
mod row;
mod section;
pub(crate) mod stream;
mod stream_reader;
mod writer;

pub use compare::{Comparison, Difference, compare};
pub use error::RecordingError;
pub use file::{Frames, RecordedFrame, Recording};
pub use header::{FACTS_MAX, HeaderError, RecordingHeader, TEXT_BYTES_MAX};
pub use reader::{EndRecord, RecordingReader};
pub use row::{ITEMS_PER_FRAME_MAX, OUTPUT_BYTES_MAX};
pub use section::{BLOCK_FRAMES, FORMAT_VERSION, MAGIC};
pub use stream::StreamWriter;
pub use stream_reader::StreamReader;
pub use writer::{PENDING_FRAMES_MAX, RecordingWriter, WriterError};
