//! How long to wait before trying again: exponential, with jitter from a seed.

use std::time::Duration;

use crate::random::SplitMix64;

/// Delays that double from one try to the next, up to a limit.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    tries: u32,
    random: SplitMix64,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, tries: 0, random: SplitMix64::new(seed) }
    }

    /// The next delay: between half of and the whole of the doubled one, so that peers that failed
    /// together do not come back together.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(2u32.saturating_pow(self.tries)).min(self.max);
        self.tries = self.tries.saturating_add(1);
        let half = doubled / 2;
        let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(self.random.below(micros))
    }

    /// Delays since the last success.
    pub(crate) const fn tries(&self) -> u32 {
        self.tries
    }

    /// It worked: the next delay is the first one again.
    pub(crate) const fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_limit_and_start_again_after_a_success() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 5 * second, 7);
        for whole in [1, 2, 4, 5, 5] {
            let delay = backoff.next_delay();
            assert!(delay >= whole * second / 2 && delay <= whole * second, "{delay:?}");
        }
        assert_eq!(backoff.tries(), 5);
        backoff.reset();
        assert!(backoff.next_delay() <= second);
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15), 7);
        let last = (0..1000).map(|_| backoff.next_delay()).last();
        assert!(last.unwrap() <= Duration::from_secs(15));
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let delays = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15), seed);
            [(); 4].map(|()| backoff.next_delay())
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
