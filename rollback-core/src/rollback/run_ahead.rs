//! Takes the game a few frames beyond the current one for those who look at it, and brings it back.

use super::{GameError, Rollback};
use crate::input_queue::InputQueue;
use crate::journal::Witness;
use crate::{Frame, Game, Outcome, Predictor, Step};

/// How far ahead the game is shown, and the state that it comes back to.
#[derive(Default)]
pub(super) struct RunAhead<S> {
    frames: u32,
    /// How many frames the game is ahead now.
    ahead: u32,
    present: S,
}

impl<G: Game> Rollback<G> {
    /// Shows the game so many frames ahead from now on.
    pub(crate) fn set_run_ahead(&mut self, frames: u32) {
        self.run_ahead.frames = frames.min(RUN_AHEAD_MAX);
    }

    /// How many frames beyond the current one the game has been taken.
    pub(crate) fn frames_ahead(&self) -> u32 {
        self.run_ahead.ahead
    }

    /// Every frame before this one was stepped, if only as a guess or to be shown.
    pub(crate) fn known_up_to(&self) -> Frame {
        self.known_up_to
    }

    /// The frame whose state the game holds; unknown where frames pass without being stepped, while it is shown ahead, and from
    /// the search for a desync until play goes on.
    pub(crate) fn live_frame(&self) -> Option<Frame> {
        let is_present = self.halt.is_none() && !self.is_elsewhere && self.run_ahead.ahead == 0;
        let live = self.interrupted.map_or(self.current, |begun| begun.next);
        is_present.then_some(live)
    }

    /// Takes the game back to the current frame.
    pub(crate) fn come_back(
        &mut self,
        game: &mut Witness<'_, G>,
    ) -> Result<(), GameError<G::Error>> {
        if core::mem::take(&mut self.run_ahead.ahead) == 0 {
            return Ok(());
        }
        let loaded = game.load(&self.run_ahead.present);
        loaded.map_err(|source| GameError::Load { frame: self.current, source })
    }

    /// Steps the game ahead of the current frame with the inputs that are held, and guesses for the others. What comes of it
    /// is shown, and nothing else: a step that fails takes the game back at once.
    pub(crate) fn run_ahead(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        predictor: &mut dyn Predictor,
    ) -> Result<(), GameError<G::Error>> {
        let is_known = self.halt.is_none() && self.interrupted.is_none();
        if self.run_ahead.frames == 0 || !is_known {
            return Ok(());
        }
        if game.save(&mut self.run_ahead.present).is_err() {
            return Ok(());
        }
        for frame in self.current.until(self.current.plus(self.run_ahead.frames)) {
            let width = queue.width();
            let row = queue.row_ahead(frame, &mut game.watching(predictor));
            let step = Step::new(frame, width, row, frame < self.known_up_to).ahead();
            self.run_ahead.ahead += 1;
            let Ok(outcome) = game.step(&step) else { return self.come_back(game) };
            self.known_up_to = self.known_up_to.max(frame.next());
            if outcome == Outcome::Ended {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "testing")]
impl<G: Game> Rollback<G> {
    /// Takes what is shown for what is played.
    pub(crate) fn forget_ahead(&mut self) {
        self.run_ahead.ahead = 0;
    }

    /// Takes every frame that was only shown for one that is not known.
    pub(crate) fn forget_known(&mut self) {
        self.known_up_to = self.known_up_to.min(self.current);
    }
}

/// The most frames that a game can be shown ahead.
pub const RUN_AHEAD_MAX: u32 = 8;
