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
        let start = self.place(frame);
        self.bytes.get(start..start + self.row).unwrap_or_default()
    }

    #[inline]
    pub(super) fn input(&self, player: PlayerHandle, frame: Frame) -> &[u8] {
        let start = self.place(frame) + player.index() * self.width;
        self.bytes.get(start..start + self.width).unwrap_or_default()
    }

    /// The whole input where inputs have one byte.
    #[inline]
    pub(super) fn first_byte(&self, player: PlayerHandle, frame: Frame) -> u8 {
        self.byte(self.place(frame) + player.index() * self.width)
    }

    #[inline]
    pub(super) fn flags(&self, player: PlayerHandle, frame: Frame) -> InputFlags {
        InputFlags::from_bits(self.byte(self.place(frame) + self.inputs + player.index()))
    }

    /// A player's input and flags.
    #[inline]
    pub(super) fn cell(&self, player: PlayerHandle, frame: Frame) -> (&[u8], InputFlags) {
        (self.input(player, frame), self.flags(player, frame))
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
        let start = self.place(frame);
        self.set_byte(start + self.inputs + player.index(), flags.bits());
        self.set_bytes(start + player.index() * self.width, input);
    }

    #[inline(never)]
    pub(super) fn set_input(&mut self, player: PlayerHandle, frame: Frame, input: &[u8]) {
        self.set_bytes(self.place(frame) + player.index() * self.width, input);
    }

    #[inline(never)]
    pub(super) fn set_flags(&mut self, player: PlayerHandle, frame: Frame, flags: InputFlags) {
        self.set_byte(self.place(frame) + self.inputs + player.index(), flags.bits());
    }

    /// Has a player's input and flags be those of another frame.
    #[inline(never)]
    pub(super) fn repeat(&mut self, player: PlayerHandle, from: Frame, to: Frame) {
        let (from, to) = (self.place(from), self.place(to));
        let (input, flags) = (player.index() * self.width, self.inputs + player.index());
        self.set_byte(to + flags, self.byte(from + flags));
        match self.width {
            1 => self.set_byte(to + input, self.byte(from + input)),
            width => self.bytes.copy_within(from + input..from + input + width, to + input),
        }
    }

    /// Takes a player's input and flags, in the row that begins at `to`, of the one that begins at `from` in another ring of rows
    /// of the same shape.
    #[inline]
    pub(super) fn take(&mut self, player: PlayerHandle, to: usize, (other, from): (&Self, usize)) {
        let (input, flags) = (player.index() * self.width, self.inputs + player.index());
        self.set_byte(to + flags, other.byte(from + flags));
        match self.width {
            1 => self.set_byte(to + input, other.byte(from + input)),
            width => {
                let (to, from) = (to + input, from + input);
                let from = other.bytes.get(from..from + width).unwrap_or_default();
                self.set_bytes(to, from);
            }
        }
    }

    /// Whether a player's input and flags are those in another ring of rows of the same shape.
    #[inline(never)]
    pub(super) fn is_same(&self, other: &Self, player: PlayerHandle, frame: Frame) -> bool {
        let (start, other_start) = (self.place(frame), other.place(frame));
        let flags = self.inputs + player.index();
        self.byte(start + flags) == other.byte(other_start + flags)
            && self.is_same_input((other, other_start), player, start)
    }

    /// Whether a player's input and flags differ from those of the frame `base`, or from idle.
    #[inline(never)]
    pub(super) fn differences(
        &self,
        player: PlayerHandle,
        (base, idle): (Option<Frame>, &[u8]),
        frame: Frame,
    ) -> (bool, bool) {
        let Some(base) = base else {
            let (input, flags) = self.cell(player, frame);
            return (!are_equal(input, idle), flags != InputFlags::NONE);
        };
        let (one, other) = (self.place(frame), self.place(base));
        let flags = self.inputs + player.index();
        let is_same = self.is_same_input((self, other), player, one);
        (!is_same, self.byte(one + flags) != self.byte(other + flags))
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
                let other_at = other_start + at;
                self.bytes.get(start + at..start + at + width)
                    == other.bytes.get(other_at..other_at + width)
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

    /// Where a frame's row begins.
    #[inline]
    pub(super) fn place(&self, frame: Frame) -> usize {
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
