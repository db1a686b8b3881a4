//! Sections, of which a recording is made: each has its length, its first frame, a checksum and the digest of all before it.

use alloc::vec::Vec;

use crate::bytes::PutBytes;
use crate::hash::keyed_hash;
use crate::recording::RecordingError;
use crate::recording::cursor::Cursor;
use crate::{Chain, Frame};

/// What a section holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Header,
    Block,
    End,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Block => 2,
            Self::End => 3,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Header),
            2 => Some(Self::Block),
            3 => Some(Self::End),
            _ => None,
        }
    }
}

/// A section that was read: its head is sound, and its body is the one the head speaks of.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    pub(super) kind: Kind,
    pub(super) count: u8,
    pub(super) first: Frame,
    /// Where the section begins in the file.
    pub(super) offset: usize,
    pub(super) body: Cursor<'a>,
}

/// Appends a section and answers the digest of all up to its end.
pub(super) fn put_section(
    bytes: &mut Vec<u8>,
    chain: Chain,
    (kind, first, count): (Kind, Frame, u8),
    body: &[u8],
) -> Chain {
    let start = bytes.len();
    bytes.put_u8(kind.code());
    bytes.put_u8(count);
    // A body is at most a block of the longest rows, far below 4 GiB.
    bytes.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    bytes.put_u32(first.index());
    bytes.put_u64(keyed_hash(body, CHECKSUM_SEED));
    bytes.put_u64(chain.to_u64());
    let head = bytes.get(start..).unwrap_or_default();
    let check = check_of(head);
    let next = chain.link(head);
    bytes.put_u32(check);
    bytes.put(body);
    next
}

/// Reads the section at `offset`; `None` when the file ends within it. Answers the digest of all up to its end too.
pub(super) fn read_section(
    bytes: &[u8],
    offset: usize,
    chain: Chain,
) -> Result<Option<(Section<'_>, Chain)>, RecordingError> {
    let rest = bytes.get(offset..).unwrap_or_default();
    let Some((head, rest)) = rest.split_at_checked(HEAD_BYTES) else { return Ok(None) };
    let mut cursor = Cursor::new(head, offset);
    let checked = head.get(..HEAD_BYTES - 4).unwrap_or_default();
    let (kind, count) = (cursor.u8()?, cursor.u8()?);
    let (length, first) = (cursor.u32()?, Frame::new(cursor.u32()?));
    let (checksum, before, check) = (cursor.u64()?, cursor.u64()?, cursor.u32()?);
    if check != check_of(checked) {
        return Err(RecordingError::Head { offset });
    }
    let kind = Kind::from_code(kind).ok_or(RecordingError::Kind { offset, got: kind })?;
    if before != chain.to_u64() {
        return Err(RecordingError::Chain { offset, expected: chain.to_u64(), got: before });
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let Some(body) = rest.get(..length) else { return Ok(None) };
    if keyed_hash(body, CHECKSUM_SEED) != checksum {
        return Err(RecordingError::Checksum { offset, first });
    }
    let body = Cursor::new(body, offset + HEAD_BYTES);
    Ok(Some((Section { kind, count, first, offset, body }, chain.link(checked))))
}

/// The digest before the first section: of the magic and the version.
pub(super) fn first_chain(opening: &[u8]) -> Chain {
    Chain::default().link(opening)
}

pub(super) fn check_of(head: &[u8]) -> u32 {
    Chain::from_u64(keyed_hash(head, CHECKSUM_SEED)).short()
}

/// How a recording begins. The line ends and the end-of-file byte show at once when a transfer took it for text.
pub const MAGIC: [u8; 6] = *b"rbk\r\n\x1a";

/// The version of the format that is written and read.
pub const FORMAT_VERSION: u16 = 1;

/// How many frames a block holds: a second at 60 Hz is what a crash may cost beyond the frames not yet agreed.
pub const BLOCK_FRAMES: u32 = 60;

/// How many bytes come before the first section.
pub(super) const OPENING_BYTES: usize = MAGIC.len() + 2;

/// How many bytes a section has before its body.
pub(super) const HEAD_BYTES: usize = 30;

const CHECKSUM_SEED: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Vec<u8> {
        let mut bytes = Vec::new();
        let place = (Kind::Block, Frame::new(60), 2);
        put_section(&mut bytes, Chain::from_u64(5), place, b"body");
        bytes
    }

    #[test]
    fn a_section_is_read_as_it_was_written() {
        let bytes = section();
        assert_eq!(bytes.len(), HEAD_BYTES + 4);
        let (section, _) = read_section(&bytes, 0, Chain::from_u64(5)).unwrap().unwrap();
        assert_eq!((section.kind, section.first, section.count), (Kind::Block, Frame::new(60), 2));
        assert_eq!(section.body.rest(), b"body");
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let sound = section();
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_section(&bytes, 0, Chain::from_u64(5)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_section_that_is_cut_short_is_no_damage() {
        let bytes = section();
        for length in 0..bytes.len() {
            let read = read_section(&bytes[..length], 0, Chain::from_u64(5));
            assert!(matches!(read, Ok(None)), "length {length}");
        }
    }

    #[test]
    fn a_section_of_another_file_is_refused() {
        let expected = RecordingError::Chain { offset: 0, expected: 6, got: 5 };
        assert_eq!(read_section(&section(), 0, Chain::from_u64(6)).unwrap_err(), expected);
    }
}
