//! A proposed view, and what its members have claimed. Decides nothing.

use crate::wire::Claim;
use crate::{Frame, PEERS_MAX, PeerId, PeerSet};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Proposal {
    pub(super) base: u8,
    pub(super) members: PeerSet,
    /// Who of them comes back, in which life of its slot.
    pub(super) joiner: Option<(PeerId, u8)>,
    /// Who goes since a member sent it away, as far as the claims heard say so: all say it together.
    pub(super) kicked: PeerSet,
    pub(super) claims: [Option<[Frame; PEERS_MAX]>; PEERS_MAX],
}

impl Proposal {
    pub(super) fn claim(&self, claimant: PeerId, is_committed: bool) -> Option<Claim> {
        let held = (*self.claims.get(claimant.index())?)?;
        let Self { base, members, joiner, kicked, .. } = *self;
        Some(Claim { claimant, base, members, joiner, kicked, is_committed, held })
    }

    /// Where the inputs of a departing peer are cut: at the longest claim.
    pub(super) fn cut(&self, peer: PeerId) -> Frame {
        let claims = self.claims.iter().flatten();
        claims.filter_map(|held| held.get(peer.index())).copied().max().unwrap_or_default()
    }

    /// Up to where those who stay hold the inputs of a member, as far as they have claimed.
    pub(super) fn held_by_others(&self, peer: PeerId) -> Frame {
        let joiner = self.joiner.map(|(joiner, _)| joiner);
        let claims = PeerId::all(PEERS_MAX).zip(&self.claims);
        let others = claims.filter(|(by, _)| *by != peer && Some(*by) != joiner);
        let held = others.filter_map(|(_, held)| held.as_ref()?.get(peer.index()).copied());
        held.max().unwrap_or(Frame::MAX)
    }

    /// Who comes back, and the first frame of its new life: none that any member could have confirmed before it claimed,
    /// or files until it commits.
    pub(super) fn joined(&self) -> Option<(PeerId, Frame)> {
        let (joiner, _) = self.joiner?;
        let promises = PeerId::all(PEERS_MAX).zip(&self.claims).filter_map(|(peer, held)| {
            held.as_ref()?.get(peer.index()).copied().filter(|_| peer != joiner)
        });
        Some((joiner, promises.max().unwrap_or_default()))
    }

    /// Whether the claim is one of this view.
    pub(super) fn is_of(&self, claim: &Claim) -> bool {
        (self.members, self.joiner) == (claim.members, claim.joiner)
    }

    /// Takes what a claimant holds, where its claim is one of this view. Answers whether it is.
    pub(super) fn note(&mut self, claim: &Claim) -> bool {
        let is_of = self.is_of(claim);
        if let Some(slot) = self.claims.get_mut(claim.claimant.index()).filter(|_| is_of) {
            *slot = Some(claim.held);
        }
        is_of
    }

    pub(super) fn is_claimed_by_all(&self) -> bool {
        let has_claimed = |peer: PeerId| self.claims.get(peer.index()).is_some_and(Option::is_some);
        self.members.iter().all(has_claimed)
    }
}
