//! The game's own work, step and copies, with no engine: what no engine can go below.

use std::rc::Rc;

use crate::{
    game::{Game, Inputs},
    workload::{Peer, Setup},
};

/// Loads the state of `depth` frames ago, comes back, saves and steps, in every frame;
/// with a depth of 0 only saves and steps.
#[must_use]
pub fn rollback(setup: &Setup, depth: usize) -> Bare {
    let game = Game::new(setup.cell.state_bytes);
    let slots = (0..=setup.cell.window()).map(|_| game.empty_slot()).collect();
    let (players, inputs) = (setup.cell.players, Rc::clone(&setup.inputs));
    Bare { game, slots, newest: 0, depth, players, inputs }
}

/// The game with a ring of snapshots.
pub struct Bare {
    game: Game,
    slots: Box<[Box<[u64]>]>,
    /// The slot of the next snapshot.
    newest: usize,
    depth: usize,
    players: usize,
    inputs: Rc<Inputs>,
}

impl Peer for Bare {
    fn tick(&mut self) {
        let frame = self.game.frame();
        let depth = self.depth as u64;
        if depth > 0 && frame > depth {
            self.newest = (self.newest + self.slots.len() - self.depth) % self.slots.len();
            self.game.load_from(&self.slots[self.newest]);
            self.newest = self.after(self.newest);
            self.step();
            for _ in 1..depth {
                self.save();
                self.step();
            }
        }
        self.save();
        self.step();
    }

    fn game(&self) -> &Game {
        &self.game
    }
}

impl Bare {
    fn save(&mut self) {
        self.game.save_to(&mut self.slots[self.newest]);
        self.newest = self.after(self.newest);
    }

    fn step(&mut self) {
        let row = self.inputs.row(self.game.frame());
        self.game.step(row[..self.players].iter().copied());
    }

    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }
}
