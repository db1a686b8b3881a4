//! Takes the parts that may follow the main run of a datagram: runs of third peers, further runs of the sender, and hints.

use super::links::Links;
use crate::input_queue::InputQueue;
use crate::peer::Link;
use crate::wire::{self, Base, ExtraRun, HintRun, Inputs};
use crate::{Frame, PEERS_MAX, PeerId, Timestamp};

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
        let width = self.queue.width();
        // Copied, since the runs are applied to the queue that knows it.
        let mut players = [0; PEERS_MAX];
        for (count, peer) in players.iter_mut().zip(PeerId::all(PEERS_MAX)) {
            *count = self.queue.players_of(peer).len();
        }
        let players_of = |peer: PeerId| players.get(peer.index()).copied().unwrap_or_default();
        let (mut newest, mut has_new) = (Frame::ZERO, false);
        for extra in inputs.extra_runs(players_of, width).map_while(Result::ok) {
            let is_new = self.apply_extra(now, index, &extra, is_in_view);
            if self.index_of(extra.owner) == Some(index) {
                newest = newest.max(extra.run.end());
                has_new |= is_new;
            }
        }
        if let Some(link) = self.links.get_mut(index) {
            for hints in inputs.hints(players_of, width) {
                apply_hints(&mut self.queue, link, &hints);
            }
        }
        (newest, has_new)
    }

    /// Files a run that the peer at `sender` passes on of another, or sends apart from its own main run. Answers whether any of
    /// it was new.
    fn apply_extra(
        &mut self,
        now: Timestamp,
        sender: usize,
        extra: &ExtraRun<'_>,
        is_in_view: bool,
    ) -> bool {
        let (owner, own_end) = (extra.owner, self.own_end());
        // Nobody honest passes this peer's own inputs on to it, nor those of a slot without a peer.
        let Some(index) = self.index_of(owner) else {
            if let Some(link) = self.links.get_mut(sender) {
                link.counters.runs_refused += 1;
            }
            return false;
        };
        // Of a departing peer only what a member claimed is taken, and of one that is gone nothing.
        let limit = match self.membership.is_frozen(owner) {
            true if self.membership.departing().contains(owner) => self.membership.claimed(owner),
            true => return false,
            false => Frame::MAX,
        };
        let is_passed_on = index != sender;
        let applied = wire::apply_run(&mut self.queue, owner, &extra.run, Base::Idle, limit);
        if let (Ok(applied), Some(link)) = (applied, self.links.get_mut(sender)) {
            link.count_applied(applied, is_passed_on);
        }
        let has_new = applied.is_ok_and(|applied| applied.new > 0);
        let Some(link) = self.links.get_mut(index).filter(|_| is_passed_on) else { return has_new };
        if has_new || extra.confirmed > link.confirmed {
            link.heard_at = now;
        }
        if is_in_view {
            link.handle_confirmed(extra.confirmed, own_end);
        }
        if let Some((number, digest)) = extra.report {
            let number = self.reports.handle_report(owner, number, digest);
            link.handle_report(number, digest);
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
