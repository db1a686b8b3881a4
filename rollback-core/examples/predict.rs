//! Says what each predictor would have cost in episodes that were recorded: `cargo run --example predict -- FILE...`.
//!
//! Each recording is played as each of its peers saw it, with the inputs of all other peers 1, 3, 5 and 8 frames late. A
//! recording of one peer is played as somebody who looks on would see it.

use std::process::ExitCode;

use rollback_core::recording::Recording;
use rollback_core::{
    Idle, Markov, PeerSet, PredictionTrial, Predictor, RepeatLast, SessionConfig, TrialResult,
};

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("expected the paths of recordings");
        return ExitCode::FAILURE;
    }
    let mut exit = ExitCode::SUCCESS;
    for path in paths {
        let read = std::fs::read(&path).map_err(|error| error.to_string());
        let read =
            read.and_then(|bytes| Recording::decode(&bytes).map_err(|error| error.to_string()));
        match read {
            Ok(recording) => {
                println!("{path}: {}", about(&recording));
                print_costs(&recording);
            }
            Err(error) => {
                eprintln!("{path}: {error}");
                exit = ExitCode::FAILURE;
            }
        }
    }
    exit
}

fn about(recording: &Recording) -> String {
    let (header, frames) = (recording.header(), recording.frame_count());
    let (config, peers) = (&header.config, header.roster.peer_count());
    let (players, width) = (config.players(), config.input_width());
    let rate = config.tick_rate_hz();
    format!("{frames} frames at {rate} Hz, {peers} peers, {players} players, {width} input bytes")
}

fn print_costs(recording: &Recording) {
    println!(
        "  frames late  predictor    shown wrong %  wrong when it came %  resimulated of 1,000"
    );
    for lateness in LATENESSES {
        for (name, predictor) in PREDICTORS {
            let result = cost(recording, lateness, predictor);
            let percent = |part, whole| 100.0 * per(part, whole);
            println!(
                "  {lateness:>11}  {name:<11}  {:>13.2}  {:>20.2}  {:>20.0}",
                percent(result.shown.mispredictions, result.shown.guesses),
                percent(result.guesses.mispredictions, result.guesses.guesses),
                1000.0 * per(result.resimulated, result.frames),
            );
        }
    }
}

/// What a predictor costs all peers together.
fn cost(recording: &Recording, lateness: u32, predictor: Make) -> TrialResult {
    let peers = PeerSet::first(recording.header().roster.peer_count());
    let views = peers.iter().map(|peer| match peers.len() {
        1 => peers,
        _ => peers.without(peer),
    });
    let mut sum = TrialResult::default();
    for late in views {
        let seen = seen(recording, late, lateness, predictor);
        sum.frames += seen.frames;
        sum.guesses.guesses += seen.guesses.guesses;
        sum.guesses.mispredictions += seen.guesses.mispredictions;
        sum.shown.guesses += seen.shown.guesses;
        sum.shown.mispredictions += seen.shown.mispredictions;
        sum.rollbacks += seen.rollbacks;
        sum.resimulated += seen.resimulated;
    }
    sum
}

/// What a predictor costs one peer.
fn seen(recording: &Recording, late: PeerSet, lateness: u32, predictor: Make) -> TrialResult {
    let (header, mut frames) = (recording.header(), recording.frames());
    let predictor = predictor(&header.config);
    let mut trial = PredictionTrial::new(&header.config, &header.roster, late, lateness, predictor);
    while let Some(frame) = frames.next_frame() {
        trial.push(&frame);
    }
    trial.result()
}

/// A part of a whole; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn per(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

type Make = fn(&SessionConfig) -> Box<dyn Predictor + Send>;

const PREDICTORS: [(&str, Make); 3] = [
    ("repeat last", |_| Box::new(RepeatLast)),
    ("idle", |_| Box::new(Idle)),
    ("markov", |config| Box::new(Markov::new(config))),
];

const LATENESSES: [u32; 4] = [1, 3, 5, 8];
