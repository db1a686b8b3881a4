//! The engine and its peers under the same work: one game, one network, the same inputs, every result verified.
//! The programs `benches/engines.rs` (time) and `src/bin/counts.rs` (everything that can be counted) report it.

#![expect(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "measurement code: sizes are small constants, and a cell that cannot run must stop the program"
)]

pub mod bare;
pub mod callgrind;
pub mod cell;
pub mod clock;
pub mod counting_allocator;
pub mod crowd;
pub mod figures;
pub mod floor;
pub mod fortress_peer;
pub mod further;
pub mod game;
pub mod ggrs_peer;
pub mod goals;
pub mod hashing;
pub mod limits;
pub mod link;
pub mod rollback_peer;
mod snapshot_pool;
pub mod workload;
