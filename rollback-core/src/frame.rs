//! Knows how frames are counted. Does not know what happens in one.

use core::fmt;

/// One step of the simulation, counted from 0 at the start of an episode.
///
/// The *state* of frame `f` is the state before it is stepped: stepping frame `f` with the inputs of frame `f`
/// turns state `f` into state `f + 1`, and state 0 is the state after `reset`. Where a frame marks a border
/// ("confirmed up to"), it is exclusive: every frame before it is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Frame(u32);

impl Frame {
    /// The first frame of an episode.
    pub const ZERO: Self = Self(0);
    /// The last frame that can be counted: more than two years at 60 frames a second.
    pub const MAX: Self = Self(u32::MAX);

    /// The frame with this index.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The index of this frame.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }

    /// The frame after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The frame `frames` later; stays at [`Frame::MAX`] once there.
    #[must_use]
    pub const fn plus(self, frames: u32) -> Self {
        Self(self.0.saturating_add(frames))
    }

    /// The frame `frames` earlier; stays at [`Frame::ZERO`] once there.
    #[must_use]
    pub const fn minus(self, frames: u32) -> Self {
        Self(self.0.saturating_sub(frames))
    }

    /// How many frames lie between `earlier` and this one; 0 when `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whether this frame's index is a multiple of `interval`.
    #[must_use]
    pub const fn is_multiple_of(self, interval: u32) -> bool {
        interval != 0 && self.0.is_multiple_of(interval)
    }

    /// Every frame from this one up to, and without, `end`.
    pub fn until(self, end: Self) -> impl Iterator<Item = Self> + use<> {
        (self.0..end.0).map(Self)
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn arithmetic_stays_in_range() {
        assert_eq!(Frame::ZERO.minus(1), Frame::ZERO);
        assert_eq!(Frame::MAX.next(), Frame::MAX);
        assert_eq!(Frame::new(3).since(Frame::new(5)), 0);
        assert_eq!(Frame::new(5).since(Frame::new(3)), 2);
    }

    #[test]
    fn until_is_exclusive() {
        let frames: Vec<_> = Frame::new(2).until(Frame::new(4)).collect();
        assert_eq!(frames, [Frame::new(2), Frame::new(3)]);
        assert_eq!(Frame::new(4).until(Frame::new(2)).count(), 0);
    }
}
