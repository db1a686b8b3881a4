//! A game that adds up what all players do, in whose state every input of every frame has a part.

use std::convert::Infallible;
use std::time::Duration;

use rollback_core::{Game, Outcome, StateHasher, Step};

/// The sums of all players, for so many frames; by default for ever.
#[derive(Clone, Debug)]
pub(crate) struct Sum {
    pub(crate) sums: Vec<u64>,
    frames: u32,
    /// How long a step takes.
    pub(crate) step_time: Duration,
}

impl Sum {
    pub(crate) fn of(frames: u32) -> Self {
        Self { sums: Vec::new(), frames, step_time: Duration::ZERO }
    }

    /// The game after frames with these inputs.
    pub(crate) fn after(rows: &[Vec<u8>]) -> Self {
        let mut game = Self::default();
        rows.iter().for_each(|row| game.add(row.iter().copied()));
        game
    }

    fn add(&mut self, inputs: impl ExactSizeIterator<Item = u8>) {
        self.sums.resize(inputs.len(), 0);
        for (sum, input) in self.sums.iter_mut().zip(inputs) {
            *sum = sum.wrapping_mul(31).wrapping_add(input.into());
        }
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self::of(u32::MAX)
    }
}

impl Game for Sum {
    type Input = u8;
    type Snapshot = Self;
    type Error = Infallible;

    fn save(&self, slot: &mut Self) -> Result<(), Infallible> {
        slot.clone_from(self);
        Ok(())
    }

    fn load(&mut self, slot: &Self) -> Result<(), Infallible> {
        self.clone_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Infallible> {
        if !self.step_time.is_zero() {
            std::thread::sleep(self.step_time);
        }
        self.add(step.inputs());
        let is_last = step.frame().index() + 1 >= self.frames;
        Ok(if is_last { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
        slot.sums.iter().for_each(|sum| hasher.write_u64(*sum));
        Ok(())
    }

    fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Infallible> {
        output.extend(self.sums.iter().map(|sum| sum.to_le_bytes()[0]));
        Ok(())
    }

    fn export(&self, slot: &Self, bytes: &mut Vec<u8>) -> Result<bool, Infallible> {
        bytes.extend(slot.sums.iter().flat_map(|sum| sum.to_le_bytes()));
        Ok(true)
    }

    fn import(&self, bytes: &[u8], slot: &mut Self) -> Result<bool, Infallible> {
        let (sums, rest) = bytes.as_chunks();
        slot.clone_from(self);
        slot.sums = sums.iter().map(|sum| u64::from_le_bytes(*sum)).collect();
        Ok(rest.is_empty())
    }
}
