//! Doors to inner parts, for tests that must reach them without a session around. No part of the crate's promise.

use crate::session::membership::{Membership, Verdict};
use crate::{Frame, Game, PEERS_MAX, PeerId, PeerSet, Session, View};
use crate::{spectate, wire};

/// A claim, as it travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Claim(wire::Claim);

impl Claim {
    /// Whose it is.
    #[must_use]
    pub fn claimant(&self) -> PeerId {
        self.0.claimant
    }

    /// The number of the view that it changes.
    #[must_use]
    pub fn base(&self) -> u8 {
        self.0.base
    }

    /// The members that would be left.
    #[must_use]
    pub fn members(&self) -> PeerSet {
        self.0.members
    }

    /// The same without why any of those goes that go.
    #[must_use]
    pub fn unexplained(mut self) -> Self {
        self.0.kicked = PeerSet::EMPTY;
        self
    }

    /// The same with other frames held.
    #[must_use]
    pub fn holding(mut self, held: impl Fn(PeerId) -> Frame) -> Self {
        self.0.held = of_each(held);
        self
    }
}

/// One member's part in the agreement on who is a member. Where a frame is asked for, it is the first one of a peer
/// that this member does not hold.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Member(Membership);

impl Member {
    /// A member at the beginning.
    #[must_use]
    pub fn new(local: PeerId, members: PeerSet) -> Self {
        Self(Membership::new(local, members))
    }

    /// One that is no member, and is to be let in in this life of its slot.
    #[must_use]
    pub fn joining(local: PeerId, incarnation: u8) -> Self {
        Self(Membership::joining(local, incarnation))
    }

    /// The view in force.
    #[must_use]
    pub fn view(&self) -> View {
        self.0.view()
    }

    /// The members that are proposed to depart.
    #[must_use]
    pub fn departing(&self) -> PeerSet {
        self.0.departing()
    }

    /// Whether what the peer sends is dropped.
    #[must_use]
    pub fn is_frozen(&self, peer: PeerId) -> bool {
        self.0.is_frozen(peer)
    }

    /// Members of the view in force whose datagrams are dropped.
    #[must_use]
    pub fn frozen_members(&self) -> PeerSet {
        self.0.frozen_members()
    }

    /// How far the inputs of a departing peer may be taken from others.
    #[must_use]
    pub fn claimed(&self, peer: PeerId) -> Frame {
        self.0.claimed(peer)
    }

    /// Proposes to go on without `suspects`. Answers whether this member stops because of it.
    pub fn suspect(&mut self, suspects: PeerSet, held: impl Fn(PeerId) -> Frame) -> bool {
        is_end(self.0.suspect(suspects, of_each(held)))
    }

    /// Sends a member away. Answers whether this one stops because of it; none when too few would be left.
    pub fn kick(&mut self, peer: PeerId, held: impl Fn(PeerId) -> Frame) -> Option<bool> {
        self.0.kick(peer, of_each(held)).map(is_end)
    }

    /// Whether the peer went with the view in force since a member sent it away.
    #[must_use]
    pub fn was_kicked(&self, peer: PeerId) -> bool {
        self.0.was_kicked(peer)
    }

    /// Takes a claim of another member, while `admissible` can be let in, in that life of its slot. Answers whether this
    /// member stops because of it.
    pub fn handle_claim(
        &mut self,
        claim: &Claim,
        admissible: Option<(PeerId, u8)>,
        held: impl Fn(PeerId) -> Frame,
    ) -> bool {
        is_end(self.0.handle_claim(&claim.0, admissible, of_each(held)))
    }

    /// Takes the word that a new life of a member begins.
    pub fn handle_restarted(&mut self, peer: PeerId) {
        self.0.handle_restarted(peer);
    }

    /// Proposes to go on with `joiner` as well, in this life of its slot.
    pub fn let_in(&mut self, joiner: (PeerId, u8), held: impl Fn(PeerId) -> Frame) {
        self.0.let_in(joiner, of_each(held));
    }

    /// Who would be let in.
    #[must_use]
    pub fn added(&self) -> PeerSet {
        self.0.added()
    }

    /// Who came back with the last view, and at which frame; once.
    pub fn take_joined(&mut self) -> Option<(PeerId, Frame)> {
        self.0.take_joined()
    }

    /// What a member claimed to hold in the view in force.
    #[must_use]
    pub fn claimed_by(&self, claimant: PeerId) -> Option<[Frame; PEERS_MAX]> {
        self.0.claimed_by(claimant)
    }

    /// Where the new life of this one would begin, which waits to be let in.
    #[must_use]
    pub fn would_begin_at(&self) -> Option<Frame> {
        self.0.would_begin_at()
    }

    /// Whether the others have given up the view by which this one waits to be let in, by the frames from which they fill in
    /// idle.
    #[must_use]
    pub fn is_given_up(&self, idle_from: impl Fn(PeerId) -> Option<Frame>) -> bool {
        self.0.is_given_up(idle_from)
    }

    /// Whether a claim is of a view that others committed with `peer`, and that was given up here.
    #[must_use]
    pub fn has_given_up(&self, claim: &Claim, peer: PeerId) -> bool {
        self.0.has_given_up(&claim.0, peer)
    }

    /// Whether a claim is of a view that `peer` has committed, while this one proposes to go on without it.
    #[must_use]
    pub fn has_moved_on(&self, claim: &Claim, peer: PeerId) -> bool {
        self.0.has_moved_on(&claim.0, peer)
    }

    /// The life of a peer that was to be let in is over. Answers whether this member stops because of it.
    pub fn end_life(&mut self, peer: PeerId, held: impl Fn(PeerId) -> Frame) -> bool {
        is_end(self.0.end_life(peer, of_each(held)))
    }

    /// Takes nothing more of a peer that is no member.
    pub fn freeze(&mut self, peer: PeerId) {
        self.0.freeze(peer);
    }

    /// Whether others may not have committed the view in force.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.0.is_unsettled()
    }

    /// All are in the view in force.
    pub fn settle(&mut self) {
        self.0.settle();
    }

    /// Takes a member's word that it goes.
    pub fn handle_going(&mut self, peer: PeerId) {
        self.0.handle_going(peer);
    }

    /// Takes a member out that has left in order, perhaps this one. Answers whether this member stops because of it.
    pub fn handle_left(&mut self, peer: PeerId, held: impl Fn(PeerId) -> Frame) -> bool {
        is_end(self.0.handle_left(peer, of_each(held)))
    }

    /// Commits the proposal when it can be. Answers where the inputs of each departed peer are cut.
    pub fn commit(&mut self, held: impl Fn(PeerId) -> Frame) -> Option<[Option<Frame>; PEERS_MAX]> {
        self.0.commit(of_each(held))
    }

    /// The claims that a member seen in view `seen` may lack.
    pub fn claims_for(&self, seen: u8) -> impl Iterator<Item = Claim> + '_ {
        self.0.claims_for(seen).map(Claim)
    }

    /// A claim that tells `peer` that the others go on without it, whose last life here may be known.
    #[must_use]
    pub fn eviction_of(&self, peer: PeerId, life: Option<u8>) -> Option<Claim> {
        self.0.eviction_of(peer, life).map(Claim)
    }
}

/// Gives a datagram the tag with which `from` would have sealed it for this session, so that only its content is wrong.
pub fn reseal<G: Game>(session: &Session<G>, from: PeerId, bytes: &mut [u8]) {
    session.reseal(from, bytes);
}

/// Gives a datagram of watching the tag that one of this episode has.
pub fn reseal_watching(session: u64, episode: u32, bytes: &mut [u8]) {
    spectate::reseal(session, episode, bytes);
}

fn of_each(held: impl Fn(PeerId) -> Frame) -> [Frame; PEERS_MAX] {
    let mut frames = [Frame::ZERO; PEERS_MAX];
    for (frame, peer) in frames.iter_mut().zip(PeerId::all(PEERS_MAX)) {
        *frame = held(peer);
    }
    frames
}

fn is_end(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::NoQuorum | Verdict::Evicted | Verdict::Kicked)
}
