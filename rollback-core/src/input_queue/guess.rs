//! Fills in a guess for each input that is missing, and tells whether a guess was right.

use alloc::vec::Vec;
use core::fmt;

use super::stream::Stream;
use super::{InputQueue, copy};
use crate::game::StepRow;
use crate::{Frame, InputFlags, PeerSet, PlayerHandle, Predictor};

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
    /// Guesses what is not held of the frames from `first` up to `end`, which are about to be stepped. A guess stays in the
    /// place of the input, so that what arrives is compared with it.
    #[inline]
    pub(crate) fn guess_missing(
        &mut self,
        (first, end): (Frame, Frame),
        predictor: &mut dyn Predictor,
    ) {
        let first = first.max(self.confirmed_end);
        if first < end {
            self.guess_unconfirmed((first, end), predictor);
        }
    }

    #[inline(never)]
    fn guess_unconfirmed(&mut self, (first, end): (Frame, Frame), predictor: &mut dyn Predictor) {
        self.guessed = self.guessed.max(end);
        self.rows.make(end.minus(1));
        if !self.repeats_last(predictor) {
            return self.ask_for_missing((first, end), predictor);
        }
        for stream in &self.streams {
            let mut from = first;
            while let Some((gap, gap_end)) = stream.gap((from, end)) {
                let last = stream.last_before(gap, self.floor);
                let last = last.map_or(self.rows.idle(), |last| self.rows.place(last));
                for player in &stream.players {
                    self.rows.repeat_cell(*player, last, (gap, gap_end));
                }
                from = gap_end;
            }
        }
    }

    /// Of whom the frame is neither held nor filled in.
    #[inline]
    pub(super) fn missing(&mut self, frame: Frame) -> PeerSet {
        if frame < self.confirmed_end {
            return PeerSet::EMPTY;
        }
        let (first, end, missing) = self.missing_alike;
        if first <= frame && frame < end { missing } else { self.find_missing(frame) }
    }

    #[inline(never)]
    fn find_missing(&mut self, frame: Frame) -> PeerSet {
        let (mut bits, mut end) = (0, Frame::MAX);
        for stream in self.streams.iter().rev() {
            bits = bits << 1 | u8::from(!stream.is_known(frame));
            end = end.min(stream.alike_until(frame));
        }
        let missing = PeerSet::from_bits(bits);
        self.missing_alike = (frame, end, missing);
        missing
    }

    /// Uses what the predictor guesses for those whose inputs are not held.
    #[inline(never)]
    fn ask_for_missing(&mut self, (first, end): (Frame, Frame), predictor: &mut dyn Predictor) {
        for frame in first.until(end) {
            for player in PlayerHandle::all(self.players) {
                if !self.is_held(player, frame) {
                    let (guess, flags) = self.guess(player, frame, predictor);
                    let place = self.rows.place(frame);
                    self.rows.set_cell(player, place, (&guess, flags));
                    self.guess = guess;
                }
            }
        }
    }

    /// The row of a frame that is stepped only to be shown. What is guessed for it is not held against the guesses, and stays
    /// nowhere: one local player may have its input there already where another has none.
    pub(crate) fn row_ahead(&mut self, frame: Frame, predictor: &mut dyn Predictor) -> StepRow<'_> {
        self.rows.make(frame);
        let idle = self.fill_idle_in(frame);
        let (place, aside) = (self.rows.place(frame), self.rows.aside());
        self.rows.copy(place, aside);
        let guessed = self.guessed;
        self.guess_missing((frame, frame.next()), predictor);
        self.guessed = guessed;
        self.rows.swap(place, aside);
        let missing = self.missing(frame);
        self.set_statuses(missing, idle);
        let (inputs, flags) = self.rows.row(aside);
        StepRow { inputs, flags, statuses: &self.statuses }
    }

    /// Whether what a player did last is what is guessed, so that nobody needs to be asked.
    #[inline]
    fn repeats_last(&self, predictor: &dyn Predictor) -> bool {
        predictor.repeats_last() && self.hints.is_none()
    }

    /// The first frame from `first` on from which every input up to `end` is what was used: given so, or guessed so
    /// again. All these frames were stepped with guesses, or are held as they were used.
    pub(crate) fn unchanged_from(
        &mut self,
        first: Frame,
        end: Frame,
        predictor: &mut dyn Predictor,
    ) -> Frame {
        let (first, mut from) = (first.max(self.wrong_end).min(end), end);
        while from > first && self.is_guessed_again(from.minus(1), predictor) {
            from = from.minus(1);
        }
        from
    }

    /// Whether what would be guessed now for a frame is what was used.
    fn is_guessed_again(&mut self, frame: Frame, predictor: &mut dyn Predictor) -> bool {
        let repeats = self.repeats_last(predictor);
        PlayerHandle::all(self.players).all(|player| {
            if self.is_held(player, frame) {
                return true;
            }
            if repeats {
                let last = self.last(player, frame);
                let last = last.map_or(self.rows.idle(), |last| self.rows.place(last));
                return self.means_what_is_there(player, frame, self.rows.cell(player, last));
            }
            let (guess, flags) = self.guess(player, frame, predictor);
            let is_same = self.means_what_is_there(player, frame, (&guess, flags));
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
        copy(&mut guess, self.rows.input(player, self.rows.idle()));
        let history = InputHistory { queue: self };
        match self.hint(player, frame) {
            Some(hint) => copy(&mut guess, hint),
            None => predictor.predict(player, frame, &history, &mut guess),
        }
        let flags = self.last(player, frame).map(|last| self.given_flags(player, last));
        (guess, flags.unwrap_or_default())
    }
}

/// Nothing is known of any frame.
pub(super) const NOT_ALIKE: (Frame, Frame, PeerSet) = (Frame::ZERO, Frame::ZERO, PeerSet::EMPTY);

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
