//! Everything about an engine that can be counted, for every cell of the smallest state: the same on every computer
//! but for the time ratio. `benches/README.md` says what a column means.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a report that cannot be made stops the program; every index is into a table of this file"
)]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, ExitCode},
};

use rollback_benches::{
    clock,
    counting_allocator::{CountingAllocator, allocations},
    game::Game,
    limits::{LIMITS, Limit},
    workload::{Cell, Engine, Run, build, verify},
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let Some(options) = Options::from_arguments() else {
        eprintln!("usage: counts [--json FILE] [--check] [--no-instructions]");
        return ExitCode::FAILURE;
    };
    let callgrind = options.instructions.then(Callgrind::found).flatten();
    if callgrind.is_none() {
        eprintln!(
            "instructions are left out: they need valgrind and the program `cell` beside this one"
        );
    }
    let mut rows = Vec::new();
    for cell in Cell::counted() {
        eprintln!("{} …", cell.name());
        rows.extend(rows_of(&cell, callgrind.as_ref()));
    }
    print_table(&rows);
    if let Some(path) = options.json {
        let json: Vec<_> = rows.iter().map(Row::to_json).collect();
        let text = serde_json::to_string_pretty(&json).expect("rows of text and numbers");
        if let Err(error) = std::fs::write(&path, text) {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    }
    let exceeded = if options.check { exceeded(&rows, options.instructions) } else { Vec::new() };
    for line in &exceeded {
        eprintln!("{line}");
    }
    if exceeded.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Options {
    json: Option<String>,
    check: bool,
    instructions: bool,
}

impl Options {
    fn from_arguments() -> Option<Self> {
        let mut options = Self { json: None, check: false, instructions: true };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = Some(arguments.next()?),
                "--check" => options.check = true,
                "--no-instructions" => options.instructions = false,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// The figures of one engine in one cell, each per frame, in the order of `COLUMNS`.
struct Row {
    cell: String,
    engine: &'static str,
    figures: [Option<f64>; COLUMNS.len()],
}

impl Row {
    fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        object.insert("cell".to_owned(), self.cell.clone().into());
        object.insert("engine".to_owned(), self.engine.into());
        for ((name, _, _), figure) in COLUMNS.iter().zip(self.figures) {
            object.insert((*name).to_owned(), figure.into());
        }
        object.into()
    }
}

/// Name in the JSON file, heading in the table, digits after the point.
const COLUMNS: [(&str, &str, usize); 9] = [
    ("allocations", "allocs", 2),
    ("copied_bytes", "copied B", 1),
    ("clock_readings", "clock", 2),
    ("packets_per_remote", "packets", 3),
    ("payload_bytes_per_remote", "payload B", 2),
    ("resimulated_per_mille", "resim/1000", 0),
    ("stalled_per_mille", "stall/1000", 1),
    ("instructions", "instr", 0),
    ("time_ratio", "time x", 2),
];

/// The limits that do not hold; one that was not measured does not, unless it was not asked for.
fn exceeded(rows: &[Row], with_instructions: bool) -> Vec<String> {
    let mut exceeded = Vec::new();
    for Limit { cell, figure, at_most } in LIMITS {
        let row = rows.iter().find(|row| row.cell == cell && row.engine == Engine::Rollback.name());
        let column = COLUMNS.iter().position(|(name, _, _)| *name == figure);
        let got = row.zip(column).and_then(|(row, column)| row.figures[column]);
        match got {
            Some(got) if got <= at_most => {}
            Some(got) => {
                exceeded.push(format!("{cell}: {figure} {got}, expected at most {at_most}"))
            }
            None if figure == "instructions" && !with_instructions => {}
            None => exceeded.push(format!("{cell}: {figure} was not measured")),
        }
    }
    exceeded
}

fn rows_of(cell: &Cell, callgrind: Option<&Callgrind>) -> Vec<Row> {
    let mut runs: Vec<(Engine, Box<dyn Run>)> = Vec::new();
    for engine in Engine::ALL {
        verify(engine, cell).expect("the engine does the work");
        if let Some(mut run) = build(engine, cell) {
            run.run(WARM_UP_TICKS);
            runs.push((engine, run));
        }
    }
    let counted: Vec<_> = runs.iter_mut().map(|(_, run)| count(cell, run.as_mut())).collect();
    let ratios = time_ratios(cell, &mut runs);
    let mut rows = Vec::new();
    for (((engine, _), mut figures), ratio) in runs.iter().zip(counted).zip(ratios) {
        // Of a large state they would only say how many bytes were copied.
        figures[7] = callgrind
            .filter(|_| cell.state_bytes < LARGE_STATE_BYTES)
            .and_then(|callgrind| callgrind.instructions(*engine, cell));
        figures[8] = Some(ratio);
        rows.push(Row { cell: cell.name(), engine: engine.name(), figures });
    }
    rows
}

/// What can be counted from inside; the last two figures come from elsewhere.
fn count(cell: &Cell, run: &mut dyn Run) -> [Option<f64>; COLUMNS.len()] {
    let sum = |run: &dyn Run, of: fn(&Game) -> u64| run.games().into_iter().map(of).sum::<u64>();
    let before = [
        sum(run, Game::frame),
        sum(run, Game::steps),
        sum(run, Game::copied_bytes),
        run.traffic().packets,
        run.traffic().payload_bytes,
        clock::readings(),
        allocations(),
    ];
    run.run(COUNTED_TICKS);
    let after = [
        allocations(),
        clock::readings(),
        run.traffic().payload_bytes,
        run.traffic().packets,
        sum(run, Game::copied_bytes),
        sum(run, Game::steps),
        sum(run, Game::frame),
    ];
    let [frames, steps, copied, packets, payload, readings, allocated]: [f64; 7] =
        std::array::from_fn(|index| (after[6 - index] - before[index]) as f64);
    let ticks_of_all = (COUNTED_TICKS * cell.frames_per_tick()) as f64;
    let mut figures = [None; COLUMNS.len()];
    figures[0] = Some(allocated / ticks_of_all);
    figures[1] = Some(copied / ticks_of_all);
    if cell.link().is_some() {
        let frames_of_all = (COUNTED_TICKS * cell.players as u64) as f64;
        let remotes = (cell.players - 1) as f64;
        figures[2] = clock::IS_VIRTUAL.then_some(readings / frames_of_all);
        figures[3] = Some(packets / frames_of_all / remotes);
        figures[4] = Some(payload / frames_of_all / remotes);
        figures[5] = Some((steps - frames) / frames_of_all * 1000.0);
        figures[6] = Some((frames_of_all - frames) / frames_of_all * 1000.0);
    }
    figures
}

/// The time of each engine over that of the first, which is the bound: the median over rounds in which all take turns,
/// so that a change of the machine's speed hits all of them.
fn time_ratios(cell: &Cell, runs: &mut [(Engine, Box<dyn Run>)]) -> Vec<f64> {
    let ticks = TIMED_TICKS[usize::from(cell.state_bytes >= LARGE_STATE_BYTES)];
    let mut rounds = vec![Vec::new(); runs.len()];
    for _ in 0..TIMED_ROUNDS {
        let times: Vec<f64> = runs
            .iter_mut()
            .map(|(_, run)| {
                let start = clock::running_time();
                run.run(ticks);
                (clock::running_time() - start).as_secs_f64()
            })
            .collect();
        for (ratios, time) in rounds.iter_mut().zip(&times) {
            ratios.push(time / times[0]);
        }
    }
    rounds
        .into_iter()
        .map(|mut ratios| {
            ratios.sort_by(f64::total_cmp);
            ratios[TIMED_ROUNDS / 2]
        })
        .collect()
}

/// Runs the program `cell` under `valgrind --tool=callgrind`.
struct Callgrind {
    cell_program: std::path::PathBuf,
}

impl Callgrind {
    fn found() -> Option<Self> {
        let cell_program = std::env::current_exe().ok()?.with_file_name("cell");
        let valgrind = Command::new("valgrind").arg("--version").output().ok()?;
        (cell_program.exists() && valgrind.status.success()).then_some(Self { cell_program })
    }

    /// Instructions per frame: the difference of two runs, so that the start cancels out.
    fn instructions(&self, engine: Engine, cell: &Cell) -> Option<f64> {
        let [short, long] = if cell.link().is_some() { MESH_TICKS } else { SOLO_TICKS };
        let more = self.collected(engine, cell, long)? - self.collected(engine, cell, short)?;
        Some(more / ((long - short) * cell.frames_per_tick()) as f64)
    }

    fn collected(&self, engine: Engine, cell: &Cell, ticks: u64) -> Option<f64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(Path::new(&self.cell_program))
            .args([engine.name(), &cell.name(), &ticks.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().find_map(|line| line.split_once("Collected :"))?;
        line.1.trim().parse().ok()
    }
}

fn print_table(rows: &[Row]) {
    let mut text = format!("{:<22}{:<16}", "cell", "engine");
    for (_, heading, _) in COLUMNS {
        text += &format!("{heading:>12}");
    }
    text.push('\n');
    for (index, row) in rows.iter().enumerate() {
        if index > 0 && rows[index - 1].cell != row.cell {
            text.push('\n');
        }
        text += &format!("{:<22}{:<16}", row.cell, row.engine);
        for ((_, _, digits), figure) in COLUMNS.iter().zip(row.figures) {
            text += &match figure {
                Some(figure) => format!("{figure:>12.digits$}"),
                None => format!("{:>12}", "-"),
            };
        }
        text.push('\n');
    }
    // A closed pipe is no reason to complain.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Until every ring and every pool has its final size.
const WARM_UP_TICKS: u64 = 1_000;
/// The period of the inputs.
const COUNTED_TICKS: u64 = 4_096;
const LARGE_STATE_BYTES: usize = 64 << 10;
/// About a millisecond of the slowest engine, with a small state and with a large one.
const TIMED_TICKS: [u64; 2] = [500, 20];
const TIMED_ROUNDS: usize = 41;
/// Ticks of the two runs under callgrind: past the warm-up, and few enough for 8 peers.
const MESH_TICKS: [u64; 2] = [300, 900];
const SOLO_TICKS: [u64; 2] = [1_000, 4_000];
