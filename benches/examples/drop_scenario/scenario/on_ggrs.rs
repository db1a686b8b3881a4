//! The scenario on ggrs 0.13, with the settings that it starts with, driven as its documentation says.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what cannot even start ends the scenario"
)]

use ggrs::{
    Config, GgrsRequest, InputStatus, Message, NonBlockingSocket, P2PSession, PlayerType,
    PredictRepeatLast, SessionBuilder, SessionState,
};
use rollback_benches::{
    clock,
    game::{Game, Inputs},
    workload::TICK_NS,
};

use super::{Computer, History, PLAYERS, TIMEOUT, Wires, inputs};

/// The computer of player `me`.
///
/// # Panics
/// When ggrs refuses a session that is complete.
#[must_use]
pub(crate) fn computer(me: usize, wires: Wires) -> Box<dyn Computer> {
    let session = clock::at(0, || {
        let players = (0..PLAYERS).map(|player| {
            (player, if player == me { PlayerType::Local } else { PlayerType::Remote(player) })
        });
        let builder = SessionBuilder::<Types>::new().with_num_players(PLAYERS)?;
        let builder = builder.with_disconnect_timeout(TIMEOUT);
        let builder = players
            .into_iter()
            .try_fold(builder, |builder, (player, kind)| builder.add_player(kind, player))?;
        builder.start_p2p_session(Socket(wires))
    });
    Box::new(OnGgrs {
        session: session.expect("a complete session"),
        game: Game::new(STATE_BYTES),
        inputs: inputs(),
        stepped: Vec::new(),
        me,
    })
}

struct OnGgrs {
    session: P2PSession<Types>,
    game: Game,
    inputs: Inputs,
    /// What each frame was last stepped with, and whether the third player was still there.
    stepped: Vec<([u8; PLAYERS], bool)>,
    me: usize,
}

impl Computer for OnGgrs {
    fn tick(&mut self, tick: u64) -> Result<(), String> {
        // ggrs reads the system's clock, which is shown as the scenario has it.
        clock::at(tick * TICK_NS, || {
            self.session.events().for_each(drop);
            if self.session.current_state() != SessionState::Running {
                self.session.poll_remote_clients();
                return Ok(());
            }
            let frame = u64::try_from(self.session.current_frame()).unwrap_or_default();
            let input = self.inputs.of(self.me, frame);
            let given = self.session.add_local_input(self.me, input);
            let requests = given.and_then(|()| self.session.advance_frame());
            requests.map(|requests| self.fulfil(requests)).map_err(|error| error.to_string())
        })
    }

    fn history(&self) -> History {
        let confirmed = usize::try_from(self.session.confirmed_frame() + 1).unwrap_or_default();
        let known = self.stepped.get(..confirmed).unwrap_or(&self.stepped);
        History {
            rows: known.iter().map(|(row, _)| *row).collect(),
            cut: known.iter().position(|(_, is_there)| !is_there),
        }
    }
}

impl OnGgrs {
    fn fulfil(&mut self, requests: Vec<GgrsRequest<Types>>) {
        for request in requests {
            match request {
                GgrsRequest::SaveGameState { cell, frame } => {
                    let mut slot = self.game.empty_slot();
                    self.game.save_to(&mut slot);
                    cell.save(frame, Some(slot), None);
                }
                GgrsRequest::LoadGameState { cell, frame } => {
                    self.game.load_from(&cell.data().expect("a saved state"));
                    self.stepped.truncate(usize::try_from(frame).unwrap_or_default());
                }
                GgrsRequest::AdvanceFrame { inputs } => {
                    let is_there = inputs[PLAYERS - 1].1 != InputStatus::Disconnected;
                    let row = [0, 1, 2].map(|player: usize| inputs[player].0);
                    self.game.step(row);
                    self.stepped.push((row, is_there));
                }
            }
        }
    }
}

struct Types;

impl Config for Types {
    type Input = u8;
    type InputPredictor = PredictRepeatLast;
    type State = Box<[u64]>;
    type Address = usize;
}

struct Socket(Wires);

impl NonBlockingSocket<usize> for Socket {
    fn send_to(&mut self, message: &Message, to: &usize) {
        self.0.send(*to, bincode::serialize(message).expect("a message of ggrs"));
    }

    fn receive_all_messages(&mut self) -> Vec<(usize, Message)> {
        let received = std::iter::from_fn(|| self.0.receive());
        received
            .map(|(from, bytes)| (from, bincode::deserialize(&bytes).expect("its own message")))
            .collect()
    }
}

const STATE_BYTES: usize = 64;
