//! States that those who come back or late are given, so that they need not step all that was played; and states that all took
//! over after a desync, which they find in what was recorded.

use rollback_core::testing::{Fault, Faults, Report, Simulation};
use rollback_core::{
    BackfillError, Event, Facts, Frame, Item, OnDesync, PeerSet, ResyncFrom, Roster, Session,
    SessionConfig, StableFrame, StateHash, Ticket, Timestamp,
};

use crate::games::{Arena, Rules};
use crate::returns::{is_whole, quick, returns};
use crate::{frames, peer, plays};

/// Half a minute of play, of which peer 1 misses ten seconds; it comes back by a state, on a path of this seed.
fn long(peers: usize) -> Simulation {
    let faults =
        Faults { delay_min_ms: 20, delay_max_ms: 20, states_per_mille: 1_000, ..Faults::none() };
    quick(peers)
        .frames(1_800)
        .faults(faults)
        .at_ms(2_000, Fault::Crash(peer(1)))
        .at_ms(20_000, Fault::Return(peer(1)))
}

fn taken(report: &Report, slot: u8) -> Option<Frame> {
    report.peer(slot).unwrap().find_event(|event| match event {
        Event::StateTaken { frame } => Some(*frame),
        _ => None,
    })
}

/// All have recorded the same, from the first frame on.
fn is_equal(report: &Report, slots: &[u8]) {
    is_whole(report, slots);
    let first = &report.peer(slots[0]).unwrap().log;
    for slot in slots {
        assert!(report.peer(*slot).unwrap().log == *first, "{slot}");
    }
}

#[test]
fn one_that_comes_back_to_a_long_game_steps_little_of_it() {
    let report = plays(long(3));
    is_equal(&report, &[0, 1, 2]);
    let (from, _) = returns(&report, 1)[0];
    let state = taken(&report, 1).unwrap();
    let back = &report.peer(1).unwrap().counters;
    // It had begun to step before the state came, and steps what was played since.
    assert!(from.index() > 1_100 && state.index() > 1_000, "{state}, then {from}");
    let stepped = u64::from(from.index()) - back.passed;
    assert!(stepped < 350, "{stepped} of {from} frames stepped");
    // Who plays on does not wait for it longer than for one that steps all.
    let all =
        plays(long(3).faults(Faults { delay_min_ms: 20, delay_max_ms: 20, ..Faults::none() }));
    assert_eq!(all.peer(1).unwrap().counters.passed, 0);
    let stalls = |report: &Report| report.peer(0).unwrap().counters.stalls;
    assert!(stalls(&report) <= stalls(&all) + 3, "{} {}", stalls(&report), stalls(&all));
}

#[test]
fn one_that_only_comes_late_may_begin_from_a_state() {
    let late: PeerSet = [peer(2)].into_iter().collect();
    let faults = Faults { states_per_mille: 1_000, ..Faults::none() };
    let report = plays(
        quick(3)
            .frames(1_500)
            .faults(faults)
            .config(move |builder| builder.late_peers(late))
            .at_ms(18_000, Fault::Return(peer(2))),
    );
    is_equal(&report, &[0, 1, 2]);
    assert!(taken(&report, 2).unwrap().index() > 900);
}

#[test]
fn two_come_by_states_at_once_and_one_more_is_lost_meanwhile() {
    let report = plays(
        long(5)
            .at_ms(3_500, Fault::Crash(peer(2)))
            .at_ms(21_000, Fault::Return(peer(2)))
            .at_ms(20_200, Fault::Crash(peer(3))),
    );
    is_equal(&report, &[0, 1, 2, 4]);
    for slot in [1, 2] {
        assert!(report.peer(slot).unwrap().counters.passed > 500, "{slot}");
    }
}

#[test]
fn a_game_that_writes_no_states_or_reads_none_is_stepped() {
    for (rules, refused) in [
        (Rules { cannot_import: true, ..Rules::default() }, true),
        (Rules { cannot_export: true, ..Rules::default() }, false),
    ] {
        let report = long(3).run(|| Arena::with(rules)).unwrap_or_else(|broken| panic!("{broken}"));
        is_equal(&report, &[0, 1, 2]);
        let back = &report.peer(1).unwrap().counters;
        assert_eq!((back.passed, back.states_refused > 0), (0, refused));
    }
}

/// Flipped bits are settled by taking over the majority's state, before peer 1 crashes.
fn over_a_resync(states_per_mille: u32) -> Report {
    let majority = OnDesync::Resync(ResyncFrom::Majority { anchor: peer(0) });
    let faults = Faults { states_per_mille, ..Faults::none() };
    let struck = quick(4)
        .frames(1_200)
        .faults(faults)
        .config(move |builder| builder.on_desync(majority))
        .at_ms(8_000, Fault::Crash(peer(1)))
        .at_ms(14_000, Fault::Return(peer(1)));
    // Where a bit lies in what is taken back, nothing differs.
    let rays = [0, 2, 3, 0, 2, 3].map(|slot| Fault::Ray { peer: peer(slot), bit: 70 });
    let rays = (2_000..).step_by(630).zip(rays);
    plays(rays.fold(struck, |struck, (at, ray)| struck.at_ms(at, ray)))
}

#[test]
fn one_comes_back_over_states_that_all_took_over() {
    for states_per_mille in [0, 1_000] {
        let report = over_a_resync(states_per_mille);
        let rows = report.peer(0).unwrap().log.rows().iter();
        let keyframes = rows.filter(|row| row.keyframe.is_some()).count();
        assert!(keyframes >= 2, "{keyframes}");
        is_equal(&report, &[0, 1, 2, 3]);
        assert_eq!(taken(&report, 1).is_some(), states_per_mille > 0);
        assert!(frames(&report, 1) >= 1_200);
    }
}

/// A bit of `struck`'s state is flipped so long after peer 1 begins to come back.
fn struck_while_one_returns(struck: u8, after_ms: u64, report_interval: u8) -> Report {
    let majority = OnDesync::Resync(ResyncFrom::Majority { anchor: peer(0) });
    let returning = quick(4)
        .frames(600)
        .config(move |builder| builder.on_desync(majority).report_interval_frames(report_interval))
        .at_ms(2_500, Fault::Crash(peer(1)))
        .at_ms(6_000, Fault::Return(peer(1)));
    plays(returning.at_ms(6_000 + after_ms, Fault::Ray { peer: peer(struck), bit: 70 }))
}

#[test]
fn states_that_part_while_one_is_let_in_are_settled_with_it() {
    let mut settled = 0;
    for after_ms in (0..1_000).step_by(50) {
        for report_interval in [5, 10, 30] {
            let report = struck_while_one_returns(3, after_ms, report_interval);
            is_equal(&report, &[0, 1, 2, 3]);
            let is_settled = |event: &Event| matches!(event, Event::Resynced { .. }).then_some(());
            settled += u32::from(report.peer(1).unwrap().find_event(is_settled).is_some());
            // The same with the one that comes back: it is settled with, or has no place in the others' recording.
            let report = struck_while_one_returns(1, after_ms, report_interval);
            is_equal(&report, &[0, 2, 3]);
        }
    }
    assert!(settled >= 10, "{settled}");
}

#[test]
fn a_recorded_state_that_does_not_say_whose_it_is_is_refused_and_a_wrong_one_ends_it() {
    let majority = OnDesync::Resync(ResyncFrom::Majority { anchor: peer(0) });
    let config = SessionConfig::builder().players(2).on_desync(majority).build().unwrap();
    let roster = Roster::one_player_each(2).unwrap();
    let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local: peer(1), incarnation: 1 };
    let mut arena = Arena::endless();
    let session = Session::rejoin(&config, &ticket, Facts::default(), &arena, Timestamp::ZERO);
    let mut session = session.unwrap();
    let row = |frame: u32| StableFrame {
        frame: Frame::new(frame),
        inputs: &[0, 0],
        flags: &[0, 0],
        items: &[],
        output: &[],
        state_hash: None,
        keyframe: None,
    };
    for frame in 0..10 {
        assert_eq!(session.backfill(&row(frame), true), Ok(true));
    }
    let items = [(peer(0), Item::Resync { attempts: 1 })];
    let whole = StableFrame {
        items: &items,
        state_hash: Some(StateHash::default()),
        keyframe: Some(&[1]),
        ..row(10)
    };
    let refused = Err(BackfillError::Keyframe { frame: Frame::new(10) });
    assert_eq!(session.backfill(&StableFrame { items: &[], ..whole }, true), refused);
    assert_eq!(session.backfill(&StableFrame { state_hash: None, ..whole }, true), refused);
    assert_eq!(session.backfill(&whole, true), Ok(true));
    let error = session.advance_frame(Timestamp::ZERO, &mut arena).unwrap_err();
    assert!(error.to_string().contains("10"), "{error}");
    assert!(session.end().is_some());
}
