//! The drop of one of three players that ggrs does not survive, on ggrs and on this engine:
//! `cargo run -p rollback-benches --example drop_scenario`.
//!
//! The third player's last datagrams reach the first and not the second, as happens at the end of any bad connection. Then
//! its computer is gone. On ggrs both then drop it at the lesser of their last frames, again in every frame, until that
//! frame is older than what can be loaded. On this engine they agree on the longer one and hand each other what is missing.

mod scenario;

use std::{
    panic::{self, Location},
    path::Path,
};

use rollback_benches::clock;
use scenario::{Outcome, on_ggrs, on_rollback, play};

fn main() {
    if !clock::IS_VIRTUAL {
        eprintln!(
            "ggrs reads the system's clock, which can only be played with on Linux with glibc"
        );
        return;
    }
    // One line in place of a backtrace; what the panic says is told below.
    panic::set_hook(Box::new(|panic| {
        let file = panic.location().map(|at| Path::new(at.file()).file_name().unwrap_or_default());
        let line = panic.location().map_or(0, Location::line);
        eprintln!("  panic in {}:{line}", file.unwrap_or_default().display());
    }));
    println!("Three players. The third is gone; its last datagrams reached only the first.\n");
    for lost in [0, 1, 2, 3, 6] {
        println!("{lost} of its datagrams reached the first and not the second:");
        println!("  ggrs 0.13  {}", told(&play(lost, on_ggrs::computer)));
        println!("  rollback   {}", told(&play(lost, on_rollback::computer)));
    }
}

fn told(outcome: &Outcome) -> String {
    match (outcome, outcome.agreed_frames()) {
        (Outcome::Panicked { player, message }, _) => format!("player {player} PANICS: {message}"),
        (Outcome::Refused { player, error }, _) => format!("player {player} FAILS: {error}"),
        (Outcome::PlayedOn(histories), Some(frames)) => {
            let cut = histories.first().and_then(|history| history.cut);
            let cut = cut.map_or("nowhere".to_owned(), |cut| format!("at frame {cut}"));
            format!("both cut it off {cut}, and {frames} frames are equal on both")
        }
        (Outcome::PlayedOn(histories), None) => {
            let cuts: Vec<_> = histories.iter().map(|history| history.cut).collect();
            format!("both play on, APART: they cut it off at {cuts:?}")
        }
    }
}
