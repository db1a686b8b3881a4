//! When the members' states differ, and somebody ends or goes before that is settled.

use rollback_core::testing::{Fault, Faults, Oracle, Report, Simulation};
use rollback_core::{DesyncFinding, EndCause, Event, Frame, OnDesync};

use crate::desyncs::{majority, resyncs};
use crate::games::{Arena, Rules};
use crate::{good_network, peer};

/// The games of the peers end after so many frames each.
fn with_ends(simulation: Simulation, ends: &[Option<u32>]) -> Report {
    // There is no game that all should have played.
    let simulation = simulation.waive(Oracle::Desync).waive(Oracle::Reference).waive(Oracle::Ends);
    let arena = |ends_at| Arena::with(Rules { ends_at, ..Rules::default() });
    let played = simulation.run_each(|of| arena(ends[of.index()]), || arena(None));
    played.unwrap_or_else(|failure| panic!("{ends:?}: {failure}"))
}

#[test]
fn games_that_end_at_three_frames_end_the_episode_for_all_where_they_agreed() {
    let ends = [
        [Some(92), Some(93), None],
        [Some(92), Some(95), Some(98)],
        [Some(92), Some(100), None],
        [Some(100), None, Some(93)],
    ];
    for (ends, delay, delay_max_ms) in each(&ends) {
        let faults = Faults { delay_max_ms, ..Faults::none() };
        let network =
            good_network(3).faults(faults).config(move |config| config.input_delay_frames(delay));
        let report = with_ends(network, ends);
        let mut paths = Vec::new();
        for seen in &report.peers {
            let end = seen.end.unwrap();
            assert_eq!((end.cause, end.frame), (EndCause::Desync, Frame::new(90)), "{ends:?}");
            let desync = seen.find_event(|event| match event {
                Event::Desync(desync) => Some(desync.clone()),
                _ => None,
            });
            let desync = desync.unwrap();
            assert!(desync.inputs_are_equal, "{desync:?}");
            let DesyncFinding::First { frame, path, .. } = desync.finding else {
                panic!("{ends:?}")
            };
            paths.extend(path);
            assert!(ends.contains(&Some(frame.index())), "{frame}");
        }
        // Of three, one may look at another frame than the one it differs from.
        assert!(paths.len() >= 2 && paths.iter().all(|path| path == "outcome of the step"));
    }
}

#[test]
fn where_games_end_at_three_frames_all_take_over_one_s_end_or_go_on_with_it() {
    for (ends, delay, delay_max_ms) in each(&[[Some(92), Some(93), None], [Some(100), None, None]])
    {
        for anchor in 0..3 {
            let faults = Faults { delay_max_ms, ..Faults::none() };
            let network = good_network(3)
                .faults(faults)
                .config(move |config| config.on_desync(majority(anchor)).input_delay_frames(delay));
            let report = with_ends(network, ends);
            let all: Vec<_> = report.peers.iter().map(|peer| peer.end.unwrap()).collect();
            assert!(all.iter().all(|end| *end == all[0]), "{all:?}");
            // Of two that agree there is a majority.
            let taken = ends[usize::from(anchor)].filter(|_| ends[1].is_some());
            match taken {
                Some(frame) => assert_eq!(all[0].frame, Frame::new(frame)),
                None => assert_eq!(all[0].cause, EndCause::Named(7)),
            }
        }
    }
}

/// Each of them with some input delays and networks.
fn each<T>(ends: &[T]) -> impl Iterator<Item = (&T, u8, u32)> {
    let networks = [(0, 0), (0, 10), (0, 60), (2, 0), (2, 10), (2, 60), (5, 60)];
    ends.iter().flat_map(move |ends| networks.map(|(delay, millis)| (ends, delay, millis)))
}

#[test]
fn a_game_that_ends_at_a_report_and_another_that_goes_on_are_told_apart() {
    for ends in [[Some(100), None], [None, Some(100)]] {
        let report = with_ends(good_network(2), &ends);
        for seen in &report.peers {
            let end = seen.end.unwrap();
            assert_eq!((end.cause, end.frame), (EndCause::Desync, Frame::new(90)), "{ends:?}");
        }
    }
}

/// Peer 1's state parts from the others' at frame 105, and it is gone at this moment; what it says comes late to peer 2.
fn one_that_parts_is_gone(gone: Fault, at_ms: u64, late_ms: u32, policy: OnDesync) -> Report {
    let arena = |diverges_at| Arena::with(Rules { diverges_at, ..Rules::default() });
    let faults = Faults { delay_max_ms: 60, ..Faults::none() };
    let simulation = good_network(3)
        .faults(faults)
        .config(move |config| config.on_desync(policy))
        .waive(Oracle::Desync)
        .at_ms(9_000, Fault::Decide { peer: peer(0), resyncs: true })
        .at_ms(9_500, Fault::Decide { peer: peer(2), resyncs: true })
        .at_ms(1_700, Fault::Mute { from: peer(1), to: peer(2), millis: late_ms })
        .at_ms(at_ms, gone);
    let played = simulation.run_each(|of| arena((of == peer(1)).then_some(105)), || arena(None));
    played.unwrap_or_else(|failure| panic!("{gone:?} at {at_ms} ms, {late_ms} ms late: {failure}"))
}

#[test]
fn those_who_agree_play_on_as_they_are_when_the_one_that_parted_goes_before_it_is_told() {
    let (mut plays_on, mut takes_over) = (0, 0);
    for policy in [majority(0), OnDesync::Pause] {
        for gone in [Fault::Crash(peer(1)), Fault::Kick { by: peer(0), peer: peer(1) }] {
            for (late_ms, at_ms) in [0, 150, 400]
                .into_iter()
                .flat_map(|late_ms| (1_880..2_060).step_by(20).map(move |at_ms| (late_ms, at_ms)))
            {
                let report = one_that_parts_is_gone(gone, at_ms, late_ms, policy);
                let [one, other] = [0, 2].map(|slot| report.peer(slot).unwrap());
                assert_eq!((one.end.unwrap().cause, one.end), (EndCause::Named(7), other.end));
                let is_told = |event: &Event| matches!(event, Event::Desync(_));
                let are_told = [one, other].map(|seen| seen.events.iter().any(is_told));
                let taken = resyncs(&report);
                assert_eq!(taken[0], taken[2]);
                if are_told != [true; 2] {
                    assert!(taken[0].is_empty(), "{gone:?} at {at_ms} ms, {late_ms} ms late");
                }
                match taken[0].is_empty() {
                    true => plays_on += 1,
                    false => takes_over += 1,
                }
            }
        }
    }
    assert!(plays_on >= 70 && takes_over >= 10, "{plays_on}, {takes_over}");
}
