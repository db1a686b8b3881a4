//! Shows the game a few frames ahead of the current one, and brings it back before the next. A machine that is too slow shows nothing.

use super::{GameError, Rollback};
use crate::input_queue::InputQueue;
use crate::journal::Witness;
use crate::{Frame, Game, Outcome, Predictor, Step, Timestamp};

/// How far ahead the game is shown, and the state that it comes back to.
#[derive(Default)]
pub(super) struct RunAhead<S> {
    frames: u32,
    /// How many frames the game is ahead now.
    ahead: u32,
    present: S,
    luxury: Luxury,
}

/// Whether this machine has time to spare: what is shown ahead is stepped in every frame, and nobody needs it to play on.
struct Luxury {
    is_afforded: bool,
    /// When the tick rate was last not held.
    since: Timestamp,
    /// For how long the rate must be held next, before it is afforded again.
    patience_micros: u64,
}

impl Default for Luxury {
    fn default() -> Self {
        Self { is_afforded: true, since: Timestamp::ZERO, patience_micros: 0 }
    }
}

impl Luxury {
    fn note(&mut self, now: Timestamp, holds_rate: bool) {
        if !holds_rate {
            // It may have been the cause: each time it is tried again, that is after twice the time.
            if self.is_afforded {
                self.patience_micros = self.patience_micros.saturating_mul(2).max(PATIENCE_MICROS);
            }
            self.is_afforded = false;
            self.since = now;
        } else if !self.is_afforded && now.micros_since(self.since) >= self.patience_micros {
            self.is_afforded = true;
        }
    }
}

impl<G: Game> Rollback<G> {
    /// Shows the game so many frames ahead from now on.
    pub(crate) fn set_run_ahead(&mut self, frames: u32) {
        self.run_ahead.get_or_insert_default().frames = frames.min(RUN_AHEAD_MAX);
    }

    /// Whether this machine holds the tick rate. One that does not shows nothing ahead.
    pub(crate) fn note_rate(&mut self, now: Timestamp, holds_rate: bool) {
        if let Some(run_ahead) = self.run_ahead.as_mut().filter(|it| it.frames > 0) {
            run_ahead.luxury.note(now, holds_rate);
        }
    }

    /// How many frames beyond the current one the game has been taken.
    pub(crate) fn frames_ahead(&self) -> u32 {
        self.run_ahead.as_ref().map_or(0, |run_ahead| run_ahead.ahead)
    }

    /// Every frame before this one was stepped, if only as a guess or to be shown.
    pub(crate) fn known_up_to(&self) -> Frame {
        self.known_up_to
    }

    /// The frame whose state the game holds; unknown where frames pass without being stepped, while it is shown ahead, and from
    /// the search for a desync until play goes on.
    pub(crate) fn live_frame(&self) -> Option<Frame> {
        let is_present = self.halt.is_none() && !self.is_elsewhere && self.frames_ahead() == 0;
        let live = self.interrupted.map_or(self.current, |begun| begun.next);
        is_present.then_some(live)
    }

    /// Takes the game back to the current frame.
    pub(crate) fn come_back(
        &mut self,
        game: &mut Witness<'_, G>,
    ) -> Result<(), GameError<G::Error>> {
        let Some(run_ahead) = &mut self.run_ahead else { return Ok(()) };
        if core::mem::take(&mut run_ahead.ahead) == 0 {
            return Ok(());
        }
        game.load(self.current, &run_ahead.present)
    }

    /// Steps the game ahead of the current frame with the inputs that are held, and guesses for the others. What comes of it
    /// is shown, and nothing else: a step that fails takes the game back at once.
    #[inline]
    pub(crate) fn run_ahead(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        predictor: &mut dyn Predictor,
    ) -> Result<(), GameError<G::Error>> {
        if self.run_ahead.is_none() { Ok(()) } else { self.show_ahead(game, queue, predictor) }
    }

    #[inline(never)]
    fn show_ahead(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        predictor: &mut dyn Predictor,
    ) -> Result<(), GameError<G::Error>> {
        let is_known = self.halt.is_none() && self.interrupted.is_none();
        let Some(run_ahead) = self.run_ahead.as_mut().filter(|_| is_known) else { return Ok(()) };
        let is_shown = run_ahead.frames > 0 && run_ahead.luxury.is_afforded;
        if !is_shown || game.save(&mut run_ahead.present).is_err() {
            return Ok(());
        }
        for frame in self.current.until(self.current.plus(run_ahead.frames)) {
            let width = queue.width();
            let row = queue.row_ahead(frame, &mut game.watching(predictor));
            let step = Step::new(frame, width, row, frame < self.known_up_to).ahead();
            run_ahead.ahead += 1;
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
        if let Some(run_ahead) = &mut self.run_ahead {
            run_ahead.ahead = 0;
        }
    }

    /// Takes every frame that was only shown for one that is not known.
    pub(crate) fn forget_known(&mut self) {
        self.known_up_to = self.known_up_to.min(self.current);
    }
}

/// The most frames that a game can be shown ahead.
pub const RUN_AHEAD_MAX: u32 = 8;

/// For how long a machine that was too slow must hold the tick rate before the game is shown ahead again.
const PATIENCE_MICROS: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_cannot_afford_is_tried_again_after_longer_and_longer() {
        let mut luxury = Luxury::default();
        let mut at_seconds = |second: u64, holds_rate| {
            luxury.note(Timestamp::from_millis(second * 1_000), holds_rate);
            luxury.is_afforded
        };
        assert!(at_seconds(1, true));
        assert!(!at_seconds(2, false));
        assert!(!at_seconds(3, false));
        assert!(!at_seconds(12, true));
        assert!(at_seconds(13, true));
        assert!(!at_seconds(14, false));
        assert!(!at_seconds(33, true));
        assert!(at_seconds(34, true));
        assert!(!at_seconds(35, false));
        assert!(!at_seconds(74, true));
        assert!(at_seconds(75, true));
    }
}
