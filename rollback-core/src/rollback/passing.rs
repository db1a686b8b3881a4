//! Skips frames that were recorded elsewhere: takes a later state in place of the steps to it.

use super::{GameError, Rollback};
use crate::input_queue::InputQueue;
use crate::journal::Witness;
use crate::{Frame, Game, StateHash};

impl<G: Game> Rollback<G> {
    /// Takes what stepping a frame gave where it was recorded: what the step gives here counts no more. One that is left out is
    /// taken from its step, and so are all after it.
    pub(crate) fn take_recorded_output(&mut self, frame: Frame, output: &[u8]) {
        if frame != self.recorded_up_to {
            return;
        }
        self.recorded_up_to = frame.next();
        if !output.is_empty() || !self.outputs.is_empty() {
            self.output.clear();
            self.output.extend_from_slice(output);
            self.keep_output(frame);
        }
    }

    /// What the steps before this frame gave was recorded elsewhere.
    pub(crate) fn recorded_up_to(&self) -> Frame {
        self.recorded_up_to
    }

    /// The frame of the last report that all agree on, whose state is kept.
    pub(crate) fn agreed_report(&self) -> Option<Frame> {
        self.snapshots.reports().first().map(|report| report.frame)
    }

    /// Makes a state of its bytes; none where they are not the state with this hash.
    pub(crate) fn read_state(
        &self,
        game: &mut Witness<'_, G>,
        (frame, hash): (Frame, StateHash),
        bytes: &[u8],
    ) -> Option<G::Snapshot> {
        let mut state = G::Snapshot::default();
        let is_read = game.import(bytes, &mut state);
        (is_read && game.hash(frame, &state).ok() == Some(hash)).then_some(state)
    }

    /// Goes to the next frame without stepping the current one.
    pub(crate) fn pass(&mut self, queue: &mut InputQueue) {
        self.current = self.current.next();
        queue.set_simulated(self.current);
    }

    /// Goes on from a state of the current frame.
    pub(crate) fn go_on_from(
        &mut self,
        game: &mut Witness<'_, G>,
        state: &G::Snapshot,
    ) -> Result<(), GameError<G::Error>> {
        game.load(self.current, state)?;
        (self.halt, self.interrupted) = (None, None);
        self.known_up_to = self.known_up_to.max(self.current);
        Ok(())
    }
}
