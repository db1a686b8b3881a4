//! Learns how long a player holds an input and what follows, and guesses that. Knows only what it has seen.
//!
//! The model is a semi-Markov chain in discrete time (R. Pyke, *Markov renewal processes*, Ann. Math. Statist. 32,
//! 1961): a player *holds* an input for some frames, and then goes on to another. How long, and to which, depends on
//! the input held and on the one before it; where that pair was seen too rarely, on the input held alone (the back-off
//! of S. Katz, *Estimation of probabilities from sparse data*, IEEE Trans. ASSP 35, 1987). Each of these contexts keeps
//! its last sixteen holds. Of those that lasted at least as long as the hold that goes on, some ended at this very age
//! and some went on: the discrete hazard (E. Kaplan and P. Meier, *Nonparametric estimation from incomplete
//! observations*, J. Amer. Statist. Assoc. 53, 1958). A change is guessed only where one continuation leads staying by
//! two holds. Everything else is guessed as [`RepeatLast`](super::RepeatLast) would, to the byte.
//!
//! Only whole numbers are used, and only inputs that are held without a gap are learnt, so that the same inputs lead to
//! the same guesses whatever the network did.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::Predictor;
use crate::{Frame, InputHistory, PlayerHandle, SessionConfig};

/// Guesses what a player does from how it played so far: for small discrete inputs such as keys, where a tap lasts about
/// as long as the last ones and leads back to where it came from.
///
/// It knows up to [`INPUTS_MAX`](Self::INPUTS_MAX) different inputs of each player and takes about 10 KiB a player, all at
/// the start. Where it knows nothing, or was wrong more often than right of late, it repeats the last input.
///
/// ```
/// use rollback_core::{Markov, SessionConfig};
///
/// let config = SessionConfig::builder().players(2).build()?;
/// let predictor = Box::new(Markov::new(&config)); // for `Session::with_predictor`
/// # let _ = predictor;
/// # Ok::<(), rollback_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Markov {
    models: Vec<Model>,
}

impl Markov {
    /// How many different inputs of a player are told apart; those that come after are repeated, as
    /// [`RepeatLast`](super::RepeatLast) does.
    pub const INPUTS_MAX: usize = 64;

    /// A predictor that has seen nothing, for sessions of this configuration.
    #[must_use]
    pub fn new(config: &SessionConfig) -> Self {
        Self { models: vec![Model::new(config.input_width()); config.players()] }
    }
}

impl Predictor for Markov {
    fn predict(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        history: &InputHistory<'_>,
        guess: &mut [u8],
    ) {
        let known = self.models.get_mut(player.index()).and_then(|model| {
            model.learn(player, history);
            model.guess(player, frame, history)
        });
        let last = || history.last_before(player, frame).map(|(_, last)| last);
        if let Some(input) = known.or_else(last).filter(|input| input.len() == guess.len()) {
            guess.copy_from_slice(input);
        }
    }
}

impl fmt::Debug for Markov {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Markov").field("players", &self.models.len()).finish_non_exhaustive()
    }
}

/// What was learnt of one player.
#[derive(Clone)]
struct Model {
    width: usize,
    /// The different inputs, one after the other; an input is known by its place here.
    inputs: Vec<u8>,
    contexts: Vec<Context>,
    /// The hold that goes on before `next`.
    hold: Hold,
    /// The first frame that was not learnt.
    next: Frame,
    /// How much more often a guessed change was right than staying would have been.
    score: i8,
}

/// An input that is held, up to some frame.
#[derive(Clone, Copy)]
struct Hold {
    /// The input before it.
    before: u8,
    input: u8,
    /// For how many frames it is held.
    frames: u8,
}

/// The last holds of one kind: of an input, or of an input after another.
#[derive(Clone, Copy)]
struct Context {
    /// The input before, or [`ANY`], and the input that is held.
    key: (u8, u8),
    len: u8,
    /// Where the next one goes.
    at: u8,
    holds: [Ended; HOLDS],
}

/// A hold that has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ended {
    frames: u8,
    /// What came then.
    then: u8,
}

impl Model {
    fn new(width: usize) -> Self {
        Self {
            width,
            inputs: Vec::with_capacity(Markov::INPUTS_MAX * width),
            contexts: vec![Context::UNUSED; CONTEXTS],
            hold: Hold::NONE,
            next: Frame::ZERO,
            score: 0,
        }
    }

    /// Takes in what has come since the last guess.
    fn learn(&mut self, player: PlayerHandle, history: &InputHistory<'_>) {
        if self.next < history.first() {
            // What lies between was dropped before it was looked at: how long the hold lasts is not known.
            (self.next, self.hold) = (history.first(), Hold::NONE);
        }
        while let Some(input) = history.at(player, self.next).filter(|i| i.len() == self.width) {
            let input = self.intern(input);
            self.observe(input);
            self.next = self.next.next();
        }
    }

    /// Learns the next input.
    fn observe(&mut self, input: u8) {
        let Hold { before, input: held, frames } = self.hold;
        let guess = self.following(self.hold);
        if guess != held && input == guess {
            self.score = (self.score + 1).min(SCORE_MAX);
        } else if guess != held && input == held {
            self.score = (self.score - 1).max(-SCORE_MAX);
        }
        if input != held && held < OTHER && before != NONE {
            for key in [(before, held), (ANY, held)] {
                if let Some(context) = self.contexts.get_mut(place(key)) {
                    context.note(key, Ended { frames, then: input });
                }
            }
        }
        self.hold.go_on(input);
    }

    /// The input that is guessed for `frame`; `None` where the last one is to be repeated.
    fn guess(
        &self,
        player: PlayerHandle,
        frame: Frame,
        history: &InputHistory<'_>,
    ) -> Option<&[u8]> {
        if self.score < 0 {
            return None;
        }
        let mut hold = self.hold;
        for between in self.next.until(frame) {
            // Behind a gap some inputs are held already.
            hold.go_on(match history.at(player, between) {
                Some(input) => self.place_of(input),
                None => self.following(hold),
            });
        }
        self.input(self.following(hold))
    }

    /// What most likely follows a hold in the next frame: the same, or another input.
    fn following(&self, hold: Hold) -> u8 {
        let Hold { before, input, frames } = hold;
        // Of a hold that began unseen it is not known how long it lasts.
        if input >= OTHER || before == NONE || frames == u8::MAX {
            return input;
        }
        let known = [(before, input), (ANY, input)].into_iter().find_map(|key| {
            let context = self.contexts.get(place(key)).filter(|context| context.key == key)?;
            context.following(hold)
        });
        known.unwrap_or(input)
    }

    /// The bytes of an input.
    fn input(&self, input: u8) -> Option<&[u8]> {
        let start = usize::from(input) * self.width;
        self.inputs.get(start..start + self.width)
    }

    /// The place of an input among those that were seen.
    fn place_of(&self, input: &[u8]) -> u8 {
        // Most often it is the one that is held.
        if self.input(self.hold.input) == Some(input) {
            return self.hold.input;
        }
        let place = self.inputs.chunks_exact(self.width).position(|known| known == input);
        place.and_then(|place| u8::try_from(place).ok()).unwrap_or(OTHER)
    }

    /// The same; makes a place for a new one while there is room.
    fn intern(&mut self, input: &[u8]) -> u8 {
        let place = self.place_of(input);
        let known = self.inputs.len() / self.width;
        if place != OTHER || known >= Markov::INPUTS_MAX {
            return place;
        }
        self.inputs.extend_from_slice(input);
        u8::try_from(known).unwrap_or(OTHER)
    }
}

impl Hold {
    /// Nothing is known.
    const NONE: Self = Self { before: NONE, input: NONE, frames: 0 };

    fn go_on(&mut self, input: u8) {
        if input == self.input {
            self.frames = self.frames.saturating_add(1);
        } else {
            *self = Self { before: self.input, input, frames: 1 };
        }
    }
}

impl Context {
    const UNUSED: Self =
        Self { key: (NONE, NONE), len: 0, at: 0, holds: [Ended { frames: 0, then: NONE }; HOLDS] };

    /// Remembers a hold in place of the oldest; another context in this place is forgotten.
    fn note(&mut self, key: (u8, u8), ended: Ended) {
        if self.key != key {
            *self = Self { key, ..Self::UNUSED };
        }
        if let Some(slot) = self.holds.get_mut(usize::from(self.at)) {
            *slot = ended;
        }
        self.at = (self.at + 1) % HOLDS_U8;
        self.len = (self.len + 1).min(HOLDS_U8);
    }

    /// What follows `hold` in the next frame; `None` where too few holds have lasted as long.
    fn following(&self, hold: Hold) -> Option<u8> {
        let holds = self.holds.get(..usize::from(self.len)).unwrap_or_default();
        let stays = holds.iter().filter(|ended| ended.frames > hold.frames).count();
        let ends = || holds.iter().filter(|ended| ended.frames == hold.frames);
        if stays + ends().count() < LEAD {
            return None;
        }
        let votes = |then: u8| ends().filter(|ended| ended.then == then).count();
        // Of several with as many votes, the first.
        let best = ends().rev().map(|ended| ended.then).max_by_key(|then| votes(*then));
        let changes = best.filter(|then| *then < OTHER && votes(*then) >= stays + LEAD);
        Some(changes.unwrap_or(hold.input))
    }
}

/// Where a context is kept.
fn place((before, input): (u8, u8)) -> usize {
    // Fibonacci hashing (Knuth, TAOCP 3, §6.4): the high bits of a product with 2^16 over the golden ratio.
    let key = u16::from_le_bytes([input, before]);
    usize::from(key.wrapping_mul(40_503) >> (16 - CONTEXTS.ilog2()))
}

/// An input that came after all places were taken.
const OTHER: u8 = 253;

/// Stands for any input before.
const ANY: u8 = 254;

/// No input.
const NONE: u8 = 255;

/// How many contexts are kept of a player: a key pad's inputs, each alone and after some others.
const CONTEXTS: usize = 256;

/// How many holds of a context are remembered: as few as follow a player that changes its ways.
const HOLDS: usize = 16;
const HOLDS_U8: u8 = 16;

/// By how many holds a change must lead: one alone may be chance.
const LEAD: usize = 2;

/// How far right guesses can outweigh wrong ones: so many wrong ones in a row turn learning's guesses off.
const SCORE_MAX: i8 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input_queue::InputQueue;
    use crate::{InputFlags, PeerId, Roster};

    /// One player whose inputs come as a test says, and its predictor.
    struct Table {
        queue: InputQueue,
        markov: Markov,
    }

    impl Table {
        fn new() -> Self {
            let config = SessionConfig::builder().players(1).build().unwrap();
            let queue = InputQueue::new(&config, &Roster::one_player_each(1).unwrap());
            Self { queue, markov: Markov::new(&config) }
        }

        fn give(&mut self, frame: u32, input: u8) {
            let (peer, player) = (PeerId::new(0).unwrap(), PlayerHandle::new(0).unwrap());
            let frame = Frame::new(frame);
            assert!(self.queue.accepts(peer, frame), "{frame}");
            self.queue.write(player, frame, &[input], InputFlags::NONE);
            self.queue.arrived(peer, frame, &[]);
        }

        /// Gives inputs as `play` says them, from the first frame on, guessing on the way.
        fn play(&mut self, frames: u32, play: impl Fn(u32) -> u8) {
            for frame in 0..frames {
                self.give(frame, play(frame));
                self.queue.set_floor(Frame::new(frame).minus(40));
                self.guess(frame + 1);
            }
        }

        fn guess(&mut self, frame: u32) -> u8 {
            let frame = Frame::new(frame);
            self.queue.guess_missing((frame, frame.next()), &mut self.markov);
            self.queue.row(frame).inputs[0]
        }
    }

    /// Every 20 frames a key is pressed for 4 frames.
    fn tap(frame: u32) -> u8 {
        if frame % 20 < 4 { 9 } else { 0 }
    }

    #[test]
    fn a_tap_is_guessed_to_last_as_long_as_the_ones_before() {
        let mut table = Table::new();
        table.play(102, tap);
        // Frames 100 and 101 are held: the key is down.
        let guesses: Vec<u8> = (102..112).map(|frame| table.guess(frame)).collect();
        assert_eq!(guesses, [9, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_rhythm_is_guessed_ahead() {
        let mut table = Table::new();
        table.play(90, tap);
        for frame in 90..110 {
            assert_eq!(table.guess(frame), tap(frame), "frame {frame}");
        }
    }

    #[test]
    fn what_comes_next_depends_on_what_came_before() {
        // Up and down in turn, and still in between: the still input leads to what was not before it.
        let swing = |frame: u32| [1, 1, 0, 0, 2, 2, 0, 0][frame as usize % 8];
        let mut table = Table::new();
        table.play(82, swing);
        for frame in 82..90 {
            assert_eq!(table.guess(frame), swing(frame), "frame {frame}");
        }
    }

    #[test]
    fn what_it_knows_nothing_of_it_repeats() {
        let mut table = Table::new();
        assert_eq!(table.guess(0), 0, "nothing has come: idle");
        table.give(0, 3);
        table.give(1, 7);
        assert_eq!(table.guess(5), 7);
        table.give(4, 8);
        assert_eq!((table.guess(2), table.guess(5)), (7, 8), "behind a gap, the newest one");
    }

    #[test]
    fn only_inputs_held_without_a_gap_are_learnt() {
        let mut table = Table::new();
        for frame in (0..60).filter(|frame| *frame != 1) {
            table.give(frame, tap(frame));
            table.guess(frame + 1);
        }
        let model = &table.markov.models[0];
        assert_eq!((model.next, model.inputs.as_slice()), (Frame::new(1), [9].as_slice()));
        table.give(1, tap(1));
        table.guess(60);
        let model = &table.markov.models[0];
        assert_eq!((model.next, model.inputs.as_slice()), (Frame::new(60), [9, 0].as_slice()));
    }

    #[test]
    fn what_is_held_behind_a_gap_counts_for_how_long_an_input_is_held() {
        let mut table = Table::new();
        table.play(100, tap);
        // Frame 100 is lost; 101 and 102 say that the key is down.
        table.give(101, 9);
        table.give(102, 9);
        // How long the key was down before is not known, so the tap may be guessed too long, but not for ever.
        let guesses: Vec<u8> = (103..108).map(|frame| table.guess(frame)).collect();
        assert_eq!(guesses, [9, 0, 0, 0, 0]);
    }

    #[test]
    fn inputs_that_have_no_place_are_repeated() {
        let mut table = Table::new();
        // Every input is held for 2 frames, and there are more than can be told apart.
        table.play(400, |frame| (frame / 2 % 200).to_le_bytes()[0]);
        assert_eq!(table.markov.models[0].inputs.len(), Markov::INPUTS_MAX);
        assert_eq!((table.guess(400), table.guess(402)), (199, 199));
    }

    #[test]
    fn one_that_was_more_often_wrong_than_right_repeats_until_it_is_right_again() {
        let mut table = Table::new();
        table.play(102, tap);
        assert_eq!((table.guess(103), table.guess(105)), (9, 0));
        table.markov.models[0].score = -1;
        assert_eq!((table.guess(103), table.guess(105)), (9, 9));
        for frame in 102..122 {
            table.give(frame, tap(frame));
        }
        assert_eq!((table.guess(123), table.guess(125)), (9, 0));
    }

    #[test]
    fn frames_that_were_dropped_unseen_are_passed_over() {
        let mut table = Table::new();
        for frame in 0..1000 {
            table.give(frame, tap(frame));
            table.queue.set_floor(Frame::new(frame).minus(40));
        }
        assert_eq!(table.guess(1000), tap(999));
        let model = &table.markov.models[0];
        assert_eq!(model.next, Frame::new(1000));
        // The hold that was cut is not taken for a whole one.
        let ages = model.contexts.iter().flat_map(|c| &c.holds[..usize::from(c.len)]);
        assert!(ages.clone().count() > 0);
        assert!(ages.clone().all(|ended| [4, 16].contains(&ended.frames)));
    }

    #[test]
    fn guesses_do_not_depend_on_how_inputs_came() {
        let mut in_time = Table::new();
        in_time.play(150, tap);
        let mut at_once = Table::new();
        for frame in 0..100 {
            at_once.give(frame, tap(frame));
        }
        at_once.guess(100);
        at_once.queue.set_floor(Frame::new(100));
        for frame in (100..150).rev() {
            at_once.give(frame, tap(frame));
        }
        for frame in 150..160 {
            assert_eq!(in_time.guess(frame), at_once.guess(frame));
        }
        assert_eq!(in_time.markov.models[0].score, at_once.markov.models[0].score);
    }
}
