//! The smallest engine that plays a mesh right: rings of inputs, prediction, rollback, redundant packets with
//! acknowledgements, stalls. A bound for the others: it shakes no hands, keeps no time and trusts every packet.

use std::{ops::Range, rc::Rc};

use crate::{
    game::{Game, Inputs, PLAYERS_MAX},
    link::{DATAGRAM_BYTES_MAX, Endpoint, Network},
    workload::{Peer, Setup},
};

/// All players local; the last `depth` frames are simulated again in every frame.
#[must_use]
pub fn rollback(setup: &Setup, depth: usize) -> Floor {
    Floor::new(setup, 0..setup.cell.players, depth, None)
}

/// The peer that hosts player `me` of a mesh.
#[must_use]
pub fn member(setup: &Setup, me: usize, network: &Network) -> Floor {
    Floor::new(setup, me..me + 1, 0, Some(network.endpoint(me)))
}

/// The engine with its game, its inputs and its place in the network.
pub struct Floor {
    engine: Engine,
    game: Game,
    inputs: Rc<Inputs>,
    depth: u64,
    endpoint: Option<Endpoint>,
    buffer: [u8; DATAGRAM_BYTES_MAX],
}

impl Floor {
    fn new(setup: &Setup, local: Range<usize>, depth: usize, endpoint: Option<Endpoint>) -> Self {
        Self {
            engine: Engine::new(setup, local),
            game: Game::new(setup.cell.state_bytes),
            inputs: Rc::clone(&setup.inputs),
            depth: depth as u64,
            endpoint,
            buffer: [0; DATAGRAM_BYTES_MAX],
        }
    }
}

impl Peer for Floor {
    fn tick(&mut self) {
        if let Some(endpoint) = &self.endpoint {
            for from in self.engine.remotes() {
                while let Some(len) = endpoint.receive(from, &mut self.buffer) {
                    self.engine.handle_packet(from, &self.buffer[..len]);
                }
            }
        }
        if self.depth > 0 && self.engine.frame > self.depth {
            self.engine.wrong_from = self.engine.frame - self.depth;
        }
        self.engine.advance(&mut self.game, &self.inputs);
        if let Some(endpoint) = &self.endpoint {
            for to in self.engine.remotes() {
                let len = self.engine.write_packet(to, &mut self.buffer);
                endpoint.send(to, &self.buffer[..len]);
            }
        }
    }

    fn game(&self) -> &Game {
        &self.game
    }
}

/// One byte of input per player and frame; a peer hosts one player, or all of them.
struct Engine {
    players: usize,
    local: Range<usize>,
    window: u64,
    /// The next frame to simulate.
    frame: u64,
    /// The inputs of a frame as their players gave them.
    given: Box<[[u8; PLAYERS_MAX]; RING]>,
    /// The inputs that a frame was last simulated with.
    used: Box<[[u8; PLAYERS_MAX]; RING]>,
    /// The inputs of each player are known below this frame.
    known: [u64; PLAYERS_MAX],
    /// Each peer knows my inputs below this frame.
    acknowledged: [u64; PLAYERS_MAX],
    /// The first frame simulated with a wrong guess; the maximum if there is none.
    wrong_from: u64,
    /// The states before the last `window + 1` frames.
    snapshots: Box<[Box<[u64]>]>,
    /// The slot of the state before `frame`.
    newest: usize,
}

impl Engine {
    fn new(setup: &Setup, local: Range<usize>) -> Self {
        let game = Game::new(setup.cell.state_bytes);
        let window = setup.cell.window();
        Self {
            players: setup.cell.players,
            local,
            window: window as u64,
            frame: 0,
            given: Box::new([[0; PLAYERS_MAX]; RING]),
            used: Box::new([[0; PLAYERS_MAX]; RING]),
            known: [0; PLAYERS_MAX],
            acknowledged: [0; PLAYERS_MAX],
            wrong_from: u64::MAX,
            snapshots: (0..=window).map(|_| game.empty_slot()).collect(),
            newest: 0,
        }
    }

    fn remotes(&self) -> impl Iterator<Item = usize> + use<> {
        let local = self.local.clone();
        (0..self.players).filter(move |player| !local.contains(player))
    }

    /// Repairs the past, then simulates one frame unless too much of it would be a guess.
    fn advance(&mut self, game: &mut Game, inputs: &Inputs) {
        let row = inputs.row(self.frame);
        for player in self.local.clone() {
            // A peer that waits has filed this input before.
            self.given[ring(self.frame)][player] = row[player];
            self.known[player] = self.frame + 1;
        }
        if self.wrong_from < self.frame {
            self.resimulate(game);
        }
        let known = self.remotes().map(|player| self.known[player]);
        if self.frame >= known.min().map_or(u64::MAX, |confirmed| confirmed + self.window) {
            return;
        }
        game.save_to(&mut self.snapshots[self.newest]);
        self.step(game, self.frame);
        self.frame += 1;
        self.newest = if self.newest + 1 == self.snapshots.len() { 0 } else { self.newest + 1 };
    }

    fn resimulate(&mut self, game: &mut Game) {
        let mut slot = self.newest + self.snapshots.len() - (self.frame - self.wrong_from) as usize;
        for frame in self.wrong_from..self.frame {
            if slot >= self.snapshots.len() {
                slot -= self.snapshots.len();
            }
            if frame == self.wrong_from {
                game.load_from(&self.snapshots[slot]);
            } else {
                game.save_to(&mut self.snapshots[slot]);
            }
            self.step(game, frame);
            slot += 1;
        }
        self.wrong_from = u64::MAX;
    }

    fn step(&mut self, game: &mut Game, frame: u64) {
        // Byte by byte: a load of the row would have to wait for the bytes just stored in it.
        let used = &mut self.used[ring(frame)][..self.players];
        for (player, used) in used.iter_mut().enumerate() {
            let known = self.known[player];
            *used = match frame < known {
                true => self.given[ring(frame)][player],
                false if known == 0 => 0,
                false => self.given[ring(known - 1)][player],
            };
        }
        game.step(used.iter().copied());
    }

    fn last_before(&self, player: usize, frame: u64) -> u8 {
        if frame == 0 { 0 } else { self.given[ring(frame - 1)][player] }
    }

    /// First frame 1, acknowledged frame 1, count 1, a bit per frame that differs from the one before, their values.
    fn write_packet(&self, to: usize, packet: &mut [u8]) -> usize {
        let me = self.local.start;
        let first = self.acknowledged[to];
        let count = (self.known[me] - first) as usize;
        packet[..3].copy_from_slice(&[first as u8, self.known[to] as u8, count as u8]);
        let mut len = 3 + count.div_ceil(8);
        packet[3..len].fill(0);
        let mut last = self.last_before(me, first);
        for index in 0..count {
            let input = self.given[ring(first + index as u64)][me];
            if input != last {
                packet[3 + index / 8] |= 1 << (index % 8);
                packet[len] = input;
                len += 1;
                last = input;
            }
        }
        len
    }

    fn handle_packet(&mut self, from: usize, packet: &[u8]) {
        let me = self.local.start;
        let first = last_with_low_byte(packet[0], self.known[from]);
        let acknowledged = last_with_low_byte(packet[1], self.known[me]);
        self.acknowledged[from] = self.acknowledged[from].max(acknowledged);
        let count = usize::from(packet[2]);
        let mut values = packet[3 + count.div_ceil(8)..].iter();
        let mut input = self.last_before(from, first);
        for index in 0..count {
            if packet[3 + index / 8] & (1 << (index % 8)) != 0 {
                input = values.next().copied().unwrap_or(0);
            }
            let frame = first + index as u64;
            if frame == self.known[from] {
                self.file(from, frame, input);
            }
        }
    }

    fn file(&mut self, player: usize, frame: u64, input: u8) {
        self.given[ring(frame)][player] = input;
        self.known[player] = frame + 1;
        if frame < self.frame && self.used[ring(frame)][player] != input {
            self.wrong_from = self.wrong_from.min(frame);
        }
    }
}

fn ring(frame: u64) -> usize {
    frame as usize % RING
}

/// The last number up to `limit` that ends with this byte.
fn last_with_low_byte(byte: u8, limit: u64) -> u64 {
    limit.saturating_sub(u64::from((limit as u8).wrapping_sub(byte)))
}

/// More than twice any window here, and what a byte can number.
const RING: usize = 256;
