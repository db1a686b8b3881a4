//! Follows the agreement on members through everything that can happen: all orders of messages, lost ones, late ones,
//! doubled ones, suspicions that are true or false, and new lives of those who are gone.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test, a panic is how a wrong expectation shows"
)]

mod explorer;
mod lives;
mod peer;
mod promises;
mod returns;
mod setting;
mod store;
mod world;

use rollback_core::testing::agreement_ways;
use rollback_core::{PeerId, PeerSet};

use explorer::{Counterexample, Explored, explore};
use setting::{Sabotage, Setting};
use world::Explorer;

/// Three members of which each has given a frame of inputs; of the first two everybody holds it.
const THREE: Setting = Setting { known: FIRST_TWO, ..Setting::peaceful(3) };

const FIRST_TWO: PeerSet = PeerSet::from_bits(0b011);

/// The last one begins a new life once it is gone.
const AGAIN: Setting = Setting { returner: PeerId::new(2), ..Setting::peaceful(3) };

/// The last one comes late; of two frames of the second one, the first one holds one.
const LATE: Setting =
    Setting { frames: 2, known: PeerSet::from_bits(0b101), common: 1, is_late: true, ..AGAIN };

fn visit_all(setting: Setting) -> Result<Explored, Counterexample> {
    explore(&mut Explorer::new(setting), STATES_MAX)
}

fn holds(setting: Setting) {
    match visit_all(setting) {
        Ok(Explored { states, transitions, depth }) => {
            println!(
                "{states:>9} states, {transitions:>9} transitions, {depth:>3} deep: {setting}"
            );
        }
        Err(counterexample) => panic!("{setting}: {counterexample:?}"),
    }
}

#[test]
fn three_members_agree_however_some_crash_and_are_suspected() {
    holds(Setting { crashes: 2, ..THREE });
    holds(Setting { crashes: 1, known: PeerSet::EMPTY, ..THREE });
    holds(Setting { crashes: 1, frames: 2, ..THREE });
    holds(Setting { crashes: 1, false_suspicions: 1, ..THREE });
    holds(Setting { false_suspicions: 2, ..THREE });
}

#[test]
fn three_members_agree_whoever_leaves_while_another_crashes() {
    holds(Setting { leaves: 1, crashes: 1, ..Setting::peaceful(3) });
    // No storm of the simulator has come to these.
    let of_leavers = |way: &str| way.contains("has left") || way.contains("had left");
    for (way, count) in agreement_ways().filter(|(way, _)| of_leavers(way)) {
        assert!(count > 0, "no {way}");
    }
}

#[test]
fn three_members_agree_whosever_game_fails() {
    holds(Setting { failures: 1, crashes: 1, ..THREE });
    holds(Setting { failures: 1, false_suspicions: 1, ..Setting::peaceful(3) });
}

#[test]
fn three_members_agree_whoever_is_sent_away_and_why() {
    holds(Setting { kicks: 1, crashes: 1, ..THREE });
    holds(Setting { kicks: 1, false_suspicions: 1, ..THREE });
    holds(Setting { kicks: 1, failures: 1, ..Setting::peaceful(3) });
}

#[test]
fn four_members_agree_whichever_two_crash() {
    holds(Setting { crashes: 2, ..Setting::peaceful(4) });
}

#[test]
fn three_members_agree_when_one_begins_a_new_life_while_another_crashes() {
    holds(Setting { crashes: 1, delays: 1, ..AGAIN });
    holds(Setting { crashes: 1, returner: PeerId::new(0), ..AGAIN });
    holds(Setting { false_suspicions: 1, ..AGAIN });
    holds(Setting { delays: 1, ..LATE });
    holds(Setting { frames: 1, crashes: 1, known: PeerSet::first(3), ..LATE });
}

#[test]
fn an_agreement_of_which_any_part_is_missing_is_found_out() {
    let crash = Setting { crashes: 1, ..THREE };
    for (part, setting) in [
        (Sabotage::Freezing, crash),
        (Sabotage::Cut, crash),
        (Sabotage::HoldsAll, crash),
        (Sabotage::Quorum, Setting { false_suspicions: 1, ..crash }),
        (Sabotage::Retiring, Setting { leaves: 1, ..crash }),
        (Sabotage::Leaving, Setting { leaves: 1, ..crash }),
        (Sabotage::Reason, Setting { kicks: 1, ..THREE }),
        (Sabotage::EndOfLife, Setting { crashes: 1, ..LATE }),
        (Sabotage::GivenUp, Setting { false_suspicions: 1, ..LATE }),
        (Sabotage::Alone, Setting { delays: 1, ..LATE }),
    ] {
        holds_not(Setting { sabotage: Some(part), ..setting });
    }
}

fn holds_not(setting: Setting) {
    let visited = visit_all(setting);
    assert!(visited.is_err(), "{setting}: {visited:?}");
}

/// More than any of these has.
const STATES_MAX: usize = 2_000_000;
