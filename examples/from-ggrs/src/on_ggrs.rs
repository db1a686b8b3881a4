//! The race on ggrs 0.13.

use ggrs::{
    Config, DesyncDetection, GgrsError, GgrsEvent, GgrsRequest, Message, NonBlockingSocket,
    P2PSession, PlayerType, PredictRepeatLast, SessionBuilder, SessionState,
};

use crate::race::{Keys, Race};
use crate::wire::Wire;

/// One player's computer.
pub struct Computer {
    /// The race as it is shown.
    pub race: Race,
    /// How many times it went back.
    pub rollbacks: u64,
    session: P2PSession<RaceConfig>,
    local: usize,
}

impl Computer {
    /// The computer of player `local`, with a wire to the other one.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn new(local: usize, wire: Wire) -> Result<Self, GgrsError> {
        let session = SessionBuilder::<RaceConfig>::new()
            .with_num_players(2)?
            .with_input_delay(2)
            .with_desync_detection_mode(DesyncDetection::On { interval: 10 })
            .add_player(PlayerType::Local, local)?
            .add_player(PlayerType::Remote(1 - local), 1 - local)?
            .start_p2p_session(Socket(wire))?;
        Ok(Self { race: Race::default(), rollbacks: 0, session, local })
    }

    /// One turn of the game's loop, every 1/60 s. Answers whether the race is over.
    ///
    /// # Errors
    /// When ggrs is used wrongly.
    pub fn tick(&mut self, keys: impl FnOnce(u32) -> Keys) -> Result<bool, GgrsError> {
        self.session.poll_remote_clients();
        for event in self.session.events() {
            if let GgrsEvent::DesyncDetected { frame, .. } = event {
                println!("the states differ at frame {frame}");
            }
        }
        if self.session.current_state() != SessionState::Running {
            return Ok(false);
        }
        let frame = u32::try_from(self.session.current_frame()).unwrap_or_default();
        self.session.add_local_input(self.local, keys(frame))?;
        // Without an AdvanceFrame among the requests, ggrs waits.
        for request in self.session.advance_frame()? {
            match request {
                GgrsRequest::SaveGameState { cell, frame } => {
                    cell.save(frame, Some(self.race.clone()), Some(checksum(&self.race)));
                }
                GgrsRequest::LoadGameState { cell, .. } => {
                    self.race = cell.load().expect("ggrs loads what was saved");
                    self.rollbacks += 1;
                }
                GgrsRequest::AdvanceFrame { inputs } => {
                    self.race.advance([inputs[0].0, inputs[1].0]);
                }
            }
        }
        // A predicted finish may be taken back; one whose last frame is confirmed may not.
        let confirmed = u32::try_from(self.session.confirmed_frame() + 1).unwrap_or_default();
        Ok(self.race.is_over() && self.race.frame <= confirmed)
    }
}

struct RaceConfig;

impl Config for RaceConfig {
    type Input = Keys;
    type InputPredictor = PredictRepeatLast;
    type State = Race;
    type Address = usize;
}

/// A checksum is taken of every state that is saved, so a cheap one: FNV-1a.
fn checksum(race: &Race) -> u128 {
    let Race { frame, position: [a, b], speed: [c, d] } = *race;
    let words = [frame, a.cast_unsigned(), b.cast_unsigned(), c.cast_unsigned(), d.cast_unsigned()];
    let bytes = words.into_iter().flat_map(u32::to_le_bytes);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.into()
}

struct Socket(Wire);

impl NonBlockingSocket<usize> for Socket {
    fn send_to(&mut self, message: &Message, _: &usize) {
        if let Ok(bytes) = bincode::serialize(message) {
            self.0.send(&bytes);
        }
    }

    fn receive_all_messages(&mut self) -> Vec<(usize, Message)> {
        let received = std::iter::from_fn(|| self.0.receive());
        received
            .filter_map(|bytes| Some((self.0.other(), bincode::deserialize(&bytes).ok()?)))
            .collect()
    }
}
