//! Reads a part of a recording and knows its place in the file, so that an error can name it.

use crate::bytes::{ByteReader, EndOfBytes};
use crate::recording::RecordingError;

/// A reader over a part of a file.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    reader: ByteReader<'a>,
    /// Where the part ends in the file.
    end: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor over `bytes`, which lie at `offset` in the file.
    pub(super) fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { reader: ByteReader::new(bytes), end: offset + bytes.len() }
    }

    /// Where in the file the next byte is.
    pub(super) fn offset(&self) -> usize {
        self.end - self.remaining()
    }

    /// Where in the file the part ends.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    pub(super) fn remaining(&self) -> usize {
        self.reader.remaining()
    }

    #[cfg(test)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }

    /// The reader itself, for what is read by others.
    pub(super) fn reader(&mut self) -> &mut ByteReader<'a> {
        &mut self.reader
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordingError> {
        let offset = self.offset();
        self.reader.take(count).map_err(|end| at(offset, end))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordingError> {
        let offset = self.offset();
        self.reader.array().map_err(|end| at(offset, end))
    }

    pub(super) fn u8(&mut self) -> Result<u8, RecordingError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, RecordingError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordingError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RecordingError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Says that nothing may be left.
    pub(super) fn finish(&self) -> Result<(), RecordingError> {
        match self.reader.remaining() {
            0 => Ok(()),
            got => Err(RecordingError::Trailing { offset: self.offset(), got }),
        }
    }
}

fn at(offset: usize, EndOfBytes { expected, got }: EndOfBytes) -> RecordingError {
    RecordingError::BodyEnds { offset, expected, got }
}
