//! Knows how inputs lie in memory: a ring with one row for each frame.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::{Frame, InputFlags, PlayerHandle};

/// The inputs of some frames. A row has the bytes of all players, one after the other, and then a byte of flags each.
pub(super) struct Rows {
    bytes: Vec<u8>,
    /// One less than the number of rows, a power of two.
    mask: usize,
    width: usize,
    /// The bytes of a row: those of all inputs, and those with the flags.
    inputs: usize,
    row: usize,
}

impl Rows {
    /// Rows for `frames` frames, a power of two.
    pub(super) fn new(frames: usize, players: usize, width: usize) -> Self {
        let (inputs, row) = (players * width, players * (width + 1));
        Self { bytes: vec![0; frames * row], mask: frames - 1, width, inputs, row }
    }

    /// The inputs and the flags of a frame.
    pub(super) fn row(&self, frame: Frame) -> (&[u8], &[u8]) {
        self.bytes(frame).split_at_checked(self.inputs).unwrap_or_default()
    }

    /// Both, one after the other.
    #[inline]
    pub(super) fn bytes(&self, frame: Frame) -> &[u8] {
        self.bytes.get(self.range(frame)).unwrap_or_default()
    }

    /// Takes the row of another ring of the same shape.
    pub(super) fn copy_row(&mut self, from: &Self, frame: Frame) {
        let range = self.range(frame);
        if let (Some(to), Some(from)) = (self.bytes.get_mut(range.clone()), from.bytes.get(range)) {
            to.copy_from_slice(from);
        }
    }

    pub(super) fn input(&self, player: PlayerHandle, frame: Frame) -> &[u8] {
        self.bytes(frame).get(self.input_range(player)).unwrap_or_default()
    }

    pub(super) fn flags(&self, player: PlayerHandle, frame: Frame) -> InputFlags {
        let flags = self.bytes(frame).get(self.inputs + player.index()).copied();
        InputFlags::from_bits(flags.unwrap_or_default())
    }

    /// Writes a player's input and flags.
    #[inline]
    pub(super) fn set_cell(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        input: &[u8],
        flags: InputFlags,
    ) {
        let (input_range, flags_at) = (self.input_range(player), self.inputs + player.index());
        let range = self.range(frame);
        let Some(row) = self.bytes.get_mut(range) else { return };
        if let Some(slot) = row.get_mut(input_range) {
            copy(slot, input);
        }
        if let Some(slot) = row.get_mut(flags_at) {
            *slot = flags.bits();
        }
    }

    pub(super) fn set_input(&mut self, player: PlayerHandle, frame: Frame, input: &[u8]) {
        let (range, input_range) = (self.range(frame), self.input_range(player));
        if let Some(slot) = self.bytes.get_mut(range).and_then(|row| row.get_mut(input_range)) {
            copy(slot, input);
        }
    }

    pub(super) fn set_flags(&mut self, player: PlayerHandle, frame: Frame, flags: InputFlags) {
        let index = self.range(frame).start + self.inputs + player.index();
        if let Some(slot) = self.bytes.get_mut(index) {
            *slot = flags.bits();
        }
    }

    /// Has a player's input and flags be those of another frame.
    #[inline]
    pub(super) fn repeat(&mut self, player: PlayerHandle, from: Frame, to: Frame) {
        let (from, to) = (self.range(from).start, self.range(to).start);
        let input = self.input_range(player);
        if self.width == 1 {
            self.copy_byte(from + input.start, to + input.start);
        } else {
            self.bytes.copy_within(from + input.start..from + input.end, to + input.start);
        }
        let flags = self.inputs + player.index();
        self.copy_byte(from + flags, to + flags);
    }

    fn copy_byte(&mut self, from: usize, to: usize) {
        let byte = self.bytes.get(from).copied().unwrap_or_default();
        if let Some(slot) = self.bytes.get_mut(to) {
            *slot = byte;
        }
    }

    /// Whether a player's input and flags are those in another ring of the same shape.
    #[inline]
    pub(super) fn is_same(&self, other: &Self, player: PlayerHandle, frame: Frame) -> bool {
        let range = self.range(frame);
        let rows = self.bytes.get(range.clone()).zip(other.bytes.get(range));
        let Some((one, other)) = rows else { return false };
        let (input, flags) = (self.input_range(player), self.inputs + player.index());
        let inputs = one.get(input.clone()).zip(other.get(input));
        one.get(flags) == other.get(flags)
            && inputs.is_some_and(|(one, other)| are_equal(one, other))
    }

    /// Whether a player's input or flags differ between two frames.
    #[inline]
    pub(super) fn differ(&self, player: PlayerHandle, one: Frame, other: Frame) -> bool {
        let ((one, one_flags), (other, other_flags)) =
            (self.cell(player, one), self.cell(player, other));
        one_flags != other_flags || !are_equal(one, other)
    }

    /// A player's input and flags.
    #[inline]
    pub(super) fn cell(&self, player: PlayerHandle, frame: Frame) -> (&[u8], InputFlags) {
        let row = self.bytes(frame);
        let flags = row.get(self.inputs + player.index()).copied();
        let input = row.get(self.input_range(player)).unwrap_or_default();
        (input, InputFlags::from_bits(flags.unwrap_or_default()))
    }

    #[inline]
    fn range(&self, frame: Frame) -> Range<usize> {
        let start = (frame.index() as usize & self.mask) * self.row;
        start..start + self.row
    }

    #[inline]
    fn input_range(&self, player: PlayerHandle) -> Range<usize> {
        let start = player.index() * self.width;
        start..start + self.width
    }
}

/// Whether two inputs are the same. Most are a few bytes, for which a call to compare memory costs more than comparing.
#[inline]
pub(super) fn are_equal(one: &[u8], other: &[u8]) -> bool {
    match (one, other) {
        ([one], [other]) => one == other,
        _ => one == other,
    }
}

/// Copies an input; the same holds for copying.
#[inline]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    match (to, from) {
        ([to], [from]) => *to = *from,
        (to, from) => to.copy_from_slice(from),
    }
}
