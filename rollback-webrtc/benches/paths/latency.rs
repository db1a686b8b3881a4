//! How long a datagram is on its way, and what it costs, between two ends that send to each other at the rate of a game.

use std::thread;
use std::time::{Duration, Instant};

use rollback_webrtc::DATAGRAM_BYTES_MAX;

use crate::ends::{End, Kind};
use crate::median;
use crate::process::cpu_time;

/// What one round found out about one kind.
struct Figures {
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
    lost: usize,
}

pub(crate) fn report() {
    for (rate, rounds) in [(60, ROUNDS), (1000, ROUNDS)] {
        let mut figures = Kind::ALL.map(|_| Vec::new());
        for round in 0..rounds {
            // Each kind is the first of a round as often as the others.
            for turn in 0..Kind::ALL.len() {
                let place = (round + turn) % Kind::ALL.len();
                figures[place].push(measure(Kind::ALL[place], rate));
            }
        }
        println!("\n64 bytes, {rate} a second each way, medians of {rounds} rounds");
        println!(
            "{:<16} {:>10} {:>10} {:>16} {:>6}",
            "", "p50 us", "p99 us", "cpu us/datagram", "lost"
        );
        for (kind, figures) in Kind::ALL.into_iter().zip(&figures) {
            let of = |field: fn(&Figures) -> f64| median(figures.iter().map(field).collect());
            let lost: usize = figures.iter().map(|figures| figures.lost).sum();
            let (p50, p99, cpu) =
                (of(|one| one.p50_us), of(|one| one.p99_us), of(|one| one.cpu_us));
            println!("{:<16} {p50:>10.1} {p99:>10.1} {cpu:>16.1} {lost:>6}", kind.name());
        }
        let [_, bare, ours] = &figures;
        let ratio = |field: fn(&Figures) -> f64| {
            median(ours.iter().zip(bare).map(|(ours, bare)| field(ours) / field(bare)).collect())
        };
        let (p50, p99, cpu) =
            (ratio(|one| one.p50_us), ratio(|one| one.p99_us), ratio(|one| one.cpu_us));
        println!("{:<16} {p50:>10.2} {p99:>10.2} {cpu:>16.2}", "ours over webrtc");
    }
}

fn measure(kind: Kind, rate: u32) -> Figures {
    let ends = kind.mesh(2);
    let began = Instant::now() + WARM_UP;
    let end = began + ROUND;
    let threads: Vec<_> = ends
        .into_iter()
        .enumerate()
        .map(|(own, ends)| thread::spawn(move || play(ends, own, rate, began, end)))
        .collect();
    thread::sleep(began.saturating_duration_since(Instant::now()));
    let cpu_before = cpu_time();
    thread::sleep(end.saturating_duration_since(Instant::now()));
    let cpu = cpu_time().saturating_sub(cpu_before);
    let (mut latencies, mut sent) = (Vec::new(), 0);
    for thread in threads {
        let (seen, own_sent) = thread.join().expect("an end");
        latencies.extend(seen);
        sent += own_sent;
    }
    latencies.sort_by(f64::total_cmp);
    let at =
        |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or(f64::NAN);
    let cpu_us = cpu.as_secs_f64() * 1e6 / f64::from(sent);
    let lost = usize::try_from(sent).expect("a count").saturating_sub(latencies.len());
    Figures { p50_us: at(50), p99_us: at(99), cpu_us, lost }
}

/// One end: sends at its ticks, and takes what comes in between, as a game loop does. Answers how long what was sent in the round took,
/// and how much it sent itself in that time.
fn play(
    mut ends: Box<dyn End>,
    own: usize,
    rate: u32,
    began: Instant,
    end: Instant,
) -> (Vec<f64>, u32) {
    let (mut latencies, mut sent) = (Vec::new(), 0);
    let period = Duration::from_secs(1) / rate;
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    // The two ends do not send in the same moment.
    let mut tick = Instant::now() + period * u32::try_from(own).expect("0 or 1") / 2;
    while Instant::now() < end + AFTER {
        let left = tick.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            if let Some(len) = ends.receive(&mut buffer, left) {
                let now = Instant::now();
                let since_began = buffer
                    .first_chunk()
                    .map(|bytes| Duration::from_nanos(u64::from_le_bytes(*bytes)));
                let sent_at = since_began.filter(|_| len == 64).map(|since| began + since);
                if let Some(sent_at) = sent_at.filter(|sent_at| *sent_at > began) {
                    latencies.push((now - sent_at).as_secs_f64() * 1e6);
                }
            }
            continue;
        }
        tick += period;
        let now = Instant::now();
        let is_in_round = now > began && now < end;
        // Zero marks what is not measured.
        let since = if is_in_round { now - began } else { Duration::ZERO };
        let mut datagram = [0; 64];
        datagram[..8]
            .copy_from_slice(&u64::try_from(since.as_nanos()).expect("seconds").to_le_bytes());
        ends.send(1 - own, &datagram);
        sent += u32::from(is_in_round);
    }
    (latencies, sent)
}

const ROUNDS: usize = 9;

const ROUND: Duration = Duration::from_secs(2);

const WARM_UP: Duration = Duration::from_millis(500);

/// How long late ones are waited for.
const AFTER: Duration = Duration::from_millis(200);
