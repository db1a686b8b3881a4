//! Those who watch a simulation: real spectators with games of their own, fed by members and by each other over bad paths.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::clock::TrueTime;
use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::random::Random;
use super::watcher::{Place, Watcher, id_of};
use super::world::{Broken, Setting, World};
use crate::recording::RecordingHeader;
use crate::session::Sabotage;
use crate::spectate::{Feed, FeedLimits, WatcherId};
use crate::{End, Frame, Game, PEERS_MAX, PeerId, StateHash, StateHasher};

/// All who watch, and what the members show them.
pub(crate) struct Gallery<G: Game> {
    pub(super) watchers: Vec<Watcher<G>>,
    /// By the peer's slot.
    feeds: Vec<Option<MemberFeed>>,
    header: Option<RecordingHeader>,
    pub(super) limits: FeedLimits,
    sabotage: Option<Sabotage>,
    /// When all must have seen all, once nothing goes wrong any more and the members are done.
    deadline: Option<TrueTime>,
    is_healed: bool,
}

/// What a member shows.
struct MemberFeed {
    incarnation: u8,
    feed: Feed,
    shown: usize,
    is_finished: bool,
}

impl<G: Game<Error: Debug>> Gallery<G> {
    /// Nobody, until they are drawn.
    pub(crate) fn empty() -> Self {
        Self {
            watchers: Vec::new(),
            feeds: (0..PEERS_MAX).map(|_| None).collect(),
            header: None,
            limits: FeedLimits::default(),
            sabotage: None,
            deadline: None,
            is_healed: false,
        }
    }

    /// As many as the setting says.
    pub(crate) fn drawn(setting: &Setting, make: impl Fn() -> G) -> Self {
        let Setting { seed, config, roster, faults, .. } = setting;
        let mut gallery = Self::empty();
        let mut random = Random::new(*seed, STREAM_GALLERY);
        let count = faults.spectators as usize;
        if count == 0 {
            return gallery;
        }
        gallery.sabotage = setting.sabotage;
        let rate = random.one_of(&[4 << 10, 16 << 10, 64 << 10]).unwrap_or(64 << 10);
        gallery.limits = FeedLimits { bytes_per_second: rate, ..FeedLimits::default() };
        let peers = roster.peer_count();
        gallery.header = Some(RecordingHeader {
            session: *seed,
            episode: 0,
            seed: *seed,
            config: config.clone(),
            roster: roster.clone(),
            participants: PeerId::all(peers).map(|peer| format!("{peer}")).collect(),
            must_match: Vec::new(),
            may_differ: alloc::vec![Vec::new(); peers],
            start_hash: start_hash(&make()),
        });
        for number in 0..count {
            let watcher =
                Watcher::drawn(setting, &mut random, number, count, make(), gallery.limits);
            gallery.watchers.push(watcher);
        }
        gallery
    }

    /// What the members agreed on before the first frame, where anybody watches.
    pub(super) fn header(&self) -> Option<&RecordingHeader> {
        self.header.as_ref()
    }

    /// The end on which members agree, where one shows it.
    pub(super) fn any_agreed_end(&self) -> Option<End> {
        self.feeds.iter().flatten().find_map(|shown| shown.feed.agreed_end())
    }

    /// From now on nothing goes wrong by chance.
    pub(crate) fn heal(&mut self) {
        self.is_healed = true;
        for path in self.watchers.iter_mut().flat_map(|watcher| &mut watcher.paths) {
            path.up.heal();
            path.down.heal();
            path.outage = None;
        }
    }

    /// When somebody wakes next; never when all have seen all.
    pub(crate) fn wakes_at(&self, now: TrueTime) -> Option<TrueTime> {
        if self.deadline.is_some_and(|at| now > at || self.are_all_served(now)) {
            return None;
        }
        let alive = self.watchers.iter().filter(|watcher| !watcher.is_dead(watcher.wakes));
        alive.map(|watcher| watcher.wakes).min()
    }

    /// Whether each has what its hosts have.
    pub(super) fn are_all_served(&self, now: TrueTime) -> bool {
        (0..self.watchers.len()).all(|index| self.unserved(now, index).is_none())
    }

    /// What a spectator should have seen and has not.
    pub(super) fn unserved(&self, now: TrueTime, index: usize) -> Option<String> {
        let watcher = self.watchers.get(index)?;
        if watcher.is_dead(now.max(watcher.wakes)) {
            return None;
        }
        let end = self.agreed_end(now, index, &mut BTreeSet::new());
        let hosts = watcher.paths.iter().map(|path| self.frames_of(now, path.host));
        let most = hosts.max().unwrap_or_default();
        let came = watcher.spectator.frames();
        match (end, watcher.ended) {
            (None, _) if came >= most => None,
            (Some(end), Some(seen)) if end == seen && came >= end.frame => None,
            _ => Some(format!(
                "it has {came} of {most} frames and saw {:?}; its hosts {end:?}; fed by {:?}",
                watcher.ended,
                watcher.spectator.fed_by(),
            )),
        }
    }

    /// The end that a spectator can hear of, from its hosts or through them.
    fn agreed_end(&self, now: TrueTime, index: usize, seen: &mut BTreeSet<usize>) -> Option<End> {
        let watcher = self.watchers.get(index).filter(|watcher| !watcher.is_dead(now))?;
        if !seen.insert(index) {
            return None;
        }
        watcher.paths.iter().find_map(|path| match path.host {
            Place::Member(peer) => self.feeds.get(peer.index())?.as_ref()?.feed.agreed_end(),
            Place::Watcher(other) => self.agreed_end(now, other, seen),
        })
    }

    fn frames_of(&self, now: TrueTime, host: Place) -> Frame {
        let frames = match host {
            Place::Member(peer) => self
                .feeds
                .get(peer.index())
                .and_then(|shown| Some(Frame::new(u32::try_from(shown.as_ref()?.shown).ok()?))),
            Place::Watcher(index) => {
                let watcher = self.watchers.get(index).filter(|watcher| !watcher.is_dead(now));
                watcher.map(|watcher| watcher.spectator.frames())
            }
        };
        frames.unwrap_or_default()
    }

    /// The members show what has become stable for them.
    fn update_feeds(&mut self, nodes: &[Node<G>]) {
        let Some(header) = &self.header else { return };
        for node in nodes {
            let Some(slot) = self.feeds.get_mut(node.peer.index()) else { continue };
            let incarnation = node.incarnation();
            if node.is_crashed() {
                *slot = None;
                continue;
            }
            if slot.as_ref().is_none_or(|shown| shown.incarnation != incarnation) {
                let feed = Feed::new(header, node.peer, self.limits).ok();
                *slot =
                    feed.map(|feed| MemberFeed { incarnation, feed, shown: 0, is_finished: false });
            }
            let Some(shown) = slot else { continue };
            for row in node.log.rows().iter().skip(shown.shown) {
                shown.shown += usize::from(shown.feed.push(&row.as_stable()));
            }
            if let Some(end) = node.end().filter(|_| !shown.is_finished) {
                shown.is_finished = shown.feed.finish(end);
            }
        }
    }

    /// Carries what the hosts are sent and send.
    fn carry(&mut self, now: TrueTime, nodes: &[Node<G>]) -> Result<(), Violation> {
        let mut bytes = Vec::new();
        let mut down = Vec::new();
        for index in 0..self.watchers.len() {
            let Some(watcher) = self.watchers.get_mut(index) else { break };
            let from = WatcherId(index as u64);
            let mut relayed = Vec::new();
            for path in &mut watcher.paths {
                while let Some(arrived) = path.up.poll_arrival(now) {
                    match path.host {
                        Place::Watcher(host) => relayed.push((host, arrived.bytes)),
                        Place::Member(peer) => {
                            let node = nodes.iter().find(|node| node.peer == peer);
                            let node = node.filter(|node| !node.is_busy(now));
                            let shown = self.feeds.get_mut(peer.index()).and_then(Option::as_mut);
                            if let (Some(node), Some(shown)) = (node, shown) {
                                let local = node.clock.read(now);
                                shown.feed.handle_datagram(local, from, &arrived.bytes);
                            }
                        }
                    }
                }
            }
            for (host, bytes) in relayed {
                let host = self.watchers.get_mut(host);
                if let Some(host) = host.filter(|host| !host.is_dead(now)) {
                    host.asked.push((from, bytes));
                }
            }
        }
        for node in nodes.iter().filter(|node| !node.is_busy(now)) {
            let shown = self.feeds.get_mut(node.peer.index()).and_then(Option::as_mut);
            let Some(shown) = shown else { continue };
            let local = node.clock.read(now);
            while let Some(to) = shown.feed.poll_datagram(local, &mut bytes) {
                down.push((Place::Member(node.peer), to, bytes.clone()));
            }
        }
        self.send_down(now, down)
    }

    /// The most that a host may send to each.
    fn bytes_per_second(&self) -> usize {
        let config = self.header.as_ref().map(|header| &header.config);
        config.map_or(0, |config| self.limits.bytes_per_second_of(config) as usize)
    }

    fn send_down(
        &mut self,
        now: TrueTime,
        sent: Vec<(Place, WatcherId, Vec<u8>)>,
    ) -> Result<(), Violation> {
        let rate = self.bytes_per_second();
        for (host, to, bytes) in sent {
            let watcher = usize::try_from(to.0).ok().and_then(|to| self.watchers.get_mut(to));
            let path =
                watcher.and_then(|watcher| watcher.paths.iter_mut().find(|path| path.host == host));
            let Some((path, way)) = path.zip(PeerId::new(0)) else { continue };
            if now.since(path.second.0) >= core::time::Duration::from_secs(1) {
                path.second = (now, 0);
            }
            // What a piece costs is its bytes of the stream; each has a head of nine.
            path.second.1 += bytes.len().saturating_sub(HEAD_BYTES);
            if path.second.1 > rate * 11 / 10 + rate / 4 + BURST_BYTES
                || bytes.len() > HEAD_BYTES + PIECE_BYTES
            {
                let detail = format!("{:?} sent {} bytes in a second", host, path.second.1);
                return Err(Violation::new(Oracle::Bounds, detail));
            }
            path.down.send(now, way, way, &bytes);
        }
        Ok(())
    }

    /// A spectator's driver wakes.
    fn wake(&mut self, now: TrueTime, index: usize, nodes: &[Node<G>]) -> Result<(), Violation> {
        let is_gone: Vec<bool> = self.watchers.get(index).map_or_else(Vec::new, |watcher| {
            watcher.paths.iter().map(|path| self.is_gone(now, path.host, nodes)).collect()
        });
        let played = nodes.iter().map(|node| node.log.rows().len()).max().unwrap_or_default();
        let sabotage = self.sabotage;
        let stays = sabotage == Some(Sabotage::HostChange);
        let Some(watcher) = self.watchers.get_mut(index) else { return Ok(()) };
        watcher.wakes = now.plus_micros(watcher.period_micros);
        let local = watcher.clock.read(now);
        watcher.joined_at.get_or_insert(Frame::new(u32::try_from(played).unwrap_or(u32::MAX)));
        for (path, is_gone) in
            watcher.paths.iter().zip(is_gone).filter(|_| watcher.is_told && !stays)
        {
            match is_gone {
                true => watcher.spectator.remove_host(id_of(path.host)),
                false => drop(watcher.spectator.add_host(id_of(path.host))),
            }
        }
        watcher.take_in(now, local, sabotage);
        watcher.step()?;
        let down = watcher.give_out(now, local, index)?;
        self.send_down(now, down)
    }

    fn is_gone(&self, now: TrueTime, host: Place, nodes: &[Node<G>]) -> bool {
        match host {
            Place::Member(peer) => nodes.iter().any(|node| node.peer == peer && node.is_crashed()),
            Place::Watcher(index) => {
                self.watchers.get(index).is_none_or(|watcher| watcher.is_dead(now))
            }
        }
    }
}

impl<G: Game<Error: Debug>> World<'_, G> {
    /// Lets those watch whose time has come.
    pub(super) fn show(&mut self) -> Result<(), Broken> {
        let due = |watcher: &Watcher<G>| watcher.wakes <= self.now && !watcher.is_dead(self.now);
        let due: Vec<usize> =
            (0..).zip(&self.gallery.watchers).filter(|(_, w)| due(w)).map(|(i, _)| i).collect();
        if due.is_empty() {
            return Ok(());
        }
        self.gallery.update_feeds(&self.nodes);
        self.gallery.carry(self.now, &self.nodes).map_err(|violation| (None, violation))?;
        let nodes = self.nodes.iter().chain(&self.former);
        let stable = nodes.map(|node| node.log.rows().len()).max().unwrap_or_default();
        for index in due {
            self.gallery
                .wake(self.now, index, &self.nodes)
                .map_err(|violation| (None, violation))?;
            let watcher = self.gallery.watchers.get(index);
            let came = watcher.map(|watcher| watcher.spectator.frames()).unwrap_or_default();
            if came.index() as usize > stable {
                let detail = format!("spectator {index} has {came} frames of {stable}");
                return Err((None, Violation::at(Oracle::Watching, came, detail)));
            }
        }
        if self.are_members_done() && self.gallery.is_healed {
            let config = &self.setting.config;
            let row = config.players() * config.input_width() + BYTES_PER_ROW_MAX;
            let (bytes, rate) = (stable * row, self.gallery.bytes_per_second());
            let millis = SEEN_WITHIN_MS + (bytes * 3 * 1000 / rate) as u64;
            self.gallery.deadline.get_or_insert(self.now.plus_millis(millis));
        }
        Ok(())
    }
}

fn start_hash<G: Game>(game: &G) -> StateHash {
    let (mut slot, mut hasher) = (G::Snapshot::default(), StateHasher::new());
    // A game that cannot be saved at the start has no simulation either.
    let _ = game.save(&mut slot).and_then(|()| game.hash(&slot, &mut hasher));
    hasher.finish()
}

/// A datagram of watching: its head, and the longest piece.
const HEAD_BYTES: usize = 9;
const PIECE_BYTES: usize = 1_000;

/// Two pieces may always come at once, and what hosts have is told a few times a second.
const BURST_BYTES: usize = 2 * PIECE_BYTES + 200;

/// No row of what is simulated is longer.
const BYTES_PER_ROW_MAX: usize = 256;

/// Within this, and three times what the stream takes at its rate, all have seen all.
const SEEN_WITHIN_MS: u64 = 30_000;

const STREAM_GALLERY: u64 = 4_000;
