//! Runs one engine in one cell for some ticks and does nothing else: what `counts` runs under callgrind.

use std::process::ExitCode;

use rollback_benches::{
    cell::Cell,
    workload::{Engine, build},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, cell, ticks] = arguments.as_slice() else { return usage() };
    let (Some(engine), Some(cell), Ok(ticks)) =
        (Engine::named(engine), Cell::named(cell), ticks.parse())
    else {
        return usage();
    };
    let Some(mut run) = build(engine, &cell) else { return usage() };
    run.run(ticks);
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: cell ENGINE CELL TICKS, e.g. cell ggrs mesh/2p/64B 1000");
    ExitCode::FAILURE
}
