//! A game under observation: every call the engine makes to it is checked, every state it reaches is hashed.

use alloc::vec::Vec;
use core::ops::Range;

use super::oracle::{Oracle, Violation};
use crate::{Costs, Frame, Game, Leaves, Outcome, Same, StateHash, StateHasher, Step};

/// The game, and what has been seen of it.
pub(crate) struct Observed<G: Game> {
    game: G,
    /// The frame whose state the game holds; unknown after a failed step.
    at: Option<Frame>,
    scratch: Saved<G::Snapshot>,
    /// The hash of the state of each frame, as it was last reached.
    states: Vec<Option<StateHash>>,
    /// The inputs of each frame that was stepped without a guess.
    finals: Vec<Option<Vec<u8>>>,
    /// The first frame that was not new to the game yet.
    next_new: Frame,
    /// Frames that another stepped in its place.
    skipped: Vec<Range<Frame>>,
    pub(crate) steps: u64,
    pub(crate) failed_guesses: u64,
    /// The frame that could not be stepped, or the state not saved, without any guess in it.
    pub(crate) failed: Option<Frame>,
    violation: Option<Violation>,
}

/// A saved state that knows its frame.
#[derive(Default)]
pub(crate) struct Saved<S> {
    at: Option<Frame>,
    state: S,
    /// It came from another peer.
    is_imported: bool,
}

impl<G: Game> Observed<G> {
    pub(crate) fn new(game: G) -> Self {
        Self {
            game,
            at: Some(Frame::ZERO),
            scratch: Saved::default(),
            states: Vec::new(),
            finals: Vec::new(),
            next_new: Frame::ZERO,
            skipped: Vec::new(),
            steps: 0,
            failed_guesses: 0,
            failed: None,
            violation: None,
        }
    }

    /// The hash of the state of `frame`, as it was last reached.
    pub(crate) fn state(&self, frame: Frame) -> Option<StateHash> {
        self.states.get(frame.index() as usize).copied().flatten()
    }

    /// Whether the game reads this state.
    pub(crate) fn reads(&self, state: &[u8]) -> bool {
        self.import(state, &mut Saved::default()).unwrap_or(false)
    }

    /// These frames are passed over.
    pub(crate) fn skip(&mut self, frames: Range<Frame>) {
        self.skipped.push(frames);
    }

    /// Whether another stepped this frame in its place.
    pub(crate) fn has_skipped(&self, frame: Frame) -> bool {
        self.skipped.iter().any(|skipped| skipped.contains(&frame))
    }

    /// The frame whose state the game holds.
    pub(crate) fn at(&self) -> Option<Frame> {
        self.at
    }

    /// What was final must be recorded so.
    pub(crate) fn check_recorded(&self, frame: Frame, row: &[u8]) -> Result<(), Violation> {
        let known = self.finals.get(frame.index() as usize).and_then(Option::as_ref);
        if known.is_some_and(|known| known != row) {
            let detail = alloc::format!("final with {known:?}, recorded with {row:?}");
            return Err(Violation::at(Oracle::Newness, frame, detail));
        }
        Ok(())
    }

    /// Flips a bit of the live state, as a fault of the memory would. Answers whether it could.
    pub(crate) fn flip(&mut self, bit: u32) -> bool {
        let mut bytes = Vec::new();
        let scratch = &mut self.scratch.state;
        let is_written = self.game.save(scratch).is_ok()
            && self.game.export(scratch, &mut bytes).unwrap_or(false);
        let place = bit as usize % (bytes.len() * 8).max(1);
        let (true, Some(byte)) = (is_written, bytes.get_mut(place / 8)) else { return false };
        *byte ^= 1 << (place % 8);
        self.game.import(&bytes, scratch).unwrap_or(false) && self.game.load(scratch).is_ok()
    }

    /// What the engine did to the game that it must not do, once.
    pub(crate) fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    fn check_step(&mut self, step: &Step<'_, G::Input>) {
        let frame = step.frame();
        if self.at != Some(frame) {
            let detail = alloc::format!("stepped on the state of {:?}", self.at);
            self.violate(Oracle::Stepping, frame, detail);
        }
        let (is_again, next) = (step.is_resimulation(), self.next_new);
        if is_again && frame >= next || !is_again && frame != next {
            let detail = alloc::format!("again: {is_again}, but {next} is the next new one");
            self.violate(Oracle::Newness, frame, detail);
        }
        match slot(&mut self.finals, frame) {
            Some(Some(_)) if !step.is_final() && !step.is_ahead() => {
                self.violate(Oracle::Newness, frame, "final, then stepped with guesses".into());
            }
            Some(Some(known)) if known != step.row() => {
                let detail =
                    alloc::format!("final with {known:?}, then stepped with {:?}", step.row());
                self.violate(Oracle::Retraction, frame, detail);
            }
            Some(known @ None) if step.is_final() => *known = Some(step.row().to_vec()),
            _ => {}
        }
    }

    fn note_state(&mut self, frame: Frame) -> Result<(), G::Error> {
        self.game.save(&mut self.scratch.state)?;
        let mut hasher = StateHasher::new();
        self.game.hash(&self.scratch.state, &mut hasher)?;
        if let Some(state) = slot(&mut self.states, frame) {
            *state = Some(hasher.finish());
        }
        Ok(())
    }

    fn violate(&mut self, oracle: Oracle, frame: Frame, detail: alloc::string::String) {
        self.violation.get_or_insert(Violation { oracle, frame: Some(frame), detail });
    }
}

impl<G: Game> Game for Observed<G> {
    type Input = G::Input;
    type Snapshot = Saved<G::Snapshot>;
    type Error = G::Error;

    fn save(&self, slot: &mut Self::Snapshot) -> Result<(), G::Error> {
        (slot.at, slot.is_imported) = (self.at, false);
        self.game.save(&mut slot.state)
    }

    fn load(&mut self, slot: &Self::Snapshot) -> Result<(), G::Error> {
        if slot.at.is_none() {
            self.violate(Oracle::Stepping, Frame::ZERO, "loaded an unknown state".into());
        }
        self.at = slot.at;
        self.game.load(&slot.state)?;
        if let (true, Some(frame)) = (slot.is_imported, slot.at) {
            // What another stepped up to there is not stepped here.
            self.next_new = self.next_new.max(frame);
            self.note_state(frame)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, G::Input>) -> Result<Outcome, G::Error> {
        self.check_step(step);
        self.steps += 1;
        self.at = None;
        let stepped = self.game.step(step);
        if stepped.is_err() {
            if step.is_final() {
                self.failed.get_or_insert(step.frame());
            } else {
                self.failed_guesses += 1;
            }
        }
        let outcome = stepped?;
        let next = step.frame().next();
        self.next_new = self.next_new.max(next);
        self.at = Some(next);
        // A state that cannot be saved is unknown here; what the engine makes of it shows when it saves it itself.
        if self.note_state(next).is_err() {
            if step.is_final() {
                self.failed.get_or_insert(next);
            } else {
                self.failed_guesses += 1;
            }
            if let Some(state) = slot(&mut self.states, next) {
                *state = None;
            }
        }
        Ok(outcome)
    }

    fn hash(&self, slot: &Self::Snapshot, hasher: &mut StateHasher) -> Result<(), G::Error> {
        self.game.hash(&slot.state, hasher)
    }

    fn output(&mut self, output: &mut Vec<u8>) -> Result<(), G::Error> {
        self.game.output(output)
    }

    fn leaves(&self, slot: &Self::Snapshot, leaves: &mut Leaves) -> Result<(), G::Error> {
        self.game.leaves(&slot.state, leaves)
    }

    fn export(&self, slot: &Self::Snapshot, bytes: &mut Vec<u8>) -> Result<bool, G::Error> {
        // The frame goes along, so that the state is known where it is taken over.
        let is_written = self.game.export(&slot.state, bytes)?;
        let at = slot.at.filter(|_| is_written).map(|at| at.index().to_le_bytes());
        bytes.extend(at.iter().flatten());
        Ok(is_written && at.is_some())
    }

    fn import(&self, bytes: &[u8], slot: &mut Self::Snapshot) -> Result<bool, G::Error> {
        let Some((state, at)) = bytes.split_last_chunk() else { return Ok(false) };
        (slot.at, slot.is_imported) = (Some(Frame::new(u32::from_le_bytes(*at))), true);
        self.game.import(state, &mut slot.state)
    }

    fn costs(&self) -> Costs {
        self.game.costs()
    }

    fn same(&self, one: &Self::Snapshot, other: &Self::Snapshot) -> Same {
        self.game.same(&one.state, &other.state)
    }
}

/// The entry of `frame`, made when it is not there.
fn slot<T>(entries: &mut Vec<Option<T>>, frame: Frame) -> Option<&mut Option<T>> {
    let index = frame.index() as usize;
    if entries.len() <= index {
        entries.resize_with(index + 1, || None);
    }
    entries.get_mut(index)
}
