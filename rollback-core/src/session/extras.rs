//! Takes the parts that may follow the main run of a datagram: runs of third peers, further runs of the sender, and hints.

use super::links::Links;
use super::membership::Membership;
use crate::desync::Reports;
use crate::input_queue::InputQueue;
use crate::peer::Link;
use crate::wire::{self, Base, ExtraRun, HintRun, Inputs};
use crate::{Frame, PeerId, Timestamp};

impl Links {
    /// Takes what follows the main run of a datagram. Answers the end of the newest run of the sender itself, and whether these
    /// had anything new.
    #[inline(never)]
    pub(super) fn take_extras(
        &mut self,
        now: Timestamp,
        index: usize,
        inputs: &Inputs<'_>,
        is_in_view: bool,
    ) -> (Frame, bool) {
        let (own_end, width) = (self.own_end(), self.queue.width());
        // Borrowed apart from the queue, which the runs are applied to.
        let roster = &self.ticket.roster;
        let players_of = |peer| roster.players_of(peer).count();
        let (mut newest, mut has_new) = (Frame::ZERO, false);
        for extra in inputs.extra_runs(players_of, width).map_while(Result::ok) {
            let is_own = self.links.get(index).is_some_and(|link| link.peer == extra.owner);
            if is_own {
                newest = newest.max(extra.run.end());
            }
            has_new |= is_own
                & Self::apply_extra(
                    (&mut self.queue, &mut self.links, &mut self.reports),
                    (&self.membership, self.local, is_in_view),
                    (now, index, own_end),
                    &extra,
                );
        }
        if let Some(link) = self.links.get_mut(index) {
            for hints in inputs.hints(players_of, width) {
                apply_hints(&mut self.queue, link, &hints);
            }
        }
        (newest, has_new)
    }

    /// Files what a peer passes on of another, or apart from its own main run. Answers whether any of it was new.
    fn apply_extra(
        (queue, links, reports): (&mut InputQueue, &mut [Link], &mut Reports),
        (membership, local, is_in_view): (&Membership, PeerId, bool),
        (now, sender, own_end): (Timestamp, usize, Frame),
        extra: &ExtraRun<'_>,
    ) -> bool {
        let owner = extra.owner;
        // Of a departing peer only what a member claimed is taken, and of one that is gone nothing.
        let limit = match membership.is_frozen(owner) {
            true if membership.departing().contains(owner) => membership.claimed(owner),
            true => return false,
            false => Frame::MAX,
        };
        let is_known = links.iter().any(|link| link.peer == owner);
        if owner == local || !is_known {
            return false;
        }
        let applied = wire::apply_run(queue, owner, &extra.run, Base::Idle, limit);
        let sender_is_owner = links.get(sender).is_some_and(|link| link.peer == owner);
        if let (Ok(applied), Some(link)) = (applied, links.get_mut(sender)) {
            link.count_applied(applied, !sender_is_owner);
        }
        let has_new = applied.is_ok_and(|applied| applied.new > 0);
        let Some(link) = links.iter_mut().find(|link| link.peer == owner) else { return has_new };
        if !sender_is_owner {
            if has_new || extra.confirmed > link.confirmed {
                link.heard_at = now;
            }
            if is_in_view {
                link.handle_confirmed(extra.confirmed, own_end);
            }
            if let Some((number, digest)) = extra.report {
                let number = reports.handle_report(owner, number, digest);
                link.handle_report(number, digest);
            }
        }
        has_new
    }
}

/// Takes what a peer's players will probably do, to be guessed.
fn apply_hints(queue: &mut InputQueue, link: &mut Link, hints: &HintRun<'_>) {
    if hints.owner != link.peer {
        link.counters.hints_refused += 1;
        return;
    }
    if !queue.are_newest_hints(link.peer, hints.first) {
        return;
    }
    for (frame, place, input) in hints.hints() {
        let player = queue.players_of(link.peer).get(place).copied();
        let taken = player.is_some_and(|player| queue.take_hint(link.peer, player, frame, input));
        link.counters.hints += u64::from(taken);
    }
}
