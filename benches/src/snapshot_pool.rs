//! Snapshots for engines that want a new one for every save: their memory comes back when they are dropped.
//! Without it the peers would pay a large allocation per save that has nothing to do with their own work.

use std::{cell::RefCell, rc::Rc};

use crate::game::Game;

/// Memory for snapshots of one game.
pub(crate) struct SnapshotPool(Rc<RefCell<Vec<Box<[u64]>>>>);

impl SnapshotPool {
    /// An empty pool: it grows to what the engine keeps while it warms up.
    pub(crate) fn new(game: &Game) -> Self {
        Self(Rc::new(RefCell::new(vec![game.empty_slot()])))
    }

    /// A snapshot of `game`.
    pub(crate) fn save(&self, game: &Game) -> PooledSnapshot {
        let mut words = self.0.borrow_mut().pop().unwrap_or_else(|| game.empty_slot());
        game.save_to(&mut words);
        PooledSnapshot { words, pool: Rc::clone(&self.0) }
    }
}

/// One snapshot.
pub(crate) struct PooledSnapshot {
    words: Box<[u64]>,
    pool: Rc<RefCell<Vec<Box<[u64]>>>>,
}

impl PooledSnapshot {
    /// What was saved.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }
}

impl Drop for PooledSnapshot {
    fn drop(&mut self) {
        // An empty box needs no memory.
        self.pool.borrow_mut().push(std::mem::take(&mut self.words));
    }
}
