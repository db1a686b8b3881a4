//! One who watches a simulation: a real spectator with its game, its driver, and bad paths to its hosts.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::clock::{PeerClock, TrueTime};
use super::network::Network;
use super::observed::Observed;
use super::oracle::{Oracle, Violation};
use super::random::Random;
use super::world::Setting;
use crate::session::Sabotage;
use crate::spectate::{FeedLimits, HostId, Spectator, SpectatorOptions, Watched, WatcherId};
use crate::{End, Frame, Game, PeerId, Timestamp};

/// One who watches.
pub(super) struct Watcher<G: Game> {
    pub(super) spectator: Spectator,
    pub(super) game: Observed<G>,
    pub(super) ended: Option<End>,
    pub(super) error: Option<String>,
    pub(super) dies: Option<TrueTime>,
    pub(super) clock: PeerClock,
    pub(super) wakes: TrueTime,
    pub(super) period_micros: u64,
    /// Its driver is told of hosts that are gone, and of those that come back.
    pub(super) is_told: bool,
    pub(super) paths: Vec<Path>,
    /// What others that watch send it, as they are fed from here.
    pub(super) asked: Vec<(WatcherId, Vec<u8>)>,
    /// It has asked whoever watches, too.
    pub(super) was_relayed: bool,
    pub(super) joined_at: Option<Frame>,
}

/// Where one may be fed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Member(PeerId),
    Watcher(usize),
}

/// The ways to a host and back.
pub(super) struct Path {
    pub(super) host: Place,
    pub(super) up: Network,
    pub(super) down: Network,
    pub(super) outage: Option<(TrueTime, u64)>,
    /// What came down in the second that began then.
    pub(super) second: (TrueTime, usize),
}

impl<G: Game<Error: Debug>> Watcher<G> {
    /// As a seed draws it.
    pub(super) fn drawn(
        setting: &Setting,
        random: &mut Random,
        number: usize,
        count: usize,
        game: G,
        relay: FeedLimits,
    ) -> Self {
        let Setting { seed, config, roster, faults, frames, .. } = setting;
        let peers = roster.peer_count();
        let lasts_ms = frames * 1000 / u32::from(config.tick_rate_hz());
        let wakes = TrueTime::from_millis(random.between(0, lasts_ms).into());
        let mut hosts: Vec<Place> = PeerId::all(peers).map(Place::Member).collect();
        hosts.extend((0..count).filter(|other| *other != number).map(Place::Watcher));
        let wanted = random.between(1, 3);
        let mut chosen = Vec::new();
        for _ in 0..wanted {
            // Every other choice is one of those who watch, where there are any.
            let (first, end) = match random.chance(400) && count > 1 {
                true => (peers, hosts.len()),
                false => (0, peers),
            };
            let span = u32::try_from(end - first).unwrap_or_default();
            let host = hosts.get(first + random.below(span) as usize).copied();
            chosen.extend(host.filter(|host| !chosen.contains(host)));
        }
        let options = SpectatorOptions {
            delay_frames: random.below(10),
            catch_up_frames: random.between(1, 8),
            relay,
        };
        let mut path = |host| {
            let at = wakes.plus_millis(random.between(200, lasts_ms.max(200)).into());
            let lasts = u64::from(random.between(200, OUTAGE_MAX_MS));
            let mut network = |stream| {
                Network::new(faults, Random::new(*seed, stream + u64::from(random.next_u32())))
            };
            Path {
                host,
                up: network(STREAM_PATHS),
                down: network(STREAM_PATHS),
                outage: random.chance(400).then_some((at, lasts)),
                second: (TrueTime::ZERO, 0),
            }
        };
        let paths: Vec<Path> = chosen.iter().map(|host| path(*host)).collect();
        let mut spectator = Spectator::new(*seed, 0, options);
        for host in &chosen {
            spectator.add_host(id_of(*host));
        }
        let skew = i32::try_from(random.below(2_000)).unwrap_or_default() - 1_000;
        let offset = u64::from(random.below(faults.clock_offset_max_ms)) * 1000;
        let dies = wakes.plus_millis(random.between(1_000, lasts_ms.max(1_000)).into());
        Self {
            spectator,
            game: Observed::new(game),
            ended: None,
            error: None,
            dies: random.chance(150).then_some(dies),
            clock: PeerClock::new(offset, skew),
            wakes,
            period_micros: 1_000_000 / u64::from(config.tick_rate_hz()),
            is_told: random.chance(500),
            paths,
            asked: Vec::new(),
            was_relayed: false,
            joined_at: None,
        }
    }

    pub(super) fn is_dead(&self, now: TrueTime) -> bool {
        self.dies.is_some_and(|dies| now >= dies)
    }

    /// How many datagrams to and from its hosts were lost.
    pub(super) fn lost(&self) -> u64 {
        let counts = self.paths.iter().flat_map(|path| [&path.up.counts, &path.down.counts]);
        counts.map(|counts| counts.lost + counts.lost_in_bursts + counts.partitioned).sum()
    }

    pub(super) fn take_in(&mut self, now: TrueTime, local: Timestamp, sabotage: Option<Sabotage>) {
        for path in &mut self.paths {
            while let Some(arrived) = path.down.poll_arrival(now) {
                self.spectator.handle_datagram(local, id_of(path.host), &arrived.bytes);
            }
        }
        for (from, bytes) in self.asked.drain(..) {
            self.spectator.handle_watcher(local, from, &bytes);
        }
        if sabotage == Some(Sabotage::HostChange) {
            self.spectator.stay_with_first_host();
        }
    }

    pub(super) fn step(&mut self) -> Result<(), Violation> {
        let before = self.spectator.current_frame();
        match self.spectator.advance(&mut self.game) {
            Ok(Watched::Ended(end)) => self.ended = Some(end),
            Ok(Watched::Waiting) => self.ended = None,
            Ok(Watched::Stepped { frames }) => {
                self.ended = None;
                let stepped = self.spectator.current_frame().since(before);
                if stepped != frames {
                    let detail = format!("{frames} frames said, {stepped} stepped");
                    return Err(Violation::at(Oracle::Watching, before, detail));
                }
            }
            Err(error) => {
                self.error.get_or_insert(format!("{error:?}"));
            }
        }
        self.game.take_violation().map_or(Ok(()), Err)
    }

    /// Sends what is due to its hosts, and answers what is to go to those who are fed from here.
    pub(super) fn give_out(
        &mut self,
        now: TrueTime,
        local: Timestamp,
        index: usize,
    ) -> Result<Vec<(Place, WatcherId, Vec<u8>)>, Violation> {
        let (mut bytes, mut down, mut sent) = (Vec::new(), Vec::new(), 0);
        for path in &mut self.paths {
            let outage = path.outage.filter(|(at, _)| *at <= now);
            if let (Some((_, lasts_ms)), Some(way)) = (outage, PeerId::new(0)) {
                path.up.mute(way, way, now.plus_millis(lasts_ms));
                path.down.mute(way, way, now.plus_millis(lasts_ms));
                path.outage = None;
            }
        }
        while let Some(to) = self.spectator.poll_datagram(local, &mut bytes) {
            sent += 1;
            let path = self.paths.iter_mut().find(|path| id_of(path.host) == to);
            let Some((path, way)) = path.zip(PeerId::new(0)) else { continue };
            self.was_relayed |=
                matches!(path.host, Place::Watcher(_)) && self.spectator.fed_by() == Some(to);
            path.up.send(now, way, way, &bytes);
            if sent > 2 * self.paths.len() {
                let detail = format!("{sent} datagrams to {} hosts at once", self.paths.len());
                return Err(Violation::new(Oracle::Bounds, detail));
            }
        }
        while let Some(to) = self.spectator.poll_watcher(local, &mut bytes) {
            down.push((Place::Watcher(index), to, bytes.clone()));
        }
        Ok(down)
    }
}

pub(super) fn id_of(host: Place) -> HostId {
    match host {
        Place::Member(peer) => HostId(peer.slot().into()),
        Place::Watcher(index) => HostId(100 + index as u64),
    }
}

/// How long a way to a host is broken at most.
const OUTAGE_MAX_MS: u32 = 4_000;

const STREAM_PATHS: u64 = 1 << 40;
