//! What is known of an engine in a cell, per frame, and how it is counted or timed from inside.

use crate::{
    cell::{Cell, LARGE_STATE_BYTES},
    clock,
    counting_allocator::allocations,
    game::Game,
    workload::{Engine, Run},
};

/// A figure of a report.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the JSON file, and for `Row::figure`.
    pub name: &'static str,
    /// What stands above it in the table.
    pub heading: &'static str,
    /// Digits after the point.
    pub digits: usize,
}

/// All figures, in the order of the table.
pub const COLUMNS: [Column; 12] = [
    column("allocations", "allocs", 2),
    column("copied_bytes", "copied B", 1),
    column("hashed_bytes", "hashed B", 1),
    column("clock_readings", "clock", 2),
    column("packets_per_remote", "packets", 3),
    column("payload_bytes_per_remote", "payload B", 2),
    column("largest_payload_bytes", "largest B", 0),
    column("resimulated_per_mille", "resim/1000", 0),
    column("stalled_per_mille", "stall/1000", 1),
    column("instructions", "instr", 0),
    column("nanoseconds", "ns", 1),
    column("time_ratio", "time x", 2),
];

const fn column(name: &'static str, heading: &'static str, digits: usize) -> Column {
    Column { name, heading, digits }
}

/// The figures of one engine in one cell, each per frame.
#[derive(Clone, Debug)]
pub struct Row {
    /// The cell.
    pub cell: String,
    /// The engine.
    pub engine: &'static str,
    figures: [Option<f64>; COLUMNS.len()],
}

impl Row {
    /// A row that has nothing yet.
    #[must_use]
    pub fn new(cell: &Cell, engine: Engine) -> Self {
        Self { cell: cell.name(), engine: engine.name(), figures: [None; COLUMNS.len()] }
    }

    /// The figure of that name, if it was measured.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures[COLUMNS.iter().position(|column| column.name == name)?]
    }

    /// All figures, in the order of `COLUMNS`.
    #[must_use]
    pub fn figures(&self) -> &[Option<f64>; COLUMNS.len()] {
        &self.figures
    }

    /// Fills a figure in.
    pub fn set(&mut self, name: &str, figure: f64) {
        let index = COLUMNS.iter().position(|column| column.name == name);
        self.figures[index.expect("a name of `COLUMNS`")] = Some(figure);
    }

    /// Fills in all that can be counted from inside, over so many ticks.
    pub fn count(&mut self, cell: &Cell, run: &mut dyn Run, ticks: u64) {
        let sum = |run: &dyn Run, of: fn(&Game) -> u64| run.games().into_iter().map(of).sum();
        let totals = |run: &dyn Run| -> [u64; 6] {
            let (frames, steps) = (sum(run, Game::frame), sum(run, Game::steps));
            let (copied, hashed) = (sum(run, Game::copied_bytes), sum(run, Game::hashed_bytes));
            [frames, steps, copied, hashed, clock::readings(), allocations()]
        };
        run.forget_traffic();
        let before = totals(run);
        run.run(ticks);
        // From the last, so that asking does not count.
        let allocations_after = allocations();
        let mut after = totals(run);
        after[5] = allocations_after;
        let more: [f64; 6] = std::array::from_fn(|index| (after[index] - before[index]) as f64);
        let [frames, steps, copied, hashed, readings, allocated] = more;
        let simulated = (ticks * cell.frames_per_tick()) as f64;
        self.set("allocations", allocated / simulated);
        self.set("copied_bytes", copied / simulated);
        self.set("hashed_bytes", hashed / simulated);
        if cell.link().is_none() {
            return;
        }
        let ticks_of_all = (ticks * cell.players as u64) as f64;
        let sent_to = ticks_of_all * (cell.players - 1) as f64;
        if clock::IS_VIRTUAL {
            self.set("clock_readings", readings / ticks_of_all);
        }
        let traffic = run.traffic();
        self.set("packets_per_remote", traffic.packets as f64 / sent_to);
        self.set("payload_bytes_per_remote", traffic.payload_bytes as f64 / sent_to);
        self.set("largest_payload_bytes", traffic.largest_bytes as f64);
        self.set("resimulated_per_mille", (steps - frames) / ticks_of_all * 1000.0);
        self.set("stalled_per_mille", (ticks_of_all - frames) / ticks_of_all * 1000.0);
    }
}

/// Over how many ticks a cell is counted.
#[must_use]
pub const fn counted_ticks(cell: &Cell) -> u64 {
    if cell.state_bytes < LARGE_STATE_BYTES { COUNTED_TICKS } else { COUNTED_TICKS_LARGE }
}

/// The nanoseconds per frame of each engine, and its time over that of the first, which is the bound: the medians
/// over rounds in which all take turns, so that a change of the machine's speed hits all of them.
#[must_use]
pub fn times(cell: &Cell, runs: &mut [(Engine, Box<dyn Run>)]) -> Vec<(f64, f64)> {
    let large = cell.state_bytes >= LARGE_STATE_BYTES;
    let ticks = if large { TIMED_TICKS_LARGE } else { TIMED_TICKS };
    let mut rounds = vec![Vec::new(); runs.len()];
    for _ in 0..TIMED_ROUNDS {
        let times: Vec<f64> =
            runs.iter_mut().map(|(_, run)| seconds(run.as_mut(), ticks)).collect();
        for (round, time) in rounds.iter_mut().zip(&times) {
            round.push((*time, time / times[0]));
        }
    }
    let nanos_per_frame = 1e9 / (ticks * cell.frames_per_tick()) as f64;
    let middle = |round: &Vec<(f64, f64)>| {
        let seconds = median(round.iter().map(|(seconds, _)| *seconds));
        (seconds * nanos_per_frame, median(round.iter().map(|(_, ratio)| *ratio)))
    };
    rounds.iter().map(middle).collect()
}

/// The time that so many ticks take this thread, in seconds.
pub fn seconds(run: &mut dyn Run, ticks: u64) -> f64 {
    let start = clock::running_time();
    run.run(ticks);
    (clock::running_time() - start).as_secs_f64()
}

/// The middle one, or of an even number the upper of both.
#[must_use]
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Until every ring and every pool has its final size.
pub const WARM_UP_TICKS: u64 = 1_000;
/// The period of the inputs.
const COUNTED_TICKS: u64 = 4_096;
/// Enough for a cell in which little but the copies matters, and they take long.
const COUNTED_TICKS_LARGE: u64 = 1_000;
/// About a millisecond of the slowest engine, with a small state and with a large one.
const TIMED_TICKS: u64 = 500;
const TIMED_TICKS_LARGE: u64 = 20;
const TIMED_ROUNDS: usize = 41;
