//! ggrs behind the common trait: its sessions as its documentation drives them, over the in-memory network.
//! The one file that names `ggrs` and `bincode`, the codec of its own socket.

use std::rc::Rc;

use ggrs::{
    Config, GgrsRequest, Message, NonBlockingSocket, P2PSession, PlayerType, PredictRepeatLast,
    SessionBuilder, SessionState, SyncTestSession,
};

use crate::{
    clock,
    game::{Game, Inputs},
    link::{DATAGRAM_BYTES_MAX, Endpoint, Network},
    snapshot_pool::{PooledSnapshot, SnapshotPool},
    workload::{Peer, Setup, TICK_NS},
};

/// All players local, in a session for a network that has nobody in it.
#[must_use]
pub fn local(setup: &Setup) -> Local {
    let mut builder = builder(setup);
    for player in 0..setup.cell.players {
        builder = builder.add_player(PlayerType::Local, player).expect("a free handle");
    }
    let session = builder.start_p2p_session(Nobody).expect("a complete session");
    Local { session, world: World::new(setup) }
}

/// The session that ggrs has for this: it goes back `depth` frames in every frame.
#[must_use]
pub fn rollback(setup: &Setup, depth: usize) -> SyncTest {
    let builder = builder(setup).with_check_distance(depth);
    let session = builder.start_synctest_session().expect("a distance inside the window");
    SyncTest { session, world: World::new(setup) }
}

/// The peer that hosts player `me` of a mesh.
#[must_use]
pub fn member(setup: &Setup, me: usize, network: &Network) -> Member {
    let mut builder = builder(setup);
    for player in 0..setup.cell.players {
        let kind = if player == me { PlayerType::Local } else { PlayerType::Remote(player) };
        builder = builder.add_player(kind, player).expect("a free handle");
    }
    let endpoint = network.endpoint(me);
    let socket = Socket {
        endpoint: endpoint.clone(),
        me,
        peers: setup.cell.players,
        buffer: Box::new([0; DATAGRAM_BYTES_MAX]),
    };
    let session = clock::at(0, || builder.start_p2p_session(socket)).expect("a complete session");
    Member { session, world: World::new(setup), endpoint, me }
}

/// All players local.
pub struct Local {
    session: P2PSession<Types>,
    world: World,
}

impl Peer for Local {
    fn tick(&mut self) {
        let frame = self.session.current_frame() as u64;
        self.session.events().for_each(drop);
        for player in 0..self.world.players {
            let input = self.world.inputs.of(player, frame);
            self.session.add_local_input(player, input).expect("a local player");
        }
        let requests = self.session.advance_frame().expect("a running session");
        self.world.fulfil(requests);
    }

    fn game(&self) -> &Game {
        &self.world.game
    }
}

/// All players local, with a rollback in every frame.
pub struct SyncTest {
    session: SyncTestSession<Types>,
    world: World,
}

impl Peer for SyncTest {
    fn tick(&mut self) {
        let frame = self.session.current_frame() as u64;
        for player in 0..self.world.players {
            let input = self.world.inputs.of(player, frame);
            self.session.add_local_input(player, input).expect("a local player");
        }
        let requests = self.session.advance_frame().expect("a deterministic game");
        self.world.fulfil(requests);
    }

    fn game(&self) -> &Game {
        &self.world.game
    }
}

/// One peer of a mesh.
pub struct Member {
    session: P2PSession<Types>,
    world: World,
    endpoint: Endpoint,
    me: usize,
}

impl Peer for Member {
    fn tick(&mut self) {
        clock::at(self.endpoint.now() * TICK_NS, || {
            self.session.events().for_each(drop);
            if self.session.current_state() != SessionState::Running {
                self.session.poll_remote_clients();
                return;
            }
            let input = self.world.inputs.of(self.me, self.session.current_frame() as u64);
            self.session.add_local_input(self.me, input).expect("a local player");
            // This polls the network first.
            let requests = self.session.advance_frame().expect("a running session");
            self.world.fulfil(requests);
        });
    }

    fn game(&self) -> &Game {
        &self.world.game
    }

    fn is_running(&self) -> bool {
        self.session.current_state() == SessionState::Running
    }
}

#[derive(Debug)]
struct Types;

impl Config for Types {
    type Input = u8;
    type InputPredictor = PredictRepeatLast;
    type State = PooledSnapshot;
    type Address = usize;
}

fn builder(setup: &Setup) -> SessionBuilder<Types> {
    SessionBuilder::new()
        .with_num_players(setup.cell.players)
        .expect("at least one player")
        .with_max_prediction_window(setup.cell.window())
        .with_sparse_saving_mode(setup.is_sparse)
}

/// The game and everything it needs to answer a session's requests.
struct World {
    game: Game,
    pool: SnapshotPool,
    inputs: Rc<Inputs>,
    players: usize,
}

impl World {
    fn new(setup: &Setup) -> Self {
        let game = Game::new(setup.cell.state_bytes);
        let pool = SnapshotPool::new(&game);
        Self { game, pool, inputs: Rc::clone(&setup.inputs), players: setup.cell.players }
    }

    fn fulfil(&mut self, requests: Vec<GgrsRequest<Types>>) {
        for request in requests {
            match request {
                GgrsRequest::SaveGameState { cell, frame } => {
                    cell.save(frame, Some(self.pool.save(&self.game)), None);
                }
                GgrsRequest::LoadGameState { cell, .. } => {
                    self.game.load_from(cell.data().expect("a saved state").words());
                }
                GgrsRequest::AdvanceFrame { inputs } => {
                    self.game.step(inputs.into_iter().map(|(input, _)| input));
                }
            }
        }
    }
}

struct Socket {
    endpoint: Endpoint,
    me: usize,
    peers: usize,
    buffer: Box<[u8; DATAGRAM_BYTES_MAX]>,
}

impl NonBlockingSocket<usize> for Socket {
    fn send_to(&mut self, message: &Message, to: &usize) {
        let mut rest = &mut self.buffer[..];
        bincode::serialize_into(&mut rest, message).expect("a message that fits into a datagram");
        let len = DATAGRAM_BYTES_MAX - rest.len();
        self.endpoint.send(*to, &self.buffer[..len]);
    }

    fn receive_all_messages(&mut self) -> Vec<(usize, Message)> {
        let mut messages = Vec::new();
        for from in (0..self.peers).filter(|&peer| peer != self.me) {
            while let Some(len) = self.endpoint.receive(from, &mut self.buffer) {
                let message = bincode::deserialize(&self.buffer[..len]).expect("its own message");
                messages.push((from, message));
            }
        }
        messages
    }
}

struct Nobody;

impl NonBlockingSocket<usize> for Nobody {
    fn send_to(&mut self, _: &Message, _: &usize) {}

    fn receive_all_messages(&mut self) -> Vec<(usize, Message)> {
        Vec::new()
    }
}
