//! A range of seeds. Set `ROLLBACK_SEEDS=0..1000` for more, or to one seed to see it again.

use rollback_core::testing::{self, FaultCounts, Simulation};

use crate::games::{Arena, Rules};

/// What is played depends on the seed as well: every fourth arena ends, every fourth jams on guesses.
fn rules(seed: u64) -> Rules {
    match seed % 4 {
        1 => Rules { may_end_from: Some(300), ..Rules::default() },
        2 => Rules { fails_on_guesses: true, ..Rules::default() },
        _ => Rules::default(),
    }
}

#[test]
fn no_seed_breaks_a_promise_and_every_fault_strikes() {
    let seeds = testing::seeds(0..80);
    let is_whole_range = seeds.end - seeds.start >= 60;
    let (mut faults, mut deep) = (FaultCounts::default(), 0);
    let mut failures = Vec::new();
    for seed in seeds {
        let peers = 2 + (seed % 7) as usize;
        let simulation = Simulation::new(seed).peers(peers).players_per_peer(1..=2);
        match simulation.run(|| Arena::with(rules(seed))) {
            Ok(report) => {
                faults.add(&report.faults);
                deep += report.rollback_depths.iter().skip(2).sum::<u64>();
            }
            Err(failure) => failures.push(format!("{failure}")),
        }
    }
    assert!(failures.is_empty(), "{} seeds failed:\n{}", failures.len(), failures.join("\n"));
    if is_whole_range {
        for (fault, count) in faults.entries() {
            assert!(count > 0, "{fault} never struck");
        }
        assert!(deep > 0, "no rollback went back three frames");
    }
}
