//! People who go: with a word, without one, and those who are only cut off.

use std::time::Duration;

use rollback_core::testing::{Fault, Faults, Report, Simulation};
use rollback_core::{EndCause, Event, InputFlags, PeerId, PlayerHandle};

use crate::{cause, frames, good_network, peer, peers, plays};

/// The first frame that idle is filled in for the peer's player.
fn idle_from(report: &Report, of: u8) -> Option<u32> {
    let rows = report.peer(0)?.log.rows();
    let is_idle = |bits: u8| InputFlags::from_bits(bits).contains(InputFlags::IDLE_FILLED);
    let row = rows.iter().find(|row| row.flags.get(usize::from(of)).copied().is_some_and(is_idle));
    row.map(|row| row.frame.index())
}

fn departed(report: &Report, slot: u8) -> Vec<PeerId> {
    let events = report.peer(slot).map(|peer| peer.events.as_slice()).unwrap_or_default();
    let departed = events.iter().filter_map(|event| match event {
        Event::ViewChanged { departed, .. } => Some(*departed),
        _ => None,
    });
    departed.collect()
}

#[test]
fn a_player_leaves_and_the_others_play_on_at_once() {
    let report = plays(good_network(3).at_ms(2_000, Fault::Leave(peer(1))));
    assert_eq!(cause(&report, 1), Some(EndCause::Left));
    assert_eq!(cause(&report, 0), Some(EndCause::Named(7)));
    let from = idle_from(&report, 1).unwrap();
    assert!((115..130).contains(&from), "{from}");
    assert_eq!(frames(&report, 1), from as usize);
    assert_eq!(departed(&report, 0), []);
    let stalls = report.peer(0).unwrap().counters.stalls;
    assert!(stalls < 20, "nobody waits for one that left in order: {stalls} stalls");
}

#[test]
fn a_computer_crashes_and_the_others_agree_where_its_inputs_end() {
    // The crashed one's last datagrams reach peer 0 only.
    let report = plays(
        good_network(4)
            .at_ms(1_900, Fault::Mute { from: peer(3), to: peer(1), millis: 200 })
            .at_ms(1_950, Fault::Mute { from: peer(3), to: peer(2), millis: 200 })
            .at_ms(2_000, Fault::Crash(peer(3))),
    );
    let from = idle_from(&report, 3).unwrap();
    assert!((115..125).contains(&from), "what any survivor held counts: {from}");
    for slot in 0..3 {
        assert_eq!(departed(&report, slot), [peer(3)]);
        assert_eq!(cause(&report, slot), Some(EndCause::Named(7)));
    }
}

#[test]
fn a_computer_that_crashes_while_all_shake_hands_does_not_hold_the_others_up() {
    // Its hello reached peer 0, who plays; it never reached peer 1.
    let report = plays(
        good_network(3)
            .config(|builder| builder.departure_timeout(Duration::from_secs(1)))
            .at_ms(0, Fault::Mute { from: peer(2), to: peer(1), millis: 500 })
            .at_ms(100, Fault::Crash(peer(2))),
    );
    assert!(frames(&report, 0) >= 600 && frames(&report, 1) >= 600);
}

#[test]
fn the_smaller_side_of_a_broken_network_stops_and_its_log_is_a_prefix() {
    let side = peers(&[3, 4]);
    let report = plays(
        good_network(5)
            .config(|builder| builder.departure_timeout(Duration::from_secs(1)))
            .at_ms(2_000, Fault::Partition { side, millis: 5_000 }),
    );
    for slot in [0, 1, 2] {
        assert_eq!(cause(&report, slot), Some(EndCause::Named(7)));
        assert_eq!(departed(&report, slot), [peer(3), peer(4)]);
    }
    for slot in [3, 4] {
        assert_eq!(cause(&report, slot), Some(EndCause::Partitioned));
        assert!((100..130).contains(&frames(&report, slot)));
    }
    let (whole, part) = (report.peer(0).unwrap(), report.peer(3).unwrap());
    assert_eq!(whole.log.first_difference(&part.log), None);
}

#[test]
fn of_two_equal_halves_the_one_with_the_anchor_goes_on() {
    let side = peers(&[0, 3]);
    let report = plays(
        good_network(4)
            .config(|builder| builder.departure_timeout(Duration::from_secs(1)))
            .at_ms(2_000, Fault::Partition { side, millis: 5_000 }),
    );
    assert_eq!([0, 3].map(|slot| cause(&report, slot)), [Some(EndCause::Named(7)); 2]);
    assert_eq!([1, 2].map(|slot| cause(&report, slot)), [Some(EndCause::Partitioned); 2]);
}

#[test]
fn two_computers_crash_one_after_the_other() {
    let report = plays(
        good_network(5)
            .config(|builder| builder.departure_timeout(Duration::from_secs(1)))
            .at_ms(2_000, Fault::Crash(peer(4)))
            .at_ms(2_900, Fault::Crash(peer(0))),
    );
    for slot in [1, 2, 3] {
        assert_eq!(cause(&report, slot), Some(EndCause::Named(7)));
        assert_eq!(departed(&report, slot).len(), 2);
    }
}

#[test]
fn the_match_ends_when_too_few_are_left() {
    let report = plays(
        good_network(3)
            .config(|builder| builder.members_min(3))
            .at_ms(2_000, Fault::Leave(peer(2))),
    );
    let ends = [0, 1].map(|slot| report.peer(slot).and_then(|peer| peer.end).unwrap());
    assert_eq!(ends[0], ends[1]);
    assert_eq!((ends[0].cause, ends[0].by), (EndCause::Left, Some(peer(2))));
}

/// Three peers 25 ms apart, of whom one's inputs take effect a third of a second later: so they are still confirmed when
/// nothing is heard of it any more.
fn with_inputs_far_ahead(of: u8) -> Simulation {
    good_network(3).faults(Faults { delay_min_ms: 25, delay_max_ms: 25, ..Faults::none() }).config(
        move |builder| {
            let player = PlayerHandle::new(of).unwrap();
            let builder = builder.departure_timeout(Duration::from_millis(250));
            builder.input_delay_frames(0).input_delay_frames_of(player, 20)
        },
    )
}

#[test]
fn whoever_leaves_while_another_is_given_up_holds_nobody_up() {
    for leaves_ms in (2_180..2_360).step_by(3) {
        let report = plays(
            with_inputs_far_ahead(1)
                .at_ms(2_000, Fault::Crash(peer(1)))
                .at_ms(leaves_ms, Fault::Leave(peer(2))),
        );
        let causes = [0, 2].map(|slot| cause(&report, slot));
        assert_eq!(causes, [Some(EndCause::Named(7)), Some(EndCause::Left)], "{leaves_ms}");
    }
}

#[test]
fn one_that_leaves_is_counted_as_long_as_it_counts_itself() {
    // The others hear nothing of peer 0 any more, and peer 0 a little later nothing of them. It has heard that all have
    // come to the end of peer 2, who has not, and goes on with peer 1. With peer 2 gone, peer 0 would go on as well.
    for leaves_ms in 1_990..2_010 {
        let mute = |from, to| Fault::Mute { from: peer(from), to: peer(to), millis: 1_500 };
        let report = plays(
            with_inputs_far_ahead(0)
                .at_ms(leaves_ms, Fault::Leave(peer(2)))
                .at_ms(2_000, mute(0, 1))
                .at_ms(2_000, mute(0, 2))
                .at_ms(2_100, mute(1, 0))
                .at_ms(2_100, mute(2, 0)),
        );
        assert_eq!(cause(&report, 0), Some(EndCause::Partitioned), "{leaves_ms}");
    }
}
