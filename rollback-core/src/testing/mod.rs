//! The simulator: real sessions on one virtual clock over a seeded network, judged by oracles. A failure is a seed.
//!
//! Every datagram may be lost, delayed, doubled, damaged or overtaken; clocks drift; peers pause, crash and leave;
//! the network breaks apart and heals. Against that, a naive lockstep run of the same game from the stable log says
//! what must have come out. Run your own game under it:
//!
//! ```
//! use core::convert::Infallible;
//! use rollback_core::testing::{self, Simulation};
//! use rollback_core::{Game, Outcome, StateHasher, Step};
//!
//! # #[derive(Clone, Default)]
//! # struct MyGame { x: [i32; 3] }
//! # impl Game for MyGame {
//! #     type Input = i8;
//! #     type Snapshot = Self;
//! #     type Error = Infallible;
//! #     fn save(&self, slot: &mut Self) -> Result<(), Infallible> { slot.clone_from(self); Ok(()) }
//! #     fn load(&mut self, slot: &Self) -> Result<(), Infallible> { self.clone_from(slot); Ok(()) }
//! #     fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> {
//! #         for (x, push) in self.x.iter_mut().zip(step.inputs()) { *x = x.wrapping_mul(3) + i32::from(push); }
//! #         Ok(Outcome::Running)
//! #     }
//! #     fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
//! #         hasher.write_i32s(&slot.x);
//! #         Ok(())
//! #     }
//! # }
//! for seed in testing::seeds(0..3) {
//!     let played = Simulation::new(seed).peers(3).frames(120).run(MyGame::default);
//!     played.unwrap_or_else(|failure| panic!("{failure}"));
//! }
//! ```

mod clock;
mod compared;
#[doc(hidden)]
pub mod doors;
mod fault_counts;
mod faults;
mod gallery;
mod handovers;
mod judgement;
mod kicks;
mod network;
mod node;
mod noise;
mod observed;
mod oracle;
mod pauses;
mod players;
mod random;
mod reduction;
mod reference;
mod report;
mod requests;
mod returns;
mod silence;
mod simulation;
mod slowness;
mod stable_log;
mod strikes;
mod watcher;
mod watching;
mod wild;
mod world;

pub use fault_counts::FaultCounts;
pub use faults::{Fault, Faults};
pub use oracle::{Failure, Oracle};
pub use random::Random;
pub use report::{PeerReport, Report};
pub use simulation::{Simulation, parse_seeds, seeds};
pub use stable_log::StableLog;

pub use crate::session::Sabotage;

/// Every way that the agreement on members can go, in words, and how often it went so in all sessions of this process.
pub fn agreement_ways() -> impl Iterator<Item = (&'static str, u64)> {
    crate::session::coverage::reached()
}
