//! What the engine may need at most, counted and so the same on every computer. Time and instructions are no test.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use rollback_benches::{
    cell::{Cell, LARGE_STATE_BYTES},
    counting_allocator::CountingAllocator,
    figures::{Row, WARM_UP_TICKS, counted_ticks},
    limits::{self, LIMITS},
    workload::{Engine, build},
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn no_limit_is_exceeded() {
    let limited = |cell: &Cell| LIMITS.iter().any(|limit| limit.cell == cell.name());
    let cells = Cell::counted().into_iter().filter(limited);
    let rows: Vec<Row> = cells.map(|cell| counted(Engine::Rollback, &cell)).collect();
    let exceeded = limits::exceeded(&rows);
    assert!(exceeded.is_empty(), "{}", exceeded.join("\n"));
}

#[test]
fn no_more_of_a_large_state_is_copied_than_by_the_better_peer() {
    let large = |cell: &Cell| cell.state_bytes == LARGE_STATE_BYTES;
    for cell in Cell::counted().into_iter().filter(large) {
        let copied = |engine| counted(engine, &cell).figure("copied_bytes").unwrap();
        let peers = Engine::PEERS.into_iter().filter(|peer| peer.plays(&cell));
        let better = peers.map(copied).min_by(f64::total_cmp).unwrap();
        let ours = copied(Engine::Rollback);
        assert!(ours <= better, "{}: {ours} bytes a frame, the better peer {better}", cell.name());
    }
}

#[test]
fn nobody_waits_much_more_than_the_smallest_engine() {
    // Some of the cells that `counts` goes through.
    for name in STALLING {
        let cell = Cell::named(name).unwrap();
        let [floor, ours] = [Engine::Floor, Engine::Rollback]
            .map(|engine| counted(engine, &cell).figure("stalled_per_mille").unwrap());
        assert!(ours <= floor + 2.0, "{name}: {ours} of 1,000 ticks, the floor {floor}");
    }
}

fn counted(engine: Engine, cell: &Cell) -> Row {
    let mut run = build(engine, cell).unwrap();
    run.run(WARM_UP_TICKS);
    let mut row = Row::new(cell, engine);
    row.count(cell, run.as_mut(), counted_ticks(cell));
    row
}

const STALLING: [&str; 6] = [
    "mesh-delay0/8p/64B",
    "mesh-delay5-loss5/4p/64B",
    "mesh-delay6-loss20/2p/64B",
    "mesh-delay7/4p/64B",
    "mesh-delay8/2p/64B",
    "mesh-loss20/8p/64B",
];
