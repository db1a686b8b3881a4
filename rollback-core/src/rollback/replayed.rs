//! A state that was stepped to again, as a desync's search looks at it.

use alloc::vec::Vec;

use crate::journal::Witness;
use crate::{Chain, Game, Leaves};

/// A state that was stepped to again.
pub(crate) struct Replayed<S> {
    pub(super) slot: S,
    /// What the step to it gave.
    pub(super) output: Chain,
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

/// What a report calls the output of the step that led to a state, when that is what differs.
const OUTPUT_LEAF: &str = "output of the step";
