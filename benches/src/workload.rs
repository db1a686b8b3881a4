//! The work: which cells exist, how an engine is put into one, and the proof that it did the work right.
//! Knows every engine; no engine knows another.

use std::rc::Rc;

use thiserror::Error;

use crate::{
    bare, floor, fortress_peer,
    game::{Game, Inputs},
    ggrs_peer,
    link::{LinkSettings, Network, Traffic},
    rollback_peer,
};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The game's own work, with no engine at all.
    Bare,
    /// The smallest engine that does the work: a bound, not a competitor.
    Floor,
    /// ggrs.
    Ggrs,
    /// fortress-rollback.
    Fortress,
    /// ggrs saving only confirmed frames.
    GgrsSparse,
    /// fortress-rollback saving only confirmed frames.
    FortressSparse,
    /// This project.
    Rollback,
}

impl Engine {
    /// All of them, the bounds first.
    pub const ALL: [Self; 7] = [
        Self::Bare,
        Self::Floor,
        Self::Ggrs,
        Self::Fortress,
        Self::GgrsSparse,
        Self::FortressSparse,
        Self::Rollback,
    ];

    /// How it is called in the reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Floor => "floor",
            Self::Ggrs => "ggrs",
            Self::Fortress => "fortress",
            Self::GgrsSparse => "ggrs-sparse",
            Self::FortressSparse => "fortress-sparse",
            Self::Rollback => "rollback",
        }
    }

    /// Whether it has a mode for this cell: the bare game has no network, and to save less than every frame is for
    /// large states that are guessed.
    #[must_use]
    pub const fn plays(self, cell: &Cell) -> bool {
        let is_mesh = matches!(cell.workload, Workload::Mesh { .. });
        match self {
            Self::Bare => !is_mesh,
            Self::GgrsSparse | Self::FortressSparse => {
                is_mesh && cell.state_bytes >= SPARSE_STATE_BYTES_MIN
            }
            Self::Rollback => !matches!(cell.workload, Workload::Rollback { .. }),
            Self::Floor | Self::Ggrs | Self::Fortress => true,
        }
    }

    /// The engine of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }
}

/// What the engine has to do in every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Every player is local: nothing is predicted, nothing sent.
    Steady,
    /// Every player is local, and in every frame the last `depth` frames are simulated again.
    Rollback {
        /// How far back each frame goes.
        depth: usize,
    },
    /// One player per peer, over a network with a one-way delay of `DELAY_TICKS` frames.
    Mesh {
        /// How many of 1,000 datagrams get lost.
        loss_per_mille: u16,
    },
    /// The same without loss, but every input differs from the one before, so that every guess is wrong.
    Mispredict {
        /// The one-way delay, and so how far back each frame goes.
        depth: usize,
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
    /// The cells of the time report: every workload with every state size.
    #[must_use]
    pub fn timed() -> Vec<Self> {
        let steady = [2, 8].map(|players| (Workload::Steady, players));
        let rollback = [1, 4, 8, 12].map(|depth| (Workload::Rollback { depth }, 2));
        let mispredict = [1, 4, 8, 12].map(|depth| (Workload::Mispredict { depth }, 2));
        let mesh = [2, 4].map(|players| (Workload::Mesh { loss_per_mille: 0 }, players));
        let kinds = steady.into_iter().chain(rollback).chain(mispredict).chain(mesh);
        kinds
            .flat_map(|(workload, players)| {
                STATE_BYTES.map(|state_bytes| Self { workload, players, state_bytes })
            })
            .collect()
    }

    /// The cells of the count report: those of the smallest state, where an engine's own work shows, some in which only
    /// the traffic differs, and one in which only the copies matter.
    #[must_use]
    pub fn counted() -> Vec<Self> {
        let mut cells = Self::timed();
        cells.retain(|cell| cell.state_bytes == STATE_BYTES[0]);
        for (players, loss_per_mille) in [(8, 0), (2, 50), (2, 200), (4, 50)] {
            let workload = Workload::Mesh { loss_per_mille };
            cells.push(Self { workload, players, state_bytes: STATE_BYTES[0] });
        }
        let rollback = Workload::Rollback { depth: 8 };
        cells.push(Self { workload: rollback, players: 8, state_bytes: STATE_BYTES[0] });
        let mesh = Workload::Mesh { loss_per_mille: 0 };
        cells.push(Self { workload: mesh, players: 2, state_bytes: STATE_BYTES[3] });
        cells
    }

    /// How it is called in the reports, e.g. `rollback8/2p/64B`.
    #[must_use]
    pub fn name(&self) -> String {
        let workload = match self.workload {
            Workload::Steady => "steady".to_owned(),
            Workload::Rollback { depth } => format!("rollback{depth}"),
            Workload::Mispredict { depth } => format!("mispredict{depth}"),
            Workload::Mesh { loss_per_mille: 0 } => "mesh".to_owned(),
            Workload::Mesh { loss_per_mille } => format!("mesh-loss{}", loss_per_mille / 10),
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
        let all = Self::timed().into_iter().chain(Self::counted());
        all.into_iter().find(|cell| cell.name() == name)
    }

    /// How many frames one tick stands for: each peer's in a mesh, each simulated one in a rollback.
    #[must_use]
    pub fn frames_per_tick(&self) -> u64 {
        match self.workload {
            Workload::Steady => 1,
            Workload::Rollback { depth } => depth as u64 + 1,
            Workload::Mesh { .. } => self.players as u64,
            Workload::Mispredict { depth } => (self.players * (depth + 1)) as u64,
        }
    }

    /// The prediction window: what the peers start with, or just enough for the rollback that is asked for.
    #[must_use]
    pub fn window(&self) -> usize {
        match self.workload {
            Workload::Rollback { depth } => WINDOW.max(depth + 1),
            Workload::Mispredict { depth } => WINDOW.max(depth + 2),
            Workload::Steady | Workload::Mesh { .. } => WINDOW,
        }
    }

    /// What the players do.
    #[must_use]
    pub fn inputs(&self) -> Rc<Inputs> {
        self.inputs_held_from(u64::MAX)
    }

    /// How the network behaves; `None` where nothing is sent.
    #[must_use]
    pub fn link(&self) -> Option<LinkSettings> {
        match self.workload {
            Workload::Steady | Workload::Rollback { .. } => None,
            Workload::Mesh { loss_per_mille } => {
                Some(LinkSettings { delay_ticks: DELAY_TICKS, loss_per_mille })
            }
            Workload::Mispredict { depth } => {
                Some(LinkSettings { delay_ticks: depth as u64, loss_per_mille: 0 })
            }
        }
    }

    fn inputs_held_from(&self, frame: u64) -> Rc<Inputs> {
        let one_in = match self.workload {
            Workload::Mispredict { .. } => 1,
            _ => CHANGE_ONE_IN,
        };
        Rc::new(Inputs::new(SEED, one_in, frame))
    }
}

/// One peer of a cell.
pub trait Peer {
    /// One turn of a game loop at 60 frames per second: take what has arrived, give the local inputs, advance.
    fn tick(&mut self);
    /// The game it plays.
    fn game(&self) -> &Game;
    /// Whether it has greeted everybody and simulates.
    fn is_running(&self) -> bool {
        true
    }
}

/// An engine in a cell.
pub trait Run {
    /// Lets `ticks` frames pass.
    fn run(&mut self, ticks: u64);
    /// The game of every peer.
    fn games(&self) -> Vec<&Game>;
    /// What was sent since the start.
    fn traffic(&self) -> Traffic;
}

/// Puts `engine` into `cell`, ready to run; `None` if it has no such mode.
#[must_use]
pub fn build(engine: Engine, cell: &Cell) -> Option<Box<dyn Run>> {
    build_with(engine, cell, cell.inputs())
}

fn build_with(engine: Engine, cell: &Cell, inputs: Rc<Inputs>) -> Option<Box<dyn Run>> {
    if !engine.plays(cell) {
        return None;
    }
    let is_sparse = matches!(engine, Engine::GgrsSparse | Engine::FortressSparse);
    let setup = &Setup { cell: *cell, inputs, is_sparse };
    Some(match (engine, cell.workload) {
        (Engine::Bare, Workload::Steady) => solo(bare::local(setup)),
        (Engine::Bare, Workload::Rollback { depth }) => solo(bare::rollback(setup, depth)),
        (Engine::Bare, Workload::Mispredict { depth }) => {
            mesh(setup, |setup, _, _| bare::rollback(setup, depth))
        }
        (Engine::Bare, Workload::Mesh { .. }) | (Engine::Rollback, Workload::Rollback { .. }) => {
            return None;
        }
        (Engine::Floor, Workload::Steady) => solo(floor::local(setup)),
        (Engine::Floor, Workload::Rollback { depth }) => solo(floor::rollback(setup, depth)),
        (Engine::Floor, _) => mesh(setup, floor::member),
        (Engine::Ggrs | Engine::GgrsSparse, Workload::Steady) => solo(ggrs_peer::local(setup)),
        (Engine::Ggrs | Engine::GgrsSparse, Workload::Rollback { depth }) => {
            solo(ggrs_peer::rollback(setup, depth))
        }
        (Engine::Ggrs | Engine::GgrsSparse, _) => mesh(setup, ggrs_peer::member),
        (Engine::Fortress | Engine::FortressSparse, Workload::Steady) => {
            solo(fortress_peer::local(setup))
        }
        (Engine::Fortress | Engine::FortressSparse, Workload::Rollback { depth }) => {
            solo(fortress_peer::rollback(setup, depth))
        }
        (Engine::Fortress | Engine::FortressSparse, _) => mesh(setup, fortress_peer::member),
        (Engine::Rollback, Workload::Steady) => solo(rollback_peer::local(setup)),
        (Engine::Rollback, _) => mesh(setup, rollback_peer::member),
    })
}

/// Runs `engine` in `cell` for some hundred frames, then with inputs that no longer change until no guess can be wrong,
/// and compares the state of every peer with a plain simulation.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn verify(engine: Engine, cell: &Cell) -> Result<(), VerifyError> {
    let inputs = cell.inputs_held_from(VERIFIED_FRAMES);
    let Some(mut run) = build_with(engine, cell, Rc::clone(&inputs)) else { return Ok(()) };
    run.run(VERIFIED_FRAMES + SETTLING_TICKS);
    if run.traffic().overflows > 0 {
        return Err(VerifyError::Overflow { engine: engine.name(), cell: cell.name() });
    }
    for (peer, game) in run.games().into_iter().enumerate() {
        let frames = game.frame();
        if frames < VERIFIED_FRAMES {
            return Err(VerifyError::Slow { engine: engine.name(), cell: cell.name(), frames });
        }
        if let Workload::Rollback { depth } | Workload::Mispredict { depth } = cell.workload {
            // The first frames have no past of that length, and held inputs are guessed right.
            let steps_min = (VERIFIED_FRAMES - 2 * cell.window() as u64) * (depth as u64 + 1);
            if game.steps() < steps_min {
                let steps = game.steps();
                return Err(VerifyError::NoRollback {
                    engine: engine.name(),
                    cell: cell.name(),
                    steps,
                });
            }
        }
        if !game.same_state(&inputs.plain_simulation(cell.players, cell.state_bytes, frames)) {
            return Err(VerifyError::WrongState {
                engine: engine.name(),
                cell: cell.name(),
                peer,
                frames,
            });
        }
    }
    Ok(())
}

/// Why a measurement of this cell would mean nothing.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The state is not that of the true inputs.
    #[error("{engine} in {cell}: peer {peer} has a wrong state after {frames} frames")]
    WrongState {
        /// The engine.
        engine: &'static str,
        /// The cell.
        cell: String,
        /// Whose state it is.
        peer: usize,
        /// How far it had come.
        frames: u64,
    },
    /// The engine did not get through the frames in time.
    #[error("{engine} in {cell}: only {frames} frames simulated, expected {VERIFIED_FRAMES}")]
    Slow {
        /// The engine.
        engine: &'static str,
        /// The cell.
        cell: String,
        /// How far it had come.
        frames: u64,
    },
    /// The engine did not roll back as asked.
    #[error(
        "{engine} in {cell}: only {steps} steps simulated, so it did not roll back every frame"
    )]
    NoRollback {
        /// The engine.
        engine: &'static str,
        /// The cell.
        cell: String,
        /// How many steps it made.
        steps: u64,
    },
    /// The in-memory network was too small for what was sent.
    #[error("{engine} in {cell}: the network overflowed")]
    Overflow {
        /// The engine.
        engine: &'static str,
        /// The cell.
        cell: String,
    },
}

/// What an engine needs to know of its cell.
pub struct Setup {
    /// The cell.
    pub cell: Cell,
    /// What the players do.
    pub inputs: Rc<Inputs>,
    /// Whether the peer is to save confirmed frames only.
    pub is_sparse: bool,
}

/// The one-way delay of a mesh, in ticks: 50 ms.
pub const DELAY_TICKS: u64 = 3;
/// The prediction window that both peers start with.
pub const WINDOW: usize = 8;
/// The time between two ticks at 60 frames per second.
pub const TICK_NS: u64 = 16_666_667;
/// The seed of every report's inputs and losses.
pub const SEED: u64 = 0x0072_6f6c_6c62_6163;
/// The sizes of a state: a handful of numbers, a small world, a large one, an emulator.
pub const STATE_BYTES: [usize; 4] = [64, 4 << 10, 64 << 10, 1 << 20];

struct Solo<P>(P);

impl<P: Peer> Run for Solo<P> {
    fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.0.tick();
        }
    }

    fn games(&self) -> Vec<&Game> {
        vec![self.0.game()]
    }

    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

fn solo(peer: impl Peer + 'static) -> Box<dyn Run> {
    Box::new(Solo(peer))
}

struct Mesh<P> {
    peers: Vec<P>,
    network: Network,
    now: u64,
}

impl<P: Peer> Run for Mesh<P> {
    fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.network.set_now(self.now);
            for peer in &mut self.peers {
                peer.tick();
            }
            self.now += 1;
        }
    }

    fn games(&self) -> Vec<&Game> {
        self.peers.iter().map(Peer::game).collect()
    }

    fn traffic(&self) -> Traffic {
        self.network.traffic()
    }
}

fn mesh<P: Peer + 'static>(
    setup: &Setup,
    member: impl Fn(&Setup, usize, &Network) -> P,
) -> Box<dyn Run> {
    let settings = setup.cell.link().expect("a mesh has a network");
    let network = Network::new(setup.cell.players, settings, SEED);
    let peers = (0..setup.cell.players).map(|me| member(setup, me, &network)).collect();
    let mut mesh = Mesh { peers, network, now: 0 };
    while !mesh.peers.iter().all(Peer::is_running) {
        assert!(mesh.now < HANDSHAKE_TICKS_MAX, "the peers did not come together");
        mesh.run(1);
    }
    Box::new(mesh)
}

/// The peers need up to 3 s at 20 % loss.
const HANDSHAKE_TICKS_MAX: u64 = 1_000;
/// Twice as long as any ring of an engine here.
const VERIFIED_FRAMES: u64 = 600;
/// How many frames a player keeps an input on average.
const CHANGE_ONE_IN: u64 = 8;
/// Below this the copies do not matter.
const SPARSE_STATE_BYTES_MIN: usize = 64 << 10;
/// Until the last true input has got through every loss, and the slowest peer has caught up.
const SETTLING_TICKS: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_reaches_the_state_of_the_true_inputs_in_every_small_cell() {
        for cell in Cell::counted() {
            for engine in Engine::ALL {
                verify(engine, &cell).unwrap();
            }
        }
    }

    #[test]
    fn every_cell_is_found_by_its_name() {
        for cell in Cell::timed().into_iter().chain(Cell::counted()) {
            assert_eq!(Cell::named(&cell.name()), Some(cell));
        }
    }
}
