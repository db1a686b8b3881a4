//! Thousands of matches on one core: what a session weighs, and what it costs when no cache holds them all.

use crate::{
    cell::{Cell, DELAY_TICKS, STATE_BYTES, Workload},
    clock,
    counting_allocator::live_bytes,
    workload::{Engine, Run, Setup, build_with},
};

/// What many pairs of one engine need.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// The engine.
    pub engine: Engine,
    /// Heap of one session, with its snapshots and without the game. Needs the counting allocator.
    pub heap_bytes: f64,
    /// Time of one frame of one session.
    pub nanoseconds: f64,
}

/// Plays so many pairs in turns, a frame each.
#[must_use]
pub fn measure(engine: Engine, pairs: usize) -> Option<Crowd> {
    let workload = Workload::Mesh { delay_ticks: DELAY_TICKS, loss_per_mille: 0 };
    let cell = Cell { workload, players: 2, state_bytes: STATE_BYTES[0] };
    let setup = Setup::new(&cell, cell.inputs(u64::MAX));
    let before = live_bytes();
    let runs: Option<Vec<_>> = (0..pairs).map(|_| build_with(engine, &setup)).collect();
    let mut runs = runs?;
    frames(&mut runs, WARM_UP_TICKS);
    let harness: usize = runs.iter().map(|run| run.harness_bytes()).sum();
    let heap = live_bytes().wrapping_sub(before) - harness;
    let start = clock::running_time();
    frames(&mut runs, TIMED_TICKS);
    let seconds = (clock::running_time() - start).as_secs_f64();
    let sessions = (pairs * cell.players) as f64;
    let nanoseconds = seconds * 1e9 / TIMED_TICKS as f64 / sessions;
    Some(Crowd { engine, heap_bytes: heap as f64 / sessions, nanoseconds })
}

fn frames(runs: &mut [Box<dyn Run>], ticks: u64) {
    for _ in 0..ticks {
        for run in &mut *runs {
            run.run(1);
        }
    }
}

/// How many pairs are reported.
pub const PAIRS: usize = 5_000;
/// Until rings and pools have nearly their final size.
const WARM_UP_TICKS: u64 = 100;
const TIMED_TICKS: u64 = 100;
