//! Members that show what was played, those who watch, and bad paths between them.

use rollback_core::recording::{RecordedFrame, RecordingHeader};
use rollback_core::spectate::{
    Feed, FeedLimits, HostId, Spectator, SpectatorOptions, Watched, WatcherId,
};
use rollback_core::testing::{Random, Report};
use rollback_core::{End, Frame, PeerId, Roster, SessionConfig, Timestamp};

use crate::games::Arena;
use crate::{good_network, plays};

pub(crate) const SESSION: u64 = 77;
pub(crate) const TICK_MS: u64 = 16;

/// One way from here to there, on which datagrams are late and get lost.
struct Way {
    random: Random,
    under_way: Vec<(u64, Vec<u8>)>,
}

impl Way {
    fn new(stream: u64) -> Self {
        Self { random: Random::new(5, stream), under_way: Vec::new() }
    }

    fn send(&mut self, now_ms: u64, loss_per_mille: u32, bytes: &[u8]) {
        if !self.random.chance(loss_per_mille) {
            let at = now_ms + DELAY_MS + u64::from(self.random.below(30));
            self.under_way.push((at, bytes.to_vec()));
        }
    }

    /// What has arrived, in whatever order.
    fn arrived(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let (arrived, rest) = self.under_way.drain(..).partition(|(at, _)| *at <= now_ms);
        let arrived: Vec<_> = arrived;
        self.under_way = rest;
        arrived.into_iter().map(|(_, bytes)| bytes).collect()
    }
}

/// By whom one may be fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Host {
    Member(usize),
    Seat(usize),
}

impl Host {
    pub(crate) fn id(self) -> HostId {
        match self {
            Self::Member(index) => HostId(index as u64),
            Self::Seat(index) => HostId(100 + index as u64),
        }
    }
}

/// A spectator with its game, and its paths to its hosts.
pub(crate) struct Seat {
    pub(crate) spectator: Spectator,
    game: Arena,
    loss_per_mille: u32,
    joins_at_ms: u64,
    paths: Vec<(Host, Way, Way)>,
    pub(crate) ended: Option<End>,
    pub(crate) lag_at_end_of_play: u32,
}

impl Seat {
    pub(crate) fn new(
        number: u64,
        joins_at_ms: u64,
        loss_per_mille: u32,
        hosts: impl IntoIterator<Item = Host>,
    ) -> Self {
        let mut spectator = Spectator::new(SESSION, 0, SpectatorOptions::default());
        let hosts = hosts.into_iter().enumerate();
        let mut path = |(index, host): (usize, Host)| {
            assert!(spectator.add_host(host.id()));
            let stream = 100 * number + 2 * index as u64;
            (host, Way::new(stream), Way::new(stream + 1))
        };
        Self {
            paths: hosts.map(&mut path).collect(),
            spectator,
            game: Arena::endless(),
            loss_per_mille,
            joins_at_ms,
            ended: None,
            lag_at_end_of_play: 0,
        }
    }
}

/// A member's feed, and what befalls it.
pub(crate) struct Member {
    pub(crate) feed: Feed,
    pub(crate) is_silent: bool,
    /// So many frames it has fewer than are played.
    pub(crate) is_late_by: usize,
    next: usize,
}

pub(crate) struct Hall {
    pub(crate) report: Report,
    pub(crate) members: Vec<Member>,
    pub(crate) seats: Vec<Seat>,
    rows: Vec<Vec<RecordedFrame>>,
}

impl Hall {
    pub(crate) fn new(members: usize) -> Self {
        Self::with_limits(members, FeedLimits::default())
    }

    pub(crate) fn with_limits(members: usize, limits: FeedLimits) -> Self {
        let (report, header) = played();
        let member = |index: usize| Member {
            feed: Feed::new(&header, peer(index), limits).unwrap(),
            is_silent: false,
            is_late_by: 0,
            next: 0,
        };
        let rows = vec![rows(&report).to_vec(); members];
        Self { members: (0..members).map(member).collect(), seats: Vec::new(), rows, report }
    }

    /// Has a member say something else of a frame than the others.
    pub(crate) fn forge(&mut self, member: usize, frame: usize) {
        self.rows[member][frame].inputs[0] ^= 1;
    }

    /// Plays the rows, a frame a tick, before all seats, and goes on for a while after the end. `happens` at each tick.
    pub(crate) fn show(&mut self, mut happens: impl FnMut(&mut Self, u64)) {
        let end = self.report.peer(0).unwrap().end.unwrap();
        let frames = self.rows[0].len();
        for tick in 0..frames as u64 + 400 {
            happens(self, tick);
            for (member, rows) in self.members.iter_mut().zip(&self.rows) {
                let shown = (usize::try_from(tick).unwrap() + 1).saturating_sub(member.is_late_by);
                for row in rows.iter().take(shown).skip(member.next) {
                    assert!(member.feed.push(&row.as_stable()));
                    member.next += 1;
                }
                if shown > frames {
                    assert!(member.feed.finish(end));
                }
            }
            self.carry(tick * TICK_MS);
            for seat in &mut self.seats {
                if let Watched::Ended(end) = seat.spectator.advance(&mut seat.game).unwrap() {
                    seat.ended = Some(end);
                }
                if tick == frames as u64 {
                    let newest = Frame::new(u32::try_from(frames).unwrap());
                    seat.lag_at_end_of_play = newest.since(seat.spectator.current_frame());
                }
            }
        }
    }

    fn carry(&mut self, now_ms: u64) {
        let (now, mut bytes) = (Timestamp::from_millis(now_ms), Vec::new());
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for (number, seat) in self.seats.iter_mut().enumerate() {
            while now_ms >= seat.joins_at_ms
                && let Some(to) = seat.spectator.poll_datagram(now, &mut bytes)
            {
                let path = seat.paths.iter_mut().find(|(host, ..)| host.id() == to).unwrap();
                path.1.send(now_ms, seat.loss_per_mille, &bytes);
            }
            for (host, way, _) in &mut seat.paths {
                up.extend(way.arrived(now_ms).into_iter().map(|bytes| (number, *host, bytes)));
            }
        }
        for (number, host, bytes) in up {
            let from = WatcherId(number as u64);
            match host {
                Host::Member(index) => {
                    self.members[index].feed.handle_datagram(now, from, &bytes);
                }
                Host::Seat(index) => self.seats[index].spectator.handle_watcher(now, from, &bytes),
            }
        }
        for (index, member) in self.members.iter_mut().enumerate() {
            while let Some(to) = member.feed.poll_datagram(now, &mut bytes) {
                if !member.is_silent {
                    down.push((Host::Member(index), to, bytes.clone()));
                }
            }
        }
        for (index, seat) in self.seats.iter_mut().enumerate() {
            while let Some(to) = seat.spectator.poll_watcher(now, &mut bytes) {
                down.push((Host::Seat(index), to, bytes.clone()));
            }
        }
        for (host, to, bytes) in down {
            let seat = &mut self.seats[usize::try_from(to.0).unwrap()];
            let path = seat.paths.iter_mut().find(|(known, ..)| *known == host).unwrap();
            path.2.send(now_ms, seat.loss_per_mille, &bytes);
        }
        for seat in &mut self.seats {
            for (host, _, way) in &mut seat.paths {
                for bytes in way.arrived(now_ms) {
                    seat.spectator.handle_datagram(now, host.id(), &bytes);
                }
            }
        }
    }

    /// All have seen all frames up to the end.
    pub(crate) fn check_seats(&self) {
        let end = self.report.peer(0).unwrap().end;
        for (number, seat) in self.seats.iter().enumerate() {
            assert_eq!(seat.ended, end, "seat {number}");
            assert_eq!(seat.spectator.current_frame(), end.unwrap().frame);
        }
    }
}

pub(crate) fn peer(slot: usize) -> PeerId {
    PeerId::new(u8::try_from(slot).unwrap()).unwrap()
}

pub(crate) fn played() -> (Report, RecordingHeader) {
    let report = plays(good_network(2));
    let start_hash = rows(&report)[0].state_hash.unwrap();
    let header = RecordingHeader {
        session: SESSION,
        episode: 0,
        seed: 1,
        config: SessionConfig::builder().players(2).build().unwrap(),
        roster: Roster::one_player_each(2).unwrap(),
        participants: vec!["p-01".into(), "p-02".into()],
        must_match: vec![],
        may_differ: vec![vec![], vec![]],
        start_hash,
    };
    (report, header)
}

pub(crate) fn rows(report: &Report) -> &[RecordedFrame] {
    report.peer(0).unwrap().log.rows()
}

const DELAY_MS: u64 = 40;
