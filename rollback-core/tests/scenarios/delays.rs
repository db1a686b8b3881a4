//! Input delays that change in the middle of play: nobody waits, nothing that was pressed is lost.

use std::time::Duration;

use rollback_core::recording::RecordedFrame;
use rollback_core::testing::{Fault, Faults, Report};
use rollback_core::{Item, PlayerHandle};

use crate::{good_network, peer, plays};

fn delays_recorded(report: &Report, slot: u8) -> Vec<(u8, u8)> {
    let items = |row: &RecordedFrame| row.items.clone();
    let items = report.peer(slot).unwrap().log.rows().iter().flat_map(items);
    items
        .filter_map(|(_, item)| match item {
            Item::Delay { player, frames } => Some((player.slot(), frames)),
            _ => None,
        })
        .collect()
}

/// So long is a datagram under way, on every way.
fn far_apart(millis: u32) -> Faults {
    Faults { delay_min_ms: millis, delay_max_ms: millis, ..Faults::none() }
}

#[test]
fn a_delay_that_changes_costs_no_stall_and_is_recorded() {
    let (longer, shorter) = (
        Fault::SetDelay { peer: peer(1), frames: 9 },
        Fault::SetDelay { peer: peer(1), frames: 0 },
    );
    let stalls = |report: &Report, slot| report.peer(slot).unwrap().counters.stalls;
    let undisturbed = plays(good_network(3));
    let report = plays(good_network(3).at_ms(3_000, longer).at_ms(6_000, shorter));
    for slot in 0..3 {
        assert_eq!(delays_recorded(&report, slot), [(1, 9), (1, 0)]);
        assert_eq!(stalls(&report, slot), stalls(&undisturbed, slot));
    }
    // Whoever heard of an input nine frames ahead must not take its sender to be nine frames ahead.
    assert!(report.spread_max < Duration::from_millis(17), "{:?}", report.spread_max);
}

#[test]
fn all_take_the_delay_that_one_proposes() {
    let report =
        plays(good_network(4).at_ms(2_000, Fault::ProposeDelay { peer: peer(2), frames: 4 }));
    for slot in 0..4 {
        let mut delays = delays_recorded(&report, slot);
        delays.sort_unstable();
        assert_eq!(delays, [(0, 4), (1, 4), (2, 4), (3, 4)]);
    }
}

#[test]
fn a_delay_that_follows_the_lateness_of_inputs_ends_most_rollbacks() {
    // 70 ms are four and a half frames.
    let rollbacks = |report: &Report| -> u64 {
        report.peers.iter().map(|peer| peer.counters.rollback.rollbacks).sum()
    };
    let fixed = plays(good_network(2).faults(far_apart(70)));
    let automatic = plays(good_network(2).faults(far_apart(70)).automatic_input_delay(0, 8));
    assert!(rollbacks(&fixed) > 100, "{}", rollbacks(&fixed));
    assert!(rollbacks(&automatic) * 5 < rollbacks(&fixed), "{}", rollbacks(&automatic));
    let last = |slot| delays_recorded(&automatic, slot).last().copied();
    for slot in 0..2 {
        let (player, frames) = last(slot).unwrap();
        assert!(PlayerHandle::new(player).is_some() && (4..=6).contains(&frames), "{frames}");
    }
}

#[test]
fn a_delay_longer_than_the_history_stops_nobody() {
    // Lockstep with a report every fourth frame keeps 32 frames.
    let longest = Fault::SetDelay { peer: peer(1), frames: 30 };
    let report = plays(
        good_network(2)
            .config(|builder| builder.prediction_window_frames(0).report_interval_frames(4))
            .at_ms(2_000, longest),
    );
    assert_eq!(delays_recorded(&report, 0), [(1, 30)]);
}
