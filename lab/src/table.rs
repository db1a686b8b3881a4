//! What came of a run, in rows for people.

use crate::footprint::Growth;
use crate::judge::Judgement;
use crate::summary::Summary;

/// The rows: one for each peer, and what is wrong below.
#[must_use]
pub fn table(judgement: &Judgement) -> String {
    let mut rows = vec![
        [
            "slot",
            "life",
            "first",
            "frames",
            "rollbacks",
            "again",
            "stalls",
            "longest",
            "rtt",
            "anew",
            "path",
        ]
        .map(str::to_owned),
    ];
    for summary in judgement.summaries.iter().flatten() {
        let frames: u32 = summary.episodes.iter().map(|episode| episode.frames).sum();
        let path = summary.paths.last().map(|taken| taken.path.clone());
        rows.push([
            summary.slot.to_string(),
            summary.life.to_string(),
            in_ms(summary.first_frame_ms),
            frames.to_string(),
            summary.rollbacks.to_string(),
            summary.resimulated.to_string(),
            summary.stalls.to_string(),
            in_ms(Some(summary.longest_stall_ms)),
            in_ms(summary.rtt_ms),
            summary.reconnections.to_string(),
            path.unwrap_or_default(),
        ]);
    }
    let mut text = aligned(&rows);
    if let Some((accepted, gone)) = judgement.packets() {
        text += &format!("  {accepted} packets, {gone} of them did not arrive\n");
    }
    for summary in judgement.summaries.iter().flatten() {
        text += &round_trips(summary);
    }
    for (peer, Growth { first, last }) in &judgement.growth {
        text += &format!(
            "  {peer}: {} KiB after a minute, {} at the end; {} and {} descriptors, {} and {} threads\n",
            first.memory_kib,
            last.memory_kib,
            first.descriptors,
            last.descriptors,
            first.threads,
            last.threads,
        );
    }
    for fault in &judgement.faults {
        text += &format!("  WRONG {fault}\n");
    }
    for (peer, errors) in judgement.errors.iter().enumerate() {
        let lines: Vec<&str> = errors.lines().rev().take(ERROR_LINES).collect();
        for line in lines.iter().rev().filter(|_| !judgement.faults.is_empty()) {
            text += &format!("  peer{peer} said: {line}\n");
        }
    }
    text
}

/// What round trips were while somebody came back, if somebody did.
fn round_trips(summary: &Summary) -> String {
    let (alone, beside) = (summary.round_trips, summary.round_trips_beside);
    if beside.count == 0 {
        return String::new();
    }
    let ms = |micros: u64| format!("{}.{} ms", micros / 1_000, micros / 100 % 10);
    format!(
        "  slot {}: round trips {}; while somebody came back {}, nine in ten of {} within {}\n",
        summary.slot,
        ms(alone.p50_us),
        ms(beside.p50_us),
        beside.count,
        ms(beside.p90_us),
    )
}

fn in_ms(time: Option<u64>) -> String {
    time.map(|time| format!("{time} ms")).unwrap_or_default()
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        for (width, cell) in widths.iter().zip(row) {
            text += &format!("  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

/// As much of what a process wrote is shown.
const ERROR_LINES: usize = 5;
