//! The game: two players pull at a rope for ten seconds.

use std::convert::Infallible;

use rollback_core::{Game, Outcome, StateHasher, Step};

/// The rope, and how tired each player is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tug {
    pub(crate) rope: i32,
    pub(crate) fatigue: [i32; 2],
}

impl Game for Tug {
    /// How hard a player pulls, 0 to 9.
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
        for ((pull, fatigue), way) in step.inputs().zip(&mut self.fatigue).zip([-1, 1]) {
            let pull = i32::from(pull.min(9));
            self.rope += way * (pull * 10 - *fatigue / 16).max(0);
            *fatigue = (*fatigue + pull * pull - 30).max(0);
        }
        let is_over = step.frame().index() + 1 == LENGTH_FRAMES;
        Ok(if is_over { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_i32(slot.rope);
        hasher.write_i32s(&slot.fatigue);
        Ok(())
    }
}

/// Ten seconds at 60 frames a second.
const LENGTH_FRAMES: u32 = 600;
