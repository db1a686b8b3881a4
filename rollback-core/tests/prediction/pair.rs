//! Two sessions on one computer, whose datagrams come a fixed number of frames late.

use std::collections::VecDeque;
use std::convert::Infallible;

use rollback_core::{
    Advance, Event, Facts, Frame, Game, Outcome, Output, PeerId, PlayerHandle, Roster, Session,
    SessionConfig, StateHasher, Step, Ticket, Timestamp,
};

/// Mixes all inputs into a number, so that no other inputs lead to the same.
#[derive(Clone, Default)]
pub(crate) struct Mixer {
    pub(crate) state: u64,
}

impl Game for Mixer {
    type Input = u8;
    type Snapshot = Self;
    type Error = Infallible;

    fn save(&self, slot: &mut Self) -> Result<(), Infallible> {
        slot.clone_from(self);
        Ok(())
    }

    fn load(&mut self, slot: &Self) -> Result<(), Infallible> {
        self.clone_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Infallible> {
        for input in step.inputs() {
            self.state = self.state.rotate_left(7).wrapping_mul(0x9e37_79b9) ^ u64::from(input);
        }
        Ok(Outcome::Running)
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u64(slot.state);
        Ok(())
    }
}

/// One of two peers.
pub(crate) struct Peer<G: Game> {
    pub(crate) session: Session<G>,
    pub(crate) game: G,
    pub(crate) id: PeerId,
    pub(crate) player: PlayerHandle,
    /// The inputs of every stable frame.
    pub(crate) stable: Vec<Vec<u8>>,
    pub(crate) events: Vec<Event>,
    /// What is under way to it, with the tick in which it arrives.
    inbox: VecDeque<(u64, Vec<u8>)>,
}

/// Two peers with one player each.
pub(crate) struct Pair<G: Game> {
    pub(crate) peers: [Peer<G>; 2],
    lateness: u64,
    tick: u64,
}

impl<G: Game<Error = Infallible> + Clone> Pair<G> {
    /// Both peers play from `game`; what one sends comes `lateness` ticks later.
    pub(crate) fn new(
        config: &SessionConfig,
        game: &G,
        lateness: u64,
        prepare: impl Fn(Session<G>) -> Session<G>,
    ) -> Self {
        let peer = |slot| {
            let (local, roster) = (PeerId::new(slot).unwrap(), Roster::one_player_each(2).unwrap());
            let ticket = Ticket { session: 1, episode: 0, seed: 1, roster, local, incarnation: 0 };
            let session = Session::new(config, &ticket, Facts::default(), game, Timestamp::ZERO);
            Peer {
                session: prepare(session.unwrap()),
                game: game.clone(),
                id: local,
                player: PlayerHandle::new(slot).unwrap(),
                stable: Vec::new(),
                events: Vec::new(),
                inbox: VecDeque::new(),
            }
        };
        Self { peers: [peer(0), peer(1)], lateness, tick: 0 }
    }

    /// Both peers play a frame, if they can: with the inputs that `input` gives for a player and a frame.
    pub(crate) fn play(&mut self, input: impl Fn(PlayerHandle, Frame) -> G::Input) -> [Advance; 2] {
        let now = Timestamp::from_micros(self.tick * 16_667);
        let ids = self.peers.each_ref().map(|peer| peer.id);
        let mut sent: [Vec<Vec<u8>>; 2] = Default::default();
        let mut advances = [None, None];
        for own in [0, 1] {
            let peer = &mut self.peers[own];
            while peer.inbox.front().is_some_and(|(at, _)| *at <= self.tick) {
                let (_, datagram) = peer.inbox.pop_front().unwrap();
                peer.session.handle_datagram(now, ids[1 - own], &datagram);
            }
            let given = input(peer.player, peer.session.current_frame());
            peer.session.set_local_input(peer.player, &given).unwrap();
            advances[own] = peer.session.advance_frame(now, &mut peer.game).ok();
            while let Some(output) = peer.session.poll_output(now) {
                match output {
                    Output::Datagram { bytes, .. } => sent[own].push(bytes.to_vec()),
                    Output::Stable(frame) => peer.stable.push(frame.inputs.to_vec()),
                    Output::Event(event) => peer.events.push(event),
                }
            }
        }
        for (own, datagrams) in [0, 1].into_iter().zip(sent) {
            let due = self.tick + self.lateness;
            self.peers[1 - own].inbox.extend(datagrams.into_iter().map(|bytes| (due, bytes)));
        }
        self.tick += 1;
        advances.map(Option::unwrap)
    }
}
