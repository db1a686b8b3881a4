//! Who goes: takes note of silence, claims and goodbyes, and commits departures. Steps no game.

use super::links::{Links, Refused};
use super::membership::Verdict;
use crate::session::{DepartureCause, Event, KickError};
use crate::time::micros;
use crate::wire::{Claim, Goodbye, WireError};
use crate::{Frame, PeerId, PeerSet, Silence, Timestamp};

impl Links {
    pub(super) fn handle_claim(&mut self, claim: &Claim) -> Result<(), Refused> {
        // A member is at most a history ahead of what all have confirmed, and so are its inputs ahead of it: a claim
        // of more could never be met, and stable would stand still for ever.
        let limit = self.queue.floor().plus(2 * self.queue.capacity());
        if let Some(held) = claim.held.iter().find(|held| **held > limit) {
            let got = held.index();
            return Err(Refused::Malformed(WireError::Range { field: "held", got }));
        }
        let verdict = match claim.joiner {
            Some(_) => self.handle_claim_to_let_in(claim),
            None => self.membership.handle_claim(claim, None, self.queue.ends()),
        };
        self.note_verdict(verdict);
        Ok(())
    }

    pub(super) fn handle_goodbye(&mut self, index: usize, goodbye: Goodbye) {
        let own_end = self.own_end();
        let Some(link) = self.links.get_mut(index) else { return };
        self.goodbyes_owed.insert(link.peer);
        link.has_said_goodbye = true;
        match goodbye {
            Goodbye::Left { confirmed } => {
                link.handle_confirmed(confirmed, own_end);
                self.have_left.insert(link.peer);
                self.retire_leavers();
            }
            Goodbye::GameFailed { frame } => {
                let peer = link.peer;
                if self.membership.view().members.contains(peer) {
                    self.events.push(Event::PeerGameFailed { peer, frame });
                    self.membership.handle_going(peer);
                    self.suspect(PeerSet::only(peer));
                }
            }
        }
    }

    /// Takes peers that said that they have left out of the view, once the frame with their leave has come here too: it may come
    /// later than their word. They have heard that everything before it is confirmed here.
    #[inline]
    pub(crate) fn retire_leavers(&mut self) {
        if !self.have_left.is_empty() {
            self.retire_those_who_left();
        }
    }

    #[inline(never)]
    fn retire_those_who_left(&mut self) {
        for peer in self.have_left.and(self.others()).iter() {
            let confirmed = self.queue.confirmed_end();
            if self.queue.closed(peer).is_some_and(|end| confirmed >= end) {
                let verdict = self.membership.handle_left(peer, self.queue.ends());
                self.events.push(Event::Left { peer });
                self.note_verdict(verdict);
            }
        }
    }

    /// Proposes to go on without `suspects`.
    pub(crate) fn suspect(&mut self, suspects: PeerSet) {
        let verdict = self.membership.suspect(suspects, self.queue.ends());
        self.note_verdict(verdict);
    }

    pub(super) fn note_verdict(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Unchanged => {}
            Verdict::Proposed(_) => {
                let peers = self.membership.departing();
                if !peers.is_empty() {
                    self.events.push(Event::DepartureProposed { peers });
                }
            }
            Verdict::NoQuorum | Verdict::Evicted | Verdict::Kicked => self.verdict = Some(verdict),
        }
    }

    /// Whether something is proposed, said or decided of who is a member.
    #[inline]
    pub(crate) fn has_news_of_members(&self) -> bool {
        self.membership.is_open() || !self.have_left.is_empty() || self.verdict.is_some()
    }

    /// Commits a proposed departure when it can be. Answers the last cut.
    #[inline]
    pub(crate) fn commit_departure(&mut self) -> Option<(PeerId, Frame)> {
        if self.membership.is_open() { self.commit_open_departure() } else { None }
    }

    #[inline(never)]
    fn commit_open_departure(&mut self) -> Option<(PeerId, Frame)> {
        if self.is_passed_by() {
            return None;
        }
        let cuts = self.membership.commit(self.queue.ends())?;
        self.note_committed(cuts.iter().any(Option::is_some));
        let view = self.membership.view();
        let mut first: Option<(PeerId, Frame)> = None;
        for (departed, cut) in PeerId::all(cuts.len()).zip(cuts) {
            let Some(cut) = cut else { continue };
            self.queue.close(departed, cut);
            let is_kicked = self.membership.was_kicked(departed);
            let cause = if is_kicked { DepartureCause::Kicked } else { DepartureCause::Lost };
            self.events.push(Event::ViewChanged { view, departed, cut, cause });
            let is_back = self.link(departed).is_some_and(|link| link.returning.is_some());
            if is_kicked || self.config.silence() == Silence::DepartForGood && !is_back {
                self.closed_slots.insert(departed);
            }
            if first.is_none_or(|(_, least)| cut < least) {
                first = Some((departed, cut));
            }
        }
        // What a frozen member sends is dropped for good, so the new view has to go on without it.
        self.suspect(self.membership.frozen_members());
        first
    }

    /// Whether all other members are known to be in the view in force.
    pub(crate) fn are_in_view(&self) -> bool {
        let (others, view) = (self.others(), self.membership.view());
        let mut links = self.links.iter().filter(|link| others.contains(link.peer));
        links.all(|link| link.seen_view == view.number)
    }

    /// Tells the others that the simulation failed here.
    pub(crate) fn fail(&mut self, frame: Frame) {
        self.goodbye = Some(Goodbye::GameFailed { frame });
        self.membership.handle_going(self.local);
    }

    /// Tells the others that this one has left.
    pub(crate) fn leave(&mut self, confirmed: Frame) {
        self.goodbye = Some(Goodbye::Left { confirmed });
        self.membership.handle_left(self.local, self.queue.ends());
    }

    /// Whether any other peer was heard within the departure timeout.
    pub(crate) fn is_anybody_heard(&self, now: Timestamp) -> bool {
        let timeout = self.config.departure_timeout();
        self.links.iter().any(|link| now.since(link.heard_at) < timeout)
    }

    /// Changes how long a peer must be silent until it is told.
    pub(crate) fn set_interrupted_after(&mut self, micros: u64) {
        self.interrupted_micros = micros;
        self.silence_due = Timestamp::ZERO;
    }

    /// Whether somebody may have been silent for so long that it matters.
    #[inline]
    pub(crate) fn is_silence_due(&self, now: Timestamp) -> bool {
        now >= self.silence_due && !self.links.is_empty()
    }

    /// Looks for members that were silent for too long, and suspects them. Where this peer knows the end of the episode, members
    /// that know it too may be silent.
    #[inline(never)]
    pub(crate) fn look_for_silence(&mut self, now: Timestamp, knows_end: bool) {
        // Who is heard of meanwhile is silent later still.
        let least = self.links.iter().map(|link| link.heard_at).min().unwrap_or(now);
        let departure_micros = micros(self.config.departure_timeout());
        let matters_after = departure_micros.min(self.interrupted_micros);
        self.silence_due = Timestamp::from_micros(least.as_micros().saturating_add(matters_after));
        let needed = if knows_end { self.others_not_done() } else { self.others() };
        let others = needed.minus(self.membership.departing());
        let mut suspects = PeerSet::EMPTY;
        // Where all wait for one that is silent, one that leaves does not.
        let is_leaving = self.queue.closed(self.local).is_some();
        let gives_up = self.config.silence() != Silence::Wait || is_leaving;
        for link in self.links.iter_mut().filter(|link| others.contains(link.peer)) {
            let silent = now.micros_since(link.heard_at);
            if silent >= departure_micros && gives_up {
                suspects.insert(link.peer);
            } else if silent >= self.interrupted_micros && !link.is_interrupted {
                link.is_interrupted = true;
                let silent = now.since(link.heard_at);
                self.events.push(Event::Interrupted { peer: link.peer, silent });
            }
        }
        if suspects.is_empty() {
            return;
        }
        match self.config.silence() {
            // Nobody goes for its silence; so this one goes alone.
            Silence::Wait => self.verdict = Some(Verdict::NoQuorum),
            Silence::Depart | Silence::DepartForGood => self.suspect(suspects),
        }
    }

    /// Proposes to go on without `peer`, whose slot is closed then, or lets it in no more.
    pub(crate) fn kick(&mut self, peer: PeerId) -> Result<(), KickError> {
        let Some(link) = self.link(peer) else {
            return Err(KickError::NotAnother { peer });
        };
        let is_member = self.others().contains(peer);
        if !is_member && link.returning.is_none() {
            return Err(KickError::NotAMember { peer });
        }
        let verdict = self.membership.kick(peer, self.queue.ends());
        self.note_verdict(verdict.ok_or(KickError::NoQuorum { peer })?);
        self.give_up_returning(peer);
        self.closed_slots.insert(peer);
        Ok(())
    }
}
