//! A small seeded generator. Everything that happens in a simulation is drawn from it.

/// A generator of numbers that depend on its seed alone: PCG-XSH-RR 64/32 (O'Neill, "PCG: A Family of Simple Fast
/// Space-Efficient Statistically Good Algorithms for Random Number Generation", 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    increment: u64,
}

impl Random {
    /// The generator of `seed`. Generators of different `stream`s are independent.
    #[must_use]
    pub const fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self { state: 0, increment: mixed(stream) | 1 };
        random.advance();
        random.state = random.state.wrapping_add(mixed(seed));
        random.advance();
        random
    }

    /// Any number.
    pub fn next_u32(&mut self) -> u32 {
        let state = self.state;
        self.advance();
        let shifted = (((state >> 18) ^ state) >> 27) & u64::from(u32::MAX);
        let turn = (state >> 59) as u32;
        u32::try_from(shifted).unwrap_or_default().rotate_right(turn)
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: u32) -> u32 {
        // The high half of a product: at most one part in 2^32 / end uneven, which no test here can tell.
        ((u64::from(self.next_u32()) * u64::from(end)) >> 32) as u32
    }

    /// A number from `min` to `max`, both included.
    pub fn between(&mut self, min: u32, max: u32) -> u32 {
        min.saturating_add(self.below(max.saturating_sub(min).saturating_add(1)))
    }

    /// True in `per_mille` of a thousand cases. Draws one number whatever the odds.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille
    }

    /// One of these; `None` when there is none.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let count = u32::try_from(choices.len()).unwrap_or(u32::MAX);
        choices.get(self.below(count) as usize).copied()
    }

    /// Fills `bytes` with any bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(4) {
            let number = self.next_u32().to_le_bytes();
            for (byte, random) in chunk.iter_mut().zip(number) {
                *byte = random;
            }
        }
    }

    const fn advance(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): neighbouring seeds give numbers that have nothing in common.
const fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_seed_and_stream_alone() {
        let draw = |seed, stream| Random::new(seed, stream).next_u32();
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(2, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
    }

    #[test]
    fn chances_are_about_as_stated() {
        let mut random = Random::new(7, 0);
        let hits = (0..10_000).filter(|_| random.chance(250)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!(!(0..1_000).any(|_| random.chance(0)));
        assert!((0..1_000).all(|_| random.chance(1000)));
    }

    #[test]
    fn both_ends_of_a_range_occur() {
        let mut random = Random::new(7, 0);
        let drawn: std::collections::BTreeSet<_> = (0..200).map(|_| random.between(3, 5)).collect();
        assert_eq!(drawn.into_iter().collect::<std::vec::Vec<_>>(), [3, 4, 5]);
    }
}
