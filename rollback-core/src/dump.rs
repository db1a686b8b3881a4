//! The dump that a member keeps of a desync: states as bytes, and the inputs that led there. Touches no disk.

use alloc::vec::Vec;
use core::ops::Range;

use thiserror::Error;

use crate::bytes::{ByteReader, EndOfBytes, PutBytes};
use crate::{Frame, PeerId};

/// One member's side of a desync, to be laid beside another's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesyncDump {
    /// The room's number for the match.
    pub session: u64,
    /// Which episode of the match, from 0.
    pub episode: u32,
    /// Whose side this is.
    pub peer: PeerId,
    /// Every state up to this frame is equal on all members.
    pub agreed: Frame,
    /// The states of this side, in the order of their frames: the first that differs, as it came when the frames were stepped
    /// again, and the one that was reported, as it was then. None where the game does not write its states.
    pub states: Vec<DumpedState>,
    /// How many players each row has.
    pub players: u8,
    /// The frames before the reported one as far as they are kept, in order and without a gap.
    pub rows: Vec<DumpedRow>,
}

/// A state as the game writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DumpedState {
    /// Its frame.
    pub frame: Frame,
    /// Whether it came when the frames were stepped again, after the desync was noticed.
    pub is_replayed: bool,
    /// The state.
    pub bytes: Vec<u8>,
}

/// What was done in a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DumpedRow {
    /// The frame.
    pub frame: Frame,
    /// The input bytes of all players, one after the other.
    pub inputs: Vec<u8>,
    /// The flags of each player's input.
    pub flags: Vec<u8>,
}

/// How two sides of a desync differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DumpDifference {
    /// The first frame of which they hold other inputs.
    pub inputs: Option<Frame>,
    /// Of each state that both hold, from the first byte that differs to behind the last one.
    pub states: Vec<(Frame, bool, Option<Range<usize>>)>,
}

impl DesyncDump {
    /// The dump as bytes: a file of its own beside the recording.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.put_u64(self.session);
        bytes.put_u32(self.episode);
        bytes.put(&[self.peer.slot(), self.players]);
        bytes.put_u32(self.agreed.index());
        bytes.put_u8(u8::try_from(self.states.len()).unwrap_or(u8::MAX));
        for state in self.states.iter().take(u8::MAX.into()) {
            bytes.put_u32(state.frame.index());
            bytes.put_u8(u8::from(state.is_replayed));
            put_bytes(&mut bytes, &state.bytes);
        }
        bytes.put_u32(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
        for row in &self.rows {
            bytes.put_u32(row.frame.index());
            put_bytes(&mut bytes, &row.inputs);
            put_bytes(&mut bytes, &row.flags);
        }
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// When the bytes are no dump, or end too early or too late.
    pub fn decode(bytes: &[u8]) -> Result<Self, DumpError> {
        let mut reader = ByteReader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(DumpError::NoDump);
        }
        let (session, episode) = (reader.u64()?, reader.u32()?);
        let [slot, players] = reader.array()?;
        let peer = PeerId::new(slot).ok_or(DumpError::Peer { got: slot })?;
        let agreed = Frame::new(reader.u32()?);
        // Grown as they are read, so that a count without anything behind it costs nothing.
        let mut states = Vec::new();
        for _ in 0..reader.u8()? {
            let (frame, replayed) = (Frame::new(reader.u32()?), reader.u8()?);
            let bytes = take_bytes(&mut reader)?;
            states.push(DumpedState { frame, is_replayed: replayed != 0, bytes });
        }
        let mut rows = Vec::new();
        for _ in 0..reader.u32()? {
            let frame = Frame::new(reader.u32()?);
            let (inputs, flags) = (take_bytes(&mut reader)?, take_bytes(&mut reader)?);
            rows.push(DumpedRow { frame, inputs, flags });
        }
        match reader.remaining() {
            0 => Ok(Self { session, episode, peer, agreed, states, players, rows }),
            got => Err(DumpError::Trailing { got }),
        }
    }

    /// How this side differs from another one of the same desync.
    ///
    /// # Errors
    /// When they are of two episodes.
    pub fn compare(&self, other: &Self) -> Result<DumpDifference, DumpError> {
        if (self.session, self.episode) != (other.session, other.episode) {
            return Err(DumpError::OtherEpisode);
        }
        let theirs = |row: &DumpedRow| other.rows.iter().find(|theirs| theirs.frame == row.frame);
        let differs = |row: &&DumpedRow| theirs(row).is_some_and(|theirs| theirs != *row);
        let inputs = self.rows.iter().find(differs).map(|row| row.frame);
        let states = self.states.iter().filter_map(|ours| {
            let is_same = |theirs: &&DumpedState| {
                (theirs.frame, theirs.is_replayed) == (ours.frame, ours.is_replayed)
            };
            let theirs = other.states.iter().find(is_same)?;
            Some((ours.frame, ours.is_replayed, difference(&ours.bytes, &theirs.bytes)))
        });
        Ok(DumpDifference { inputs, states: states.collect() })
    }
}

/// From the first byte that differs to behind the last one.
fn difference(ours: &[u8], theirs: &[u8]) -> Option<Range<usize>> {
    if ours == theirs {
        return None;
    }
    let end = ours.len().max(theirs.len());
    let differs = |index: &usize| ours.get(*index) != theirs.get(*index);
    let first = (0..end).find(differs)?;
    let last = (first..end).rev().find(differs)?;
    Some(first..last + 1)
}

/// Why a dump cannot be read or compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The bytes do not begin as a dump of this version does.
    #[error("these bytes are no dump of this version")]
    NoDump,
    /// The bytes end too early.
    #[error(transparent)]
    End(#[from] EndOfBytes),
    /// There is no such peer.
    #[error("there is no peer in slot {got}")]
    Peer {
        /// The slot.
        got: u8,
    },
    /// Bytes follow the last row.
    #[error("{got} bytes follow the last row")]
    Trailing {
        /// How many.
        got: usize,
    },
    /// The dumps are of two episodes.
    #[error("expected two sides of one episode, got dumps of two episodes")]
    OtherEpisode,
}

fn put_bytes(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.put_u32(u32::try_from(field.len()).unwrap_or(u32::MAX));
    bytes.put(field);
}

fn take_bytes(reader: &mut ByteReader<'_>) -> Result<Vec<u8>, EndOfBytes> {
    let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    Ok(reader.take(length)?.to_vec())
}

/// Says that this is a dump of a desync, and of which version.
const MAGIC: [u8; 4] = *b"RBD\x01";

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn dump(slot: u8, state: &[u8]) -> DesyncDump {
        let row =
            |frame| DumpedRow { frame: Frame::new(frame), inputs: vec![1, 2], flags: vec![0, 0] };
        let state = DumpedState { frame: Frame::new(12), is_replayed: true, bytes: state.to_vec() };
        DesyncDump {
            session: 3,
            episode: 1,
            peer: PeerId::new(slot).unwrap(),
            agreed: Frame::new(10),
            states: vec![state],
            players: 2,
            rows: vec![row(10), row(11)],
        }
    }

    #[test]
    fn a_dump_is_read_as_it_was_written_and_refused_where_it_was_not() {
        let whole = dump(1, &[1, 2, 3]).encode();
        assert_eq!(DesyncDump::decode(&whole), Ok(dump(1, &[1, 2, 3])));
        for cut in 0..whole.len() {
            assert!(matches!(DesyncDump::decode(&whole[..cut]), Err(DumpError::End(_))), "{cut}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(DesyncDump::decode(&longer), Err(DumpError::Trailing { got: 1 }));
        assert_eq!(DesyncDump::decode(&[0; 40]), Err(DumpError::NoDump));
        let mut other = whole;
        other[16] = 9;
        assert_eq!(DesyncDump::decode(&other), Err(DumpError::Peer { got: 9 }));
    }

    #[test]
    fn two_sides_are_compared_by_inputs_and_states() {
        let (one, mut other) = (dump(0, &[1, 2, 3, 4]), dump(1, &[1, 9, 3, 9, 9]));
        let frame = Frame::new(12);
        let states = vec![(frame, true, Some(1..5))];
        assert_eq!(one.compare(&other), Ok(DumpDifference { inputs: None, states }));
        other.rows[1].inputs[0] = 7;
        other.states[0].bytes = vec![1, 2, 3, 4];
        let inputs = Some(Frame::new(11));
        let states = vec![(frame, true, None)];
        assert_eq!(one.compare(&other), Ok(DumpDifference { inputs, states }));
        other.episode = 2;
        assert_eq!(one.compare(&other), Err(DumpError::OtherEpisode));
    }
}
