//! A range of seeds. Set `ROLLBACK_SEEDS=0..1000` for more, or to one seed to see it again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rollback_core::DEPTHS;
use rollback_core::testing::{self, Failure, FaultCounts, PeerReport, Report};

use crate::settings::{play, play_storm, simulation, storm};

/// Plays all seeds, on as many threads as there are cores.
fn run_all(
    seeds: core::ops::Range<u64>,
    play: impl Fn(u64) -> Result<Report, Box<Failure>> + Sync,
    visit: impl FnMut(&Report) + Send,
) {
    let (next, visit, failures) =
        (AtomicU64::new(seeds.start), Mutex::new(visit), Mutex::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match play(seed) {
                Ok(report) => (visit.lock().unwrap())(&report),
                Err(failure) => Vec::push(&mut failures.lock().unwrap(), format!("{failure}")),
            }
        }
    };
    let name = thread::current().name().unwrap_or_default().to_owned();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            // A failure names the test that repeats it by the name of its thread.
            thread::Builder::new().name(name.clone()).spawn_scoped(scope, work).unwrap();
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} seeds failed:\n{}", failures.len(), failures.join("\n"));
}

fn early_stops_of(peer: &PeerReport) -> u64 {
    peer.counters.rollback.early_stops
}

#[test]
fn no_seed_breaks_a_promise_and_every_fault_and_depth_occurs() {
    let seeds = testing::seeds(0..400);
    let is_whole_range = seeds.end - seeds.start >= 60;
    let (mut faults, mut depths) = (FaultCounts::default(), [0; DEPTHS]);
    let mut early_stops = 0;
    run_all(
        seeds,
        |seed| play(simulation(seed), seed),
        |report| {
            faults.add(&report.faults);
            early_stops += report.peers.iter().map(early_stops_of).sum::<u64>();
            for (sum, count) in depths.iter_mut().zip(report.rollback_depths) {
                *sum += count;
            }
        },
    );
    if is_whole_range {
        for (fault, count) in faults.entries() {
            assert!(count > 0, "{fault} never struck");
        }
        assert!(!depths.contains(&0), "rollbacks by depth: {depths:?}");
        assert!(early_stops > 0, "no rollback stopped early");
    }
}

#[test]
fn no_seed_breaks_a_promise_where_peers_are_cut_off_for_longer_than_the_timeout() {
    let (mut departed, mut cut_off) = (0, 0);
    run_all(
        testing::seeds(0..100),
        |seed| play_storm(storm(seed), seed),
        |report| {
            departed += report.peers.iter().filter(|peer| peer.saw_departure()).count();
            let is_cut_off =
                |end: rollback_core::End| end.cause == rollback_core::EndCause::Partitioned;
            cut_off += report.peers.iter().filter(|peer| peer.end.is_some_and(is_cut_off)).count();
        },
    );
    if testing::seeds(0..100) == (0..100) {
        assert!(departed > 0 && cut_off > 0, "{departed} departures, {cut_off} cut off");
    }
}
