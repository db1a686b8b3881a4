//! Who is a member, and how the members agree to go on without one. Sends nothing, knows no time.
//!
//! Suspicion removes nobody. A member that suspects others claims a smaller view and says how much of their inputs it
//! holds; from its first claim on it takes nothing more from them directly. Whoever hears a claim joins it. When every
//! member of the smaller view has claimed and one holds all inputs up to the longest claim, the cut, it commits. A
//! smaller view needs a majority of the last, or exactly half with its lowest member, so two halves of a broken network
//! never both go on. No confirmed frame is ever retracted: what a member confirmed, it claimed, and the cut is the
//! longest claim.

use alloc::boxed::Box;

use super::coverage::{Branch, reach};
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
    /// Members whose simulation failed, by their own word; they do not count for a quorum, nor claim anything more.
    going: PeerSet,
    /// Whether this one has left in order.
    has_left: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Proposal {
    base: u8,
    members: PeerSet,
    claims: [Option<[Frame; PEERS_MAX]>; PEERS_MAX],
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
            going: PeerSet::EMPTY,
            has_left: false,
        }
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

    /// Takes a member out that has left in order, by its own word. It has claimed nothing that is still open, nor ever
    /// will, so it does not count for a quorum; some may not have heard of it yet, and count it all the same: they need
    /// more than those who have, never less.
    pub(crate) fn handle_left(&mut self, peer: PeerId, held: impl Fn(PeerId) -> Frame) -> Verdict {
        if peer == self.local {
            self.has_left = true;
            return Verdict::Unchanged;
        }
        reach(Branch::Left);
        self.view.members.remove(peer);
        match &self.proposal {
            Some(proposal) if proposal.members.contains(peer) => {
                reach(Branch::LeftWhileProposed);
                self.propose(proposal.members.without(peer), held)
            }
            _ => Verdict::Unchanged,
        }
    }

    /// Takes a member's word that its simulation failed, or this one's own: from here on it claims nothing, so that it
    /// cannot be on the other side of a broken network.
    pub(crate) fn handle_going(&mut self, peer: PeerId) {
        reach(Branch::Going);
        self.going.insert(peer);
    }

    /// Proposes to go on without `suspects`.
    pub(crate) fn suspect(&mut self, suspects: PeerSet, held: impl Fn(PeerId) -> Frame) -> Verdict {
        let members = self.target().minus(suspects);
        if members == self.target() {
            return Verdict::Unchanged;
        }
        reach(Branch::Suspected);
        self.propose(members, held)
    }

    /// Takes a claim of another member.
    pub(crate) fn handle_claim(
        &mut self,
        claim: &Claim,
        held: impl Fn(PeerId) -> Frame,
    ) -> Verdict {
        let is_member = self.view.members.contains(claim.claimant);
        // Whoever claimed a view without this peer takes nothing from it any more, in whatever view.
        if is_member && !claim.members.contains(self.local) {
            reach(Branch::Evicted);
            return Verdict::Evicted;
        }
        if claim.base != self.view.number || !is_member {
            reach(Branch::OfAnotherView);
            return Verdict::Unchanged;
        }
        let has_moved_on = self.proposal.as_ref().is_some_and(|own| own.members != claim.members);
        if claim.is_committed && has_moved_on {
            self.note_decided(claim);
            return Verdict::Unchanged;
        }
        if claim.claimant == self.local {
            return Verdict::Unchanged;
        }
        if self.has_no_say() {
            reach(Branch::NoSay);
            return Verdict::Unchanged;
        }
        let members = self.target().and(claim.members);
        let verdict = match members == self.target() && self.proposal.is_some() {
            true => {
                reach(Branch::Repeated);
                Verdict::Unchanged
            }
            false => {
                reach(Branch::Joined);
                self.propose(members, held)
            }
        };
        if let Some(proposal) = &mut self.proposal
            && proposal.members == claim.members
            && let Some(slot) = proposal.claims.get_mut(claim.claimant.index())
        {
            *slot = Some(claim.held);
        } else {
            reach(Branch::OfAnotherProposal);
        }
        verdict
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
        held: impl Fn(PeerId) -> Frame,
    ) -> Option<[Option<Frame>; PEERS_MAX]> {
        if self.has_no_say() {
            return None;
        }
        let proposal = self.decided.as_ref().or(self.proposal.as_ref())?;
        let departing = self.view.members.minus(proposal.members);
        let holds_all = departing.iter().all(|peer| held(peer) >= proposal.cut(peer));
        if !proposal.is_claimed_by_all() {
            reach(Branch::AwaitsClaims);
            return None;
        }
        if !holds_all {
            reach(Branch::AwaitsInputs);
            return None;
        }
        reach(if self.decided.is_some() { Branch::CommittedDecided } else { Branch::Committed });
        let mut cuts = [None; PEERS_MAX];
        for peer in departing.iter() {
            if let Some(cut) = cuts.get_mut(peer.index()) {
                *cut = Some(proposal.cut(peer));
            }
        }
        self.view = View { number: self.view.number.wrapping_add(1), members: proposal.members };
        self.committed = self.decided.take().or(self.proposal.take());
        self.proposal = None;
        if !self.frozen_members().is_empty() {
            reach(Branch::StaysFrozen);
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
                reach(Branch::PassedOn);
            }
            PeerId::all(PEERS_MAX).filter_map(move |by| proposal.claim(by, is_committed))
        })
    }

    /// A claim that tells `peer` that the others go on without it.
    pub(crate) fn eviction_of(&self, peer: PeerId) -> Option<Claim> {
        let mut proposals = self.committed.iter().chain(&self.proposal);
        let proposal = proposals.find(|proposal| !proposal.members.contains(peer))?;
        reach(Branch::EvictionTold);
        proposal.claim(self.local, false)
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
            Box::new(Proposal { base: claim.base, members: claim.members, claims })
        });
        if decided.members == claim.members
            && let Some(slot) = decided.claims.get_mut(claim.claimant.index())
        {
            *slot = Some(claim.held);
        }
    }

    fn propose(&mut self, members: PeerSet, held: impl Fn(PeerId) -> Frame) -> Verdict {
        let members = members.minus(self.going);
        self.frozen = self.frozen.or(self.view.members.minus(members));
        let voters = self.view.members.minus(self.going);
        if !members.contains(self.local) || !View::initial(voters).has_quorum(members) {
            reach(Branch::NoQuorum);
            return Verdict::NoQuorum;
        }
        if self.proposal.is_some() {
            reach(Branch::Narrowed);
        }
        // A new proposal is claimed anew: what earlier claims taught is held by now, or its claimant is gone.
        let mut claims = [None; PEERS_MAX];
        if let Some(own) = claims.get_mut(self.local.index()) {
            let mut held_by_slot = [Frame::ZERO; PEERS_MAX];
            for (slot, peer) in held_by_slot.iter_mut().zip(PeerId::all(PEERS_MAX)) {
                *slot = held(peer);
            }
            *own = Some(held_by_slot);
        }
        self.proposal = Some(Box::new(Proposal { base: self.view.number, members, claims }));
        Verdict::Proposed(members)
    }
}

impl Proposal {
    fn claim(&self, claimant: PeerId, is_committed: bool) -> Option<Claim> {
        let held = (*self.claims.get(claimant.index())?)?;
        Some(Claim { claimant, base: self.base, members: self.members, is_committed, held })
    }

    /// Where the inputs of a departing peer are cut: at the longest claim.
    fn cut(&self, peer: PeerId) -> Frame {
        let claims = self.claims.iter().flatten();
        claims.filter_map(|held| held.get(peer.index())).copied().max().unwrap_or_default()
    }

    fn is_claimed_by_all(&self) -> bool {
        let has_claimed = |peer: PeerId| self.claims.get(peer.index()).is_some_and(Option::is_some);
        self.members.iter().all(has_claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
    }

    fn held(frame: u32) -> impl Fn(PeerId) -> Frame {
        move |_| Frame::new(frame)
    }

    fn claim(of: &Membership, by: u8) -> Claim {
        of.claims_for(0).find(|claim| claim.claimant == peer(by)).unwrap()
    }

    #[test]
    fn survivors_agree_on_the_longest_claim() {
        let all = PeerSet::first(4);
        let [mut a, mut b, mut c] = [0, 1, 2].map(|slot| Membership::new(peer(slot), all));
        let rest = all.without(peer(3));
        assert_eq!(a.suspect(PeerSet::EMPTY.or(all.minus(rest)), held(5)), Verdict::Proposed(rest));
        assert_eq!(b.handle_claim(&claim(&a, 0), held(7)), Verdict::Proposed(rest));
        assert_eq!(c.handle_claim(&claim(&b, 0), held(6)), Verdict::Proposed(rest));
        assert!(b.is_frozen(peer(3)) && !b.is_frozen(peer(0)));
        assert_eq!(a.handle_claim(&claim(&b, 1), held(5)), Verdict::Unchanged);
        assert_eq!(a.commit(held(7)), None, "the third has not claimed");
        a.handle_claim(&claim(&c, 2), held(5));
        assert_eq!(a.claimed(peer(3)), Frame::new(7));
        assert_eq!(a.commit(held(6)), None, "inputs up to the cut are missing");
        let cuts = a.commit(held(7)).unwrap();
        assert_eq!(cuts[3], Some(Frame::new(7)));
        assert_eq!(a.view(), View { number: 1, members: rest });
        assert_eq!(a.claims_for(0).count(), 3, "repeated to members that lag");
        assert_eq!(a.claims_for(1).count(), 0);
    }

    #[test]
    fn a_member_that_went_on_to_a_smaller_view_follows_the_one_that_was_committed() {
        let all = PeerSet::first(5);
        let [mut a, mut b, mut c, mut d] =
            [0, 1, 2, 3].map(|slot| Membership::new(peer(slot), all));
        let only = |slot: u8| -> PeerSet { [peer(slot)].into_iter().collect() };
        a.suspect(only(4), held(5));
        for other in [&mut b, &mut c, &mut d] {
            other.handle_claim(&claim(&a, 0), held(7));
        }
        for by in [&b, &c, &d].map(|of| claim(of, of.local.slot())) {
            for to in [&mut b, &mut c, &mut d] {
                to.handle_claim(&by, held(7));
            }
        }
        // It heard none of these claims, and suspects another one: the others are past that.
        assert!(matches!(a.suspect(only(1), held(5)), Verdict::Proposed(_)));
        assert_eq!(c.commit(held(7)).unwrap()[4], Some(Frame::new(7)));
        assert_eq!(c.handle_claim(&claim(&a, 0), held(7)), Verdict::Unchanged);
        for passed_on in c.claims_for(0) {
            assert_eq!(a.handle_claim(&passed_on, held(5)), Verdict::Unchanged);
        }
        assert_eq!(a.claimed(peer(4)), Frame::new(7));
        assert_eq!(a.commit(held(5)), None, "inputs up to the cut are missing");
        assert_eq!(a.commit(held(7)).unwrap()[4], Some(Frame::new(7)));
        assert_eq!(a.view(), c.view());
        assert_eq!(a.frozen_members(), only(1));
    }

    #[test]
    fn half_without_the_anchor_stands_still() {
        let all = PeerSet::first(2);
        let mut anchor = Membership::new(peer(0), all);
        let mut other = Membership::new(peer(1), all);
        let only = |slot: u8| PeerSet::EMPTY.or([peer(slot)].into_iter().collect());
        assert_eq!(other.suspect(only(0), held(1)), Verdict::NoQuorum);
        assert_eq!(anchor.suspect(only(1), held(1)), Verdict::Proposed(only(0)));
        let eviction = anchor.eviction_of(peer(1)).unwrap();
        let mut late = Membership::new(peer(1), all);
        assert_eq!(late.handle_claim(&eviction, held(1)), Verdict::Evicted);
    }

    #[test]
    fn a_member_that_was_left_out_long_ago_hears_of_it() {
        let mut late = Membership::new(peer(3), PeerSet::first(4));
        let claim = |base, members| Claim {
            claimant: peer(0),
            base,
            members: PeerSet::first(members),
            is_committed: false,
            held: [Frame::ZERO; PEERS_MAX],
        };
        assert_eq!(late.handle_claim(&claim(1, 4), held(0)), Verdict::Unchanged);
        assert_eq!(late.handle_claim(&claim(1, 2), held(0)), Verdict::Evicted);
    }

    #[test]
    fn a_claim_of_another_view_changes_nothing() {
        let mut a = Membership::new(peer(0), PeerSet::first(3));
        let members = PeerSet::first(2);
        let held_by_slot = [Frame::ZERO; PEERS_MAX];
        let claim =
            Claim { claimant: peer(1), base: 3, members, is_committed: false, held: held_by_slot };
        assert_eq!(a.handle_claim(&claim, held(0)), Verdict::Unchanged);
        assert!(a.departing().is_empty());
    }

    #[test]
    fn a_further_failure_starts_a_smaller_view() {
        let all = PeerSet::first(5);
        let mut a = Membership::new(peer(0), all);
        a.suspect([peer(4)].into_iter().collect(), held(3));
        assert_eq!(
            a.suspect([peer(3)].into_iter().collect(), held(4)),
            Verdict::Proposed(PeerSet::first(3))
        );
        assert_eq!(claim(&a, 0).held[4], Frame::new(4));
        assert_eq!(a.departing().len(), 2);
    }
}
