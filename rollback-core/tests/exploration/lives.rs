//! A peer that begins a new life in its slot, and those who let it in. What is said here of a session (`session/admission.rs`,
//! `session/rejoin.rs`) is said in the same order; each slot begins one new life at most.

use rollback_core::testing::doors::{Claim, Member};
use rollback_core::{PeerId, PeerSet};

use crate::peer::{PEERS, Peer, held_by};
use crate::setting::Sabotage;

/// What a peer knows of new lives.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Lives {
    /// Who is expected back.
    returning: Option<Returning>,
    /// Whose new lives are listened to, and their former ones no more.
    heard_anew: PeerSet,
    /// How many frames it was given of what was recorded, while it waits to be let in.
    pub(crate) rows: Option<u8>,
    /// Who has left in those.
    left_in_rows: PeerSet,
    /// Whether one may come back, so that play goes on until it can.
    pub(crate) are_explored: bool,
}

/// One that wants its slot again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Returning {
    peer: PeerId,
    /// Whether its former life is over here, so that it is listened to.
    is_open: bool,
    /// It was given all frames before this one.
    position: Option<u8>,
    /// Whether it is proposed to let it in, so that this may take too long.
    is_proposed: bool,
}

/// Who is gone in a frame, and how: what a row says of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Row {
    pub(crate) idle: PeerSet,
    pub(crate) leaves: PeerSet,
}

/// The life that comes back.
pub(crate) const NEW: u8 = 1;

impl Peer {
    /// A peer in its new life, which waits to be let in.
    pub(crate) fn returned(local: PeerId, peers: usize) -> Self {
        let mut peer = Self::new(local, peers, 0);
        peer.life = NEW;
        peer.member = Member::joining(local, NEW);
        peer.lives.rows = Some(0);
        peer.lives.are_explored = true;
        peer
    }

    /// Never was there, for all.
    pub(crate) fn is_late(&mut self, late: PeerId) {
        self.held[late.index()] = 0;
        self.closed[late.index()] = Some(0);
        if late != self.local {
            self.member = Member::new(self.local, PeerSet::first(self.peers).without(late));
            self.member.freeze(late);
        }
    }

    /// Whether the peer is no member and is listened to, as one that wants its slot again.
    pub(crate) fn is_returning(&self, peer: PeerId) -> bool {
        self.lives.returning.is_some_and(|it| it.peer == peer && it.is_open)
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.lives.rows.is_some()
    }

    /// Whether it was told that `peer` comes back.
    pub(crate) fn expects(&self, peer: PeerId) -> bool {
        self.lives.returning.is_some() || self.lives.heard_anew.contains(peer)
    }

    /// Which life of a peer it listens to.
    pub(crate) fn life_of(&self, peer: PeerId) -> u8 {
        if self.lives.heard_anew.contains(peer) { NEW } else { 0 }
    }

    /// Whether a return may have been proposed for too long.
    pub(crate) fn may_be_late(&self) -> bool {
        let added = self.member.added();
        self.lives.returning.is_some_and(|it| it.is_proposed && added.contains(it.peer))
    }

    /// What a stable frame says.
    pub(crate) fn row(&self, frame: u8) -> Row {
        let idle = self.all().filter(|of| self.is_idle(*of, frame)).collect();
        let has_left =
            |of: &PeerId| self.closed[of.index()] == Some(frame) && self.held[of.index()] > frame;
        Row { idle, leaves: self.all().filter(has_left).collect() }
    }

    pub(crate) fn is_idle(&self, of: PeerId, frame: u8) -> bool {
        let at = of.index();
        self.closed[at].is_some_and(|closed| frame >= closed)
            || self.gone[at].is_some_and(|gone| (gone..self.start[at]).contains(&frame))
    }

    pub(super) fn handle_row(&mut self, row: Row) {
        let Some(frame) = self.lives.rows else { return };
        for of in self.all().filter(|of| self.closed[of.index()].is_none()).collect::<Vec<_>>() {
            if row.leaves.contains(of) {
                self.held[of.index()] = frame + 1;
                self.lives.left_in_rows.insert(of);
            } else if !row.idle.contains(of) {
                self.held[of.index()] = frame + 1;
            }
            if row.idle.contains(of) {
                self.closed[of.index()] = Some(frame);
            }
        }
        self.lives.rows = Some(frame + 1);
        self.stable = frame + 1;
    }

    pub(super) fn readmit(&mut self, peer: PeerId, sabotage: Option<Sabotage>) {
        self.lives.returning =
            Some(Returning { peer, is_open: false, position: None, is_proposed: false });
        if self.others().contains(peer) {
            self.member.handle_restarted(peer);
            self.suspect([peer].into_iter().collect(), sabotage);
        }
    }

    pub(super) fn handle_ready(&mut self, from: PeerId, position: u8) {
        if let Some(returning) = self.lives.returning.as_mut().filter(|it| it.peer == from) {
            returning.position = returning.position.max(Some(position));
        }
    }

    /// Goes on with letting those in who are expected.
    pub(super) fn let_in(&mut self, is_late: bool, sabotage: Option<Sabotage>) {
        let members = self.member.view().members;
        if let Some(returning) = &mut self.lives.returning {
            let (peer, was_open) = (returning.peer, returning.is_open);
            returning.is_open |= !members.contains(peer) && self.closed[peer.index()].is_some();
            if returning.is_open && !was_open {
                self.lives.heard_anew.insert(peer);
                self.told[peer.index()] = 0;
            }
        }
        if let Some(joiner) = self.admissible()
            && members.lowest() == Some(self.local)
        {
            let held = self.held;
            self.member.let_in(joiner, |peer| held_by(held, peer));
        }
        if is_late && self.may_be_late() {
            self.suspect(self.member.added(), sabotage);
        }
        let added = self.member.added();
        if let Some(returning) = &mut self.lives.returning {
            returning.is_proposed |= added.contains(returning.peer);
        }
    }

    /// One that can be let in now: all that it lacks can be had from those who are here. The first frame that is not promised
    /// is, here, the first one that it does not hold of itself: it files none before the view is committed.
    pub(super) fn admissible(&self) -> Option<(PeerId, u8)> {
        let returning = self.lives.returning.filter(|it| it.is_open)?;
        let least = self.least_given();
        returning.position.is_some_and(|it| it >= least).then_some((returning.peer, NEW))
    }

    /// One that comes back must be given all frames before this one.
    fn least_given(&self) -> u8 {
        let known = self.all().map(|of| {
            let start = Some(self.start[of.index()]).filter(|start| *start > 0);
            self.closed[of.index()].max(start).map_or(0, |frame| frame + 1)
        });
        known.max().unwrap_or_default()
    }

    /// Whatever is agreed, it plays on until all of that can be recorded.
    pub(super) fn play_on(&mut self) {
        if self.lives.are_explored && self.own_end().is_none() {
            let least = self.least_given();
            let own = &mut self.held[self.local.index()];
            *own = least.max(*own);
        }
    }

    /// A claim that came from the one that is let in itself.
    pub(super) fn note_passed_by(
        &mut self,
        from: PeerId,
        claim: &Claim,
        sabotage: Option<Sabotage>,
    ) {
        if self.is_returning(from) && self.member.has_given_up(claim, from) {
            self.end_life(from, sabotage);
        }
    }

    /// Whether what the one that is let in has committed is none of this one's business any more.
    pub(super) fn has_gone_on_without(&self, from: PeerId, claim: &Claim) -> bool {
        self.is_returning(from) && self.member.has_moved_on(claim, from)
    }

    fn end_life(&mut self, peer: PeerId, sabotage: Option<Sabotage>) {
        self.lives.returning = None;
        if sabotage == Some(Sabotage::EndOfLife) {
            return self.member.freeze(peer);
        }
        let held = self.held;
        self.is_stopping |= self.member.end_life(peer, |peer| held_by(held, peer));
    }

    /// The last life of a peer that is known here.
    pub(super) fn last_life(&self, peer: PeerId) -> Option<u8> {
        Some(self.life_of(peer))
    }

    /// Whether the others have given up since what this one, which waits, would be let in by.
    pub(super) fn is_passed_by(&self, sabotage: Option<Sabotage>) -> bool {
        let rows = self.lives.rows.map(|rows| held_by([rows; PEERS], self.local));
        let gone = |peer: PeerId| {
            let closed = self.closed.get(peer.index()).copied().flatten();
            let closed = closed.filter(|_| !self.lives.left_in_rows.contains(peer));
            closed.map(|closed| held_by([closed; PEERS], peer))
        };
        let blind = [Sabotage::GivenUp, Sabotage::EndOfLife].map(Some);
        let is_given_up = !blind.contains(&sabotage) && self.member.is_given_up(gone);
        self.member.would_begin_at().is_some_and(|from| rows > Some(from)) || is_given_up
    }

    /// A view was committed. Answers who came back with it, and at which frame.
    pub(super) fn note_committed(
        &mut self,
        departures: bool,
        sabotage: Option<Sabotage>,
    ) -> Option<(PeerId, u8)> {
        let Some((joined, from)) = self.member.take_joined() else {
            if let Some(returning) = self.lives.returning.as_mut().filter(|it| it.is_proposed) {
                returning.is_proposed = false;
                if !departures {
                    let peer = returning.peer;
                    self.end_life(peer, sabotage);
                }
            }
            return None;
        };
        let from = u8::try_from(from.index()).unwrap();
        let claimed = self.member.claimed_by(joined).unwrap_or_default();
        let at = joined.index();
        if self.confirmed() > from && !self.is_waiting() {
            self.broken = Some("a frame was confirmed from which on one comes back");
        }
        self.gone[at] = Some(self.closed[at].map_or(from, |closed| closed.min(from)));
        (self.start[at], self.held[at], self.closed[at]) = (from, from, None);
        if joined == self.local {
            self.lives.rows = None;
        } else {
            self.lives.returning = None;
            let others = self.member.view().members.without(joined);
            let told = others.iter().map(|peer| claimed[peer.index()].index()).min();
            self.told[at] = u8::try_from(told.unwrap_or_default()).unwrap();
        }
        Some((joined, from))
    }
}
