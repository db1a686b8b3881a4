//! What the numbers of arriving datagrams tell: which are new, which came twice, which were overtaken, how many are missing.

/// The numbers seen of one peer's datagrams. They travel as 15 bits and are counted on here as 64.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sequence {
    /// The highest number so far.
    highest: Option<u64>,
    /// The first number.
    first: u64,
    /// Which of the numbers below the highest were seen: bit n is the highest less n + 1.
    seen: u64,
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
    /// A new one, but later ones came before it. If they are many, it counts as lost.
    Overtaken,
    /// It came already.
    Duplicate,
}

impl Sequence {
    /// Takes the number of a datagram that arrived.
    pub(super) fn take(&mut self, number: u16) -> Arrival {
        let Some(highest) = self.highest else {
            // Room below, in case that the first to arrive overtook others.
            let number = u64::from(number) + (1 << 32);
            (self.highest, self.first, self.arrived) = (Some(number), number, 1);
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
                self.seen |= bit;
                self.first = self.first.min(highest - u64::from(back));
                self.arrived += u64::from(back <= LATE);
                self.overtaken += 1;
                Arrival::Overtaken
            }
        }
    }

    /// From now on another process sends, and counts from the beginning.
    pub(super) fn begin_anew(&mut self) {
        self.before = (self.arrived(), self.missing());
        (self.highest, self.seen, self.arrived) = (None, 0, 0);
    }

    /// Different datagrams that arrived in time.
    pub(super) const fn arrived(&self) -> u64 {
        self.before.0 + self.arrived
    }

    /// Datagrams that arrived once more.
    pub(super) const fn duplicate(&self) -> u64 {
        self.duplicate
    }

    /// Datagrams that arrived after later ones.
    pub(super) const fn overtaken(&self) -> u64 {
        self.overtaken
    }

    /// Datagrams that have not arrived, or too late, although later ones have.
    pub(super) fn missing(&self) -> u64 {
        let sent = self.highest.map_or(0, |highest| highest - self.first + 1);
        self.before.1 + sent.saturating_sub(self.arrived)
    }
}

/// One that more than so many overtook was lost and repeated by SCTP: at 60 a second that is 130 ms, more than jitter does,
/// and its inputs are in those that came before.
const LATE: u32 = 8;

/// The lower 16 bits, of which the highest does not count.
fn low_bits(number: u64) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: impl IntoIterator<Item = u16>) -> Sequence {
        let mut sequence = Sequence::default();
        for number in numbers {
            sequence.take(number);
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
        assert_eq!((sequence.take(0), sequence.take(2)), (Arrival::New, Arrival::New));
        assert_eq!((sequence.take(1), sequence.take(1)), (Arrival::Overtaken, Arrival::Duplicate));
        assert_eq!(counts(&sequence), (5, 1, 1, 1));
    }

    #[test]
    fn what_is_older_than_the_memory_was_overtaken() {
        let sequence = after([0, 100, 36, 36, 35]);
        assert_eq!(counts(&sequence), (2, 99, 1, 2));
    }

    #[test]
    fn one_that_many_overtook_was_lost() {
        assert_eq!(counts(&after([0, 9, 1])), (3, 7, 0, 1));
        assert_eq!(counts(&after([0, 10, 1, 1])), (2, 9, 1, 1));
    }
}
