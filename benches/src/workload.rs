//! How an engine is put into a cell, and the proof that it did the work right. Knows every engine; no engine knows
//! another.

use std::rc::Rc;

use thiserror::Error;

use crate::{
    bare,
    cell::{Cell, LARGE_STATE_BYTES, SEED, Workload},
    floor, fortress_peer,
    game::{Game, Inputs},
    ggrs_peer,
    link::{DATAGRAM_BYTES_MAX, Network, Traffic},
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

    /// The others' engines.
    pub const PEERS: [Self; 4] =
        [Self::Ggrs, Self::Fortress, Self::GgrsSparse, Self::FortressSparse];

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

    /// Whether it has a mode for this cell: the bare game has no network, to save less than every frame is for large
    /// states that are guessed, and this project has no session that goes back without a reason.
    #[must_use]
    pub fn plays(self, cell: &Cell) -> bool {
        let is_forced = matches!(cell.workload, Workload::Forced { .. });
        let is_network = cell.link().is_some();
        match self {
            Self::Bare => !is_network || matches!(cell.workload, Workload::Rollback { .. }),
            Self::GgrsSparse | Self::FortressSparse => {
                is_network && cell.state_bytes >= LARGE_STATE_BYTES
            }
            Self::Rollback => !is_forced,
            Self::Floor | Self::Ggrs | Self::Fortress => true,
        }
    }

    /// The engine of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
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
    /// Memory on the heap that belongs to the measurement and not to the engine.
    fn harness_bytes(&self) -> usize {
        self.game().state_bytes() + DATAGRAM_BYTES_MAX
    }
}

/// An engine in a cell.
pub trait Run {
    /// Lets `ticks` frames pass.
    fn run(&mut self, ticks: u64);
    /// The game of every peer.
    fn games(&self) -> Vec<&Game>;
    /// What was sent since the start, or since it was forgotten.
    fn traffic(&self) -> Traffic;
    /// Begins to count the traffic anew.
    fn forget_traffic(&mut self);
    /// Memory on the heap that belongs to the measurement and not to the engine.
    fn harness_bytes(&self) -> usize;
}

/// Puts `engine` into `cell`, ready to run; `None` if it has no such mode.
#[must_use]
pub fn build(engine: Engine, cell: &Cell) -> Option<Box<dyn Run>> {
    build_with(engine, &Setup::new(cell, cell.inputs(u64::MAX)))
}

/// The same with what is not the cell's.
#[must_use]
pub fn build_with(engine: Engine, setup: &Setup) -> Option<Box<dyn Run>> {
    if !engine.plays(&setup.cell) {
        return None;
    }
    let is_sparse = matches!(engine, Engine::GgrsSparse | Engine::FortressSparse);
    let setup = &Setup { is_sparse, ..setup.clone() };
    let is_network = setup.cell.link().is_some();
    Some(match (engine, setup.cell.depth()) {
        (Engine::Bare, depth) if is_network => {
            mesh(setup, |setup, _, _| bare::rollback(setup, depth.unwrap_or_default()))
        }
        (Engine::Bare, depth) => solo(bare::rollback(setup, depth.unwrap_or_default())),
        (Engine::Floor, _) if is_network => mesh(setup, floor::member),
        (Engine::Floor, depth) => solo(floor::rollback(setup, depth.unwrap_or_default())),
        (Engine::Ggrs | Engine::GgrsSparse, _) if is_network => mesh(setup, ggrs_peer::member),
        (Engine::Ggrs | Engine::GgrsSparse, Some(depth)) => solo(ggrs_peer::rollback(setup, depth)),
        (Engine::Ggrs | Engine::GgrsSparse, None) => solo(ggrs_peer::local(setup)),
        (Engine::Fortress | Engine::FortressSparse, _) if is_network => {
            mesh(setup, fortress_peer::member)
        }
        (Engine::Fortress | Engine::FortressSparse, Some(depth)) => {
            solo(fortress_peer::rollback(setup, depth))
        }
        (Engine::Fortress | Engine::FortressSparse, None) => solo(fortress_peer::local(setup)),
        (Engine::Rollback, _) if is_network => mesh(setup, rollback_peer::member),
        (Engine::Rollback, _) => solo(rollback_peer::local(setup)),
    })
}

/// Runs `engine` in `cell` for some hundred frames, then with inputs that no longer change until no guess can be wrong,
/// and compares the state of every peer with a plain simulation.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn verify(engine: Engine, cell: &Cell) -> Result<(), VerifyError> {
    let inputs = cell.inputs(VERIFIED_FRAMES);
    let setup = Setup::new(cell, Rc::clone(&inputs));
    let Some(mut run) = build_with(engine, &setup) else { return Ok(()) };
    run.run(VERIFIED_FRAMES + SETTLING_TICKS);
    if run.traffic().overflows > 0 {
        return Err(VerifyError::Overflow { engine: engine.name(), cell: cell.name() });
    }
    for (peer, game) in run.games().into_iter().enumerate() {
        let frames = game.frame();
        if frames < VERIFIED_FRAMES {
            return Err(VerifyError::Slow { engine: engine.name(), cell: cell.name(), frames });
        }
        if let Some(depth) = cell.depth() {
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
#[derive(Clone)]
pub struct Setup {
    /// The cell.
    pub cell: Cell,
    /// What the players do.
    pub inputs: Rc<Inputs>,
    /// Whether the peer is to save confirmed frames only.
    pub is_sparse: bool,
    /// How many frames apart this project compares the states; the peers do not.
    pub report_interval_frames: u8,
}

impl Setup {
    /// The setup of a cell, played with these inputs.
    #[must_use]
    pub fn new(cell: &Cell, inputs: Rc<Inputs>) -> Self {
        let report_interval_frames = REPORT_INTERVAL_FRAMES;
        Self { cell: *cell, inputs, is_sparse: false, report_interval_frames }
    }
}

/// The time between two ticks at 60 frames per second.
pub const TICK_NS: u64 = 16_666_667;
/// What this project starts with.
pub const REPORT_INTERVAL_FRAMES: u8 = 10;

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

    fn forget_traffic(&mut self) {}

    fn harness_bytes(&self) -> usize {
        self.0.harness_bytes()
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

    fn forget_traffic(&mut self) {
        self.network.forget_traffic();
    }

    fn harness_bytes(&self) -> usize {
        self.network.heap_bytes() + self.peers.iter().map(Peer::harness_bytes).sum::<usize>()
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
/// Until the last true input has got through every loss, and the slowest peer has caught up.
const SETTLING_TICKS: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_reaches_the_state_of_the_true_inputs_in_every_small_cell() {
        let small = |cell: &Cell| cell.state_bytes < LARGE_STATE_BYTES;
        for cell in Cell::counted().into_iter().filter(small) {
            for engine in Engine::ALL {
                verify(engine, &cell).unwrap();
            }
        }
    }
}
