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
    players: usize,
}

impl Rows {
    /// Rows for `frames` frames, a power of two.
    pub(super) fn new(frames: usize, players: usize, width: usize) -> Self {
        let bytes = vec![0; frames * players * (width + 1)];
        Self { bytes, mask: frames - 1, width, players }
    }

    /// The inputs and the flags of a frame.
    pub(super) fn row(&self, frame: Frame) -> (&[u8], &[u8]) {
        self.bytes(frame).split_at_checked(self.players * self.width).unwrap_or_default()
    }

    /// Both, one after the other.
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
        self.bytes.get(self.input_range(player, frame)).unwrap_or_default()
    }

    pub(super) fn flags(&self, player: PlayerHandle, frame: Frame) -> InputFlags {
        let flags = self.bytes.get(self.flags_index(player, frame)).copied();
        InputFlags::from_bits(flags.unwrap_or_default())
    }

    pub(super) fn set_input(&mut self, player: PlayerHandle, frame: Frame, input: &[u8]) {
        let range = self.input_range(player, frame);
        if let Some(slot) = self.bytes.get_mut(range) {
            slot.copy_from_slice(input);
        }
    }

    pub(super) fn set_flags(&mut self, player: PlayerHandle, frame: Frame, flags: InputFlags) {
        let index = self.flags_index(player, frame);
        if let Some(slot) = self.bytes.get_mut(index) {
            *slot = flags.bits();
        }
    }

    /// Has a player's input and flags be those of another frame.
    pub(super) fn repeat(&mut self, player: PlayerHandle, from: Frame, to: Frame) {
        let input = self.input_range(player, from);
        let slot = self.input_range(player, to).start;
        self.bytes.copy_within(input, slot);
        self.set_flags(player, to, self.flags(player, from));
    }

    /// Whether a player's input or flags differ between two frames.
    pub(super) fn differ(&self, player: PlayerHandle, one: Frame, other: Frame) -> bool {
        let ((one, one_flags), (other, other_flags)) =
            (self.cell(player, one), self.cell(player, other));
        one_flags != other_flags || !are_equal(one, other)
    }

    /// A player's input and flags.
    pub(super) fn cell(&self, player: PlayerHandle, frame: Frame) -> (&[u8], InputFlags) {
        let row = self.bytes(frame);
        let flags = row.get(self.players * self.width + player.index()).copied();
        let start = player.index() * self.width;
        let input = row.get(start..start + self.width).unwrap_or_default();
        (input, InputFlags::from_bits(flags.unwrap_or_default()))
    }

    fn range(&self, frame: Frame) -> Range<usize> {
        let stride = self.players * (self.width + 1);
        let start = (frame.index() as usize & self.mask) * stride;
        start..start + stride
    }

    fn input_range(&self, player: PlayerHandle, frame: Frame) -> Range<usize> {
        let start = self.range(frame).start + player.index() * self.width;
        start..start + self.width
    }

    fn flags_index(&self, player: PlayerHandle, frame: Frame) -> usize {
        self.range(frame).start + self.players * self.width + player.index()
    }
}

/// Whether two inputs are the same. Most are a few bytes, for which a call to compare memory costs more than comparing.
pub(super) fn are_equal(one: &[u8], other: &[u8]) -> bool {
    match (one, other) {
        ([one], [other]) => one == other,
        _ => one == other,
    }
}
