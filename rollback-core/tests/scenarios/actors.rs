//! A policy that takes over from a person, and a person from a policy: all know, from one input on.

use rollback_core::testing::{Fault, Report};
use rollback_core::{Actor, InputFlags, Item};

use crate::{good_network, peer, plays};

/// The frames at which the player of `of` is driven by another, with who does from there on.
fn swaps(report: &Report, of: u8) -> Vec<(u32, Actor)> {
    let rows = report.peer(0).unwrap().log.rows().iter();
    let items = rows.flat_map(|row| row.items.iter().map(|(by, item)| (row.frame, *by, *item)));
    items
        .filter_map(|(frame, by, item)| match item {
            Item::Actor { player, actor } if player.slot() == of && by == peer(of) => {
                Some((frame.index(), actor))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_policy_takes_over_and_gives_back_at_frames_that_all_record() {
    let swap = Fault::SwapActor(peer(1));
    let report = plays(good_network(3).at_ms(2_000, swap).at_ms(4_000, swap));
    let [(from, Actor::Policy), (to, Actor::Person)] = swaps(&report, 1)[..] else {
        panic!("{:?}", swaps(&report, 1))
    };
    for row in report.peer(2).unwrap().log.rows() {
        let is_said = InputFlags::from_bits(row.flags[1]).contains(InputFlags::POLICY);
        assert_eq!(is_said, (from..to).contains(&row.frame.index()), "{}", row.frame);
        assert!(!InputFlags::from_bits(row.flags[0]).contains(InputFlags::POLICY));
    }
    assert_eq!(swaps(&report, 0), []);
}

#[test]
fn one_that_is_swapped_and_back_before_an_input_is_not_told() {
    let swap = Fault::SwapActor(peer(1));
    let report = plays(good_network(2).at_ms(2_000, swap).at_ms(2_000, swap));
    assert_eq!(swaps(&report, 1), []);
}

#[test]
fn a_swap_in_a_pause_is_heard_with_the_first_input_after_it() {
    let pause = Fault::AgreedPause { peer: peer(0), millis: 1_500 };
    let report = plays(good_network(2).at_ms(2_000, pause).at_ms(3_000, Fault::SwapActor(peer(1))));
    let stood = report.peer(0).unwrap().stood_at[0].index();
    let [(from, Actor::Policy)] = swaps(&report, 1)[..] else { panic!("{:?}", swaps(&report, 1)) };
    assert!(from > stood && from < stood + 5, "{from} after {stood}");
}
