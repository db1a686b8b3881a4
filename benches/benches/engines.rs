//! Time per frame of every engine in every cell, side by side. The README says what a row means.

#![expect(clippy::expect_used, reason = "a cell that cannot run must stop the program")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use rollback_benches::{
    cell::Cell,
    clock,
    workload::{Engine, build, verify},
};

fn main() {
    // Less than criterion's own 3 s and 5 s: there are more than a hundred rows.
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .nresamples(10_000)
        .without_plots()
        .configure_from_args();
    for cell in Cell::timed() {
        measure(&mut criterion, &cell);
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, cell: &Cell) {
    let mut group = criterion.benchmark_group(cell.name());
    group.throughput(Throughput::Elements(cell.frames_per_tick()));
    for engine in Engine::ALL {
        if !engine.plays(cell) {
            continue;
        }
        let mut run = None;
        group.bench_function(BenchmarkId::from_parameter(engine.name()), |bencher| {
            // Only for the rows that a filter leaves.
            let run = run.get_or_insert_with(|| {
                verify(engine, cell).expect("the engine does the work");
                let mut run = build(engine, cell).expect("the engine has this mode");
                run.run(WARM_UP_TICKS);
                run
            });
            bencher.iter_custom(|ticks| {
                let start = clock::running_time();
                run.run(ticks);
                clock::running_time() - start
            });
        });
    }
    group.finish();
}

/// Until every ring and every pool has its final size.
const WARM_UP_TICKS: u64 = 1_000;
