//! A predictor that is almost always wrong.

use super::random::Random;
use crate::{Frame, InputHistory, PlayerHandle, Predictor};

/// Guesses anything, so that almost every guess is wrong.
pub(super) struct Wild(pub(super) Random);

impl Predictor for Wild {
    fn predict(&mut self, _: PlayerHandle, _: Frame, _: &InputHistory<'_>, guess: &mut [u8]) {
        self.0.fill(guess);
    }
}
