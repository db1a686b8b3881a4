//! Keeps saved states in slots that are made once. Does not know when to save.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::Frame;

/// The states that a rollback may go back to, and the final ones that wait for the members' agreement.
pub(crate) struct SnapshotRing<S> {
    /// Each frame has its slot. There are more of them than frames that can be guessed, so only older ones are saved over.
    slots: Box<[Slot<S>]>,
    /// How many.
    count: NonZeroU32,
    /// What would have been saved over although a rollback may still need it: seldom, where not every frame is saved.
    kept: Slot<S>,
    /// Hashed states in order; the first is the last one agreed.
    reports: Vec<Report<S>>,
    spare: Vec<S>,
    /// The state that a rollback is about to save over.
    aside: S,
}

#[derive(Default)]
struct Slot<S> {
    frame: Option<Frame>,
    snapshot: S,
}

/// A final state that was hashed.
pub(crate) struct Report<S> {
    pub(crate) frame: Frame,
    pub(crate) snapshot: S,
}

impl<S: Default> SnapshotRing<S> {
    /// A ring of so many slots: more than frames that can be guessed.
    pub(crate) fn new(slots: u32, reports: usize) -> Self {
        let count = NonZeroU32::new(slots).unwrap_or(NonZeroU32::MIN);
        Self {
            slots: (0..count.get()).map(|_| Slot::default()).collect(),
            count,
            kept: Slot::default(),
            reports: Vec::with_capacity(reports + 1),
            spare: core::iter::repeat_with(S::default).take(reports + 1).collect(),
            aside: S::default(),
        }
    }

    /// The slot to save `frame` into. The newest state up to `confirmed` stays: a rollback goes back no further.
    pub(crate) fn slot(&mut self, frame: Frame, confirmed: Frame) -> Option<&mut S> {
        let index = self.slot_index(frame);
        let old = self.slots.get(index)?.frame.filter(|old| *old != frame);
        if old.is_some_and(|old| old <= confirmed && !self.has_between(old, confirmed)) {
            core::mem::swap(self.slots.get_mut(index)?, &mut self.kept);
        }
        let slot = self.slots.get_mut(index)?;
        slot.frame = Some(frame);
        Some(&mut slot.snapshot)
    }

    /// Whether a state after `first` and not after `last` is known to be saved.
    fn has_between(&self, first: Frame, last: Frame) -> bool {
        let is_between = |frame: Frame| frame > first && frame <= last;
        let mut ring = first.next().until(last.next()).take(self.slots.len());
        ring.any(|frame| self.in_ring(frame).is_some())
            || self.kept.frame.is_some_and(is_between)
            || self.reports.iter().any(|report| is_between(report.frame))
    }

    fn slot_index(&self, frame: Frame) -> usize {
        (frame.index() % self.count) as usize
    }

    fn in_ring(&self, frame: Frame) -> Option<&Slot<S>> {
        self.slots.get(self.slot_index(frame)).filter(|slot| slot.frame == Some(frame))
    }

    /// The newest state at or before `frame`.
    pub(crate) fn newest_up_to(&self, frame: Frame) -> Option<(Frame, &S)> {
        if let Some(slot) = self.in_ring(frame) {
            return Some((frame, &slot.snapshot));
        }
        let slots = self.slots.iter().chain([&self.kept]);
        let slots = slots.filter_map(|slot| Some((slot.frame?, &slot.snapshot)));
        let reports = self.reports.iter().map(|report| (report.frame, &report.snapshot));
        slots.chain(reports).filter(|(at, _)| *at <= frame).max_by_key(|(at, _)| *at)
    }

    /// The state of exactly `frame`, when it is saved and was not reported.
    pub(crate) fn at(&self, frame: Frame) -> Option<&S> {
        let kept = Some(&self.kept).filter(|slot| slot.frame == Some(frame));
        self.in_ring(frame).or(kept).map(|slot| &slot.snapshot)
    }

    /// The slot to save `frame` into once more, when it is saved already; the state that was there is set aside for a
    /// comparison. Nothing is copied.
    pub(crate) fn replace(&mut self, frame: Frame) -> Option<&mut S> {
        let index = self.slot_index(frame);
        let slot = self.slots.get_mut(index).filter(|slot| slot.frame == Some(frame))?;
        core::mem::swap(&mut slot.snapshot, &mut self.aside);
        Some(&mut slot.snapshot)
    }

    /// The state that was set aside last.
    pub(crate) fn aside(&self) -> &S {
        &self.aside
    }

    /// Forgets states after `first` and before `end`.
    pub(crate) fn forget_between(&mut self, first: Frame, end: Frame) {
        for slot in &mut self.slots {
            if slot.frame.is_some_and(|at| at > first && at < end) {
                slot.frame = None;
            }
        }
    }

    /// Forgets states after `frame`, which were stepped from wrong inputs.
    pub(crate) fn forget_after(&mut self, frame: Frame) {
        for slot in &mut self.slots {
            if slot.frame.is_some_and(|at| at > frame) {
                slot.frame = None;
            }
        }
    }

    /// Forgets all states after `frame`, reported ones as well.
    pub(crate) fn rewind(&mut self, frame: Frame) {
        self.forget_after(frame);
        if self.kept.frame.is_some_and(|at| at > frame) {
            self.kept.frame = None;
        }
        while self.reports.len() > 1 && self.reports.last().is_some_and(|r| r.frame > frame) {
            self.spare.extend(self.reports.pop().map(|report| report.snapshot));
        }
    }

    /// Moves the state of `frame` to the reports. Nothing is copied; does nothing when there is no room.
    pub(crate) fn report(&mut self, frame: Frame) {
        let index = self.slot_index(frame);
        let slot = self.slots.get_mut(index).filter(|slot| slot.frame == Some(frame));
        let slot = slot.or_else(|| Some(&mut self.kept).filter(|slot| slot.frame == Some(frame)));
        let Some((slot, spare)) = slot.zip(self.spare.pop()) else { return };
        slot.frame = None;
        let snapshot = core::mem::replace(&mut slot.snapshot, spare);
        self.reports.push(Report { frame, snapshot });
    }

    /// Whether one more report fits.
    pub(crate) fn has_room(&self) -> bool {
        !self.spare.is_empty()
    }

    /// The reports, oldest first.
    pub(crate) fn reports(&self) -> &[Report<S>] {
        &self.reports
    }

    /// The members agree on the state of `frame`: older reports are needed no more.
    pub(crate) fn agreed(&mut self, frame: Frame) {
        while self.reports.len() > 1 && self.reports.get(1).is_some_and(|r| r.frame <= frame) {
            self.spare.push(self.reports.remove(0).snapshot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(ring: &mut SnapshotRing<u32>, frame: u32, confirmed: u32) {
        *ring.slot(Frame::new(frame), Frame::new(confirmed)).unwrap() = frame;
    }

    #[test]
    fn the_base_of_the_confirmed_frame_is_never_overwritten() {
        let mut ring = SnapshotRing::new(3, 1);
        for frame in 0..9 {
            save(&mut ring, frame, 0);
        }
        assert_eq!(ring.newest_up_to(Frame::new(5)), Some((Frame::ZERO, &0)));
        assert_eq!(ring.newest_up_to(Frame::new(8)), Some((Frame::new(8), &8)));
    }

    #[test]
    fn saving_a_frame_again_takes_its_own_slot() {
        let mut ring = SnapshotRing::new(3, 1);
        for frame in [0, 1, 2, 1] {
            save(&mut ring, frame, 0);
        }
        assert_eq!(ring.newest_up_to(Frame::MAX), Some((Frame::new(2), &2)));
        ring.forget_after(Frame::new(1));
        assert_eq!(ring.newest_up_to(Frame::MAX), Some((Frame::new(1), &1)));
    }

    #[test]
    fn a_report_outlives_the_ring_until_a_later_one_is_agreed() {
        let mut ring = SnapshotRing::new(2, 2);
        for frame in [0, 10, 20] {
            save(&mut ring, frame, frame);
            ring.report(Frame::new(frame));
        }
        assert!(!ring.has_room());
        ring.agreed(Frame::new(10));
        assert!(ring.has_room());
        assert_eq!(ring.newest_up_to(Frame::new(15)), Some((Frame::new(10), &10)));
        assert_eq!(ring.newest_up_to(Frame::new(5)), None);
    }
}
