//! Knows how far apart two clocks are and how long a datagram takes, from timestamps in both directions.
//!
//! Each side keeps the least difference between its receive clock and the other's send clock over a while, and tells
//! the other: a delayed datagram only makes a difference larger, so the least is the one with the least queueing
//! (the min-filter of NTP's clock filter, RFC 5905 §10). The sum of both is the round trip; on a symmetric path half
//! of it is the way of one.

use core::time::Duration;

use crate::Timestamp;

/// What is known of one remote clock. Numbers are in ticks of 128 µs, of which 16 bits travel.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockSync {
    /// The last difference, unwrapped.
    last: Option<i64>,
    /// The least difference of the running and of the last half of the filter's span.
    halves: [Option<i64>; 2],
    half_began: Timestamp,
    /// The other side's least difference, as it came.
    theirs: Option<u16>,
    jitter_micros: u64,
}

impl ClockSync {
    /// Takes a datagram that was stamped `sent` by the other side and arrived at `now`.
    pub(crate) fn handle_sample(&mut self, now: Timestamp, sent: u16) {
        let difference = send_clock(now).wrapping_sub(sent);
        let unwrapped = match self.last {
            None => i64::from(difference),
            Some(last) => {
                last + i64::from(
                    difference.wrapping_sub(low_bits(last.cast_unsigned())).cast_signed(),
                )
            }
        };
        if now.micros_since(self.half_began) >= FILTER_MICROS / 2 {
            self.half_began = now;
            self.halves = [None, self.halves[0]];
        }
        self.halves[0] = Some(self.halves[0].map_or(unwrapped, |least| least.min(unwrapped)));
        // The smoothed interarrival jitter of RFC 3550 §6.4.1.
        if let Some(last) = self.last {
            let step = ticks(unwrapped.abs_diff(last));
            self.jitter_micros -= self.jitter_micros / 16;
            self.jitter_micros = self.jitter_micros.saturating_add(step / 16);
        }
        self.last = Some(unwrapped);
    }

    /// Takes the other side's least difference.
    pub(crate) fn handle_report(&mut self, theirs: u16) {
        self.theirs = Some(theirs);
    }

    /// The least difference, to tell the other side.
    pub(crate) fn report(&self) -> Option<u16> {
        self.least().map(|least| low_bits(least.cast_unsigned()))
    }

    /// The least round trip of late.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt_micros(self.least()?).map(Duration::from_micros)
    }

    fn rtt_micros(&self, least: i64) -> Option<u64> {
        let ours = low_bits(least.cast_unsigned());
        let sum = ours.wrapping_add(self.theirs?).cast_signed();
        // Clocks that drift apart between two reports can make a very short round trip look negative.
        Some(ticks(sum.max(0).unsigned_abs().into()))
    }

    /// How much the way of a datagram varies.
    pub(crate) fn jitter(&self) -> Duration {
        Duration::from_micros(self.jitter_micros)
    }

    /// For how many microseconds the last datagram was under way, on the guess that the least way is half a round trip.
    pub(crate) fn last_age_micros(&self) -> Option<u64> {
        let least = self.least()?;
        let beyond = self.last?.abs_diff(least);
        Some(ticks(beyond).saturating_add(self.rtt_micros(least)? / 2))
    }

    fn least(&self) -> Option<i64> {
        match self.halves {
            [Some(running), Some(last)] => Some(running.min(last)),
            [one, other] => one.or(other),
        }
    }
}

/// The send clock of a datagram: microseconds in units of 128, of which 16 bits travel.
pub(crate) fn send_clock(now: Timestamp) -> u16 {
    low_bits(now.as_micros() / TICK_MICROS)
}

/// The bits of a count that travel.
fn low_bits(count: u64) -> u16 {
    let [low, high, ..] = count.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// So many ticks in microseconds.
fn ticks(count: u64) -> u64 {
    count.saturating_mul(TICK_MICROS)
}

/// Sixteen bits of these span 8.4 s: twice any delay that a playable path has.
const TICK_MICROS: u64 = 128;

/// Long enough to catch a datagram that met no queue, short enough to follow clocks that drift 1 % apart.
const FILTER_MICROS: u64 = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clocks `offset` apart, a path of `ways` each way; both sides' view after `count` datagrams.
    fn pair(offset: u64, ways: [u64; 2], count: u64) -> [ClockSync; 2] {
        let mut sides = [ClockSync::default(), ClockSync::default()];
        for index in 0..count {
            let sent = 1_000_000 + index * 16_000;
            // Every third datagram meets a queue.
            let queue = (index % 3) * 7_000;
            let at = |micros| Timestamp::from_micros(micros);
            let [ours, theirs] = &mut sides;
            theirs.handle_sample(at(sent + offset + ways[0] + queue), send_clock(at(sent)));
            ours.handle_sample(at(sent + ways[1] + queue), send_clock(at(sent + offset)));
        }
        let reports = [sides[0].report(), sides[1].report()];
        sides[0].handle_report(reports[1].unwrap());
        sides[1].handle_report(reports[0].unwrap());
        sides
    }

    #[test]
    fn the_round_trip_is_found_whatever_the_offset() {
        for offset in [0, 5_000_000, 123_456_789, 8_388_608] {
            for side in pair(offset, [40_000, 40_000], 100) {
                let rtt = side.rtt().unwrap();
                assert!(rtt.abs_diff(Duration::from_millis(80)) < Duration::from_micros(300));
                assert!(side.jitter() > Duration::ZERO);
            }
        }
    }

    #[test]
    fn a_queued_datagram_is_known_to_be_older() {
        let [side, _] = pair(77_000, [40_000, 40_000], 99);
        // The last of 99 met the longest queue: 14 ms beyond the 40 ms of the way.
        let age = side.last_age_micros().unwrap();
        assert!(age.abs_diff(54_000) < 300, "{age}");
    }

    #[test]
    fn nothing_is_known_before_both_sides_spoke() {
        let mut side = ClockSync::default();
        assert_eq!(side.rtt(), None);
        side.handle_sample(Timestamp::from_millis(5), 3);
        assert_eq!((side.rtt(), side.last_age_micros()), (None, None));
        assert!(side.report().is_some());
    }
}
