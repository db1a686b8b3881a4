//! Some peers and the network between them: every message that was ever sent may still arrive, or never, or again.

use std::rc::Rc;

use rollback_core::{PeerId, PeerSet, View};

use crate::explorer::Model;
use crate::peer::{Event, Message, PEERS, Peer, Sabotage, Status};
use crate::setting::Setting;
use crate::store::{Id, QuickMap, Store};

/// All that decides what can happen next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct World {
    peers: [Id<Peer>; PEERS],
    sent: Id<Mail>,
    /// Peers that are there no more.
    gone: PeerSet,
    spent: Spent,
}

/// What has gone wrong so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Spent {
    crashes: u8,
    false_suspicions: u8,
    leaves: u8,
    failures: u8,
    kicks: u8,
}

/// All that was sent and may still arrive, in order.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Mail(Vec<Sent>);

/// A message that was sent, as it arrives, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Sent {
    arrival: Id<Event>,
    from: u8,
    to: u8,
}

/// One thing that happens.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    To(PeerId, Id<Event>),
    Crash(PeerId),
    /// One that is done goes.
    Go(PeerId),
}

pub(crate) struct Explorer {
    setting: Setting,
    peers: Store<Peer>,
    events: Store<Event>,
    sents: Store<Mail>,
    /// What was asked of the engine already.
    after: QuickMap<(Id<Peer>, Id<Event>), Id<Peer>>,
    /// What was added already to what was sent.
    posted: QuickMap<(Id<Mail>, Id<Peer>), Id<Mail>>,
    /// What is left of what was sent where some are deaf to some: a set for each sender.
    heard: QuickMap<(Id<Mail>, u64), Id<Mail>>,
}

impl Explorer {
    pub(crate) fn new(setting: Setting) -> Self {
        Self {
            setting,
            peers: Store::new(),
            events: Store::new(),
            sents: Store::new(),
            after: QuickMap::default(),
            posted: QuickMap::default(),
            heard: QuickMap::default(),
        }
    }

    fn all(&self) -> impl Iterator<Item = PeerId> + use<> {
        PeerId::all(self.setting.peers)
    }

    fn peer(&self, world: World, of: PeerId) -> Rc<Peer> {
        self.peers.get(world.peers[of.index()])
    }

    /// What becomes of a peer.
    fn peer_after(&mut self, peer: Id<Peer>, event: Id<Event>) -> Id<Peer> {
        if let Some(next) = self.after.get(&(peer, event)) {
            return *next;
        }
        let Setting { sabotage, leaves, .. } = self.setting;
        let next = self.peers.get(peer).after(*self.events.get(event), sabotage, leaves == 0);
        let next = self.peers.id(next);
        self.after.insert((peer, event), next);
        next
    }

    /// Where an event to a peer leads.
    fn after(&mut self, mut world: World, to: PeerId, event: Id<Event>) -> World {
        let peer = world.peers[to.index()];
        let next = self.peer_after(peer, event);
        if next == peer {
            return world;
        }
        world.peers[to.index()] = next;
        // A driver may have it send at any time, also before it advances.
        world.sent = self.post(world.sent, next);
        let world = self.tell(world);
        self.drop_lost(world)
    }

    /// What a peer sends may arrive from now on, in whatever order and as often as it likes.
    fn post(&mut self, sent: Id<Mail>, by: Id<Peer>) -> Id<Mail> {
        if let Some(posted) = self.posted.get(&(sent, by)) {
            return *posted;
        }
        let (mut all, peer) = (self.sents.get(sent).0.clone(), self.peers.get(by));
        for (message, to) in peer.messages() {
            let (from, to) = (peer.local, to.bits());
            let arrival = self.events.id(match message {
                Message::Claim(claim) => Event::Claim { from, claim },
                Message::Failed => Event::Failed { from },
                Message::Left => Event::Left { from },
            });
            match all.iter_mut().find(|sent| sent.arrival == arrival) {
                Some(sent) => sent.to |= to,
                None => all.push(Sent { arrival, from: from.slot(), to }),
            }
        }
        all.sort();
        let posted = self.sents.id(Mail(all));
        self.posted.insert((sent, by), posted);
        posted
    }

    /// Where a peer goes.
    fn without(&mut self, mut world: World, peer: PeerId) -> World {
        let ghost = self.peer(world, peer).ghost();
        world.peers[peer.index()] = self.peers.id(ghost);
        world.gone.insert(peer);
        self.drop_lost(world)
    }

    /// Forgets what nobody will ever hear.
    fn drop_lost(&mut self, mut world: World) -> World {
        let mut deaf = [0; 8];
        for (from, deaf) in self.all().zip(&mut deaf) {
            *deaf = self.deaf_to(world, from).bits();
        }
        let key = (world.sent, u64::from_le_bytes(deaf));
        if let Some(sent) = self.heard.get(&key).copied() {
            return World { sent, ..world };
        }
        let mut all = self.sents.get(world.sent).0.clone();
        for sent in &mut all {
            sent.to &= !deaf[usize::from(sent.from)];
        }
        all.retain(|sent| sent.to != 0);
        world.sent = self.sents.id(Mail(all));
        self.heard.insert(key, world.sent);
        world
    }

    /// The peers that will never hear `from` any more.
    fn deaf_to(&self, world: World, from: PeerId) -> PeerSet {
        let is_deaf =
            |to: &PeerId| world.gone.contains(*to) || !self.peer(world, *to).listens_to(from);
        self.all().filter(is_deaf).collect()
    }

    /// Where nobody leaves, hearing early how far others have confirmed can only make more frames stable, and so more
    /// promises: then everything is heard at once, and the worlds in which it is not need no visit.
    fn tell(&mut self, mut world: World) -> World {
        if self.setting.leaves > 0 {
            return world;
        }
        for to in self.all().filter(|to| !world.gone.contains(*to)) {
            for event in self.tidings(world, to) {
                let event = self.events.id(event);
                world.peers[to.index()] = self.peer_after(world.peers[to.index()], event);
            }
        }
        world
    }

    /// What a peer may hear of how far others have confirmed.
    fn tidings(&self, world: World, to: PeerId) -> Vec<Event> {
        let peer = self.peer(world, to);
        let number = peer.member.view().number;
        let told = peer.others().iter().filter_map(|by| {
            let senders = self.all().filter(|from| peer.listens_to(*from));
            let said = senders.map(|from| self.peer(world, from).tells(number, to, by));
            let confirmed = said.max().unwrap_or_default();
            (confirmed > peer.has_heard(by)).then_some(Event::Told { by, confirmed })
        });
        told.collect()
    }

    /// The inputs that may reach a peer next.
    fn inputs(&self, world: World, to: PeerId) -> Vec<Event> {
        let peer = self.peer(world, to);
        let mut inputs = Vec::new();
        for of in self.all().filter(|of| *of != to) {
            let has_more =
                |by: PeerId| self.peer(world, by).held[of.index()] > peer.held[of.index()];
            if self.all().any(|by| peer.listens_to(by) && has_more(by)) {
                inputs.push(Event::Input { of, last: self.peer(world, of).closed[of.index()] });
            }
            let is_open = peer.closed[of.index()].is_none();
            if self.setting.sabotage == Some(Sabotage::Freezing) && has_more(of) && is_open {
                inputs.push(Event::FrozenInput { of });
            }
        }
        inputs
    }

    /// The messages that may reach a peer.
    fn arrivals(&self, world: World, to: PeerId) -> Vec<Id<Event>> {
        let sent = self.sents.get(world.sent);
        let to_it = |sent: &&Sent| PeerSet::from_bits(sent.to).contains(to);
        sent.0.iter().filter(to_it).map(|sent| sent.arrival).collect()
    }

    /// Whether a peer hears nothing of another any more, whatever the network does.
    fn is_silent(&self, world: World, of: PeerId, to: PeerId) -> bool {
        world.gone.contains(of) || !self.peer(world, of).listens_to(to)
    }

    /// In which views a peer that leaves may have heard others; it matters to no other.
    fn views(&self, world: World, by: PeerId) -> [u8; PEERS] {
        let mut views = [0; PEERS];
        if self.peer(world, by).closed[by.index()].is_some() {
            self.all().for_each(|of| views[of.index()] = self.peer(world, of).view_number());
        }
        views
    }

    /// Whom a peer may suspect, and how many of these are there all the same.
    fn suspicions(&self, world: World, by: PeerId) -> Vec<(PeerSet, u8)> {
        let peer = self.peer(world, by);
        let suspects = peer.others().minus(peer.member.departing());
        let subsets = (0..=suspects.bits()).filter(|bits| bits & !suspects.bits() == 0);
        let counted = subsets.map(PeerSet::from_bits).map(|silent| {
            let false_ones = silent.iter().filter(|of| !self.is_silent(world, *of, by)).count();
            (silent, u8::try_from(false_ones).unwrap())
        });
        counted.collect()
    }

    /// What goes on by itself once nothing goes wrong any more: what is sent arrives, and who is silent is suspected.
    fn sure_events(&self, world: World, to: PeerId) -> Vec<Event> {
        let peer = self.peer(world, to);
        let View { number, members } = peer.member.view();
        let talks = |by: PeerId| {
            peer.listens_to(by) && !world.gone.contains(by) && self.peer(world, by).listens_to(to)
        };
        let is_near = |by: PeerId| self.peer(world, by).member.view().number.abs_diff(number) <= 1;
        let sends_inputs = |by: PeerId| {
            let sender = self.peer(world, by);
            // One that has left in order is still told how far others have confirmed.
            let is_due = sender.member.view().members.contains(to) || sender.knows_leave_of(to);
            talks(by) && is_near(by) && is_due
        };
        let mut sure = Vec::new();
        for by in self.all().filter(|by| talks(*by)) {
            // In what view a member is, its inputs tell, where they are understood.
            let seen = if is_near(by) { number } else { number.wrapping_add(128) };
            let claims = self.peer(world, by).member.claims_for(seen).collect::<Vec<_>>();
            sure.extend(claims.into_iter().map(|claim| Event::Claim { from: by, claim }));
            if self.peer(world, by).status == Status::Failing {
                sure.push(Event::Failed { from: by });
            }
        }
        for by in self.all().filter(|by| peer.listens_to(*by) && !world.gone.contains(*by)) {
            let evicts = self.peer(world, by);
            let eviction = evicts.member.eviction_of(to).filter(|_| !evicts.listens_to(to));
            sure.extend(eviction.map(|claim| Event::Claim { from: by, claim }));
        }
        for event in self.inputs(world, to) {
            let Event::Input { of, .. } = event else { continue };
            let has_more =
                |by: PeerId| self.peer(world, by).held[of.index()] > peer.held[of.index()];
            let is_sent =
                |by: PeerId| sends_inputs(by) && has_more(by) && (by == of || peer.wants(of));
            if self.all().any(is_sent) {
                sure.push(event);
            }
        }
        for event in self.tidings(world, to) {
            let Event::Told { by, .. } = event else { continue };
            let is_same = self.peer(world, by).member.view().number == number;
            // What it hears through others is only sure where it asks for it.
            if is_same && members.contains(by) && sends_inputs(by) {
                sure.push(event);
            }
        }
        let silent =
            self.suspicions(world, to).into_iter().filter(|(_, false_ones)| *false_ones == 0);
        let views = self.views(world, to);
        sure.extend(silent.map(|(silent, _)| Event::Advance { silent, views }));
        sure
    }

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
    fn apart(&self, world: World) -> Option<String> {
        let peers: Vec<_> = self.all().map(|of| self.peer(world, of)).collect();
        let has_left = |of: &PeerId| peers[of.index()].closed[of.index()].is_some();
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
                    if stayed.any(|of| ours.goes_as(of) != theirs.goes_as(of)) {
                        return Some(format!("{a} and {b} committed {ours:?} and {theirs:?}"));
                    }
                }
                for frame in 0..one.stable.min(other.stable) {
                    let is_idle = |at: &Peer, of: PeerId| {
                        at.closed[of.index()].is_some_and(|closed| frame >= closed)
                    };
                    if self.all().any(|of| is_idle(one, of) != is_idle(other, of)) {
                        return Some(format!(
                            "frame {frame} is stable for {a} and {b}, and not the same"
                        ));
                    }
                }
            }
        }
        None
    }

    /// The promises about what comes of it all.
    fn unsettled(&mut self, world: World) -> Option<String> {
        if !self.is_settled(world) {
            return None;
        }
        let here: PeerSet = self.all().filter(|of| !world.gone.contains(*of)).collect();
        for of in here.iter() {
            let peer = self.peer(world, of);
            if !peer.member.departing().is_empty() || peer.member.view().members != here {
                return Some(format!("{of} waits for ever in {:?}", peer.member.view()));
            }
            if peer.confirmed() < peer.held[of.index()] {
                return Some(format!("{of} waits for ever for inputs of others"));
            }
        }
        let all = PeerSet::first(self.setting.peers);
        let can_go_on = View::initial(all).has_quorum(all.minus(world.gone));
        let is_told_truth = world.spent.false_suspicions + world.spent.kicks == 0;
        if here.is_empty() && is_told_truth && can_go_on {
            return Some("nobody goes on".into());
        }
        None
    }
}

impl Model for Explorer {
    type State = World;
    type Action = Action;

    fn initial(&mut self) -> World {
        let Setting { peers, frames, known, .. } = self.setting;
        let mut ids = Vec::new();
        for local in PeerId::all(PEERS) {
            let mut peer = Peer::new(local, peers, frames);
            known.iter().for_each(|of| peer.held[of.index()] = frames);
            ids.push(self.peers.id(peer));
        }
        let sent = self.sents.id(Mail::default());
        let peers = core::array::from_fn(|index| ids[index]);
        let world = World { peers, sent, gone: PeerSet::EMPTY, spent: Spent::default() };
        self.tell(world)
    }

    fn next(&mut self, world: World, next: &mut Vec<(Action, World)>) {
        let Setting { crashes, false_suspicions, leaves, failures, kicks, .. } = self.setting;
        for to in self.all().filter(|to| !world.gone.contains(*to)) {
            let mut events = self.inputs(world, to);
            if leaves > 0 {
                events.extend(self.tidings(world, to));
            }
            let arrivals = self.arrivals(world, to);
            let events: Vec<_> = events.into_iter().map(|event| self.events.id(event)).collect();
            for event in arrivals.into_iter().chain(events) {
                next.push((Action::To(to, event), self.after(world, to, event)));
            }
            for (silent, false_ones) in self.suspicions(world, to) {
                let mut world = world;
                world.spent.false_suspicions += false_ones;
                if world.spent.false_suspicions <= false_suspicions {
                    let views = self.views(world, to);
                    let event = self.events.id(Event::Advance { silent, views });
                    next.push((Action::To(to, event), self.after(world, to, event)));
                }
            }
            let status = self.peer(world, to).status;
            let is_leaving = self.peer(world, to).closed[to.index()].is_some();
            if status != Status::Playing {
                next.push((Action::Go(to), self.without(world, to)));
                continue;
            }
            if world.spent.crashes < crashes {
                let spent = Spent { crashes: world.spent.crashes + 1, ..world.spent };
                next.push((Action::Crash(to), self.without(World { spent, ..world }, to)));
            }
            let others = self.peer(world, to).others();
            for peer in others.iter().filter(|_| world.spent.kicks < kicks) {
                let spent = Spent { kicks: world.spent.kicks + 1, ..world.spent };
                let event = self.events.id(Event::Kick { peer });
                let after = self.after(World { spent, ..world }, to, event);
                next.push((Action::To(to, event), after));
            }
            if world.spent.leaves < leaves && !is_leaving {
                let spent = Spent { leaves: world.spent.leaves + 1, ..world.spent };
                let event = self.events.id(Event::Leave);
                let after = self.after(World { spent, ..world }, to, event);
                next.push((Action::To(to, event), after));
            }
            if world.spent.failures < failures {
                let spent = Spent { failures: world.spent.failures + 1, ..world.spent };
                let event = self.events.id(Event::Fail);
                let after = self.after(World { spent, ..world }, to, event);
                next.push((Action::To(to, event), after));
            }
        }
    }

    fn broken(&mut self, world: World) -> Option<String> {
        self.apart(world).or_else(|| self.unsettled(world))
    }

    fn describe(&self, action: Action) -> String {
        match action {
            Action::To(to, event) => format!("{to}: {:?}", self.events.get(event)),
            Action::Crash(peer) => format!("{peer}: crashes"),
            Action::Go(peer) => format!("{peer}: goes"),
        }
    }
}
