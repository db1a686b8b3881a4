//! Watching: anybody, from any moment on, over a bad path, and through others who watch.

use rollback_core::recording::RecordingHeader;
use rollback_core::spectate::{
    Feed, FeedLimits, SpectateError, Spectator, SpectatorOptions, Watched, WatcherId,
};
use rollback_core::testing::{Random, Report, StableRow};
use rollback_core::{End, Frame, Roster, SessionConfig, StableFrame, StateHash, Timestamp};

use crate::games::{Arena, Rules};
use crate::{good_network, plays};

const SESSION: u64 = 77;
const TICK_MS: u64 = 16;

/// One way from here to there, on which datagrams are late and get lost.
struct Way {
    random: Random,
    loss_per_mille: u32,
    delay_ms: u64,
    under_way: Vec<(u64, Vec<u8>)>,
}

impl Way {
    fn new(stream: u64, loss_per_mille: u32, delay_ms: u64) -> Self {
        let random = Random::new(5, stream);
        Self { random, loss_per_mille, delay_ms, under_way: Vec::new() }
    }

    fn send(&mut self, now_ms: u64, bytes: &[u8]) {
        if !self.random.chance(self.loss_per_mille) {
            let at = now_ms + self.delay_ms + u64::from(self.random.below(30));
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

/// A spectator with its game, and its path to whom it watches through.
struct Seat {
    spectator: Spectator,
    game: Arena,
    up: Way,
    down: Way,
    joins_at_ms: u64,
    /// Whether it watches through the first seat, and not at the feed.
    is_relayed: bool,
    ended: Option<End>,
    lag_at_end_of_play: u32,
}

impl Seat {
    fn new(number: u64, joins_at_ms: u64, loss_per_mille: u32, is_relayed: bool) -> Self {
        Self {
            spectator: Spectator::new(SESSION, 0, SpectatorOptions::default()),
            game: Arena::endless(),
            up: Way::new(2 * number, loss_per_mille, 40),
            down: Way::new(2 * number + 1, loss_per_mille, 40),
            joins_at_ms,
            is_relayed,
            ended: None,
            lag_at_end_of_play: 0,
        }
    }
}

fn played() -> (Report, RecordingHeader) {
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

fn rows(report: &Report) -> &[StableRow] {
    report.peer(0).unwrap().log.rows()
}

fn stable(row: &StableRow) -> StableFrame<'_> {
    StableFrame {
        frame: row.frame,
        inputs: &row.inputs,
        flags: &row.flags,
        items: &row.items,
        output: &row.output,
        state_hash: row.state_hash,
    }
}

/// Plays the rows, a frame a tick, before all seats, and goes on for a while after the end.
fn show(report: &Report, header: &RecordingHeader, seats: &mut [Seat]) -> Feed {
    let mut feed = Feed::new(header, FeedLimits::default()).unwrap();
    let end = report.peer(0).unwrap().end.unwrap();
    let (rows, mut bytes, mut relayed) = (rows(report), Vec::new(), Vec::new());
    for tick in 0..u64::try_from(rows.len()).unwrap() + 400 {
        let (now_ms, now) = (tick * TICK_MS, Timestamp::from_millis(tick * TICK_MS));
        match rows.get(usize::try_from(tick).unwrap()) {
            Some(row) => assert!(feed.push(&stable(row))),
            None => assert!(feed.finish(end)),
        }
        for (number, seat) in (0..).zip(seats.iter_mut()) {
            while now_ms >= seat.joins_at_ms && seat.spectator.poll_datagram(now, &mut bytes) {
                seat.up.send(now_ms, &bytes);
            }
            for bytes in seat.up.arrived(now_ms) {
                match seat.is_relayed {
                    true => relayed.push((WatcherId(number), bytes)),
                    false => feed.handle_datagram(now, WatcherId(number), &bytes),
                }
            }
        }
        let mut sent = Vec::new();
        let host = &mut seats[0].spectator;
        for (from, bytes) in relayed.drain(..) {
            host.handle_watcher(now, from, &bytes);
        }
        while let Some(to) = host.poll_watcher(now, &mut bytes) {
            sent.push((to, bytes.clone()));
        }
        while let Some(to) = feed.poll_datagram(now, &mut bytes) {
            sent.push((to, bytes.clone()));
        }
        for (to, bytes) in sent {
            seats[usize::try_from(to.0).unwrap()].down.send(now_ms, &bytes);
        }
        for seat in seats.iter_mut() {
            for bytes in seat.down.arrived(now_ms) {
                seat.spectator.handle_datagram(now, &bytes);
            }
            if let Watched::Ended(end) = seat.spectator.advance(&mut seat.game).unwrap() {
                seat.ended = Some(end);
            }
            if usize::try_from(tick).unwrap() == rows.len() {
                let newest = Frame::new(u32::try_from(rows.len()).unwrap());
                seat.lag_at_end_of_play = newest.since(seat.spectator.current_frame());
            }
        }
    }
    feed
}

#[test]
fn whoever_watches_sees_every_frame_from_whenever_and_through_whomever() {
    let (report, header) = played();
    let late = 5_000;
    let mut seats = [
        Seat::new(0, 0, 0, false),
        Seat::new(1, 100, 200, false),
        Seat::new(2, late, 200, false),
        Seat::new(3, 0, 100, true),
        Seat::new(4, late, 200, true),
    ];
    let feed = show(&report, &header, &mut seats);
    assert_eq!(feed.spectators(), 3);
    let end = report.peer(0).unwrap().end;
    for (number, seat) in seats.iter().enumerate() {
        assert_eq!(seat.ended, end, "seat {number}");
        assert_eq!(seat.spectator.current_frame(), end.unwrap().frame);
        // The delay of six frames, the way and an answer of it lost twice; twice as much through another.
        assert!(seat.lag_at_end_of_play < 40, "seat {number}: {}", seat.lag_at_end_of_play);
    }
}

#[test]
fn a_spectator_whose_game_differs_is_told_the_frame() {
    let (report, header) = played();
    let mut feed = Feed::new(&header, FeedLimits::default()).unwrap();
    assert!(rows(&report).iter().all(|row| feed.push(&stable(row))));
    let mut spectator = Spectator::new(SESSION, 0, SpectatorOptions::default());
    let mut game = Arena::with(Rules { diverges_at: Some(103), ..Rules::default() });
    let mut bytes = Vec::new();
    let error = (0..2_000).find_map(|tick| {
        let now = Timestamp::from_millis(tick * TICK_MS);
        while spectator.poll_datagram(now, &mut bytes) {
            feed.handle_datagram(now, WatcherId(1), &bytes);
        }
        while feed.poll_datagram(now, &mut bytes).is_some() {
            spectator.handle_datagram(now, &bytes);
        }
        spectator.advance(&mut game).err()
    });
    let is_right = |frame: &Frame, expected: &StateHash| {
        *frame == Frame::new(110) && Some(*expected) == rows(&report)[110].state_hash
    };
    assert!(
        matches!(&error, Some(SpectateError::Diverged { frame, expected, .. }) if is_right(frame, expected)),
        "{error:?}"
    );
}

#[test]
fn the_header_is_there_before_a_game_is_asked_for() {
    let (report, header) = played();
    let mut feed = Feed::new(&header, FeedLimits::default()).unwrap();
    assert!(feed.push(&stable(&rows(&report)[0])));
    let mut spectator = Spectator::new(SESSION, 0, SpectatorOptions::default());
    let mut bytes = Vec::new();
    for tick in 0..20 {
        let now = Timestamp::from_millis(tick * TICK_MS);
        while spectator.poll_datagram(now, &mut bytes) {
            feed.handle_datagram(now, WatcherId(1), &bytes);
        }
        while feed.poll_datagram(now, &mut bytes).is_some() {
            spectator.handle_datagram(now, &bytes);
        }
    }
    assert_eq!(spectator.header(), Some(&header));
    assert!(!feed.finish(report.peer(0).unwrap().end.unwrap()), "frames are missing");
}

#[test]
fn what_nobody_sent_changes_nothing() {
    let (report, header) = played();
    let mut feed =
        Feed::new(&header, FeedLimits { spectators: 1, ..FeedLimits::default() }).unwrap();
    rows(&report).iter().for_each(|row| assert!(feed.push(&stable(row))));
    assert!(!feed.push(&stable(&rows(&report)[0])), "a frame that is not the next one");
    let mut spectator = Spectator::new(SESSION, 0, SpectatorOptions::default());
    let (mut random, mut bytes) = (Random::new(1, 1), Vec::new());
    assert!(spectator.poll_datagram(Timestamp::ZERO, &mut bytes));
    let asked = bytes.clone();
    feed.handle_datagram(Timestamp::ZERO, WatcherId(1), &asked);
    for _ in 0..10_000 {
        let mut noise = asked.clone();
        noise.truncate(random.below(40) as usize);
        noise.resize(random.below(60) as usize, 7);
        if let Some(byte) = noise.get_mut(random.below(20) as usize) {
            *byte ^= 1 << random.below(8);
        }
        if noise != asked {
            feed.handle_datagram(Timestamp::ZERO, WatcherId(1), &noise);
            spectator.handle_datagram(Timestamp::ZERO, &noise);
        }
    }
    assert!(feed.refused() > 9_000 && spectator.refused() > 9_000);
    let refused = feed.refused();
    feed.handle_datagram(Timestamp::ZERO, WatcherId(2), &asked);
    assert_eq!((feed.spectators(), feed.refused()), (1, refused + 1));
    assert_eq!(spectator.advance(&mut Arena::endless()), Ok(Watched::Waiting));
}
