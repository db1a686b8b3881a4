//! Lets a returning peer into its slot again, by a view with one more member. Steps no game.
//!
//! The returning peer has stepped what is stable, and says how far. Each member then claims the view with it. With the claim it
//! promises a frame: from that one on it files no input before the view is committed, so nobody can confirm those frames either.
//! When all have claimed, the latest promised frame is the first one of the new life: nobody has confirmed or stepped it. The
//! frames before it stay idle for the peer.

use super::links::Links;
use super::membership::Verdict;
use crate::peer::{Link, Returning};
use crate::session::Event;
use crate::wire::{Claim, LinkKeys};
use crate::{Frame, PEERS_MAX, PeerId, PeerSet, Timestamp};

impl Links {
    /// Expects a peer back in its slot, in a later life than the last. One that is a member still is given up: that life is
    /// over. Answers whether that is new.
    pub(crate) fn readmit(&mut self, peer: PeerId, incarnation: u8) -> bool {
        let Some(link) = self.links.iter_mut().find(|link| link.peer == peer) else { return false };
        let last = link.last_life().unwrap_or_default();
        let last = link.returning.map_or(last, |returning| returning.incarnation.max(last));
        if incarnation <= last || self.closed_slots.contains(peer) {
            return false;
        }
        link.returning = Some(Returning {
            incarnation,
            is_open: false,
            fits: None,
            position: None,
            proposed_at: None,
        });
        self.has_returning = true;
        if self.others().contains(peer) {
            self.membership.handle_restarted(peer);
            self.suspect(PeerSet::only(peer));
        }
        true
    }

    /// Of those who are expected back, the ones of whom this holds.
    #[inline]
    pub(super) fn returning(&self, is_one: impl Fn(&Returning) -> bool) -> PeerSet {
        if !self.has_returning {
            return PeerSet::EMPTY;
        }
        let links = self.links.iter().filter(|link| link.returning.as_ref().is_some_and(&is_one));
        links.map(|link| link.peer).collect()
    }

    /// Whether the peer is no member and is listened to, as one that wants its slot again.
    pub(super) fn is_returning(&self, peer: PeerId) -> bool {
        self.has_returning
            && self.link(peer).and_then(|link| link.returning).is_some_and(|it| it.is_open)
    }

    /// Whether somebody is expected back, or came back with the view in force and may be unknown to others.
    pub(crate) fn is_letting_in(&self) -> bool {
        self.has_returning || self.membership.is_unsettled()
    }

    /// Goes on with letting those in who are expected.
    pub(crate) fn let_in(&mut self, now: Timestamp) {
        if self.membership.is_unsettled() && self.are_in_view() {
            self.membership.settle();
        }
        for index in 0..self.links.len() {
            self.open(index, now);
        }
        let members = self.membership.view().members;
        let joiner = self.admissible();
        if let Some(joiner) = joiner.filter(|_| members.lowest() == Some(self.local)) {
            let promise = self.promise();
            let verdict = self.membership.let_in(joiner, self.held_up_to(promise));
            self.note_claimed(verdict, promise);
            self.note_verdict(verdict);
        }
    }

    /// Begins to listen to a peer in its new life, once the former one is over here; and sees whether it fits.
    fn open(&mut self, index: usize, now: Timestamp) {
        let members = self.membership.view().members;
        let Some(link) = self.links.get_mut(index) else { return };
        let Some(mut returning) = link.returning else { return };
        let is_gone = !members.contains(link.peer) && self.queue.closed(link.peer).is_some();
        if !returning.is_open && is_gone {
            returning.is_open = true;
            let sender = (link.peer, returning.incarnation);
            let keys_in = LinkKeys::new(&self.ticket, self.config_digest, sender, self.local);
            let counters = link.counters;
            *link = Link::new(link.peer, link.keys_out, keys_in, now);
            link.counters = counters;
            self.done.remove(link.peer);
            self.goodbyes_owed.remove(link.peer);
            self.evictions_owed.remove(link.peer);
            self.agreements_owed.remove(link.peer);
            self.unheard_by.insert(link.peer);
            self.hellos_due.insert(link.peer);
            self.inputs_due.remove(link.peer);
            // Nothing is sent to it but what lets it in.
            link.has_said_goodbye = true;
            link.seen_view = self.membership.view().number;
        }
        let is_heard = returning.is_open && link.handshake.remote.is_some();
        link.returning = Some(returning);
        if returning.fits.is_none() && is_heard {
            self.judge(index);
        }
    }

    /// Whether one that said hello in its new life fits.
    #[inline(never)]
    fn judge(&mut self, index: usize) {
        let ours = self.hello();
        let Some(link) = self.links.get_mut(index) else { return };
        let misfit = link.handshake.misfit(&ours, &self.config);
        link.handshake.forget_hello();
        if let Some(returning) = &mut link.returning {
            returning.fits = Some(misfit.is_none());
        }
    }

    /// One that can be let in now, in which life of its slot.
    fn admissible(&self) -> Option<(PeerId, u8)> {
        self.links.iter().find_map(|link| {
            let returning = link.returning?;
            self.admissible_as(Some((link.peer, returning.incarnation)))
        })
    }

    /// The same one, when it can be let in now: it fits, and all that it lacks is still here.
    fn admissible_as(&self, joiner: Option<(PeerId, u8)>) -> Option<(PeerId, u8)> {
        // What all take over a state by is told to members only, or recorded.
        let is_disputed = self.search.is_some() || self.resync.is_some();
        let (peer, incarnation) = joiner.filter(|_| self.has_returning && !is_disputed)?;
        let returning = self.link(peer)?.returning.filter(|it| it.incarnation == incarnation)?;
        // Where others' streams ended or began anew must be in what they were given: nobody would tell them of it.
        let known = self.ticket.roster.peers().iter().map(|peer| {
            let start = Some(self.queue.start(peer)).filter(|start| *start > Frame::ZERO);
            self.queue.closed(peer).max(start).map_or(Frame::ZERO, Frame::next)
        });
        let least = known.max().unwrap_or_default().max(self.queue.floor()).max(self.resynced);
        let fits = returning.is_open && returning.fits == Some(true);
        let has_all = returning.position.is_some_and(|position| position >= least);
        (fits && has_all).then_some((peer, incarnation))
    }

    /// The first frame that this peer does not file before the view is committed: the same for every claim of a view.
    fn promise(&self) -> Frame {
        if self.queue.limit() < Frame::MAX {
            return self.queue.limit().next();
        }
        // The frame that is current has its input, or is to get it.
        let least = self.own_end().next();
        self.own_end().plus(self.lead).min(self.queue.last_room().next()).max(least)
    }

    /// What this peer claims to hold, with its own inputs up to what it promises.
    fn held_up_to(&self, promise: Frame) -> [Frame; PEERS_MAX] {
        let mut held = self.queue.ends();
        if let Some(own) = held.get_mut(self.local.index()) {
            *own = promise;
        }
        held
    }

    /// Takes a claim of a view with one more member, or at this peer, which is that member.
    pub(super) fn handle_claim_to_let_in(&mut self, claim: &Claim) -> Verdict {
        let promise = self.promise();
        let admissible = self.admissible_as(claim.joiner);
        let is_joining = self.membership.is_joining();
        // Claims come again until they are answered.
        if is_joining && self.is_passing {
            return Verdict::Unchanged;
        }
        if claim.joiner.is_some_and(|(peer, _)| self.closed_slots.contains(peer)) && !is_joining {
            let verdict = self.membership.refuse(claim, self.queue.ends());
            if verdict != Verdict::Unchanged {
                return verdict;
            }
        }
        let held = if is_joining { self.queue.ends() } else { self.held_up_to(promise) };
        let verdict = self.membership.handle_claim(claim, admissible, held);
        self.note_claimed(verdict, promise);
        verdict
    }

    /// Keeps the promise of a claim.
    fn note_claimed(&mut self, verdict: Verdict, promise: Frame) {
        if matches!(verdict, Verdict::Proposed(_)) && !self.membership.added().is_empty() {
            self.queue.set_limit(Some(promise.minus(1)));
        }
    }

    /// Gives up letting a peer in where its return is not agreed in time: some member may not hear it.
    pub(crate) fn give_up_late(&mut self, now: Timestamp) {
        let (added, timeout) = (self.membership.added(), self.config.departure_timeout());
        let mut late = PeerSet::EMPTY;
        for link in self.links.iter_mut().filter(|link| added.contains(link.peer)) {
            if let Some(returning) = &mut link.returning {
                let since = *returning.proposed_at.get_or_insert(now);
                if now.since(since) >= timeout {
                    late.insert(link.peer);
                }
            }
        }
        if !late.is_empty() {
            self.suspect(late);
        }
    }

    /// A view was committed: with `departures`, or one more member, or neither when that came to nothing.
    pub(super) fn note_committed(&mut self, departures: bool) {
        self.queue.set_limit(None);
        let Some((joined, from)) = self.membership.take_joined() else {
            self.note_not_let_in(departures);
            return;
        };
        let claimed = self.membership.claimed_by(joined).unwrap_or([Frame::ZERO; PEERS_MAX]);
        let view = self.membership.view();
        self.queue.reopen(joined, from);
        let of = |peer: PeerId| claimed.get(peer.index()).copied().unwrap_or_default();
        let confirmed = view.members.without(joined).iter().map(of).min().unwrap_or_default();
        let base = view.number.wrapping_sub(1);
        for link in &mut self.links {
            if joined == self.local {
                link.acked = from;
                link.seen_view = base;
            } else if link.peer == joined {
                link.returning = None;
                link.acked = of(self.local);
                link.confirmed = confirmed;
                link.lacks_up_to = Some(self.stable);
                link.seen_view = base;
                link.has_said_goodbye = false;
                link.heard_directly_at = link.heard_at;
            }
        }
        if joined == self.local {
            self.begins_at = Some(from);
            self.caught_up_to = None;
        }
        self.note_returning();
        self.have_left.remove(joined);
        self.reports.begin_life(joined, from);
        self.events.push(Event::Joined { view, peer: joined, from });
    }

    /// Expects a peer back no more.
    pub(super) fn give_up_returning(&mut self, peer: PeerId) {
        let Some(index) = self.index_of(peer) else { return };
        if self.links.get(index).is_some_and(|link| link.returning.is_some()) {
            self.evictions_owed.insert(peer);
            self.end_life(index);
        }
    }

    /// A view was committed without those that were to be let in: they are tried again if that was because of others, and
    /// else may try again in a later life.
    fn note_not_let_in(&mut self, departures: bool) {
        for index in 0..self.links.len() {
            let returning = self.links.get_mut(index).and_then(|link| link.returning.as_mut());
            let was_proposed = returning.and_then(|it| it.proposed_at.take()).is_some();
            if was_proposed && !departures {
                self.end_life(index);
            }
        }
        self.note_returning();
    }

    /// Takes a claim that the peer at `index` sent itself. If it has committed the view that let it in, and that view was given up
    /// here, it plays in a view of which nobody else is a member: its life is over, and it is told so.
    pub(super) fn note_passed_by(&mut self, index: usize, claim: &Claim) {
        let Some(link) = self.links.get_mut(index) else { return };
        let is_open = link.returning.is_some_and(|returning| returning.is_open);
        if is_open && self.membership.has_given_up(claim, link.peer) {
            self.evictions_owed.insert(link.peer);
            self.end_life(index);
        }
    }

    /// Whether a claim comes from one that is to be let in, and is of a view with it that may have been given up since.
    pub(super) fn has_gone_on_without(&self, from: PeerId, claim: &Claim) -> bool {
        self.is_returning(from) && self.membership.has_moved_on(claim, from)
    }

    /// One that was to be let in, and is not: it may try again in a later life.
    fn end_life(&mut self, index: usize) {
        let Some(link) = self.links.get_mut(index) else { return };
        let Some(returning) = link.returning.take() else { return };
        link.refused_life = Some(returning.incarnation);
        let verdict = self.membership.end_life(link.peer, self.queue.ends());
        self.note_returning();
        self.note_verdict(verdict);
    }

    /// Whether the others have given up the view that would let this peer in, so that it waits for another one. They have if it was
    /// given frames from after the start of its new life, which they played without it; or frames that lack a member of that view
    /// which has not left.
    pub(super) fn is_passed_by(&self) -> bool {
        let is_beyond = |from| self.caught_up_to > Some(from);
        let gone = |peer| self.queue.closed(peer).filter(|_| !self.left_in_rows.contains(peer));
        self.membership.would_begin_at().is_some_and(is_beyond) || self.membership.is_given_up(gone)
    }

    fn note_returning(&mut self) {
        let is_one = |link: &Link| link.returning.is_some() || link.lacks_up_to.is_some();
        self.has_returning = self.links.iter().any(is_one);
    }

    /// The frame before which nothing need be kept. What a returning peer may lack is kept for a while, and once it is a member, what
    /// it does lack is kept until it has that.
    pub(crate) fn floor_for(&mut self, floor: Frame) -> Frame {
        if !self.has_returning {
            return floor;
        }
        let added = self.membership.added();
        let members = self.membership.view().members;
        let mut least = floor;
        for link in &mut self.links {
            let is_member = members.contains(link.peer);
            link.lacks_up_to = link.lacks_up_to.filter(|end| is_member && link.confirmed < *end);
            if link.lacks_up_to.is_some() {
                least = least.min(link.confirmed);
            } else if let Some(returning) = link.returning {
                let position = returning.position.filter(|_| added.contains(link.peer));
                let margin = floor.minus(self.queue.capacity() / 4);
                least = least.min(position.map_or(margin, |position| position.min(margin)));
            }
        }
        self.note_returning();
        least
    }
}
