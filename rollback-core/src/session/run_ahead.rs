//! The doors for showing the game ahead of the current frame.

use super::Session;
use crate::Game;
use crate::journal::Entry;

impl<G: Game> Session<G> {
    /// Leaves the game so many frames ahead of [`current_frame`](Self::current_frame) after each frame, at most
    /// [`RUN_AHEAD_MAX`](crate::RUN_AHEAD_MAX), and takes it back before the next: so one sees what a local input does although it takes effect an
    /// input delay later. With as many frames as the input delay the local inputs shown are those given; the others'
    /// are guesses, and the picture may jump where they are wrong.
    ///
    /// It costs a save, a load and so many steps in every frame, and changes nothing else: what is recorded, compared and agreed is what
    /// it would be without. A frame is new to the game the first time that it is shown; see
    /// [`Step::is_resimulation`](crate::Step::is_resimulation) and [`Step::is_ahead`](crate::Step::is_ahead). A machine that cannot hold the
    /// tick rate shows nothing ahead until it has held it for ten seconds, and for twice as long each time that this was too much.
    #[must_use]
    pub fn with_run_ahead(mut self, frames: u32) -> Self {
        self.set_run_ahead(frames);
        self
    }

    pub(crate) fn set_run_ahead(&mut self, frames: u32) {
        self.note(&Entry::RunAhead(frames));
        self.episode.rollback.set_run_ahead(frames);
    }

    /// How many frames beyond [`current_frame`](Self::current_frame) the game is shown now. Less than was asked for where the
    /// game ends on the way, and 0 where it cannot be stepped with a guess, a rollback waits for its step budget or the machine is too slow.
    #[must_use]
    pub fn frames_ahead(&self) -> u32 {
        self.episode.rollback.frames_ahead()
    }
}
