//! Measures by how many frames a peer's inputs come late. With level clocks and a path that takes as long both ways, our inputs
//! come as late there, so this also says which input delay would have spared the peer its rollbacks.

use crate::DELAY_MAX;

/// A histogram of the last few hundred inputs, by the input delay with which each would have been in time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lateness {
    counts: [u16; DELAY_MAX + 1],
    total: u16,
}

impl Lateness {
    /// An input arrived that would have been in time with a delay of `frames`.
    pub(crate) fn note(&mut self, frames: u32) {
        let slot = usize::try_from(frames).unwrap_or(DELAY_MAX).min(DELAY_MAX);
        if let Some(count) = self.counts.get_mut(slot) {
            *count += 1;
            self.total += 1;
        }
        // Older ones count half, again and again: what was long ago says little of the path there is now.
        if self.total >= SAMPLES_MAX {
            self.total = 0;
            for count in &mut self.counts {
                *count /= 2;
                self.total += *count;
            }
        }
    }

    /// The delay with which nine inputs in ten would have been in time, once enough have come.
    pub(crate) fn nine_in_ten(&self) -> Option<u32> {
        if self.total < SAMPLES_MIN {
            return None;
        }
        let wanted = self.total - self.total / 10;
        let mut in_time = 0;
        let counts = self.counts.iter().zip(0..);
        let enough = counts.map(|(count, frames)| {
            in_time += *count;
            (in_time, frames)
        });
        enough.filter(|(in_time, _)| *in_time >= wanted).map(|(_, frames)| frames).next()
    }
}

/// So many are counted before the older ones are halved: some seconds of play.
const SAMPLES_MAX: u16 = 512;

/// From so many on, one late input among them does not move the ninth in ten.
const SAMPLES_MIN: u16 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_may_be_late() {
        let mut lateness = Lateness::default();
        for sample in 0..29 {
            lateness.note(sample % 3);
            assert_eq!(lateness.nine_in_ten(), None);
        }
        lateness.note(100);
        assert_eq!(lateness.nine_in_ten(), Some(2));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut lateness = Lateness::default();
        for _ in 0..5_000 {
            lateness.note(20);
        }
        for _ in 0..2_500 {
            lateness.note(3);
        }
        assert_eq!(lateness.nine_in_ten(), Some(3));
    }
}
