//! Who is a member, and how the members agree to go on without one. Sends nothing, knows no time.
//!
//! Suspicion removes nobody. A member that suspects others claims a smaller view and says how much of their inputs it
//! holds; from its first claim on it takes nothing more from them directly. Whoever hears a claim joins it. When every
//! member of the smaller view has claimed and one holds all inputs up to the longest claim, the cut, it commits. A
//! smaller view needs a majority of the last, or exactly half with its lowest member, so two halves of a broken network
//! never both go on. No confirmed frame is ever retracted: what a member confirmed, it claimed, and the cut is the
//! longest claim.

mod eviction;
mod proposal;

use alloc::boxed::Box;

use self::eviction::evicted;
use self::proposal::Proposal;
use super::coverage::{Way, reach};
use crate::wire::Claim;
use crate::{Frame, PEERS_MAX, PeerId, PeerSet, View};

/// The view in force and the one proposed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Membership {
    local: PeerId,
    view: View,
    // Boxed, since members seldom go and a proposal is the largest part of a session.
    proposal: Option<Box<Proposal>>,
    /// The proposal that led to the view in force, for members that have not committed it.
    committed: Option<Box<Proposal>>,
    /// A proposal that another member has committed while this one went on to a smaller one: it holds, for its
    /// committer takes no part in the smaller one any more.
    decided: Option<Box<Proposal>>,
    /// Members that take no further part: what they send is dropped, in every later view.
    frozen: PeerSet,
    /// Who was sent away by a member, in this life of its slot.
    kicked: PeerSet,
    /// Members whose simulation failed, by their own word; they do not count for a quorum, nor claim anything more.
    going: PeerSet,
    /// Members of whom a new life has begun: the former one claims nothing more, but what it claimed before it was over may count
    /// elsewhere.
    restarted: PeerSet,
    /// Whether this one has left in order.
    has_left: bool,
    /// Whether this one waits to be let in.
    is_joining: bool,
    /// Who is let in by the proposal that is open, or was by an earlier one that others may have committed.
    letting_in: Option<(PeerId, u8)>,
    /// Members that came back with the view in force, which some of the others may not have committed.
    unsettled: PeerSet,
    /// The view in which this one came back: what was claimed in an earlier one was not about this life of it.
    since: Option<u8>,
    /// Who came back with the last view that was committed, and the first frame of its new life.
    joined: Option<(PeerId, Frame)>,
}

/// What came of a suspicion or a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nothing new.
    Unchanged,
    /// This view is proposed now.
    Proposed(PeerSet),
    /// Too few would be left: this side of the network does not go on.
    NoQuorum,
    /// The others go on without this peer.
    Evicted,
    /// The others go on without this peer, since one of them sent it away.
    Kicked,
}

impl Membership {
    pub(crate) fn new(local: PeerId, members: PeerSet) -> Self {
        Self {
            local,
            view: View::initial(members),
            proposal: None,
            committed: None,
            decided: None,
            frozen: PeerSet::EMPTY,
            kicked: PeerSet::EMPTY,
            going: PeerSet::EMPTY,
            restarted: PeerSet::EMPTY,
            has_left: false,
            is_joining: false,
            letting_in: None,
            unsettled: PeerSet::EMPTY,
            since: None,
            joined: None,
        }
    }

    /// One that is no member, and is to be let in by those who are, in this life of its slot.
    pub(crate) fn joining(local: PeerId, incarnation: u8) -> Self {
        let alone = PeerSet::only(local);
        Self { is_joining: true, letting_in: Some((local, incarnation)), ..Self::new(local, alone) }
    }

    pub(crate) fn view(&self) -> View {
        self.view
    }

    /// The members that are proposed to depart.
    pub(crate) fn departing(&self) -> PeerSet {
        match &self.proposal {
            Some(proposal) => self.view.members.minus(proposal.members),
            None => PeerSet::EMPTY,
        }
    }

    pub(crate) fn is_frozen(&self, peer: PeerId) -> bool {
        self.frozen.contains(peer)
    }

    /// All that are frozen.
    pub(crate) fn frozen(&self) -> PeerSet {
        self.frozen
    }

    /// Takes a member out that has left in order, by its own word. It has claimed nothing that is still open, nor ever
    /// will, so it does not count for a quorum; some may not have heard of it yet, and count it all the same: they need
    /// more than those who have, never less.
    pub(crate) fn handle_left(&mut self, peer: PeerId, held: [Frame; PEERS_MAX]) -> Verdict {
        if peer == self.local {
            self.has_left = true;
            return Verdict::Unchanged;
        }
        reach(Way::Left);
        self.view.members.remove(peer);
        match &self.proposal {
            Some(proposal) if proposal.members.contains(peer) => {
                reach(Way::LeftWhileProposed);
                // Nobody is let in while somebody goes.
                self.propose(proposal.members.without(peer).and(self.view.members), None, held)
            }
            _ => Verdict::Unchanged,
        }
    }

    /// Takes a member's word that its simulation failed, or this one's own: from here on it claims nothing, so that it
    /// cannot be on the other side of a broken network.
    pub(crate) fn handle_going(&mut self, peer: PeerId) {
        reach(Way::Going);
        self.going.insert(peer);
    }

    /// Takes the application's word that a new life of a member begins, so that the former one is over.
    pub(crate) fn handle_restarted(&mut self, peer: PeerId) {
        self.restarted.insert(peer);
    }

    /// Proposes to go on without `suspects`. Like all that may make a proposal it is told what this one `held` of each peer: every
    /// frame before that one.
    pub(crate) fn suspect(&mut self, suspects: PeerSet, held: [Frame; PEERS_MAX]) -> Verdict {
        if self.target().and(suspects).is_empty() || self.is_joining {
            return Verdict::Unchanged;
        }
        reach(Way::Suspected);
        // Nobody is let in while somebody goes.
        self.propose(self.target().and(self.view.members).minus(suspects), None, held)
    }

    /// Takes a claim of another member.
    pub(crate) fn handle_claim(
        &mut self,
        claim: &Claim,
        admissible: Option<(PeerId, u8)>,
        held: [Frame; PEERS_MAX],
    ) -> Verdict {
        if self.is_joining {
            return self.handle_claim_to_join(claim, held);
        }
        let is_member = self.view.members.contains(claim.claimant);
        // Whoever claimed a view without this peer takes nothing from it any more, in whatever view.
        let is_of_this_life = self.since.is_none_or(|since| claim.base.wrapping_sub(since) < 128);
        if is_member && is_of_this_life && !claim.members.contains(self.local) {
            reach(Way::Evicted);
            return evicted(claim, self.local);
        }
        let joiner = claim.joiner.filter(|it| [admissible, self.letting_in].contains(&Some(*it)));
        let takes_part = is_member || joiner.is_some_and(|(peer, _)| peer == claim.claimant);
        if claim.base != self.view.number || !takes_part {
            reach(Way::OfAnotherView);
            return Verdict::Unchanged;
        }
        let has_moved_on = self.proposal.as_ref().is_some_and(|own| !own.is_of(claim));
        if claim.is_committed && has_moved_on {
            self.note_decided(claim);
            return Verdict::Unchanged;
        }
        if claim.claimant == self.local {
            return Verdict::Unchanged;
        }
        if self.has_no_say() {
            reach(Way::NoSay);
            return Verdict::Unchanged;
        }
        let verdict = match (&self.proposal, claim.joiner) {
            (None, Some(joiner)) if Some(joiner) == admissible => self.let_in(joiner, held),
            // One that cannot be let in here is let in by nobody.
            (None, Some(_)) => return Verdict::Unchanged,
            (Some(own), _) if own.is_of(claim) => {
                reach(Way::Repeated);
                Verdict::Unchanged
            }
            _ => {
                // Nobody is let in while somebody goes.
                let members = self.target().and(self.view.members).and(claim.members);
                match members == self.target() && self.proposal.is_some() {
                    true => Verdict::Unchanged,
                    false => {
                        reach(Way::Joined);
                        self.kicked = self.kicked.or(claim.kicked);
                        self.propose(members, None, held)
                    }
                }
            }
        };
        if let Some(proposal) = &mut self.proposal
            && proposal.note(claim)
        {
            proposal.kicked = proposal.kicked.or(claim.kicked);
        } else {
            reach(Way::OfAnotherProposal);
        }
        verdict
    }

    /// Proposes to go on with `joiner` as well, where nothing else is proposed.
    pub(crate) fn let_in(&mut self, joiner: (PeerId, u8), held: [Frame; PEERS_MAX]) -> Verdict {
        if self.proposal.is_some() || self.decided.is_some() || self.has_no_say() {
            return Verdict::Unchanged;
        }
        let mut members = self.view.members;
        members.insert(joiner.0);
        self.going.remove(joiner.0);
        self.restarted.remove(joiner.0);
        self.letting_in = Some(joiner);
        self.propose(members, Some(joiner), held)
    }

    /// A claim of a member, at one that is to be let in: it claims the same with what it holds itself.
    fn handle_claim_to_join(&mut self, claim: &Claim, held: [Frame; PEERS_MAX]) -> Verdict {
        let is_let_in = claim.joiner.is_some() && claim.joiner == self.letting_in;
        if !is_let_in || claim.claimant == self.local || self.has_no_say() {
            return Verdict::Unchanged;
        }
        if !claim.members.contains(self.local) {
            return evicted(claim, self.local);
        }
        let is_newer = match &self.proposal {
            // Numbers of views are compared as they are cut; a later word of the same view has fewer members.
            Some(own) if own.base == claim.base => {
                claim.members != own.members && claim.members.is_subset_of(own.members)
            }
            Some(own) => claim.base.wrapping_sub(own.base) < 128,
            None => true,
        };
        if is_newer {
            self.claim_for(claim.base, (claim.members, claim.joiner), held);
        }
        if let Some(own) = &mut self.proposal
            && own.base == claim.base
        {
            own.note(claim);
        }
        if is_newer { Verdict::Proposed(claim.members) } else { Verdict::Unchanged }
    }

    /// Who would be let in.
    pub(crate) fn added(&self) -> PeerSet {
        let joiner = self.proposal.as_ref().filter(|_| !self.is_joining).and_then(|own| own.joiner);
        joiner.into_iter().map(|(peer, _)| peer).collect()
    }

    /// Who came back with the last view, and at which frame; once.
    pub(crate) fn take_joined(&mut self) -> Option<(PeerId, Frame)> {
        self.joined.take()
    }

    /// The first frame of this one's new life, by the claims heard so far, while it waits to be let in.
    pub(crate) fn would_begin_at(&self) -> Option<Frame> {
        let proposal = self.proposal.as_ref().filter(|_| self.is_joining)?;
        proposal.joined().map(|(_, from)| from)
    }

    /// Whether the others have given up the view by which this one waits to be let in. They have if they fill in idle for one of its
    /// members, from a frame up to which they claimed to hold its inputs, or from a later one.
    pub(crate) fn is_given_up(&self, idle_from: impl Fn(PeerId) -> Option<Frame>) -> bool {
        let Some(own) = self.proposal.as_ref().filter(|_| self.is_joining) else { return false };
        let mut members = own.members.without(self.local).iter();
        members.any(|peer| idle_from(peer).is_some_and(|frame| frame >= own.held_by_others(peer)))
    }

    /// What a member claimed to hold in the view in force.
    pub(crate) fn claimed_by(&self, claimant: PeerId) -> Option<[Frame; PEERS_MAX]> {
        *self.committed.as_ref()?.claims.get(claimant.index())?
    }

    /// Whether this one has claimed a view that is still open.
    pub(crate) fn is_proposing(&self) -> bool {
        self.proposal.is_some()
    }

    /// Whether a view may be committed: one is proposed, or was by others.
    pub(crate) fn is_open(&self) -> bool {
        self.proposal.is_some() || self.decided.is_some()
    }

    pub(crate) fn is_joining(&self) -> bool {
        self.is_joining
    }

    /// Whether others may not have committed the view in force.
    pub(crate) fn is_unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// All are in the view in force.
    pub(crate) fn settle(&mut self) {
        self.unsettled = PeerSet::EMPTY;
    }

    /// How far the inputs of a departing peer may be taken from others: the longest claim heard.
    pub(crate) fn claimed(&self, peer: PeerId) -> Frame {
        let proposals = self.proposal.iter().chain(&self.decided);
        proposals.map(|proposal| proposal.cut(peer)).max().unwrap_or_default()
    }

    /// Commits the proposal when all its members have claimed and `held` reaches every cut. Answers the peers that
    /// are gone, each with the frame from which idle is filled in.
    pub(crate) fn commit(
        &mut self,
        held: [Frame; PEERS_MAX],
    ) -> Option<[Option<Frame>; PEERS_MAX]> {
        if self.has_no_say() {
            return None;
        }
        let proposal = self.decided.as_ref().or(self.proposal.as_ref())?;
        let departing = self.view.members.minus(proposal.members);
        let mut held = PeerId::all(PEERS_MAX).zip(held);
        let holds_all = held.all(|(of, held)| !departing.contains(of) || held >= proposal.cut(of));
        if !proposal.is_claimed_by_all() {
            reach(Way::AwaitsClaims);
            return None;
        }
        if !holds_all {
            reach(Way::AwaitsInputs);
            return None;
        }
        reach(if self.decided.is_some() { Way::CommittedDecided } else { Way::Committed });
        let mut cuts = [None; PEERS_MAX];
        for peer in departing.iter() {
            if let Some(cut) = cuts.get_mut(peer.index()) {
                *cut = Some(proposal.cut(peer));
            }
        }
        self.letting_in = None;
        self.kicked = self.kicked.or(proposal.kicked);
        self.joined = proposal.joined();
        if let Some((joined, _)) = self.joined {
            self.frozen.remove(joined);
            self.going.remove(joined);
            self.restarted.remove(joined);
            self.kicked.remove(joined);
            self.unsettled = PeerSet::only(joined);
        }
        if core::mem::take(&mut self.is_joining) {
            self.frozen = PeerSet::first(PEERS_MAX).minus(proposal.members);
            self.since = Some(proposal.base.wrapping_add(1));
        }
        let number = proposal.base.wrapping_add(1);
        self.view = View { number, members: proposal.members };
        self.committed = self.decided.take().or(self.proposal.take());
        self.proposal = None;
        if !self.frozen_members().is_empty() {
            reach(Way::StaysFrozen);
        }
        Some(cuts)
    }

    /// Members of the view in force that this one has proposed to go on without before the view was.
    pub(crate) fn frozen_members(&self) -> PeerSet {
        self.view.members.and(self.frozen)
    }

    /// Whether there are claims that some member may lack.
    pub(crate) fn has_claims(&self) -> bool {
        self.committed.is_some() || self.proposal.is_some()
    }

    /// The claims that a member seen in view `seen` may lack.
    pub(crate) fn claims_for(&self, seen: u8) -> impl Iterator<Item = Claim> + '_ {
        let committed = self.committed.as_ref().filter(move |c| c.base.wrapping_add(1) != seen);
        let committed = committed.filter(move |_| seen != self.view.number);
        let committed = committed.map(|proposal| (proposal, true));
        let proposed = self.proposal.as_ref().map(|proposal| (proposal, false));
        committed.into_iter().chain(proposed).flat_map(|(proposal, is_committed)| {
            if is_committed {
                reach(Way::PassedOn);
            }
            PeerId::all(PEERS_MAX).filter_map(move |by| proposal.claim(by, is_committed))
        })
    }

    /// Whoever goes has no say in who stays: others count on that when they do not count on it.
    fn has_no_say(&self) -> bool {
        self.has_left || self.going.contains(self.local)
    }

    /// The members there are to be: proposed, or in force.
    fn target(&self) -> PeerSet {
        self.proposal.as_ref().map_or(self.view.members, |proposal| proposal.members)
    }

    fn note_decided(&mut self, claim: &Claim) {
        let decided = self.decided.get_or_insert_with(|| {
            let claims = [None; PEERS_MAX];
            let Claim { base, members, joiner, kicked, .. } = *claim;
            Box::new(Proposal { base, members, joiner, kicked, claims })
        });
        if decided.note(claim) {
            decided.kicked = decided.kicked.or(claim.kicked);
        }
    }

    fn propose(
        &mut self,
        members: PeerSet,
        joiner: Option<(PeerId, u8)>,
        held: [Frame; PEERS_MAX],
    ) -> Verdict {
        let members = members.minus(self.going);
        self.frozen = self.frozen.or(self.view.members.minus(members));
        if !members.contains(self.local) || !self.has_quorum(members) {
            reach(Way::NoQuorum);
            return Verdict::NoQuorum;
        }
        if self.proposal.is_some() {
            reach(Way::Narrowed);
        }
        // Others may count on what is claimed now; whoever has committed an earlier proposal and stays says so again.
        self.decided = None;
        self.claim_for(self.view.number, (members, joiner), held);
        Verdict::Proposed(members)
    }

    /// Whether these may go on alone.
    fn has_quorum(&self, members: PeerSet) -> bool {
        let voters = self.view.members.minus(self.going);
        let settled = voters.minus(self.unsettled);
        // Until all are known to be in the view in force, some may go on in the one before, without whoever came back.
        [voters, settled].into_iter().all(|voters| self.is_quorum_of(voters, members))
    }

    /// Whether `members` may go on without the rest of `voters`. A former life counts as a voter, since others may have gone on with
    /// what it claimed; but lives that are over go on nowhere by themselves, so they need not be outvoted.
    fn is_quorum_of(&self, voters: PeerSet, members: PeerSet) -> bool {
        let (rest, left) = (voters.minus(members), voters.and(members));
        let is_alone = rest.is_subset_of(self.restarted) && !left.is_empty();
        is_alone || View::initial(voters).has_quorum(members)
    }

    /// Claims a view anew.
    fn claim_for(
        &mut self,
        base: u8,
        (members, joiner): (PeerSet, Option<(PeerId, u8)>),
        held: [Frame; PEERS_MAX],
    ) {
        // A new proposal is claimed anew: what earlier claims taught is held by now, or its claimant is gone.
        let mut claims = [None; PEERS_MAX];
        if let Some(own) = claims.get_mut(self.local.index()) {
            *own = Some(held);
        }
        let kicked = self.kicked.and(self.view.members.minus(members));
        self.proposal = Some(Box::new(Proposal { base, members, joiner, kicked, claims }));
    }
}

#[cfg(test)]
mod tests;
