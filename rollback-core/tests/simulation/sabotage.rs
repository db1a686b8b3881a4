//! Breaks the engine, one part at a time, and requires the simulator to notice. A test that cannot fail is a defect.

use std::time::Duration;

use rollback_core::testing::{Failure, Fault, Faults, Oracle, Sabotage, Simulation};
use rollback_core::{OnDesync, PeerId, PlayerHandle, ResyncFrom};

use crate::games::Arena;
use crate::settings::{play, simulation, storm};

fn peer(slot: u8) -> PeerId {
    PeerId::new(slot).unwrap()
}

/// Three peers over a network that is bad enough for every part to matter.
fn on_a_bad_network(seed: u64) -> Simulation {
    let faults =
        Faults { delay_max_ms: 60, jitter_max_ms: 30, loss_max_per_mille: 200, ..Faults::none() };
    let window = |builder: rollback_core::SessionConfigBuilder| {
        builder.prediction_window_frames(8).tick_rate_hz(60).input_delay_frames(1)
    };
    Simulation::new(seed).peers(3).frames(300).faults(faults).config(window)
}

/// One of three crashes. Its last inputs reach one survivor and not the other, and the two hear nothing of each other
/// until it is about to be given up, so that they cannot pass them on before they claim.
fn with_a_crash(seed: u64) -> Simulation {
    on_a_bad_network(seed)
        .faults(Faults { delay_max_ms: 30, ..Faults::none() })
        .config(|builder| builder.departure_timeout(Duration::from_secs(1)))
        .at_ms(2_930, Fault::Mute { from: peer(0), to: peer(1), millis: 955 })
        .at_ms(2_930, Fault::Mute { from: peer(1), to: peer(0), millis: 955 })
        .at_ms(2_880, Fault::Mute { from: peer(2), to: peer(0), millis: 130 })
        .at_ms(3_000, Fault::Crash(peer(2)))
        .inputs(|_: PlayerHandle, random, input| random.fill(input))
}

fn oracles_that_notice(part: Sabotage, simulation: impl Fn(u64) -> Simulation) -> Vec<Oracle> {
    for seed in seeds() {
        let sound = simulation(seed).run(Arena::endless);
        sound.unwrap_or_else(|failure| panic!("without sabotage: {failure}"));
    }
    let broken = seeds().filter_map(|seed| {
        let failure = simulation(seed).sabotage(part).unshrunk().run(Arena::endless).err()?;
        Some(failure.oracle)
    });
    broken.collect()
}

#[test]
fn a_misprediction_that_is_not_noticed_is_found() {
    let oracles = oracles_that_notice(Sabotage::Misprediction, on_a_bad_network);
    assert_eq!(oracles.len(), SEEDS, "{oracles:?}");
}

#[test]
fn a_machine_that_keeps_its_time_and_slows_the_others_down_is_found() {
    let paced = |seed| on_a_bad_network(seed).config(|builder| builder.pace_min_percent(50));
    let oracles = oracles_that_notice(Sabotage::Rate, paced);
    assert_eq!(oracles, [Oracle::Pace; SEEDS]);
}

#[test]
fn a_state_that_all_took_over_and_nobody_recorded_is_found() {
    // Of two, the first one's counts, and it is the first one's that was hit.
    let struck = |seed| {
        let rays = (0..6).map(|ray| Fault::Ray { peer: peer(0), bit: 70 + ray });
        let rays = rays.zip((2_000..).step_by(130));
        let simulation = on_a_bad_network(seed).peers(2).config(|builder| {
            let anchor = peer(0);
            builder.on_desync(OnDesync::Resync(ResyncFrom::Majority { anchor }))
        });
        rays.fold(simulation, |simulation, (ray, at)| simulation.at_ms(at, ray))
    };
    let oracles = oracles_that_notice(Sabotage::Keyframe, struck);
    assert!(oracles.contains(&Oracle::Reference), "{oracles:?}");
}

#[test]
fn a_game_that_is_not_taken_back_from_what_was_shown_is_found() {
    let oracles = oracles_that_notice(Sabotage::RunAhead, on_a_bad_network);
    assert!(oracles.contains(&Oracle::Stepping), "{oracles:?}");
}

#[test]
fn a_frame_that_is_new_to_the_game_twice_is_found() {
    let oracles = oracles_that_notice(Sabotage::Newness, on_a_bad_network);
    assert!(!oracles.is_empty(), "nobody was shown anything ahead");
    assert!(oracles.iter().all(|oracle| *oracle == Oracle::Newness), "{oracles:?}");
}

#[test]
fn an_engine_that_does_not_send_again_is_found() {
    let oracles = oracles_that_notice(Sabotage::Acknowledgement, on_a_bad_network);
    assert_eq!(oracles.len(), SEEDS, "{oracles:?}");
}

#[test]
fn a_hash_that_is_always_the_same_is_found() {
    let oracles = oracles_that_notice(Sabotage::StateHash, on_a_bad_network);
    assert_eq!(oracles, [Oracle::Reference; SEEDS]);
}

#[test]
fn a_pause_that_is_not_kept_is_found() {
    let paused = |seed| {
        let pause = Fault::AgreedPause { peer: peer(1), millis: 1_000 };
        on_a_bad_network(seed).at_ms(2_000, pause)
    };
    assert_eq!(oracles_that_notice(Sabotage::Pause, paused), [Oracle::Pauses; SEEDS]);
}

#[test]
fn one_who_watches_and_never_asks_another_host_is_found() {
    let watched = |seed| {
        let faults = Faults { delay_max_ms: 60, spectators: 3, ..Faults::none() };
        let crash = Fault::Crash(peer(u8::from(seed % 2 == 0)));
        on_a_bad_network(seed).peers(2).faults(faults).at_ms(2_500, crash)
    };
    // Not every seed has somebody who watches through one that is gone, and could ask another.
    let more = (0..4).map(|more| 6 * more);
    let notice = |more| oracles_that_notice(Sabotage::HostChange, move |seed| watched(seed + more));
    let oracles: Vec<Oracle> = more.flat_map(notice).collect();
    assert!(oracles.len() >= 3, "{oracles:?}");
    assert!(oracles.iter().all(|oracle| *oracle == Oracle::Watching), "{oracles:?}");
}

#[test]
fn a_cut_that_each_takes_for_itself_is_found() {
    // Where the two hear each other in time, they pass the inputs on before they claim, and no cut matters.
    let oracles = oracles_that_notice(Sabotage::Cut, with_a_crash);
    assert!(oracles.len() >= 4, "{oracles:?}");
}

#[test]
fn a_promise_to_let_one_in_that_is_not_kept_is_found() {
    // Those who play do not hear the claim of the one that comes back for longer than they promised to wait for it.
    let returns = |seed| {
        let mute = |to| Fault::Mute { from: peer(2), to: peer(to), millis: 1_500 };
        let at = 3_200 + 100 * seed;
        on_a_bad_network(seed)
            .faults(Faults { delay_min_ms: 100, delay_max_ms: 100, ..Faults::none() })
            .config(|builder| builder.departure_timeout(Duration::from_secs(5)))
            .at_ms(2_000, Fault::Leave(peer(2)))
            .at_ms(3_000, Fault::Return(peer(2)))
            .at_ms(at, mute(0))
            .at_ms(at, mute(1))
            .inputs(|_: PlayerHandle, random, input| random.fill(input))
    };
    let oracles = oracles_that_notice(Sabotage::Promise, returns);
    assert!(oracles.len() >= 2, "{oracles:?}");
    assert!(oracles.iter().all(|oracle| *oracle == Oracle::Ladder), "{oracles:?}");
}

#[test]
fn one_that_is_let_in_while_it_passes_over_frames_is_found() {
    // One of several thousand in which the claim comes between the state and the last of the frames before it.
    let played = |simulation: Simulation| play(simulation.unshrunk(), 6_388);
    played(simulation(6_388)).unwrap_or_else(|failure| panic!("without sabotage: {failure}"));
    let failure = played(simulation(6_388).sabotage(Sabotage::Passing)).unwrap_err();
    assert_eq!(failure.oracle, Oracle::Stepping, "{failure}");
}

/// The smallest simulation that fails as this one does, which fails again by the words of its command.
fn shrunk(simulation: impl Fn() -> Simulation) -> Failure {
    let Err(failure) = simulation().run(Arena::endless) else { panic!("without a failure") };
    let shrunk = *failure.shrunk.clone().unwrap();
    let (words, command) = shrunk.command.split_once(' ').unwrap();
    assert_eq!(command, failure.command);
    assert!(failure.to_string().contains(words), "{failure}");
    let words = words.strip_prefix("ROLLBACK_REDUCED=").unwrap();
    let Err(again) = simulation().reduced(words).unshrunk().run(Arena::endless) else {
        panic!("{words} does not fail again");
    };
    assert_eq!((again.oracle, again.at), (failure.oracle, shrunk.at));
    assert_eq!(again.detail, shrunk.detail);
    shrunk
}

#[test]
fn a_seed_that_fails_is_shrunk_to_two_peers_and_a_second_where_that_is_enough() {
    for seed in [5, 6, 8, 9] {
        let part = Sabotage::Misprediction;
        let shrunk = shrunk(|| storm(seed).peers(6).sabotage(part).repeat_with("again"));
        let words = shrunk.command;
        assert!(words.starts_with("ROLLBACK_REDUCED=peers=2,frames=3"), "seed {seed}: {words}");
        assert!(words.contains("kept=,"), "no planned fault is needed: {words}");
    }
}

#[test]
fn a_seed_that_fails_keeps_the_faults_without_which_it_would_not() {
    let fails = |seed: &u64| {
        let sabotaged = with_a_crash(*seed).sabotage(Sabotage::Cut);
        sabotaged.unshrunk().run(Arena::endless).is_err()
    };
    let seed = seeds().find(fails).unwrap();
    let of = || with_a_crash(seed).sabotage(Sabotage::Cut).repeat_with("again");
    let shrunk = shrunk(of);
    assert!(shrunk.setting.contains("Crash(PeerId(2))"), "{shrunk}");
    assert!(!shrunk.command.contains("peers="), "two are not enough: {shrunk}");
}

#[test]
fn words_that_leave_nothing_out_are_refused() {
    let failure = on_a_bad_network(0).reduced("peers=2,no-luck").run(Arena::endless).err().unwrap();
    assert_eq!(failure.detail, "no-luck says nothing to leave out");
    assert_eq!(failure.shrunk, None);
}

fn seeds() -> impl Iterator<Item = u64> {
    (0..).take(SEEDS)
}

const SEEDS: usize = 6;
