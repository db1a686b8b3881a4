//! People who are sent away.

use rollback_core::testing::{Fault, Faults, Report};
use rollback_core::{DepartureCause, EndCause, Event, PeerId};

use crate::returns::{is_idle, is_whole, returns};
use crate::{cause, frames, good_network, peer, peers, plays, seeded_network};

/// Who departed, and why, as a peer was told.
pub(crate) fn departures(report: &Report, slot: u8) -> Vec<(PeerId, DepartureCause)> {
    let events = report.peer(slot).unwrap().events.iter();
    let departures = events.filter_map(|event| match event {
        Event::ViewChanged { departed, cause, .. } => Some((*departed, *cause)),
        _ => None,
    });
    departures.collect()
}

#[test]
fn one_that_is_kicked_is_told_and_nobody_waits() {
    let report = plays(good_network(3).at_ms(2_000, Fault::Kick { by: peer(1), peer: peer(2) }));
    assert_eq!(cause(&report, 2), Some(EndCause::Kicked));
    assert_eq!(report.peer(2).unwrap().end.unwrap().by, None);
    for slot in [0, 1] {
        assert_eq!(departures(&report, slot), [(peer(2), DepartureCause::Kicked)]);
        assert_eq!(cause(&report, slot), Some(EndCause::Named(7)));
        let stalls = report.peer(slot).unwrap().counters.stalls;
        assert!(stalls < 20, "{slot}: {stalls} stalls");
    }
    let last = frames(&report, 2);
    assert!((100..130).contains(&last), "it recorded what was stable: {last}");
    assert!(is_idle(&report, 2, 130) && !is_idle(&report, 2, 110));
}

#[test]
fn all_are_told_why_also_when_the_one_who_did_it_crashes() {
    let faults = Faults { delay_min_ms: 60, delay_max_ms: 60, ..Faults::none() };
    let report = plays(
        good_network(5)
            .faults(faults)
            .at_ms(2_000, Fault::Kick { by: peer(3), peer: peer(4) })
            .at_ms(2_030, Fault::Crash(peer(3))),
    );
    assert_eq!(cause(&report, 4), Some(EndCause::Kicked));
    for slot in [0, 1, 2] {
        let expected = [(peer(4), DepartureCause::Kicked), (peer(3), DepartureCause::Lost)];
        assert_eq!(departures(&report, slot), expected);
    }
}

#[test]
fn of_two_only_the_lowest_can_send_the_other_away() {
    for (by, kicked) in [(0, 1), (1, 0)] {
        let kick = Fault::Kick { by: peer(by), peer: peer(kicked) };
        let report = plays(good_network(2).at_ms(2_000, kick));
        assert_eq!(report.faults.kicks, u64::from(by == 0), "{by} kicks {kicked}");
        let expected = if by == 0 { EndCause::Kicked } else { EndCause::Named(7) };
        assert_eq!(cause(&report, 1), Some(expected));
        assert_eq!(cause(&report, 0), Some(EndCause::Named(7)));
    }
}

#[test]
fn a_kicked_one_comes_back_only_when_its_slot_is_opened_again() {
    // In the simulator, slots are opened again where the seed is even.
    for (seed, comes_back) in [(1, false), (2, true)] {
        let report = plays(
            seeded_network(seed, 3)
                .at_ms(2_000, Fault::Kick { by: peer(0), peer: peer(1) })
                .at_ms(5_000, Fault::Return(peer(1))),
        );
        let faults = report.faults;
        assert_eq!(faults.refused == 0, comes_back, "seed {seed}");
        assert_eq!(faults.reopened, u64::from(comes_back));
        assert_eq!(returns(&report, 1).len(), usize::from(comes_back));
        is_whole(&report, if comes_back { &[0, 1, 2] } else { &[0, 2] });
    }
}

#[test]
fn one_that_is_being_let_in_is_let_in_no_more_when_it_is_kicked() {
    for at in [4_050, 4_300, 4_500, 4_650] {
        let report = plays(
            good_network(3)
                .faults(Faults { delay_min_ms: 60, delay_max_ms: 60, ..Faults::none() })
                .at_ms(2_000, Fault::Leave(peer(2)))
                .at_ms(4_000, Fault::Return(peer(2)))
                .at_ms(at, Fault::Kick { by: peer(1), peer: peer(2) }),
        );
        assert_eq!(report.faults.kicks, 1, "at {at}");
        assert!(is_idle(&report, 2, 590), "at {at}");
        assert_eq!(cause(&report, 2), Some(EndCause::Kicked), "at {at}");
        for slot in [0, 1] {
            let stalls = report.peer(slot).unwrap().counters.stalls;
            assert!(stalls < 60, "at {at}: nobody waits until {slot} gives it up: {stalls} stalls");
        }
        is_whole(&report, &[0, 1]);
    }
}

#[test]
fn one_that_is_cut_off_when_it_is_kicked_hears_of_it_when_the_network_heals() {
    let report = plays(
        good_network(3)
            .at_ms(2_000, Fault::Partition { side: peers(&[2]), millis: 3_000 })
            .at_ms(2_500, Fault::Kick { by: peer(0), peer: peer(2) }),
    );
    assert_eq!(cause(&report, 2), Some(EndCause::Kicked));
    assert_eq!(departures(&report, 1), [(peer(2), DepartureCause::Kicked)]);
}
