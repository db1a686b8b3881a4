//! Knows which frames of one peer's inputs are held. Does not know the inputs.

use alloc::vec;
use alloc::vec::Vec;

use super::rows::Rows;
use crate::{Frame, PlayerHandle};

/// What is held of one peer's inputs.
pub(super) struct Stream {
    pub(super) players: Vec<PlayerHandle>,
    /// Every frame before this one is held.
    pub(super) end: Frame,
    /// One past the newest frame held.
    pub(super) newest: Frame,
    /// From this frame on idle is filled in.
    pub(super) closed: Option<Frame>,
    /// The first frame of the peer's present life: 0, or where it came back.
    pub(super) start: Frame,
    /// Frames, each from one up to another, in which idle is filled in because the peer was gone.
    pub(super) gone: Vec<(Frame, Frame)>,
    /// Frames from `end` on that are held out of order.
    ahead: Bits,
    /// Frames before `compared` whose inputs or flags are not those of the frame before.
    changed: Bits,
    compared: Frame,
}

impl Stream {
    /// A stream with a history of `capacity` frames.
    pub(super) fn new(players: Vec<PlayerHandle>, capacity: usize) -> Self {
        Self {
            players,
            end: Frame::ZERO,
            newest: Frame::ZERO,
            closed: None,
            start: Frame::ZERO,
            gone: Vec::new(),
            ahead: Bits::new(capacity),
            changed: Bits::new(capacity),
            compared: Frame::ZERO,
        }
    }

    pub(super) fn has(&self, frame: Frame) -> bool {
        frame < self.end || (frame < self.newest && self.ahead.get(frame))
    }

    /// Whether the frame is held or filled with idle.
    pub(super) fn is_known(&self, frame: Frame) -> bool {
        self.has(frame) || self.closed.is_some_and(|closed| frame >= closed)
    }

    /// The first frame that is neither held nor filled with idle.
    pub(super) fn complete_end(&self) -> Frame {
        match self.closed {
            Some(closed) if self.end >= closed => Frame::MAX,
            _ => self.end,
        }
    }

    /// Takes the stream up again: the frames up to `frame` stay idle. Those before `floor` are asked for no more.
    pub(super) fn reopen(&mut self, frame: Frame, floor: Frame) {
        self.gone.retain(|(_, end)| *end > floor);
        self.gone.extend(self.closed.take().map(|closed| (closed, frame)));
        self.start = frame;
        (self.end, self.newest, self.compared) = (frame, frame, frame);
        self.ahead.0.fill(0);
    }

    /// Whether idle is filled in for the frame.
    pub(super) fn is_idle(&self, frame: Frame) -> bool {
        self.closed.is_some_and(|closed| frame >= closed)
            || self.gone.iter().any(|(from, end)| (*from..*end).contains(&frame))
    }

    /// Holds `frame` from now on.
    pub(super) fn insert(&mut self, frame: Frame) {
        self.newest = self.newest.max(frame.next());
        if frame != self.end {
            self.ahead.set(frame, true);
            return;
        }
        self.end = self.end.next();
        if self.end < self.newest {
            self.close_gap();
        }
    }

    #[inline(never)]
    fn close_gap(&mut self) {
        while self.end < self.newest && self.ahead.get(self.end) {
            self.ahead.set(self.end, false);
            self.end = self.end.next();
        }
    }

    /// Compares each frame up to the end with the one before it.
    pub(super) fn note_changes(&mut self, given: &Rows) {
        for frame in self.compared.until(self.end) {
            let before = frame.minus(1);
            // Nothing is before the first frame, so it is taken for changed.
            let is_changed = frame == before
                || self
                    .players
                    .iter()
                    .any(|player| given.differences(*player, frame, before) != (false, false));
            self.changed.set(frame, is_changed);
        }
        self.compared = self.end;
    }

    /// Which of the 64 frames from `from` on may differ from the one before them, as it is known or they were not compared:
    /// bit `n` for frame `from + n`.
    pub(super) fn changes_from(&self, from: Frame) -> u64 {
        let not_compared = u64::MAX.checked_shl(self.compared.since(from)).unwrap_or(0);
        self.changed.from(from) | not_compared
    }

    /// The last frame before `frame` that is held or before the `floor`; `None` where there is none.
    #[inline]
    pub(super) fn last_before(&self, frame: Frame, floor: Frame) -> Option<Frame> {
        if self.newest <= frame && self.newest > floor {
            return Some(self.newest.minus(1));
        }
        self.last_within(frame, floor)
    }

    #[inline(never)]
    fn last_within(&self, frame: Frame, floor: Frame) -> Option<Frame> {
        let mut last = self.newest.min(frame);
        while last > floor {
            last = last.minus(1);
            if self.has(last) {
                return Some(last);
            }
        }
        // The row before the floor stays in the ring.
        (last > Frame::ZERO).then(|| last.minus(1))
    }

    /// The frames after the first gap that are held: bit `n` for frame `end + 1 + n`.
    #[inline]
    pub(super) fn held_beyond_gap(&self) -> u32 {
        if self.newest <= self.end { 0 } else { self.held_after_gap() }
    }

    #[inline(never)]
    fn held_after_gap(&self) -> u32 {
        let first = self.end.next();
        let held = (0..32).filter(|bit| self.has(first.plus(*bit)));
        held.fold(0, |mask, bit| mask | 1 << bit)
    }
}

/// One bit for each frame of a history.
struct Bits(Vec<u64>);

impl Bits {
    /// Bits for `capacity` frames, a power of two.
    fn new(capacity: usize) -> Self {
        Self(vec![0; capacity.div_ceil(64)])
    }

    fn get(&self, frame: Frame) -> bool {
        let (word, bit) = self.place(frame);
        self.0.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn set(&mut self, frame: Frame, on: bool) {
        let (word, bit) = self.place(frame);
        if let Some(word) = self.0.get_mut(word) {
            *word = *word & !(1 << bit) | u64::from(on) << bit;
        }
    }

    /// The bits of the 64 frames from `frame` on.
    fn from(&self, frame: Frame) -> u64 {
        let (word, bit) = self.place(frame);
        let low = self.0.get(word).map_or(0, |word| word >> bit);
        let next = self.0.get((word + 1) & (self.0.len() - 1)).copied().unwrap_or_default();
        low | next.checked_shl(64 - bit).unwrap_or(0)
    }

    /// The word and the bit in it. A history shorter than a word uses it all: no two of its frames are as far apart.
    fn place(&self, frame: Frame) -> (usize, u32) {
        let index = frame.index();
        ((index / 64) as usize & (self.0.len() - 1), index % 64)
    }
}
