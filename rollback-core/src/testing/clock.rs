//! True time, which no peer sees, and the clocks by which the peers live.

use core::time::Duration;

use crate::Timestamp;

/// A moment of true time: microseconds since the simulation began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct TrueTime(u64);

impl TrueTime {
    pub(crate) const ZERO: Self = Self(0);

    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    pub(crate) const fn plus_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    pub(crate) const fn plus_millis(self, millis: u64) -> Self {
        self.plus_micros(millis.saturating_mul(1000))
    }

    /// How much later this is; zero when it is earlier.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub(crate) const fn elapsed(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

/// The clock of one peer: it began at another moment and runs a little fast or slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerClock {
    offset_micros: u64,
    /// Microseconds that pass here in a true second.
    rate: u64,
}

impl PeerClock {
    /// A clock that is `offset_micros` at the beginning and `skew_ppm` parts in a million fast.
    pub(crate) fn new(offset_micros: u64, skew_ppm: i32) -> Self {
        Self { offset_micros, rate: MILLION.saturating_add_signed(skew_ppm.into()) }
    }

    pub(crate) fn read(&self, at: TrueTime) -> Timestamp {
        let passed = at.0.saturating_mul(self.rate) / MILLION;
        Timestamp::from_micros(self.offset_micros.saturating_add(passed))
    }

    /// The first moment at which the clock reads at least `reading`.
    pub(crate) fn when(&self, reading: Timestamp) -> TrueTime {
        let passed = reading.as_micros().saturating_sub(self.offset_micros);
        TrueTime(passed.saturating_mul(MILLION).div_ceil(self.rate))
    }
}

const MILLION: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_reads_at_least_what_was_waited_for() {
        for skew_ppm in [-10_000, 0, 3, 10_000] {
            let clock = PeerClock::new(77, skew_ppm);
            for micros in [0, 1, 999, 123_456_789] {
                let reading = Timestamp::from_micros(77 + micros);
                let at = clock.when(reading);
                assert!(clock.read(at) >= reading);
                assert!(at == TrueTime::ZERO || clock.read(TrueTime(at.0 - 1)) < reading);
            }
        }
    }

    #[test]
    fn a_fast_clock_gains_on_true_time() {
        let clock = PeerClock::new(0, 10_000);
        assert_eq!(clock.read(TrueTime::from_millis(1000)), Timestamp::from_millis(1010));
    }
}
