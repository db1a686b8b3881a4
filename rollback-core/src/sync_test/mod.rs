//! Plays a game alone and rolls it back at every frame by every depth, to find where it does not come back to the same state.

mod divergence;

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

pub use self::divergence::{Diverged, Divergence, SyncTestError};
use self::divergence::{Place, diverged};
use crate::{
    Frame, Game, GameError, INPUT_WIDTH_MAX, Input, InputStatus, Leaves, Outcome, PLAYERS_MAX,
    PlayerHandle, Same, StateHash, StateHasher, Step, StepRow,
};

/// A determinism check: play, go back, play again, compare.
///
/// At every frame and for every depth up to the longest one, the game is taken back, stepped forwards once with
/// wrong guesses as in play, taken back again, and stepped with the inputs it was given at first. Each state, output
/// and end must be what it was. Where the inputs have an [`equivalent`](Input::equivalent), each pair of inputs that it
/// calls so must lead to the same, too. It is the first test that a new [`Game`] should have.
///
/// ```
/// # use core::convert::Infallible;
/// # use rollback_core::{Game, Outcome, StateHasher, Step};
/// use rollback_core::SyncTest;
///
/// # #[derive(Clone, Default)]
/// # struct Duel { x: [i32; 2] }
/// # impl Game for Duel {
/// #     type Input = i8;
/// #     type Snapshot = Self;
/// #     type Error = Infallible;
/// #     fn save(&self, slot: &mut Self) -> Result<(), Infallible> { slot.clone_from(self); Ok(()) }
/// #     fn load(&mut self, slot: &Self) -> Result<(), Infallible> { self.clone_from(slot); Ok(()) }
/// #     fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> {
/// #         for (x, push) in self.x.iter_mut().zip(step.inputs()) { *x += i32::from(push); }
/// #         Ok(Outcome::Running)
/// #     }
/// #     fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
/// #         hasher.write_i32s(&slot.x);
/// #         Ok(())
/// #     }
/// # }
/// let inputs = |frame: rollback_core::Frame, _player| if frame.index() % 3 == 0 { 1 } else { -1 };
/// let report = SyncTest::new(2).frames(100).run(&mut Duel::default(), inputs)?;
/// assert_eq!(report.frames, 100);
/// # Ok::<(), rollback_core::SyncTestError<Infallible>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncTest {
    players: usize,
    frames: u32,
    depth_max: u32,
    input_width: usize,
}

impl SyncTest {
    /// A check of 300 frames with rollbacks of up to 8 frames, for a game of this many players (1 to 64).
    #[must_use]
    pub fn new(players: usize) -> Self {
        let players = players.clamp(1, PLAYERS_MAX);
        Self { players, frames: 300, depth_max: 8, input_width: 0 }
    }

    /// How many frames to play; fewer when the game ends before.
    #[must_use]
    pub fn frames(mut self, frames: u32) -> Self {
        self.frames = frames;
        self
    }

    /// How many frames the longest rollback goes back: 1 to [`SYNC_TEST_DEPTH_MAX`].
    #[must_use]
    pub fn depth_max(mut self, frames: u32) -> Self {
        self.depth_max = frames.clamp(1, SYNC_TEST_DEPTH_MAX);
        self
    }

    /// How many bytes an input takes, for games whose [`Input::WIDTH`] is 0.
    #[must_use]
    pub fn input_width(mut self, bytes: usize) -> Self {
        self.input_width = bytes;
        self
    }

    /// Plays `game` from the state it is in, with the inputs that `inputs` gives for each frame and player.
    ///
    /// # Errors
    /// When the game fails, or comes back to something else than it was.
    pub fn run<G: Game>(
        &self,
        game: &mut G,
        inputs: impl FnMut(Frame, PlayerHandle) -> G::Input,
    ) -> Result<SyncReport, SyncTestError<G::Error>> {
        let width = if G::Input::WIDTH == 0 { self.input_width } else { G::Input::WIDTH };
        if width == 0 || width > INPUT_WIDTH_MAX {
            return Err(SyncTestError::InputWidth { max: INPUT_WIDTH_MAX, got: width });
        }
        let mut run = Run {
            test: Self { input_width: width, ..*self },
            inputs,
            moments: VecDeque::new(),
            seen: Vec::new(),
            scratch: G::Snapshot::default(),
            hasher: StateHasher::new(),
            report: SyncReport::default(),
        };
        run.play(game)?;
        Ok(run.report)
    }
}

/// What a check that found nothing has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncReport {
    /// How many frames were played.
    pub frames: u32,
    /// How many rollbacks were forced.
    pub rollbacks: u64,
    /// How many frames were stepped again with the inputs given, and compared.
    pub resimulated: u64,
    /// How many times the game called a state that wrong guesses led to the same as the true one, so that in play
    /// resimulation would stop there. Each was proved: stepped on, it led to what it led to before.
    pub early_stops: u64,
    /// How many times another input that is called equivalent was stepped in place of the one given, and led to the same:
    /// one given in another frame, or the same with one bit changed.
    pub equivalents: u64,
    /// Whether the game ended, so that its end was checked too.
    pub ended: bool,
}

/// What the game was before a frame, and what it was given and answered in it.
struct Moment<S> {
    frame: Frame,
    slot: S,
    hash: StateHash,
    leaves: Leaves,
    row: Vec<u8>,
    output: Vec<u8>,
    outcome: Outcome,
}

struct Run<G: Game, F> {
    test: SyncTest,
    inputs: F,
    /// The last frames, oldest first; the last one is not stepped yet.
    moments: VecDeque<Moment<G::Snapshot>>,
    /// The first different inputs that were given.
    seen: Vec<Vec<u8>>,
    scratch: G::Snapshot,
    hasher: StateHasher,
    report: SyncReport,
}

impl<G: Game, F: FnMut(Frame, PlayerHandle) -> G::Input> Run<G, F> {
    fn play(&mut self, game: &mut G) -> Result<(), SyncTestError<G::Error>> {
        self.remember(game, Frame::ZERO)?;
        let end = Frame::new(self.test.frames);
        for frame in Frame::ZERO.until(end) {
            let row = self.row(frame);
            let (outcome, output) = self.step(game, frame, &row, false, false)?;
            if let Some(moment) = self.moments.back_mut() {
                (moment.row, moment.output, moment.outcome) = (row, output, outcome);
            }
            self.remember(game, frame.next())?;
            self.report.frames += 1;
            self.check_slots(game, 0)?;
            let steps = u32::try_from(self.moments.len()).unwrap_or(u32::MAX).saturating_sub(1);
            let is_last = outcome == Outcome::Ended || frame.next() == end;
            for depth in if is_last { 1..=steps } else { steps..=steps } {
                self.prove_equivalents(game, depth)?;
            }
            for depth in 1..=steps {
                self.roll_back(game, depth)?;
            }
            if outcome == Outcome::Ended {
                self.report.ended = true;
                return Ok(());
            }
            if steps == self.test.depth_max {
                self.moments.pop_front();
            }
        }
        Ok(())
    }

    /// Keeps what the game is now.
    fn remember(&mut self, game: &G, frame: Frame) -> Result<(), SyncTestError<G::Error>> {
        let mut slot = G::Snapshot::default();
        game.save(&mut slot).map_err(|source| GameError::Save { frame, source })?;
        let hash = self.hash(game, &slot, frame)?;
        let leaves = leaves_of(game, &slot);
        if self.hash(game, &slot, frame)? != hash {
            let place = Place::of_leaves(&leaves, &leaves_of(game, &slot));
            return Err(diverged(frame, 0, Diverged::Hash, place));
        }
        let (row, output, outcome) = (Vec::new(), Vec::new(), Outcome::Running);
        self.moments.push_back(Moment { frame, slot, hash, leaves, row, output, outcome });
        Ok(())
    }

    /// Goes `depth` frames back, once over wrong guesses, and comes forward again.
    fn roll_back(&mut self, game: &mut G, depth: u32) -> Result<(), SyncTestError<G::Error>> {
        let Some(base) = self.moments.len().checked_sub(depth as usize + 1) else { return Ok(()) };
        self.load(game, base, depth)?;
        self.guess(game, base, depth)?;
        self.load(game, base, depth)?;
        for index in base..self.moments.len() - 1 {
            let Some(moment) = self.moments.get(index) else { break };
            let (frame, row, outcome) = (moment.frame, moment.row.clone(), moment.outcome);
            let (got, output) = self.step(game, frame, &row, true, false)?;
            if self.moments.get(index).is_some_and(|moment| moment.output != output) {
                return Err(diverged(frame, depth, Diverged::Output, Place::default()));
            }
            if got != outcome {
                return Err(diverged(frame, depth, Diverged::End, Place::default()));
            }
            self.report.resimulated += 1;
            self.compare(game, index + 1, depth, Diverged::State)?;
        }
        self.report.rollbacks += 1;
        self.check_slots(game, depth)
    }

    fn load(
        &mut self,
        game: &mut G,
        base: usize,
        depth: u32,
    ) -> Result<(), SyncTestError<G::Error>> {
        let Some(moment) = self.moments.get(base) else { return Ok(()) };
        let frame = moment.frame;
        game.load(&moment.slot).map_err(|source| GameError::Load { frame, source })?;
        self.compare(game, base, depth, Diverged::Load)
    }

    /// Steps with inputs that were given in another frame, as a predictor would guess them. In play it is the guess
    /// that is stepped first and the truth that is stepped again, so that is what the game is told.
    fn guess(
        &mut self,
        game: &mut G,
        base: usize,
        depth: u32,
    ) -> Result<(), SyncTestError<G::Error>> {
        let Some(first) = self.moments.get(base) else { return Ok(()) };
        let earlier = self.moments.iter().take(base).rev();
        let later = self.moments.iter().skip(base + 1).filter(|moment| !moment.row.is_empty());
        let other = earlier.chain(later).find(|moment| moment.row != first.row);
        let (from, row) = (first.frame, other.unwrap_or(first).row.clone());
        for (frame, next) in from.until(from.plus(depth)).zip(base + 1..) {
            // A wrong guess may make a step fail or end the game: play would go back from there too.
            match self.step(game, frame, &row, false, true) {
                Ok((Outcome::Running, _)) => {}
                Ok((Outcome::Ended, _)) | Err(_) => break,
            }
            if self.is_same(game, next) {
                self.report.early_stops += 1;
                return self.prove_same(game, next, depth);
            }
        }
        Ok(())
    }

    /// Whether the game calls the state it is in the same as the true one.
    fn is_same(&mut self, game: &G, index: usize) -> bool {
        // What guesses led to may be such that it cannot be saved.
        let is_saved = game.save(&mut self.scratch).is_ok();
        let moment = self.moments.get(index).filter(|_| is_saved);
        moment.is_some_and(|moment| game.same(&self.scratch, &moment.slot) == Same::Yes)
    }

    /// Steps on from a state that the game calls the same as the true one: it must lead to the same.
    fn prove_same(
        &mut self,
        game: &mut G,
        index: usize,
        depth: u32,
    ) -> Result<(), SyncTestError<G::Error>> {
        self.compare(game, index, depth, Diverged::Same)?;
        for index in index..self.moments.len() - 1 {
            let Some(moment) = self.moments.get(index) else { break };
            let (frame, row) = (moment.frame, moment.row.clone());
            let (outcome, output) = self.step(game, frame, &row, true, false)?;
            let is_same =
                |moment: &Moment<_>| (moment.outcome, &moment.output) == (outcome, &output);
            if !self.moments.get(index).is_some_and(is_same) {
                return Err(diverged(frame, depth, Diverged::Same, Place::default()));
            }
            self.compare(game, index + 1, depth, Diverged::Same)?;
        }
        Ok(())
    }

    /// Goes `depth` frames back and steps inputs that are called equivalent in place of the ones given: each must lead to
    /// the same, then and in all frames after.
    fn prove_equivalents(
        &mut self,
        game: &mut G,
        depth: u32,
    ) -> Result<(), SyncTestError<G::Error>> {
        let Some(base) = self.moments.len().checked_sub(depth as usize + 1) else { return Ok(()) };
        let Some(moment) = self.moments.get(base) else { return Ok(()) };
        let (frame, given) = (moment.frame, moment.row.clone());
        let width = self.test.input_width;
        let mut left = EQUIVALENTS_PER_FRAME;
        for turn in 0..self.test.players {
            // Each frame begins elsewhere, so that all are met where not all can be tried.
            let player = (turn + frame.index() as usize) % self.test.players;
            let bytes = player * width..(player + 1) * width;
            let input = given.get(bytes.clone()).unwrap_or_default();
            let count = self.seen.len() + 8 * width;
            for turn in 0..count.min(ALTERNATIVES_PER_FRAME) {
                let turn = (turn + frame.index() as usize * ALTERNATIVES_PER_FRAME) % count;
                let other = self.alternative(turn, input);
                if other == input || !G::Input::equivalent(input, &other) {
                    continue;
                }
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                let mut row = given.clone();
                if let Some(slot) = row.get_mut(bytes.clone()) {
                    slot.copy_from_slice(&other);
                }
                self.load(game, base, depth)?;
                self.prove_equivalent(game, base, &row)?;
            }
        }
        Ok(())
    }

    /// One of the inputs that were given, or `input` with one bit changed.
    fn alternative(&self, turn: usize, input: &[u8]) -> Vec<u8> {
        let Some(bit) = turn.checked_sub(self.seen.len()) else {
            return self.seen.get(turn).cloned().unwrap_or_default();
        };
        let mut other = input.to_vec();
        if let Some(byte) = other.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        other
    }

    /// Steps on from a moment, once with `row` and then with what was given.
    fn prove_equivalent(
        &mut self,
        game: &mut G,
        base: usize,
        row: &[u8],
    ) -> Result<(), SyncTestError<G::Error>> {
        let steps = self.moments.len() - 1 - base;
        let depth = u32::try_from(steps).unwrap_or(u32::MAX);
        for index in base..base + steps {
            let Some(moment) = self.moments.get(index) else { break };
            let (frame, is_first) = (moment.frame, index == base);
            let row = if is_first { row.to_vec() } else { moment.row.clone() };
            let stepped = self.step(game, frame, &row, !is_first, is_first);
            let Some(moment) = self.moments.get(index) else { break };
            let is_same = stepped.is_ok_and(|(outcome, output)| {
                outcome == moment.outcome && output == moment.output
            });
            if !is_same {
                return Err(diverged(frame, depth, Diverged::Equivalent, Place::default()));
            }
            self.compare(game, index + 1, depth, Diverged::Equivalent)?;
        }
        self.report.equivalents += 1;
        Ok(())
    }

    /// Compares the game with what it was at a moment.
    fn compare(
        &mut self,
        game: &G,
        index: usize,
        depth: u32,
        what: Diverged,
    ) -> Result<(), SyncTestError<G::Error>> {
        let Some(frame) = self.moments.get(index).map(|moment| moment.frame) else { return Ok(()) };
        let mut scratch = core::mem::take(&mut self.scratch);
        game.save(&mut scratch).map_err(|source| GameError::Save { frame, source })?;
        let hash = self.hash(game, &scratch, frame)?;
        if let Some(moment) = self.moments.get(index).filter(|moment| moment.hash != hash) {
            let place = Place::of_leaves(&moment.leaves, &leaves_of(game, &scratch));
            return Err(diverged(
                frame,
                depth,
                what,
                place.and_bytes(game, &moment.slot, &scratch),
            ));
        }
        self.scratch = scratch;
        Ok(())
    }

    /// Says whether every saved state still is what it was when it was saved.
    fn check_slots(&mut self, game: &G, depth: u32) -> Result<(), SyncTestError<G::Error>> {
        for moment in &self.moments {
            let frame = moment.frame;
            self.hasher.reset();
            game.hash(&moment.slot, &mut self.hasher)
                .map_err(|source| GameError::Hash { frame, source })?;
            if self.hasher.finish() != moment.hash {
                let place = Place::of_leaves(&moment.leaves, &leaves_of(game, &moment.slot));
                return Err(diverged(frame, depth, Diverged::Slot, place));
            }
        }
        Ok(())
    }

    fn hash(
        &mut self,
        game: &G,
        slot: &G::Snapshot,
        frame: Frame,
    ) -> Result<StateHash, GameError<G::Error>> {
        self.hasher.reset();
        game.hash(slot, &mut self.hasher).map_err(|source| GameError::Hash { frame, source })?;
        Ok(self.hasher.finish())
    }

    fn row(&mut self, frame: Frame) -> Vec<u8> {
        let width = self.test.input_width;
        let mut row = vec![0; self.test.players * width];
        for (player, bytes) in PlayerHandle::all(self.test.players).zip(row.chunks_exact_mut(width))
        {
            (self.inputs)(frame, player).write(bytes);
            if self.seen.len() < SEEN_MAX && !self.seen.iter().any(|seen| seen == bytes) {
                self.seen.push(bytes.to_vec());
            }
        }
        row
    }

    fn step(
        &self,
        game: &mut G,
        frame: Frame,
        row: &[u8],
        is_resimulation: bool,
        is_guess: bool,
    ) -> Result<(Outcome, Vec<u8>), GameError<G::Error>> {
        let status = if is_guess { InputStatus::Predicted } else { InputStatus::Given };
        let statuses = vec![status; self.test.players];
        let flags = vec![0; self.test.players];
        let row = StepRow { inputs: row, flags: &flags, statuses: &statuses };
        let step = Step::new(frame, self.test.input_width, row, is_resimulation);
        let mut output = Vec::new();
        let failed = |source| GameError::Step { frame, source };
        let outcome = game.step(&step).map_err(failed)?;
        game.output(&mut output).map_err(failed)?;
        Ok((outcome, output))
    }
}

fn leaves_of<G: Game>(game: &G, slot: &G::Snapshot) -> Leaves {
    let mut leaves = Leaves::default();
    // A state that cannot be walked has its frame named all the same.
    if game.leaves(slot, &mut leaves).is_err() {
        leaves = Leaves::default();
    }
    leaves
}

/// How many different inputs are kept to be tried in place of others.
const SEEN_MAX: usize = 16;

/// How many other inputs a frame asks about for each player.
const ALTERNATIVES_PER_FRAME: usize = 64;

/// How many equivalent inputs are stepped for a frame: half as many steps as its rollbacks take.
const EQUIVALENTS_PER_FRAME: u32 = 4;

/// The longest rollback that is forced: as long as the longest prediction window.
pub const SYNC_TEST_DEPTH_MAX: u32 = 128;

#[cfg(test)]
mod tests;
