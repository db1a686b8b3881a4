//! New lives in the world: who begins one, what it is told, and what its former one may still have under way.

use std::rc::Rc;

use rollback_core::{PeerId, PeerSet};

use crate::lives::NEW;
use crate::peer::{Event, PEERS, Peer, Status};
use crate::world::{Action, Explorer, World};

/// Where the former life of one that came back is.
const FORMER: usize = PEERS - 1;

impl Explorer {
    /// All peers and the life of one that is over: what it did, and what of it may still be under way.
    pub(crate) fn bodies(&self, world: World) -> impl Iterator<Item = Rc<Peer>> + use<'_> {
        let ids = world.peers.into_iter().enumerate();
        let ids = ids.filter(move |(at, _)| *at < self.setting.peers || world.spent.returns > 0);
        ids.map(|(_, id)| self.peers.get(id))
    }

    /// Whether a peer that is gone may still begin a new life.
    pub(crate) fn may_return(&self, world: World, peer: PeerId) -> bool {
        let is_gone = self.setting.returner == Some(peer) && world.gone.contains(peer);
        is_gone && world.spent.returns == 0
    }

    /// What a new life brings about: that it begins, and what it is told of.
    pub(crate) fn returns(&mut self, world: World, next: &mut Vec<(Action, World)>) {
        let Some(returner) = self.setting.returner else { return };
        let players: PeerSet = self.all().filter(|of| self.plays(world, *of)).collect();
        let former = self.peer(world, returner);
        // One whose former life went on without those who play now has another past than they.
        let shared = former.commits.last().map_or(PeerSet::first(PEERS), |last| last.members);
        if self.may_return(world, returner) && !players.is_empty() && players.is_subset_of(shared) {
            let mut world = world;
            world.spent.returns += 1;
            world.gone.remove(returner);
            world.peers[FORMER] = world.peers[returner.index()];
            let peer = Peer::returned(returner, self.setting.peers);
            world.peers[returner.index()] = self.peers.id(peer);
            world.sent = self.post(world.sent, world.peers[returner.index()]);
            let world = self.drop_lost(world);
            next.push((Action::Return(returner), world));
        }
    }

    pub(crate) fn plays(&self, world: World, of: PeerId) -> bool {
        !world.gone.contains(of) && self.peer(world, of).status == Status::Playing
    }

    /// What reaches a peer of a new life besides messages, sooner or later.
    pub(crate) fn tidings_of_lives(&self, world: World, to: PeerId) -> Vec<Event> {
        let (peer, mut events) = (self.peer(world, to), Vec::new());
        let Some(returner) = self.setting.returner.filter(|_| world.spent.returns > 0) else {
            return events;
        };
        if to != returner && !peer.expects(returner) && peer.status == Status::Playing {
            events.push(Event::Readmit { peer: returner });
        }
        if let Some(position) = self.peer(world, returner).lives.rows
            && peer.is_returning(returner)
            && !world.gone.contains(returner)
        {
            events.push(Event::Ready { from: returner, position });
        }
        if let Some(rows) = peer.lives.rows
            && let Some(log) = self.bodies(world).find(|body| body.stable > rows)
        {
            events.push(Event::Row(log.row(rows)));
        }
        let view = peer.member.view();
        let is_seen = |of: PeerId| {
            let commits = &self.peer(world, of).commits;
            commits.iter().any(|it| it.number == view.number && it.members == view.members)
        };
        if peer.member.is_unsettled() && peer.others().iter().all(is_seen) {
            events.push(Event::Settle);
        }
        events
    }

    /// The row of a message in what some are deaf to: each life has its own.
    pub(crate) fn mail_of(from: PeerId, life: u8) -> u8 {
        if life == NEW { from.slot() + 4 } else { from.slot() }
    }
}
