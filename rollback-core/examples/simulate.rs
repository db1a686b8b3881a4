//! Runs the simulator over seeds and says what struck: `cargo run --features testing --example simulate -- 0..1000`.
//!
//! `make simulate SEED=17` repeats one seed, `make simulate SEEDS=0..1000` runs a range. Over a range of 60 seeds or
//! more every fault must have struck and rollbacks of every depth must have happened. With `storm` as a second argument,
//! outages outlast the departure timeout, so that peers depart that are there; over a range of 1,000 storms or more the
//! agreement on members must have gone every way that it can go.

#[expect(dead_code, reason = "each user of the games plays some of them")]
#[path = "../tests/games/mod.rs"]
mod games;
#[path = "../tests/games/settings.rs"]
mod settings;

use std::process::ExitCode;
use std::time::Duration;

use rollback_core::testing::{self, FaultCounts, Report};
use rollback_core::{DEPTHS, EndCause, Event};

fn main() -> ExitCode {
    let named = std::env::args().nth(1).and_then(|text| testing::parse_seeds(&text));
    let seeds = named.unwrap_or_else(|| testing::seeds(0..100));
    let is_stormy = std::env::args().nth(2).is_some_and(|word| word == "storm");
    let is_range = seeds.end - seeds.start >= RANGE_MIN;
    let (mut sum, mut failed) = (Sum::default(), 0_u32);
    for seed in seeds.clone() {
        match simulate(seed, is_stormy) {
            Ok(report) => sum.add(&report),
            Err(failure) => {
                failed += 1;
                eprintln!("{failure}\n");
            }
        }
    }
    sum.print();
    let mut missing = sum.missing();
    if is_stormy && seeds.end - seeds.start >= STORMS_MIN {
        missing.extend(missing_ways());
    }
    if is_range && !missing.is_empty() {
        eprintln!("what never happened: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    if failed > 0 {
        eprintln!("{failed} of {} seeds failed", seeds.end - seeds.start);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn simulate(seed: u64, is_stormy: bool) -> Result<Report, Box<testing::Failure>> {
    let (simulation, word) = match is_stormy {
        true => (settings::storm(seed), " STORM=storm"),
        false => (settings::simulation(seed), ""),
    };
    let command = format!("make simulate SEED={seed}{word}");
    let simulation = simulation.repeat_with(command);
    if is_stormy {
        return settings::play_storm(simulation, seed);
    }
    settings::play(simulation, seed)
}

/// What happened over all seeds.
#[derive(Default)]
struct Sum {
    seeds: u64,
    frames: u64,
    simulated: Duration,
    faults: FaultCounts,
    depths: [u64; DEPTHS],
    early_stops: u64,
    departures: u64,
    cut_off: u64,
    taken_over: u64,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.simulated += report.lasted;
        self.faults.add(&report.faults);
        for (sum, count) in self.depths.iter_mut().zip(report.rollback_depths) {
            *sum += count;
        }
        for peer in &report.peers {
            self.frames += peer.log.rows().len() as u64;
            let is_cut_off = peer.end.is_some_and(|end| end.cause == EndCause::Partitioned);
            self.cut_off += u64::from(is_cut_off);
            self.early_stops += peer.counters.rollback.early_stops;
            self.departures += u64::from(peer.saw_departure());
            let is_taken = |event: &&Event| matches!(event, Event::Resynced { .. });
            self.taken_over += peer.events.iter().filter(is_taken).count() as u64;
        }
    }

    /// The faults that never struck and the depths that no rollback had: so many seeds that promise nothing of them.
    fn missing(&self) -> Vec<String> {
        let faults = self.faults.entries().into_iter().map(|(fault, count)| (fault.into(), count));
        let depths = (1..).zip(self.depths).map(|(depth, count)| (depth_name(depth), count));
        let early_stops = ("rollbacks that stopped early".into(), self.early_stops);
        let taken_over = ("states taken over".into(), self.taken_over);
        faults
            .chain(depths)
            .chain([early_stops, taken_over])
            .filter(|(_, count)| *count == 0)
            .map(|(name, _)| name)
            .collect()
    }

    fn print(&self) {
        println!("{:>12}  seeds without a broken promise", self.seeds);
        println!("{:>12}  stable frames recorded", self.frames);
        println!("{:>12}  seconds simulated", self.simulated.as_secs());
        println!("{:>12}  peers that saw another depart", self.departures);
        println!("{:>12}  peers that were cut off", self.cut_off);
        println!("{:>12}  states taken over after a desync", self.taken_over);
        for (fault, count) in self.faults.entries() {
            println!("{count:>12}  {fault}");
        }
        for (depth, count) in (1..).zip(self.depths) {
            println!("{count:>12}  {}", depth_name(depth));
        }
        println!("{:>12}  rollbacks that stopped early", self.early_stops);
        for (way, count) in testing::agreement_ways() {
            println!("{count:>12}  {way}");
        }
    }
}

/// The ways that no agreement went, of those that chance can find.
fn missing_ways() -> impl Iterator<Item = String> {
    let ways = testing::agreement_ways().filter(|(_, count)| *count == 0);
    ways.map(|(way, _)| way.to_owned()).filter(|way| !EXPLORED.contains(&way.as_str()))
}

fn depth_name(depth: usize) -> String {
    let more = if depth == DEPTHS { " or more" } else { "" };
    format!("rollbacks of {depth}{more}")
}

/// Over fewer seeds a fault may well not strike, or a depth not occur.
const RANGE_MIN: u64 = 60;

/// Over so many storms, agreements have gone every way.
const STORMS_MIN: u64 = 1_000;

/// What takes more coincidences than storms have: every course of an agreement with one who leaves is explored in
/// `tests/exploration`, and these are among them.
const EXPLORED: [&str; 2] = [
    "claims heard by one that has left or goes",
    "members that had left while they were in a proposal",
];
