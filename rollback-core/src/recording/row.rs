//! The bytes of a frame in a recording: only what differs from the frame before it.

use alloc::vec;
use alloc::vec::Vec;

use crate::bytes::PutBytes;
use crate::item::{ITEM_BYTES, Item};
use crate::recording::RecordingError;
use crate::recording::cursor::Cursor;
use crate::session::StableFrame;
use crate::{Frame, PEERS_MAX, PeerId, STATE_BYTES_MAX, SessionConfig, StateHash};

/// The inputs and flags of the last row; each block begins with idle inputs and no flags.
#[derive(Clone, Debug)]
struct Last {
    width: usize,
    idle: Vec<u8>,
    inputs: Vec<u8>,
    flags: Vec<u8>,
}

impl Last {
    fn new(config: &SessionConfig) -> Self {
        let idle = config.idle_input().repeat(config.players());
        let flags = vec![0; config.players()];
        Self { width: config.input_width(), inputs: idle.clone(), idle, flags }
    }

    fn begin_block(&mut self) {
        self.inputs.copy_from_slice(&self.idle);
        self.flags.fill(0);
    }
}

/// Writes rows.
#[derive(Clone, Debug)]
pub(super) struct RowEncoder {
    last: Last,
    output: Vec<u8>,
}

impl RowEncoder {
    pub(super) fn new(config: &SessionConfig) -> Self {
        Self { last: Last::new(config), output: Vec::new() }
    }

    pub(super) fn begin_block(&mut self) {
        self.last.begin_block();
        self.output.clear();
    }

    /// Appends a row, whose lengths and limits the caller has checked.
    pub(super) fn encode(&mut self, row: &StableFrame<'_>, bytes: &mut Vec<u8>) {
        let at = bytes.len();
        let mut marks = 0;
        bytes.put_u8(marks);
        if put_changes(bytes, row.inputs, &mut self.last.inputs, self.last.width) {
            marks |= INPUTS;
        }
        if put_changes(bytes, row.flags, &mut self.last.flags, 1) {
            marks |= FLAGS;
        }
        if !row.items.is_empty() {
            marks |= ITEMS;
            bytes.put_u8(u8::try_from(row.items.len()).unwrap_or(u8::MAX));
            for (peer, item) in row.items {
                bytes.put_u8(peer.slot());
                item.encode(bytes);
            }
        }
        if row.output.len() != self.output.len() {
            marks |= OUTPUT_LENGTH;
            bytes.put_u32(u32::try_from(row.output.len()).unwrap_or(u32::MAX));
            bytes.put(row.output);
        } else if row.output != self.output {
            marks |= OUTPUT;
            bytes.put(row.output);
        }
        if marks & (OUTPUT | OUTPUT_LENGTH) != 0 {
            self.output.clear();
            self.output.extend_from_slice(row.output);
        }
        if let Some(hash) = row.state_hash {
            marks |= STATE_HASH;
            bytes.put(&hash.to_bytes());
        }
        if let Some(keyframe) = row.keyframe {
            marks |= KEYFRAME;
            bytes.put_u32(u32::try_from(keyframe.len()).unwrap_or(u32::MAX));
            bytes.put(keyframe);
        }
        if let Some(byte) = bytes.get_mut(at) {
            *byte = marks;
        }
    }
}

/// Reads rows. There is one way to write a row, and any other is refused: equal frames are equal bytes.
#[derive(Clone, Debug)]
pub(super) struct RowDecoder<'a> {
    last: Last,
    peers: usize,
    output: &'a [u8],
    items: Vec<(PeerId, Item)>,
}

impl<'a> RowDecoder<'a> {
    pub(super) fn new(config: &SessionConfig, peers: usize) -> Self {
        Self { last: Last::new(config), peers, output: &[], items: Vec::new() }
    }

    pub(super) fn begin_block(&mut self) {
        self.last.begin_block();
        self.output = &[];
    }

    /// Reads the row of `frame`.
    pub(super) fn decode(
        &mut self,
        frame: Frame,
        body: &mut Cursor<'a>,
    ) -> Result<StableFrame<'_>, RecordingError> {
        let offset = body.offset();
        let marks = body.u8()?;
        let has = |mark: u8| marks & mark != 0;
        if has(!ALL_MARKS) || has(OUTPUT) && has(OUTPUT_LENGTH) {
            return Err(RecordingError::Marks { offset, got: marks });
        }
        if has(INPUTS) {
            take_changes(body, &mut self.last.inputs, self.last.width)?;
        }
        if has(FLAGS) {
            take_changes(body, &mut self.last.flags, 1)?;
        }
        self.items.clear();
        if has(ITEMS) {
            self.take_items(body)?;
        }
        if has(OUTPUT_LENGTH) {
            let offset = body.offset();
            let length = usize::try_from(body.u32()?).unwrap_or(usize::MAX);
            if length > OUTPUT_BYTES_MAX {
                return Err(RecordingError::Output { offset, max: OUTPUT_BYTES_MAX, got: length });
            }
            if length == self.output.len() {
                return Err(RecordingError::Unchanged { offset });
            }
            self.output = body.take(length)?;
        }
        if has(OUTPUT) {
            let offset = body.offset();
            let output = body.take(self.output.len())?;
            if output == self.output {
                return Err(RecordingError::Unchanged { offset });
            }
            self.output = output;
        }
        let hash = if has(STATE_HASH) { Some(StateHash::from_bytes(body.array()?)) } else { None };
        let keyframe = if has(KEYFRAME) { Some(take_keyframe(body)?) } else { None };
        // A state that was taken over has its hash and the item that says whose it is, and only such a state is here.
        let resyncs = self.items.iter().filter(|(_, item)| matches!(item, Item::Resync { .. }));
        let is_whole = keyframe.is_none() || hash.is_some();
        if resyncs.count() != usize::from(keyframe.is_some()) || !is_whole {
            return Err(RecordingError::Marks { offset, got: marks });
        }
        Ok(StableFrame {
            frame,
            inputs: &self.last.inputs,
            flags: &self.last.flags,
            items: &self.items,
            output: self.output,
            state_hash: hash,
            keyframe,
        })
    }

    fn take_items(&mut self, body: &mut Cursor<'a>) -> Result<(), RecordingError> {
        let offset = body.offset();
        let count = usize::from(body.u8()?);
        if count == 0 || count > ITEMS_PER_FRAME_MAX {
            return Err(RecordingError::Items { offset, max: ITEMS_PER_FRAME_MAX, got: count });
        }
        for _ in 0..count {
            let offset = body.offset();
            let slot = body.u8()?;
            let last = self.items.last().map_or(0, |(peer, _)| peer.slot());
            let peer = PeerId::new(slot)
                .filter(|peer| peer.index() < self.peers && peer.slot() >= last)
                .ok_or(RecordingError::Peer { offset, got: slot })?;
            let offset = body.offset();
            let item = Item::decode(body.reader())
                .map_err(|source| RecordingError::Item { offset, source })?;
            self.items.push((peer, item));
        }
        Ok(())
    }
}

fn take_keyframe<'a>(body: &mut Cursor<'a>) -> Result<&'a [u8], RecordingError> {
    let offset = body.offset();
    let length = usize::try_from(body.u32()?).unwrap_or(usize::MAX);
    if length > STATE_BYTES_MAX {
        return Err(RecordingError::Output { offset, max: STATE_BYTES_MAX, got: length });
    }
    body.take(length)
}

/// Appends a mask of the values that differ, and those values; nothing when none does. Says whether one did.
fn put_changes(bytes: &mut Vec<u8>, values: &[u8], last: &mut [u8], width: usize) -> bool {
    if values == last {
        return false;
    }
    let mask_at = bytes.len();
    bytes.resize(mask_at + (last.len() / width).div_ceil(8), 0);
    for (index, (value, last)) in
        values.chunks_exact(width).zip(last.chunks_exact_mut(width)).enumerate()
    {
        if value == last {
            continue;
        }
        if let Some(byte) = bytes.get_mut(mask_at + index / 8) {
            *byte |= 1 << (index % 8);
        }
        bytes.put(value);
        last.copy_from_slice(value);
    }
    true
}

fn take_changes(
    body: &mut Cursor<'_>,
    last: &mut [u8],
    width: usize,
) -> Result<(), RecordingError> {
    let count = last.len() / width;
    let offset = body.offset();
    let mask = body.take(count.div_ceil(8))?;
    let is_set = |bit: usize| mask.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1);
    if (count..mask.len() * 8).any(is_set) || mask.iter().all(|byte| *byte == 0) {
        return Err(RecordingError::Mask { offset });
    }
    for (index, last) in last.chunks_exact_mut(width).enumerate() {
        if is_set(index) {
            let offset = body.offset();
            let value = body.take(width)?;
            if value == last {
                return Err(RecordingError::Unchanged { offset });
            }
            last.copy_from_slice(value);
        }
    }
    Ok(())
}

/// A mask of players and their changed inputs follow.
const INPUTS: u8 = 1;
/// A mask of players and their changed flags follow.
const FLAGS: u8 = 2;
/// A count and as many items follow.
const ITEMS: u8 = 4;
/// The output follows; it is as long as the last one.
const OUTPUT: u8 = 8;
/// The length of the output and the output follow.
const OUTPUT_LENGTH: u8 = 16;
/// The state hash follows.
const STATE_HASH: u8 = 32;
/// The length of the state and the state follow, which all took over.
const KEYFRAME: u8 = 64;
const ALL_MARKS: u8 = INPUTS | FLAGS | ITEMS | OUTPUT | OUTPUT_LENGTH | STATE_HASH | KEYFRAME;

/// The longest output of one frame: images of several agents fit, and a block stays far below 4 GiB.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// The most items of one frame: as many as the datagrams of all peers can carry for it.
pub const ITEMS_PER_FRAME_MAX: usize = PEERS_MAX * crate::wire::ITEMS_PER_FRAME;

const _: () = assert!(ITEM_BYTES == 3, "the format says that an item takes three bytes");

#[cfg(test)]
mod tests {
    use super::*;

    const PEERS: usize = 2;

    fn config() -> SessionConfig {
        SessionConfig::builder().players(3).input_width(2).idle_input(&[7, 7]).build().unwrap()
    }

    fn idle() -> StableFrame<'static> {
        StableFrame {
            frame: Frame::ZERO,
            inputs: &[7, 7, 7, 7, 7, 7],
            flags: &[0, 0, 0],
            items: &[],
            output: &[],
            state_hash: None,
            keyframe: None,
        }
    }

    fn encode(rows: &[StableFrame<'_>]) -> Vec<u8> {
        let mut encoder = RowEncoder::new(&config());
        let mut bytes = Vec::new();
        rows.iter().for_each(|row| encoder.encode(row, &mut bytes));
        bytes
    }

    /// Decodes a second row, after an idle one with a two-byte output.
    fn second(bytes: &[u8]) -> Result<(), RecordingError> {
        let first = [OUTPUT_LENGTH, 2, 0, 0, 0, 1, 2];
        let mut decoder = RowDecoder::new(&config(), PEERS);
        decoder.decode(Frame::ZERO, &mut Cursor::new(&first, 0)).unwrap();
        decoder.decode(Frame::new(1), &mut Cursor::new(bytes, 10)).map(|_| ())
    }

    #[test]
    fn a_row_in_which_nothing_changes_takes_one_byte() {
        assert_eq!(encode(&[idle(), idle()]), [0, 0]);
    }

    #[test]
    fn only_what_changes_is_written() {
        let items = [(PeerId::new(1).unwrap(), Item::End { code: 5 })];
        let row = StableFrame {
            inputs: &[7, 7, 1, 2, 7, 7],
            flags: &[0, 0, 4],
            items: &items,
            output: &[9],
            ..idle()
        };
        let changed = StableFrame { items: &[], output: &[8], ..row };
        let bytes = encode(&[row, changed]);
        assert_eq!(
            bytes,
            [1 | 2 | 4 | 16, 0b010, 1, 2, 0b100, 4, 1, 1, 2, 5, 0, 1, 0, 0, 0, 9, 8, 8]
        );
        let mut decoder = RowDecoder::new(&config(), PEERS);
        let mut cursor = Cursor::new(&bytes, 0);
        assert_eq!(decoder.decode(Frame::ZERO, &mut cursor), Ok(row));
        assert_eq!(decoder.decode(Frame::ZERO, &mut cursor), Ok(changed));
        assert_eq!(cursor.finish(), Ok(()));
    }

    #[test]
    fn a_block_does_not_depend_on_the_one_before() {
        let row = StableFrame { inputs: &[1; 6], flags: &[1; 3], output: &[1], ..idle() };
        let mut encoder = RowEncoder::new(&config());
        let (mut one, mut two) = (Vec::new(), Vec::new());
        encoder.encode(&row, &mut one);
        encoder.begin_block();
        encoder.encode(&row, &mut two);
        assert_eq!(one, two);
    }

    #[test]
    fn what_is_not_written_the_one_way_is_refused() {
        assert_eq!(second(&[128]), Err(RecordingError::Marks { offset: 10, got: 128 }));
        let both = OUTPUT | OUTPUT_LENGTH;
        assert_eq!(second(&[both]), Err(RecordingError::Marks { offset: 10, got: both }));
        assert_eq!(second(&[INPUTS, 0]), Err(RecordingError::Mask { offset: 11 }));
        assert_eq!(second(&[INPUTS, 0b1001]), Err(RecordingError::Mask { offset: 11 }));
        assert_eq!(second(&[INPUTS, 1, 7, 7]), Err(RecordingError::Unchanged { offset: 12 }));
        assert_eq!(second(&[FLAGS, 1, 0]), Err(RecordingError::Unchanged { offset: 12 }));
        assert_eq!(second(&[OUTPUT, 1, 2]), Err(RecordingError::Unchanged { offset: 11 }));
        let same_length = [OUTPUT_LENGTH, 2, 0, 0, 0, 9, 9];
        assert_eq!(second(&same_length), Err(RecordingError::Unchanged { offset: 11 }));
    }

    #[test]
    fn items_are_bounded_and_in_order() {
        let leave = |slot| [slot, 1, 0, 0];
        let with = |count: u8, items: &[[u8; 4]]| {
            let bytes = [&[ITEMS, count][..], &items.concat()].concat();
            second(&bytes)
        };
        assert_eq!(with(2, &[leave(0), leave(1)]), Ok(()));
        assert_eq!(with(32, &[leave(1); 32]), Ok(()));
        let count = |got| Err(RecordingError::Items { offset: 11, max: 32, got });
        assert_eq!(with(33, &[leave(1); 33]), count(33));
        assert_eq!(with(0, &[]), count(0));
        assert_eq!(with(1, &[leave(2)]), Err(RecordingError::Peer { offset: 12, got: 2 }));
        let backwards = with(2, &[leave(1), leave(0)]);
        assert_eq!(backwards, Err(RecordingError::Peer { offset: 16, got: 0 }));
        assert!(matches!(with(1, &[[0, 10, 0, 0]]), Err(RecordingError::Item { offset: 13, .. })));
    }

    #[test]
    fn an_output_is_bounded() {
        let length = u32::try_from(OUTPUT_BYTES_MAX).unwrap();
        let with = |length: u32, output: usize| {
            second(&[&[OUTPUT_LENGTH][..], &length.to_le_bytes(), &vec![1; output]].concat())
        };
        assert_eq!(with(length, OUTPUT_BYTES_MAX), Ok(()));
        let (max, got) = (OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX + 1);
        assert_eq!(with(length + 1, got), Err(RecordingError::Output { offset: 11, max, got }));
    }

    #[test]
    fn a_state_that_was_taken_over_stands_with_its_hash_and_its_item() {
        let items = [(PeerId::new(1).unwrap(), Item::Resync { attempts: 1 })];
        let state_hash = Some(StateHash::from_u128(9));
        let row = StableFrame { items: &items, state_hash, keyframe: Some(&[1, 2]), ..idle() };
        let bytes = encode(&[row]);
        let read = |bytes: &[u8]| {
            let mut decoder = RowDecoder::new(&config(), PEERS);
            decoder
                .decode(Frame::ZERO, &mut Cursor::new(bytes, 0))
                .map(|read| assert_eq!(read, row))
        };
        assert_eq!(read(&bytes), Ok(()));
        for row in [
            StableFrame { items: &[], ..row },
            StableFrame { state_hash: None, ..row },
            StableFrame { keyframe: None, ..row },
        ] {
            assert!(matches!(read(&encode(&[row])), Err(RecordingError::Marks { offset: 0, .. })));
        }
        let mut longer = bytes.clone();
        let at = longer.len() - 6;
        longer[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(read(&longer), Err(RecordingError::Output { .. })));
    }
}
