//! A whole recording in memory: checked once, then read as often as one likes.

use alloc::vec::Vec;

use crate::recording::reader::{Rows, open};
use crate::recording::{EndRecord, RecordingError, RecordingHeader};
use crate::session::StableFrame;
use crate::{Frame, Item, PeerId, StateHash};

/// A recording of which every byte was checked. It is kept as its bytes, so it takes no more memory than the file.
#[derive(Clone, Debug)]
pub struct Recording {
    bytes: Vec<u8>,
    header: RecordingHeader,
    frame_count: Frame,
    end: Option<EndRecord>,
    digest: u64,
    dropped_bytes: usize,
}

impl Recording {
    /// Reads and checks a recording. One that was cut short is read up to its last whole block.
    ///
    /// # Errors
    /// When the bytes are no recording, or damaged; what stands before a damage can be had from a
    /// [`RecordingReader`](crate::recording::RecordingReader).
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordingError> {
        let (header, mut rows) = open(bytes)?;
        while rows.next_frame()?.is_some() {}
        let whole = rows.whole_bytes();
        Ok(Self {
            bytes: bytes.get(..whole).unwrap_or_default().to_vec(),
            header,
            frame_count: rows.next(),
            end: rows.end(),
            digest: rows.chain().to_u64(),
            dropped_bytes: bytes.len().saturating_sub(whole),
        })
    }

    /// What was known before the first frame.
    #[must_use]
    pub fn header(&self) -> &RecordingHeader {
        &self.header
    }

    /// How many frames are recorded: the first one that is not.
    #[must_use]
    pub fn frame_count(&self) -> Frame {
        self.frame_count
    }

    /// The frames, in order.
    #[must_use]
    pub fn frames(&self) -> Frames<'_> {
        Frames { rows: open(&self.bytes).ok().map(|(_, rows)| rows) }
    }

    /// How the episode ended; `None` for a recording that was not finished.
    #[must_use]
    pub fn end(&self) -> Option<EndRecord> {
        self.end
    }

    /// Whether the recording was finished.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.end.is_some()
    }

    /// How many bytes at the end of the file belong to a block that is not whole, and are not read.
    #[must_use]
    pub fn dropped_bytes(&self) -> usize {
        self.dropped_bytes
    }

    /// A digest of all that was read, to compare recordings at a glance. It finds accidents and does not keep off
    /// forgers.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The bytes that were read.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The frames of a recording, in order.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rows: Option<Rows<'a>>,
}

impl Frames<'_> {
    /// The next frame, without copying it.
    pub fn next_frame(&mut self) -> Option<StableFrame<'_>> {
        // The bytes were checked when the recording was decoded.
        self.rows.as_mut()?.next_frame().ok().flatten()
    }
}

impl Iterator for Frames<'_> {
    type Item = RecordedFrame;

    fn next(&mut self) -> Option<RecordedFrame> {
        self.next_frame().map(RecordedFrame::from)
    }
}

/// A frame of a recording that owns its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedFrame {
    /// The frame.
    pub frame: Frame,
    /// The input bytes of all players, one after the other.
    pub inputs: Vec<u8>,
    /// The flags of each player's input.
    pub flags: Vec<u8>,
    /// The items in force from this frame, in the order of their proposers.
    pub items: Vec<(PeerId, Item)>,
    /// What stepping the frame gave beside the new state.
    pub output: Vec<u8>,
    /// The hash of the state before the frame was stepped, at frames that are reported.
    pub state_hash: Option<StateHash>,
    /// The state before the frame as bytes, where all took over that of one.
    pub keyframe: Option<Vec<u8>>,
}

impl RecordedFrame {
    /// The frame as a session hands it out.
    #[must_use]
    pub fn as_stable(&self) -> StableFrame<'_> {
        StableFrame {
            frame: self.frame,
            inputs: &self.inputs,
            flags: &self.flags,
            items: &self.items,
            output: &self.output,
            state_hash: self.state_hash,
            keyframe: self.keyframe.as_deref(),
        }
    }
}

impl From<StableFrame<'_>> for RecordedFrame {
    fn from(frame: StableFrame<'_>) -> Self {
        Self {
            frame: frame.frame,
            inputs: frame.inputs.to_vec(),
            flags: frame.flags.to_vec(),
            items: frame.items.to_vec(),
            output: frame.output.to_vec(),
            state_hash: frame.state_hash,
            keyframe: frame.keyframe.map(<[u8]>::to_vec),
        }
    }
}
