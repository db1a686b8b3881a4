//! The engine under the simulator: seeds, what was once broken, and whether the oracles notice.

#[path = "../games/mod.rs"]
mod games;

mod noise;
mod regressions;
mod sabotage;
mod seeds;
