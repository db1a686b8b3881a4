//! Guesses the inputs that are not held, and tells whether a guess stands.

use alloc::vec::Vec;
use core::fmt;

use super::rows::Rows;
use super::stream::Stream;
use super::{InputQueue, copy};
use crate::game::StepRow;
use crate::{Frame, InputFlags, PlayerHandle, Predictor};

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
        if frame >= self.first_closed {
            self.fill_closed(frame);
        }
        self.is_all_given = false;
        let repeats = predictor.repeats_last() && self.hints.is_none();
        let to = self.used.place(frame);
        for (player, host) in PlayerHandle::all(self.players).zip(&self.hosts) {
            let Some(stream) = self.streams.get(host.index()) else { continue };
            let (from, status) = stream.best_for(frame, self.floor);
            match from {
                Some(from) => self.used.take(player, to, (&self.given, self.given.place(from))),
                None => self.used.set_cell(player, frame, &self.idle, InputFlags::NONE),
            }
            if let Some(slot) = self.statuses.get_mut(player.index()) {
                *slot = status;
            }
        }
        if !repeats {
            self.ask_for_missing(frame, predictor);
        }
        let (inputs, flags) = self.used.row(frame);
        StepRow { inputs, flags, statuses: &self.statuses }
    }

    /// Uses what the predictor guesses for those whose inputs are not held.
    #[inline(never)]
    fn ask_for_missing(&mut self, frame: Frame, predictor: &mut dyn Predictor) {
        for player in PlayerHandle::all(self.players) {
            if !self.is_held(player, frame) {
                let (guess, flags) = self.guess(player, frame, predictor);
                self.used.set_cell(player, frame, &guess, flags);
                self.guess = guess;
            }
        }
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
        let repeats = predictor.repeats_last() && self.hints.is_none();
        PlayerHandle::all(self.players).all(|player| {
            if self.is_held(player, frame) {
                return self.is_as_used(player, frame);
            }
            if repeats {
                let (given, last) = ((&self.given, self.idle.as_slice()), self.last(player, frame));
                return self.means_what_was_used(player, frame, last_or_idle(given, last, player));
            }
            let (guess, flags) = self.guess(player, frame, predictor);
            let is_same = self.means_what_was_used(player, frame, (&guess, flags));
            self.guess = guess;
            is_same
        })
    }

    /// Whether a player's input of `frame` was given or is filled in.
    #[inline]
    fn is_held(&self, player: PlayerHandle, frame: Frame) -> bool {
        self.stream_of(player).is_some_and(|stream| stream.is_known(frame))
    }

    /// The last frame before `frame` of which a player's input is held.
    #[inline]
    fn last(&self, player: PlayerHandle, frame: Frame) -> Option<Frame> {
        self.stream_of(player)?.last_before(frame, self.floor)
    }

    #[inline]
    fn stream_of(&self, player: PlayerHandle) -> Option<&Stream> {
        self.stream(*self.hosts.get(player.index())?)
    }

    /// A guess, in the scratch that [`guess`](Self::guess) takes and the caller puts back.
    #[inline(never)]
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
        let flags = self.last(player, frame).map(|last| self.given_flags(player, last));
        (guess, flags.unwrap_or_default())
    }
}

/// A player's input and flags of the frame `last`, or the idle ones.
#[inline]
fn last_or_idle<'a>(
    (given, idle): (&'a Rows, &'a [u8]),
    last: Option<Frame>,
    player: PlayerHandle,
) -> (&'a [u8], InputFlags) {
    last.map_or((idle, InputFlags::NONE), |last| given.cell(player, last))
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
        let last = self.queue.last(player, frame)?;
        Some((last, self.queue.given(player, last)))
    }
}

impl fmt::Debug for InputHistory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputHistory").field("floor", &self.queue.floor).finish_non_exhaustive()
    }
}
