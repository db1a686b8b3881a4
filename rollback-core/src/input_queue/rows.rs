//! Knows how inputs lie in memory: a ring with one row for each frame.

use alloc::vec;
use alloc::vec::Vec;

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
        let from = self.bytes.get(self.start(frame)..).unwrap_or_default();
        from.get(..self.row).unwrap_or_default()
    }

    /// Takes the row of another ring of the same shape.
    pub(super) fn copy_row(&mut self, from: &Self, frame: Frame) {
        if let Some(row) = self.row_mut(frame) {
            let from = from.bytes(frame);
            if row.len() == from.len() {
                row.copy_from_slice(from);
            }
        }
    }

    pub(super) fn input(&self, player: PlayerHandle, frame: Frame) -> &[u8] {
        self.cell(player, frame).0
    }

    pub(super) fn flags(&self, player: PlayerHandle, frame: Frame) -> InputFlags {
        self.cell(player, frame).1
    }

    /// A player's input and flags.
    #[inline]
    pub(super) fn cell(&self, player: PlayerHandle, frame: Frame) -> (&[u8], InputFlags) {
        let row = self.bytes(frame);
        let flags = row.get(self.inputs + player.index()).copied().unwrap_or_default();
        (self.input_in(row, player), InputFlags::from_bits(flags))
    }

    // What follows is a call each, wherever it is used: most peers have one player and most datagrams one new frame, so
    // that what a loop around it would do only once is not worth to be done before it.

    /// Writes a player's input and flags.
    #[inline(never)]
    pub(super) fn set_cell(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        input: &[u8],
        flags: InputFlags,
    ) {
        let start = self.start(frame);
        self.set_byte(start + self.inputs + player.index(), flags.bits());
        self.set_bytes(start + player.index() * self.width, input);
    }

    #[inline(never)]
    pub(super) fn set_input(&mut self, player: PlayerHandle, frame: Frame, input: &[u8]) {
        self.set_bytes(self.start(frame) + player.index() * self.width, input);
    }

    #[inline(never)]
    pub(super) fn set_flags(&mut self, player: PlayerHandle, frame: Frame, flags: InputFlags) {
        self.set_byte(self.start(frame) + self.inputs + player.index(), flags.bits());
    }

    /// Has a player's input and flags be those of another frame.
    #[inline(never)]
    pub(super) fn repeat(&mut self, player: PlayerHandle, from: Frame, to: Frame) {
        let (from, to) = (self.start(from), self.start(to));
        let (input, flags) = (player.index() * self.width, self.inputs + player.index());
        self.set_byte(to + flags, self.byte(from + flags));
        match self.width {
            1 => self.set_byte(to + input, self.byte(from + input)),
            width => self.bytes.copy_within(from + input..from + input + width, to + input),
        }
    }

    /// Takes a player's input and flags of the frame `last` in another ring of the same shape for those of `frame`.
    #[inline(never)]
    pub(super) fn repeat_of(
        &mut self,
        other: &Self,
        player: PlayerHandle,
        last: Frame,
        frame: Frame,
    ) {
        let (from, to) = (other.start(last), self.start(frame));
        let (input, flags) = (player.index() * self.width, self.inputs + player.index());
        self.set_byte(to + flags, other.byte(from + flags));
        match self.width {
            1 => self.set_byte(to + input, other.byte(from + input)),
            _ => self.set_bytes(to + input, other.input(player, last)),
        }
    }

    /// Whether a player's input and flags are those in another ring of the same shape.
    #[inline(never)]
    pub(super) fn is_same(&self, other: &Self, player: PlayerHandle, frame: Frame) -> bool {
        let start = self.start(frame);
        let flags = start + self.inputs + player.index();
        self.byte(flags) == other.byte(flags) && self.is_same_input((other, start), player, start)
    }

    /// Whether a player's input and flags differ between two frames.
    #[inline(never)]
    pub(super) fn differences(
        &self,
        player: PlayerHandle,
        one: Frame,
        other: Frame,
    ) -> (bool, bool) {
        let (one, other) = (self.start(one), self.start(other));
        let flags = self.inputs + player.index();
        let is_same = self.is_same_input((self, other), player, one);
        (!is_same, self.byte(one + flags) != self.byte(other + flags))
    }

    /// Appends a player's input of `frame` where it is not that of `base`. Answers whether it did, and whether the flags differ.
    #[inline(never)]
    pub(super) fn put_change(
        &self,
        player: PlayerHandle,
        base: Frame,
        frame: Frame,
        bytes: &mut Vec<u8>,
    ) -> (bool, bool) {
        let (one, other) = (self.start(frame), self.start(base));
        let flags = self.inputs + player.index();
        let has_flags = self.byte(one + flags) != self.byte(other + flags);
        if self.width == 1 {
            let byte = self.byte(one + player.index());
            let has_input = byte != self.byte(other + player.index());
            if has_input {
                bytes.push(byte);
            }
            return (has_input, has_flags);
        }
        let has_input = !self.is_same_input((self, other), player, one);
        if has_input {
            bytes.extend_from_slice(self.input(player, frame));
        }
        (has_input, has_flags)
    }

    /// Whether a player's input in the row that begins at `start` is that in the row of another ring.
    fn is_same_input(
        &self,
        (other, other_start): (&Self, usize),
        player: PlayerHandle,
        start: usize,
    ) -> bool {
        let at = player.index() * self.width;
        match self.width {
            1 => self.byte(start + at) == other.byte(other_start + at),
            width => {
                self.bytes.get(start + at..start + at + width)
                    == other.bytes.get(other_start + at..other_start + at + width)
            }
        }
    }

    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    #[inline]
    fn set_byte(&mut self, at: usize, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(at) {
            *slot = byte;
        }
    }

    #[inline]
    fn set_bytes(&mut self, at: usize, input: &[u8]) {
        if let [byte] = input {
            self.set_byte(at, *byte);
        } else if let Some(slot) = self.bytes.get_mut(at..at + input.len()) {
            slot.copy_from_slice(input);
        }
    }

    #[inline]
    fn row_mut(&mut self, frame: Frame) -> Option<&mut [u8]> {
        let start = self.start(frame);
        self.bytes.get_mut(start..)?.get_mut(..self.row)
    }

    #[inline]
    fn input_in<'a>(&self, row: &'a [u8], player: PlayerHandle) -> &'a [u8] {
        let from = row.get(player.index() * self.width..).unwrap_or_default();
        from.get(..self.width).unwrap_or_default()
    }

    /// Where a frame's row begins.
    #[inline]
    fn start(&self, frame: Frame) -> usize {
        (frame.index() as usize & self.mask) * self.row
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
