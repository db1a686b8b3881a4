//! Keeps saved states in slots, and has only as many slots as were needed at once. Does not know when to save.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::Frame;

/// The states that a rollback may go back to, and the final ones that wait for the members' agreement.
pub(crate) struct SnapshotRing<S> {
    /// Each frame has its slot. One more is made where a state would be saved over that is still needed: how many there are
    /// follows from how far guesses went so far.
    slots: Box<[Slot<S>]>,
    /// How many.
    count: NonZeroU32,
    /// So many at most: more than frames that can be guessed, so then only older ones are saved over.
    count_max: u32,
    /// What would have been saved over then although a rollback may still need it: seldom, where not every frame is saved.
    kept: Slot<S>,
    /// The frame of the next report: once it is final, its state waits to be hashed.
    awaited: Frame,
    /// Hashed states in order; the first is the last one agreed.
    reports: Vec<Report<S>>,
    reports_max: usize,
    /// What is left of reports that are needed no more, for those to come.
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
    /// A ring of so many slots at most: more than frames that can be guessed. Beside them and the last report that is agreed
    /// it keeps so many reports.
    pub(crate) fn new(slots: u32, reports: usize) -> Self {
        Self {
            slots: Box::new([Slot::default()]),
            count: NonZeroU32::MIN,
            count_max: slots,
            kept: Slot::default(),
            awaited: Frame::MAX,
            // There are seldom more than two.
            reports: Vec::with_capacity(2),
            reports_max: reports + 1,
            spare: Vec::with_capacity(2),
            aside: S::default(),
        }
    }

    /// The next report is of this frame.
    #[inline]
    pub(crate) fn set_awaited(&mut self, frame: Frame) {
        self.awaited = frame;
    }

    /// The slot to save `frame` into. The newest state up to the base stays, and what is newer: a rollback goes back no further than
    /// to `confirmed`, and of older states only the one that is awaited is still to be hashed.
    #[inline]
    pub(crate) fn slot(&mut self, frame: Frame, confirmed: Frame) -> Option<&mut S> {
        let base = confirmed.min(self.awaited);
        let mut index = self.slot_index(frame);
        let old = self.slots.get(index)?.frame.filter(|old| *old != frame);
        if let Some(old) = old.filter(|old| *old >= base || self.in_ring(base).is_none()) {
            index = self.make_room(frame, old, base);
        }
        let slot = self.slots.get_mut(index)?;
        slot.frame = Some(frame);
        Some(&mut slot.snapshot)
    }

    /// Where the state that would be saved over is needed, makes as many slots as frames lie between the first such and
    /// `frame`: each of those has its own then. Answers which slot is the one of `frame`.
    #[inline(never)]
    fn make_room(&mut self, frame: Frame, old: Frame, base: Frame) -> usize {
        let is_needed = |saved: &Frame| *saved > base || !self.has_between(*saved, base);
        if !is_needed(&old) {
            return self.slot_index(frame);
        }
        let saved = self.slots.iter().filter_map(|slot| slot.frame);
        let first = saved.filter(is_needed).min().unwrap_or(old);
        let count = frame.since(first).saturating_add(1).min(self.count_max);
        if count > self.count.get() {
            self.grow(count, base);
        }
        let index = self.slot_index(frame);
        if let Some(slot) = self.slots.get_mut(index) {
            keep(slot, &mut self.kept, base);
        }
        index
    }

    fn grow(&mut self, count: u32, base: Frame) {
        self.count = NonZeroU32::new(count).unwrap_or(self.count);
        let slots = (0..self.count.get()).map(|_| Slot::default()).collect();
        for mut slot in core::mem::replace(&mut self.slots, slots) {
            let Some(index) = slot.frame.map(|frame| self.slot_index(frame)) else { continue };
            let Some(place) = self.slots.get_mut(index) else { continue };
            if place.frame < slot.frame {
                core::mem::swap(place, &mut slot);
            }
            keep(&mut slot, &mut self.kept, base);
        }
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
        let Some(slot) = slot.filter(|_| self.reports.len() < self.reports_max) else { return };
        slot.frame = None;
        let spare = self.spare.pop().unwrap_or_default();
        let snapshot = core::mem::replace(&mut slot.snapshot, spare);
        self.reports.push(Report { frame, snapshot });
    }

    /// Whether one more report fits.
    pub(crate) fn has_room(&self) -> bool {
        self.reports.len() < self.reports_max
    }

    /// The reports, oldest first.
    pub(crate) fn reports(&self) -> &[Report<S>] {
        &self.reports
    }

    /// The report of `frame`, while it is kept.
    pub(crate) fn report_of(&self, frame: Frame) -> Option<&Report<S>> {
        self.reports.iter().find(|report| report.frame == frame)
    }

    /// The members agree on the state of `frame`: older reports are needed no more.
    #[inline]
    pub(crate) fn agreed(&mut self, frame: Frame) {
        if self.reports.get(1).is_some_and(|second| second.frame <= frame) {
            self.forget_agreed(frame);
        }
    }

    #[inline(never)]
    fn forget_agreed(&mut self, frame: Frame) {
        while self.reports.get(1).is_some_and(|second| second.frame <= frame) {
            self.spare.push(self.reports.remove(0).snapshot);
        }
    }
}

/// Of two states for one slot the older one is kept, which lies further back than there may be slots: the newest of such.
fn keep<S>(slot: &mut Slot<S>, kept: &mut Slot<S>, base: Frame) {
    if slot.frame > kept.frame && slot.frame <= Some(base) {
        core::mem::swap(slot, kept);
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
    fn there_are_as_many_slots_as_states_that_were_needed_at_once() {
        let mut ring = SnapshotRing::new(10, 1);
        for frame in 0..40_u32 {
            save(&mut ring, frame, frame.saturating_sub(3));
        }
        assert_eq!(ring.slots.len(), 4, "the base and the guessed ones");
        for frame in 40..100_u32 {
            save(&mut ring, frame, if (60..65).contains(&frame) { 56 } else { frame - 3 });
        }
        assert_eq!(ring.slots.len(), 9);
    }

    #[test]
    fn the_state_that_waits_to_be_hashed_is_not_saved_over() {
        let mut ring = SnapshotRing::new(10, 1);
        ring.set_awaited(Frame::new(3));
        for frame in 0..=12 {
            save(&mut ring, frame, frame);
        }
        assert_eq!(ring.at(Frame::new(3)), Some(&3));
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
