//! The game as the engine calls it. Passes each call on, and writes the answer into the journal where there is one.

use alloc::vec::Vec;

use super::{Entry, Journal, digest_of_step};
use crate::{
    Costs, Frame, Game, GameError, InputHistory, Leaves, Outcome, PlayerHandle, Predictor, Same,
    StateHash, StateHasher, Step,
};

/// The game as the engine calls it.
pub(crate) struct Witness<'a, G> {
    pub(crate) game: &'a mut G,
    pub(crate) journal: Option<&'a mut Journal>,
}

impl<G: Game> Witness<'_, G> {
    #[inline]
    pub(crate) fn save(&mut self, slot: &mut G::Snapshot) -> Result<(), G::Error> {
        let saved = self.game.save(slot);
        self.note(|| Entry::Saved(saved.is_ok()));
        saved
    }

    /// Loads the state of `frame`.
    pub(crate) fn load(
        &mut self,
        frame: Frame,
        slot: &G::Snapshot,
    ) -> Result<(), GameError<G::Error>> {
        let loaded = self.game.load(slot);
        self.note(|| Entry::Loaded(loaded.is_ok()));
        loaded.map_err(|source| GameError::Load { frame, source })
    }

    #[inline]
    pub(crate) fn step(&mut self, step: &Step<'_, G::Input>) -> Result<Outcome, G::Error> {
        let stepped = self.game.step(step);
        let outcome = stepped.as_ref().ok().copied();
        self.note(|| Entry::Stepped { row: digest_of_step(step), outcome });
        stepped
    }

    #[inline]
    pub(crate) fn output(&mut self, output: &mut Vec<u8>) -> Result<(), G::Error> {
        let given = self.game.output(output);
        self.note(|| Entry::Output(given.is_ok().then_some(output.as_slice())));
        given
    }

    /// Hashes the state of `frame`.
    pub(crate) fn hash(
        &mut self,
        frame: Frame,
        slot: &G::Snapshot,
    ) -> Result<StateHash, GameError<G::Error>> {
        // Made for each hash, which are few, and not kept: it would be a fifth of a session.
        let mut hasher = StateHasher::new();
        let hash = self.game.hash(slot, &mut hasher).map(|()| hasher.finish());
        self.note(|| Entry::Hashed(hash.as_ref().ok().copied()));
        hash.map_err(|source| GameError::Hash { frame, source })
    }

    #[inline]
    pub(crate) fn costs(&mut self) -> Costs {
        let costs = self.game.costs();
        if let Some(journal) = &mut self.journal {
            journal.note_costs(costs);
        }
        costs
    }

    pub(crate) fn same(&mut self, one: &G::Snapshot, other: &G::Snapshot) -> Same {
        let same = self.game.same(one, other);
        self.note(|| Entry::Same(same));
        same
    }

    pub(crate) fn leaves(
        &mut self,
        slot: &G::Snapshot,
        leaves: &mut Leaves,
    ) -> Result<(), G::Error> {
        let walked = self.game.leaves(slot, leaves);
        if let Some(journal) = &mut self.journal {
            for (index, digest) in leaves.digests().enumerate() {
                let name = leaves.name(index).unwrap_or_default().as_bytes();
                journal.note(&Entry::Leaf { name, digest });
            }
            journal.note(&Entry::Leaves(walked.is_ok()));
        }
        walked
    }

    /// A saved state as bytes, where the game can write it.
    pub(crate) fn export(&mut self, slot: &G::Snapshot) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let is_written = self.game.export(slot, &mut bytes).unwrap_or(false);
        let bytes = is_written.then_some(bytes);
        self.note(|| Entry::Exported(bytes.as_deref()));
        bytes
    }

    /// Makes a saved state of its bytes. Answers whether it could.
    pub(crate) fn import(&mut self, bytes: &[u8], slot: &mut G::Snapshot) -> bool {
        let is_read = self.game.import(bytes, slot).unwrap_or(false);
        self.note(|| Entry::Imported(is_read));
        is_read
    }

    /// The predictor, watched as well.
    pub(crate) fn watching<'a>(&'a mut self, predictor: &'a mut dyn Predictor) -> Watched<'a> {
        Watched { predictor, journal: self.journal.as_deref_mut() }
    }

    #[inline]
    fn note<'e>(&mut self, entry: impl FnOnce() -> Entry<'e>) {
        if let Some(journal) = &mut self.journal {
            note_in(journal, entry);
        }
    }
}

/// Apart from the calls themselves, which are made without a journal as well.
#[cold]
#[inline(never)]
fn note_in<'e>(journal: &mut Journal, entry: impl FnOnce() -> Entry<'e>) {
    journal.note(&entry());
}

/// The predictor as the engine calls it.
pub(crate) struct Watched<'a> {
    predictor: &'a mut dyn Predictor,
    journal: Option<&'a mut Journal>,
}

impl Predictor for Watched<'_> {
    fn predict(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        history: &InputHistory<'_>,
        guess: &mut [u8],
    ) {
        self.predictor.predict(player, frame, history, guess);
        if let Some(journal) = &mut self.journal {
            journal.note(&Entry::Guess(guess));
        }
    }

    fn repeats_last(&self) -> bool {
        // A journal has every guess.
        self.journal.is_none() && self.predictor.repeats_last()
    }
}
