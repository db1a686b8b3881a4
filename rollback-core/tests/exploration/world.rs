//! Some peers and the network between them: every message that was ever sent may still arrive, or never, or again.

use std::rc::Rc;

use rollback_core::{PeerId, PeerSet, View};

use crate::explorer::Model;
use crate::lives::NEW;
use crate::peer::{Event, Message, PEERS, Peer, Status};
use crate::setting::{Sabotage, Setting};
use crate::store::{Id, QuickMap, Store};

/// All that decides what can happen next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) peers: [Id<Peer>; PEERS],
    pub(crate) sent: Id<Mail>,
    /// Peers that are there no more.
    pub(crate) gone: PeerSet,
    pub(crate) spent: Spent,
}

/// What has gone wrong so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Spent {
    pub(crate) crashes: u8,
    pub(crate) false_suspicions: u8,
    pub(crate) leaves: u8,
    pub(crate) failures: u8,
    pub(crate) kicks: u8,
    /// How often it took too long to let one in.
    pub(crate) delays: u8,
    pub(crate) returns: u8,
}

/// All that was sent and may still arrive, in order.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Mail(Vec<Sent>);

/// A message that was sent, as it arrives, and to whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Sent {
    arrival: Id<Event>,
    /// From whom, in which life.
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
    /// One that is gone begins a new life.
    Return(PeerId),
}

pub(crate) struct Explorer {
    pub(crate) setting: Setting,
    pub(crate) peers: Store<Peer>,
    pub(crate) events: Store<Event>,
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

    pub(crate) fn all(&self) -> impl Iterator<Item = PeerId> + use<> {
        PeerId::all(self.setting.peers)
    }

    pub(crate) fn peer(&self, world: World, of: PeerId) -> Rc<Peer> {
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
    pub(crate) fn after(&mut self, mut world: World, to: PeerId, event: Id<Event>) -> World {
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
    pub(crate) fn post(&mut self, sent: Id<Mail>, by: Id<Peer>) -> Id<Mail> {
        if let Some(posted) = self.posted.get(&(sent, by)) {
            return *posted;
        }
        let (mut all, peer) = (self.sents.get(sent).0.clone(), self.peers.get(by));
        for (message, to) in peer.messages() {
            let (from, to) = (peer.local, to.bits());
            let slot = Self::mail_of(from, peer.life);
            let arrival = self.events.id(match message {
                Message::Claim(claim) => Event::Claim { from, claim },
                Message::Failed => Event::Failed { from },
                Message::Left => Event::Left { from },
            });
            match all.iter_mut().find(|sent| (sent.arrival, sent.from) == (arrival, slot)) {
                Some(sent) => sent.to |= to,
                None => all.push(Sent { arrival, from: slot, to }),
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
    pub(crate) fn drop_lost(&mut self, mut world: World) -> World {
        let mut deaf = [0; 8];
        for (from, life) in self.all().flat_map(|from| [(from, 0), (from, NEW)]) {
            let at = usize::from(Self::mail_of(from, life));
            deaf[at] = self.deaf_to(world, from, life).bits();
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

    /// The peers that will never hear `from` any more in that life of its.
    fn deaf_to(&self, world: World, from: PeerId, life: u8) -> PeerSet {
        let is_deaf = |to: &PeerId| {
            let peer = self.peer(world, *to);
            let heard = peer.life_of(from);
            let is_yet_to_be_heard = heard < life;
            let is_frozen = !peer.listens_to(from) && !is_yet_to_be_heard;
            is_frozen || heard > life || world.gone.contains(*to)
        };
        self.all().filter(|to| is_deaf(to) && !self.may_return(world, *to)).collect()
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
        let told = peer.others().iter().filter(|_| !peer.is_waiting()).filter_map(|by| {
            let bodies = self.bodies(world).filter(|from| peer.hears(from));
            let said = bodies.filter(|from| peer.plays_with(from.local));
            let said = said.map(|from| from.tells(number, to, by));
            let confirmed = said.max().unwrap_or_default();
            (confirmed > peer.has_heard(by)).then_some(Event::Told { by, confirmed })
        });
        told.collect()
    }

    /// The inputs that may reach a peer next.
    fn inputs(&self, world: World, to: PeerId) -> Vec<Event> {
        let peer = self.peer(world, to);
        let mut inputs = Vec::new();
        let has_more = |by: &Peer, of: PeerId| {
            let is_same_life = by.start[of.index()] == peer.start[of.index()];
            is_same_life && by.held[of.index()] > peer.held[of.index()]
        };
        let bodies: Vec<_> = self.bodies(world).collect();
        for of in self.all().filter(|of| *of != to) {
            let has_more = |by: &Peer| has_more(by, of);
            let plays = |by: &Peer| peer.hears(by) && peer.plays_with(by.local);
            let sent = bodies.iter().filter(|by| plays(by) && has_more(by));
            if let Some(end) = sent.map(|by| by.held[of.index()]).max() {
                // Where lives begin there are more frames, and a datagram brings all of them.
                let next = peer.held[of.index()] + 1;
                let end = if self.setting.returner.is_some() { end } else { next };
                inputs.push(Event::Input { of, end, last: self.peer(world, of).own_end() });
            }
            let is_open = peer.closed[of.index()].is_none();
            if self.setting.sabotage == Some(Sabotage::Freezing)
                && is_open
                && has_more(&self.peer(world, of))
            {
                inputs.push(Event::FrozenInput { of });
            }
        }
        inputs
    }

    /// The messages that may reach a peer.
    fn arrivals(&self, world: World, to: PeerId) -> Vec<Id<Event>> {
        let sent = self.sents.get(world.sent);
        let peer = self.peer(world, to);
        let is_heard = |from: PeerId, at: u8| Self::mail_of(from, peer.life_of(from)) == at;
        let to_it = |sent: &&Sent| {
            let is_to_it = PeerSet::from_bits(sent.to).contains(to);
            is_to_it && self.all().any(|from| is_heard(from, sent.from))
        };
        sent.0.iter().filter(to_it).map(|sent| sent.arrival).collect()
    }

    /// Whether a peer hears nothing of another any more, whatever the network does.
    fn is_silent(&self, world: World, of: PeerId, to: PeerId) -> bool {
        let peer = self.peer(world, of);
        world.gone.contains(of) || !peer.hears_back(&self.peer(world, to))
    }

    /// In which views a peer that leaves may have heard others; it matters to no other.
    fn views(&self, world: World, by: PeerId) -> [u8; PEERS] {
        let mut views = [0; PEERS];
        if self.peer(world, by).own_end().is_some() {
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
    pub(crate) fn sure_events(&self, world: World, to: PeerId) -> Vec<Event> {
        let peer = self.peer(world, to);
        let View { number, members } = peer.member.view();
        let talks = |by: PeerId| {
            let sender = self.peer(world, by);
            peer.hears(&sender) && !world.gone.contains(by) && sender.hears(&peer)
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
            let is_seen = is_near(by) && peer.plays_with(by) && members.contains(by);
            let seen = if is_seen { number } else { number.wrapping_add(128) };
            let claims = self.peer(world, by).member.claims_for(seen).collect::<Vec<_>>();
            sure.extend(claims.into_iter().map(|claim| Event::Claim { from: by, claim }));
            if self.peer(world, by).status == Status::Failing {
                sure.push(Event::Failed { from: by });
            }
        }
        let is_heard = |by: &PeerId| peer.hears(&self.peer(world, *by));
        for by in self.all().filter(|by| is_heard(by) && !world.gone.contains(*by)) {
            let evicts = self.peer(world, by);
            let eviction = evicts.eviction_of(to).filter(|_| !evicts.listens_to(to));
            sure.extend(eviction.map(|claim| Event::Claim { from: by, claim }));
        }
        for event in self.inputs(world, to) {
            let Event::Input { of, .. } = event else { continue };
            let has_more = |by: PeerId| {
                let by = self.peer(world, by);
                let is_same_life = by.start[of.index()] == peer.start[of.index()];
                is_same_life && by.held[of.index()] > peer.held[of.index()]
            };
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
        let is_late = peer.may_be_late();
        sure.extend(silent.map(|(silent, _)| Event::Advance { silent, views, is_late }));
        sure.extend(self.tidings_of_lives(world, to));
        sure
    }
}

impl Model for Explorer {
    type State = World;
    type Action = Action;

    fn initial(&mut self) -> World {
        let Setting { peers, frames, known, common, returner, is_late, .. } = self.setting;
        let mut ids = Vec::new();
        for local in PeerId::all(PEERS) {
            let mut peer = Peer::new(local, peers, frames);
            for of in PeerId::all(peers) {
                let is_held = local == of || known.contains(of);
                peer.held[of.index()] = if is_held { frames } else { common };
            }
            peer.lives.are_explored = returner.is_some();
            if let Some(late) = returner.filter(|_| is_late) {
                peer.is_late(late);
            }
            ids.push(self.peers.id(peer));
        }
        let sent = self.sents.id(Mail::default());
        let peers = core::array::from_fn(|index| ids[index]);
        let gone = returner.into_iter().filter(|_| is_late).collect();
        let world = World { peers, sent, gone, spent: Spent::default() };
        self.tell(world)
    }

    fn next(&mut self, world: World, next: &mut Vec<(Action, World)>) {
        let Setting { crashes, false_suspicions, leaves, failures, kicks, delays, .. } =
            self.setting;
        self.returns(world, next);
        for to in self.all().filter(|to| !world.gone.contains(*to)) {
            let mut events = self.inputs(world, to);
            events.extend(self.tidings_of_lives(world, to));
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
                    let advance = Event::Advance { silent, views, is_late: false };
                    let event = self.events.id(advance);
                    next.push((Action::To(to, event), self.after(world, to, event)));
                }
            }
            if self.peer(world, to).may_be_late() && world.spent.delays < delays {
                let spent = Spent { delays: world.spent.delays + 1, ..world.spent };
                let (silent, views) = (PeerSet::EMPTY, self.views(world, to));
                let event = self.events.id(Event::Advance { silent, views, is_late: true });
                let after = self.after(World { spent, ..world }, to, event);
                next.push((Action::To(to, event), after));
            }
            let status = self.peer(world, to).status;
            let is_leaving = self.peer(world, to).own_end().is_some();
            if status != Status::Playing {
                next.push((Action::Go(to), self.without(world, to)));
                continue;
            }
            if world.spent.crashes < crashes {
                let spent = Spent { crashes: world.spent.crashes + 1, ..world.spent };
                next.push((Action::Crash(to), self.without(World { spent, ..world }, to)));
            }
            if self.peer(world, to).is_waiting() {
                continue;
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
            Action::Return(peer) => format!("{peer}: begins a new life"),
        }
    }
}
