//! Recordings: bytes that may never change, round trips, and bytes that mean harm.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, a panic is how a wrong expectation shows"
)]

mod allocations;
mod episode;
mod golden;
mod hostile;
mod mutants;
mod round_trip;
mod session;
