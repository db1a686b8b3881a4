//! What is promised of each world: what members say of each other, and what comes of it all.

use rollback_core::{PeerId, PeerSet, View};

use crate::peer::{Peer, Status};
use crate::world::{Explorer, Spent, World};

impl Explorer {
    /// Whether nothing happens any more unless something goes wrong.
    fn is_settled(&mut self, world: World) -> bool {
        for to in self.all().filter(|to| !world.gone.contains(*to)) {
            if self.peer(world, to).status != Status::Playing {
                // It goes before long.
                return false;
            }
            for event in self.sure_events(world, to) {
                let event = self.events.id(event);
                if self.after(world, to, event) != world {
                    return false;
                }
            }
        }
        true
    }

    /// The promises about what members say of each other.
    pub(crate) fn apart(&self, world: World) -> Option<String> {
        let peers: Vec<_> = self.bodies(world).collect();
        let has_left = |of: &PeerId| {
            let peer = &peers[of.index()];
            peer.closed[of.index()].is_some() && peer.life == 0 && !self.setting.is_late
        };
        let left: PeerSet = self.all().filter(has_left).collect();
        for (index, one) in peers.iter().enumerate() {
            if let Some(broken) = one.broken {
                return Some(format!("{broken} by {}", one.local));
            }
            for other in &peers[..index] {
                let (a, b) = (one.local, other.local);
                let pairs = one
                    .commits
                    .iter()
                    .flat_map(|ours| other.commits.iter().map(move |t| (ours, t)));
                for (ours, theirs) in pairs.filter(|(ours, theirs)| ours.is_of_view(theirs)) {
                    let mut stayed = self.all().filter(|of| !left.contains(*of));
                    let is_same = ours.joined == theirs.joined;
                    if !is_same || stayed.any(|of| ours.goes_as(of) != theirs.goes_as(of)) {
                        return Some(format!("{a} and {b} committed {ours:?} and {theirs:?}"));
                    }
                }
                for frame in 0..one.stable.min(other.stable) {
                    if self.all().any(|of| one.is_idle(of, frame) != other.is_idle(of, frame)) {
                        return Some(format!(
                            "frame {frame} is stable for {a} and {b}, and not the same"
                        ));
                    }
                }
                if let Some(frame) = self.differ(world, one, other) {
                    return Some(format!("{a} and {b} confirmed frame {frame}, and not the same"));
                }
            }
        }
        None
    }

    /// The promises about what comes of it all.
    pub(crate) fn unsettled(&mut self, world: World) -> Option<String> {
        if !self.is_settled(world) {
            return None;
        }
        let here: PeerSet = self.all().filter(|of| !world.gone.contains(*of)).collect();
        let all = PeerSet::first(self.setting.peers);
        if self.must_be_back(world) && here != all {
            return Some("one that came back is not let in".into());
        }
        for of in here.iter() {
            let peer = self.peer(world, of);
            if peer.is_waiting() && here.len() == 1 {
                // There is nobody to come back to.
                continue;
            }
            let is_open = !peer.member.departing().or(peer.member.added()).is_empty();
            if is_open || peer.member.view().members != here {
                return Some(format!("{of} waits for ever in {:?}", peer.member.view()));
            }
            if peer.confirmed() < peer.held[of.index()] {
                return Some(format!("{of} waits for ever for inputs of others"));
            }
        }
        let can_go_on = View::initial(all).has_quorum(all.minus(world.gone));
        let Spent { false_suspicions, kicks, returns, .. } = world.spent;
        let is_told_truth = false_suspicions + kicks + returns == 0;
        if here.is_empty() && is_told_truth && can_go_on {
            return Some("nobody goes on".into());
        }
        None
    }

    /// Whether one came back who must be a member in the end: nothing else went wrong.
    fn must_be_back(&self, world: World) -> bool {
        let spent = world.spent;
        let others = spent.false_suspicions + spent.leaves + spent.failures + spent.kicks;
        let crashes = u8::from(!self.setting.is_late);
        spent.returns > 0 && spent.crashes == crashes && others + spent.delays == 0
    }

    /// Whether two that are in one view have confirmed different frames.
    fn differ(&self, world: World, one: &Peer, other: &Peer) -> Option<u8> {
        let is_here = |peer: &Peer| {
            let is_present = self.peer(world, peer.local).life == peer.life;
            is_present && self.plays(world, peer.local) && !peer.is_waiting()
        };
        let view = |peer: &Peer| peer.commits.last().map(|last| (last.number, last.members));
        if !is_here(one) || !is_here(other) || view(one) != view(other) {
            return None;
        }
        (0..one.confirmed().min(other.confirmed()))
            .find(|frame| self.all().any(|of| one.is_idle(of, *frame) != other.is_idle(of, *frame)))
    }
}
