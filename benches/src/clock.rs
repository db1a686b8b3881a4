//! A virtual clock for engines that read the operating system's clock themselves, and a count of those readings.
//! The one place of this crate that replaces a function of the C library.

#![expect(unsafe_code, reason = "a C function is replaced, and the original is called")]

use std::{cell::Cell, time::Duration};

/// Whether `at` works on this system.
pub const IS_VIRTUAL: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// Runs `body` while every clock of this thread shows `now_ns` nanoseconds after a fixed day.
///
/// The original clock is still read, so an engine pays what a reading costs. Elsewhere than on Linux with glibc this only
/// runs `body`: the engine then sees the real clock, on which a simulated second lasts milliseconds.
pub fn at<R>(now_ns: u64, body: impl FnOnce() -> R) -> R {
    VIRTUAL_NS.set(now_ns);
    let result = body();
    VIRTUAL_NS.set(REAL);
    result
}

/// How often this thread has read a clock (always 0 where `IS_VIRTUAL` is false).
#[must_use]
pub fn readings() -> u64 {
    READINGS.get()
}

/// The time that this thread has spent running, in which the turns of other programs are left out. Elsewhere than on
/// Unix it is the time passed since the first call.
#[must_use]
#[cfg(unix)]
pub fn running_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` may be written; the clock exists on every Unix, and on failure `time` stays zero.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The time that has passed since the first call.
#[must_use]
#[cfg(not(unix))]
pub fn running_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

thread_local! {
    static VIRTUAL_NS: Cell<u64> = const { Cell::new(REAL) };
    static READINGS: Cell<u64> = const { Cell::new(0) };
}

/// The value of `VIRTUAL_NS` that means that the real clock is shown.
const REAL: u64 = u64::MAX;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod replaced {
    use std::sync::OnceLock;

    use super::{READINGS, REAL, VIRTUAL_NS};

    type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

    /// Takes the place of the C library's function of this name in the programs of this crate.
    ///
    /// # Safety
    /// As the original: `out` points to a `timespec` that may be written.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn clock_gettime(
        clock: libc::clockid_t,
        out: *mut libc::timespec,
    ) -> libc::c_int {
        READINGS.set(READINGS.get() + 1);
        let Some(original) = original() else { return -1 };
        // SAFETY: the caller's promise about `out` is the one the original asks for.
        let status = unsafe { original(clock, out) };
        let now_ns = VIRTUAL_NS.get();
        if status == 0 && now_ns != REAL {
            let virtual_time = libc::timespec {
                tv_sec: EPOCH_S + (now_ns / 1_000_000_000) as libc::time_t,
                tv_nsec: (now_ns % 1_000_000_000) as libc::c_long,
            };
            // SAFETY: the original has just written there.
            unsafe { out.write(virtual_time) };
        }
        status
    }

    fn original() -> Option<ClockGettime> {
        static ORIGINAL: OnceLock<Option<ClockGettime>> = OnceLock::new();
        *ORIGINAL.get_or_init(|| {
            // SAFETY: the name is a C string; the next object after this program that defines it is the C library.
            let address = unsafe { libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr()) };
            // SAFETY: the C library's function has this signature (POSIX); a null pointer becomes `None`.
            unsafe { std::mem::transmute::<*mut libc::c_void, Option<ClockGettime>>(address) }
        })
    }

    /// Virtual time starts here, in seconds: any day after 1970 does.
    const EPOCH_S: libc::time_t = 1_700_000_000;
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;

    #[test]
    fn the_running_time_grows_with_work() {
        let start = running_time();
        assert!((0..u64::MAX).any(|_| running_time() > start));
    }

    #[test]
    fn both_clocks_of_std_show_the_virtual_time_and_then_the_real_one_again() {
        if !IS_VIRTUAL {
            return;
        }
        let before = readings();
        let (instant, day) = at(1_000_000_000, || (Instant::now(), SystemTime::now()));
        let (later, later_day) = at(1_250_000_000, || (Instant::now(), SystemTime::now()));
        assert_eq!(later - instant, Duration::from_millis(250));
        assert_eq!(later_day.duration_since(day).unwrap(), Duration::from_millis(250));
        assert_eq!(readings() - before, 4);
        assert!(SystemTime::now() > later_day, "the real clock is back");
    }
}
