//! What the transport adds to what it stands on: datagrams over plain UDP, over the crate `webrtc` alone, and over this one,
//! each between two ends in this process on 127.0.0.1. Each round measures all three, so that a busy machine is busy
//! for all of them; what is printed are medians of the rounds and of their ratios.
//!
//! ```text
//! cargo bench -p rollback-webrtc --bench paths                     about four minutes
//! cargo bench -p rollback-webrtc --bench paths -- latency mesh     some of it: latency, mesh, memory, cycles
//! ```
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a report that cannot be made stops the program"
)]

mod bare;
mod cycles;
mod ends;
mod latency;
mod mesh;
mod process;

use std::env;

use ends::Kind;

fn main() {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [part, kind] = wanted.as_slice()
        && part == mesh::CHILD
    {
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind);
        return mesh::print_footprint(kind.expect("a kind of path"));
    }
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    if is_wanted("latency") {
        latency::report();
    }
    if is_wanted("mesh") {
        mesh::report_cpu();
    }
    if is_wanted("memory") {
        mesh::report_memory();
    }
    if is_wanted("cycles") {
        cycles::report();
    }
}

/// The middle of some numbers.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
