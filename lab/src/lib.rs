//! A network lab: hosts that are network namespaces, lines between them that are as bad as a scenario says, and a judge.
//!
//! [`switch`] decides what becomes of each packet, and knows no device, clock or process. [`cable`] moves packets between it
//! and the devices of the [`hosts`], [`programs`] says which processes there are, [`run`] starts them and changes things while they
//! play, and [`judge`] looks at what they recorded. `docs/lab.md` says how to write a scenario.

pub mod cable;
pub mod footprint;
pub mod hosts;
pub mod judge;
pub mod line;
pub mod packet;
pub mod processes;
pub mod programs;
pub mod run;
pub mod scenario;
pub mod summary;
pub mod switch;
pub mod table;
