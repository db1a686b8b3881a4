//! Saved states against a map of all that were ever saved.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use crate::Frame;
use crate::snapshot_ring::SnapshotRing;

const REPORTS: usize = 3;

/// What happens to a ring.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// The next frame is stepped to, and saved or not.
    Step { is_saved: bool },
    /// So many more frames are confirmed.
    Confirm(u32),
    /// Steps of so many frames are undone, but none that is confirmed; each is stepped to and saved again.
    Rollback(u32),
    /// The newest confirmed state that is saved is reported.
    Report,
    /// The oldest report but one is agreed.
    Agree,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => any::<bool>().prop_map(|is_saved| Act::Step { is_saved }),
        4 => (1..4_u32).prop_map(Act::Confirm),
        3 => (1..8_u32).prop_map(Act::Rollback),
        1 => Just(Act::Report),
        1 => Just(Act::Agree),
    ];
    prop::collection::vec(act, 0..200)
}

struct Model {
    ring: SnapshotRing<u64>,
    window: u32,
    /// The last state of each frame that was saved and not forgotten: whether the ring still has it or not.
    saved: BTreeMap<u32, u64>,
    reports: BTreeMap<u32, u64>,
    current: u32,
    confirmed: u32,
    /// Every state that is saved is another one.
    saves: u64,
}

impl Model {
    fn new(window: u32, slots: u32) -> Self {
        let ring = SnapshotRing::new(slots, REPORTS);
        let (saved, reports) = (BTreeMap::new(), BTreeMap::new());
        let mut model = Self { ring, window, saved, reports, current: 0, confirmed: 0, saves: 0 };
        model.save(0);
        model
    }

    fn save(&mut self, frame: u32) {
        self.saves += 1;
        let slot = self.ring.slot(Frame::new(frame), Frame::new(self.confirmed.min(frame)));
        *slot.unwrap() = self.saves;
        self.saved.insert(frame, self.saves);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Step { is_saved } if self.current < self.confirmed + self.window => {
                self.current += 1;
                if is_saved {
                    self.save(self.current);
                }
            }
            Act::Step { .. } => {}
            Act::Confirm(frames) => self.confirmed = (self.confirmed + frames).min(self.current),
            Act::Rollback(frames) => {
                let to = self.current.saturating_sub(frames).max(self.confirmed);
                let from = self.base(to).0;
                self.ring.forget_after(Frame::new(to));
                self.saved.retain(|frame, _| *frame <= to);
                (from.max(to) + 1..=self.current).for_each(|frame| self.save(frame));
            }
            Act::Report => {
                let (frame, _) = self.base(self.confirmed);
                let is_newer = self.reports.keys().all(|reported| *reported < frame);
                if is_newer && self.ring.has_room() && self.ring.at(Frame::new(frame)).is_some() {
                    self.ring.report(Frame::new(frame));
                    self.reports.extend(self.saved.remove_entry(&frame));
                }
            }
            Act::Agree => {
                if let Some(second) = self.reports.keys().nth(1).copied() {
                    self.ring.agreed(Frame::new(second));
                    self.reports.pop_first();
                }
            }
        }
    }

    /// The newest state that the ring has at or before a frame; it must be one that was saved, as it was saved.
    fn base(&self, frame: u32) -> (u32, u64) {
        let (at, state) = self.ring.newest_up_to(Frame::new(frame)).expect("a state to go back to");
        let known = self.saved.get(&at.index()).or_else(|| self.reports.get(&at.index()));
        assert_eq!(known, Some(state), "the state of frame {at}");
        (at.index(), *state)
    }

    fn check(&self) {
        // Nothing confirmed is ever stepped again, and there is a state to step on from.
        let (base, _) = self.base(self.confirmed);
        let reports =
            self.ring.reports().iter().map(|report| (report.frame.index(), report.snapshot));
        assert!(reports.eq(self.reports.iter().map(|(frame, state)| (*frame, *state))));
        assert_eq!(self.ring.has_room(), self.reports.len() <= REPORTS);
        // None of the states from there on is lost.
        for (frame, state) in self.saved.range(base..) {
            assert_eq!(self.base(*frame), (*frame, *state));
        }
    }
}

proptest! {
    #[test]
    fn there_is_always_a_state_to_go_back_to_and_it_is_the_right_one(
        // As many slots as frames from the confirmed one on, or a few more.
        (window, slots) in (0..9_u32, 1..=4_u32).prop_map(|(window, more)| (window, window + more)),
        acts in acts(),
    ) {
        let mut model = Model::new(window, slots);
        for act in acts {
            model.act(act);
            model.check();
        }
    }
}
