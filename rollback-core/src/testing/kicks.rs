//! Peers that are sent away: by a fault, or by an application that waits for those who are silent, and not for ever.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::judgement::Judgement;
use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::world::{Broken, World};
use crate::{Event, Frame, Game, KickError, PeerId, PeerSet, Silence};

/// Who was sent away, and who found their slot closed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kicks {
    pub(super) accepted: Vec<Kick>,
    /// Lives of a slot that no member expected.
    pub(super) refused: Vec<(PeerId, u8)>,
}

/// One that a session has accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kick {
    by: PeerId,
    peer: PeerId,
    /// In which life of its slot it was done.
    life: u8,
    /// How many events had happened there.
    events: usize,
    /// Up to where frames were stable there.
    stable: Frame,
    was_member: bool,
}

impl Kicks {
    pub(super) fn peers(&self) -> PeerSet {
        self.accepted.iter().map(|kick| kick.peer).collect()
    }
}

impl<G: Game<Error: Debug>> World<'_, G> {
    /// Has `by` send `peer` away, if it plays. Answers whether too few would be left.
    pub(super) fn kick(&mut self, by: PeerId, peer: PeerId) -> bool {
        let Some(node) = self.nodes.iter_mut().find(|node| node.peer == by) else { return false };
        if node.is_closed() || node.end().is_some() || node.is_outside() {
            return false;
        }
        let was_member = node.session.view().members.contains(peer);
        let (life, events) = (node.incarnation(), node.events.len());
        let stable = node.session.stable().end();
        match node.session.kick(peer) {
            Ok(()) => {
                self.kicks.accepted.push(Kick { by, peer, life, events, stable, was_member });
                self.network.counts.kicks += 1;
                false
            }
            Err(KickError::NoQuorum { .. }) => true,
            Err(_) => false,
        }
    }

    /// Where all wait for those that are silent, somebody must say when that is enough: sends away who is gone for good. Who
    /// cannot go on without them leaves.
    pub(super) fn kick_the_gone(&mut self) {
        if self.setting.config.silence() != Silence::Wait {
            return;
        }
        let ends_alone = |node: &Node<G>| node.end().is_some_and(|end| !end.cause.is_agreed());
        let is_gone = |node: &&Node<G>| node.is_closed() || node.has_failed() || ends_alone(node);
        let gone: PeerSet = self.nodes.iter().filter(is_gone).map(|node| node.peer).collect();
        for index in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(index) else { return };
            let by = node.peer;
            let is_over = node.is_closed() || node.end().is_some() || self.left.contains(by);
            let awaited = node.session.view().members.and(gone).minus(node.kicked);
            for peer in awaited.iter().filter(|_| !is_over) {
                let too_few = self.kick(by, peer);
                let Some(node) = self.nodes.get_mut(index) else { return };
                node.kicked.insert(peer);
                if too_few {
                    node.session.leave();
                    self.left.insert(by);
                    break;
                }
            }
        }
    }
}

impl<G: Game<Error: Debug>> Judgement<'_, G> {
    /// Whoever is sent away goes, all are told alike why, and nobody comes back into a closed slot.
    pub(super) fn check_kicks(&self) -> Result<(), Broken> {
        let lives = || self.nodes.iter().chain(self.former);
        let mut causes = BTreeMap::new();
        for node in lives() {
            for event in &node.events {
                let Event::ViewChanged { view, departed, cause, .. } = event else { continue };
                let change = (view.number, view.members.bits(), *departed);
                let first = *causes.entry(change).or_insert(*cause);
                if first != *cause {
                    let detail = format!("{event:?}, but {first:?} at another");
                    return Err((Some(node.peer), Violation::new(Oracle::Kicks, detail)));
                }
            }
            let life = (node.peer, node.incarnation());
            if self.kicks.refused.contains(&life) && !node.is_outside() {
                let detail = "it was let in where nobody expected it".into();
                return Err((Some(node.peer), Violation::new(Oracle::Kicks, detail)));
            }
        }
        for kick in self.kicks.accepted.iter().filter(|kick| kick.was_member) {
            let by = |node: &&Node<G>| node.peer == kick.by && node.incarnation() == kick.life;
            let Some(node) = lives().find(by) else { continue };
            // One that leaves, or is sent away itself, may not hear what came of it.
            let end = node.end().filter(|end| end.cause.is_agreed() && end.frame > kick.stable);
            if end.is_none() || node.is_crashed() || self.left.contains(kick.by) {
                continue;
            }
            let has_gone = node.events.iter().skip(kick.events).any(|event| match event {
                Event::ViewChanged { departed, .. } => *departed == kick.peer,
                Event::Left { peer } => *peer == kick.peer,
                _ => false,
            });
            if !has_gone {
                let detail = format!("{} sent {} away, and it stayed", kick.by, kick.peer);
                return Err((Some(kick.peer), Violation::new(Oracle::Kicks, detail)));
            }
        }
        Ok(())
    }
}
