//! What each further frame adds to a rollback, in time: the difference of a long one and a short one, so that what a
//! tick costs beside cancels out.

use crate::{
    cell::{Cell, Workload},
    figures::{WARM_UP_TICKS, median, seconds},
    workload::{Engine, build},
};

/// The time of each further frame of one engine over that of the bare game.
#[derive(Clone, Copy, Debug)]
pub struct Further {
    /// The engine.
    pub engine: Engine,
    /// The size of the state.
    pub state_bytes: usize,
    /// The median over rounds in which all engines take turns.
    pub time_over_bare: f64,
}

/// Measures both peers and this project.
#[must_use]
pub fn measure(state_bytes: usize) -> Vec<Further> {
    let engines = [Engine::Bare, Engine::Ggrs, Engine::Fortress, Engine::Rollback];
    let mut runs = engines.map(|engine| {
        [SHORT, LONG].map(|depth| {
            let cell = Cell { workload: Workload::Rollback { depth }, players: 2, state_bytes };
            let mut run = build(engine, &cell).expect("all engines play over a network");
            run.run(WARM_UP_TICKS);
            run
        })
    });
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(runs.each_mut().map(|[short, long]| {
            let short = seconds(short.as_mut(), TICKS);
            seconds(long.as_mut(), TICKS) - short
        }));
    }
    let of = |index: usize| median(rounds.iter().map(|round| round[index]));
    let over_bare = |index: usize| of(index) / of(0);
    let further =
        |index| Further { engine: engines[index], state_bytes, time_over_bare: over_bare(index) };
    (1..engines.len()).map(further).collect()
}

const SHORT: usize = 4;
const LONG: usize = 12;
const TICKS: u64 = 500;
const ROUNDS: usize = 41;
