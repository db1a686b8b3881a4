//! Searches for the first frame at which the members' states part.

use alloc::vec::Vec;

use super::episode::{Episode, Phase};
use super::{Advance, EndCause, Event, Stall};
use crate::desync::{Desync, Disagreement, Search};
use crate::journal::Witness;
use crate::{Game, GameError, StateHash, Timestamp};

impl<G: Game> Episode<G> {
    pub(super) fn start_search(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
        disagreement: Disagreement,
    ) -> Result<(), GameError<G::Error>> {
        let agreed = self.links.reports.agreed_frame(self.links.others());
        self.rollback.agreed(agreed);
        let mut hashes = Vec::new();
        let queue = &mut self.links.queue;
        self.rollback.replay(game, queue, disagreement.frame, |hash, output| {
            hashes.push(short_hash(hash) ^ output.short());
        })?;
        self.links.search = Some(Search::new(disagreement, agreed, hashes));
        self.phase = Phase::Searching { since: now };
        Ok(())
    }

    /// One round of the search for the first frame at which the states part.
    pub(super) fn search(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Advance {
        let Some(search) = &mut self.links.search else { return Advance::Stalled(Stall::Closing) };
        if let (Some(Some(frame)), None) = (search.first_bad(), &search.leaves) {
            let queue = &mut self.links.queue;
            let leaves = self.rollback.replay(game, queue, frame, |_, _| {});
            // A game that cannot be replayed a second time still has its frame named.
            search.leaves = Some((frame, leaves.unwrap_or_default()));
        }
        let is_late = now.since(since) >= self.config.departure_timeout();
        let others = self.links.membership.view().members.without(self.links.local);
        let finding = search.finding().filter(|_| search.has_heard_all(others));
        let finding = finding.or(is_late.then(|| search.late_finding()));
        let Some(finding) = finding else { return Advance::Stalled(Stall::SearchingDesync) };
        let agreed = search.agreed();
        let Disagreement { peer, frame, inputs_are_equal } = search.disagreement;
        let desync = Desync { peer, agreed, reported: frame, inputs_are_equal, finding };
        self.links.events.push(Event::Desync(desync));
        self.ledger.agreed = agreed;
        // Whoever agrees with a state has confirmed all frames before it.
        self.ledger.stable = self.ledger.stable.max(agreed);
        self.finish(now, agreed, EndCause::Desync, None);
        self.end().map_or(Advance::Stalled(Stall::SearchingDesync), Advance::Ended)
    }
}

/// The part of a hash that the search compares.
fn short_hash(hash: StateHash) -> u32 {
    let [a, b, c, d, ..] = hash.to_bytes();
    u32::from_le_bytes([a, b, c, d])
}
