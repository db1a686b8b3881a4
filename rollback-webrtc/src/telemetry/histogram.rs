//! Durations as counts in buckets that grow with them: hours of samples in half a kilobyte.

use std::time::Duration;

/// How often each duration was seen, to about 9 %.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    /// Bucket n holds what is at most [`bound`]`(n)`.
    counts: [u32; BUCKETS],
    total: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub(super) fn note(&mut self, sample: Duration) {
        let micros = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX);
        let bucket = (0..BUCKETS).find(|bucket| micros <= bound(*bucket)).unwrap_or(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
    }

    /// How many samples there are.
    pub(super) const fn total(&self) -> u32 {
        self.total
    }

    /// A duration that so many per cent of the samples did not exceed, rounded up to the bucket's end.
    pub(super) fn percentile(&self, percent: u32) -> Option<Duration> {
        let rank = (u64::from(self.total) * u64::from(percent.min(100))).div_ceil(100).max(1);
        let mut seen = 0_u64;
        let bucket = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        Some(Duration::from_micros(bound(bucket)))
    }
}

/// The longest duration of a bucket in microseconds: from 128 µs to 67 s, eight buckets to a doubling.
fn bound(bucket: usize) -> u64 {
    let steps = [8, 9, 10, 11, 12, 13, 14, 15];
    let octave = bucket / steps.len();
    let step = steps.get(bucket % steps.len()).copied().unwrap_or(8);
    (step << octave) * 16
}

/// Nineteen doublings.
const BUCKETS: usize = 19 * 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_without_gaps_and_by_an_eighth_at_most() {
        for bucket in 1..BUCKETS {
            let (smaller, larger) = (bound(bucket - 1), bound(bucket));
            assert!(smaller < larger && (larger - smaller) * 8 <= smaller, "{smaller} {larger}");
        }
        assert_eq!((bound(0), bound(BUCKETS - 1)), (128, 62_914_560));
    }

    #[test]
    fn percentiles_are_within_an_eighth_of_the_truth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50), None);
        for millis in 1..=1000 {
            histogram.note(Duration::from_millis(millis));
        }
        for (percent, truth) in [(50, 500), (95, 950), (99, 990), (100, 1000)] {
            let told = histogram.percentile(percent).unwrap().as_millis();
            assert!(told >= truth && told <= truth * 9 / 8, "{percent}: {told}");
        }
    }

    #[test]
    fn what_is_beyond_all_buckets_is_in_the_last() {
        let mut histogram = Histogram::default();
        histogram.note(Duration::from_secs(1000));
        histogram.note(Duration::ZERO);
        assert_eq!(histogram.percentile(50), Some(Duration::from_micros(128)));
        assert_eq!(histogram.percentile(99), Some(Duration::from_micros(62_914_560)));
    }
}
