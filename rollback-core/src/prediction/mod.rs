//! Guesses inputs that have not arrived. A guess is local: peers may guess differently and still agree.

mod hints;
mod markov;
mod per_player;
mod trial;

use core::fmt;

pub use self::hints::HINT_FRAMES_MAX;
pub(crate) use self::hints::Hints;
pub use self::markov::Markov;
pub use self::per_player::PerPlayer;
pub use self::trial::{PredictionTrial, TrialResult};

use crate::input_queue::copy;
use crate::{Frame, InputHistory, PlayerHandle};

/// Guesses the input of a remote player. What was used is remembered by the engine, so a predictor may change its
/// mind, learn, or be random. One that guesses the same again while nothing new has arrived lets a rollback stop early.
pub trait Predictor {
    /// Writes a guess for `player` at `frame` into `guess`, which holds the idle input. Frames come in any order, and
    /// the same one again.
    fn predict(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        history: &InputHistory<'_>,
        guess: &mut [u8],
    );

    /// Whether it always guesses what [`RepeatLast`] does: then it need not be asked.
    fn repeats_last(&self) -> bool {
        false
    }
}

/// Guesses that a player goes on doing what it last did. Right for held keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepeatLast;

impl Predictor for RepeatLast {
    fn predict(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        history: &InputHistory<'_>,
        guess: &mut [u8],
    ) {
        if let Some((_, last)) = history.last_before(player, frame) {
            copy(guess, last);
        }
    }

    fn repeats_last(&self) -> bool {
        true
    }
}

/// Guesses that a player does nothing. Right for rare presses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle;

impl Predictor for Idle {
    fn predict(&mut self, _: PlayerHandle, _: Frame, _: &InputHistory<'_>, _: &mut [u8]) {}
}

impl fmt::Debug for dyn Predictor + Send {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predictor")
    }
}
