//! fortress-rollback behind the common trait: its sessions as its documentation drives them, over the in-memory network.
//! The one file that names `fortress_rollback`.

use std::rc::Rc;

use fortress_rollback::{
    Config, DesyncDetection, FortressRequest, InputQueueConfig, Message, NonBlockingSocket,
    P2PSession, PlayerHandle, PlayerType, ProtocolConfig, RequestVec, SaveMode, SessionBuilder,
    SessionState, SyncTestSession,
    network::codec::{decode_message, encode_into},
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
        builder = builder
            .add_player(PlayerType::Local, PlayerHandle::new(player))
            .expect("a free handle");
    }
    let session = builder.start_p2p_session(Nobody).expect("a complete session");
    Local { session, world: World::new(setup) }
}

/// The session that it has for this: it goes back `depth` frames in every frame.
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
        builder = builder.add_player(kind, PlayerHandle::new(player)).expect("a free handle");
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
        let frame = self.session.current_frame().as_i32() as u64;
        self.session.events().for_each(drop);
        for player in 0..self.world.players {
            let input = self.world.inputs.of(player, frame);
            self.session.add_local_input(PlayerHandle::new(player), input).expect("a local player");
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
        let frame = self.session.current_frame().as_i32() as u64;
        for player in 0..self.world.players {
            let input = self.world.inputs.of(player, frame);
            self.session.add_local_input(PlayerHandle::new(player), input).expect("a local player");
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
            let input = self.world.inputs.of(self.me, self.session.current_frame().as_i32() as u64);
            self.session
                .add_local_input(PlayerHandle::new(self.me), input)
                .expect("a local player");
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
    type State = PooledSnapshot;
    type Address = usize;
}

fn builder(setup: &Setup) -> SessionBuilder<Types> {
    // What it starts with, but for a window that does not fit into it.
    let queue_length = InputQueueConfig::default().queue_length.max(2 * setup.cell.window());
    let pending_output_limit =
        ProtocolConfig::default().pending_output_limit.max(2 * setup.cell.window());
    SessionBuilder::new()
        .with_input_queue_config(InputQueueConfig { queue_length })
        .with_protocol_config(ProtocolConfig { pending_output_limit, ..ProtocolConfig::default() })
        .with_num_players(setup.cell.players)
        .expect("at least one player")
        .with_max_prediction_window(setup.cell.window())
        .with_save_mode(if setup.is_sparse { SaveMode::Sparse } else { SaveMode::EveryFrame })
        // As ggrs has it unless asked: no checksums.
        .with_desync_detection_mode(DesyncDetection::Off)
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

    fn fulfil(&mut self, requests: RequestVec<Types>) {
        for request in requests {
            match request {
                FortressRequest::SaveGameState { cell, frame } => {
                    cell.save(frame, Some(self.pool.save(&self.game)), None);
                }
                FortressRequest::LoadGameState { cell, .. } => {
                    self.game.load_from(cell.data().expect("a saved state").words());
                }
                FortressRequest::AdvanceFrame { inputs } => {
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
        let len = encode_into(message, &mut self.buffer[..]).expect("a message that fits");
        self.endpoint.send(*to, &self.buffer[..len]);
    }

    fn receive_all_messages(&mut self) -> Vec<(usize, Message)> {
        let mut messages = Vec::new();
        for from in (0..self.peers).filter(|&peer| peer != self.me) {
            while let Some(len) = self.endpoint.receive(from, &mut self.buffer) {
                let (message, _) = decode_message(&self.buffer[..len]).expect("its own message");
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
