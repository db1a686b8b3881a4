//! Machines that are too slow for the game, or for their rollbacks: all play at the rate that the slowest can hold.

use std::ops::Range;
use std::time::Duration;

use rollback_core::Event;
use rollback_core::testing::{Fault, Faults, PeerReport, Report, Simulation};

use crate::{peer, plays, seeded_network};

/// Peer 1's machine is slow from the third second on; a step takes so much of a frame there.
fn one_is_slow(seed: u64, peers: usize, step_percent: u16, lasts_ms: u32) -> Simulation {
    let slow = Fault::Slow { peer: peer(1), step_percent, millis: lasts_ms };
    let network = seeded_network(seed, peers).config(|builder| builder.pace_min_percent(50));
    network.at_ms(3_000, slow)
}

/// Ways of this length, on which datagrams overtake each other and one in twenty is lost.
fn lossy(delay_ms: u32) -> Faults {
    Faults {
        delay_min_ms: delay_ms,
        delay_max_ms: delay_ms,
        jitter_max_ms: 20,
        loss_max_per_mille: 50,
        ..Faults::none()
    }
}

/// How a peer played in these seconds.
#[derive(Debug)]
struct Played {
    frames_a_second: f64,
    stalls: usize,
    longest_frame_ms: f64,
    shortest_frame_ms: f64,
}

fn played(peer: &PeerReport, seconds: Range<u64>) -> Played {
    let span = Duration::from_secs(seconds.start)..Duration::from_secs(seconds.end);
    let frames: Vec<_> = peer.stepped_at.iter().filter(|at| span.contains(at)).collect();
    let took = frames.windows(2).map(|pair| (*pair[1] - *pair[0]).as_secs_f64() * 1e3);
    Played {
        frames_a_second: frames.len() as f64 / (span.end - span.start).as_secs_f64(),
        stalls: peer.stalled_at.iter().filter(|at| span.contains(at)).count(),
        longest_frame_ms: took.clone().fold(0.0, f64::max),
        shortest_frame_ms: took.fold(f64::MAX, f64::min),
    }
}

/// What a peer was told of the pace.
fn paces(peer: &PeerReport) -> Vec<(u8, u8)> {
    let pace = |event: &Event| match event {
        Event::PaceChanged { peer, percent } => Some((peer.slot(), *percent)),
        _ => None,
    };
    peer.events.iter().filter_map(pace).collect()
}

fn others(report: &Report) -> impl Iterator<Item = &PeerReport> {
    report.peers.iter().filter(|it| it.peer != peer(1))
}

#[test]
fn all_play_at_the_rate_of_one_that_holds_seventy_percent_and_go_back_when_it_recovers() {
    for (seed, peers) in [(1, 2), (2, 2), (3, 4), (4, 8)] {
        let slow = one_is_slow(seed, peers, 143, 20_000).frames(1_800).faults(lossy(30));
        let report = plays(slow);
        for peer in &report.peers {
            let settled = played(peer, 6..23);
            let is_seventy = (41.0..43.0).contains(&settled.frames_a_second);
            assert!(is_seventy && settled.stalls <= 3, "seed {seed}: {settled:?}");
            let recovered = played(peer, 30..33);
            let is_full = (59.0..61.0).contains(&recovered.frames_a_second);
            assert!(is_full && recovered.stalls == 0, "seed {seed}: {recovered:?}");
        }
        // Without a common pace they ran into the prediction window: frames of 2 to 52 ms, and a third of all calls in vain.
        for peer in others(&report) {
            let settled = played(peer, 8..23);
            let is_even = settled.shortest_frame_ms > 20.0 && settled.longest_frame_ms < 30.0;
            assert!(is_even, "seed {seed}: {settled:?}");
        }
    }
}

#[test]
fn who_slows_the_match_and_to_what_is_told_to_all() {
    let report = plays(one_is_slow(1, 3, 143, 8_000).frames(1_200).faults(lossy(30)));
    for peer in &report.peers {
        let paces = paces(peer);
        assert!(paces.len() >= 3, "{paces:?}");
        assert!(paces.iter().all(|(slowest, _)| *slowest == 1), "{paces:?}");
        assert!((66..90).contains(&paces[0].1), "{paces:?}");
        assert_eq!(paces.last(), Some(&(1, 100)));
    }
}

#[test]
fn one_that_cannot_hold_the_limit_is_waited_for_and_play_goes_on() {
    for peers in [2, 4] {
        let report = plays(one_is_slow(1, peers, 500, 10_000).frames(1_200).faults(lossy(30)));
        for peer in &report.peers {
            let slow = played(peer, 5..13);
            assert!((11.5..12.5).contains(&slow.frames_a_second), "{slow:?}");
            let recovered = played(peer, 22..24);
            assert!((59.0..61.0).contains(&recovered.frames_a_second), "{recovered:?}");
            let paces = paces(peer);
            assert_eq!(paces.iter().map(|(_, percent)| *percent).min(), Some(50), "{paces:?}");
        }
        for peer in others(&report) {
            assert!(played(peer, 5..13).stalls > 50);
        }
    }
}

#[test]
fn its_own_rollbacks_make_a_slow_machine_no_slower_and_slower() {
    // Every guess is wrong, and each way takes nearly four frames: side by side with the others, each frame would cost a machine
    // that just holds the game four steps. It stays behind them instead, where their inputs come in time.
    for (seed, peers) in [(1, 2), (2, 2), (3, 4)] {
        let report = plays(
            one_is_slow(seed, peers, 100, 120_000)
                .frames(5_000)
                .faults(Faults { jitter_max_ms: 10, ..lossy(60) })
                .inputs(|_, _, input| {
                    input.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1))
                }),
        );
        for peer in &report.peers {
            let [soon, later] = [35..55, 85..105].map(|seconds| played(peer, seconds));
            assert!(soon.frames_a_second > 36.0, "seed {seed}: {soon:?}");
            assert!(later.frames_a_second > soon.frames_a_second * 0.9, "{soon:?}, {later:?}");
        }
    }
}

#[test]
fn nobody_follows_below_the_limit_of_the_configuration() {
    let at = |percent| {
        let slow = one_is_slow(1, 3, 143, 8_000).frames(900).faults(lossy(30));
        plays(slow.config(move |builder| builder.pace_min_percent(percent)))
    };
    let report = at(90);
    for peer in others(&report) {
        assert_eq!(paces(peer).iter().map(|(_, percent)| *percent).min(), Some(90));
        assert!(played(peer, 6..11).stalls > 30);
    }
    let report = at(100);
    for peer in &report.peers {
        assert_eq!(paces(peer), []);
    }
}

#[test]
fn a_machine_with_time_to_spare_slows_nobody() {
    // Steps take half of a frame, and now and then one takes longer.
    let faults = Faults { slow_frame_per_mille: 20, slow_frame_max_ms: 60, ..lossy(30) };
    let report = plays(one_is_slow(3, 3, 50, 10_000).frames(900).faults(faults));
    for peer in &report.peers {
        assert_eq!(paces(peer), []);
        let played = played(peer, 3..11);
        assert!(played.frames_a_second > 58.0, "{played:?}");
    }
}

#[test]
fn in_lockstep_all_play_at_the_rate_of_a_slow_one_and_recover() {
    let slow = one_is_slow(1, 3, 143, 8_000).frames(1_200).faults(lossy(30));
    let slow = slow.config(|builder| {
        builder.pace_min_percent(50).prediction_window_frames(0).input_delay_frames(6)
    });
    let report = plays(slow);
    for peer in &report.peers {
        let settled = played(peer, 6..11);
        assert!((40.0..43.5).contains(&settled.frames_a_second), "{settled:?}");
        let recovered = played(peer, 20..22);
        assert!((59.0..61.0).contains(&recovered.frames_a_second), "{recovered:?}");
    }
}

#[test]
fn two_slow_machines_at_once_pay_for_what_they_guess_wrongly_and_no_more() {
    // Peer 1 needs 24 ms for a step and peer 2 needs 28; of what each guesses of the other one or two frames are wrong.
    for (seed, peers) in [(1, 3), (2, 4), (3, 8)] {
        let slower = Fault::Slow { peer: peer(2), step_percent: 167, millis: 12_000 };
        let slow = one_is_slow(seed, peers, 143, 12_000).at_ms(3_000, slower);
        let report = plays(slow.frames(1_200).faults(lossy(30)).inputs(|_, _, input| {
            input.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
        }));
        for peer in &report.peers {
            let both = played(peer, 6..14);
            assert!(both.frames_a_second > 17.0, "seed {seed}: {both:?}");
            let recovered = played(peer, 24..26);
            assert!((59.0..61.0).contains(&recovered.frames_a_second), "{recovered:?}");
        }
    }
}

#[test]
fn a_machine_that_is_too_slow_shows_nothing_ahead() {
    // It would step eight frames more in each, and all would play at eight frames a second.
    let slow = one_is_slow(1, 3, 143, 12_000).frames(1_200).faults(lossy(30)).run_ahead(8);
    for peer in &plays(slow).peers {
        let settled = played(peer, 6..14);
        assert!((40.0..43.5).contains(&settled.frames_a_second), "{settled:?}");
    }
}
