//! Journals: a session played again from its journal does what it did, under every fault; and one whose engine was
//! changed is stopped at the first call where that shows.

use rollback_core::journal::{Difference, JournalError, JournalReplay};
use rollback_core::testing::{PeerReport, Report, Sabotage, Simulation};
use rollback_core::{EndCause, Event, Game};

use crate::games::Arena;
use crate::settings::{arena, simulation, storm};

type ArenaInput = <Arena as Game>::Input;

fn played(seed: u64, simulation: Simulation) -> Report {
    let report = simulation.journals().run(|| arena(seed));
    report.unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn every_session_is_played_again_to_the_last_call() {
    let (mut sessions, mut rollbacks, mut failed_guesses, mut departures) = (0, 0, 0, 0);
    let mut came_back = 0;
    for seed in 0..16 {
        let simulation = if seed % 2 == 0 { simulation(seed) } else { storm(seed) };
        let report = played(seed, simulation);
        for peer in report.peers {
            let returns =
                |event: &Event| matches!(event, Event::Joined { peer: it, .. } if *it == peer.peer);
            came_back += u64::from(peer.events.iter().any(returns));
            let mut replay = JournalReplay::<ArenaInput>::new(&peer.journal).unwrap();
            let calls = replay.run().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(calls > 300 && !replay.is_cut(), "seed {seed}: {calls} calls");
            assert_eq!(replay.session().end(), peer.end, "seed {seed}");
            let counters = replay.session().counters();
            assert_eq!(counters.frames, peer.counters.frames, "seed {seed}");
            assert_eq!(counters.rollback, peer.counters.rollback, "seed {seed}");
            sessions += 1;
            rollbacks += counters.rollback.rollbacks;
            failed_guesses += counters.rollback.failed_guesses;
            departures += u64::from(peer.saw_departure());
        }
    }
    assert!(sessions > 60 && rollbacks > 1_000, "{sessions} sessions, {rollbacks} rollbacks");
    assert!(came_back > 5, "{came_back} that came back");
    assert!(failed_guesses > 0 && departures > 0, "{failed_guesses} failed, {departures} departed");
}

/// A bug hunted: peers end with states that differ, hundreds of frames after the cause. The journal of one of them,
/// written by the broken engine and played on the sound one, stops at the call in which the broken one first let a wrong
/// guess stand.
#[test]
fn the_call_in_which_an_engine_first_went_wrong_is_named() {
    let broken = |seed| simulation(seed).sabotage(Sabotage::Misprediction).waive_all().unshrunk();
    let has_parted = |peer: &PeerReport| peer.end.is_some_and(|end| end.cause == EndCause::Desync);
    let peers = (0..8).flat_map(|seed| played(seed, broken(seed)).peers);
    let peer = peers.into_iter().find(has_parted);
    let peer = peer.expect("an unnoticed wrong guess parts the states");
    let mut replay = JournalReplay::<ArenaInput>::new(&peer.journal).unwrap();
    let Err(JournalError::Differs { name, frame, what, .. }) = replay.run() else {
        panic!("the sound engine does what the broken one did")
    };
    // It goes back, and asks the game to load a state where the broken one asked for a step.
    assert_eq!((name, what), ("advance_frame", Difference::Asked));
    let end = peer.end.unwrap().frame;
    assert!(frame.index() <= end.index() + 20, "frame {frame}, and the states agreed up to {end}");
}

#[test]
fn a_journal_that_was_cut_is_played_as_far_as_it_goes_and_a_damaged_one_is_refused() {
    let report = played(1, simulation(1).frames(120));
    let journal = &report.peers[0].journal;
    let whole = JournalReplay::<ArenaInput>::new(journal).unwrap().run().unwrap();
    let mut last = 0;
    for length in (0..journal.len()).step_by(997) {
        let Ok(mut replay) = JournalReplay::<ArenaInput>::new(&journal[..length]) else {
            assert!(length < 400, "the header takes {length} bytes");
            continue;
        };
        let calls = replay.run().unwrap();
        assert!((last..=whole).contains(&calls), "{calls} calls after {last}");
        last = calls;
    }
    let none = JournalReplay::<ArenaInput>::new(b"RBJ\x01 and so on");
    assert_eq!(none.err(), Some(JournalError::NoJournal));
    for at in (0..journal.len()).step_by(211) {
        let mut damaged = journal.clone();
        damaged[at] ^= 0x41;
        // Whatever comes of it, it is an error or another session; nothing panics.
        let _ = JournalReplay::<ArenaInput>::new(&damaged).and_then(|mut replay| replay.run());
    }
}
