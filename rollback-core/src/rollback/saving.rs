//! Decides which states are saved, and saves them.

use super::{GameError, Halt, Rollback};
use crate::input_queue::InputQueue;
use crate::journal::Witness;
use crate::{Costs, Frame, Game, Same};

impl<G: Game> Rollback<G> {
    /// Saves the state of `frame` where that is due. Answers whether the frame can be stepped.
    #[inline(always)]
    pub(super) fn save_when_due(
        &mut self,
        game: &mut Witness<'_, G>,
        frame: Frame,
        confirmed: Frame,
    ) -> Result<bool, GameError<G::Error>> {
        let is_report = frame.is_multiple_of(self.report_interval) && frame > Frame::ZERO;
        // Of what is confirmed, only a report is needed.
        if frame < confirmed && !is_report {
            return Ok(true);
        }
        let is_needed =
            is_report && frame <= confirmed || self.should_save_guessed(game, (frame, is_report));
        if is_needed { self.save(game, frame, confirmed) } else { Ok(true) }
    }

    #[inline]
    fn should_save_guessed(
        &self,
        game: &mut Witness<'_, G>,
        (frame, is_report): (Frame, bool),
    ) -> bool {
        let costs = game.costs();
        // Saving every guessed frame makes a rollback step no frame in vain.
        costs.save_nanos <= costs.step_nanos || self.is_time_to_save(costs, (frame, is_report))
    }

    /// Whether to save a guessed frame where a save costs more than a step.
    #[inline(never)]
    fn is_time_to_save(&self, costs: Costs, (frame, is_report): (Frame, bool)) -> bool {
        // A report is saved when it is stepped first. Where rollbacks come, more come: it is saved when it is final.
        if is_report && frame == self.current {
            return true;
        }
        let last = self.snapshots.newest_up_to(frame).map(|(at, _)| at);
        let interval = self.save_interval(costs);
        // A report that is near is saved anyway, and serves as well.
        let to_report = self.report_interval - frame.index() % self.report_interval.max(1);
        last.is_none_or(|last| frame.since(last) >= interval && to_report > interval / 2)
    }

    /// Every how many frames to save where a save costs more than a step. Per frame, saving every `k`th costs `save / k`
    /// and, with `r` rollbacks, `r * step * k / 2` for steps from an older state: least at `k = sqrt(2 * save / (r * step))`.
    fn save_interval(&self, costs: Costs) -> u32 {
        let frames = u64::from(self.current.index()) + 1;
        let step = costs.step_nanos.max(1).saturating_mul(self.counters.rollbacks() + 1);
        let square = costs.save_nanos.saturating_mul(2).saturating_mul(frames) / step;
        u32::try_from(square.isqrt()).unwrap_or(u32::MAX).clamp(1, self.window.max(1))
    }

    /// The frame of the next report, when its state is final and was not saved.
    pub(super) fn unsaved(&self, report: Frame, queue: &InputQueue) -> Option<Frame> {
        let is_final = report <= queue.confirmed_end() && report < self.simulated_end(queue);
        (is_final && self.snapshots.at(report).is_none()).then_some(report)
    }

    /// Saves the state of `frame`. Answers whether the frame can be stepped: a guessed state that cannot be saved is
    /// taken for a step to it that failed.
    pub(super) fn save(
        &mut self,
        game: &mut Witness<'_, G>,
        frame: Frame,
        confirmed: Frame,
    ) -> Result<bool, GameError<G::Error>> {
        let Some(slot) = self.snapshots.slot(frame, confirmed) else { return Ok(true) };
        let saved = game.save(slot);
        self.note_saved(saved, frame, confirmed)
    }

    fn note_saved(
        &mut self,
        saved: Result<(), G::Error>,
        frame: Frame,
        confirmed: Frame,
    ) -> Result<bool, GameError<G::Error>> {
        self.counters.saves += 1;
        let Err(source) = saved else { return Ok(true) };
        let before = frame.minus(1);
        self.snapshots.forget_after(before);
        if frame <= confirmed {
            return Err(GameError::Save { frame, source });
        }
        self.halt = Some(Halt::Failed(before));
        self.counters.failed_guesses += 1;
        Ok(false)
    }

    /// Saves the state of `frame` in place of the one that was saved before the rollback, and says whether they are
    /// the same; `None` where none was, or where this one cannot be saved.
    pub(super) fn save_and_compare(
        &mut self,
        game: &mut Witness<'_, G>,
        frame: Frame,
        confirmed: Frame,
    ) -> Result<Option<Same>, GameError<G::Error>> {
        let Some(slot) = self.snapshots.replace(frame) else { return Ok(None) };
        let saved = game.save(slot);
        if !self.note_saved(saved, frame, confirmed)? {
            return Ok(None);
        }
        let new = self.snapshots.at(frame);
        Ok(new.map(|new| game.same(new, self.snapshots.aside())))
    }
}
