//! Says whether a run was as it has to be: all ended well, all recorded the same, the recordings are right, and the scenario's own
//! expectations hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use std::process::Command;

use rollback_core::recording::{Comparison, Recording, compare};

use crate::footprint::Growth;
use crate::run::Place;
use crate::scenario::{Expectation, Play, Scenario};
use crate::summary::Summary;
use crate::switch::Switch;

/// What came of a run.
#[derive(Debug)]
pub struct Judgement {
    /// What each peer said of its match, where it said something.
    pub summaries: Vec<Option<Summary>>,
    /// What is wrong; nothing, when all is right.
    pub faults: Vec<String>,
    /// How many recordings were compared and verified.
    pub recordings: usize,
    /// What the peers took of the system, where they played for long.
    pub growth: BTreeMap<String, Growth>,
    /// What the peers wrote of errors.
    pub errors: Vec<String>,
    /// The switch with its counters.
    pub switch: Option<Switch>,
}

/// Judges a run by what it left.
#[must_use]
pub fn judge(
    scenario: &Scenario,
    place: &Place,
    done: &BTreeMap<String, bool>,
    outputs: Vec<String>,
    trouble: Vec<String>,
) -> Judgement {
    let mut faults = trouble;
    for peer in scenario.peer_names() {
        if done.get(&peer) == Some(&false) {
            faults.push(format!("{peer} ended with an error"));
        }
    }
    let summaries: Vec<Option<Summary>> =
        outputs.iter().map(|output| Summary::of_output(output)).collect();
    if scenario.program == Play::Arena {
        for (peer, summary) in scenario.peer_names().zip(&summaries) {
            match summary {
                Some(summary) => judge_summary(&peer, summary, &scenario.expect, &mut faults),
                None => faults.push(format!("{peer} has no summary")),
            }
        }
        let all: Vec<&Summary> = summaries.iter().flatten().collect();
        judge_all(&all, &scenario.expect, &mut faults);
    }
    let recordings = judge_recordings(scenario, place, &mut faults);
    let (growth, errors) = (BTreeMap::new(), Vec::new());
    Judgement { summaries, faults, recordings, growth, errors, switch: None }
}

impl Judgement {
    /// How many packets were sent, and how many of them did not arrive.
    pub fn packets(&self) -> Option<(u64, u64)> {
        let switch = self.switch.as_ref()?;
        let (mut accepted, mut gone) = (switch.overflowed(), switch.overflowed());
        for (_, counters) in switch.counters() {
            accepted += counters.accepted;
            gone += counters.lost + counters.overflowed + counters.stopped;
        }
        Some((accepted, gone))
    }

    /// Holds what did not arrive against what is expected.
    pub fn judge_packets(&mut self, expect: &Expectation) {
        let gone = self.packets().map_or(0, |(_, gone)| gone);
        if let Some(most) = expect.packets_lost_max.filter(|most| gone > *most) {
            self.faults.push(format!("{gone} packets did not arrive, over {most}"));
        }
    }

    /// Holds what the peers took of the system against what is expected.
    pub fn judge_growth(&mut self, expect: &Expectation, growth: BTreeMap<String, Growth>) {
        for (peer, Growth { first, last }) in &growth {
            let grown = [
                ("KiB of memory", expect.memory_kib_growth_max, first.memory_kib, last.memory_kib),
                ("descriptors", expect.descriptors_growth_max, first.descriptors, last.descriptors),
                ("threads", expect.descriptors_growth_max, first.threads, last.threads),
            ];
            for (what, most, first, last) in grown {
                if most.is_some_and(|most| last > first + most) {
                    self.faults.push(format!("{peer} grew from {first} to {last} {what}"));
                }
            }
        }
        self.growth = growth;
    }
}

/// What is expected of each peer.
fn judge_summary(peer: &str, summary: &Summary, expect: &Expectation, faults: &mut Vec<String>) {
    for episode in summary.episodes.iter().filter(|episode| episode.end != expect.end) {
        faults.push(format!("{peer}: episode {} ended {}", episode.episode, episode.end));
    }
    // One that came back began in the middle of the match.
    if let Some(most) = expect.first_frame_ms_max.filter(|_| summary.life == 0) {
        match summary.first_frame_ms {
            Some(got) if got <= most => {}
            Some(got) => {
                faults.push(format!("{peer}: the first frame after {got} ms, over {most}"))
            }
            None => faults.push(format!("{peer} played no frame")),
        }
    }
    if let Some(most) = expect.stall_ms_max.filter(|most| summary.longest_stall_ms > *most) {
        faults.push(format!("{peer} stood still for {} ms, over {most}", summary.longest_stall_ms));
    }
    let (alone, beside) = (summary.round_trips, summary.round_trips_beside);
    for (most, beside) in [
        (expect.round_trip_beside_percent_max, beside.p50_us),
        (expect.round_trip_beside_p90_percent_max, beside.p90_us),
    ] {
        let alone = alone.p50_us;
        let Some(most) = most.filter(|most| beside * 100 > alone * most) else { continue };
        faults.push(format!(
            "{peer}: round trips of {beside} µs while somebody came back, over {most} % of {alone}"
        ));
    }
    if summary.life == 0 && beside.count < expect.round_trips_beside_min {
        faults.push(format!(
            "{peer} measured only {} round trips while somebody came back",
            beside.count
        ));
    }
    // One that came back has seen a part of the match only.
    if summary.life == 0 && summary.rollbacks < expect.rollbacks_min {
        faults.push(format!("{peer} had only {} rollbacks", summary.rollbacks));
    }
    if let Some(most) = expect.reconnections_max.filter(|most| summary.reconnections > *most) {
        faults.push(format!("{peer} connected anew {} times, over {most}", summary.reconnections));
    }
    let last_peers = summary.paths.iter().map(|taken| taken.peer);
    let mut last: BTreeMap<u8, &str> = last_peers.map(|peer| (peer, "")).collect();
    let mut first = BTreeMap::new();
    for taken in &summary.paths {
        last.insert(taken.peer, &taken.path);
        first.entry(taken.peer).or_insert(taken.path.as_str());
    }
    for (when, expected, got) in
        [("first", &expect.path_first, &first), ("last", &expect.path_last, &last)]
    {
        let Some(expected) = expected else { continue };
        for path in got.values().filter(|path| kind_of(path) != expected) {
            faults.push(format!("{peer}: the {when} path is {path}, not {expected}"));
        }
        if got.is_empty() {
            faults.push(format!("{peer} knows no path"));
        }
    }
}

/// What is expected of some peer.
fn judge_all(all: &[&Summary], expect: &Expectation, faults: &mut Vec<String>) {
    let mut at_least = |what: &str, least: u64, of: fn(&Summary) -> u64| {
        let most = all.iter().map(|summary| of(summary)).max().unwrap_or_default();
        if most < least {
            faults.push(format!("{what}: at most {most}, and {least} were expected"));
        }
    };
    at_least("ms that someone stood still", expect.stall_ms_min.unwrap_or_default(), |summary| {
        summary.longest_stall_ms
    });
    at_least("frames that one that came back did not step", expect.passed_min, |summary| {
        summary.passed
    });
    at_least("new connections of someone", expect.reconnections_min, |summary| {
        summary.reconnections
    });
    at_least("losses of the server", expect.server_losses_min, |summary| summary.server_losses);
    for expected in &expect.paths_seen {
        let mut paths = all.iter().flat_map(|summary| &summary.paths);
        if !paths.any(|taken| kind_of(&taken.path) == expected) {
            faults.push(format!("no datagram ever went by {expected}"));
        }
    }
}

/// What a scenario calls a path.
fn kind_of(path: &str) -> &str {
    match path {
        path if path.starts_with("direct") => "direct",
        path if path.starts_with("relayed by the server") => "server",
        path if path.starts_with("relayed") => "turn",
        other => other,
    }
}

/// Compares and verifies what was recorded. Answers how many files it was.
fn judge_recordings(scenario: &Scenario, place: &Place, faults: &mut Vec<String>) -> usize {
    let mut whole: BTreeMap<u32, Vec<(PathBuf, Recording)>> = BTreeMap::new();
    let mut broken = Vec::new();
    let mut count = 0;
    for file in scenario.peer_names().flat_map(|peer| recordings(&place.folder.join(peer))) {
        count += 1;
        match fs::read(&file)
            .map_err(|error| error.to_string())
            .and_then(|bytes| Recording::decode(&bytes).map_err(|error| error.to_string()))
        {
            Ok(recording) if recording.is_complete() => {
                whole.entry(recording.header().episode).or_default().push((file, recording));
            }
            Ok(recording) => broken.push((file, recording)),
            Err(error) => faults.push(format!("{}: {error}", file.display())),
        }
    }
    for episode in 0..scenario.game.episodes {
        let files = whole.get(&episode).map(Vec::as_slice).unwrap_or_default();
        let (got, expected) = (files.len(), usize::from(scenario.peers));
        if got != expected {
            faults.push(format!("episode {episode}: {got} whole recordings of {expected} peers"));
        }
        let Some(((first, reference), others)) = files.split_first() else { continue };
        if let Err(said) = verify(scenario.program, place, first) {
            faults.push(said);
        }
        for (file, recording) in others {
            // What is equal to a verified one is verified.
            if recording.as_bytes() != reference.as_bytes() {
                let how = compare(reference, recording);
                faults.push(format!("{} and {}: {how:?}", first.display(), file.display()));
            }
        }
        for (file, recording) in broken.iter().filter(|(_, one)| one.header().episode == episode) {
            // Whoever was killed has the beginning of what the others have.
            match compare(recording, reference) {
                Comparison::Equal | Comparison::Prefix { .. } => {}
                how @ Comparison::Different { .. } => {
                    faults.push(format!("{} and {}: {how:?}", file.display(), first.display()));
                }
            }
        }
    }
    count
}

/// Lets the game simulate a recording again, and answers what it says unless that is right.
fn verify(program: Play, place: &Place, recording: &Path) -> Result<(), String> {
    let mut command = match program {
        Play::Arena => Command::new(place.binaries.join("arena")),
        Play::Python => Command::new(place.rollback()),
    };
    command.arg("verify").arg(recording);
    if program == Play::Python {
        command.args(["--env", "kitchen:make_env"]).current_dir(&place.python_example);
    }
    match command.output() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let files = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|end| end == "rbk")).collect();
    files.sort();
    files
}
