//! Outages that heal: nobody departs, nothing is lost.

use std::time::Duration;

use rollback_core::testing::{Fault, Faults, PeerReport, Report};
use rollback_core::{EndCause, Event};

use crate::{good_network, peer, peers, plays};

fn nobody_departed(report: &Report) -> bool {
    let has_ended = |seen: &PeerReport| seen.end.is_some_and(|end| end.cause == EndCause::Named(7));
    report.peers.iter().all(|seen| has_ended(seen) && !seen.saw_departure())
}

#[test]
fn a_network_that_breaks_for_two_seconds_heals() {
    let side = peers(&[1]);
    let report = plays(
        good_network(2)
            .config(|builder| builder.departure_timeout(Duration::from_secs(5)))
            .at_ms(2_000, Fault::Partition { side, millis: 2_000 }),
    );
    assert!(nobody_departed(&report));
    for seen in &report.peers {
        assert!(seen.counters.stalls > 60, "both wait: {}", seen.counters.stalls);
        let resumed = seen.find_event(|e| matches!(e, Event::Resumed { .. }).then_some(()));
        assert!(resumed.is_some(), "the application is told: {:?}", seen.events);
    }
}

#[test]
fn a_laptop_lid_closes_for_two_seconds() {
    let report = plays(
        good_network(3)
            .config(|builder| builder.departure_timeout(Duration::from_secs(5)))
            .at_ms(2_000, Fault::Pause { peer: peer(1), millis: 2_000 }),
    );
    assert!(nobody_departed(&report));
}

#[test]
fn one_broken_way_of_a_mesh_holds_nobody_up() {
    // Peer 1 hears nothing of peer 0 for three seconds, and gets its inputs through peer 2.
    let report = plays(
        good_network(3).at_ms(1_000, Fault::Mute { from: peer(0), to: peer(1), millis: 3_000 }),
    );
    assert!(nobody_departed(&report));
    for seen in &report.peers {
        assert!(seen.counters.stalls < 30, "{}: {} stalls", seen.peer, seen.counters.stalls);
    }
}

#[test]
fn half_of_all_datagrams_are_lost() {
    let faults = Faults { delay_max_ms: 20, loss_max_per_mille: 500, ..Faults::none() };
    let report = plays(good_network(4).faults(faults));
    assert!(nobody_departed(&report));
    let [one, two, ..] = report.rollback_depths;
    assert!(one + two > 0);
}

#[test]
fn in_lockstep_nothing_is_guessed_and_nothing_is_stepped_again() {
    let faults = Faults { delay_max_ms: 30, loss_max_per_mille: 100, ..Faults::none() };
    let lockstep = good_network(3)
        .faults(faults)
        .config(|builder| builder.prediction_window_frames(0).input_delay_frames(3));
    let report = plays(lockstep);
    assert!(nobody_departed(&report));
    assert!(report.peers.iter().all(|peer| peer.counters.rollback.rollbacks == 0));
}

#[test]
fn eight_peers_on_a_good_network_play_without_a_stall() {
    let faults = Faults { delay_max_ms: 20, ..Faults::none() };
    let report = plays(good_network(8).faults(faults));
    for seen in &report.peers {
        assert!(seen.counters.stalls < 30, "{}: {} stalls", seen.peer, seen.counters.stalls);
    }
}
