//! The bytes of hints in an inputs datagram.

use alloc::vec::Vec;

use super::WireError;
use super::run::ones;
use crate::bytes::{ByteReader, PutBytes};
use crate::input_queue::InputQueue;
use crate::prediction::HINT_FRAMES_MAX;
use crate::{Frame, PeerId};

/// Hints as they lie in a datagram; their lengths are checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HintRun<'a> {
    /// Whose players are meant.
    pub(crate) owner: PeerId,
    /// The first frame that the sender had not given when it sent this.
    pub(crate) first: Frame,
    players: usize,
    width: usize,
    /// A bit for each frame and player: set where there is a hint.
    mask: &'a [u8],
    inputs: &'a [u8],
}

impl<'a> HintRun<'a> {
    /// Reads what follows the slot of `owner`, who has `players` players.
    pub(super) fn decode(
        reader: &mut ByteReader<'a>,
        owner: PeerId,
        players: usize,
        width: usize,
    ) -> Result<Self, WireError> {
        let (first, count) = (Frame::new(reader.u32()?), reader.u8()?);
        if u32::from(count) > HINT_FRAMES_MAX {
            return Err(WireError::Range { field: "hinted frames", got: count.into() });
        }
        let bits = usize::from(count) * players;
        let mask = reader.take(bits.div_ceil(8))?;
        let inputs = reader.take(ones(mask, bits) * width)?;
        Ok(Self { owner, first, players, width, mask, inputs })
    }

    /// The hints: the frame, the player's place among the owner's players, the input.
    pub(crate) fn hints(&self) -> impl Iterator<Item = (Frame, usize, &'a [u8])> + use<'a> {
        let Self { first, players, mask, .. } = *self;
        let is_set = move |bit: &usize| mask.get(bit / 8).is_some_and(|b| b >> (bit % 8) & 1 == 1);
        let bits = (0..mask.len() * 8).filter(is_set);
        bits.zip(self.inputs.chunks_exact(self.width)).map(move |(bit, input)| {
            let offset = u32::try_from(bit / players.max(1)).unwrap_or(u32::MAX);
            (first.plus(offset), bit % players.max(1), input)
        })
    }
}

/// Appends the hints that `owner`'s players gave for frames to come, as far as they fit into `budget` bytes. Answers
/// whether there are any.
pub(crate) fn put_hints(
    queue: &InputQueue,
    owner: PeerId,
    budget: usize,
    bytes: &mut Vec<u8>,
) -> bool {
    let first = queue.end(owner);
    let players = queue.players_of(owner);
    let hint = |bit: usize| {
        let offset = u32::try_from(bit / players.len()).unwrap_or(u32::MAX);
        queue.hint(*players.get(bit % players.len())?, first.plus(offset))
    };
    let cells = HINT_FRAMES_MAX as usize * players.len();
    // Whole frames, each as if all players gave a hint.
    let fits = |bit: usize| {
        let cells = (bit / players.len() + 1) * players.len();
        HEAD_BYTES + cells.div_ceil(8) + cells * queue.width() <= budget
    };
    let Some(last) = (0..cells).rev().find(|bit| fits(*bit) && hint(*bit).is_some()) else {
        return false;
    };
    let frames = last / players.len() + 1;
    bytes.put_u8(owner.slot() | HINTS);
    bytes.put_u32(first.index());
    bytes.put_u8(u8::try_from(frames).unwrap_or(u8::MAX));
    let mask_at = bytes.len();
    bytes.resize(mask_at + (frames * players.len()).div_ceil(8), 0);
    for bit in 0..=last {
        let Some(input) = hint(bit) else { continue };
        if let Some(byte) = bytes.get_mut(mask_at + bit / 8) {
            *byte |= 1 << (bit % 8);
        }
        bytes.put(input);
    }
    true
}

/// The slot, the first frame and the count.
const HEAD_BYTES: usize = 6;

/// Tells hints from a run, which begins with a bare slot.
pub(super) const HINTS: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PlayerHandle, Roster, SessionConfig};

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
    }

    /// Peer 1 hosts players 1 and 2, with inputs of two bytes, and has given some hints.
    fn hinted(hints: &[(u8, u8)]) -> InputQueue {
        let config = SessionConfig::builder().players(3).input_width(2).build().unwrap();
        let roster = Roster::new(&[peer(0), peer(1), peer(1)]).unwrap();
        let mut queue = InputQueue::new(&config, &roster);
        for (player, frame) in hints {
            let (at, input) = (Frame::new((*frame).into()), [*player, *frame]);
            let player = PlayerHandle::new(*player).unwrap();
            assert!(queue.take_hint(peer(1), player, at, &input));
        }
        queue
    }

    fn read(bytes: &[u8]) -> Result<Vec<(u32, usize, Vec<u8>)>, WireError> {
        let mut reader = ByteReader::new(bytes);
        assert_eq!(reader.u8(), Ok(HINTS | 1));
        let run = HintRun::decode(&mut reader, peer(1), 2, 2)?;
        assert_eq!((run.owner, run.first, reader.remaining()), (peer(1), Frame::ZERO, 0));
        Ok(run.hints().map(|(frame, place, input)| (frame.index(), place, input.into())).collect())
    }

    #[test]
    fn hints_are_read_as_they_were_written() {
        let queue = hinted(&[(1, 0), (2, 0), (2, 3), (1, 31)]);
        let mut bytes = Vec::new();
        assert!(put_hints(&queue, peer(1), 1_000, &mut bytes));
        // 32 frames of two players in eight bytes of mask, and four inputs.
        assert_eq!(bytes.len(), HEAD_BYTES + 8 + 4 * 2);
        let expected = [(0, 0, [1, 0]), (0, 1, [2, 0]), (3, 1, [2, 3]), (31, 0, [1, 31])];
        let expected = expected.map(|(frame, place, input)| (frame, place, input.to_vec()));
        assert_eq!(read(&bytes).unwrap(), expected);
    }

    #[test]
    fn without_a_hint_nothing_is_written() {
        let mut bytes = Vec::new();
        assert!(!put_hints(&hinted(&[(1, 5)]), peer(0), 1_000, &mut bytes));
        assert!(!put_hints(&hinted(&[]), peer(1), 1_000, &mut bytes));
        assert_eq!(bytes, []);
    }

    #[test]
    fn hints_end_where_a_datagram_is_full() {
        let queue = hinted(&[(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2)]);
        let written = |budget| {
            let mut bytes = Vec::new();
            put_hints(&queue, peer(1), budget, &mut bytes).then(|| read(&bytes).unwrap().len())
        };
        // A frame takes two inputs; the mask of up to four frames is one byte.
        let needs = |frames: usize| HEAD_BYTES + 1 + frames * 4;
        assert_eq!(written(needs(1) - 1), None);
        assert_eq!(written(needs(1)), Some(2));
        assert_eq!(written(needs(3) - 1), Some(4));
        assert_eq!(written(needs(3)), Some(6));
    }

    #[test]
    fn more_frames_than_may_be_hinted_and_missing_bytes_are_refused() {
        let decode = |bytes: &[u8]| {
            HintRun::decode(&mut ByteReader::new(bytes), peer(1), 2, 2).map(|run| run.mask.len())
        };
        let with_count = |count: u8| [&[0, 0, 0, 0, count][..], &[0; 9]].concat();
        assert_eq!(decode(&with_count(32)), Ok(8));
        let range = WireError::Range { field: "hinted frames", got: 33 };
        assert_eq!(decode(&with_count(33)), Err(range));
        let whole = [0, 0, 0, 0, 1, 0b11, 1, 2, 3, 4];
        assert_eq!(decode(&whole), Ok(1));
        for length in 0..whole.len() {
            assert!(matches!(decode(&whole[..length]), Err(WireError::End(_))), "{length}");
        }
        // Bits behind the last frame mean nothing.
        let run = [0, 0, 0, 0, 1, 0b1101, 1, 2];
        let mut reader = ByteReader::new(&run);
        let run = HintRun::decode(&mut reader, peer(1), 2, 2).unwrap();
        assert_eq!((run.hints().count(), reader.remaining()), (1, 0));
    }
}
