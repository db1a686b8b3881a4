//! What holds of whole matches whatever is configured and whatever the network does; a failure is made small by itself.
//! The parts have their properties in `src/properties/`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, a panic is how a wrong expectation shows"
)]

#[path = "../games/mod.rs"]
mod games;

use std::time::Duration;

use proptest::prelude::*;
use rollback_core::recording::{Comparison, Recording, RecordingHeader, RecordingWriter, compare};
use rollback_core::testing::{Faults, Report, Simulation};
use rollback_core::{
    Frame, PeerId, PlayerHandle, Roster, SessionConfig, SessionConfigBuilder, StateHash,
};

use games::{Arena, Rules};

/// A match and its network.
#[derive(Clone, Debug)]
struct Match {
    seed: u64,
    peers: usize,
    players_per_peer: usize,
    delays: Vec<u8>,
    window: u8,
    report_interval: u8,
    faults: Faults,
    may_end: bool,
}

fn faults() -> impl Strategy<Value = Faults> {
    let ways = (0..80_u32, 0..40_u32, 0..400_u32, 0..100_u32, 0..100_u32);
    (ways, 0..3_u32, 0..3_u32, 0..2_u32).prop_map(|(ways, pauses, partitions, leaves)| {
        let (delay_max_ms, jitter_max_ms, loss_max_per_mille, duplicate, corrupt) = ways;
        Faults {
            delay_max_ms,
            jitter_max_ms,
            loss_max_per_mille,
            duplicate_per_mille: duplicate,
            corrupt_per_mille: corrupt,
            pauses,
            pause_max_ms: 400,
            partitions,
            partition_max_ms: 400,
            leaves,
            ..Faults::none()
        }
    })
}

fn matches() -> impl Strategy<Value = Match> {
    let players = (any::<u64>(), 1..=5_usize, 1..=2_usize, prop::collection::vec(0..6_u8, 10));
    (players, 0..=20_u8, 1..=30_u8, faults(), any::<bool>()).prop_map(
        |((seed, peers, players_per_peer, delays), window, report_interval, faults, may_end)| {
            Match {
                seed,
                peers,
                players_per_peer,
                delays,
                window,
                report_interval,
                faults,
                may_end,
            }
        },
    )
}

impl Match {
    fn configure(&self, builder: SessionConfigBuilder) -> SessionConfigBuilder {
        let players = PlayerHandle::all(self.peers * self.players_per_peer);
        let builder = builder
            .prediction_window_frames(self.window)
            .report_interval_frames(self.report_interval)
            .tick_rate_hz(60)
            .departure_timeout(Duration::from_secs(2));
        players
            .zip(&self.delays)
            .fold(builder, |builder, (player, delay)| builder.input_delay_frames_of(player, *delay))
    }

    fn play(&self) -> Report {
        let of_match = self.clone();
        let may_end = Arena::with(Rules { may_end_from: Some(60), ..Rules::default() });
        let arena = if self.may_end { may_end } else { Arena::endless() };
        Simulation::new(self.seed)
            .peers(self.peers)
            .players_per_peer(self.players_per_peer..=self.players_per_peer)
            .frames(120)
            .faults(self.faults.clone())
            .config(move |builder| of_match.configure(builder))
            .run(|| arena.clone())
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    fn header(&self) -> RecordingHeader {
        let hosts =
            PeerId::all(self.peers).flat_map(|peer| (0..self.players_per_peer).map(move |_| peer));
        let hosts: Vec<PeerId> = hosts.collect();
        let config = SessionConfig::builder().players(hosts.len());
        RecordingHeader {
            session: self.seed,
            episode: 0,
            seed: self.seed,
            config: self.configure(config).build().unwrap(),
            roster: Roster::new(&hosts).unwrap(),
            participants: vec![String::from("p"); self.peers],
            must_match: vec![],
            may_differ: vec![vec![]; self.peers],
            start_hash: StateHash::default(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The oracles of the simulator judge the match; what the members then record is one and the same.
    #[test]
    fn members_record_the_same_whatever_is_configured_and_whatever_the_network_does(of in matches()) {
        let (report, header) = (of.play(), of.header());
        let mut recordings = Vec::new();
        for peer in &report.peers {
            let rows = peer.log.rows();
            let mut writer = RecordingWriter::new(&header).unwrap();
            for row in rows {
                writer.push(&row.as_stable()).unwrap();
            }
            writer.finish(peer.end.unwrap(), 1).unwrap();
            let recording = Recording::decode(&writer.take_bytes()).unwrap();
            let read: Vec<_> = recording.frames().collect();
            prop_assert_eq!(read, rows);
            recordings.push((peer, recording));
        }
        for (one, of_one) in &recordings {
            for (other, of_other) in &recordings {
                let frames = one.log.rows().len().min(other.log.rows().len());
                prop_assert_eq!(one.log.first_difference(&other.log), None);
                prop_assert_eq!(one.log.digest(frames), other.log.digest(frames));
                // One that left before the others has the beginning of what they have.
                let frames = Frame::new(u32::try_from(frames).unwrap());
                let is_whole = one.end == other.end;
                let expected = if is_whole { Comparison::Equal } else { Comparison::Prefix { frames } };
                prop_assert_eq!(compare(of_one, of_other), expected);
            }
        }
    }
}

/// Two seconds of three peers with a report at every frame, so that several wait to be agreed at the end.
fn with_a_report_at_every_frame(seed: u64, leaves: u32) -> Match {
    let faults = Faults {
        delay_max_ms: 30,
        jitter_max_ms: 4,
        loss_max_per_mille: 250,
        leaves,
        ..Faults::none()
    };
    let (players_per_peer, delays) = (1, vec![5, 3, 0]);
    let (window, report_interval, may_end) = (7, 1, leaves == 0);
    Match { seed, peers: 3, players_per_peer, delays, window, report_interval, faults, may_end }
}

#[test]
fn at_an_end_the_reports_before_it_come_first() {
    // The report of the end took the number of one that had found no room, and members seemed to differ.
    (0..60).for_each(|seed| drop(with_a_report_at_every_frame(seed, 0).play()));
}

#[test]
fn whoever_leaves_hands_out_every_frame_before_its_end() {
    // It had gone before the last reports, for which the last rows waited.
    (0..60).for_each(|seed| drop(with_a_report_at_every_frame(seed, 1).play()));
}
