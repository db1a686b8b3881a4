//! How much a client may send: an allowance that is spent and grows back.

use std::time::Duration;

/// The allowance of one client, in units.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u64,
    grown_until: Duration,
}

impl Allowance {
    /// A full allowance.
    pub(crate) const fn full(now: Duration) -> Self {
        Self { left: UNITS_MAX, grown_until: now }
    }

    /// Spends the units of a message of so many bytes; `false` when there are too few left.
    pub(crate) fn spend(&mut self, now: Duration, bytes: usize) -> bool {
        self.grow(now);
        let units = 1 + u64::try_from(bytes / BYTES_PER_UNIT).unwrap_or(u64::MAX - 1);
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn grow(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.grown_until);
        let units = u64::try_from(passed.as_millis() / UNIT_MILLIS).unwrap_or(u64::MAX);
        if units > 0 {
            self.left = self.left.saturating_add(units).min(UNITS_MAX);
            self.grown_until = now;
        }
    }
}

/// The largest allowance. Connecting to seven others takes an offer or answer of two units and
/// about ten candidates each: 84 units, so this is six such attempts at once.
const UNITS_MAX: u64 = 512;

/// A message costs one unit and one more for each full kibibyte.
const BYTES_PER_UNIT: usize = 1024;

/// One unit grows back in this time: 50 a second.
const UNIT_MILLIS: u128 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowance_is_512_small_messages_and_grows_back() {
        let mut allowance = Allowance::full(Duration::ZERO);
        for _ in 0..512 {
            assert!(allowance.spend(Duration::ZERO, 100));
        }
        assert!(!allowance.spend(Duration::from_millis(19), 100));
        assert!(allowance.spend(Duration::from_millis(20), 100));
        assert!(!allowance.spend(Duration::from_millis(20), 100));
    }

    #[test]
    fn long_messages_cost_more() {
        let mut allowance = Allowance::full(Duration::ZERO);
        assert!(allowance.spend(Duration::ZERO, 511 * 1024));
        assert!(!allowance.spend(Duration::ZERO, 0));
    }
}
