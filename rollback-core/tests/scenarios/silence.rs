//! What becomes of people who are silent, as the configuration says.

use std::time::Duration;

use rollback_core::testing::{Fault, Report, Simulation};
use rollback_core::{DepartureCause, EndCause, Silence};

use crate::kicks::departures;
use crate::returns::{is_whole, quick, returns};
use crate::{cause, frames, good_network, peer, plays};

fn patient(peers: usize) -> Simulation {
    quick(peers).config(|builder| builder.silence(Silence::Wait))
}

fn stalls(report: &Report, slot: u8) -> u64 {
    report.peer(slot).unwrap().counters.stalls
}

#[test]
fn all_wait_for_one_that_stands_still_for_longer_than_the_timeout() {
    let pause = Fault::Pause { peer: peer(2), millis: 4_000 };
    let report = plays(patient(3).outlasting_timeouts().at_ms(2_000, pause));
    is_whole(&report, &[0, 1, 2]);
    for slot in [0, 1] {
        assert_eq!(departures(&report, slot), []);
        assert!(stalls(&report, slot) > 150, "{slot}: {} stalls", stalls(&report, slot));
    }
    let hasty = plays(quick(3).outlasting_timeouts().at_ms(2_000, pause));
    assert_eq!(cause(&hasty, 2), Some(EndCause::Partitioned));
    assert_eq!(departures(&hasty, 0), [(peer(2), DepartureCause::Lost)]);
}

#[test]
fn all_wait_for_one_that_is_gone_until_somebody_sends_it_away() {
    let report = plays(
        patient(3)
            .at_ms(2_000, Fault::Crash(peer(1)))
            .at_ms(6_000, Fault::Kick { by: peer(2), peer: peer(1) }),
    );
    is_whole(&report, &[0, 2]);
    for slot in [0, 2] {
        assert_eq!(departures(&report, slot), [(peer(1), DepartureCause::Kicked)]);
        assert!((200..300).contains(&stalls(&report, slot)), "{}", stalls(&report, slot));
    }
}

#[test]
fn one_that_leaves_waits_for_nobody() {
    let report =
        plays(patient(4).at_ms(2_000, Fault::Crash(peer(3))).at_ms(2_500, Fault::Leave(peer(2))));
    assert_eq!(cause(&report, 2), Some(EndCause::Partitioned));
    assert!(frames(&report, 2) < 130, "{}", frames(&report, 2));
    is_whole(&report, &[0, 1]);
}

#[test]
fn one_whose_new_life_begins_is_waited_for_no_longer() {
    let report =
        plays(patient(3).at_ms(2_000, Fault::Crash(peer(1))).at_ms(5_000, Fault::Return(peer(1))));
    is_whole(&report, &[0, 1, 2]);
    assert_eq!(returns(&report, 1).len(), 1);
    assert_eq!(departures(&report, 0), [(peer(1), DepartureCause::Lost)]);
}

#[test]
fn where_silence_is_for_good_nobody_comes_back() {
    let for_good = |peers| quick(peers).config(|builder| builder.silence(Silence::DepartForGood));
    let report =
        plays(for_good(3).at_ms(2_000, Fault::Crash(peer(1))).at_ms(5_000, Fault::Return(peer(1))));
    assert_eq!((report.faults.refused, returns(&report, 1).len()), (1, 0));
    is_whole(&report, &[0, 2]);
    // One whose new life began before it was missed was not silent; nor was one that left.
    let report = plays(
        good_network(3)
            .config(|builder| {
                let builder = builder.departure_timeout(Duration::from_secs(5));
                builder.silence(Silence::DepartForGood)
            })
            .at_ms(2_000, Fault::Crash(peer(1)))
            .at_ms(2_200, Fault::Return(peer(1)))
            .at_ms(3_000, Fault::Leave(peer(2)))
            .at_ms(5_000, Fault::Return(peer(2))),
    );
    is_whole(&report, &[0, 1, 2]);
    assert_eq!((returns(&report, 1).len(), returns(&report, 2).len()), (1, 1));
}
