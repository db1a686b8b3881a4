//! Keeps peers out: sends one away, refuses one, and tells those who are out.

use super::super::coverage::{Way, reach};
use super::{Membership, Verdict};
use crate::wire::Claim;
use crate::{Frame, PEERS_MAX, PeerId, PeerSet};

impl Membership {
    /// Proposes to go on without `peer`, which is there: as of a suspicion, and all are told why. None when too few would
    /// be left.
    pub(crate) fn kick(&mut self, peer: PeerId, held: [Frame; PEERS_MAX]) -> Option<Verdict> {
        if !self.target().contains(peer) {
            self.kicked.insert(peer);
            return Some(Verdict::Unchanged);
        }
        let members = self.target().and(self.view.members).without(peer).minus(self.going);
        if self.is_joining || self.has_no_say() || !self.has_quorum(members) {
            return None;
        }
        reach(Way::Kicked);
        self.kicked.insert(peer);
        // Nobody is let in while somebody goes.
        Some(self.propose(members, None, held))
    }

    /// Whether the peer went with the view in force since a member sent it away.
    pub(crate) fn was_kicked(&self, peer: PeerId) -> bool {
        self.committed.as_ref().is_some_and(|committed| committed.kicked.contains(peer))
    }

    /// Has nobody let in whom a claim would let in: proposes the view as it is, which the others join.
    pub(crate) fn refuse(&mut self, claim: &Claim, held: [Frame; PEERS_MAX]) -> Verdict {
        let is_of_view =
            claim.base == self.view.number && self.view.members.contains(claim.claimant);
        let is_open = self.proposal.is_none() && self.decided.is_none();
        match is_of_view && is_open && !claim.is_committed && !self.has_no_say() {
            true => self.propose(self.view.members, None, held),
            false => Verdict::Unchanged,
        }
    }

    /// A claim of a view without `peer`, which tells it that the others go on. It names the peer's last life here, where that is
    /// known: a peer that waits to be let in sees by it whether it is meant.
    pub(crate) fn eviction_of(&self, peer: PeerId, life: Option<u8>) -> Option<Claim> {
        if self.target().contains(peer) {
            return None;
        }
        reach(Way::EvictionTold);
        let mut proposals = self.committed.iter().chain(&self.proposal);
        let proposal = proposals.find(|proposal| !proposal.members.contains(peer));
        // One that left in order is in no claim.
        Some(Claim {
            claimant: self.local,
            base: self.view.number,
            members: proposal.map_or(self.view.members, |proposal| proposal.members),
            joiner: life.map(|life| (peer, life)),
            kicked: self.kicked,
            is_committed: false,
            held: [Frame::ZERO; PEERS_MAX],
        })
    }

    /// Whether a claim is of a view that others committed with `peer`, and that was given up here.
    pub(crate) fn has_given_up(&self, claim: &Claim, peer: PeerId) -> bool {
        let is_behind = self.view.number.wrapping_sub(claim.base.wrapping_add(1)) < 128;
        claim.is_committed && claim.members.contains(peer) && is_behind
    }

    /// Whether a claim is of a view that `peer` has committed, which is no member, while this one proposes to go on without it. Such a
    /// view holds only if a member has committed it too, and that member says so itself; otherwise all may go on as they proposed.
    pub(crate) fn has_moved_on(&self, claim: &Claim, peer: PeerId) -> bool {
        claim.is_committed && !self.target().contains(peer)
    }

    /// Ends the life of a peer that was to be let in. A view with it may be proposed by now, and would never be claimed by all.
    pub(crate) fn end_life(&mut self, peer: PeerId, held: [Frame; PEERS_MAX]) -> Verdict {
        self.freeze(peer);
        match self.added().contains(peer) {
            true => self.suspect(PeerSet::only(peer), held),
            false => Verdict::Unchanged,
        }
    }

    /// Takes nothing more of a peer that is no member, in this life of its.
    pub(crate) fn freeze(&mut self, peer: PeerId) {
        self.frozen.insert(peer);
    }
}

/// What a claim means for `peer` that it leaves out.
pub(super) fn evicted(claim: &Claim, peer: PeerId) -> Verdict {
    if claim.kicked.contains(peer) { Verdict::Kicked } else { Verdict::Evicted }
}
