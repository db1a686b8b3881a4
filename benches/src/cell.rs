//! Which cells there are: what is done, by how many players, over how large a state. Knows no engine.

use std::rc::Rc;

use crate::{game::Inputs, link::LinkSettings};

/// What the engine has to do in every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Every player is local: nothing is predicted, nothing sent.
    Steady,
    /// One player per peer, over a network without loss; every input differs from the one before, so every guess is
    /// wrong and every frame goes back by the delay.
    Rollback {
        /// The one-way delay, and so how far back each frame goes.
        depth: usize,
    },
    /// Every player is local, and in every frame the last `depth` frames are simulated again: the sessions that the
    /// peers have for checks do that.
    Forced {
        /// How far back each frame goes.
        depth: usize,
    },
    /// One player per peer, over a network.
    Mesh {
        /// The one-way delay in ticks.
        delay_ticks: u64,
        /// How many of 1,000 datagrams get lost.
        loss_per_mille: u16,
    },
    /// One player per peer who never changes the input, with a prediction window of this many frames and a delay that
    /// just fits into it.
    Window {
        /// The window.
        frames: usize,
    },
}

/// One thing to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What the engine has to do.
    pub workload: Workload,
    /// How many play.
    pub players: usize,
    /// The size of the game's state, a multiple of 64.
    pub state_bytes: usize,
}

impl Cell {
    /// The cells of the time report: every workload with every state size, and a full house with the smallest.
    #[must_use]
    pub fn timed() -> Vec<Self> {
        let steady = [2, 8].map(|players| (Workload::Steady, players));
        let rollback = DEPTHS.map(|depth| (Workload::Rollback { depth }, 2));
        let forced = DEPTHS.map(|depth| (Workload::Forced { depth }, 2));
        let meshes = [2, 4].map(|players| (mesh(DELAY_TICKS, 0), players));
        let kinds = steady.into_iter().chain(rollback).chain(forced).chain(meshes);
        let of_all_sizes =
            |(workload, players)| STATE_BYTES.map(|bytes| Self::new(workload, players, bytes));
        let mut cells: Vec<_> = kinds.flat_map(of_all_sizes).collect();
        cells.push(Self::small(mesh(DELAY_TICKS, 0), 8));
        cells
    }

    /// The cells of the count report: those of the time report but for some with large states that would say the same
    /// again, and some in which only the traffic differs.
    #[must_use]
    pub fn counted() -> Vec<Self> {
        let mut cells = Self::timed();
        cells.retain(|cell| {
            let says_more = cell.players == 2 && !matches!(cell.workload, Workload::Forced { .. });
            cell.state_bytes == STATE_BYTES[0] || says_more
        });
        cells.push(Self::small(Workload::Forced { depth: 8 }, 8));
        for (players, loss_per_mille) in [(2, 50), (2, 200), (4, 50)] {
            cells.push(Self::small(mesh(DELAY_TICKS, loss_per_mille), players));
        }
        cells.push(Self::small(mesh(DELAY_OF_8_UNACKNOWLEDGED, 0), 2));
        cells.extend(WINDOWS.map(|frames| Self::small(Workload::Window { frames }, 2)));
        cells
    }

    /// The cells in which only the waiting is counted.
    #[must_use]
    pub fn stalling() -> Vec<Self> {
        let mut cells = Vec::new();
        for players in [2, 4, 8] {
            for delay_ticks in 0..=8 {
                for loss_per_mille in [0, 50, 200] {
                    cells.push(Self::small(mesh(delay_ticks, loss_per_mille), players));
                }
            }
        }
        cells
    }

    const fn new(workload: Workload, players: usize, state_bytes: usize) -> Self {
        Self { workload, players, state_bytes }
    }

    const fn small(workload: Workload, players: usize) -> Self {
        Self::new(workload, players, STATE_BYTES[0])
    }

    /// How it is called in the reports, e.g. `rollback8/2p/64B`.
    #[must_use]
    pub fn name(&self) -> String {
        let workload = match self.workload {
            Workload::Steady => "steady".to_owned(),
            Workload::Rollback { depth } => format!("rollback{depth}"),
            Workload::Forced { depth } => format!("forced{depth}"),
            Workload::Window { frames } => format!("window{frames}"),
            Workload::Mesh { delay_ticks, loss_per_mille } => {
                let delay = match delay_ticks {
                    DELAY_TICKS => String::new(),
                    ticks => format!("-delay{ticks}"),
                };
                let loss = match loss_per_mille {
                    0 => String::new(),
                    loss => format!("-loss{}", loss / 10),
                };
                format!("mesh{delay}{loss}")
            }
        };
        let size = match self.state_bytes {
            bytes if bytes >= 1 << 20 => format!("{}MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 => format!("{}KiB", bytes >> 10),
            bytes => format!("{bytes}B"),
        };
        format!("{workload}/{}p/{size}", self.players)
    }

    /// The cell of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = Self::timed().into_iter().chain(Self::counted()).chain(Self::stalling());
        all.into_iter().find(|cell| cell.name() == name)
    }

    /// How many frames one tick stands for: each peer's in a mesh, each simulated one in a rollback.
    #[must_use]
    pub fn frames_per_tick(&self) -> u64 {
        match self.workload {
            Workload::Steady => 1,
            Workload::Forced { depth } => depth as u64 + 1,
            Workload::Mesh { .. } | Workload::Window { .. } => self.players as u64,
            Workload::Rollback { depth } => (self.players * (depth + 1)) as u64,
        }
    }

    /// The prediction window: what the peers start with, or just enough for the rollback that is asked for.
    #[must_use]
    pub fn window(&self) -> usize {
        match self.workload {
            Workload::Forced { depth } => WINDOW.max(depth + 1),
            Workload::Rollback { depth } => WINDOW.max(depth + 2),
            Workload::Window { frames } => frames,
            Workload::Steady | Workload::Mesh { .. } => WINDOW,
        }
    }

    /// How far back each frame goes, where every frame does.
    #[must_use]
    pub fn depth(&self) -> Option<usize> {
        match self.workload {
            Workload::Rollback { depth } | Workload::Forced { depth } => Some(depth),
            Workload::Steady | Workload::Mesh { .. } | Workload::Window { .. } => None,
        }
    }

    /// What the players do; nothing new from frame `held_from` on.
    #[must_use]
    pub fn inputs(&self, held_from: u64) -> Rc<Inputs> {
        let one_in = match self.workload {
            Workload::Rollback { .. } => 1,
            Workload::Window { .. } => NEVER,
            Workload::Steady | Workload::Forced { .. } | Workload::Mesh { .. } => CHANGE_ONE_IN,
        };
        Rc::new(Inputs::new(SEED, one_in, held_from))
    }

    /// How the network behaves; `None` where nothing is sent.
    #[must_use]
    pub fn link(&self) -> Option<LinkSettings> {
        let (delay_ticks, loss_per_mille) = match self.workload {
            Workload::Steady | Workload::Forced { .. } => return None,
            Workload::Mesh { delay_ticks, loss_per_mille } => (delay_ticks, loss_per_mille),
            Workload::Rollback { depth } => (depth as u64, 0),
            Workload::Window { frames } => (frames as u64 / 2 - 1, 0),
        };
        Some(LinkSettings { delay_ticks, loss_per_mille })
    }
}

const fn mesh(delay_ticks: u64, loss_per_mille: u16) -> Workload {
    Workload::Mesh { delay_ticks, loss_per_mille }
}

/// The one-way delay of a mesh, in ticks: 50 ms.
pub const DELAY_TICKS: u64 = 3;
/// The one-way delay with which eight frames wait for their acknowledgement.
pub const DELAY_OF_8_UNACKNOWLEDGED: u64 = 4;
/// The prediction window that both peers start with.
pub const WINDOW: usize = 8;
/// The windows of the report on what a longer one costs.
pub const WINDOWS: [usize; 2] = [8, 128];
/// How far the rollbacks go.
pub const DEPTHS: [usize; 4] = [1, 4, 8, 12];
/// The seed of every report's inputs and losses.
pub const SEED: u64 = 0x0072_6f6c_6c62_6163;
/// The sizes of a state: a handful of numbers, a small world, a large one, an emulator.
pub const STATE_BYTES: [usize; 4] = [64, 4 << 10, 64 << 10, 1 << 20];
/// From this size on the copies matter more than what an engine does beside them.
pub const LARGE_STATE_BYTES: usize = 64 << 10;
/// How many frames a player keeps an input on average.
const CHANGE_ONE_IN: u64 = 8;
/// More frames than there are.
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_found_by_its_name() {
        for cell in Cell::timed().into_iter().chain(Cell::counted()).chain(Cell::stalling()) {
            assert_eq!(Cell::named(&cell.name()), Some(cell));
        }
    }
}
