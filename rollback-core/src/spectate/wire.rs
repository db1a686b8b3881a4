//! The bytes of the datagrams between spectators and hosts. No decisions.

use alloc::vec::Vec;

use crate::bytes::{ByteReader, PutBytes};
use crate::hash::{keyed_hash, short_hash};
use crate::recording::stream::{self, END_BYTES};
use crate::session::End;

/// Keeps datagrams of another episode out, and damaged ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(session: u64, episode: u32) -> Self {
        Self(keyed_hash(&episode.to_le_bytes(), session ^ SALT))
    }

    fn tag(self, body: &[u8]) -> u32 {
        short_hash(body, self.0)
    }

    pub(super) fn seal(self, bytes: &mut [u8]) {
        let tag = self.tag(bytes.get(TAG_BYTES..).unwrap_or_default());
        if let Some(slot) = bytes.get_mut(..TAG_BYTES) {
            slot.copy_from_slice(&tag.to_le_bytes());
        }
    }

    /// Writes a datagram of this kind.
    fn write(self, kind: u8, bytes: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        bytes.clear();
        bytes.put(&[0; TAG_BYTES]);
        bytes.put_u8(kind);
        body(bytes);
        self.seal(bytes);
    }

    /// The body of a datagram, where it is one of this kind and episode.
    fn open(self, kind: u8, bytes: &[u8]) -> Option<ByteReader<'_>> {
        let (tag, body) = bytes.split_first_chunk::<TAG_BYTES>()?;
        let mut reader = ByteReader::new(body);
        let is_sound = u32::from_le_bytes(*tag) == self.tag(body);
        (is_sound && reader.u8().ok()? == kind).then_some(reader)
    }
}

/// What a spectator holds of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    /// Counts a spectator's datagrams, so that an older one that comes late takes nothing back.
    pub(super) number: u32,
    /// Every byte before this one.
    pub(super) end: u32,
    /// Bit `n`: the whole piece `n + 1` after the one in which `end` lies.
    pub(super) beyond: u32,
}

/// Some bytes of the stream, which end with a piece or with what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece<'a> {
    pub(super) offset: u32,
    pub(super) bytes: &'a [u8],
}

/// A spectator asks a host what it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ask {
    /// How many entries the mark is to be of.
    pub(super) at: u32,
    /// The host is to send pieces; otherwise it need not any more.
    pub(super) is_fed: bool,
}

/// A host says what it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Told {
    /// How many entries and bytes.
    pub(super) entries: u32,
    pub(super) length: u32,
    /// What stands for the first `at` entries: as many as were asked for, or all.
    pub(super) at: u32,
    pub(super) mark: u64,
    /// Nothing more comes from here, since the episode ended so for this host; it may have gone on for others.
    pub(super) over: Option<End>,
}

impl Ask {
    pub(super) fn encode(self, key: Key, bytes: &mut Vec<u8>) {
        key.write(ASK, bytes, |bytes| {
            bytes.put_u8(self.is_fed.into());
            bytes.put_u32(self.at);
        });
    }

    pub(super) fn decode(key: Key, bytes: &[u8]) -> Option<Self> {
        let mut reader = key.open(ASK, bytes)?;
        let (is_fed, at) = (reader.u8().ok()?, reader.u32().ok()?);
        (is_fed < 2 && reader.remaining() == 0).then_some(Self { at, is_fed: is_fed == 1 })
    }
}

impl Told {
    pub(super) fn encode(self, key: Key, bytes: &mut Vec<u8>) {
        key.write(TOLD, bytes, |bytes| {
            bytes.put_u32(self.entries);
            bytes.put_u32(self.length);
            bytes.put_u32(self.at);
            bytes.put_u64(self.mark);
            if let Some(end) = self.over {
                stream::put_end(bytes, end);
            }
        });
    }

    pub(super) fn decode(key: Key, bytes: &[u8]) -> Option<Self> {
        let mut reader = key.open(TOLD, bytes)?;
        let (entries, length) = (reader.u32().ok()?, reader.u32().ok()?);
        let (at, mark) = (reader.u32().ok()?, reader.u64().ok()?);
        let over = match reader.rest() {
            [] => None,
            end if end.len() == END_BYTES => Some(stream::take_end(end).ok()?),
            _ => return None,
        };
        (at <= entries).then_some(Self { entries, length, at, mark, over })
    }
}

impl Held {
    pub(super) fn encode(self, key: Key, bytes: &mut Vec<u8>) {
        key.write(HELD, bytes, |bytes| {
            bytes.put_u32(self.number);
            bytes.put_u32(self.end);
            bytes.put_u32(self.beyond);
        });
    }

    pub(super) fn decode(key: Key, bytes: &[u8]) -> Option<Self> {
        let mut reader = key.open(HELD, bytes)?;
        let held = Self {
            number: reader.u32().ok()?,
            end: reader.u32().ok()?,
            beyond: reader.u32().ok()?,
        };
        (reader.remaining() == 0).then_some(held)
    }
}

impl<'a> Piece<'a> {
    pub(super) fn encode(self, key: Key, bytes: &mut Vec<u8>) {
        key.write(PIECE, bytes, |bytes| {
            bytes.put_u32(self.offset);
            bytes.put(self.bytes);
        });
    }

    pub(super) fn decode(key: Key, bytes: &'a [u8]) -> Option<Self> {
        let mut reader = key.open(PIECE, bytes)?;
        let offset = reader.u32().ok()?;
        let bytes = reader.rest();
        (bytes.len() <= PIECE_BYTES as usize).then_some(Self { offset, bytes })
    }
}

/// The stream is cut into pieces of this length: with its head one fits a datagram.
pub(super) const PIECE_BYTES: u32 = 1_000;

/// How many pieces may be under way to one spectator, as the mask of those held tells them apart.
pub(super) const WINDOW_PIECES: u32 = 32;

const TAG_BYTES: usize = 4;
const HELD: u8 = 1;
const PIECE: u8 = 2;
const ASK: u8 = 3;
const TOLD: u8 = 4;

/// Keeps these keys apart from those between members.
const SALT: u64 = 0x7370_6563_7461_7465;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::EndCause;
    use crate::{Frame, PeerId};

    #[test]
    fn datagrams_are_read_as_they_were_written_and_by_nobody_else() {
        let (key, other) = (Key::new(1, 0), Key::new(1, 1));
        let mut bytes = Vec::new();
        let held = Held { number: 7, end: 1_234, beyond: 5 };
        held.encode(key, &mut bytes);
        assert_eq!(Held::decode(key, &bytes), Some(held));
        assert_eq!(Held::decode(other, &bytes), None);
        assert_eq!(Piece::decode(key, &bytes), None);
        let piece = Piece { offset: 9, bytes: &[1, 2, 3] };
        piece.encode(key, &mut bytes);
        assert_eq!(Piece::decode(key, &bytes), Some(piece));
        let ask = Ask { at: 300, is_fed: true };
        let end = End { frame: Frame::new(9), cause: EndCause::Named(3), by: PeerId::new(1) };
        for over in [None, Some(end)] {
            let told = Told { entries: 5, length: 900, at: 4, mark: 17, over };
            told.encode(key, &mut bytes);
            assert_eq!(Told::decode(key, &bytes), Some(told));
            assert_eq!(Ask::decode(key, &bytes), None);
            ask.encode(key, &mut bytes);
            assert_eq!(Ask::decode(key, &bytes), Some(ask));
            assert_eq!(Told::decode(key, &bytes), None);
        }
        piece.encode(key, &mut bytes);
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            assert_eq!(Piece::decode(key, &damaged), None, "byte {index}");
        }
    }
}
