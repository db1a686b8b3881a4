//! A predictor for each player. Guesses nothing itself.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::Predictor;
use crate::{Frame, InputHistory, PLAYERS_MAX, PlayerHandle};

/// Guesses each player with a predictor of its own: a person's keys otherwise than a policy's actions.
///
/// ```
/// use rollback_core::{Idle, PerPlayer, PlayerHandle, RepeatLast};
///
/// let robot = PlayerHandle::new(1).unwrap();
/// let predictor = PerPlayer::new(Box::new(RepeatLast)).with(robot, Box::new(Idle));
/// # let _: PerPlayer = predictor;
/// ```
pub struct PerPlayer {
    others: Box<dyn Predictor + Send>,
    players: Vec<Option<Box<dyn Predictor + Send>>>,
}

impl PerPlayer {
    /// Guesses every player with `others` that is given no predictor of its own.
    #[must_use]
    pub fn new(others: Box<dyn Predictor + Send>) -> Self {
        Self { others, players: (0..PLAYERS_MAX).map(|_| None).collect() }
    }

    /// Guesses `player` with `predictor`.
    #[must_use]
    pub fn with(mut self, player: PlayerHandle, predictor: Box<dyn Predictor + Send>) -> Self {
        if let Some(slot) = self.players.get_mut(player.index()) {
            *slot = Some(predictor);
        }
        self
    }
}

impl Predictor for PerPlayer {
    fn predict(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        history: &InputHistory<'_>,
        guess: &mut [u8],
    ) {
        let own = self.players.get_mut(player.index()).and_then(Option::as_mut);
        own.unwrap_or(&mut self.others).predict(player, frame, history, guess);
    }
}

impl fmt::Debug for PerPlayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.players.iter().filter(|player| player.is_some()).count();
        f.debug_struct("PerPlayer").field("own", &own).finish_non_exhaustive()
    }
}
