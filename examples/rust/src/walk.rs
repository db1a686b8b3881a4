//! Someone who plays: a random walk whose keys change in every frame, so that every late input means a rollback.

use crate::arena::Keys;

/// What one player does, frame by frame, from a seed.
#[derive(Clone, Debug)]
pub struct Walk {
    random: u64,
    last: Keys,
}

impl Walk {
    /// A walk of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { random: seed, last: Keys { push: [0, 0], brake: false } }
    }

    /// What is pressed next: never what was pressed before.
    pub fn next_keys(&mut self) -> Keys {
        loop {
            let bits = self.draw();
            let push = |bits: u64| i8::try_from(bits % 3).unwrap_or(0) - 1;
            let keys = Keys { push: [push(bits), push(bits >> 8)], brake: bits >> 16 & 15 == 0 };
            if keys != self.last {
                self.last = keys;
                return keys;
            }
        }
    }

    /// A linear congruential generator with the constants of Knuth's MMIX; its upper bits are the good ones.
    const fn draw(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.random >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_change_in_every_frame_and_follow_from_the_seed() {
        let walk = |seed| {
            let mut walk = Walk::new(seed);
            (0..500).map(|_| walk.next_keys()).collect::<Vec<_>>()
        };
        let keys = walk(1);
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(keys, walk(1));
        assert_ne!(keys, walk(2));
    }
}
