//! Loads the state of another peer after a desync, and goes on from it.

use super::{GameError, Halt, Rollback};
use crate::input_queue::InputQueue;
use crate::journal::Witness;
use crate::resync::Keyframe;
use crate::{Frame, Game, StateHash, StateHasher};

impl<G: Game> Rollback<G> {
    /// Whether the game reads the state that it writes, as its first one shows.
    pub(crate) fn can_resync(&self, game: &G) -> bool {
        let Some(first) = self.snapshots.reports().first() else { return false };
        let (mut bytes, mut read) = (alloc::vec::Vec::new(), G::Snapshot::default());
        let [mut hasher, mut again] = [StateHasher::new(), StateHasher::new()];
        let is_written = game.export(&first.snapshot, &mut bytes).unwrap_or(false);
        let is_read = is_written && game.import(&bytes, &mut read).unwrap_or(false);
        let is_hashed = is_read
            && game.hash(&first.snapshot, &mut hasher).is_ok()
            && game.hash(&read, &mut again).is_ok();
        is_hashed && hasher.finish() == again.finish()
    }

    /// The hash of the state of a report that is kept.
    pub(crate) fn hash_reported(
        &mut self,
        game: &mut Witness<'_, G>,
        frame: Frame,
    ) -> Option<StateHash> {
        let report = self.snapshots.report_of(frame)?;
        game.hash(frame, &report.snapshot).ok()
    }

    /// Puts another's state in the place of all that was simulated since the members last agreed. Answers whether these bytes
    /// are that state; else nothing has changed.
    pub(crate) fn take_over(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        keyframe: &Keyframe,
    ) -> Result<bool, GameError<G::Error>> {
        let frame = keyframe.frame;
        let mut state = G::Snapshot::default();
        if !game.import(&keyframe.state, &mut state) || game.hash(frame, &state)? != keyframe.hash {
            return Ok(false);
        }
        self.is_elsewhere = true;
        game.load(frame, &state)?;
        self.snapshots.rewind(keyframe.agreed);
        if let Some(slot) = self.snapshots.slot(frame, frame) {
            *slot = state;
        }
        for (frame, output) in keyframe.agreed.until(frame).zip(&keyframe.outputs) {
            if !output.is_empty() || !self.outputs.is_empty() {
                self.output.clone_from(output);
                self.keep_output(frame);
            }
        }
        self.taken_over = frame;
        self.halt = keyframe.has_ended.then_some(Halt::Ended(frame));
        self.interrupted = None;
        self.halts_at_reports = true;
        // Of one that had not come as far no more is asked: what lies between is played.
        self.current = self.current.max(frame);
        self.known_up_to = self.known_up_to.max(frame);
        queue.set_simulated(self.current);
        // What was guessed before that, where the game had ended here, does not matter any more.
        queue.clear_incorrect();
        queue.note_incorrect(frame);
        Ok(true)
    }

    /// Goes on from the state of a report that is kept, after others were stepped to again.
    pub(crate) fn resume_from(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        reported: Frame,
    ) -> Result<(), GameError<G::Error>> {
        let Some((frame, snapshot)) = self.snapshots.newest_up_to(reported) else { return Ok(()) };
        self.is_elsewhere = true;
        game.load(frame, snapshot)?;
        self.snapshots.forget_after(frame);
        // What ended it after that, or made a step fail, is found again.
        self.halt = self.halt.filter(|halt| *halt == Halt::Ended(frame));
        self.interrupted = None;
        self.halts_at_reports = true;
        queue.set_simulated(self.current);
        if self.halt.is_none() {
            queue.note_incorrect(frame);
        }
        Ok(())
    }
}
