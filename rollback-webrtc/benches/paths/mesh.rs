//! Eight members in one process who all send to each other sixty times a second: what they compute, and what they keep in memory.

use std::env;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rollback_webrtc::DATAGRAM_BYTES_MAX;

use crate::ends::{End, Kind};
use crate::process::{cpu_time, memory_kib};

pub(crate) fn report_cpu() {
    println!(
        "\n{MEMBERS} members in one process, 64 bytes to each other 60 times a second, for {} s",
        ROUND.as_secs()
    );
    for kind in Kind::ALL {
        let ends = kind.mesh(MEMBERS);
        let began = Instant::now();
        let end = began + WARM_UP + ROUND;
        let threads: Vec<_> = ends
            .into_iter()
            .enumerate()
            .map(|(own, ends)| thread::spawn(move || play(ends, own, end)))
            .collect();
        thread::sleep(WARM_UP);
        let before = cpu_time();
        thread::sleep(end.saturating_duration_since(Instant::now()));
        let cores = (cpu_time() - before).as_secs_f64() / ROUND.as_secs_f64();
        let received: u64 =
            threads.into_iter().map(|thread| thread.join().expect("a member")).sum();
        println!("{:<16} {cores:>6.3} cores, {received} datagrams received", kind.name());
    }
}

/// Sends to all the others at its ticks, and takes what comes; answers how many came.
fn play(mut ends: Box<dyn End>, own: usize, end: Instant) -> u64 {
    let period = Duration::from_secs(1) / 60;
    let mut tick = Instant::now() + period * u32::try_from(own).expect("a few") / 8;
    let (mut buffer, mut received) = ([0; DATAGRAM_BYTES_MAX], 0);
    while Instant::now() < end {
        let left = tick.saturating_duration_since(Instant::now());
        if left.is_zero() {
            tick += period;
            (0..MEMBERS).filter(|to| *to != own).for_each(|to| ends.send(to, &[0; 64]));
        } else if ends.receive(&mut buffer, left).is_some() {
            received += 1;
        }
    }
    received
}

pub(crate) fn report_memory() {
    println!("\nmemory of an end of a connection: a mesh of {MEMBERS} in a process of its own");
    for kind in [Kind::Bare, Kind::Ours] {
        let own = env::current_exe().expect("this program");
        let output = Command::new(own).args([CHILD, kind.name()]).output().expect("a child");
        print!("{:<16} {}", kind.name(), String::from_utf8_lossy(&output.stdout));
    }
}

/// What a child prints.
pub(crate) fn print_footprint(kind: Kind) {
    // The first pair brings with it what all others share.
    drop(kind.mesh(2));
    let before = memory_kib();
    let ends = kind.mesh(MEMBERS);
    thread::sleep(WARM_UP);
    let connection_ends = u64::try_from(MEMBERS * (MEMBERS - 1)).expect("a few");
    println!("{:>6} KiB", memory_kib().saturating_sub(before) / connection_ends);
    drop(ends);
}

/// The word that makes a child of this program.
pub(crate) const CHILD: &str = "footprint";

const MEMBERS: usize = 8;

const ROUND: Duration = Duration::from_secs(10);

const WARM_UP: Duration = Duration::from_secs(2);
