//! What this process takes of the system.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What all its threads have computed.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Memory that is really there, in KiB.
pub(crate) fn memory_kib() -> u64 {
    status("VmRSS:")
}

/// How many threads it has.
pub(crate) fn threads() -> u64 {
    status("Threads:")
}

/// How many files and sockets are open.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a known field");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}
