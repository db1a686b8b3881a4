//! Plays a journal again: makes the same calls into a new session, whose game gives the answers that were written down.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::marker::PhantomData;

use thiserror::Error;

use super::entry::Entry;
use super::header::Header;
use super::{digest_of_advance, digest_of_output, digest_of_step};
use crate::bytes::{ByteReader, EndOfBytes};
use crate::{
    AgreedState, Costs, Frame, Game, Input, InputHistory, Leaves, Outcome, PlayerHandle, Predictor,
    Same, Session, StableFrame, StateHash, StateHasher, Step, Timestamp,
};

/// A journal that is played again, call by call. `I` is the input of the game; the game itself is not needed.
pub struct JournalReplay<'a, I: Input> {
    session: Session<Answered<'a, I>>,
    game: Answered<'a, I>,
    reader: ByteReader<'a>,
    now: Timestamp,
    calls: u64,
    is_cut: bool,
}

/// A call into the session that was played again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Its number, from 0.
    pub number: u64,
    /// The moment of the last call that was told one.
    pub now: Timestamp,
    /// The door it came through, by the name of the session's function.
    pub name: &'static str,
}

impl<'a, I: Input> JournalReplay<'a, I> {
    /// A session as it was made, before its first call.
    ///
    /// # Errors
    /// When the bytes do not begin a journal, or it is one of a game with other inputs.
    pub fn new(journal: &'a [u8]) -> Result<Self, JournalError> {
        let mut reader = ByteReader::new(journal);
        let Header { config, ticket, facts, start, now } = Header::decode(&mut reader)?;
        if I::WIDTH != config.input_width() {
            return Err(JournalError::InputWidth { expected: config.input_width(), got: I::WIDTH });
        }
        let game = Answered::new(start);
        let session = Session::new(&config, &ticket, facts, &game, now);
        let session = session.map_err(|_| JournalError::Malformed)?;
        game.is_starting.set(false);
        Ok(Self { session, game, reader, now, calls: 0, is_cut: false })
    }

    /// The session as it is after the last call.
    #[must_use]
    pub fn session(&self) -> &Session<Answered<'a, I>> {
        &self.session
    }

    /// Whether the journal ends within an entry, as when its writer was stopped. What is before that was played.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Plays the next call; `None` at the end.
    ///
    /// # Errors
    /// When the session does something else than it did when the journal was written: where the journal is of another
    /// engine, that is the first effect of what was changed.
    pub fn next_call(&mut self) -> Result<Option<Call>, JournalError> {
        if self.reader.remaining() == 0 {
            return Ok(None);
        }
        let (entry, advanced) = match self.read_call() {
            Err(JournalError::End(_)) => {
                self.is_cut = true;
                self.reader = ByteReader::new(&[]);
                return Ok(None);
            }
            read => read?,
        };
        let number = self.calls;
        self.calls += 1;
        let name = entry.door();
        let differs = |frame, what| JournalError::Differs { call: number, name, frame, what };
        let is_same = self.play(entry, advanced);
        let frame = self.session.current_frame();
        if !self.game.is_as_asked() {
            return Err(differs(frame, Difference::Asked));
        }
        if !is_same {
            return Err(differs(frame, Difference::Answered));
        }
        Ok(Some(Call { number, now: self.now, name }))
    }

    /// Plays all calls, and answers how many there are.
    ///
    /// # Errors
    /// As [`next_call`](Self::next_call).
    pub fn run(&mut self) -> Result<u64, JournalError> {
        while self.next_call()?.is_some() {}
        Ok(self.calls)
    }

    /// Reads a call and, of a call to advance, what was answered meanwhile.
    fn read_call(&mut self) -> Result<(Entry<'a>, Option<u32>), JournalError> {
        let entry = Entry::decode(&mut self.reader, &mut self.now)?;
        if !matches!(entry, Entry::Advance { .. }) {
            return Ok((entry, None));
        }
        let (mut answers, mut guesses) = (VecDeque::new(), VecDeque::new());
        loop {
            match Entry::decode(&mut self.reader, &mut self.now)? {
                Entry::Advanced { digest } => {
                    self.game.answers.replace(answers);
                    self.session.replace_predictor(Box::new(Guesses(guesses)));
                    return Ok((entry, Some(digest)));
                }
                Entry::Guess(guess) => guesses.push_back(guess.to_vec()),
                answer => answers.push_back(answer),
            }
        }
    }

    /// Makes a call. Answers whether the session did what it did before.
    fn play(&mut self, entry: Entry<'a>, advanced: Option<u32>) -> bool {
        let session = &mut self.session;
        match entry {
            Entry::Input { player, flags, input } => {
                _ = session.set_local_input_bytes(player, input, flags);
            }
            Entry::Hint { player, frame, input } => {
                _ = session.hint_input_bytes(player, frame, input);
            }
            Entry::Datagram { now, from, bytes } => session.handle_datagram(now, from, bytes),
            Entry::Timeout { now } => session.handle_timeout(now),
            Entry::Advance { now } => {
                let advance = session.advance_frame(now, &mut self.game);
                return advanced == Some(digest_of_advance(&advance));
            }
            Entry::Poll { now, digest } => {
                let output = session.poll_output(now);
                return output.is_some_and(|output| digest_of_output(&output) == digest);
            }
            Entry::RunAhead(frames) => session.set_run_ahead(frames),
            Entry::InterruptedAfter { micros } => session.set_interrupted_after(micros),
            Entry::StepBudget(frames) => session.set_step_budget(frames),
            Entry::InputDelay { player, frames } => _ = session.set_input_delay(player, frames),
            Entry::AutomaticInputDelay(limits) => session.set_automatic_input_delay(limits),
            Entry::ProposeInputDelay(frames) => _ = session.propose_input_delay(frames),
            Entry::Actor { player, actor } => _ = session.set_actor(player, actor),
            Entry::ProposeEnd(code) => _ = session.propose_end(code),
            Entry::Leave => _ = session.leave(),
            Entry::Pause => _ = session.pause(),
            Entry::Resume => _ = session.resume(),
            Entry::Resync => _ = session.resync(),
            Entry::EndDisputed => _ = session.end_disputed(),
            Entry::Readmit { peer, incarnation } => _ = session.readmit(peer, incarnation),
            Entry::Rejoin => session.begin_rejoining(),
            // What was refused is refused again.
            Entry::Backfill {
                has_output,
                frame,
                inputs,
                flags,
                items,
                output,
                state_hash,
                keyframe,
            } => {
                let items = &items;
                let row = StableFrame { frame, inputs, flags, items, output, state_hash, keyframe };
                _ = session.backfill(&row, has_output);
            }
            Entry::RequestState => session.request_state(),
            Entry::OfferState { frame, recorded, bytes } => {
                let state = AgreedState { frame, bytes: bytes.to_vec() };
                _ = session.offer_state(state, recorded);
            }
            Entry::Kick { peer } => _ = session.kick(peer),
            Entry::ReserveSlot { peer } => _ = session.reserve_slot(peer),
            // An answer without its call.
            _ => return false,
        }
        true
    }
}

impl<I: Input> fmt::Debug for JournalReplay<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalReplay")
            .field("calls", &self.calls)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// A game that answers what a journal says was answered.
pub struct Answered<'a, I> {
    answers: RefCell<VecDeque<Entry<'a>>>,
    start: StateHash,
    costs: Cell<Costs>,
    is_starting: Cell<bool>,
    is_other: Cell<bool>,
    input: PhantomData<fn() -> I>,
}

impl<'a, I> Answered<'a, I> {
    fn new(start: StateHash) -> Self {
        Self {
            answers: RefCell::default(),
            start,
            costs: Cell::default(),
            is_starting: Cell::new(true),
            is_other: Cell::new(false),
            input: PhantomData,
        }
    }

    /// The next answer, as what `read` makes of it.
    fn answer<T>(&self, read: impl FnOnce(Entry<'a>) -> Option<T>) -> Option<T> {
        self.take_costs();
        let answer = self.answers.borrow_mut().pop_front().and_then(read);
        self.is_other.set(self.is_other.get() || answer.is_none());
        answer
    }

    /// Costs are written where they change.
    fn take_costs(&self) {
        let mut answers = self.answers.borrow_mut();
        while let Some(Entry::Costs(costs)) = answers.front() {
            self.costs.set(*costs);
            answers.pop_front();
        }
    }

    /// Whether the last call asked for all that was answered, and for nothing else.
    fn is_as_asked(&self) -> bool {
        self.take_costs();
        self.answers.borrow().is_empty() && !self.is_other.get()
    }
}

impl<I> fmt::Debug for Answered<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("answers", &self.answers).finish_non_exhaustive()
    }
}

/// The game failed, as the journal says; or it was asked for something else than it answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the game failed when the journal was written")]
pub struct Failed;

/// The next answer, where it is of this kind.
macro_rules! answer {
    ($game:ident, $kind:pat $(if $guard:expr)? => $value:expr) => {
        $game.answer(|answer| match answer {
            $kind $(if $guard)? => Some($value),
            _ => None,
        })
    };
}

impl<I: Input> Game for Answered<'_, I> {
    type Input = I;
    type Snapshot = ();
    type Error = Failed;

    fn save(&self, (): &mut ()) -> Result<(), Failed> {
        match self.is_starting.get() {
            true => Ok(()),
            false => done(answer!(self, Entry::Saved(is_done) => is_done)),
        }
    }

    fn load(&mut self, (): &()) -> Result<(), Failed> {
        done(answer!(self, Entry::Loaded(is_done) => is_done))
    }

    fn step(&mut self, step: &Step<'_, I>) -> Result<Outcome, Failed> {
        let digest = digest_of_step(step);
        // Other inputs than then are as wrong as another call.
        let stepped = answer!(self, Entry::Stepped { row, outcome } if row == digest => outcome);
        stepped.flatten().ok_or(Failed)
    }

    fn hash(&self, (): &(), hasher: &mut StateHasher) -> Result<(), Failed> {
        let hash = match self.is_starting.get() {
            true => Some(self.start),
            false => answer!(self, Entry::Hashed(hash) => hash).flatten(),
        };
        hasher.replace(hash.ok_or(Failed)?);
        Ok(())
    }

    fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Failed> {
        let given = answer!(self, Entry::Output(given) => given);
        output.extend_from_slice(given.flatten().ok_or(Failed)?);
        Ok(())
    }

    fn leaves(&self, (): &(), leaves: &mut Leaves) -> Result<(), Failed> {
        loop {
            let answer = self.answer(|answer| match answer {
                Entry::Leaf { name, digest } => Some(Ok((name, digest))),
                Entry::Leaves(is_done) => Some(Err(is_done)),
                _ => None,
            });
            match answer.ok_or(Failed)? {
                Ok((name, digest)) => {
                    leaves.push(core::str::from_utf8(name).unwrap_or_default(), digest);
                }
                Err(is_done) => return done(Some(is_done)),
            }
        }
    }

    fn import(&self, _: &[u8], (): &mut ()) -> Result<bool, Failed> {
        match self.is_starting.get() {
            true => Ok(true),
            false => answer!(self, Entry::Imported(is_read) => is_read).ok_or(Failed),
        }
    }

    fn export(&self, (): &(), bytes: &mut Vec<u8>) -> Result<bool, Failed> {
        if self.is_starting.get() {
            return Ok(true);
        }
        let state = answer!(self, Entry::Exported(state) => state).ok_or(Failed)?;
        bytes.extend_from_slice(state.unwrap_or_default());
        Ok(state.is_some())
    }

    fn costs(&self) -> Costs {
        self.take_costs();
        self.costs.get()
    }

    fn same(&self, (): &(), (): &()) -> Same {
        answer!(self, Entry::Same(same) => same).unwrap_or(Same::Unknown)
    }
}

fn done(is_done: Option<bool>) -> Result<(), Failed> {
    is_done.filter(|is_done| *is_done).map(drop).ok_or(Failed)
}

/// Guesses what was guessed.
struct Guesses(VecDeque<Vec<u8>>);

impl Predictor for Guesses {
    fn predict(&mut self, _: PlayerHandle, _: Frame, _: &InputHistory<'_>, guess: &mut [u8]) {
        // Other guesses than then show in what is stepped.
        if let Some(then) = self.0.pop_front().filter(|then| then.len() == guess.len()) {
            guess.copy_from_slice(&then);
        }
    }
}

/// Why a journal cannot be played again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The bytes do not begin as a journal of this version does.
    #[error("these bytes are no journal of this version")]
    NoJournal,
    /// A field cannot be what it is.
    #[error("the journal is damaged")]
    Malformed,
    /// The journal ends before its first call.
    #[error(transparent)]
    End(#[from] EndOfBytes),
    /// The inputs of the game given have another width than those in the journal.
    #[error("expected inputs of {expected} bytes, got {got}")]
    InputWidth {
        /// In the journal.
        expected: usize,
        /// Of the game given.
        got: usize,
    },
    /// The session does something else than when the journal was written.
    #[error("call {call}, {name}, at frame {frame}: {what}")]
    Differs {
        /// The number of the call, from 0.
        call: u64,
        /// The session's function that was called.
        name: &'static str,
        /// The frame that the session stands at after it.
        frame: Frame,
        /// What differs.
        what: Difference,
    },
}

/// How a session differs from its journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Difference {
    /// It asks the game or the predictor for something else, or steps other inputs.
    #[error("the game is asked for something else than then")]
    Asked,
    /// It answers something else, or has something else to send or to tell.
    #[error("the session answers something else than then")]
    Answered,
}
