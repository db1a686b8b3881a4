//! The engine under the simulator: seeds, what was once broken, and whether the oracles notice.

#![expect(clippy::panic, clippy::unwrap_used, reason = "the helpers of tests are tests")]

#[path = "../games/mod.rs"]
mod games;
#[path = "../games/settings.rs"]
mod settings;

mod journal;
mod noise;
mod regressions;
mod sabotage;
mod seeds;
