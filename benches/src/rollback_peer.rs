//! This project's engine behind the common trait, driven as its documentation drives it, over the in-memory network.
//! The one file that names `rollback_core`.

use std::{convert::Infallible, rc::Rc};

use rollback_core::{
    Costs, Event, Facts, Outcome, Output, PeerId, PlayerHandle, Roster, Session, SessionConfig,
    StateHasher, Step, Ticket, Timestamp,
};

use crate::{
    game::{Game, Inputs},
    link::{DATAGRAM_BYTES_MAX, Endpoint, Network},
    workload::{Peer, Setup, TICK_NS},
};

/// All players local: a session with no other member.
#[must_use]
pub fn local(setup: &Setup) -> Member {
    let hosts = vec![peer(0); setup.cell.players];
    Member::new(setup, &hosts, 0, None)
}

/// The peer that hosts player `me` of a mesh.
#[must_use]
pub fn member(setup: &Setup, me: usize, network: &Network) -> Member {
    let hosts: Vec<_> = (0..setup.cell.players).map(peer).collect();
    Member::new(setup, &hosts, me, Some(network.endpoint(me)))
}

/// One member of a match.
pub struct Member {
    session: Session<World>,
    world: World,
    inputs: Rc<Inputs>,
    local_players: Vec<PlayerHandle>,
    others: Vec<PeerId>,
    endpoint: Option<Endpoint>,
    buffer: Box<[u8; DATAGRAM_BYTES_MAX]>,
    ticks: u64,
    has_started: bool,
}

impl Member {
    fn new(setup: &Setup, hosts: &[PeerId], me: usize, endpoint: Option<Endpoint>) -> Self {
        let roster = Roster::new(hosts).expect("a roster");
        let config = SessionConfig::builder()
            .players(setup.cell.players)
            .prediction_window_frames(setup.cell.window() as u8)
            .report_interval_frames(setup.report_interval_frames)
            .build()
            .expect("values in range");
        let world = World(Game::new(setup.cell.state_bytes));
        let (local, players) = (peer(me), roster.players_of(peer(me)).collect());
        let others = roster.peers().iter().filter(|other| *other != local).collect();
        let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
        let session =
            Session::new(&config, &ticket, Facts::default(), &world, Timestamp::from_micros(0))
                .expect("a session");
        Self {
            session,
            world,
            inputs: Rc::clone(&setup.inputs),
            local_players: players,
            others,
            endpoint,
            buffer: Box::new([0; DATAGRAM_BYTES_MAX]),
            ticks: 0,
            has_started: false,
        }
    }
}

impl Peer for Member {
    fn tick(&mut self) {
        let now = Timestamp::from_micros(self.ticks * TICK_NS / 1_000);
        self.ticks += 1;
        if let Some(endpoint) = &self.endpoint {
            for from in &self.others {
                while let Some(len) = endpoint.receive(from.index(), &mut self.buffer) {
                    self.session.handle_datagram(now, *from, &self.buffer[..len]);
                }
            }
        }
        let frame = u64::from(self.session.current_frame().index());
        for player in &self.local_players {
            let input = self.inputs.of(player.index(), frame);
            self.session.set_local_input(*player, &input).expect("a local player");
        }
        self.session.advance_frame(now, &mut self.world).expect("a sound game and match");
        while let Some(output) = self.session.poll_output(now) {
            match output {
                Output::Datagram { to, bytes } => {
                    if let Some(endpoint) = &self.endpoint {
                        endpoint.send(to.index(), bytes);
                    }
                }
                Output::Event(event) => self.has_started |= event == Event::Started,
                Output::Stable(_) => {}
            }
        }
    }

    fn game(&self) -> &Game {
        &self.world.0
    }

    fn is_running(&self) -> bool {
        self.has_started
    }
}

struct World(Game);

impl rollback_core::Game for World {
    type Input = u8;
    type Snapshot = Box<[u64]>;
    type Error = Infallible;

    fn save(&self, slot: &mut Box<[u64]>) -> Result<(), Infallible> {
        if slot.is_empty() {
            *slot = self.0.empty_slot();
        }
        self.0.save_to(slot);
        Ok(())
    }

    fn load(&mut self, slot: &Box<[u64]>) -> Result<(), Infallible> {
        self.0.load_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Infallible> {
        self.0.step(step.row().iter().copied());
        Ok(Outcome::Running)
    }

    fn hash(&self, slot: &Box<[u64]>, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u64s(slot);
        self.0.count_hash();
        Ok(())
    }

    fn costs(&self) -> Costs {
        // Constants, so that the counts are the same everywhere; the bare rows say that they are about right.
        Costs {
            save_nanos: self.0.state_bytes() as u64 / SAVED_BYTES_PER_NANO,
            step_nanos: STEP_NANOS,
        }
    }
}

fn peer(index: usize) -> PeerId {
    PeerId::new(index as u8).expect("a peer of a small mesh")
}

/// What a processor of today copies within its cache.
const SAVED_BYTES_PER_NANO: u64 = 40;
/// What a step of the game takes.
const STEP_NANOS: u64 = 15;
