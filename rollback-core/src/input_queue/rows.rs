//! How inputs lie in memory: a ring with one row for each frame.

use alloc::vec;
use alloc::vec::Vec;

use crate::{Frame, InputFlags, PlayerHandle};

/// The inputs of some frames. A row has the bytes of all players, one after the other, and then a byte of flags each.
pub(super) struct Rows {
    bytes: Vec<u8>,
    /// One less than the number of rows, a power of two; and the most that it may become.
    mask: usize,
    mask_max: usize,
    /// The first frame whose row would be that of one that stays.
    end: Frame,
    width: usize,
    /// The bytes of a row: those of all inputs, and those with the flags.
    inputs: usize,
    row: usize,
}

/// Where a row begins.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

impl Rows {
    /// Rows for as many frames as a good network needs, and two beside them. They grow up to `frames` frames, a power of two.
    pub(super) fn new(frames: usize, players: usize, idle: &[u8]) -> Self {
        let (inputs, row) = (players * idle.len(), players * (idle.len() + 1));
        let first = frames.min(ROWS_AT_FIRST);
        let mut rows = Self {
            bytes: vec![0; (first + 2) * row],
            mask: first - 1,
            mask_max: frames - 1,
            end: Frame::ZERO,
            width: idle.len(),
            inputs,
            row,
        };
        rows.keep_from(Frame::ZERO);
        for player in PlayerHandle::all(players) {
            rows.set_cell(player, rows.idle(), (idle, InputFlags::NONE));
        }
        rows
    }

    /// The rows from this frame on stay; those before it are written over.
    pub(super) fn keep_from(&mut self, first: Frame) {
        self.end = first.plus(u32::try_from(self.mask + 1).unwrap_or(u32::MAX));
    }

    /// Has a frame that is written have a row of its own.
    #[inline]
    pub(super) fn make(&mut self, frame: Frame) {
        if frame >= self.end && self.mask < self.mask_max {
            self.grow(frame);
        }
    }

    #[inline(never)]
    fn grow(&mut self, frame: Frame) {
        let first = self.end.minus(u32::try_from(self.mask + 1).unwrap_or(u32::MAX));
        let frames = (frame.since(first) as usize + 1).next_power_of_two();
        let mask = (frames - 1).min(self.mask_max);
        let mut more = Self { bytes: vec![0; (mask + 3) * self.row], mask, ..*self };
        for nth in 0..=self.mask {
            let Place(place) = more.place_after(first, nth);
            more.set_bytes(place, self.bytes(self.place_after(first, nth)));
        }
        let Place(idle) = more.idle();
        more.set_bytes(idle, self.bytes(self.idle()));
        more.keep_from(first);
        *self = more;
    }

    /// Where a frame's row begins.
    #[inline]
    pub(super) fn place(&self, frame: Frame) -> Place {
        self.place_after(frame, 0)
    }

    /// The same of the frame that comes so many later.
    #[inline]
    pub(super) fn place_after(&self, first: Frame, frames: usize) -> Place {
        Place(((first.index() as usize).wrapping_add(frames) & self.mask) * self.row)
    }

    /// The row beside those of frames.
    pub(super) fn aside(&self) -> Place {
        Place((self.mask + 1) * self.row)
    }

    /// The row beside them in which every player is idle.
    #[inline]
    pub(super) fn idle(&self) -> Place {
        Place((self.mask + 2) * self.row)
    }

    /// Copies a row into another.
    pub(super) fn copy(&mut self, Place(from): Place, Place(to): Place) {
        self.bytes.copy_within(from..from + self.row, to);
    }

    /// Has two rows change their places.
    pub(super) fn swap(&mut self, Place(one): Place, Place(other): Place) {
        for offset in 0..self.row {
            self.bytes.swap(one + offset, other + offset);
        }
    }

    /// The inputs and the flags of a row.
    #[inline]
    pub(super) fn row(&self, place: Place) -> (&[u8], &[u8]) {
        self.bytes(place).split_at_checked(self.inputs).unwrap_or_default()
    }

    /// Both, one after the other.
    #[inline]
    pub(super) fn bytes(&self, Place(start): Place) -> &[u8] {
        self.bytes.get(start..start + self.row).unwrap_or_default()
    }

    /// Appends the rows of all frames from `first` up to `end`.
    pub(super) fn put(&self, (first, end): (Frame, Frame), bytes: &mut Vec<u8>) {
        let Place(start) = self.place(first);
        // They lie one after the other, and go on where the ring begins.
        let (ring, rows) = ((self.mask + 1) * self.row, end.since(first) as usize * self.row);
        let rows_to_end = rows.min(ring - start);
        bytes.extend_from_slice(self.bytes.get(start..start + rows_to_end).unwrap_or_default());
        bytes.extend_from_slice(self.bytes.get(..rows - rows_to_end).unwrap_or_default());
    }

    #[inline]
    pub(super) fn input(&self, player: PlayerHandle, Place(start): Place) -> &[u8] {
        let start = start + player.index() * self.width;
        self.bytes.get(start..start + self.width).unwrap_or_default()
    }

    /// The whole input where inputs have one byte.
    #[inline]
    pub(super) fn first_byte(&self, player: PlayerHandle, Place(start): Place) -> u8 {
        self.byte(start + player.index() * self.width)
    }

    #[inline]
    pub(super) fn flags(&self, player: PlayerHandle, Place(start): Place) -> InputFlags {
        InputFlags::from_bits(self.byte(start + self.inputs + player.index()))
    }

    /// A player's input and flags.
    #[inline]
    pub(super) fn cell(&self, player: PlayerHandle, place: Place) -> (&[u8], InputFlags) {
        (self.input(player, place), self.flags(player, place))
    }

    /// Whether an input and flags mean what is in their place.
    #[inline]
    pub(super) fn means(
        &self,
        player: PlayerHandle,
        place: Place,
        (input, flags): (&[u8], InputFlags),
        equivalent: fn(&[u8], &[u8]) -> bool,
    ) -> bool {
        let (there, there_flags) = self.cell(player, place);
        flags == there_flags && (are_equal(input, there) || equivalent(input, there))
    }

    /// Writes a player's input and flags.
    #[inline]
    pub(super) fn set_cell(
        &mut self,
        player: PlayerHandle,
        place: Place,
        (input, flags): (&[u8], InputFlags),
    ) {
        self.set_flags(player, place, flags);
        self.set_input(player, place, input);
    }

    #[inline]
    pub(super) fn set_flags(
        &mut self,
        player: PlayerHandle,
        Place(start): Place,
        flags: InputFlags,
    ) {
        self.set_byte(start + self.inputs + player.index(), flags.bits());
    }

    #[inline]
    pub(super) fn set_input(&mut self, player: PlayerHandle, Place(start): Place, input: &[u8]) {
        self.set_bytes(start + player.index() * self.width, input);
    }

    /// Whether a player's input and flags differ from those of another row.
    #[inline]
    pub(super) fn differences(
        &self,
        player: PlayerHandle,
        base: Place,
        place: Place,
    ) -> (bool, bool) {
        let is_same = self.is_same_input(player, base, place);
        (!is_same, self.flags(player, place) != self.flags(player, base))
    }

    // What follows is a call each, wherever it is used: most peers have one player and most datagrams one new frame, so
    // that what a loop around it would do only once is not worth to be done before it.

    /// Has a player's input and flags be those of another row.
    #[inline(never)]
    pub(super) fn copy_cell(&mut self, player: PlayerHandle, (from, to): (Place, Place)) {
        self.set_flags(player, to, self.flags(player, from));
        self.copy_input(player, (from, to));
    }

    /// Has a player's input and flags be those of another row in all frames from `first` up to `end`.
    #[inline(never)]
    pub(super) fn repeat_cell(
        &mut self,
        player: PlayerHandle,
        from: Place,
        (first, end): (Frame, Frame),
    ) {
        let flags = self.flags(player, from);
        for frame in first.until(end) {
            let to = self.place(frame);
            self.set_flags(player, to, flags);
            self.copy_input(player, (from, to));
        }
    }

    /// Writes a player's input and flags, which are those of the row `base` where none are given. Answers whether they mean
    /// what was there.
    #[inline(never)]
    pub(super) fn change_cell(
        &mut self,
        player: PlayerHandle,
        (base, place): (Place, Place),
        (input, flags): (Option<&[u8]>, Option<InputFlags>),
        equivalent: fn(&[u8], &[u8]) -> bool,
    ) -> bool {
        let flags = flags.unwrap_or(self.flags(player, base));
        let has_same_flags = flags == self.flags(player, place);
        self.set_flags(player, place, flags);
        let Some(input) = input else {
            let is_same = self.is_same_input(player, base, place)
                || equivalent(self.input(player, base), self.input(player, place));
            self.copy_input(player, (base, place));
            return has_same_flags && is_same;
        };
        let there = self.input(player, place);
        let is_same = are_equal(input, there) || equivalent(input, there);
        self.set_input(player, place, input);
        has_same_flags && is_same
    }

    #[inline]
    fn is_same_input(&self, player: PlayerHandle, one: Place, other: Place) -> bool {
        match self.width {
            1 => self.first_byte(player, one) == self.first_byte(player, other),
            _ => self.input(player, one) == self.input(player, other),
        }
    }

    #[inline]
    fn copy_input(&mut self, player: PlayerHandle, (Place(from), Place(to)): (Place, Place)) {
        let input = player.index() * self.width;
        match self.width {
            1 => self.set_byte(to + input, self.byte(from + input)),
            width => self.bytes.copy_within(from + input..from + input + width, to + input),
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
}

/// Between two reports, and until the members agree on the second one, fewer frames pass where the network is good.
const ROWS_AT_FIRST: usize = 32;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_grow_with_the_frames_that_stay_and_no_further() {
        let player = PlayerHandle::new(1).unwrap();
        let mut rows = Rows::new(64, 2, &[7]);
        let write = |rows: &mut Rows, frame: u8| {
            rows.make(Frame::new(frame.into()));
            let place = rows.place(Frame::new(frame.into()));
            rows.set_cell(player, place, (&[frame], InputFlags::FOCUSED));
        };
        (0..32).for_each(|frame| write(&mut rows, frame));
        rows.keep_from(Frame::new(10));
        (32..42).for_each(|frame| write(&mut rows, frame));
        assert_eq!(rows.mask + 1, 32);
        write(&mut rows, 42);
        assert_eq!(rows.mask + 1, 64);
        for frame in 10..=42 {
            let cell = rows.cell(player, rows.place(Frame::new(frame.into())));
            assert_eq!(cell, ([frame].as_slice(), InputFlags::FOCUSED));
        }
        assert_eq!(rows.input(player, rows.idle()), [7]);
        (43..74).for_each(|frame| write(&mut rows, frame));
        assert_eq!(rows.mask + 1, 64);
    }
}
