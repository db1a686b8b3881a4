//! Keeps saved states in slots that are made once. Does not know when to save.

use alloc::vec::Vec;

use crate::Frame;

/// The states that a rollback may go back to, and the final ones that wait for the members' agreement.
pub(crate) struct SnapshotRing<S> {
    slots: Vec<Slot<S>>,
    /// Hashed states in order; the first is the last one agreed.
    reports: Vec<Report<S>>,
    spare: Vec<S>,
    /// The state that a rollback is about to save over.
    aside: S,
}

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
    pub(crate) fn new(slots: usize, reports: usize) -> Self {
        let slot = || Slot { frame: None, snapshot: S::default() };
        Self {
            slots: core::iter::repeat_with(slot).take(slots).collect(),
            reports: Vec::with_capacity(reports + 1),
            spare: core::iter::repeat_with(S::default).take(reports + 1).collect(),
            aside: S::default(),
        }
    }

    /// The slot to save `frame` into. It takes the place of the oldest one that is not the base for `confirmed`.
    pub(crate) fn slot(&mut self, frame: Frame, confirmed: Frame) -> Option<&mut S> {
        if let Some(index) = self.index_in_turn(frame, confirmed) {
            let slot = self.slots.get_mut(index)?;
            slot.frame = Some(frame);
            return Some(&mut slot.snapshot);
        }
        let base = self.slots.iter().filter_map(|s| s.frame).filter(|f| *f <= confirmed).max();
        let victim = self
            .slots
            .iter_mut()
            .filter(|slot| slot.frame == Some(frame) || slot.frame != base || base.is_none())
            .min_by_key(|slot| (slot.frame != Some(frame), slot.frame))?;
        victim.frame = Some(frame);
        Some(&mut victim.snapshot)
    }

    /// Where `frame` goes when every frame is saved in turn: over the oldest one, which is not the base for
    /// `confirmed` when the one after it can be.
    fn index_in_turn(&self, frame: Frame, confirmed: Frame) -> Option<usize> {
        let index = self.slot_index(frame);
        let oldest = self.slots.get(index)?.frame;
        let next = self.slots.get(self.slot_index(frame.next()))?.frame;
        // A younger one may lie here that was saved out of turn, and a report may still wait for it.
        let is_past = |oldest: Frame| frame.since(oldest) as usize >= self.slots.len();
        let is_safe = oldest == Some(frame)
            || oldest.zip(next).is_some_and(|(oldest, next)| {
                is_past(oldest) && oldest < next && next <= confirmed
            });
        is_safe.then_some(index)
    }

    fn slot_index(&self, frame: Frame) -> usize {
        frame.index() as usize % self.slots.len().max(1)
    }

    /// The newest state at or before `frame`.
    pub(crate) fn newest_up_to(&self, frame: Frame) -> Option<(Frame, &S)> {
        if let Some(slot) =
            self.slots.get(self.slot_index(frame)).filter(|s| s.frame == Some(frame))
        {
            return Some((frame, &slot.snapshot));
        }
        let slots = self.slots.iter().filter_map(|slot| Some((slot.frame?, &slot.snapshot)));
        let reports = self.reports.iter().map(|report| (report.frame, &report.snapshot));
        slots.chain(reports).filter(|(at, _)| *at <= frame).max_by_key(|(at, _)| *at)
    }

    /// The state of exactly `frame`, when it is saved.
    pub(crate) fn at(&self, frame: Frame) -> Option<&S> {
        let in_turn = self.slots.get(self.slot_index(frame));
        let mut slots = in_turn.into_iter().chain(&self.slots);
        slots.find(|slot| slot.frame == Some(frame)).map(|slot| &slot.snapshot)
    }

    /// The slot to save `frame` into once more, when it is saved already; the state that was there is set aside for a
    /// comparison. Nothing is copied.
    pub(crate) fn replace(&mut self, frame: Frame) -> Option<&mut S> {
        let slot = self.slots.iter_mut().find(|slot| slot.frame == Some(frame))?;
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

    /// Moves the state of `frame` to the reports. Nothing is copied; does nothing when there is no room.
    pub(crate) fn report(&mut self, frame: Frame) {
        let slot = self.slots.iter_mut().find(|slot| slot.frame == Some(frame));
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
