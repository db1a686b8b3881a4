//! The stable log as a stream of bytes that only grows, with an entry for each frame. Spectators and returning peers are given it.
//! Each entry can be read by itself; spectators step the frames themselves, so their stream leaves the outputs out.

use alloc::vec::Vec;

use crate::bytes::PutBytes;
use crate::recording::cursor::Cursor;
use crate::recording::row::{RowDecoder, RowEncoder};
use crate::recording::{HeaderError, RecordingError, RecordingHeader};
use crate::session::{End, EndCause, StableFrame};
use crate::{Frame, OnDesync, PeerId};

/// Writes the stable log as bytes that only grow: what was agreed on before the first frame, the frames without their
/// outputs, the end. It is equal on all members, byte for byte.
#[derive(Clone, Debug)]
pub struct StreamWriter {
    bytes: Vec<u8>,
    rows: RowEncoder,
    next: Frame,
    is_ended: bool,
    outputs: Outputs,
}

/// Which outputs are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outputs {
    /// None, or none from here on.
    None,
    /// Those that are short, up to the first one that is not.
    Short,
    /// All: what was disputed cannot be had by stepping.
    All,
}

/// An entry of the stream.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    /// What was agreed on before the first frame.
    Header(&'a [u8]),
    /// A frame, to be read with [`with_row`].
    Row(&'a [u8]),
    /// The same with its output.
    WholeRow(&'a [u8]),
    /// The end; nothing follows.
    End(End),
}

impl StreamWriter {
    /// The stream of the episode that `header` describes.
    ///
    /// # Errors
    /// When the header's fields do not fit each other or are too long.
    pub fn new(header: &RecordingHeader) -> Result<Self, HeaderError> {
        let mut writer = Self {
            bytes: Vec::new(),
            rows: RowEncoder::new(&header.config),
            next: Frame::ZERO,
            is_ended: false,
            outputs: Outputs::None,
        };
        let body = header.encode()?;
        writer.put_entry(HEADER, |bytes, _| bytes.put(&body));
        Ok(writer)
    }

    /// The same with the outputs, for those who come back and need not step all of it. Where they are long they are left out,
    /// from that frame on: to step takes less than to be given them. Where all may take over a state after a desync, none is.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_outputs(header: &RecordingHeader) -> Result<Self, HeaderError> {
        let outputs = match header.config.on_desync() {
            OnDesync::End => Outputs::Short,
            OnDesync::Pause | OnDesync::Resync(_) => Outputs::All,
        };
        Ok(Self { outputs, ..Self::new(header)? })
    }

    /// Whether no output was left out so far.
    #[must_use]
    pub fn has_outputs(&self) -> bool {
        self.outputs != Outputs::None
    }

    /// All that was written so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends the next frame. Answers whether it is the next one, and there is room.
    pub fn push(&mut self, frame: &StableFrame<'_>) -> bool {
        let has_room = self.bytes.len() < BYTES_MAX - ENTRY_BYTES_MAX;
        let is_full = self.bytes.len() > BYTES_MAX / 2;
        let is_long = is_full || frame.output.len() > SHORT_OUTPUT_BYTES_MAX;
        let is_left_out = self.outputs == Outputs::Short && is_long;
        let outputs = if is_left_out { Outputs::None } else { self.outputs };
        let (kind, output) = match outputs {
            Outputs::None => (ROW, &[][..]),
            Outputs::Short | Outputs::All => (WHOLE_ROW, frame.output),
        };
        let length = frame.keyframe.map_or(0, <[u8]>::len) + output.len();
        let is_short = length <= KEYFRAME_BYTES_MAX;
        let fits = frame.frame == self.next && !self.is_ended && has_room && is_short;
        if fits {
            self.next = frame.frame.next();
            self.outputs = outputs;
            self.put_entry(kind, |bytes, rows| {
                rows.begin_block();
                rows.encode(&StableFrame { output, ..*frame }, bytes);
            });
        }
        fits
    }

    /// How many frames there are.
    pub(crate) fn frames(&self) -> Frame {
        self.next
    }

    /// Appends the end, behind all its frames. Answers whether they are there.
    pub fn finish(&mut self, end: End) -> bool {
        if self.next < end.frame {
            return false;
        }
        if !core::mem::replace(&mut self.is_ended, true) {
            self.put_entry(END, |bytes, _| put_end(bytes, end));
        }
        true
    }

    fn put_entry(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>, &mut RowEncoder)) {
        let at = self.bytes.len();
        self.bytes.put_u32(0);
        self.bytes.put_u8(kind);
        body(&mut self.bytes, &mut self.rows);
        let length = u32::try_from(self.bytes.len() - at - HEAD_BYTES).unwrap_or(u32::MAX);
        if let Some(slot) = self.bytes.get_mut(at..at + 4) {
            slot.copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// The entry at `offset` and where the next one begins; `None` when it has not come whole.
///
/// # Errors
/// When there is no such entry.
pub(crate) fn entry_at(
    stream: &[u8],
    offset: usize,
) -> Result<Option<(Entry<'_>, usize)>, RecordingError> {
    let Some(head) = stream.get(offset..offset + HEAD_BYTES) else { return Ok(None) };
    let mut head = Cursor::new(head, offset);
    let (length, kind) = (head.u32()?, head.u8()?);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > ENTRY_BYTES_MAX {
        return Err(RecordingError::BodyEnds { offset, expected: length, got: ENTRY_BYTES_MAX });
    }
    let start = offset + HEAD_BYTES;
    let Some(body) = stream.get(start..start + length) else { return Ok(None) };
    let entry = match kind {
        HEADER if offset == 0 => Entry::Header(body),
        ROW if offset > 0 => Entry::Row(body),
        WHOLE_ROW if offset > 0 => Entry::WholeRow(body),
        END if offset > 0 => Entry::End(end(Cursor::new(body, start))?),
        got => return Err(RecordingError::Marks { offset, got }),
    };
    Ok(Some((entry, start + length)))
}

/// The header of a stream.
///
/// # Errors
/// When it is none.
pub(crate) fn header(body: &[u8]) -> Result<RecordingHeader, RecordingError> {
    RecordingHeader::decode(Cursor::new(body, HEAD_BYTES))
}

/// Reads a row and hands it to `visit`.
///
/// # Errors
/// When it is none.
pub(crate) fn with_row<T>(
    header: &RecordingHeader,
    frame: Frame,
    body: &[u8],
    visit: impl FnOnce(&StableFrame<'_>) -> T,
) -> Result<T, RecordingError> {
    let mut rows = RowDecoder::new(&header.config, header.roster.peer_count());
    let mut cursor = Cursor::new(body, 0);
    let row = rows.decode(frame, &mut cursor)?;
    cursor.finish()?;
    Ok(visit(&row))
}

/// Writes an end.
pub(crate) fn put_end(bytes: &mut Vec<u8>, end: End) {
    let (kind, code) = end.cause.code();
    bytes.put_u32(end.frame.index());
    bytes.put_u8(kind);
    bytes.put_u16(code);
    bytes.put_u8(end.by.map_or(u8::MAX, PeerId::slot));
}

/// Reads an end.
///
/// # Errors
/// When it is none.
pub(crate) fn take_end(bytes: &[u8]) -> Result<End, RecordingError> {
    end(Cursor::new(bytes, 0))
}

fn end(mut body: Cursor<'_>) -> Result<End, RecordingError> {
    let offset = body.offset();
    let (frame, kind, code, by) = (body.u32()?, body.u8()?, body.u16()?, body.u8()?);
    body.finish()?;
    let cause = EndCause::from_code(kind, code);
    let cause = cause.ok_or(RecordingError::Marks { offset, got: kind })?;
    Ok(End { frame: Frame::new(frame), cause, by: PeerId::new(by) })
}

/// How long a stream may become: more than ten hours of a game with many players.
pub(crate) const BYTES_MAX: usize = 256 << 20;

/// The longest entry: the header with all the facts that it may hold.
const ENTRY_BYTES_MAX: usize = 2 << 20;

/// The longest state that all took over, with its frame's output, for which a stream goes on; behind a longer one it ends.
const KEYFRAME_BYTES_MAX: usize = 1 << 20;

/// How long an end is.
pub(crate) const END_BYTES: usize = 8;

/// The length of the body, and the kind.
const HEAD_BYTES: usize = 5;

const HEADER: u8 = 0;
const ROW: u8 = 1;
const END: u8 = 2;
const WHOLE_ROW: u8 = 3;

/// The longest output that is given to whoever comes back: a hundredth of a second of what a member gives.
const SHORT_OUTPUT_BYTES_MAX: usize = 1024;
