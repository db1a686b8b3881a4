//! The bytes of a state that a member sends to others who take it over.

use alloc::vec::Vec;

use super::TRANSFER_BYTES_MAX;
use crate::bytes::{ByteReader, EndOfBytes, PutBytes};
use crate::{Frame, PeerId, STATE_BYTES_MAX, StateHash};

/// A state with all that a member needs to take it over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Keyframe {
    /// Whose it is.
    pub(crate) source: PeerId,
    /// All agree on the states up to here.
    pub(crate) agreed: Frame,
    /// The frame of the state.
    pub(crate) frame: Frame,
    /// Whether the simulation has ended in it.
    pub(crate) has_ended: bool,
    pub(crate) hash: StateHash,
    /// What the steps between gave.
    pub(crate) outputs: Vec<Vec<u8>>,
    pub(crate) state: Vec<u8>,
}

impl Keyframe {
    /// As bytes; none where they would be too many.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        if self.state.len() > STATE_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::new();
        bytes.put(&[self.source.slot(), u8::from(self.has_ended)]);
        bytes.put_u32(self.agreed.index());
        bytes.put_u32(self.frame.index());
        bytes.put(&self.hash.to_bytes());
        for output in self.outputs.iter().chain([&self.state]) {
            bytes.put_u32(u32::try_from(output.len()).ok()?);
            bytes.put(output);
        }
        (bytes.len() <= TRANSFER_BYTES_MAX).then_some(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote; none where it was not that.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(bytes);
        let read = Self::read(&mut reader).ok().flatten()?;
        (reader.remaining() == 0 && read.state.len() <= STATE_BYTES_MAX).then_some(read)
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Option<Self>, EndOfBytes> {
        let [slot, has_ended] = reader.array()?;
        let (agreed, frame) = (Frame::new(reader.u32()?), Frame::new(reader.u32()?));
        let hash = StateHash::from_bytes(reader.array()?);
        let (Some(source), true) = (PeerId::new(slot), has_ended <= 1 && agreed < frame) else {
            return Ok(None);
        };
        let mut outputs = Vec::new();
        for _ in agreed.until(frame) {
            outputs.push(take_bytes(reader)?);
        }
        let state = take_bytes(reader)?;
        let has_ended = has_ended == 1;
        Ok(Some(Self { source, agreed, frame, has_ended, hash, outputs, state }))
    }
}

fn take_bytes(reader: &mut ByteReader<'_>) -> Result<Vec<u8>, EndOfBytes> {
    let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    Ok(reader.take(length)?.to_vec())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_keyframe_is_read_as_it_was_written_and_refused_where_it_was_not() {
        let keyframe = Keyframe {
            source: PeerId::new(1).unwrap(),
            agreed: Frame::new(10),
            frame: Frame::new(12),
            has_ended: true,
            hash: StateHash::from_u128(5),
            outputs: vec![vec![1], vec![]],
            state: vec![1, 2, 3],
        };
        let bytes = keyframe.encode().unwrap();
        assert_eq!(Keyframe::decode(&bytes), Some(keyframe.clone()));
        for cut in 0..bytes.len() {
            assert_eq!(Keyframe::decode(&bytes[..cut]), None);
        }
        assert_eq!(Keyframe::decode(&[&bytes[..], &[0]].concat()), None);
        let no_frames = Keyframe { agreed: Frame::new(12), outputs: vec![], ..keyframe.clone() };
        assert_eq!(Keyframe::decode(&no_frames.encode().unwrap()), None);
        let too_long = Keyframe { state: vec![0; STATE_BYTES_MAX + 1], ..keyframe };
        assert_eq!(too_long.encode(), None);
    }
}
