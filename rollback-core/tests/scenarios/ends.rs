//! How episodes end: by the game, by a member, by a failure, by a desync.

use rollback_core::testing::{Faults, Oracle};
use rollback_core::{DesyncFinding, EndCause, Event, Frame};

use crate::games::{Arena, Rules};
use crate::{cause, frames, good_network, peer, plays, seeded_network};

#[test]
fn the_game_ends_at_the_same_frame_for_everyone() {
    let faults = Faults { delay_max_ms: 60, loss_max_per_mille: 100, ..Faults::none() };
    let rules = Rules { may_end_from: Some(200), ..Rules::default() };
    let report = good_network(3).faults(faults).run(|| Arena::with(rules)).unwrap();
    let end = report.peer(0).unwrap().end.unwrap();
    assert_eq!(end.cause, EndCause::Finished);
    assert!(end.frame > Frame::new(200));
    assert!(report.peers.iter().all(|peer| peer.end == Some(end)));
}

#[test]
fn a_member_ends_the_episode_for_everyone() {
    use rollback_core::testing::Fault;
    let report = plays(good_network(3).at_ms(1_000, Fault::ProposeEnd { peer: peer(2), code: 99 }));
    for slot in 0..3 {
        let end = report.peer(slot).unwrap().end.unwrap();
        assert_eq!((end.cause, end.by), (EndCause::Named(99), Some(peer(2))));
        assert!((50..70).contains(&end.frame.index()), "{end:?}");
    }
}

#[test]
fn all_name_the_same_leaver_when_two_leave_at_once() {
    use rollback_core::testing::Fault;
    let setting = good_network(3).config(|config| config.members_min(2));
    let setting = setting.at_ms(1_000, Fault::Leave(peer(1)));
    let report = plays(setting.at_ms(1_000, Fault::Leave(peer(2))));
    let ends: Vec<_> = (0..3).map(|slot| report.peer(slot).unwrap().end.unwrap()).collect();
    assert!(ends.iter().all(|end| end.cause == EndCause::Left), "{ends:?}");
    assert_eq!(ends[0].by, Some(peer(1)));
}

#[test]
fn a_member_that_ends_the_episode_and_leaves_at_once_ends_it_for_everyone() {
    use rollback_core::testing::Fault;
    let setting = good_network(3).at_ms(1_000, Fault::ProposeEnd { peer: peer(2), code: 5 });
    let report = plays(setting.at_ms(1_000, Fault::Leave(peer(2))));
    for slot in 0..3 {
        let end = report.peer(slot).unwrap().end.unwrap();
        assert_eq!((end.cause, end.by), (EndCause::Named(5), Some(peer(2))));
    }
}

#[test]
fn a_game_that_fails_on_one_computer_is_told_to_the_others_who_play_on() {
    let fails = Rules { fails_at: Some(100), ..Rules::default() };
    let report = good_network(3)
        .frames(300)
        .waive(Oracle::GameFailure)
        .run_each(
            |of| if of == peer(1) { Arena::with(fails) } else { Arena::endless() },
            Arena::endless,
        )
        .unwrap_or_else(|failure| panic!("{failure}"));
    let failed = report.peer(1).unwrap();
    assert_eq!(failed.end.unwrap().cause, EndCause::GameFailed);
    assert!(failed.error.as_ref().unwrap().contains("Jammed"), "{failed:?}");
    assert!(failed.log.rows().len() <= 100);
    for slot in [0, 2] {
        assert_eq!(cause(&report, slot), Some(EndCause::Named(7)));
        assert!(frames(&report, slot) >= 300);
        let told = report.peer(slot).unwrap().find_event(|event| match event {
            Event::PeerGameFailed { peer, frame } => Some((*peer, *frame)),
            _ => None,
        });
        assert_eq!(told, Some((peer(1), Frame::new(100))));
    }
}

#[test]
fn a_game_that_fails_ends_the_match_where_two_are_needed() {
    let fails = Rules { fails_at: Some(100), ..Rules::default() };
    let report = good_network(2)
        .config(|builder| builder.members_min(2))
        .waive(Oracle::GameFailure)
        .run_each(
            |of| if of == peer(1) { Arena::with(fails) } else { Arena::endless() },
            Arena::endless,
        )
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(cause(&report, 1), Some(EndCause::GameFailed));
    assert_eq!(cause(&report, 0), Some(EndCause::Departed));
}

#[test]
fn a_member_whose_game_failed_has_departed_even_where_its_goodbye_was_lost() {
    // What a driver does after an error is to leave; an item that says so must not come before the lost goodbye.
    let fails = Rules { fails_at: Some(100), ..Rules::default() };
    let faults = Faults { delay_max_ms: 60, loss_max_per_mille: 700, ..Faults::none() };
    for seed in 0..100 {
        let report = seeded_network(seed, 2)
            .faults(faults.clone())
            .config(|builder| builder.members_min(2))
            .waive(Oracle::GameFailure)
            .run_each(
                |of| if of == peer(1) { Arena::with(fails) } else { Arena::endless() },
                Arena::endless,
            )
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(cause(&report, 0), Some(EndCause::Departed), "seed {seed}");
    }
}

#[test]
fn a_step_that_fails_only_on_guesses_is_stepped_again_and_nobody_notices() {
    let rules = Rules { fails_on_guesses: true, ..Rules::default() };
    let faults = Faults { delay_max_ms: 80, loss_max_per_mille: 50, ..Faults::none() };
    let report = good_network(2).faults(faults).run(|| Arena::with(rules)).unwrap();
    assert!(report.peers.iter().all(|peer| peer.failed_guesses > 0 && peer.error.is_none()));
}

#[test]
fn a_state_that_cannot_be_saved_only_under_guesses_is_reached_again_and_nobody_notices() {
    let rules = Rules { repeats_cannot_be_saved: true, ..Rules::default() };
    let mut failed = 0;
    for seed in 0..20 {
        let faults = Faults { delay_max_ms: 80, loss_max_per_mille: 50, ..Faults::none() };
        // Nobody gives an input twice in a row, which is just what is guessed.
        let network = seeded_network(seed, 2).faults(faults).inputs(|_, _, input| {
            input[0] = input[0] % 255 + 1;
        });
        let report = network.run(|| Arena::with(rules)).unwrap_or_else(|e| panic!("{e}"));
        failed += report.peers.iter().map(|p| p.counters.rollback.failed_guesses).sum::<u64>();
        assert!(report.peers.iter().all(|peer| peer.error.is_none()));
    }
    assert!(failed > 0);
}

#[test]
fn a_computer_that_calculates_differently_is_found_with_frame_and_field() {
    // The state after frame 103 is that of frame 104.
    let diverges = Rules { diverges_at: Some(103), ..Rules::default() };
    assert_found(diverges, Frame::new(104), "players[0].x");
}

#[test]
fn an_output_that_differs_is_found_although_the_states_are_equal() {
    // Recordings hold outputs, too: rewards that part would make two files differ that are said to be equal.
    let misreports = Rules { misreports_at: Some(103), ..Rules::default() };
    assert_found(misreports, Frame::new(104), "output of the step");
}

#[test]
fn four_members_end_at_the_same_frame_when_one_calculates_differently() {
    // With a report every second frame and many datagrams lost, some have heard more reports than others.
    let diverges = Rules { diverges_at: Some(103), ..Rules::default() };
    for loss_max_per_mille in (100..500).step_by(20) {
        let faults = Faults { delay_max_ms: 120, loss_max_per_mille, ..Faults::none() };
        let report = good_network(4)
            .config(|config| config.report_interval_frames(2))
            .faults(faults)
            .waive(Oracle::Desync)
            .run_each(
                |of| if of == peer(1) { Arena::with(diverges) } else { Arena::endless() },
                Arena::endless,
            )
            .unwrap_or_else(|failure| panic!("{failure}"));
        let ends: Vec<_> = report.peers.iter().map(|peer| peer.end.unwrap()).collect();
        assert_eq!(ends[0].cause, EndCause::Desync);
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    }
}

fn assert_found(diverges: Rules, frame: Frame, path: &str) {
    let faults = Faults { delay_max_ms: 40, loss_max_per_mille: 50, ..Faults::none() };
    let report = good_network(2)
        .faults(faults)
        .waive(Oracle::Desync)
        .run_each(
            |of| if of == peer(1) { Arena::with(diverges) } else { Arena::endless() },
            Arena::endless,
        )
        .unwrap_or_else(|failure| panic!("{failure}"));
    for slot in 0..2 {
        let seen = report.peer(slot).unwrap();
        let end = seen.end.unwrap();
        assert_eq!((end.cause, end.frame), (EndCause::Desync, Frame::new(100)));
        let desync = seen.find_event(|event| match event {
            Event::Desync(desync) => Some(desync.clone()),
            _ => None,
        });
        let desync = desync.unwrap();
        assert!(desync.inputs_are_equal);
        assert_eq!(desync.agreed, Frame::new(100));
        assert_eq!(
            desync.finding,
            DesyncFinding::First { frame, path: Some(path.to_string()), bytes: None }
        );
    }
}

#[test]
fn one_whose_game_ends_earlier_since_it_calculates_differently_does_not_keep_the_others_waiting() {
    // It stands at its end, and gives them inputs up to their own next report.
    let mut parted = 0;
    for seed in 0..40 {
        let other = Rules { may_end_from: Some(92), ..Rules::default() };
        let diverges = Rules { diverges_at: Some(91), ..other };
        let peers = if seed % 2 == 0 { 2 } else { 3 };
        let played = seeded_network(seed, peers).waive(Oracle::Desync).run_each(
            |of| Arena::with(if of == peer(1) { diverges } else { other }),
            || Arena::with(other),
        );
        let report = played.unwrap_or_else(|failure| panic!("{failure}"));
        let ends: Vec<_> = report.peers.iter().map(|peer| peer.end.unwrap()).collect();
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
        parted += u32::from(ends[0].cause == EndCause::Desync);
    }
    assert!(parted >= 20, "{parted}");
}
