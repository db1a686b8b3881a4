//! What becomes of people who are silent, as the configuration says.

use std::time::Duration;

use rollback_core::journal::JournalReplay;
use rollback_core::testing::{Fault, Report, Simulation};
use rollback_core::{
    DepartureCause, EndCause, Event, Facts, Game, Output, PlayerHandle, Roster, Session,
    SessionConfig, Silence, Ticket, Timestamp,
};

use crate::games::Arena;
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

/// When it is told that the other one of two is silent, in milliseconds after it was heard last, and the journal.
fn told_after(setting: Option<u64>) -> (u64, Vec<u8>) {
    let config = SessionConfig::builder().build().unwrap();
    let roster = Roster::new(&[peer(0), peer(1)]).unwrap();
    let [mut silent, mut told] = [1, 0].map(|slot| {
        let (roster, local) = (roster.clone(), peer(slot));
        let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
        let game = Arena::endless();
        let session =
            Session::with_journal(&config, &ticket, Facts::default(), &game, Timestamp::ZERO);
        (session.unwrap(), game)
    });
    if let Some(millis) = setting {
        told.0 = told.0.with_interrupted_after(Duration::from_millis(millis));
    }
    let mut heard_at = 0;
    for millis in (0..).step_by(10) {
        assert!(millis < 10_000, "it is not told");
        let now = Timestamp::from_millis(millis);
        let is_heard = millis < 1_000;
        let player = |slot| PlayerHandle::new(slot).unwrap();
        told.0.set_local_input(player(0), &1).unwrap();
        told.0.advance_frame(now, &mut told.1).unwrap();
        while let Some(output) = told.0.poll_output(now) {
            match output {
                Output::Datagram { bytes, .. } if is_heard => {
                    silent.0.handle_datagram(now, peer(0), bytes);
                }
                Output::Event(Event::Interrupted { peer: whose, silent }) => {
                    assert_eq!(whose, peer(1));
                    assert_eq!(silent.as_millis(), u128::from(millis - heard_at));
                    return (millis - heard_at, told.0.take_journal());
                }
                _ => {}
            }
        }
        silent.0.set_local_input(player(1), &1).unwrap();
        silent.0.advance_frame(now, &mut silent.1).unwrap();
        while let Some(output) = silent.0.poll_output(now) {
            if let (Output::Datagram { bytes, .. }, true) = (output, is_heard) {
                told.0.handle_datagram(now, peer(1), bytes);
                heard_at = millis;
            }
        }
    }
    unreachable!()
}

#[test]
fn after_how_much_silence_it_is_told_is_a_setting() {
    for (setting, expected) in [(None, 500), (Some(200), 200), (Some(3_000), 3_000)] {
        let (after, journal) = told_after(setting);
        assert_eq!(after, expected, "{setting:?}");
        let mut replay = JournalReplay::<<Arena as Game>::Input>::new(&journal).unwrap();
        assert!(replay.run().unwrap() > 100);
    }
}
