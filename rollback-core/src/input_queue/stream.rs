//! Which frames of one peer are held, and from where on the peer is gone. Does not hold the inputs.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::rows::Rows;
use crate::{Frame, PlayerHandle};

/// What is held of one peer's inputs.
pub(super) struct Stream {
    pub(super) players: Box<[PlayerHandle]>,
    /// The least input delay of its players.
    pub(super) delay: u32,
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
    /// Of frames before `compared` the inputs that are not those of the frame before, or idle in the first one.
    changed: Bits,
    /// From this frame on up to `compared` no flags are other ones than in the frame before.
    same_flags_from: Frame,
    compared: Frame,
}

impl Stream {
    /// A stream with a history of `capacity` frames.
    pub(super) fn new(players: Box<[PlayerHandle]>, capacity: u32) -> Self {
        Self {
            ahead: Bits::new(capacity, 1),
            changed: Bits::new(capacity, u32::try_from(players.len()).unwrap_or_default()),
            players,
            delay: 0,
            end: Frame::ZERO,
            newest: Frame::ZERO,
            closed: None,
            start: Frame::ZERO,
            gone: Vec::new(),
            same_flags_from: Frame::ZERO,
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

    /// Up to which frame all from this one on are known, or all are not.
    pub(super) fn alike_until(&self, frame: Frame) -> Frame {
        match self.closed {
            Some(closed) if frame >= closed => Frame::MAX,
            _ if frame < self.end => self.end,
            _ if frame < self.newest => frame.next(),
            closed => closed.unwrap_or(Frame::MAX),
        }
    }

    /// The first frames of those from `from` up to `end` that are neither held nor filled with idle.
    #[inline]
    pub(super) fn gap(&self, (from, end): (Frame, Frame)) -> Option<(Frame, Frame)> {
        let (from, end) = (from.max(self.end), self.closed.map_or(end, |closed| end.min(closed)));
        match from < end {
            true if from < self.newest => self.gap_in_held((from, end)),
            true => Some((from, end)),
            false => None,
        }
    }

    #[inline(never)]
    fn gap_in_held(&self, (from, end): (Frame, Frame)) -> Option<(Frame, Frame)> {
        let first = from.until(end).find(|frame| !self.has(*frame))?;
        Some((first, first.until(end).find(|frame| self.has(*frame)).unwrap_or(end)))
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
        self.ahead.words.fill(0);
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

    /// Compares each frame up to the end with the one before it; the first one of a life with idle.
    #[inline]
    pub(super) fn note_changes(&mut self, rows: &Rows) {
        while self.compared < self.end {
            self.note_next_change(rows);
        }
    }

    #[inline(never)]
    fn note_next_change(&mut self, rows: &Rows) {
        let frame = self.compared;
        let is_first = frame <= self.start;
        let base = if is_first { rows.idle() } else { rows.place(frame.minus(1)) };
        let place = rows.place(frame);
        for (nth, player) in self.players.iter().enumerate() {
            let (input, flags) = rows.differences(*player, base, place);
            self.changed.set_nth(frame, nth, input);
            if flags {
                self.same_flags_from = frame.next();
            }
        }
        self.compared = frame.next();
    }

    /// Whether no flags change in the frames from `first` up to `end`, as was noted.
    pub(super) fn has_same_flags(&self, first: Frame, end: Frame) -> bool {
        debug_assert!(end <= self.compared, "only what was compared is sent");
        self.same_flags_from <= first
    }

    /// Which inputs from `first` on are not those of the frame before, all players of a frame in order: 64 of them from the one
    /// with the number `nth` on.
    #[inline]
    pub(super) fn changed_from(&self, first: Frame, nth: usize) -> u64 {
        self.changed.from(first, nth)
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

/// Some bits for each frame of a history.
struct Bits {
    words: Box<[u64]>,
    /// One less than the number of frames, a power of two.
    mask: u32,
    per_frame: u32,
}

impl Bits {
    /// Bits for `capacity` frames, a power of two. The frames fill whole words, so a shorter history has room for more.
    fn new(capacity: u32, per_frame: u32) -> Self {
        let frames = capacity.max(64);
        let words = vec![0; (frames / 64 * per_frame) as usize].into();
        Self { words, mask: frames - 1, per_frame }
    }

    fn get(&self, frame: Frame) -> bool {
        let (word, bit) = self.place(frame, 0);
        self.words.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn set(&mut self, frame: Frame, on: bool) {
        self.set_nth(frame, 0, on);
    }

    #[inline]
    fn set_nth(&mut self, frame: Frame, nth: usize, on: bool) {
        let (word, bit) = self.place(frame, nth);
        if let Some(word) = self.words.get_mut(word) {
            *word = *word & !(1 << bit) | u64::from(on) << bit;
        }
    }

    /// 64 bits: from the one with the number `nth` on, counted from the first one of `frame`.
    #[inline]
    fn from(&self, frame: Frame, nth: usize) -> u64 {
        let (word, bit) = self.place(frame, nth);
        let low = self.words.get(word).map_or(0, |word| word >> bit);
        let next = self.words.get(word + 1).or(self.words.first()).copied().unwrap_or_default();
        if bit == 0 { low } else { low | next << (64 - bit) }
    }

    /// The word and the bit in it.
    #[inline]
    fn place(&self, frame: Frame, nth: usize) -> (usize, usize) {
        let at = ((frame.index() & self.mask) * self.per_frame) as usize + nth;
        let (word, words) = (at / 64, self.words.len());
        (if word < words { word } else { word - words }, at % 64)
    }
}
