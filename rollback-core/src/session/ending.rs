//! Where the episode ends, as far as that is known, and how this peer leaves it.

use super::End;
use super::episode::{Episode, Phase};
use crate::resync::Decision;
use crate::{Frame, Game, OnDesync, Timestamp};

impl<G: Game> Episode<G> {
    /// How the episode ended, once it is over.
    pub(super) fn end(&self) -> Option<End> {
        match self.phase {
            Phase::Over { end, .. } => Some(end),
            _ => None,
        }
    }

    /// Whether the episode is over and nobody needs this peer any more, or it has stayed long enough by `now`.
    pub(super) fn is_finished(&self, now: Timestamp) -> bool {
        let Phase::Over { since, .. } = self.phase else { return false };
        let goodbyes_are_heard =
            self.links.goodbye.is_some() && self.links.links.iter().all(|link| link.heard_goodbye);
        goodbyes_are_heard
            || self.links.others_not_done().is_empty()
            || now.since(since) >= self.links.config.linger()
    }

    /// Where the episode ends, as far as confirmed inputs tell.
    #[inline]
    pub(super) fn end_frame(&self) -> Option<End> {
        let is_in_sight = self.ledger.has_planned_end() || self.rollback.ended_at().is_some();
        if is_in_sight { self.find_end() } else { None }
    }

    /// Leaves in order, unless the episode ends here for another reason: then that one is told, and no other.
    pub(super) fn leave(&mut self) -> Frame {
        match self.phase {
            Phase::Searching { .. } if self.links.config.on_desync() == OnDesync::End => {
                self.links.own_end()
            }
            // Where all are to play on after a desync, one that leaves stays until they do, or has waited long enough for one
            // that is silent. What every application is to decide it wants ended, so that nobody waits for its word.
            Phase::Handshaking | Phase::Playing | Phase::Searching { .. } | Phase::Disputed => {
                self.decide(Decision::End);
                self.local_inputs.leave_later();
                self.leave_when_it_may()
            }
            Phase::CatchingUp => {
                self.local_inputs.leave_later();
                self.links.caught_up_to.unwrap_or_default()
            }
            Phase::Failing { .. } | Phase::Over { .. } => self.links.own_end(),
        }
    }

    /// Leaves now, if it wants to leave and may file a frame. A peer that has promised to file nothing until a return is agreed
    /// waits for that, and leaves at the promised frame.
    pub(super) fn leave_when_it_may(&mut self) -> Frame {
        let frame = self.links.own_end();
        match self.local_inputs.wants_to_leave() && frame <= self.links.queue.limit() {
            true => self.local_inputs.leave(&mut self.links.queue),
            false => frame,
        }
    }

    /// Whether the game has ended here but inputs are given all the same: a member whose game has not ended needs them up to its next
    /// report, in which it finds the difference.
    pub(super) fn gives_more_inputs(&self) -> bool {
        let current = self.rollback.current();
        self.rollback
            .ended_at()
            .is_some_and(|end| end <= current && current < self.links.reports.covering(end))
    }

    /// Looks for peers that are silent, where that is due.
    #[inline]
    pub(super) fn note_silence(&mut self, now: Timestamp) {
        if self.links.is_silence_due(now) {
            let knows_end = self.end_frame().is_some();
            self.links.look_for_silence(now, knows_end);
        }
    }

    #[inline(never)]
    fn find_end(&self) -> Option<End> {
        let Some(ended) = self.rollback.ended_at() else { return self.ledger.end(None) };
        let simulated = self.rollback.simulated_end(&self.links.queue);
        let confirmed = self.links.queue.confirmed_end();
        // What was recorded after it shows that it goes on there, from a state that all took over.
        let least = self.links.caught_up_to.unwrap_or_default();
        let is_certain = |end: &Frame| *end <= simulated.min(confirmed) && *end >= least;
        self.ledger.end(Some(ended).filter(is_certain))
    }
}
