//! People who come back into their slot: after a crash, a leave, a broken network; and people who only come late.

use std::time::Duration;

use rollback_core::testing::{Fault, Faults, Report, Simulation};
use rollback_core::{
    EndCause, Event, Facts, Frame, InputFlags, Item, Output, Roster, Session, SessionConfig,
    StableFrame, Ticket, Timestamp,
};

use crate::games::Arena;
use crate::{cause, frames, good_network, peer, peers, plays};

pub(crate) fn quick(peers: usize) -> Simulation {
    good_network(peers).config(|builder| builder.departure_timeout(Duration::from_secs(1)))
}

/// The first frame of each new life of a slot, as recorded.
pub(crate) fn returns(report: &Report, of: u8) -> Vec<(Frame, u8)> {
    let rows = report.peer(0).unwrap().log.rows().iter();
    let items = rows.flat_map(|row| row.items.iter().map(|(by, item)| (row.frame, *by, *item)));
    items
        .filter_map(|(frame, by, item)| match item {
            Item::Join { incarnation } if by == peer(of) => Some((frame, incarnation)),
            _ => None,
        })
        .collect()
}

pub(crate) fn is_idle(report: &Report, of: u8, frame: u32) -> bool {
    let row = &report.peer(0).unwrap().log.rows()[frame as usize];
    InputFlags::from_bits(row.flags[usize::from(of)]).contains(InputFlags::IDLE_FILLED)
}

/// All end alike, and the one that came back has recorded the whole episode.
pub(crate) fn is_whole(report: &Report, slots: &[u8]) {
    for slot in slots {
        assert_eq!(cause(report, *slot), Some(EndCause::Named(7)), "{slot}");
        assert_eq!(frames(report, *slot), frames(report, slots[0]));
    }
}

#[test]
fn a_computer_that_crashed_comes_back_while_the_others_play() {
    let faults = Faults { delay_min_ms: 40, delay_max_ms: 40, ..Faults::none() };
    let report = plays(
        quick(3)
            .faults(faults)
            .at_ms(2_000, Fault::Crash(peer(1)))
            .at_ms(5_000, Fault::Return(peer(1))),
    );
    is_whole(&report, &[0, 1, 2]);
    let [(from, 1)] = returns(&report, 1)[..] else { panic!("{:?}", returns(&report, 1)) };
    assert!(is_idle(&report, 1, from.index() - 1) && !is_idle(&report, 1, from.index()));
    assert!((250..360).contains(&from.index()), "half a second or so after it was there: {from}");
    for slot in [0, 2] {
        let joined = |event: &Event| match event {
            Event::Joined { peer, from, .. } => Some((*peer, *from)),
            _ => None,
        };
        assert_eq!(report.peer(slot).unwrap().find_event(joined), Some((peer(1), from)));
        let stalls = report.peer(slot).unwrap().counters.stalls;
        // They wait for the crashed one until it is given up, and for nothing else.
        assert!(stalls < 90, "{slot}: {stalls} stalls");
    }
}

#[test]
fn of_two_players_either_may_come_back() {
    for gone in [0, 1] {
        let report = plays(
            quick(2).at_ms(2_000, Fault::Crash(peer(gone))).at_ms(6_000, Fault::Return(peer(gone))),
        );
        // Without the anchor the other one had no quorum: there is nobody to come back to.
        match gone {
            0 => assert_eq!(cause(&report, 1), Some(EndCause::Partitioned)),
            _ => {
                is_whole(&report, &[0, 1]);
                assert_eq!(returns(&report, 1).len(), 1);
            }
        }
    }
}

#[test]
fn one_that_left_in_order_comes_back_and_leaves_again() {
    let report = plays(
        quick(3)
            .at_ms(2_000, Fault::Leave(peer(2)))
            .at_ms(6_000, Fault::Return(peer(2)))
            .at_ms(8_500, Fault::Leave(peer(2))),
    );
    assert_eq!(returns(&report, 2).len(), 1);
    assert_eq!(cause(&report, 2), Some(EndCause::Left));
    let back = returns(&report, 2)[0].0.index();
    let end = frames(&report, 2);
    assert!(end > back as usize && end < frames(&report, 0), "{back} {end}");
}

#[test]
fn one_comes_back_twice() {
    let report = plays(
        quick(3)
            .frames(900)
            .at_ms(2_000, Fault::Crash(peer(1)))
            .at_ms(4_000, Fault::Return(peer(1)))
            .at_ms(6_500, Fault::Crash(peer(1)))
            .at_ms(9_000, Fault::Return(peer(1))),
    );
    is_whole(&report, &[0, 1, 2]);
    assert_eq!(returns(&report, 1).iter().map(|(_, life)| *life).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn one_that_starts_anew_before_it_was_missed_is_given_up_at_once() {
    let report = plays(
        good_network(3).at_ms(2_000, Fault::Crash(peer(1))).at_ms(2_200, Fault::Return(peer(1))),
    );
    is_whole(&report, &[0, 1, 2]);
    let from = returns(&report, 1)[0].0;
    assert!(from < Frame::new(240), "five seconds are not waited for: {from}");
}

#[test]
fn those_that_were_cut_off_come_back_when_the_network_heals() {
    let broken = Fault::Partition { side: peers(&[3, 4]), millis: 3_000 };
    let report = plays(
        quick(5)
            .frames(900)
            .at_ms(2_000, broken)
            .at_ms(7_000, Fault::Return(peer(3)))
            .at_ms(7_050, Fault::Return(peer(4))),
    );
    is_whole(&report, &[0, 1, 2, 3, 4]);
    assert_eq!((returns(&report, 3).len(), returns(&report, 4).len()), (1, 1));
}

#[test]
fn one_that_comes_back_counts_for_a_quorum() {
    // Of two, the one that came back goes on alone only where it is the anchor.
    let report = plays(
        quick(3)
            .frames(900)
            .at_ms(2_000, Fault::Crash(peer(1)))
            .at_ms(4_000, Fault::Return(peer(1)))
            .at_ms(8_000, Fault::Crash(peer(2))),
    );
    is_whole(&report, &[0, 1]);
}

#[test]
fn a_second_one_crashes_while_the_first_is_being_let_in() {
    for at in [4_100, 4_300, 4_500, 4_700, 4_900] {
        let report = plays(
            quick(4)
                .frames(900)
                .faults(Faults { delay_min_ms: 60, delay_max_ms: 60, ..Faults::none() })
                .at_ms(2_000, Fault::Crash(peer(1)))
                .at_ms(4_000, Fault::Return(peer(1)))
                .at_ms(at, Fault::Crash(peer(3))),
        );
        is_whole(&report, &[0, 1, 2]);
        assert_eq!(returns(&report, 1).len(), 1, "at {at} ms");
    }
}

#[test]
fn one_that_comes_back_into_a_pause_is_there_after_it() {
    let report = plays(
        quick(3)
            .at_ms(2_000, Fault::Crash(peer(1)))
            .at_ms(4_000, Fault::AgreedPause { peer: peer(0), millis: 3_000 })
            .at_ms(5_000, Fault::Return(peer(1))),
    );
    is_whole(&report, &[0, 1, 2]);
    assert_eq!(returns(&report, 1).len(), 1);
}

#[test]
fn with_what_a_former_life_has_claimed_others_may_have_gone_on() {
    // 0 claims to go on with 2, whom it hears no more then, and is cut off. 2 goes on with that, without 1. 1 stands still
    // meanwhile; when it wakes, 0 begins anew and 2 is gone, but 1 is not all that is left of three.
    let report = plays(
        quick(3)
            .outlasting_timeouts()
            .at_ms(2_000, Fault::Partition { side: peers(&[1]), millis: 1_600 })
            .at_ms(2_300, Fault::Mute { from: peer(2), to: peer(0), millis: 2_300 })
            .at_ms(2_500, Fault::Pause { peer: peer(1), millis: 4_500 })
            .at_ms(6_500, Fault::Return(peer(0))),
    );
    let went_on = |slot| report.peer(slot).unwrap().saw_departure();
    assert!(went_on(2) && !went_on(1));
    for slot in [1, 2] {
        assert_eq!(cause(&report, slot), Some(EndCause::Partitioned));
    }
    assert!(frames(&report, 2) > frames(&report, 1), "what 1 would have taken back");
}

#[test]
fn one_that_comes_back_steps_what_was_recorded_without_flooding_the_others() {
    let config = SessionConfig::builder().players(2).build().unwrap();
    let roster = Roster::one_player_each(2).unwrap();
    let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local: peer(1), incarnation: 1 };
    let mut arena = Arena::endless();
    let start = Timestamp::from_millis(1_000);
    let session = Session::rejoin(&config, &ticket, Facts::default(), &arena, start);
    let mut session = session.unwrap();
    let (mut frame, mut datagrams) = (Frame::ZERO, 0);
    // A minute of play, stepped as fast as this computer can: a frame in 200 microseconds.
    for number in 0..3_600 {
        let now = start.plus(Duration::from_micros(200 * number));
        let (inputs, flags, items, output) = (&[0, 0], &[0, 0], &[], &[]);
        let (state_hash, keyframe) = (None, None);
        let row = StableFrame { frame, inputs, flags, items, output, state_hash, keyframe };
        if session.backfill(&row, false).unwrap() {
            frame = frame.next();
        }
        session.advance_frame(now, &mut arena).unwrap();
        while let Some(output) = session.poll_output(now) {
            datagrams += u32::from(matches!(output, Output::Datagram { .. }));
        }
    }
    assert!(frame.index() > 3_500, "{frame}");
    // Each 20 ms it says that it is there, and how far it is.
    assert!((30..100).contains(&datagrams), "{datagrams} datagrams in 0.72 s");
}
