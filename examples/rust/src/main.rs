//! `arena play LINK` and `arena verify FILE…`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use rollback_arena::command::{Arguments, Command};
use rollback_arena::play::{Plan, play};
use rollback_arena::verify::verify;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Play(arguments) => play_and_tell(&Plan::from(*arguments)),
        Command::Verify { files } => verify_all(&files),
    }
}

/// Plays, and prints what it was like.
fn play_and_tell(plan: &Plan) -> ExitCode {
    let summary = match play(plan) {
        Ok(summary) => summary,
        Err(error) => {
            eprintln!("arena: {error}");
            return ExitCode::FAILURE;
        }
    };
    match serde_json::to_string(&summary) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("arena: {error}"),
    }
    let are_finished = summary.episodes.iter().all(|episode| episode.end == "finished");
    if are_finished { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verify_all(files: &[PathBuf]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match verify(file) {
            Ok(frames) => println!("VERIFIED {} ({frames} frames)", file.display()),
            Err(error) => {
                println!("WRONG {}: {error}", file.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
