//! What the numbers of arriving datagrams tell: which are new, which came twice, which were overtaken, how many are missing.
//! One that SCTP repeated was lost on the way, and counts as missing.

use std::time::Duration;

use rollback_core::Timestamp;

/// The numbers seen of one peer's datagrams. They travel as 15 bits and are counted on here as 64.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sequence {
    /// The highest number so far.
    highest: Option<u64>,
    /// The first number.
    first: u64,
    /// Which of the numbers below the highest were seen: bit n is the highest less n + 1.
    seen: u64,
    /// When each of the last numbers came, or was passed by another, at the number's remainder.
    times: [Timestamp; TIMES],
    arrived: u64,
    duplicate: u64,
    overtaken: u64,
    /// Of the processes that sent before: how many arrived, and were missing.
    before: (u64, u64),
}

/// What an arriving datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next one, or one after a gap.
    New,
    /// A new one, but later ones came before it.
    Overtaken,
    /// It came already.
    Duplicate,
}

impl Sequence {
    /// Takes the number of a datagram that arrived, where a round trip takes so long.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        number: u16,
        round_trip: Option<Duration>,
    ) -> Arrival {
        let Some(highest) = self.highest else {
            // Room below, in case that the first to arrive overtook others.
            let number = u64::from(number) + (1 << 32);
            (self.highest, self.first, self.arrived) = (Some(number), number, 1);
            self.note_time(now, number);
            return Arrival::New;
        };
        // The lower 15 bits of the difference, with their sign.
        let ahead = (number.wrapping_sub(low_bits(highest)) << 1).cast_signed() >> 1;
        let back = u32::from(ahead.unsigned_abs());
        if ahead > 0 {
            // The old highest becomes bit `back - 1`.
            self.seen = self.seen.checked_shl(back).unwrap_or(0);
            self.seen |= 1_u64.checked_shl(back - 1).unwrap_or(0);
            self.highest = Some(highest + u64::from(back));
            self.note_time(now, highest + u64::from(back));
            self.arrived += 1;
            Arrival::New
        } else if ahead == 0 {
            self.duplicate += 1;
            Arrival::Duplicate
        } else {
            let bit = 1_u64.checked_shl(back - 1).unwrap_or(0);
            // One that is older than the memory is taken for one that was overtaken.
            if self.seen & bit != 0 {
                self.duplicate += 1;
                Arrival::Duplicate
            } else {
                let passed_at = self.passed_at(highest, back);
                let comes_after = passed_at.map(|at| now.since(at));
                let was_lost = back >= LATER_ONES
                    && comes_after.is_none_or(|time| time >= round_trip.unwrap_or_default());
                self.seen |= bit;
                if let Some(passed_at) = passed_at {
                    self.note_time(passed_at, highest - u64::from(back));
                }
                self.first = self.first.min(highest - u64::from(back));
                self.arrived += u64::from(!was_lost);
                self.overtaken += u64::from(!was_lost);
                Arrival::Overtaken
            }
        }
    }

    fn note_time(&mut self, now: Timestamp, number: u64) {
        let index = usize::try_from(number % TIMES as u64).unwrap_or_default();
        if let Some(time) = self.times.get_mut(index) {
            *time = now;
        }
    }

    /// When the first one came that is later than the one so far behind the highest, as far as it is known.
    fn passed_at(&self, highest: u64, back: u32) -> Option<Timestamp> {
        if u64::from(back) >= TIMES as u64 {
            return None;
        }
        let later = self.seen & ((1 << (back - 1)) - 1);
        let behind = u64::from(u64::BITS - later.leading_zeros());
        self.times.get(usize::try_from((highest - behind) % TIMES as u64).ok()?).copied()
    }

    /// From now on another process sends, and counts from the beginning.
    pub(super) fn begin_anew(&mut self) {
        self.before = (self.arrived(), self.missing());
        (self.highest, self.seen, self.arrived) = (None, 0, 0);
    }

    /// Different datagrams that arrived without being repeated.
    pub(super) const fn arrived(&self) -> u64 {
        self.before.0 + self.arrived
    }

    /// Datagrams that arrived once more.
    pub(super) const fn duplicate(&self) -> u64 {
        self.duplicate
    }

    /// Those of them that arrived after later ones.
    pub(super) const fn overtaken(&self) -> u64 {
        self.overtaken
    }

    /// Datagrams that have not arrived, or not before SCTP repeated them, although later ones have.
    pub(super) fn missing(&self) -> u64 {
        let sent = self.highest.map_or(0, |highest| highest - self.first + 1);
        self.before.1 + sent.saturating_sub(self.arrived)
    }
}

/// SCTP repeats a datagram when it knows of so many later ones (RFC 9260 §7.2.4), so that it comes a round trip after the first
/// of these at the earliest. One that was only slow on its way comes sooner.
const LATER_ONES: u32 = 3;

/// Times that are known; whoever is as far behind was lost.
const TIMES: usize = 32;

/// The lower 16 bits, of which the highest does not count.
fn low_bits(number: u64) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Option<Duration> = Some(Duration::from_millis(100));

    /// One every 10 ms.
    fn after(numbers: impl IntoIterator<Item = u16>) -> Sequence {
        let mut sequence = Sequence::default();
        for (time, number) in numbers.into_iter().enumerate() {
            sequence.take(Timestamp::from_millis(10 * time as u64), number, ROUND_TRIP);
        }
        sequence
    }

    fn counts(sequence: &Sequence) -> (u64, u64, u64, u64) {
        (sequence.arrived(), sequence.missing(), sequence.duplicate, sequence.overtaken)
    }

    #[test]
    fn gaps_repetitions_and_overtaking_are_told_apart() {
        assert_eq!(counts(&after([])), (0, 0, 0, 0));
        assert_eq!(counts(&after([0, 1, 2, 3])), (4, 0, 0, 0));
        assert_eq!(counts(&after([0, 1, 4])), (3, 2, 0, 0));
        assert_eq!(counts(&after([0, 1, 4, 2])), (4, 1, 0, 1));
        assert_eq!(counts(&after([0, 1, 1, 0])), (2, 0, 2, 0));
        assert_eq!(counts(&after([5, 3])), (2, 1, 0, 1));
    }

    #[test]
    fn the_count_goes_on_where_the_number_begins_anew() {
        let numbers = (0..200_000_u32).filter(|number| number % 10 != 0);
        let sequence = after(numbers.map(|number| low_bits(number.into()) & 0x7fff));
        // The last one, and the first, are not known to be missing.
        assert_eq!(counts(&sequence), (180_000, 19_999, 0, 0));
    }

    #[test]
    fn another_process_begins_anew_and_what_was_counted_stays() {
        let mut sequence = after([500, 502]);
        sequence.begin_anew();
        let mut take = |number| sequence.take(Timestamp::ZERO, number, ROUND_TRIP);
        assert_eq!((take(0), take(2)), (Arrival::New, Arrival::New));
        assert_eq!((take(1), take(1)), (Arrival::Overtaken, Arrival::Duplicate));
        assert_eq!(counts(&sequence), (5, 1, 1, 1));
    }

    #[test]
    fn what_is_older_than_the_memory_was_lost() {
        let sequence = after([0, 100, 36, 36, 35]);
        assert_eq!(counts(&sequence), (2, 99, 1, 0));
    }

    #[test]
    fn what_comes_a_round_trip_after_three_later_ones_was_lost_and_repeated() {
        let but_4 = |last: u16| (0..=last).filter(|number| *number != 4);
        assert_eq!(counts(&after(but_4(8).chain([4]))), (9, 0, 0, 1), "30 ms after the 5");
        assert_eq!(counts(&after(but_4(14).chain([4]))), (14, 1, 0, 0), "100 ms after the 5");
        assert_eq!(counts(&after(but_4(14).chain([4, 4]))), (14, 1, 1, 0));
        let but_both = but_4(15).filter(|number| *number != 5);
        assert_eq!(
            counts(&after(but_both.chain([5, 4]))),
            (14, 2, 0, 0),
            "both were passed by the 6"
        );
        let few = |last: u16| [0, 1, last, 1 + last, 2].into_iter();
        assert_eq!(counts(&after(few(3))), (5, 0, 0, 1), "SCTP knows of two later ones");
    }
}
