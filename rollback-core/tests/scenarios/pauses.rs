//! Pauses by agreement: all stand still at the same frame, whoever paused is recorded, and nobody is held by one who is gone.

use rollback_core::testing::{Fault, Faults, Report, Simulation};
use rollback_core::{EndCause, Event, Item, PeerId};

use crate::{cause, frames, good_network, peer, peers, plays};

fn pause(slot: u8, millis: u32) -> Fault {
    Fault::AgreedPause { peer: peer(slot), millis }
}

/// The pauses and their ends, with who proposed them and the frame.
fn recorded(report: &Report, slot: u8) -> Vec<(u32, PeerId, Item)> {
    let rows = report.peer(slot).unwrap().log.rows().iter();
    let items =
        rows.flat_map(|row| row.items.iter().map(|(by, item)| (row.frame.index(), *by, *item)));
    items.filter(|(_, _, item)| matches!(item, Item::Pause | Item::Resume)).collect()
}

fn stood_at(report: &Report, slot: u8) -> Vec<u32> {
    report.peer(slot).unwrap().stood_at.iter().map(|frame| frame.index()).collect()
}

#[test]
fn all_stand_still_at_one_frame_and_go_on_together() {
    let faults = Faults { delay_min_ms: 40, delay_max_ms: 40, ..Faults::none() };
    let report = plays(good_network(3).faults(faults).at_ms(2_000, pause(1, 2_500)));
    let items = recorded(&report, 0);
    let [(paused, by, Item::Pause), (_, end, Item::Resume)] = items[..] else {
        panic!("{items:?}")
    };
    assert_eq!((by, end), (peer(1), peer(1)));
    assert!((110..130).contains(&paused), "{paused}");
    for slot in 0..3 {
        assert_eq!(recorded(&report, slot), items);
        assert_eq!(stood_at(&report, slot), [paused + 8], "a window later, at {slot}");
        assert!(!report.peer(slot).unwrap().saw_departure());
        let silent = |event: &Event| matches!(event, Event::Interrupted { .. }).then_some(());
        assert_eq!(report.peer(slot).unwrap().find_event(silent), None, "they go on talking");
    }
}

#[test]
fn in_lockstep_the_frame_of_the_pause_itself_is_not_stepped() {
    let lockstep = good_network(2).config(|builder| builder.prediction_window_frames(0));
    let report = plays(lockstep.at_ms(2_000, pause(0, 1_000)));
    let paused = recorded(&report, 1)[0].0;
    assert_eq!([0, 1].map(|slot| stood_at(&report, slot)), [vec![paused], vec![paused]]);
}

#[test]
fn two_that_pause_must_both_resume() {
    let report = plays(good_network(3).at_ms(2_000, pause(0, 1_000)).at_ms(2_005, pause(2, 2_500)));
    let items = recorded(&report, 1);
    assert_eq!(items.len(), 4);
    let lasts = report.lasted.as_millis();
    let alone = plays(good_network(3).at_ms(2_000, pause(0, 1_000))).lasted.as_millis();
    assert!(lasts > alone + 1_400, "{lasts} and {alone} ms");
}

#[test]
fn one_that_pauses_in_the_pause_of_another_holds_all_once_more() {
    let report = plays(good_network(3).at_ms(2_000, pause(0, 1_500)).at_ms(3_000, pause(1, 1_500)));
    for slot in 0..3 {
        assert_eq!(stood_at(&report, slot).len(), 2, "{:?}", recorded(&report, slot));
        assert_eq!(recorded(&report, slot).len(), 4);
    }
}

#[test]
fn a_pause_ends_when_whoever_paused_crashes_or_leaves() {
    for gone in [Fault::Crash(peer(2)), Fault::Leave(peer(2))] {
        let report = plays(good_network(3).at_ms(2_000, pause(2, 60_000)).at_ms(3_000, gone));
        for slot in 0..2 {
            assert_eq!(cause(&report, slot), Some(EndCause::Named(7)));
            assert_eq!(recorded(&report, slot).len(), 1, "nobody resumed");
            assert_eq!(stood_at(&report, slot).len(), 1);
        }
    }
}

#[test]
fn in_a_pause_another_leaves_at_once_and_a_crashed_one_is_given_up() {
    let report = plays(
        good_network(4)
            .config(|builder| builder.departure_timeout(core::time::Duration::from_secs(1)))
            .at_ms(2_000, pause(0, 4_000))
            .at_ms(3_000, Fault::Leave(peer(1)))
            .at_ms(3_500, Fault::Crash(peer(3))),
    );
    let left = report.peer(1).unwrap().end.unwrap();
    assert_eq!(left.cause, EndCause::Left);
    // Its last frames are played in spite of the pause, for it to end on what all agree on.
    assert!(frames(&report, 1) < 150);
    assert!(report.peer(2).unwrap().saw_departure());
    assert_eq!(cause(&report, 2), Some(EndCause::Named(7)));
}

#[test]
fn a_paused_episode_can_be_ended() {
    let end = Fault::ProposeEnd { peer: peer(1), code: 9 };
    let report = plays(good_network(3).at_ms(2_000, pause(0, 60_000)).at_ms(3_000, end));
    assert_eq!([0, 1, 2].map(|slot| cause(&report, slot)), [Some(EndCause::Named(9)); 3]);
    assert!(frames(&report, 0) < 150, "{}", frames(&report, 0));
}

#[test]
fn one_that_resumes_and_pauses_again_in_one_frame_holds_all_on() {
    // The computer stands still while somebody resumes and pauses again, so that one frame carries both.
    let report = plays(
        good_network(2)
            .at_ms(2_000, pause(1, 500))
            .at_ms(2_300, Fault::Pause { peer: peer(1), millis: 700 })
            .at_ms(2_700, pause(1, 1_000)),
    );
    let items = recorded(&report, 0);
    let [
        (_, _, Item::Pause),
        (end, _, Item::Resume),
        (again, _, Item::Pause),
        (_, _, Item::Resume),
    ] = items[..]
    else {
        panic!("{items:?}")
    };
    assert_eq!(end, again);
    for slot in 0..2 {
        assert_eq!(stood_at(&report, slot), [items[0].0 + 8, again + 8]);
    }
}

/// A network that breaks for longer than a member is waited for.
fn breaks(simulation: Simulation, side: &[u8], at: u64, millis: u32) -> Simulation {
    simulation
        .config(|builder| builder.departure_timeout(core::time::Duration::from_secs(1)))
        .at_ms(at, Fault::Partition { side: peers(side), millis })
}

#[test]
fn one_that_pauses_alone_and_crashes_stood_still_for_nobody() {
    let report = plays(
        breaks(good_network(2), &[1], 2_500, 1_250)
            .at_ms(2_501, pause(1, 1_000))
            .at_ms(3_000, Fault::Crash(peer(1))),
    );
    assert_eq!(stood_at(&report, 1).len(), 1);
    assert_eq!((recorded(&report, 0), stood_at(&report, 0)), (vec![], vec![]));
}

#[test]
fn a_pause_is_over_for_those_who_agree_that_whoever_paused_departs() {
    let report = plays(breaks(good_network(3), &[2], 2_500, 3_000).at_ms(2_000, pause(2, 60_000)));
    let causes = [0, 1, 2].map(|slot| cause(&report, slot));
    let going_on = Some(EndCause::Named(7));
    assert_eq!(causes, [going_on, going_on, Some(EndCause::Partitioned)]);
    let stands = [0, 1, 2].map(|slot| stood_at(&report, slot));
    assert_eq!(stands[0].len(), 1);
    assert!(stands.iter().all(|at| *at == stands[0]), "the one cut off never went on: {stands:?}");
}

#[test]
fn one_that_leaves_while_it_is_cut_off_plays_up_to_that_in_a_pause() {
    let report = plays(
        breaks(good_network(4), &[3], 2_100, 4_000)
            .at_ms(2_000, pause(2, 1_500))
            .at_ms(2_900, Fault::Leave(peer(3))),
    );
    let left = stood_at(&report, 3);
    assert_eq!((left.len(), stood_at(&report, 2)), (2, vec![left[0]]), "{left:?}");
}

#[test]
fn a_network_that_breaks_in_a_pause_heals_in_it() {
    let broken = Fault::Partition { side: peers(&[1]), millis: 1_500 };
    let report = plays(good_network(2).at_ms(2_000, pause(0, 2_500)).at_ms(2_500, broken));
    assert!(report.peers.iter().all(|seen| !seen.saw_departure()));
    assert_eq!(stood_at(&report, 0), stood_at(&report, 1));
}

#[test]
fn a_pause_that_nobody_heard_of_is_taken_back() {
    // It is resumed before a frame is filed: at 30 frames a second the next one is 33 ms away.
    let slow = good_network(2).config(|builder| builder.tick_rate_hz(1).input_delay_frames(0));
    let report = plays(slow.frames(4).at_ms(2_100, pause(0, 1)));
    assert_eq!(recorded(&report, 0), []);
    assert_eq!(stood_at(&report, 1), []);
}
