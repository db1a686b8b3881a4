//! Clocks that run apart: the peers keep together all the same.

use std::time::Duration;

use rollback_core::testing::{Faults, Report, Simulation};

use crate::{good_network, peer, plays};

/// The same way of 20 ms in every direction; clocks that began hours apart.
fn symmetric(peers: usize) -> Simulation {
    let faults = Faults {
        delay_min_ms: 20,
        delay_max_ms: 20,
        clock_offset_max_ms: 10_000_000,
        start_spread_max_ms: 200,
        ..Faults::none()
    };
    good_network(peers).frames(1_200).faults(faults)
}

fn frame(report: &Report) -> f64 {
    report.spread_max.as_secs_f64() * 60.0
}

#[test]
fn two_peers_with_clocks_one_percent_apart_stay_within_a_frame() {
    for (fast, slow) in [(5_000, -5_000), (10_000, 0), (0, -10_000)] {
        let clocks = symmetric(2).clock_skew_ppm(peer(0), fast).clock_skew_ppm(peer(1), slow);
        let report = plays(clocks);
        assert!(report.spread_max > Duration::ZERO);
        assert!(frame(&report) <= 1.0, "{:.2} frames apart", frame(&report));
    }
}

#[test]
fn four_peers_with_clocks_one_percent_apart_stay_within_a_frame() {
    let clocks = [5_000, 1_000, -2_000, -5_000];
    let simulation = (0..4)
        .zip(clocks)
        .fold(symmetric(4), |simulation, (slot, ppm)| simulation.clock_skew_ppm(peer(slot), ppm));
    let report = plays(simulation);
    assert!(frame(&report) <= 1.0, "{:.2} frames apart", frame(&report));
}
