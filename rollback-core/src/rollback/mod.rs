//! Steps the game: forwards, and back and forwards again when a guess was wrong. Does not know of peers.

mod counters;
mod error;
mod outputs;
mod passing;
mod replayed;
mod run_ahead;
mod saving;
mod taking_over;

use alloc::boxed::Box;
use alloc::vec::Vec;

use self::counters::Counted;
pub use self::counters::{DEPTHS, RollbackCounters};
pub use self::error::GameError;
use self::replayed::Replayed;
pub(crate) use self::replayed::STEP_LEAVES;
pub use self::run_ahead::RUN_AHEAD_MAX;
use self::run_ahead::RunAhead;
use crate::input_queue::InputQueue;
use crate::journal::Witness;
use crate::snapshot_ring::SnapshotRing;
use crate::{
    Chain, Frame, Game, Outcome, Predictor, Same, SessionConfig, StateHash, StateHasher, Step,
};

/// The live game's place in time, and the way back.
pub(crate) struct Rollback<G: Game> {
    snapshots: SnapshotRing<G::Snapshot>,
    /// What each step gave, in a ring; empty until one gives something.
    outputs: Vec<Vec<u8>>,
    history: usize,
    /// Scratch for what a step gives.
    output: Vec<u8>,
    current: Frame,
    halt: Option<Halt>,
    report_interval: u32,
    window: u32,
    step_budget: u32,
    interrupted: Option<Interrupted>,
    /// Whether stepping again stops at each report. After another's state was taken over, more final reports may follow than the ring
    /// keeps, so each is hashed before the next one is saved.
    halts_at_reports: bool,
    /// The frame whose state was last taken over from another peer; zero before that.
    taken_over: Frame,
    /// Whether the game was stepped or loaded outside of play: its state is unknown until one is loaded to go on.
    is_elsewhere: bool,
    run_ahead: Option<Box<RunAhead<G::Snapshot>>>,
    /// Every frame before this one is known to the game: it was stepped, perhaps only as a guess or to be shown, or another's state
    /// after it was taken over.
    known_up_to: Frame,
    /// The outputs of frames before this one were recorded elsewhere.
    recorded_up_to: Frame,
    counters: Counted,
}

/// Why frames pass without being stepped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Halt {
    /// The state of this frame is the last one of the episode.
    Ended(Frame),
    /// The members end the episode before this frame; the game may have been taken back to it.
    Settled(Frame),
    /// This frame could not be stepped with guessed inputs; the live state is unknown.
    Failed(Frame),
}

/// A rollback that was begun and goes on in the next call: the live state is that of `next`.
#[derive(Clone, Copy, Debug)]
struct Interrupted {
    next: Frame,
    is_saved: bool,
    depth: u32,
}

/// How far stepping again came.
enum Way {
    /// Up to the current frame.
    Whole,
    /// Up to here: what was saved of later frames is not as stepped now.
    Halted { at: Frame },
    /// Up to here, where the step budget was used up.
    Interrupted { next: Frame, is_saved: bool },
}

/// What came of stepping wrong frames again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resimulated {
    /// All are right as far as is known; it went back so many frames.
    Done { depth: u32 },
    /// So many are left for later calls.
    Interrupted { left: u32 },
}

impl<G: Game> Rollback<G> {
    pub(crate) fn new(config: &SessionConfig) -> Self {
        let window = config.prediction_window_frames();
        // From the next report on: a window later is the last frame that is stepped, and with it the episode may end.
        let slots = window + 2;
        Self {
            snapshots: SnapshotRing::new(slots, crate::config::REPORTS_PENDING_MAX),
            outputs: Vec::new(),
            history: config.history_frames(),
            output: Vec::new(),
            current: Frame::ZERO,
            halt: None,
            report_interval: config.report_interval_frames(),
            window,
            step_budget: u32::MAX,
            interrupted: None,
            halts_at_reports: false,
            taken_over: Frame::ZERO,
            is_elsewhere: false,
            run_ahead: None,
            known_up_to: Frame::ZERO,
            recorded_up_to: Frame::ZERO,
            counters: Counted::default(),
        }
    }

    /// The next frame to step.
    pub(crate) fn current(&self) -> Frame {
        self.current
    }

    /// How many frames one call may step again; at least one.
    pub(crate) fn set_step_budget(&mut self, frames: u32) {
        self.step_budget = frames.max(1);
    }

    pub(crate) fn counters(&self) -> RollbackCounters {
        self.counters.told()
    }

    /// The frame whose state is the last one of the episode, as far as is known now.
    pub(crate) fn ended_at(&self) -> Option<Frame> {
        match self.halt {
            Some(Halt::Ended(frame)) => Some(frame),
            _ => None,
        }
    }

    /// The first frame that was not stepped from the inputs held now.
    pub(crate) fn simulated_end(&self, queue: &InputQueue) -> Frame {
        let end = match self.halt {
            Some(Halt::Ended(frame) | Halt::Settled(frame) | Halt::Failed(frame)) => {
                frame.min(self.current)
            }
            None => self.interrupted.map_or(self.current, |begun| begun.next),
        };
        queue.first_incorrect().map_or(end, |wrong| end.min(wrong))
    }

    pub(crate) fn agreed(&mut self, frame: Frame) {
        self.snapshots.agreed(frame);
    }

    /// Saves and hashes the state after `reset`.
    pub(crate) fn start(&mut self, game: &G) -> Result<StateHash, GameError<G::Error>> {
        let frame = Frame::ZERO;
        let Some(slot) = self.snapshots.slot(frame, frame) else { return Ok(StateHash::default()) };
        game.save(slot).map_err(|source| GameError::Save { frame, source })?;
        self.counters.saves += 1;
        let mut hasher = StateHasher::new();
        let hashed = game.hash(slot, &mut hasher);
        hashed.map_err(|source| GameError::Hash { frame, source })?;
        self.snapshots.report(frame);
        Ok(hasher.finish())
    }

    /// Steps the wrong frames again, when there are any: as many as the step budget allows, and the rest in later calls.
    /// So it does where the state of `report`, which is final, was not saved.
    #[inline]
    pub(crate) fn resimulate(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        predictor: &mut dyn Predictor,
        report: Frame,
    ) -> Result<Resimulated, GameError<G::Error>> {
        self.snapshots.set_awaited(report);
        let wrong = self.first_wrong(queue).or_else(|| self.unsaved(report, queue));
        match wrong.is_none() && self.interrupted.is_none() {
            true => Ok(Resimulated::Done { depth: 0 }),
            false => self.go_back(game, queue, predictor, (wrong, report)),
        }
    }

    #[inline(never)]
    fn go_back(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        predictor: &mut dyn Predictor,
        (wrong, report): (Option<Frame>, Frame),
    ) -> Result<Resimulated, GameError<G::Error>> {
        let begun = self.interrupted.take();
        let (base, is_saved, first, depth) = match (begun, wrong) {
            (Some(begun), wrong) if wrong.is_none_or(|wrong| wrong >= begun.next) => {
                (begun.next, begun.is_saved, begun.next, begun.depth)
            }
            (begun, Some(wrong)) => {
                // What lies beyond was stepped before the rollback that was begun.
                if let Some(begun) = begun {
                    self.snapshots.forget_after(begun.next);
                }
                let Some((base, snapshot)) = self.snapshots.newest_up_to(wrong) else {
                    return Ok(Resimulated::Done { depth: 0 });
                };
                game.load(base, snapshot)?;
                self.is_elsewhere = false;
                let depth = match queue.first_incorrect() {
                    Some(_) => self.note_rollback(wrong),
                    None if self.halt.is_some() => self.note_rollback(wrong),
                    None => 0,
                };
                (base, true, wrong, depth)
            }
            (_, None) => return Ok(Resimulated::Done { depth: 0 }),
        };
        // What follows on a halt was not stepped, so there is nothing to come back to.
        let unchanged = match self.halt.take() {
            None => queue.unchanged_from(first.next(), self.current, &mut game.watching(predictor)),
            Some(_) => Frame::MAX,
        };
        self.snapshots.forget_between(first, unchanged);
        queue.clear_incorrect();
        match self.resimulate_from(game, queue, predictor, (base, is_saved, unchanged), report)? {
            Way::Whole => self.halts_at_reports = false,
            Way::Halted { at } => self.snapshots.forget_after(at),
            Way::Interrupted { next, is_saved } => {
                self.interrupted = Some(Interrupted { next, is_saved, depth });
                queue.set_simulated(next);
                return Ok(Resimulated::Interrupted { left: self.current.since(next) });
            }
        }
        queue.set_simulated(self.current);
        Ok(Resimulated::Done { depth })
    }

    fn note_rollback(&mut self, wrong: Frame) -> u32 {
        let depth = self.current.since(wrong);
        if let Some(count) = self.counters.depths.get_mut((depth as usize).clamp(1, DEPTHS) - 1) {
            *count += 1;
        }
        depth
    }

    /// Steps the frames from `base`, whose state is loaded and may be saved, up to the current one; or until a state from `unchanged` on
    /// is the same as it was, since then all that follows is.
    fn resimulate_from(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        predictor: &mut dyn Predictor,
        (base, mut is_saved, mut unchanged): (Frame, bool, Frame),
        report: Frame,
    ) -> Result<Way, GameError<G::Error>> {
        let confirmed = queue.confirmed_end();
        let halts = self.halts_at_reports && report > base && report <= confirmed;
        let stop = if halts { report } else { Frame::MAX };
        // What is not stepped by this call stays as it was stepped.
        let end = self.current.min(stop).min(base.plus(self.step_budget));
        queue.guess_missing((base, end), &mut game.watching(predictor));
        let (mut frame, mut steps) = (base, 0);
        while frame < self.current {
            if steps >= self.step_budget {
                return Ok(Way::Interrupted { next: frame, is_saved });
            }
            if frame == stop {
                let is_saved = is_saved || self.save_when_due(game, frame, confirmed)?;
                return Ok(match is_saved {
                    true => Way::Interrupted { next: frame, is_saved },
                    false => Way::Halted { at: frame },
                });
            }
            if !self.play_frame(game, queue, (frame, is_saved))? {
                return Ok(Way::Halted { at: frame });
            }
            self.counters.resimulated += 1;
            steps += 1;
            frame = frame.next();
            is_saved = false;
            if self.halt.is_some() {
                return Ok(Way::Halted { at: frame });
            }
            if frame < unchanged || frame >= self.current {
                continue;
            }
            match self.save_and_compare(game, frame, confirmed)? {
                Some(Same::Yes) => {
                    self.counters.early_stops += 1;
                    let newest = self.snapshots.newest_up_to(self.current);
                    let Some((last, snapshot)) = newest else { return Ok(Way::Whole) };
                    game.load(last, snapshot)?;
                    (frame, is_saved, unchanged) = (last, true, self.current);
                }
                // What differs here will seldom be the same soon after, and comparing may cost as much as a step.
                Some(Same::No | Same::Unknown) => {
                    self.snapshots.forget_after(frame);
                    (is_saved, unchanged) = (true, self.current);
                }
                None if self.halt.is_some() => return Ok(Way::Halted { at: frame }),
                None => {}
            }
        }
        Ok(Way::Whole)
    }

    /// Steps the current frame; lets it pass when the episode has ended or the state is unknown.
    pub(crate) fn step(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        predictor: &mut dyn Predictor,
    ) -> Result<(), GameError<G::Error>> {
        if self.halt.is_none() {
            let frames = (self.current, self.current.next());
            queue.guess_missing(frames, &mut game.watching(predictor));
            self.play_frame(game, queue, (self.current, false))?;
        }
        self.current = self.current.next();
        queue.set_simulated(self.current);
        Ok(())
    }

    /// Hashes the state of `frame`, which is final, and keeps it until a later one is agreed.
    pub(crate) fn hash_final(
        &mut self,
        game: &mut Witness<'_, G>,
        frame: Frame,
    ) -> Result<Option<StateHash>, GameError<G::Error>> {
        let Some(snapshot) = self.snapshots.at(frame) else { return Ok(None) };
        let hash = game.hash(frame, snapshot)?;
        self.snapshots.report(frame);
        Ok(Some(hash))
    }

    /// Goes back to `end`, which is final, and saves its state: the episode ends before what was played on.
    pub(crate) fn settle_at(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        end: Frame,
    ) -> Result<(), GameError<G::Error>> {
        if self.snapshots.at(end).is_some() {
            return Ok(());
        }
        if self.interrupted.take().is_some() || self.current != end {
            let Some((base, snapshot)) = self.snapshots.newest_up_to(end) else { return Ok(()) };
            game.load(base, snapshot)?;
            for frame in base.until(end) {
                step_confirmed(game, queue, frame)?;
            }
        }
        self.halt = Some(Halt::Settled(end));
        self.save(game, end, end)?;
        Ok(())
    }

    /// Whether one more final state can be kept.
    pub(crate) fn has_room_for_report(&self) -> bool {
        self.snapshots.has_room()
    }

    /// Steps again from the last agreed state up to, and without, `end`, and gives `visit` the hash of every state
    /// on the way and of what the step to it gave. The game is left at `end`; the answer is its state.
    pub(crate) fn replay(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        end: Frame,
        mut visit: impl FnMut(StateHash, Chain),
    ) -> Result<Replayed<G::Snapshot>, GameError<G::Error>> {
        let mut slot = G::Snapshot::default();
        let Some(report) = self.snapshots.reports().first() else {
            return Ok(Replayed { slot, output: Chain::default(), has_ended: false });
        };
        let from = report.frame;
        self.is_elsewhere = true;
        game.load(from, &report.snapshot)?;
        let (mut output, mut output_digest) = (Vec::new(), Chain::default());
        let mut has_ended = false;
        for frame in from.until(end) {
            has_ended = step_confirmed(game, queue, frame)? == Outcome::Ended;
            output.clear();
            game.output(&mut output).map_err(|source| GameError::Step { frame, source })?;
            output_digest = Chain::default().link(&output);
            let next = frame.next();
            if let Some(taken_over) =
                self.snapshots.report_of(next).filter(|_| self.taken_over == next)
            {
                // All went on from this state, not from the one that was stepped to.
                game.load(next, &taken_over.snapshot)?;
            }
            game.save(&mut slot).map_err(|source| GameError::Save { frame: next, source })?;
            let given = if has_ended { output_digest.link(b"ended") } else { output_digest };
            visit(game.hash(next, &slot)?, given);
        }
        Ok(Replayed { slot, output: output_digest, has_ended })
    }

    /// The state of a report that is kept, as bytes.
    pub(crate) fn export_reported(
        &self,
        game: &mut Witness<'_, G>,
        frame: Frame,
    ) -> Option<Vec<u8>> {
        let report = self.snapshots.report_of(frame)?;
        game.export(&report.snapshot)
    }

    fn first_wrong(&self, queue: &InputQueue) -> Option<Frame> {
        let wrong = queue.first_incorrect();
        match self.halt {
            // The failed frame has its real inputs now, or other ones: step it again either way.
            Some(Halt::Failed(frame)) if queue.confirmed_end() > frame => {
                Some(wrong.map_or(frame, |wrong| wrong.min(frame)))
            }
            Some(Halt::Failed(frame)) => wrong.filter(|wrong| *wrong <= frame),
            Some(Halt::Ended(frame) | Halt::Settled(frame)) => wrong.filter(|wrong| *wrong < frame),
            None => wrong,
        }
    }

    /// Saves the state of `frame` where that is due, unless it is saved, and steps it. Answers whether it could be stepped: a
    /// state that cannot be saved is taken for a step to it that failed.
    fn play_frame(
        &mut self,
        game: &mut Witness<'_, G>,
        queue: &mut InputQueue,
        (frame, is_saved): (Frame, bool),
    ) -> Result<bool, GameError<G::Error>> {
        let confirmed = queue.confirmed_end();
        if !is_saved && !self.save_when_due(game, frame, confirmed)? {
            return Ok(false);
        }
        let width = queue.width();
        let row = queue.row(frame);
        // Of frames that passed while the game stood still, none is known when it goes on.
        let step = Step::new(frame, width, row, frame < self.known_up_to);
        let step = step.confirmed(frame < confirmed);
        self.output.clear();
        let stepped = game.step(&step);
        if stepped.is_ok() {
            self.known_up_to = self.known_up_to.max(frame.next());
        }
        let stepped = stepped.and_then(|outcome| game.output(&mut self.output).map(|()| outcome));
        let has_output = !self.output.is_empty() || !self.outputs.is_empty();
        if has_output && frame >= self.recorded_up_to {
            self.keep_output(frame);
        }
        match stepped {
            Ok(Outcome::Running) => Ok(true),
            Ok(Outcome::Ended) => {
                self.halt = Some(Halt::Ended(frame.next()));
                self.save(game, frame.next(), confirmed)?;
                Ok(true)
            }
            Err(_) if frame >= confirmed => {
                self.halt = Some(Halt::Failed(frame));
                self.counters.failed_guesses += 1;
                Ok(true)
            }
            Err(source) => {
                self.halt = Some(Halt::Failed(frame));
                Err(GameError::Step { frame, source })
            }
        }
    }
}

/// Steps a confirmed frame again, outside a rollback.
fn step_confirmed<G: Game>(
    game: &mut Witness<'_, G>,
    queue: &mut InputQueue,
    frame: Frame,
) -> Result<Outcome, GameError<G::Error>> {
    let width = queue.width();
    let step = Step::new(frame, width, queue.row(frame), true);
    game.step(&step).map_err(|source| GameError::Step { frame, source })
}
