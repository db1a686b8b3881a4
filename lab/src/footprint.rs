//! What a process takes of the system, so that one that runs for long can be seen to take no more and more.

use std::fs;

/// What a process takes at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Footprint {
    /// Memory that is really there, in KiB.
    pub memory_kib: u64,
    /// Open files and sockets.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// What it took when it had played for a while, and what it took last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Growth {
    /// After [`WARM_UP_S`].
    pub first: Footprint,
    /// At the last look.
    pub last: Footprint,
}

impl Footprint {
    /// What a process takes now; `None` when it is gone.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self {
            memory_kib: field(&status, "VmRSS:")?,
            descriptors: u64::try_from(descriptors).ok()?,
            threads: field(&status, "Threads:")?,
        })
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Seconds of play after which a process has all that it needs.
pub const WARM_UP_S: u64 = 60;

/// Seconds between two looks.
pub const LOOK_EVERY_S: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_something_and_more_with_an_open_file() {
        let before = Footprint::of(std::process::id()).unwrap();
        assert!(before.memory_kib > 100 && before.threads > 0, "{before:?}");
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        let after = Footprint::of(std::process::id()).unwrap();
        assert!(after.descriptors >= before.descriptors + 40, "{before:?} {after:?}");
        drop(files);
        // No process has this number.
        assert_eq!(Footprint::of(u32::MAX), None);
    }
}
