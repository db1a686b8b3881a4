//! Hands over an agreed state: a member writes it out, and a returning peer takes it in place of the steps to it. Does not carry it.

use alloc::vec::Vec;

use super::episode::{Episode, Phase};
use super::{AdvanceError, EndCause, Event, Session};
use crate::journal::{Entry, Witness};
use crate::{Frame, Game, STATE_BYTES_MAX, StateHash, Timestamp};

/// A state on which all members agree, as [`Game::export`] wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgreedState {
    /// The frame whose row has the hash of this state: it is the one before that frame is stepped.
    pub frame: Frame,
    /// The state.
    pub bytes: Vec<u8>,
}

/// What is handed over here, by one that plays or to one that comes back.
#[derive(Debug)]
pub(super) struct Handover<S> {
    /// Whether the agreed state is to be written out.
    is_requested: bool,
    written: Option<AgreedState>,
    /// A state that was offered, with the hash that was recorded of it.
    offered: Option<(AgreedState, StateHash)>,
    /// The state to go on from: frames before it are passed over.
    taken: Option<Taken<S>>,
    /// Whether the last call to advance passed over frames.
    has_passed: bool,
    passed: u64,
    refused: u64,
}

#[derive(Debug)]
struct Taken<S> {
    frame: Frame,
    hash: StateHash,
    state: S,
}

impl<S> Default for Handover<S> {
    fn default() -> Self {
        Self {
            is_requested: false,
            written: None,
            offered: None,
            taken: None,
            has_passed: false,
            passed: 0,
            refused: 0,
        }
    }
}

impl<G: Game> Session<G> {
    /// Has the last state on which all agree written out at the next call to advance, for one that comes back. It is written
    /// once, however many it is given to; what that takes is [`Game::export`]'s to say.
    pub fn request_state(&mut self) {
        self.note(&Entry::RequestState);
        self.episode.handover.get_or_insert_default().is_requested = true;
    }

    /// The state that was requested before the last call to advance. There is none until the members have agreed on one
    /// after the first, while they settle a desync, and where the game writes no states, or longer ones than
    /// [`STATE_BYTES_MAX`].
    pub fn take_requested_state(&mut self) -> Option<AgreedState> {
        self.episode.handover.as_mut()?.written.take()
    }

    /// Offers a peer that comes back a state in place of the steps to it, with the hash that was recorded of it: the
    /// [`state_hash`](crate::StableFrame::state_hash) of the row of its frame. All rows are to be given all the same, with
    /// their outputs. The next call to advance says with [`Event::StateTaken`] or [`Event::StateRefused`] what came of it; where it
    /// is refused, frames are stepped as before.
    ///
    /// Answers whether it is looked at: not when its frame is stepped already, when another one is being taken, when rows
    /// came without their outputs, or when the members are letting this peer in.
    pub fn offer_state(&mut self, state: AgreedState, recorded: StateHash) -> bool {
        if self.journal.is_some() {
            let (frame, bytes) = (state.frame, state.bytes.as_slice());
            self.note(&Entry::OfferState { frame, recorded, bytes });
        }
        self.episode.offer_state(state, recorded)
    }
}

impl<G: Game> Episode<G> {
    /// Writes out the last agreed state, where that was requested.
    #[inline]
    pub(super) fn write_requested(&mut self, game: &mut Witness<'_, G>) {
        if self.handover.as_ref().is_some_and(|handover| handover.is_requested) {
            self.write_state(game);
        }
    }

    #[inline(never)]
    fn write_state(&mut self, game: &mut Witness<'_, G>) {
        let written = self.agreed_state(game);
        if let Some(handover) = &mut self.handover {
            (handover.is_requested, handover.written) = (false, written);
        }
    }

    fn agreed_state(&self, game: &mut Witness<'_, G>) -> Option<AgreedState> {
        let frame = self.rollback.agreed_report()?;
        let is_settled = self.phase == Phase::Playing && !self.is_catching_up();
        let goes_on = self.rollback.ended_at() != Some(frame);
        if !is_settled || !goes_on || frame == Frame::ZERO || frame > self.ledger.agreed {
            return None;
        }
        let bytes = self.rollback.export_reported(game, frame)?;
        (bytes.len() <= STATE_BYTES_MAX).then_some(AgreedState { frame, bytes })
    }

    fn offer_state(&mut self, state: AgreedState, recorded: StateHash) -> bool {
        let given = self.links.caught_up_to.filter(|_| self.phase == Phase::CatchingUp);
        let Some(given) = given else { return false };
        let is_busy = self.handover.as_ref().is_some_and(|it| it.is_busy());
        let is_let_in = self.links.begins_at.is_some() || self.links.membership.is_proposing();
        let is_ahead = state.frame > self.rollback.current();
        if is_busy || is_let_in || !is_ahead || self.rollback.recorded_up_to() < given {
            return false;
        }
        self.handover.get_or_insert_default().offered = Some((state, recorded));
        self.links.is_passing = true;
        true
    }

    /// Passes over the frames before a state to go on from, as far as they were given, and goes on from it when all were.
    #[inline(never)]
    pub(super) fn pass_over(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<(), AdvanceError<G::Error>> {
        self.look_at_offer(game);
        self.look_at_keyframe(now, game)?;
        let Some(handover) = &mut self.handover else { return Ok(()) };
        handover.has_passed = false;
        let Some(taken) = handover.taken.take() else { return Ok(()) };
        // What was stepped so far is reported first.
        self.settle(now, game).map_err(|error| self.fail(now, error))?;
        let given = self.links.caught_up_to.unwrap_or_default();
        let passed = self.pass_up_to(taken.frame.min(given));
        let is_there = self.rollback.current() == taken.frame && given > taken.frame;
        if is_there && self.recorded_hash(taken.frame) == Some(taken.hash) {
            let gone_on = self.rollback.go_on_from(game, &taken.state);
            gone_on.map_err(|error| self.fail(now, error))?;
        } else if is_there {
            self.differs_at.get_or_insert(taken.frame);
        }
        self.links.is_passing = !is_there;
        if let Some(handover) = &mut self.handover {
            handover.has_passed = passed > 0;
            handover.passed += passed;
            handover.taken = Some(taken).filter(|_| !is_there);
        }
        Ok(())
    }

    /// Makes a state of what was offered.
    fn look_at_offer(&mut self, game: &mut Witness<'_, G>) {
        let Some(handover) = &mut self.handover else { return };
        let Some((AgreedState { frame, bytes }, hash)) = handover.offered.take() else { return };
        let event = match self.rollback.read_state(game, (frame, hash), &bytes) {
            Some(state) => {
                handover.taken = Some(Taken { frame, hash, state });
                Event::StateTaken { frame }
            }
            None => {
                self.links.is_passing = false;
                handover.refused += 1;
                Event::StateRefused { frame }
            }
        };
        self.links.events.push(event);
    }

    /// Makes a state of one that all took over, where the frames before it were not stepped yet.
    fn look_at_keyframe(
        &mut self,
        now: Timestamp,
        game: &mut Witness<'_, G>,
    ) -> Result<(), AdvanceError<G::Error>> {
        let is_taking = self.handover.as_ref().is_some_and(|handover| handover.taken.is_some());
        let keyframe = self.ledger.keyframe_from(self.rollback.current());
        let Some(keyframe) = keyframe.filter(|_| !is_taking) else { return Ok(()) };
        let (frame, hash) = (keyframe.frame, keyframe.hash);
        match self.rollback.read_state(game, (frame, hash), &keyframe.state) {
            Some(state) => {
                let taken = Taken { frame, hash, state };
                self.handover.get_or_insert_default().taken = Some(taken);
                Ok(())
            }
            None => {
                self.finish(now, frame, EndCause::Incompatible, None);
                Err(AdvanceError::Unreadable { frame })
            }
        }
    }

    /// Passes over frames whose outputs were given. Answers how many they were.
    fn pass_up_to(&mut self, end: Frame) -> u64 {
        let mut passed = 0;
        while self.rollback.current() < end.min(self.rollback.recorded_up_to()) {
            let frame = self.rollback.current();
            if frame == self.links.reports.next_frame() && !self.report_recorded(frame) {
                self.differs_at.get_or_insert(frame);
                return passed;
            }
            self.rollback.pass(&mut self.links.queue);
            passed += 1;
        }
        passed
    }

    /// Reports a state as it was recorded.
    fn report_recorded(&mut self, frame: Frame) -> bool {
        self.ledger.note_confirmed(&self.links, frame);
        let Some(hash) = self.recorded_hash(frame) else { return false };
        if self.ledger.noted < frame {
            return false;
        }
        self.note_report(frame, hash);
        true
    }

    fn recorded_hash(&self, frame: Frame) -> Option<StateHash> {
        self.recorded.iter().find(|(at, _)| *at == frame).map(|(_, hash)| *hash)
    }

    /// Whether the last call passed over frames, so that more can be given at once.
    pub(super) fn has_passed(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| handover.has_passed)
    }

    /// How many frames were passed over, and how many states refused.
    pub(super) fn handover_counts(&self) -> (u64, u64) {
        self.handover.as_ref().map_or((0, 0), |handover| (handover.passed, handover.refused))
    }
}

impl<S> Handover<S> {
    fn is_busy(&self) -> bool {
        self.offered.is_some() || self.taken.is_some()
    }
}
