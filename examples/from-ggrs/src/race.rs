//! A race of two boats on a canal. Knows no engine: nothing in this file changes when the engine does.

use serde::{Deserialize, Serialize};

/// What a player does in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Keys {
    /// Faster.
    pub row: bool,
    /// Slower.
    pub brake: bool,
}

/// The state of a race.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Race {
    /// How many frames it has lasted.
    pub frame: u32,
    /// How far each boat has come.
    pub position: [i32; 2],
    /// How far each goes in a frame.
    pub speed: [i32; 2],
}

impl Race {
    /// Lets a frame pass; none after the finish.
    pub fn advance(&mut self, keys: [Keys; 2]) {
        if self.is_over() {
            return;
        }
        let others = [self.position[1], self.position[0]];
        for (boat, (keys, other)) in keys.into_iter().zip(others).enumerate() {
            let wake = (1..WAKE).contains(&(other - self.position[boat]));
            let push = 16 * i32::from(keys.row) - 24 * i32::from(keys.brake) + 4 * i32::from(wake);
            self.speed[boat] = ((self.speed[boat] + push) * 31 / 32).max(0);
            self.position[boat] += self.speed[boat];
        }
        self.frame += 1;
    }

    /// Whether a boat is there.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.position.iter().any(|position| *position >= FINISH)
    }
}

/// A boat this far behind another one is drawn along.
const WAKE: i32 = 4_000;

const FINISH: i32 = 100_000;
