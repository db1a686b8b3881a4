//! How much may wait for acknowledgement on the way to one peer: as much as is under way on a path that is well, and no more,
//! so that on one that is not the newest datagrams take the place of the oldest.

use std::time::Duration;

use rollback_core::Timestamp;

use crate::DATAGRAM_BYTES_MAX;

/// The datagrams given for one peer of late: how long, and how many a second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SendRate {
    began: Timestamp,
    /// Since then.
    now: Count,
    /// In the time before.
    before: Count,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    datagrams: u64,
    longest: u64,
}

impl SendRate {
    /// The game gives a datagram of so many bytes.
    pub(super) fn note(&mut self, now: Timestamp, bytes: usize) {
        let passed = now.since(self.began);
        if passed >= PERIOD {
            // After a pause what was before says nothing.
            let was_paused = passed >= 2 * PERIOD;
            self.before = if was_paused { Count::default() } else { self.now };
            (self.now, self.began) = (Count::default(), now);
        }
        self.now.datagrams += 1;
        self.now.longest = self.now.longest.max(bytes as u64);
    }

    /// Whether the game has given any of late.
    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        self.now.datagrams > 0 && now.since(self.began) < 2 * PERIOD
    }

    /// How many bytes may be outstanding: length × rate × (round trip + the delay of SCTP's acknowledgements), and what is lost
    /// until SCTP's timer finds out, for a share of `loss`; at least four full datagrams.
    pub(super) fn limit(&self, round_trip: Option<Duration>, loss: f64) -> usize {
        let datagrams = self.now.datagrams.max(self.before.datagrams);
        let longest = self.now.longest.max(self.before.longest);
        let held = round_trip.unwrap_or(ROUND_TRIP_UNKNOWN).min(ROUND_TRIP_MAX) + ACK_DELAY;
        let held = held + TIMER.mul_f64(loss.clamp(0.0, 1.0));
        let millis = u64::try_from(held.as_millis()).unwrap_or(u64::MAX);
        let bytes = datagrams.saturating_mul(longest).saturating_mul(millis) / PERIOD_MILLIS;
        usize::try_from(bytes).unwrap_or(usize::MAX).clamp(LIMIT_MIN, LIMIT_MAX)
    }
}

/// The time over which datagrams are counted.
const PERIOD: Duration = Duration::from_millis(PERIOD_MILLIS);
const PERIOD_MILLIS: u64 = 500;

/// SCTP may keep an acknowledgement back for so long.
const ACK_DELAY: Duration = Duration::from_millis(200);

/// The shortest time after which SCTP's timer fires (RFC 9260 §16, RTO.Min). While it does not, a loss may keep all others from
/// being noticed.
const TIMER: Duration = Duration::from_secs(1);

/// Until a round trip is measured.
const ROUND_TRIP_UNKNOWN: Duration = Duration::from_millis(500);

/// A longer one makes no more room: what is older is worth nothing.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);

/// Four full datagrams.
pub(super) const LIMIT_MIN: usize = 4 * DATAGRAM_BYTES_MAX;

/// Whatever a program sends.
const LIMIT_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// So many datagrams a second of a length, for two seconds.
    fn sent(per_second: u64, bytes: usize) -> SendRate {
        let mut rate = SendRate::default();
        for number in 0..2 * per_second {
            rate.note(Timestamp::from_micros(number * 1_000_000 / per_second), bytes);
        }
        rate
    }

    #[test]
    fn the_limit_is_length_times_rate_times_round_trip_and_delay() {
        let millis = |millis| Some(Duration::from_millis(millis));
        assert_eq!(sent(60, 1000).limit(millis(100), 0.0), 60 * 1000 * 3 / 10);
        assert_eq!(sent(60, 1000).limit(millis(0), 0.0), 60 * 1000 * 2 / 10);
        assert_eq!(sent(240, 500).limit(millis(300), 0.0), 240 * 500 / 2);
        assert_eq!(sent(60, 1000).limit(None, 0.0), 60 * 1000 * 7 / 10);
        assert_eq!(sent(60, 1000).limit(millis(100), 0.25), 60 * 1000 * 55 / 100);
    }

    #[test]
    fn four_full_datagrams_always_have_room() {
        let round_trip = Some(Duration::from_millis(40));
        assert_eq!(sent(60, 64).limit(round_trip, 0.0), LIMIT_MIN);
        assert_eq!(SendRate::default().limit(None, 0.0), LIMIT_MIN);
        assert_eq!(sent(60, 400).limit(round_trip, 0.0), 60 * 400 * 24 / 100, "more are under way");
        assert_eq!(sent(50_000, 1100).limit(Some(Duration::from_secs(60)), 0.0), LIMIT_MAX);
    }

    #[test]
    fn what_was_sent_long_ago_does_not_count() {
        let mut rate = sent(240, 1000);
        rate.note(Timestamp::from_millis(2400), 100);
        assert!(rate.limit(None, 0.0) > 100_000, "the period before counts");
        rate.note(Timestamp::from_millis(4000), 100);
        assert_eq!(rate.limit(None, 0.0), LIMIT_MIN);
    }
}
