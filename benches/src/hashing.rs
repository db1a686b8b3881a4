//! What comparing the states costs: this project with many reports and with few, beside the hash alone.

use xxhash_rust::xxh3::xxh3_128;

use crate::{
    cell::{Cell, DELAY_TICKS, Workload},
    clock,
    figures::{median, seconds},
    workload::{Engine, REPORT_INTERVAL_FRAMES, Setup, build_with},
};

/// The time that a report costs, over that of hashing the state once.
///
/// The difference of a match that reports every tenth frame and one that does so as seldom as it can, the median over
/// rounds in which all three take turns.
#[must_use]
pub fn report_over_hash(state_bytes: usize) -> Option<f64> {
    let workload = Workload::Mesh { delay_ticks: DELAY_TICKS, loss_per_mille: 0 };
    let cell = Cell { workload, players: 2, state_bytes };
    let setup = |frames| {
        let inputs = cell.inputs(u64::MAX);
        Setup { report_interval_frames: frames, ..Setup::new(&cell, inputs) }
    };
    let mut often = build_with(Engine::Rollback, &setup(REPORT_INTERVAL_FRAMES))?;
    let mut seldom = build_with(Engine::Rollback, &setup(SELDOM_FRAMES))?;
    often.run(WARM_UP_TICKS);
    seldom.run(WARM_UP_TICKS);
    let states = vec![vec![1_u8; state_bytes]; STATES];
    let reports = 1.0 / f64::from(REPORT_INTERVAL_FRAMES) - 1.0 / f64::from(SELDOM_FRAMES);
    let frames = (TICKS * cell.players as u64) as f64;
    Some(median((0..ROUNDS).map(|_| {
        let more = seconds(often.as_mut(), TICKS) - seconds(seldom.as_mut(), TICKS);
        let start = clock::running_time();
        for state in states.iter().cycle().take(HASHES) {
            std::hint::black_box(xxh3_128(state));
        }
        let hash = (clock::running_time() - start).as_secs_f64() / HASHES as f64;
        more / frames / reports / hash
    })))
}

/// The longest interval that can be set.
const SELDOM_FRAMES: u8 = 60;
const WARM_UP_TICKS: u64 = 1_000;
/// A multiple of both intervals.
const TICKS: u64 = 3_000;
const ROUNDS: usize = 31;
const HASHES: usize = 300;
/// As many as a session keeps, so that the cache is as warm.
const STATES: usize = 12;
