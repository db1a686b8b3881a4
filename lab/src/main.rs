//! `lab run SCENARIO… [--times N] [--seed N]` and `lab check`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use rollback_lab::hosts::Hosts;
use rollback_lab::run::{Place, own_folder, run};
use rollback_lab::scenario::Scenario;
use rollback_lab::table::table;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Real processes play over networks that are as bad as a scenario says.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios and judge them. The exit code is 0 if all is right, 1 if not, 2 if a scenario could not be run.
    Run(RunArguments),
    /// Say whether the lab works on this computer.
    Check,
}

#[derive(Args)]
struct RunArguments {
    /// The files.
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,

    /// How many times each, with seeds that count up.
    #[arg(long, default_value_t = 1)]
    times: u64,

    /// From which all chance follows.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Where to leave recordings and what the processes said. Without it, only what is wrong is left, in the system's
    /// folder for such things.
    #[arg(long)]
    keep: Option<PathBuf>,

    /// The folder with arena and rollback-server; this program's own unless given.
    #[arg(long)]
    binaries: Option<PathBuf>,

    /// The folder with the command `rollback`, for scenarios in Python.
    #[arg(long, default_value = ".venv/bin")]
    python: PathBuf,

    /// The folder of kitchen.py, for scenarios in Python.
    #[arg(long, default_value = "examples/python")]
    python_example: PathBuf,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check => Hosts::check().map(|()| true).map_err(Into::into),
        Command::Run(arguments) => run_all(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::from(2)
        }
    }
}

fn run_all(arguments: &RunArguments) -> Result<bool, Box<dyn std::error::Error>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let read = |file: &PathBuf| match Scenario::read(file) {
        Ok(scenario) => Ok((name_of(file), scenario)),
        Err(error) => Err(format!("{}: {error}", file.display())),
    };
    let scenarios: Vec<(String, Scenario)> =
        arguments.scenarios.iter().map(read).collect::<Result<_, _>>()?;
    Hosts::check()?;
    let mut wrong = Vec::new();
    for (name, scenario) in &scenarios {
        for seed in arguments.seed..arguments.seed + arguments.times {
            let place = arguments.place(name, seed)?;
            let began = Instant::now();
            let judgement = run(scenario, &place, &interrupted)?;
            let is_right = judgement.faults.is_empty();
            let word = if is_right { "RIGHT" } else { "WRONG" };
            let seconds = began.elapsed().as_secs_f64();
            let recordings = judgement.recordings;
            println!("{word} {name}, seed {seed}: {recordings} recordings, {seconds:.1} s");
            print!("{}", table(&judgement));
            match (is_right, &arguments.keep) {
                (true, None) => remove(&place.folder)?,
                (false, _) => {
                    println!("  all of it is in {}", place.folder.display());
                    wrong.push(format!("{name} --seed {seed}"));
                }
                (true, Some(_)) => {}
            }
        }
    }
    match wrong.is_empty() {
        true => println!("all right: {} runs", scenarios.len() as u64 * arguments.times),
        false => println!("wrong: {}", wrong.join(", ")),
    }
    Ok(wrong.is_empty())
}

impl RunArguments {
    /// Where one run finds what it needs, and leaves what it makes: whole paths, for its processes run elsewhere.
    fn place(&self, name: &str, seed: u64) -> io::Result<Place> {
        let folder = match &self.keep {
            Some(folder) => folder.join(format!("{name}-{seed}")),
            None => {
                let own = format!("rollback-lab-{}-{name}-{seed}", std::process::id());
                std::env::temp_dir().join(own)
            }
        };
        Ok(Place {
            binaries: absolute(self.binaries.clone().map_or_else(own_folder, Ok)?)?,
            python: absolute(&self.python)?,
            python_example: absolute(&self.python_example)?,
            folder: absolute(folder)?,
            seed,
        })
    }
}

fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn remove(folder: &Path) -> io::Result<()> {
    fs::remove_dir_all(folder)
}
