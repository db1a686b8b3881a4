//! What the learned predictor saves where there is something to learn, and that it costs nothing where there is not.

use rollback_core::{Idle, Markov, RepeatLast, TrialResult};

use crate::traces::{self, Trace};

const LATENESSES: [u32; 4] = [1, 3, 5, 8];

/// What repeating and learning cost, for each lateness.
fn compared(trace: &Trace) -> impl Iterator<Item = (TrialResult, TrialResult)> + '_ {
    LATENESSES.into_iter().map(|lateness| {
        let learned = Box::new(Markov::new(&traces::config()));
        let repeated = traces::tried(trace, lateness, Box::new(RepeatLast));
        (repeated, traces::tried(trace, lateness, learned))
    })
}

/// Whether `less` is at most so many of a hundred parts of `more`.
fn is_at_most(less: u64, percent: u64, more: u64) -> bool {
    less * 100 <= more * percent
}

#[test]
fn taps_of_one_length_are_resimulated_a_quarter_less() {
    for seed in 0..3 {
        for (repeated, learned) in compared(&traces::people(seed, 5..=5)) {
            assert!(is_at_most(learned.resimulated, 75, repeated.resimulated), "{learned:?}");
            let (wrong, less) = (repeated.shown.mispredictions, learned.shown.mispredictions);
            assert!(is_at_most(less, 75, wrong), "{less} of {wrong}");
        }
    }
}

#[test]
fn taps_whose_length_varies_by_a_frame_are_resimulated_a_little_less() {
    for seed in 0..3 {
        for (repeated, learned) in compared(&traces::people(seed, 4..=6)) {
            assert!(is_at_most(learned.resimulated, 95, repeated.resimulated), "{learned:?}");
        }
    }
}

#[test]
fn presses_of_one_frame_are_resimulated_half_as_much() {
    for seed in 0..3 {
        for (repeated, learned) in compared(&traces::single_presses(seed)) {
            assert!(is_at_most(learned.resimulated, 52, repeated.resimulated), "{learned:?}");
        }
    }
}

#[test]
fn where_nothing_can_be_learnt_it_costs_no_more_than_repeating() {
    let switches = [50, 200, 400, 500].map(|per_mille| traces::switch(1, per_mille));
    let noises = [2, 6, 200].map(|count| traces::noise(1, count));
    for trace in switches.iter().chain(&noises) {
        for (repeated, learned) in compared(trace) {
            assert!(is_at_most(learned.resimulated, 101, repeated.resimulated), "{learned:?}");
        }
    }
}

#[test]
fn a_switch_that_is_turned_in_most_frames_is_guessed_to_turn() {
    for (repeated, learned) in compared(&traces::switch(1, 800)) {
        assert!(is_at_most(learned.resimulated, 40, repeated.resimulated), "{learned:?}");
    }
}

#[test]
fn idle_is_the_better_guess_only_for_rare_presses() {
    let rare = traces::single_presses(1);
    let held = traces::people(1, 5..=5);
    let cost = |trace, idle| match idle {
        true => traces::tried(trace, 3, Box::new(Idle)).resimulated,
        false => traces::tried(trace, 3, Box::new(RepeatLast)).resimulated,
    };
    assert!(cost(&rare, true) < cost(&rare, false));
    assert!(cost(&held, true) > cost(&held, false));
}
