//! Hands out stable frames, in order, each once.

use super::StableFrame;
use super::episode::Episode;
use crate::{Frame, Game, OnDesync};

impl<G: Game> Episode<G> {
    /// The first frame that cannot be handed out yet.
    pub(super) fn row_limit(&self) -> Frame {
        let simulated = self.rollback.simulated_end(&self.links.queue);
        let limit = self.ledger.stable.min(simulated).min(self.links.reports.next_frame());
        // A frame whose items were not looked at may be one at which the episode ends.
        let limit = limit.min(self.ledger.noted);
        // Where all may take over another state, only what they agree on is sure.
        let end = self.end();
        let is_sure = self.links.config.on_desync() == OnDesync::End || end.is_some();
        let limit = if is_sure { limit } else { limit.min(self.ledger.agreed) };
        let end = end.or_else(|| self.end_frame());
        let limit = end.map_or(limit, |end| limit.min(end.frame));
        // What was handed out stays so while frames are stepped again because the state of a report was not saved.
        limit.max(self.ledger.next_row)
    }

    pub(super) fn has_row(&self) -> bool {
        self.ledger.next_row < self.ledger.rows_end
    }

    pub(super) fn next_row(&mut self) -> StableFrame<'_> {
        let frame = self.ledger.next_row;
        self.ledger.next_row = frame.next();
        let state_hash = self.ledger.take_hash(frame);
        self.ledger.row_items.clear();
        if self.links.queue.has_items() {
            self.ledger.row_items.extend(self.links.queue.items_at(frame));
        }
        self.ledger.take_keyframe(frame);
        let (inputs, flags) = self.links.queue.confirmed_inputs(frame);
        StableFrame {
            frame,
            inputs,
            flags,
            items: &self.ledger.row_items,
            output: self.rollback.output(frame),
            state_hash,
            keyframe: self.ledger.row_keyframe(),
        }
    }
}
