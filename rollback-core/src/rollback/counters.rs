//! Counts what rolling back costs.

/// What rolling back has cost so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RollbackCounters {
    /// How many rollbacks there were.
    pub rollbacks: u64,
    /// How many frames were stepped again.
    pub resimulated: u64,
    /// How many rollbacks stopped before the current frame, because the state had become what it was.
    pub early_stops: u64,
    /// How many states were saved.
    pub saves: u64,
    /// How many times a guessed input made a step fail, or a state that could not be saved.
    pub failed_guesses: u64,
    /// Rollbacks by how many frames they went back: index 0 for one frame, the last for all that went further.
    pub depths: [u64; DEPTHS],
}

/// The same as it is kept: what is counted once a frame at most has as many bits as a frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub(super) resimulated: u64,
    pub(super) early_stops: u32,
    pub(super) failed_guesses: u32,
    pub(super) saves: u64,
    pub(super) depths: [u32; DEPTHS],
}

impl Counted {
    pub(super) fn rollbacks(&self) -> u64 {
        self.depths.into_iter().map(u64::from).sum()
    }

    pub(super) fn told(&self) -> RollbackCounters {
        RollbackCounters {
            rollbacks: self.rollbacks(),
            resimulated: self.resimulated,
            early_stops: self.early_stops.into(),
            saves: self.saves,
            failed_guesses: self.failed_guesses.into(),
            depths: self.depths.map(u64::from),
        }
    }
}

/// How many depths of rollbacks are counted apart.
pub const DEPTHS: usize = 16;
