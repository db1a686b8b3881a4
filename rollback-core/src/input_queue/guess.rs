//! Guesses the inputs that are not held, and tells whether a guess stands.

use alloc::vec::Vec;
use core::fmt;

use super::{InputQueue, copy};
use crate::game::StepRow;
use crate::{Frame, InputFlags, InputStatus, PlayerHandle, Predictor};

/// How often inputs were guessed, and how often wrongly. A guess counts when its input arrives, as it was when the frame
/// was last stepped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GuessCounters {
    /// Inputs that arrived after their frame was stepped with a guess.
    pub guesses: u64,
    /// Those that were not what was guessed.
    pub mispredictions: u64,
}

impl InputQueue {
    /// The inputs to step `frame` with, guessed where they are not held. What is guessed is remembered.
    pub(crate) fn gather(&mut self, frame: Frame, predictor: &mut dyn Predictor) -> StepRow<'_> {
        if frame < self.confirmed_end {
            return self.confirmed_row(frame);
        }
        self.guessed = self.guessed.max(frame.next());
        self.gather_ahead(frame, predictor)
    }

    /// The same for a frame that is stepped only to be shown: what is guessed for it is not held against the guesses.
    pub(crate) fn gather_ahead(
        &mut self,
        frame: Frame,
        predictor: &mut dyn Predictor,
    ) -> StepRow<'_> {
        self.start_row(frame);
        self.used.copy_row(&self.given, frame);
        for index in 0..self.streams.len() {
            if self.streams.get(index).is_some_and(|stream| !stream.is_known(frame)) {
                self.guess_players(index, frame, predictor);
            }
        }
        let (inputs, flags) = self.used.row(frame);
        StepRow { inputs, flags, statuses: &self.statuses }
    }

    /// The first frame from `first` on from which every input up to `end` is what was used: given so, or guessed so
    /// again. All these frames were stepped with guesses, or are held as they were used.
    pub(crate) fn unchanged_from(
        &mut self,
        first: Frame,
        end: Frame,
        predictor: &mut dyn Predictor,
    ) -> Frame {
        let mut from = end;
        while from > first && self.is_unchanged(from.minus(1), predictor) {
            from = from.minus(1);
        }
        from
    }

    fn is_unchanged(&mut self, frame: Frame, predictor: &mut dyn Predictor) -> bool {
        self.start_row(frame);
        (0..self.players).all(|slot| {
            let player = u8::try_from(slot).ok().and_then(PlayerHandle::new);
            let Some(player) = player else { return false };
            if self.is_held(player, frame) {
                return self.is_as_used(player, frame);
            }
            let (guess, flags) = self.guess(player, frame, predictor);
            let is_same = self.means_what_was_used(player, frame, (&guess, flags));
            self.guess = guess;
            is_same
        })
    }

    /// Whether a player's input of `frame` was given or is filled in.
    fn is_held(&self, player: PlayerHandle, frame: Frame) -> bool {
        let host = self.hosts.get(player.index());
        let stream = host.and_then(|host| self.stream(*host));
        stream.is_some_and(|stream| stream.is_known(frame))
    }

    /// Guesses the inputs of all players of the peer with this index.
    fn guess_players(&mut self, index: usize, frame: Frame, predictor: &mut dyn Predictor) {
        for place in 0.. {
            let players = self.streams.get(index).map(|stream| stream.players.as_slice());
            let Some(player) = players.and_then(|players| players.get(place)).copied() else {
                return;
            };
            let (guess, flags) = self.guess(player, frame, predictor);
            self.used.set_cell(player, frame, &guess, flags);
            if let Some(status) = self.statuses.get_mut(player.index()) {
                *status = InputStatus::Predicted;
                self.is_all_given = false;
            }
            self.guess = guess;
        }
    }

    /// A guess, in the scratch that [`guess`](Self::guess) takes and the caller puts back.
    fn guess(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        predictor: &mut dyn Predictor,
    ) -> (Vec<u8>, InputFlags) {
        let mut guess = core::mem::take(&mut self.guess);
        copy(&mut guess, &self.idle);
        let history = InputHistory { queue: self };
        match self.hint(player, frame) {
            Some(hint) => copy(&mut guess, hint),
            None => predictor.predict(player, frame, &history, &mut guess),
        }
        let last = history.last_frame_before(player, frame);
        (guess, last.map_or(InputFlags::NONE, |last| self.given_flags(player, last)))
    }
}

/// What a [`Predictor`] may look at: the inputs that are held.
pub struct InputHistory<'a> {
    queue: &'a InputQueue,
}

impl InputHistory<'_> {
    /// The first frame whose inputs are kept.
    #[must_use]
    pub fn first(&self) -> Frame {
        self.queue.floor
    }

    /// The input that `player` gave for `frame`, when it is held.
    #[must_use]
    pub fn at(&self, player: PlayerHandle, frame: Frame) -> Option<&[u8]> {
        let host = *self.queue.hosts.get(player.index())?;
        let kept = frame >= self.queue.floor && self.queue.has(host, frame);
        kept.then(|| self.queue.given(player, frame))
    }

    /// The last input of `player` before `frame` that is held, and its frame.
    #[must_use]
    pub fn last_before(&self, player: PlayerHandle, frame: Frame) -> Option<(Frame, &[u8])> {
        let last = self.last_frame_before(player, frame)?;
        Some((last, self.queue.given(player, last)))
    }

    fn last_frame_before(&self, player: PlayerHandle, frame: Frame) -> Option<Frame> {
        let host = *self.queue.hosts.get(player.index())?;
        let stream = self.queue.stream(host)?;
        let mut last = stream.newest.min(frame);
        while last > self.queue.floor {
            last = last.minus(1);
            if stream.has(last) {
                return Some(last);
            }
        }
        // The row before the floor stays in the ring.
        (last > Frame::ZERO).then(|| last.minus(1))
    }
}

impl fmt::Debug for InputHistory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputHistory").field("floor", &self.queue.floor).finish_non_exhaustive()
    }
}
