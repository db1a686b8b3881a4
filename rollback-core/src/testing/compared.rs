//! How far the members have compared their states: what is promised of a game whose memory is hit.
//!
//! Whoever leaves, is lost or stays alone compares nothing that comes after, so nobody notices that it differs. Inputs and items are
//! equal all the same.

use alloc::format;
use core::fmt::Debug;

use super::judgement::Judgement;
use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::world::Broken;
use crate::recording::RecordedFrame;
use crate::{Frame, Game, Item};

impl<G: Game<Error: Debug>> Node<G> {
    /// Notes how far all agree, as long as there is another who may say otherwise.
    pub(super) fn note_compared(&mut self) {
        if self.session.is_compared() {
            self.compared = self.compared.max(self.session.agreed().end());
        }
    }
}

impl<G: Game<Error: Debug>> Judgement<'_, G> {
    /// Whether what came of the frames before this one is promised, where others compared it up to `compared`.
    pub(super) fn is_compared(&self, compared: Frame, frame: Frame) -> bool {
        self.counts.rays == 0 || frame <= compared
    }

    /// The rows of which that is promised.
    pub(super) fn compared_rows<'r>(
        &self,
        rows: &'r [RecordedFrame],
        compared: Frame,
    ) -> &'r [RecordedFrame] {
        let count =
            rows.iter().take_while(|row| self.is_compared(compared, row.frame.next())).count();
        rows.get(..count).unwrap_or(rows)
    }

    /// How far every member has compared its states.
    pub(super) fn compared_by_all(&self) -> Frame {
        self.nodes.iter().map(|node| node.compared).min().unwrap_or_default()
    }

    /// Stable logs are equal; what came of a step, as far as it was compared.
    pub(super) fn check_logs(&self) -> Result<(), Broken> {
        let Some(longest) = self.longest() else { return Ok(()) };
        for node in self.nodes.iter().chain(self.former) {
            let compared = node.compared.min(longest.compared);
            let differ = |(ours, theirs): &(&RecordedFrame, &RecordedFrame)| {
                if self.is_compared(compared, ours.frame.next()) {
                    ours != theirs
                } else {
                    !have_equal_inputs(ours, theirs)
                }
            };
            let mut pairs = self.rows(node).iter().zip(self.rows(longest));
            if let Some((ours, theirs)) = pairs.find(differ) {
                let detail = format!("{ours:?}, but {theirs:?} at {}", longest.peer);
                let violation = Violation::at(Oracle::StableLogs, ours.frame, detail);
                return Err((Some(node.peer), violation));
            }
        }
        Ok(())
    }
}

/// Whether all that came of the members, and not of the game, is equal.
fn have_equal_inputs(one: &RecordedFrame, other: &RecordedFrame) -> bool {
    let given = |row: &RecordedFrame| {
        let items = row.items.iter().filter(|(_, item)| !matches!(item, Item::Resync { .. }));
        (
            row.frame,
            row.inputs.clone(),
            row.flags.clone(),
            items.copied().collect::<alloc::vec::Vec<_>>(),
        )
    };
    given(one) == given(other)
}
