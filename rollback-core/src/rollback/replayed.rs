//! A state that was stepped to a second time, for the search for a desync.

use alloc::vec::Vec;

use crate::journal::Witness;
use crate::{Chain, Game, Leaves};

/// A state that was stepped to again.
pub(crate) struct Replayed<S> {
    pub(super) slot: S,
    /// What the step to it gave.
    pub(super) output: Chain,
    /// Whether that was the last step.
    pub(super) has_ended: bool,
}

impl<S> Replayed<S> {
    /// The leaves of the state, and of what the step to it gave.
    pub(crate) fn leaves<G: Game<Snapshot = S>>(&self, game: &mut Witness<'_, G>) -> Leaves {
        let mut leaves = Leaves::default();
        // A state that cannot be walked still has its frame named.
        if game.leaves(&self.slot, &mut leaves).is_err() {
            leaves = Leaves::default();
        }
        leaves.push(OUTPUT_LEAF, self.output.short());
        leaves.push(OUTCOME_LEAF, self.has_ended.into());
        leaves
    }

    /// The state as bytes, where the game can write it.
    pub(crate) fn export<G: Game<Snapshot = S>>(
        &self,
        game: &mut Witness<'_, G>,
    ) -> Option<Vec<u8>> {
        game.export(&self.slot)
    }
}

/// How many leaves are of the step and not of the state.
pub(crate) const STEP_LEAVES: usize = 2;

/// What a report calls what the step that led to a state gave, when that is what differs.
const OUTPUT_LEAF: &str = "output of the step";
const OUTCOME_LEAF: &str = "outcome of the step";
