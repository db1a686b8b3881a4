//! Forces rollbacks of every depth at every frame, and finds a game that does not come back to what it was.

use core::fmt;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use thiserror::Error;

use crate::{
    Frame, Game, GameError, INPUT_WIDTH_MAX, Input, InputStatus, Leaves, Outcome, PLAYERS_MAX,
    PlayerHandle, StateHash, StateHasher, Step, StepRow,
};

/// A determinism check: play, go back, play again, compare.
///
/// At every frame and for every depth up to the longest one, the game is taken back, stepped forwards once with
/// wrong guesses as in play, taken back again, and stepped with the inputs it was given at first. Each state, output
/// and end must be what it was. It is the first test that a new [`Game`] should have.
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
}

impl SyncTest {
    /// A check of 300 frames with rollbacks of up to 8 frames, for a game of this many players (1 to 64).
    #[must_use]
    pub fn new(players: usize) -> Self {
        Self { players: players.clamp(1, PLAYERS_MAX), frames: 300, depth_max: 8 }
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

    /// Plays `game` from the state it is in, with the inputs that `inputs` gives for each frame and player.
    ///
    /// # Errors
    /// When the game fails, or comes back to something else than it was.
    pub fn run<G: Game>(
        &self,
        game: &mut G,
        inputs: impl FnMut(Frame, PlayerHandle) -> G::Input,
    ) -> Result<SyncReport, SyncTestError<G::Error>> {
        let width = G::Input::WIDTH;
        if width == 0 || width > INPUT_WIDTH_MAX {
            return Err(SyncTestError::InputWidth { max: INPUT_WIDTH_MAX, got: width });
        }
        let mut run = Run {
            test: *self,
            inputs,
            moments: VecDeque::new(),
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
    /// Whether the game ended, so that its end was checked too.
    pub ended: bool,
}

/// Why a game does not pass.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SyncTestError<E> {
    /// The game's inputs are too wide, or empty.
    #[error("expected inputs of 1 to {max} bytes, got {got}")]
    InputWidth {
        /// The widest that can be played.
        max: usize,
        /// The width of the game's inputs.
        got: usize,
    },
    /// The game failed.
    #[error(transparent)]
    Game(#[from] GameError<E>),
    /// The game came back to something else than it was.
    #[error("{0}")]
    Diverged(Divergence),
}

/// The first place where a game is not what it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// The frame whose state, or whose step's output or end, differs.
    pub frame: Frame,
    /// How many frames the rollback went back; 0 where there was none.
    pub depth: u32,
    /// What differs.
    pub what: Diverged,
    /// The first leaf that differs, where the game names leaves.
    pub leaf: Option<String>,
}

/// In what a game is not what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Diverged {
    /// Hashing one saved state twice gave two hashes: the hash takes in something beside the state.
    Hash,
    /// A saved state changed while the game was stepped or loaded: the two share memory.
    Slot,
    /// The state that was just loaded is not the one saved: the snapshot does not hold all of it.
    Load,
    /// Stepping again from a loaded state gave another state: there is state outside the snapshot.
    State,
    /// Stepping again gave another output.
    Output,
    /// The game ended one time and not the other.
    End,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frame, depth, what, leaf } = self;
        let what = match what {
            Diverged::Hash => "a saved state has two hashes",
            Diverged::Slot => "a saved state changed after it was saved",
            Diverged::Load => "the loaded state is not the one saved",
            Diverged::State => "stepping again gave another state",
            Diverged::Output => "stepping again gave another output",
            Diverged::End => "the game ended one time and not the other",
        };
        write!(f, "frame {frame}, rollback of {depth} frames: {what}")?;
        match leaf {
            Some(leaf) => write!(f, "; the first leaf that differs is {leaf}"),
            None => Ok(()),
        }
    }
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
    scratch: G::Snapshot,
    hasher: StateHasher,
    report: SyncReport,
}

impl<G: Game, F: FnMut(Frame, PlayerHandle) -> G::Input> Run<G, F> {
    fn play(&mut self, game: &mut G) -> Result<(), SyncTestError<G::Error>> {
        self.remember(game, Frame::ZERO)?;
        for frame in Frame::ZERO.until(Frame::new(self.test.frames)) {
            let row = self.row(frame);
            let (outcome, output) = self.step(game, frame, &row, false, false)?;
            if let Some(moment) = self.moments.back_mut() {
                (moment.row, moment.output, moment.outcome) = (row, output, outcome);
            }
            self.remember(game, frame.next())?;
            self.report.frames += 1;
            self.check_slots(game, 0)?;
            let steps = u32::try_from(self.moments.len()).unwrap_or(u32::MAX).saturating_sub(1);
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
            let leaf = first_leaf(&leaves, &leaves_of(game, &slot));
            return Err(diverged(frame, 0, Diverged::Hash, leaf));
        }
        let (row, output, outcome) = (Vec::new(), Vec::new(), Outcome::Running);
        self.moments.push_back(Moment { frame, slot, hash, leaves, row, output, outcome });
        Ok(())
    }

    /// Goes `depth` frames back, once over wrong guesses, and comes forward again.
    fn roll_back(&mut self, game: &mut G, depth: u32) -> Result<(), SyncTestError<G::Error>> {
        let Some(base) = self.moments.len().checked_sub(depth as usize + 1) else { return Ok(()) };
        self.load(game, base, depth)?;
        self.guess(game, base);
        self.load(game, base, depth)?;
        for index in base..self.moments.len() - 1 {
            let Some(moment) = self.moments.get(index) else { break };
            let (frame, row, outcome) = (moment.frame, moment.row.clone(), moment.outcome);
            let (got, output) = self.step(game, frame, &row, true, false)?;
            if self.moments.get(index).is_some_and(|moment| moment.output != output) {
                return Err(diverged(frame, depth, Diverged::Output, None));
            }
            if got != outcome {
                return Err(diverged(frame, depth, Diverged::End, None));
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
    fn guess(&self, game: &mut G, base: usize) {
        let Some(first) = self.moments.get(base) else { return };
        let earlier = self.moments.iter().take(base).rev();
        let later = self.moments.iter().skip(base + 1).filter(|moment| !moment.row.is_empty());
        let other = earlier.chain(later).find(|moment| moment.row != first.row);
        let (from, row) = (first.frame, other.unwrap_or(first).row.clone());
        let depth = u32::try_from(self.moments.len() - base).unwrap_or(u32::MAX) - 1;
        for frame in from.until(from.plus(depth)) {
            // A wrong guess may make a step fail or end the game: play would go back from there too.
            match self.step(game, frame, &row, false, true) {
                Ok((Outcome::Running, _)) => {}
                Ok((Outcome::Ended, _)) | Err(_) => break,
            }
        }
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
            let leaf = first_leaf(&moment.leaves, &leaves_of(game, &scratch));
            return Err(diverged(frame, depth, what, leaf));
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
                let leaf = first_leaf(&moment.leaves, &leaves_of(game, &moment.slot));
                return Err(diverged(frame, depth, Diverged::Slot, leaf));
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
        let width = G::Input::WIDTH;
        let mut row = vec![0; self.test.players * width];
        for (player, bytes) in PlayerHandle::all(self.test.players).zip(row.chunks_exact_mut(width))
        {
            (self.inputs)(frame, player).write(bytes);
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
        let step = Step::new(frame, G::Input::WIDTH, row, is_resimulation);
        let mut output = Vec::new();
        let failed = |source| GameError::Step { frame, source };
        let outcome = game.step(&step).map_err(failed)?;
        game.output(&mut output).map_err(failed)?;
        Ok((outcome, output))
    }
}

fn diverged<E>(frame: Frame, depth: u32, what: Diverged, leaf: Option<String>) -> SyncTestError<E> {
    SyncTestError::Diverged(Divergence { frame, depth, what, leaf })
}

fn leaves_of<G: Game>(game: &G, slot: &G::Snapshot) -> Leaves {
    let mut leaves = Leaves::default();
    // A state that cannot be walked has its frame named all the same.
    if game.leaves(slot, &mut leaves).is_err() {
        leaves = Leaves::default();
    }
    leaves
}

/// The name of the first leaf that differs, or that only one of both has.
fn first_leaf(one: &Leaves, other: &Leaves) -> Option<String> {
    let longest = one.len().max(other.len());
    let digests = |leaves: &Leaves| leaves.digests().map(Some).collect::<Vec<_>>();
    let (ones, others) = (digests(one), digests(other));
    let differs = |index: &usize| {
        one.name(*index) != other.name(*index)
            || ones.get(*index).copied().flatten() != others.get(*index).copied().flatten()
    };
    let index = (0..longest).find(differs)?;
    one.name(index).or(other.name(index)).map(ToString::to_string)
}

/// The longest rollback that is forced: as long as the longest prediction window.
pub const SYNC_TEST_DEPTH_MAX: u32 = 128;

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use core::cell::Cell;
    use core::sync::atomic::{AtomicI32, Ordering};

    use super::*;

    /// What is wrong with a walker.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Flaw {
        None,
        /// Its speed is not in the snapshot.
        HiddenSpeed,
        /// It remembers what a frame looked like, outside the snapshot.
        Cache,
        /// It looks at its inputs only when a frame is stepped for the first time.
        FirstLook,
        /// It counts its steps outside any object, and stumbles over the count.
        Global,
        /// The number of its steps is hashed and saved, and not loaded.
        Statistics,
        /// A saved state is the live one under another name.
        SharedSlot,
        /// Hashing counts itself.
        HashOfHashes,
        /// Its output says how often it was stepped.
        Output,
        /// It ends at its hundredth step, however often it went back.
        End,
        /// It does something else when it is stepped again.
        Resimulation,
    }

    struct Walker {
        flaw: Flaw,
        x: Rc<Cell<i32>>,
        y: i32,
        speed: i32,
        steps: i32,
        cache: Vec<i32>,
        hashes: Cell<i32>,
    }

    #[derive(Default)]
    struct Slot {
        x: Rc<Cell<i32>>,
        y: i32,
        speed: i32,
        steps: i32,
    }

    static GLOBAL: AtomicI32 = AtomicI32::new(0);

    impl Walker {
        fn new(flaw: Flaw) -> Self {
            let (x, cache, hashes) = (Rc::default(), Vec::new(), Cell::new(0));
            Self { flaw, x, y: 0, speed: 1, steps: 0, cache, hashes }
        }
    }

    impl Game for Walker {
        type Input = i8;
        type Snapshot = Slot;
        type Error = &'static str;

        fn save(&self, slot: &mut Slot) -> Result<(), Self::Error> {
            let x = match self.flaw {
                Flaw::SharedSlot => self.x.clone(),
                _ => Rc::new(Cell::new(self.x.get())),
            };
            *slot = Slot { x, y: self.y, speed: self.speed, steps: self.steps };
            Ok(())
        }

        fn load(&mut self, slot: &Slot) -> Result<(), Self::Error> {
            self.x.set(slot.x.get());
            self.y = slot.y;
            if self.flaw != Flaw::HiddenSpeed {
                self.speed = slot.speed;
            }
            Ok(())
        }

        fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Self::Error> {
            let push: i32 = step.inputs().map(i32::from).sum();
            self.steps += 1;
            self.speed += push;
            let mut speed = self.speed;
            match self.flaw {
                Flaw::Cache => {
                    let frame = step.frame().index() as usize;
                    if self.cache.len() <= frame {
                        self.cache.resize(frame + 1, self.steps);
                    }
                    self.y += self.cache[frame];
                    self.cache[frame] = push;
                }
                Flaw::FirstLook => {
                    let frame = step.frame().index() as usize;
                    if !step.is_resimulation() {
                        self.cache.resize(self.cache.len().max(frame + 1), 0);
                        self.cache[frame] = push;
                    }
                    self.y += self.cache[frame];
                }
                Flaw::Global => speed += GLOBAL.fetch_add(1, Ordering::Relaxed) / 20,
                Flaw::Resimulation => speed += i32::from(step.is_resimulation()),
                _ => {}
            }
            self.x.set(self.x.get() + speed);
            let ends = self.flaw == Flaw::End && self.steps >= 100;
            Ok(if ends { Outcome::Ended } else { Outcome::Running })
        }

        fn hash(&self, slot: &Slot, hasher: &mut StateHasher) -> Result<(), Self::Error> {
            hasher.write_i32s(&[slot.x.get(), slot.y]);
            if self.flaw == Flaw::Statistics {
                hasher.write_i32(slot.steps);
            }
            if self.flaw == Flaw::HashOfHashes {
                self.hashes.set(self.hashes.get() + 1);
                hasher.write_i32(self.hashes.get());
            }
            Ok(())
        }

        fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Self::Error> {
            if self.flaw == Flaw::Output {
                output.extend_from_slice(&self.steps.to_le_bytes());
            }
            Ok(())
        }

        fn leaves(&self, slot: &Slot, leaves: &mut Leaves) -> Result<(), Self::Error> {
            leaves.push("x", slot.x.get().cast_unsigned());
            leaves.push("y", slot.y.cast_unsigned());
            if self.flaw == Flaw::Statistics {
                leaves.push("steps", slot.steps.cast_unsigned());
            }
            Ok(())
        }
    }

    fn inputs(frame: Frame, player: PlayerHandle) -> i8 {
        let mixed = frame.index().wrapping_mul(2_654_435_761) >> (8 + player.index());
        i8::try_from(mixed % 3).unwrap() - 1
    }

    fn check(flaw: Flaw) -> Result<SyncReport, SyncTestError<&'static str>> {
        SyncTest::new(2).frames(120).run(&mut Walker::new(flaw), inputs)
    }

    fn divergence(flaw: Flaw) -> Divergence {
        match check(flaw) {
            Err(SyncTestError::Diverged(divergence)) => divergence,
            other => panic!("{flaw:?}: {other:?}"),
        }
    }

    #[test]
    fn a_sound_game_passes_at_every_depth() {
        let report = check(Flaw::None).unwrap();
        // Depths 1 to 8 at each frame, of which the first seven reach back before the start.
        let rollbacks = 120 * 8 - (1..8).sum::<u64>();
        assert_eq!((report.frames, report.rollbacks, report.ended), (120, rollbacks, false));
    }

    #[test]
    fn state_outside_the_snapshot_is_found_with_its_frame_depth_and_leaf() {
        let found = divergence(Flaw::HiddenSpeed);
        assert_eq!((found.what, found.leaf.as_deref()), (Diverged::State, Some("x")));
        assert_eq!(found.depth, 1);
        // The first frame whose input changes the speed is the first that a rollback gets wrong.
        let pushes = |frame| PlayerHandle::all(2).map(|player| inputs(frame, player)).sum::<i8>();
        let first = Frame::ZERO.until(Frame::new(9)).find(|frame| pushes(*frame) != 0).unwrap();
        assert_eq!(found.frame, first.next());
    }

    #[test]
    fn a_cache_outside_the_snapshot_is_found() {
        assert_eq!(divergence(Flaw::Cache).leaf.as_deref(), Some("y"));
    }

    #[test]
    fn what_only_a_wrong_guess_spoils_is_found() {
        let found = divergence(Flaw::FirstLook);
        assert_eq!((found.what, found.leaf.as_deref()), (Diverged::State, Some("y")));
    }

    #[test]
    fn a_global_counter_is_found() {
        assert_eq!(divergence(Flaw::Global).what, Diverged::State);
    }

    #[test]
    fn a_hash_that_takes_in_more_than_is_loaded_is_found() {
        let found = divergence(Flaw::Statistics);
        assert_eq!((found.what, found.leaf.as_deref()), (Diverged::Load, Some("steps")));
        assert_eq!(divergence(Flaw::HashOfHashes).what, Diverged::Hash);
    }

    #[test]
    fn a_slot_that_shares_memory_with_the_game_is_found() {
        let found = divergence(Flaw::SharedSlot);
        assert_eq!((found.what, found.leaf.as_deref()), (Diverged::Slot, Some("x")));
        assert_eq!((found.frame, found.depth), (Frame::ZERO, 0));
    }

    #[test]
    fn another_output_or_end_is_found() {
        assert_eq!(divergence(Flaw::Output).what, Diverged::Output);
        assert_eq!(divergence(Flaw::End).what, Diverged::End);
        assert_eq!(divergence(Flaw::Resimulation).what, Diverged::State);
    }

    #[test]
    fn a_divergence_reads_as_a_sentence() {
        assert_eq!(
            check(Flaw::SharedSlot).unwrap_err().to_string(),
            "frame 0, rollback of 0 frames: a saved state changed after it was saved; the first \
             leaf that differs is x"
        );
    }

    #[test]
    fn a_real_input_that_cannot_be_stepped_is_an_error_and_a_guess_is_not() {
        /// Cannot step its own last input twice, and ends at frame 30.
        #[derive(Clone, Default)]
        struct Picky {
            last: Option<u8>,
            limit: Option<u32>,
        }
        impl Game for Picky {
            type Input = u8;
            type Snapshot = Self;
            type Error = &'static str;
            fn save(&self, slot: &mut Self) -> Result<(), Self::Error> {
                slot.clone_from(self);
                Ok(())
            }
            fn load(&mut self, slot: &Self) -> Result<(), Self::Error> {
                self.clone_from(slot);
                Ok(())
            }
            fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Self::Error> {
                let input = step.inputs().next();
                if self.last == input {
                    return Err("the same again");
                }
                self.last = input;
                let ends = Some(step.frame().index()) == self.limit;
                Ok(if ends { Outcome::Ended } else { Outcome::Running })
            }
            fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Self::Error> {
                hasher.write(&[slot.last.unwrap_or(255)]);
                Ok(())
            }
        }
        let alternate = |frame: Frame, _| u8::from(frame.is_multiple_of(2));
        let mut game = Picky { limit: Some(30), ..Picky::default() };
        let report = SyncTest::new(1).run(&mut game, alternate).unwrap();
        assert_eq!((report.frames, report.ended), (31, true));
        let error = SyncTest::new(1).run(&mut Picky::default(), |_, _| 1).unwrap_err();
        let (frame, source) = (Frame::new(1), "the same again");
        assert_eq!(error, SyncTestError::Game(GameError::Step { frame, source }));
    }
}
