//! Decides at the end of each call which datagrams and rare messages are due to whom. Writes none of them.

use super::links::{DIGEST_REPEATS, Links};
use crate::peer::Link;
use crate::wire::Control;
use crate::{Frame, PeerId, PeerSet, Timestamp};

impl Links {
    /// Every peer is due one datagram, and the rare messages that wait.
    #[inline]
    pub(crate) fn make_due(&mut self, now: Timestamp) {
        if !self.links.is_empty() {
            self.make_due_to_each(now);
        }
    }

    #[inline(never)]
    fn make_due_to_each(&mut self, now: Timestamp) {
        if !self.control.is_empty() {
            self.forget_control();
        }
        if let Some(search) = &mut self.search {
            search.next_turn();
        }
        let members = self.others();
        self.lacking = self.find_lacking(now);
        self.tell_dispute(now, members);
        self.tell_rate(now);
        // One that waits for hellos must ask for what a lost member gave to others, to agree on where that ends.
        let takes_part = self.has_started || !self.membership.departing().is_empty();
        // One that comes back is called as often as it can step, and speaks at the pace of one that waits.
        let is_paced = self.caught_up_to.is_some();
        let is_ready_due = || now.micros_since(self.ready_at) >= HELLO_INTERVAL_MICROS;
        let ready = self.caught_up_to.filter(|_| is_ready_due() && !self.is_passing);
        if ready.is_some() {
            self.ready_at = now;
        }
        let is_told_all = self.membership.has_claims()
            || ready.is_some()
            || self.goodbye.is_some()
            || self.search.is_some();
        let returning = self.returning(|_| true);
        let frozen = self.membership.frozen().minus(self.returning(|it| it.is_open));
        let gone = self.remotes.minus(members);
        let told = if gone.is_empty() { members } else { members.or(self.still_told(now, gone)) };
        self.inputs_due = if takes_part { told.minus(frozen) } else { PeerSet::EMPTY };
        let unheard_by = if is_paced { PeerSet::EMPTY } else { self.unheard_by };
        let greeted = unheard_by.or(self.still_greeted(now)).minus(frozen);
        self.hellos_due = self.hellos_due.and(returning).or(greeted.minus(returning));
        // One that waits may wait for a digest that was lost.
        if self.is_waiting || self.end_agreed {
            for link in self.links.iter_mut().filter(|link| link.digests_due == 0) {
                link.digests_due = DIGEST_REPEATS;
            }
        }
        let owed = self.goodbyes_owed.or(self.evictions_owed);
        for peer in if is_told_all { self.remotes } else { owed }.iter() {
            self.tell(peer, frozen.contains(peer), ready);
        }
    }

    #[inline(never)]
    fn forget_control(&mut self) {
        self.control.clear();
    }

    /// Those of `others`, which are no members, that still get inputs: a peer that has left needs to hear what is confirmed, until it
    /// says goodbye or is silent.
    #[inline(never)]
    fn still_told(&self, now: Timestamp, others: PeerSet) -> PeerSet {
        let is_told = |peer: &PeerId| {
            let timeout = self.config.departure_timeout();
            let is_heard = |link: &Link| now.since(link.heard_at) < timeout;
            self.link(*peer).is_some_and(|link| !link.has_said_goodbye && is_heard(link))
        };
        others.iter().filter(is_told).collect()
    }

    /// The peers that are greeted again: a peer that waits for others goes on saying hello, else those that play already would give it
    /// up.
    #[inline]
    fn still_greeted(&self, now: Timestamp) -> PeerSet {
        let is_due = |link: &&Link| now.micros_since(link.hello_at) >= HELLO_INTERVAL_MICROS;
        match self.has_started {
            true => PeerSet::EMPTY,
            false => self.links.iter().filter(is_due).map(|link| link.peer).collect(),
        }
    }

    /// The rare messages to one peer.
    #[inline(never)]
    fn tell(&mut self, peer: PeerId, is_frozen: bool, ready: Option<Frame>) {
        let Some(link) = self.link(peer) else { return };
        let (life, seen, heard) = (link.last_life(), link.seen_view, link.heard_goodbye);
        if self.goodbyes_owed.take(peer) {
            self.control.push_back((peer, Control::GoodbyeHeard));
        }
        if self.evictions_owed.take(peer) {
            let eviction = self.membership.eviction_of(peer, life).map(Control::Claim);
            self.control.extend(eviction.map(|claim| (peer, claim)));
        }
        if self.membership.has_claims() && !is_frozen {
            let claims = self.membership.claims_for(seen).map(Control::Claim);
            self.control.extend(claims.map(|claim| (peer, claim)));
        }
        if let Some(frame) = ready {
            self.control.push_back((peer, Control::Ready { frame }));
        }
        if !is_frozen {
            let goodbye = self.goodbye.filter(|_| !heard).map(Control::Goodbye);
            self.control.extend(goodbye.map(|goodbye| (peer, goodbye)));
        }
        if let Some(search) = self.search.as_ref().filter(|_| !is_frozen) {
            let leaves = search.leaf_message().map(Control::DesyncLeaves);
            let pages = search.page_message().map(Control::DesyncPages);
            let said = [Some(Control::DesyncFindings(search.findings())), leaves, pages];
            self.control.extend(said.into_iter().flatten().map(|message| (peer, message)));
        }
    }
}

/// How often a peer says hello that waits for a third one's: several times in the shortest departure timeout, 100 ms.
const HELLO_INTERVAL_MICROS: u64 = 20_000;
