//! Everything about an engine that can be counted, and the time beside the bound: a table of all cells, and one of what
//! is to be reached. `benches/README.md` says what a column means.

#![expect(clippy::expect_used, reason = "a report that cannot be made stops the program")]

use std::{fmt::Write as _, io::Write as _, process::ExitCode};

use rollback_benches::{
    callgrind::Callgrind,
    cell::{Cell, LARGE_STATE_BYTES, STATE_BYTES},
    counting_allocator::CountingAllocator,
    crowd::{self, PAIRS},
    figures::{COLUMNS, Row, WARM_UP_TICKS, counted_ticks, times},
    further,
    goals::{Measured, goals, table},
    hashing, limits,
    workload::{Engine, Run, build, verify},
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let Some(options) = Options::from_arguments() else {
        eprintln!(
            "usage: counts [--json FILE] [--goals FILE] [--check] [--no-instructions] [--cells TEXT]"
        );
        return ExitCode::FAILURE;
    };
    let callgrind = options.instructions.then(Callgrind::found).flatten();
    if callgrind.is_none() {
        eprintln!(
            "instructions are left out: they need valgrind on the path (Debian, Ubuntu: apt-get install valgrind) and \
             the program `cell` beside this one"
        );
    }
    let mut measured = Measured::default();
    let wanted = |cell: &Cell| options.cells.as_ref().is_none_or(|text| cell.name().contains(text));
    for cell in Cell::counted().into_iter().filter(wanted) {
        eprintln!("{} …", cell.name());
        measured.rows.extend(rows_of(&cell, callgrind.as_ref()));
    }
    let mut text = rows_table(&measured.rows);
    if options.cells.is_none() {
        measured.stalled_more = Some(stalled_more());
        eprintln!("hashes …");
        measured.report_over_hash = hashing::report_over_hash(LARGE_STATE_BYTES);
        for state_bytes in [STATE_BYTES[0], STATE_BYTES[1]] {
            measured.further.extend(further::measure(state_bytes));
        }
        for engine in [Engine::Floor, Engine::Ggrs, Engine::Fortress, Engine::Rollback] {
            eprintln!("{PAIRS} pairs of {} …", engine.name());
            measured.crowds.extend(crowd::measure(engine, PAIRS));
        }
        let goals = table(&goals(&measured));
        let _ = write!(text, "\n{goals}");
        if let Some(path) = &options.goals {
            write_file(path, &goals);
        }
    }
    // A closed pipe is no reason to complain.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if let Some(path) = &options.json {
        write_file(path, &json(&measured));
    }
    let exceeded = if options.check { limits::exceeded(&measured.rows) } else { Vec::new() };
    for line in &exceeded {
        eprintln!("{line}");
    }
    if exceeded.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Options {
    json: Option<String>,
    goals: Option<String>,
    cells: Option<String>,
    check: bool,
    instructions: bool,
}

impl Options {
    fn from_arguments() -> Option<Self> {
        let mut options = Self { instructions: true, ..Self::default() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = Some(arguments.next()?),
                "--goals" => options.goals = Some(arguments.next()?),
                "--cells" => options.cells = Some(arguments.next()?),
                "--check" => options.check = true,
                "--no-instructions" => options.instructions = false,
                _ => return None,
            }
        }
        Some(options)
    }
}

fn rows_of(cell: &Cell, callgrind: Option<&Callgrind>) -> Vec<Row> {
    let mut runs: Vec<(Engine, Box<dyn Run>)> = Vec::new();
    let mut rows = Vec::new();
    for engine in Engine::ALL {
        verify(engine, cell).expect("the engine does the work");
        let Some(mut run) = build(engine, cell) else { continue };
        run.run(WARM_UP_TICKS);
        let mut row = Row::new(cell, engine);
        row.count(cell, run.as_mut(), counted_ticks(cell));
        // Of a large state they would only say how many bytes were copied.
        if let Some(callgrind) = callgrind.filter(|_| cell.state_bytes < LARGE_STATE_BYTES) {
            let instructions = callgrind.instructions(engine, cell);
            row.set("instructions", instructions.expect("callgrind runs the cell"));
        }
        rows.push(row);
        runs.push((engine, run));
    }
    for (row, (nanoseconds, ratio)) in rows.iter_mut().zip(times(cell, &mut runs)) {
        row.set("nanoseconds", nanoseconds);
        row.set("time_ratio", ratio);
    }
    rows
}

/// How many ticks of 1,000 this project waits more than the floor, where that is most.
fn stalled_more() -> (f64, String) {
    let mut most = (f64::MIN, String::new());
    for cell in Cell::stalling() {
        eprintln!("{} …", cell.name());
        let [floor, ours] = [Engine::Floor, Engine::Rollback].map(|engine| {
            let mut run = build(engine, &cell).expect("both play every mesh");
            run.run(WARM_UP_TICKS);
            let mut row = Row::new(&cell, engine);
            row.count(&cell, run.as_mut(), counted_ticks(&cell));
            row.figure("stalled_per_mille").expect("counted in every mesh")
        });
        if ours - floor > most.0 {
            most = (ours - floor, cell.name());
        }
    }
    most
}

fn rows_table(rows: &[Row]) -> String {
    let mut text = format!("{:<22}{:<16}", "cell", "engine");
    for column in COLUMNS {
        let _ = write!(text, "{:>12}", column.heading);
    }
    text.push('\n');
    let mut last = None;
    for row in rows {
        if last.is_some_and(|last| last != &row.cell) {
            text.push('\n');
        }
        last = Some(&row.cell);
        let _ = write!(text, "{:<22}{:<16}", row.cell, row.engine);
        for (column, figure) in COLUMNS.iter().zip(row.figures()) {
            let _ = match figure {
                Some(figure) => write!(text, "{figure:>12.*}", column.digits),
                None => write!(text, "{:>12}", "-"),
            };
        }
        text.push('\n');
    }
    text
}

fn json(measured: &Measured) -> String {
    let of_row = |row: &Row| {
        let mut object = serde_json::Map::new();
        object.insert("cell".to_owned(), row.cell.clone().into());
        object.insert("engine".to_owned(), row.engine.into());
        for (column, figure) in COLUMNS.iter().zip(row.figures()) {
            object.insert(column.name.to_owned(), (*figure).into());
        }
        serde_json::Value::from(object)
    };
    let rows: Vec<_> = measured.rows.iter().map(of_row).collect();
    serde_json::to_string_pretty(&rows).expect("rows of text and numbers")
}

fn write_file(path: &str, text: &str) {
    if let Err(error) = std::fs::write(path, text) {
        eprintln!("{path}: {error}");
    }
}
