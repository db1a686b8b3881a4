//! One peer: the engine's own agreement on members, with the little around it that matters to it. What is said here of
//! a session (`session/links.rs`, `session/episode.rs`) is said in the same order.

use rollback_core::testing::doors::{Claim, Member};
use rollback_core::{Frame, PeerId, PeerSet};

use crate::lives::{Lives, Row};
use crate::setting::Sabotage;

/// The most peers that are explored.
pub(crate) const PEERS: usize = 4;

/// More views than any of them comes to.
const VIEWS: usize = 8;

/// A peer, as far as it takes part in who is a member.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Peer {
    pub(crate) local: PeerId,
    /// Which life of its slot this is.
    pub(crate) life: u8,
    pub(super) peers: usize,
    pub(crate) member: Member,
    pub(crate) status: Status,
    /// The first frame of each peer that it does not hold; its own stream ends there.
    pub(crate) held: [u8; PEERS],
    /// From which frame on idle is filled in.
    pub(crate) closed: [Option<u8>; PEERS],
    /// The first frame of each peer's present life, and from which frame on its slot was idle before that.
    pub(crate) start: [u8; PEERS],
    pub(super) gone: [Option<u8>; PEERS],
    pub(crate) lives: Lives,
    /// How far each peer is known to have confirmed.
    pub(super) told: [u8; PEERS],
    /// What it has said in each view to each peer of how far each has confirmed: itself, and others of whom it knows.
    said: [[[u8; PEERS]; PEERS]; VIEWS],
    pub(crate) stable: u8,
    /// It has heard that it is cut off or left out, and stops when it advances.
    pub(super) is_stopping: bool,
    /// The views that it has committed.
    pub(crate) commits: Vec<Commit>,
    /// A promise that it broke by itself.
    pub(crate) broken: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Status {
    Playing,
    /// Its simulation has failed, and it tells the others.
    Failing,
    /// It has left in order.
    Left,
    /// It was cut off or left out.
    Partitioned,
}

/// A view that was committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Commit {
    pub(crate) number: u8,
    pub(crate) members: PeerSet,
    pub(crate) cuts: [Option<u8>; PEERS],
    /// Who goes since a member sent it away.
    pub(crate) kicked: PeerSet,
    /// Who came back with it, and at which frame.
    pub(crate) joined: Option<(PeerId, u8)>,
}

impl Commit {
    /// Where a peer's inputs are cut, if it goes, and whether it was sent away.
    pub(crate) fn goes_as(&self, peer: PeerId) -> (Option<u8>, bool) {
        (self.cuts[peer.index()], self.kicked.contains(peer))
    }

    /// Whether both are the same view. Views of one number may differ where one was committed by a few who are then left
    /// out of the other.
    pub(crate) fn is_of_view(&self, other: &Self) -> bool {
        (self.number, self.members) == (other.number, other.members)
    }
}

/// What can happen to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Event {
    /// It advances, having heard nothing of `silent` for too long. One that leaves has heard in which views others are. It may take too
    /// long to let one in.
    Advance { silent: PeerSet, views: [u8; PEERS], is_late: bool },
    /// A claim arrives from a peer that made it or passes it on.
    Claim { from: PeerId, claim: Claim },
    /// A peer says that its simulation failed.
    Failed { from: PeerId },
    /// A peer says that it has left.
    Left { from: PeerId },
    /// The next frames of a peer arrive, up to `end`, from itself or through another. One that has left said so at its
    /// `last`.
    Input { of: PeerId, end: u8, last: Option<u8> },
    /// The same, from one whose datagrams are to be dropped.
    FrozenInput { of: PeerId },
    /// A peer is heard to have confirmed so much.
    Told { by: PeerId, confirmed: u8 },
    /// It says that it leaves.
    Leave,
    /// Its simulation fails.
    Fail,
    /// It sends another away.
    Kick { peer: PeerId },
    /// It has seen all others in its view.
    Settle,
    /// It is told that another begins a new life.
    Readmit { peer: PeerId },
    /// One that waits to be let in says how much of what was recorded it was given.
    Ready { from: PeerId, position: u8 },
    /// It waits to be let in, and is given the next frame that was recorded.
    Row(Row),
}

/// What a peer sends, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Message {
    Claim(Claim),
    Failed,
    Left,
}

impl Peer {
    pub(crate) fn new(local: PeerId, peers: usize, frames: u8) -> Self {
        let mut held = [0; PEERS];
        held[local.index()] = frames;
        Self {
            local,
            life: 0,
            peers,
            member: Member::new(local, PeerSet::first(peers)),
            status: Status::Playing,
            held,
            closed: [None; PEERS],
            start: [0; PEERS],
            gone: [None; PEERS],
            lives: Lives::default(),
            told: [0; PEERS],
            said: [[[0; PEERS]; PEERS]; VIEWS],
            stable: 0,
            is_stopping: false,
            commits: Vec::new(),
            broken: None,
        }
    }

    /// What becomes of it. Where `is_eager`, it does not wait to advance until frames become stable: that can only make
    /// more of them so.
    pub(crate) fn after(&self, event: Event, sabotage: Option<Sabotage>, is_eager: bool) -> Self {
        let mut peer = self.clone();
        match event {
            Event::Advance { silent, views, is_late } => {
                peer.advance(silent, (views, is_late), sabotage);
            }
            Event::Claim { from, claim } => peer.handle_claim(from, claim, sabotage),
            Event::Failed { from } => peer.handle_failed(from, sabotage),
            Event::Left { from } => peer.handle_left(from),
            Event::Input { of, end, last } => {
                (peer.held[of.index()]..end).for_each(|_| peer.handle_input(of, last));
            }
            Event::FrozenInput { of } => peer.held[of.index()] += 1,
            Event::Told { by, confirmed } => {
                peer.told[by.index()] = peer.told[by.index()].max(confirmed);
            }
            Event::Leave => {
                // The word that it leaves stands at the frame that is its last.
                let end = peer.held[peer.local.index()];
                peer.held[peer.local.index()] = end + 1;
                peer.closed[peer.local.index()] = Some(end);
            }
            Event::Kick { peer: kicked } => {
                let held = peer.held;
                // Where too few would be left, nothing happens.
                let stops = peer.member.kick(kicked, |of| held_by(held, of));
                peer.is_stopping |= stops.unwrap_or_default();
            }
            Event::Settle => peer.member.settle(),
            Event::Readmit { peer: other } => peer.readmit(other, sabotage),
            Event::Ready { from, position } => peer.handle_ready(from, position),
            Event::Row(row) => peer.handle_row(row),
            Event::Fail => {
                peer.status = Status::Failing;
                peer.member.handle_going(peer.local);
            }
        }
        peer.say();
        if is_eager && peer.status == Status::Playing {
            peer.raise_stable();
        }
        peer
    }

    /// What is left of it when it is gone: what it did, and what of it may still be under way.
    pub(crate) fn ghost(&self) -> Self {
        let mut ghost = Self::new(self.local, self.peers, 0);
        ghost.life = self.life;
        ghost.held = self.held;
        (ghost.closed, ghost.start, ghost.gone) = (self.closed, self.start, self.gone);
        ghost.said = self.said;
        ghost.stable = self.stable;
        ghost.commits.clone_from(&self.commits);
        ghost.broken = self.broken;
        ghost
    }

    /// What it sends: to each peer that it listens to, and to those it does not.
    pub(crate) fn messages(&self) -> Vec<(Message, PeerSet)> {
        // Whatever a receiver was last seen in, it may be sent all of these.
        let seen = self.member.view().number.wrapping_add(128);
        let claims = self.member.claims_for(seen).map(Message::Claim);
        let goodbye = match self.status {
            Status::Failing => Some(Message::Failed),
            Status::Left => Some(Message::Left),
            Status::Playing | Status::Partitioned => None,
        };
        let listens = self.all().filter(|peer| self.listens_to(*peer)).collect();
        let mut messages: Vec<_> = claims.chain(goodbye).map(|m| (m, listens)).collect();
        for peer in self.all().filter(|peer| !self.listens_to(*peer) && *peer != self.local) {
            if let Some(claim) = self.eviction_of(peer) {
                messages.push((Message::Claim(claim), PeerSet::from_bits(1 << peer.slot())));
            }
        }
        messages
    }

    pub(crate) fn eviction_of(&self, peer: PeerId) -> Option<Claim> {
        self.member.eviction_of(peer, self.last_life(peer))
    }

    /// How far all inputs are held, or filled in.
    pub(crate) fn confirmed(&self) -> u8 {
        if let Some(rows) = self.lives.rows {
            return rows;
        }
        let end = |peer: PeerId| match self.closed[peer.index()] {
            Some(closed) if self.held[peer.index()] >= closed => u8::MAX,
            _ => self.held[peer.index()],
        };
        // No frame is looked at beyond those of which this peer's own inputs are known.
        self.all().map(end).min().unwrap_or_default().min(self.held[self.local.index()])
    }

    /// The number of the view that it has come to.
    pub(crate) fn view_number(&self) -> u8 {
        self.commits.last().map_or(0, |commit| commit.number)
    }

    /// How far `of` has confirmed, as `to` may hear it from this peer while in view `number`.
    pub(crate) fn tells(&self, number: u8, to: PeerId, of: PeerId) -> u8 {
        self.said[usize::from(number)][to.index()][of.index()]
    }

    pub(crate) fn has_heard(&self, of: PeerId) -> u8 {
        self.told[of.index()]
    }

    pub(crate) fn listens_to(&self, peer: PeerId) -> bool {
        peer != self.local && (!self.member.is_frozen(peer) || self.is_returning(peer))
    }

    /// Whether what another body says may reach it: that life of its slot is listened to.
    pub(crate) fn hears(&self, by: &Self) -> bool {
        self.listens_to(by.local) && by.life == self.life_of(by.local)
    }

    /// Whether it hears a body that listens to it, in this life.
    pub(crate) fn hears_back(&self, by: &Self) -> bool {
        self.hears(by) && self.life == by.life_of(self.local)
    }

    /// Whether inputs pass between it and a peer, for all that it knows.
    pub(crate) fn plays_with(&self, peer: PeerId) -> bool {
        self.listens_to(peer) && !self.is_returning(peer) && !self.is_waiting()
    }

    /// Whether it asks for more of a departing peer's inputs, or of those of one that it still listens to.
    pub(crate) fn wants(&self, of: PeerId) -> bool {
        self.member.view().members.contains(of)
            && match self.member.is_frozen(of) {
                true => self.member.claimed(of) > frame(self.held[of.index()]),
                false => true,
            }
    }

    /// The other members that it still counts on.
    pub(crate) fn others(&self) -> PeerSet {
        self.member.view().members.without(self.local)
    }

    pub(crate) fn knows_leave_of(&self, peer: PeerId) -> bool {
        let is_cut = |commit: &Commit| commit.cuts[peer.index()].is_some();
        self.closed[peer.index()].is_some() && !self.commits.iter().any(is_cut)
    }

    /// Where its own inputs end, once it leaves.
    pub(crate) fn own_end(&self) -> Option<u8> {
        self.closed[self.local.index()].filter(|_| !self.is_waiting())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = PeerId> + use<> {
        PeerId::all(self.peers)
    }

    /// It may send at any time what it knows of confirmed frames to those that it listens to.
    fn say(&mut self) {
        let view = usize::from(self.member.view().number);
        let confirmed = self.confirmed();
        let listens: Vec<_> = self.all().filter(|to| self.plays_with(*to)).collect();
        for to in listens {
            for of in self.all().filter(|of| *of != to) {
                let known = if of == self.local { confirmed } else { self.told[of.index()] };
                let said = &mut self.said[view][to.index()][of.index()];
                *said = known.max(*said);
            }
        }
    }

    fn advance(
        &mut self,
        silent: PeerSet,
        (views, is_late): ([u8; PEERS], bool),
        sabotage: Option<Sabotage>,
    ) {
        match self.status {
            Status::Playing => {
                self.suspect(silent, sabotage);
                if !self.is_waiting() {
                    self.let_in(is_late, sabotage);
                }
                self.commit(sabotage);
                self.raise_stable();
                if sabotage == Some(Sabotage::Retiring) {
                    self.retire_leavers();
                }
                if core::mem::take(&mut self.is_stopping) {
                    self.status = Status::Partitioned;
                    return;
                }
                self.raise_stable();
                let is_at_end = self.own_end().is_some_and(|end| self.stable >= end);
                let number = self.view_number();
                let are_in_view = self.others().iter().all(|of| views[of.index()] >= number);
                if is_at_end && (are_in_view || sabotage == Some(Sabotage::Leaving)) {
                    self.status = Status::Left;
                    self.member.handle_left(self.local, |peer| held_by(self.held, peer));
                }
            }
            Status::Failing => self.raise_stable(),
            Status::Left | Status::Partitioned => {}
        }
    }

    fn handle_claim(&mut self, from: PeerId, claim: Claim, sabotage: Option<Sabotage>) {
        if !self.listens_to(from) {
            return;
        }
        let held = self.held;
        let held = |peer| held_by(held, peer);
        let claim = if sabotage == Some(Sabotage::Cut) { claim.holding(held) } else { claim };
        let claim = if sabotage == Some(Sabotage::Reason) { claim.unexplained() } else { claim };
        if sabotage == Some(Sabotage::Quorum) {
            self.ignore_quorum(self.member.view().members.minus(claim.members()));
        }
        self.note_passed_by(from, &claim, sabotage);
        if self.has_gone_on_without(from, &claim) && sabotage != Some(Sabotage::Alone) {
            return;
        }
        let admissible = self.admissible();
        self.is_stopping |= self.member.handle_claim(&claim, admissible, held);
    }

    fn handle_failed(&mut self, from: PeerId, sabotage: Option<Sabotage>) {
        if self.listens_to(from) && self.member.view().members.contains(from) {
            self.member.handle_going(from);
            self.suspect([from].into_iter().collect(), sabotage);
        }
    }

    fn handle_left(&mut self, from: PeerId) {
        let confirmed = self.confirmed();
        let has_ended = self.closed[from.index()].is_some_and(|end| confirmed >= end);
        if self.listens_to(from) && has_ended && self.others().contains(from) {
            let held = self.held;
            self.is_stopping |= self.member.handle_left(from, |peer| held_by(held, peer));
        }
    }

    fn handle_input(&mut self, of: PeerId, last: Option<u8>) {
        let limit = match self.member.is_frozen(of) {
            true if self.member.departing().contains(of) => self.member.claimed(of),
            true => return,
            false => Frame::MAX,
        };
        let next = self.held[of.index()];
        let is_closed = self.closed[of.index()].is_some_and(|closed| next >= closed);
        if is_closed || frame(next) >= limit {
            return;
        }
        self.held[of.index()] = next + 1;
        if last == Some(next) {
            self.closed[of.index()] = last;
        }
    }

    pub(super) fn suspect(&mut self, silent: PeerSet, sabotage: Option<Sabotage>) {
        if silent.is_empty() {
            return;
        }
        if sabotage == Some(Sabotage::Quorum) {
            self.ignore_quorum(silent);
        }
        let held = self.held;
        self.is_stopping |= self.member.suspect(silent, |peer| held_by(held, peer));
    }

    /// One that goes by its own word does not count.
    fn ignore_quorum(&mut self, departing: PeerSet) {
        departing.iter().for_each(|peer| self.member.handle_going(peer));
    }

    fn commit(&mut self, sabotage: Option<Sabotage>) {
        if self.is_waiting() && self.is_passed_by(sabotage) {
            return;
        }
        let held = self.held;
        let holds_all = sabotage == Some(Sabotage::HoldsAll);
        let held = |peer| if holds_all { Frame::MAX } else { held_by(held, peer) };
        let confirmed = self.confirmed();
        let Some(cuts) = self.member.commit(held) else { return };
        let view = self.member.view();
        let kicked = self.all().filter(|peer| self.member.was_kicked(*peer)).collect();
        let joined = self.note_committed(cuts.iter().any(Option::is_some), sabotage);
        let (number, members) = (view.number, view.members);
        let mut commit = Commit { number, members, cuts: [None; PEERS], kicked, joined };
        for (peer, cut) in self.all().zip(cuts) {
            let Some(cut) = cut.map(|cut| u8::try_from(cut.index()).unwrap()) else { continue };
            commit.cuts[peer.index()] = Some(cut);
            let closed = &mut self.closed[peer.index()];
            if closed.is_none_or(|closed| closed > cut) {
                *closed = Some(cut);
                if confirmed > cut {
                    self.broken = Some("a confirmed frame was retracted");
                }
                if self.stable > cut {
                    self.broken = Some("a stable frame was retracted");
                }
            }
        }
        self.play_on();
        self.commits.push(commit);
        self.suspect(self.member.frozen_members(), sabotage);
    }

    fn raise_stable(&mut self) {
        if !self.member.departing().is_empty() || self.is_waiting() {
            return;
        }
        let told = |peer: PeerId| match self.closed[peer.index()] {
            Some(closed) if self.told[peer.index()] >= closed => u8::MAX,
            _ => self.told[peer.index()],
        };
        let least = self.others().iter().map(told).min().unwrap_or(u8::MAX).min(self.confirmed());
        self.stable = self.stable.max(least);
    }

    /// Takes out who left once all are known to have confirmed what was before, without waiting for its word.
    fn retire_leavers(&mut self) {
        let held = self.held;
        for peer in self.others().iter() {
            let closed = self.closed[peer.index()];
            if closed.is_some_and(|end| self.told[peer.index()] >= end && self.stable >= end) {
                self.is_stopping |= self.member.handle_left(peer, |peer| held_by(held, peer));
            }
        }
    }
}

/// Nobody has given anything in the slots that nobody has.
pub(crate) fn held_by(held: [u8; PEERS], peer: PeerId) -> Frame {
    frame(held.get(peer.index()).copied().unwrap_or_default())
}

fn frame(index: u8) -> Frame {
    Frame::new(index.into())
}
