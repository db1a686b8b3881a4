//! A run: the inputs of one peer over consecutive frames, of which only the changes are sent.
//!
//! A mask has one bit for each frame and player: set where the input differs from the frame before. The changed inputs
//! follow, then (where the run says so) changes of flags and the items.

use alloc::vec::Vec;

use super::WireError;
use crate::bytes::{ByteReader, PutBytes};
use crate::input_queue::InputQueue;
use crate::item::{ITEM_BYTES, Item, ItemError};
use crate::{Frame, InputFlags, PeerId};

/// What the first frame of a run is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Base {
    /// The frame before it, which the receiver is known to hold.
    Previous,
    /// The idle input: the run can be read by itself.
    Idle,
}

/// A run as it lies in a datagram; its lengths are checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) first: Frame,
    pub(crate) count: u8,
    mask: &'a [u8],
    values: &'a [u8],
    flags: &'a [u8],
    items: &'a [u8],
}

impl<'a> Run<'a> {
    /// Reads a run of a peer with `players` players.
    #[inline]
    pub(crate) fn decode(
        reader: &mut ByteReader<'a>,
        first: Frame,
        count: u8,
        players: usize,
        width: usize,
        has_meta: bool,
    ) -> Result<Self, WireError> {
        let bits = usize::from(count) * players;
        let mask = reader.take(bits.div_ceil(8))?;
        let values = reader.take(ones(mask, bits) * width)?;
        let (mut flags, mut items) = ([].as_slice(), [].as_slice());
        if has_meta {
            let changes = reader.u8()?;
            flags = reader.take(usize::from(changes) * FLAG_CHANGE_BYTES)?;
            let count = reader.u8()?;
            items = reader.take(usize::from(count) * ITEM_AT_BYTES)?;
            for at in items.chunks_exact(ITEM_AT_BYTES) {
                let item = Item::decode(&mut ByteReader::new(at.get(1..).unwrap_or_default()))?;
                // This one stands in no stream.
                if let (Item::Resync { .. }, [_, kind, ..]) = (item, at) {
                    return Err(ItemError::Kind { got: *kind }.into());
                }
            }
        }
        Ok(Self { first, count, mask, values, flags, items })
    }

    /// One past the last frame.
    pub(crate) fn end(&self) -> Frame {
        self.first.plus(self.count.into())
    }

    fn is_changed(&self, bit: usize) -> bool {
        self.mask.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }

    #[inline(never)]
    fn items_at(&self, offset: u8, items: &mut [Item; ITEMS_PER_FRAME]) -> usize {
        let mut count = 0;
        for at in self.items.chunks_exact(ITEM_AT_BYTES).filter(|at| at.first() == Some(&offset)) {
            let item = Item::decode(&mut ByteReader::new(at.get(1..).unwrap_or_default()));
            if let (Ok(item), Some(slot)) = (item, items.get_mut(count)) {
                *slot = item;
                count += 1;
            }
        }
        count
    }

    #[inline(never)]
    fn flags_at(&self, offset: u8, player: usize) -> Option<InputFlags> {
        self.flags.chunks_exact(FLAG_CHANGE_BYTES).find_map(|change| match *change {
            [at, of, flags] if at == offset && usize::from(of) == player => {
                Some(InputFlags::from_bits(flags))
            }
            _ => None,
        })
    }
}

/// What became of the frames of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Applied {
    /// Frames that were not held before.
    pub(crate) new: u32,
    /// Those of them that had been stepped without these inputs.
    pub(crate) late: u32,
    /// Frames that were held already.
    pub(crate) known: u32,
    /// Frames for which there is no room yet, or that come after the end of a stream.
    pub(crate) refused: u32,
}

/// Files the frames of a run that are before `limit` and not held yet.
pub(crate) fn apply_run(
    queue: &mut InputQueue,
    owner: PeerId,
    run: &Run<'_>,
    base: Base,
    limit: Frame,
) -> Result<Applied, WireError> {
    let mut applied = Applied::default();
    let (players, width) = (queue.players_of(owner).len(), queue.width());
    let end = queue.end(owner);
    if base == Base::Previous && run.first > end {
        return Err(WireError::Range { field: "first frame", got: run.first.index() });
    }
    // The frames that are held need no decoding: only their changed values are skipped.
    let known = match base {
        Base::Previous => end.since(run.first).min(run.count.into()),
        Base::Idle => 0,
    };
    applied.known = known;
    let mut bit = known as usize * players;
    let mut values = run.values.get(ones(run.mask, bit) * width..).unwrap_or_default();
    for offset in u8::try_from(known).unwrap_or(u8::MAX)..run.count {
        let frame = run.first.plus(offset.into());
        let is_new = frame < limit && queue.accepts(owner, frame);
        if !is_new && !queue.has(owner, frame) {
            applied.refused += u32::from(run.count - offset);
            break;
        }
        let mut index = 0;
        let next = || {
            let is_changed = run.is_changed(bit);
            let size = if is_changed { width } else { 0 };
            let (value, rest) = values.split_at_checked(size).unwrap_or_default();
            let flags = if run.flags.is_empty() { None } else { run.flags_at(offset, index) };
            (bit, index, values) = (bit + 1, index + 1, rest);
            (is_changed.then_some(value), flags)
        };
        if is_new {
            let base = (offset > 0 || base == Base::Previous).then(|| frame.minus(1));
            let mut items = [Item::Leave; ITEMS_PER_FRAME];
            let count = if run.items.is_empty() { 0 } else { run.items_at(offset, &mut items) };
            let items = items.get(..count).unwrap_or_default();
            applied.late += u32::from(queue.is_stepped(frame));
            applied.new += 1;
            queue.file(owner, (base, frame), next, items);
        } else {
            core::iter::repeat_with(next).take(players).for_each(drop);
            applied.known += 1;
        }
    }
    Ok(applied)
}

/// Appends the inputs of `owner` from `first` up to at most `end` while they fit into `budget` bytes. Answers how many
/// frames there are and whether flags or items follow; writes nothing when there is none.
pub(crate) fn encode_run(
    queue: &InputQueue,
    owner: PeerId,
    (first, end): (Frame, Frame),
    base: Base,
    budget: usize,
    bytes: &mut Vec<u8>,
) -> (u8, bool) {
    let count = frames_that_fit(queue, owner, (first, end), base, budget);
    (count, encode_frames(queue, owner, (first, count), base, bytes))
}

/// Appends the inputs of so many frames of `owner`, which are known to [fit](fits). Answers whether flags or items follow.
pub(crate) fn encode_frames(
    queue: &InputQueue,
    owner: PeerId,
    (first, count): (Frame, u8),
    base: Base,
    bytes: &mut Vec<u8>,
) -> bool {
    let end = first.plus(count.into());
    let has_same_flags = match base {
        Base::Previous => {
            queue.put_changes(owner, first, count, bytes);
            queue.has_same_flags(owner, first, end)
        }
        Base::Idle => {
            put_compared(queue, owner, (first, end), bytes);
            false
        }
    };
    (!has_same_flags || queue.has_items()) && encode_meta(queue, owner, (first, count), base, bytes)
}

/// How many frames these are, where all of them fit into a run of so many bytes.
#[inline]
pub(crate) fn fits(
    queue: &InputQueue,
    owner: PeerId,
    (first, end): (Frame, Frame),
    budget: usize,
) -> Option<u8> {
    let frames = u8::try_from(end.since(first)).ok()?;
    // Few small inputs fit even if each changed, with its flags; only otherwise are the changes counted, a word of them at a
    // time where neither flags nor items come along.
    let bytes = usize::from(frames) * frame_bytes_max(queue, owner) + 2;
    let is_short = bytes <= budget && bytes <= SHORT_RUN_BYTES && !queue.has_items();
    let counted = || match queue.has_same_flags(owner, first, end) && !queue.has_items() {
        true => queue.bytes_of_changes(owner, first, frames) + 2 <= budget,
        false => frames_that_fit(queue, owner, (first, end), Base::Previous, budget) == frames,
    };
    (is_short || counted()).then_some(frames)
}

/// How many bytes a frame of `owner` takes in a run at most, unless it has items.
pub(crate) fn frame_bytes_max(queue: &InputQueue, owner: PeerId) -> usize {
    let players = queue.players_of(owner).len();
    players * (queue.width() + FLAG_CHANGE_BYTES) + players.div_ceil(8)
}

/// Appends the mask and the changed inputs of a run that can be read by itself. Such runs are rare.
#[inline(never)]
fn put_compared(
    queue: &InputQueue,
    owner: PeerId,
    (first, end): (Frame, Frame),
    bytes: &mut Vec<u8>,
) {
    let players = queue.players_of(owner);
    let mask_at = bytes.len();
    let bits = end.since(first) as usize * players.len();
    bytes.resize(mask_at + bits.div_ceil(8), 0);
    let mut bit = 0;
    for frame in first.until(end) {
        let before = before((frame, queue.start(owner)), frame.since(first), Base::Idle);
        for player in players {
            if let (Some(input), _) = queue.changes(*player, before, frame) {
                bytes.put(input);
                if let Some(byte) = bytes.get_mut(mask_at + bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
            }
            bit += 1;
        }
    }
}

/// Appends the changes of flags and the items. Answers whether there are any; writes nothing when there are none.
#[inline(never)]
fn encode_meta(
    queue: &InputQueue,
    owner: PeerId,
    (first, count): (Frame, u8),
    base: Base,
    bytes: &mut Vec<u8>,
) -> bool {
    let (start, end) = (bytes.len(), first.plus(count.into()));
    let (mut flag_changes, mut items) = (0_u8, 0_u8);
    bytes.put_u8(0);
    for (offset, frame) in (0..count).zip(first.until(end)) {
        let before = before((frame, queue.start(owner)), offset.into(), base);
        for (index, player) in (0..).zip(queue.players_of(owner)) {
            if let (_, Some(flags)) = queue.changes(*player, before, frame) {
                bytes.put(&[offset, index, flags.bits()]);
                flag_changes += 1;
            }
        }
    }
    let items_at = bytes.len();
    bytes.put_u8(0);
    for (offset, frame) in (0..count).zip(first.until(end)) {
        for item in queue.items_of(owner, frame) {
            bytes.put_u8(offset);
            item.encode(bytes);
            items += 1;
        }
    }
    let has_meta = flag_changes > 0 || items > 0;
    if has_meta {
        for (at, count) in [(start, flag_changes), (items_at, items)] {
            if let Some(slot) = bytes.get_mut(at) {
                *slot = count;
            }
        }
    } else {
        bytes.truncate(start);
    }
    has_meta
}

/// How many frames of a run fit, counting each at its dearest: every input and flag changed.
#[inline(never)]
fn frames_that_fit(
    queue: &InputQueue,
    owner: PeerId,
    (first, end): (Frame, Frame),
    base: Base,
    budget: usize,
) -> u8 {
    let players = queue.players_of(owner);
    let (mut bits, mut size, mut meta, mut count) = (0, 0, 2, 0_u8);
    // Counts of flag changes and items are one byte each, so a run ends before they could overflow.
    let (mut flag_changes, mut items) = (0, 0);
    for frame in first.until(end).take(usize::from(RUN_FRAMES_MAX)) {
        bits += players.len();
        for player in players {
            let before = before((frame, queue.start(owner)), count.into(), base);
            let (input, flags) = queue.changes(*player, before, frame);
            size += input.map_or(0, <[u8]>::len);
            if flags.is_some() {
                flag_changes += 1;
                meta += FLAG_CHANGE_BYTES;
            }
        }
        if queue.has_items() {
            let more = queue.items_of(owner, frame).count();
            items += more;
            meta += more * ITEM_AT_BYTES;
        }
        let full = flag_changes.max(items) > usize::from(u8::MAX);
        if full || size + meta + usize::div_ceil(bits, 8) > budget {
            break;
        }
        count += 1;
    }
    count
}

/// The frame that `frame` is compared with; `None` for idle, as at the `start` of its owner's life.
fn before((frame, start): (Frame, Frame), offset: u32, base: Base) -> Option<Frame> {
    let has_base = frame > start && (offset > 0 || base == Base::Previous);
    has_base.then(|| frame.minus(1))
}

/// How many of the first `bits` bits are set.
pub(super) fn ones(mask: &[u8], bits: usize) -> usize {
    let (mut ones, mut left) = (0, bits);
    // One byte is the most that a run usually has.
    for byte in mask {
        let wanted = if left < 8 { (1 << left) - 1 } else { u8::MAX };
        ones += (byte & wanted).count_ones() as usize;
        left = left.saturating_sub(8);
    }
    ones
}

/// A run that takes no more than this at its dearest has no more changes of flags than one byte counts.
const SHORT_RUN_BYTES: usize = (1 + FLAG_CHANGE_BYTES) * u8::MAX as usize;

/// The most frames of a run: one byte counts them.
const RUN_FRAMES_MAX: u8 = u8::MAX;

/// The most items of one peer at one frame.
pub(crate) const ITEMS_PER_FRAME: usize = 4;

const FLAG_CHANGE_BYTES: usize = 3;
const ITEM_AT_BYTES: usize = 1 + ITEM_BYTES;
