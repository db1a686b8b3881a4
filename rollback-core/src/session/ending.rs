//! Where the episode ends, as far as that is known.

use super::End;
use super::episode::{Episode, Phase};
use crate::{Frame, Game, Timestamp};

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

    /// Whether the game has ended here, and one whose game goes on needs inputs up to its next report, to find that this one's ended.
    pub(super) fn gives_more_inputs(&self) -> bool {
        let current = self.rollback.current();
        self.rollback
            .ended_at()
            .is_some_and(|end| end <= current && current < self.links.reports.covering(end))
    }

    /// Looks who is silent.
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
