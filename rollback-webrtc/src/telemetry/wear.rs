//! How worn the SCTP association of a connection is: how many gaps its acknowledgements name.
//!
//! Lost datagrams are not repeated, and `rtc` 0.21.1 lets the receiver forget one gap between those that arrived in each round
//! trip (RFC 3758 §3.5 C2: its sender's point of acknowledgement stops at what was acknowledged already). Where more is lost,
//! acknowledgements name more and more gaps at four bytes each, until one is longer than a packet may be and nothing is
//! acknowledged or sent any more. No interface tells how many there are, but losses and round trips do, well enough to replace
//! a connection before that.

use std::time::Duration;

use rollback_core::Timestamp;

/// The gaps in one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wear {
    gaps: f64,
    /// How many more there are after a second, of late.
    growth: f64,
    /// When what had arrived and was missing was looked at last.
    last: Option<(Timestamp, (u32, u32))>,
}

impl Wear {
    /// Takes how many datagrams have arrived and are missing by now, where a round trip takes so long.
    pub(super) fn note(&mut self, now: Timestamp, counts: (u32, u32), round_trip: Duration) {
        let Some((then, before)) = self.last.replace((now, counts)) else { return };
        let arrived = f64::from(counts.0.wrapping_sub(before.0));
        // One that was overtaken was missing at first, and is not any more.
        let missing = counts.1.wrapping_sub(before.1);
        let missing = if missing > u32::MAX / 2 { 0.0 } else { f64::from(missing) };
        // Those that are lost one after the other make one gap.
        let share_arrived = if missing > 0.0 { arrived / (arrived + missing) } else { 1.0 };
        let seconds = now.since(then).as_secs_f64().max(f64::EPSILON);
        let forgotten = seconds / round_trip.max(ROUND_TRIP_MIN).as_secs_f64();
        let gaps = (self.gaps + missing * share_arrived - forgotten).max(0.0);
        let share_of_late = (seconds / OF_LATE.as_secs_f64()).min(1.0);
        self.growth += ((gaps - self.gaps) / seconds - self.growth) * share_of_late;
        self.gaps = gaps;
    }

    /// Whether another connection is to be opened, as long as this one lasts.
    pub(super) fn is_worn(&self) -> bool {
        self.gaps + self.growth * OPENING.as_secs_f64() >= GAPS_MAX && self.gaps >= GAPS_MIN
    }
}

/// On a fast path gaps never last.
const ROUND_TRIP_MIN: Duration = Duration::from_millis(1);

/// Over which growth is smoothed.
const OF_LATE: Duration = Duration::from_secs(8);

/// Some 300 gaps make an acknowledgement as long as a packet may be.
const GAPS_MAX: f64 = 250.0;

/// With fewer even a burst of losses is soon forgotten.
const GAPS_MIN: f64 = 40.0;

/// How long it takes to open a connection where so much is lost, if the first attempt fails.
const OPENING: Duration = Duration::from_secs(32);

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute of 60 datagrams a second with so many in a hundred lost, looked at four times a second.
    fn after_a_minute(loss_percent: u32, round_trip_ms: u64) -> Wear {
        let mut wear = Wear::default();
        for quarter in 0..240_u32 {
            let missing = quarter * 15 * loss_percent / 100;
            let counts = (quarter * 15 - missing, missing);
            let now = Timestamp::from_millis(u64::from(quarter) * 250);
            wear.note(now, counts, Duration::from_millis(round_trip_ms));
        }
        wear
    }

    #[test]
    fn gaps_grow_where_more_is_lost_than_a_round_trip_forgets() {
        for (loss, round_trip) in [(0, 500), (1, 300), (5, 160), (10, 150), (30, 40)] {
            assert!(!after_a_minute(loss, round_trip).is_worn(), "{loss} %, {round_trip} ms");
        }
        for (loss, round_trip) in [(20, 160), (20, 300), (30, 160)] {
            assert!(after_a_minute(loss, round_trip).is_worn(), "{loss} %, {round_trip} ms");
        }
    }

    #[test]
    fn one_that_was_overtaken_and_counts_that_begin_anew_make_no_gaps() {
        let mut wear = Wear::default();
        let round_trip = Duration::from_secs(1);
        for (at, counts) in [(1, (u32::MAX - 1, 5)), (2, (3, 4)), (3, (0, 0)), (4, (0, 0))] {
            wear.note(Timestamp::from_millis(at), counts, round_trip);
            assert!(wear.gaps < 1.0, "{wear:?}");
        }
    }
}
