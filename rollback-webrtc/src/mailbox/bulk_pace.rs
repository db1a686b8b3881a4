//! How fast bulk messages go while datagrams do: so fast that round trips stay as they were. A line that they fill makes every
//! input wait, and which line of a home is the narrow one nobody tells; but the round trips to all peers do.

use std::time::Duration;

use rollback_core::Timestamp;

/// The rate for all peers together: they are behind the same way out.
#[derive(Debug, Clone)]
pub(super) struct BulkPace {
    bytes_per_second: u64,
    /// How many bytes may go now; less than none after a long message.
    allowance: i64,
    filled_at: Timestamp,
    /// When something went last.
    spent_at: Option<Timestamp>,
    /// Since when the rate is looked at: what went since, and was measured, is of it.
    since: Timestamp,
    spent: u64,
    /// Whether it was too much once: from then on it grows slowly.
    has_met_limit: bool,
}

/// The round trips to one peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delay {
    /// As they were before anything went.
    pub(super) quiet: Duration,
    /// As they are at this rate, once enough have been measured.
    pub(super) now: Option<Duration>,
}

impl BulkPace {
    pub(super) const fn new() -> Self {
        Self {
            bytes_per_second: START,
            allowance: 0,
            filled_at: Timestamp::ZERO,
            spent_at: None,
            since: Timestamp::ZERO,
            spent: 0,
            has_met_limit: false,
        }
    }

    /// Whether something went of late.
    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        self.spent_at.is_some_and(|at| now.since(at) < ACTIVE)
    }

    /// Something is to go after a while in which nothing did.
    pub(super) fn begin(&mut self, now: Timestamp) {
        *self =
            Self { filled_at: now, spent_at: Some(now), since: now, allowance: 1, ..Self::new() };
    }

    /// Since when the rate is what it is.
    pub(super) const fn since(&self) -> Timestamp {
        self.since
    }

    /// When the next message may go.
    pub(super) fn next_at(&mut self, now: Timestamp) -> Timestamp {
        let passed = u64::try_from(now.since(self.filled_at).as_micros()).unwrap_or(u64::MAX);
        let filled = passed.min(SECOND_MICROS) * self.bytes_per_second / SECOND_MICROS;
        // Below a byte the time counts further.
        if filled > 0 {
            let most = (self.bytes_per_second / BURSTS_PER_SECOND).cast_signed();
            self.allowance = (self.allowance + filled.cast_signed()).min(most);
            self.filled_at = now;
        }
        let missing = u64::try_from(1 - self.allowance).unwrap_or(0);
        now.plus(Duration::from_micros(missing * SECOND_MICROS / self.bytes_per_second))
    }

    pub(super) fn spend(&mut self, now: Timestamp, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.allowance = self.allowance.saturating_sub_unsigned(bytes);
        self.spent = self.spent.saturating_add(bytes);
        self.spent_at = Some(now);
    }

    /// Whether so little goes that what delay there is has other causes.
    pub(super) fn is_least(&self, now: Timestamp) -> bool {
        self.bytes_per_second == LEAST && now.since(self.since) >= PATIENCE
    }

    /// Makes the rate fit what was measured of each peer.
    pub(super) fn review(&mut self, now: Timestamp, delays: impl Iterator<Item = Delay>) {
        let passed = now.since(self.since);
        if passed < REVIEW_AFTER {
            return;
        }
        let (mut is_too_much, mut is_known, mut queue) = (false, true, Duration::ZERO);
        let mut is_measured = false;
        for Delay { quiet, now } in delays {
            is_measured = true;
            match now {
                Some(now) => {
                    is_too_much |= now > quiet + (quiet / 5).max(SLACK);
                    queue = queue.max(now.saturating_sub(quiet));
                }
                // Nothing comes back: the line is full, too, or worse.
                None => is_too_much |= passed >= PATIENCE + quiet,
            }
            is_known &= now.is_some();
        }
        if !is_measured || !is_too_much && !is_known {
            return;
        }
        let could_go =
            self.bytes_per_second * u64::try_from(passed.as_millis()).unwrap_or(0) / 1_000;
        let is_used = self.spent * 5 >= could_go * 4;
        let rate = self.bytes_per_second;
        self.bytes_per_second = match (is_too_much, is_used) {
            (true, _) if self.has_met_limit => (rate * 3 / 4).max(LEAST),
            (true, _) => (rate / 2).max(LEAST),
            (false, true) if self.has_met_limit => rate + rate / 8,
            (false, true) => rate + rate / 2,
            (false, false) => rate,
        }
        .min(MOST);
        self.has_met_limit |= is_too_much;
        // What waits now is of the former rate.
        let passes_in = if is_too_much { queue } else { Duration::ZERO };
        (self.since, self.spent) = (now.plus(passes_in), 0);
    }
}

/// Where it begins: a quarter of a line of 1 Mbit/s.
const START: u64 = 32 << 10;

/// The least that it is: whoever comes back has to be let in, also over a line on which play notices it.
const LEAST: u64 = 16 << 10;

/// More than any line.
const MOST: u64 = 1 << 30;

/// What may go at once is what goes in the twentieth part of a second.
const BURSTS_PER_SECOND: u64 = 20;

/// So much longer a round trip may be that is short: tasks wait for each other, too.
const SLACK: Duration = Duration::from_millis(5);

/// No rate is judged sooner.
const REVIEW_AFTER: Duration = Duration::from_millis(100);

/// When what was not measured counts as bad.
const PATIENCE: Duration = Duration::from_secs(1);

/// After so long without any the next message is a beginning.
const ACTIVE: Duration = Duration::from_secs(2);

const SECOND_MICROS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(40);

    /// Sends as much as it may over a line with this rate, for so long. Answers what went in the last half of the time, in bytes
    /// a second, and the longest queue that there was.
    fn over(line: u64, seconds: u64) -> (u64, Duration) {
        let (mut pace, mut free_at) = (BulkPace::new(), Timestamp::ZERO);
        pace.begin(Timestamp::ZERO);
        let (mut measured, mut sent, mut longest) = (Vec::new(), 0, Duration::ZERO);
        for millis in 0..seconds * 1_000 {
            let now = Timestamp::from_millis(millis);
            let is_late = millis >= seconds * 500;
            while pace.next_at(now) <= now {
                pace.spend(now, MESSAGE);
                let takes = Duration::from_micros(MESSAGE as u64 * SECOND_MICROS / line);
                free_at = free_at.max(now).plus(takes);
                sent += if is_late { MESSAGE as u64 } else { 0 };
            }
            let queue = free_at.since(now);
            longest = longest.max(queue);
            if millis % 100 == 0 {
                measured.push((now.plus(QUIET + queue), QUIET + queue));
            }
            let since = pace.since().plus(QUIET);
            let mut now_measured: Vec<_> = measured
                .iter()
                .filter(|(at, _)| *at >= since && *at <= now)
                .map(|(_, round_trip)| *round_trip)
                .collect();
            now_measured.sort_unstable();
            let median = now_measured.get((now_measured.len().max(1) - 1) / 2).copied();
            let delay = Delay { quiet: QUIET, now: median.filter(|_| now_measured.len() >= 2) };
            pace.review(now, std::iter::once(delay));
        }
        (sent * 2 / seconds, longest)
    }

    const MESSAGE: usize = 1_000;

    #[test]
    fn a_line_is_used_and_its_queue_stays_short() {
        for line in [32_000, 64_000, 80_000, 125_000, 300_000, 1_250_000] {
            let (rate, longest) = over(line, 40);
            assert!(rate * 100 >= line * 70, "{rate} of {line}");
            assert!(longest <= Duration::from_millis(150), "{longest:?} at {line}");
        }
    }

    #[test]
    fn where_nothing_can_be_measured_it_becomes_the_least() {
        let mut pace = BulkPace::new();
        pace.begin(Timestamp::ZERO);
        for millis in 0..10_000 {
            let delay = Delay { quiet: QUIET, now: None };
            pace.review(Timestamp::from_millis(millis), std::iter::once(delay));
        }
        assert_eq!(pace.bytes_per_second, LEAST);
        assert!(pace.is_least(Timestamp::from_millis(11_000)));
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut pace = BulkPace::new();
        pace.begin(Timestamp::ZERO);
        for millis in 0..10_000 {
            pace.spend(Timestamp::from_millis(millis), 10);
            let delay = Delay { quiet: QUIET, now: Some(QUIET) };
            let now = Timestamp::from_millis(millis);
            if now.since(pace.since()) >= 2 * QUIET {
                pace.review(now, std::iter::once(delay));
            }
        }
        assert_eq!(pace.bytes_per_second, START);
    }
}
