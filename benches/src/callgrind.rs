//! Counts instructions: runs the program `cell` under valgrind's callgrind.

use std::{path::PathBuf, process::Command};

use crate::{cell::Cell, workload::Engine};

/// Runs the program `cell` under `valgrind --tool=callgrind`.
#[derive(Debug)]
pub struct Callgrind {
    cell_program: PathBuf,
}

impl Callgrind {
    /// What is needed, if it is there: valgrind on the path, and `cell` beside the program that runs.
    #[must_use]
    pub fn found() -> Option<Self> {
        let cell_program = std::env::current_exe().ok()?.with_file_name("cell");
        let valgrind = Command::new("valgrind").arg("--version").output().ok()?;
        (cell_program.exists() && valgrind.status.success()).then_some(Self { cell_program })
    }

    /// Instructions per frame: the difference of two runs, so that the start cancels out.
    #[must_use]
    pub fn instructions(&self, engine: Engine, cell: &Cell) -> Option<f64> {
        let [short, long] = if cell.link().is_some() { MESH_TICKS } else { SOLO_TICKS };
        let more = self.collected(engine, cell, long)? - self.collected(engine, cell, short)?;
        Some(more / ((long - short) * cell.frames_per_tick()) as f64)
    }

    fn collected(&self, engine: Engine, cell: &Cell, ticks: u64) -> Option<f64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&self.cell_program)
            .args([engine.name(), &cell.name(), &ticks.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find_map(|line| line.split_once("Collected :"))?;
        line.1.trim().parse().ok()
    }
}

/// Ticks of both runs: past the warm-up, and few enough for 8 peers.
const MESH_TICKS: [u64; 2] = [300, 900];
const SOLO_TICKS: [u64; 2] = [1_000, 4_000];
