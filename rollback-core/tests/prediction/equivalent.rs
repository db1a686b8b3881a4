//! Inputs that mean the same to the game do not roll back.

use std::convert::Infallible;

use rollback_core::{
    Event, Frame, Game, GuessCounters, Input, Outcome, Same, StateHasher, Step, SyncTest,
};

use crate::pair::Pair;
use crate::traces;

/// The lowest two bits push; the others mean nothing.
#[derive(Clone, Copy)]
struct Push<const EQUIVALENT: bool>(u8);

impl<const EQUIVALENT: bool> Input for Push<EQUIVALENT> {
    const WIDTH: usize = 1;

    fn write(&self, bytes: &mut [u8]) {
        self.0.write(bytes);
    }

    fn read(bytes: &[u8]) -> Self {
        Self(u8::read(bytes))
    }

    fn equivalent(given: &[u8], used: &[u8]) -> bool {
        given == used || EQUIVALENT && u8::read(given) & 3 == u8::read(used) & 3
    }
}

/// Adds pushes up; one that is not `sound` adds the bits that mean nothing, too.
#[derive(Clone, Default)]
struct Sum<const EQUIVALENT: bool> {
    sum: u64,
    is_unsound: bool,
}

impl<const EQUIVALENT: bool> Game for Sum<EQUIVALENT> {
    type Input = Push<EQUIVALENT>;
    type Snapshot = Self;
    type Error = Infallible;

    fn save(&self, slot: &mut Self) -> Result<(), Infallible> {
        slot.clone_from(self);
        Ok(())
    }

    fn load(&mut self, slot: &Self) -> Result<(), Infallible> {
        self.clone_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, Push<EQUIVALENT>>) -> Result<Outcome, Infallible> {
        for Push(push) in step.inputs() {
            let push = if self.is_unsound { push } else { push & 3 };
            self.sum = self.sum.wrapping_mul(31).wrapping_add(u64::from(push));
        }
        Ok(Outcome::Running)
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u64(slot.sum);
        Ok(())
    }

    fn same(&self, one: &Self, other: &Self) -> Same {
        if one.sum == other.sum { Same::Yes } else { Same::No }
    }
}

/// The pushes change every 40 frames, the bits that mean nothing in every one.
fn push(frame: Frame) -> u8 {
    let index = frame.index();
    let [low, ..] = ((index / 40 % 4) | (index << 2)).to_le_bytes();
    low
}

/// What both peers came to after 400 ticks with datagrams three frames late.
fn played<const EQUIVALENT: bool>(is_unsound: bool) -> Pair<Sum<EQUIVALENT>> {
    let game = Sum { sum: 0, is_unsound };
    let mut pair = Pair::new(&traces::config(), &game, 3, |session| session);
    for _ in 0..400 {
        pair.play(|_, frame| Push(push(frame)));
    }
    pair
}

fn guesses<const EQUIVALENT: bool>(pair: &Pair<Sum<EQUIVALENT>>) -> (GuessCounters, u64) {
    let counters = pair.peers[0].session.counters();
    (counters.guesses, counters.rollback.rollbacks)
}

#[test]
fn a_late_input_that_means_what_was_used_causes_no_rollback() {
    let (with, rollbacks) = guesses(&played::<true>(false));
    // Of about 395 frames those where the push changes: nine, and one more behind each for what was guessed since.
    assert!(with.guesses > 390 && (9..=10).contains(&with.mispredictions), "{with:?}");
    assert_eq!(rollbacks, with.mispredictions);
    let (without, rollbacks) = guesses(&played::<false>(false));
    assert!(without.mispredictions > 390, "{without:?}");
    assert_eq!(rollbacks, without.mispredictions);
}

#[test]
fn the_inputs_given_are_recorded_and_the_states_agreed() {
    let game = Sum::<true>::default();
    let mut pair = Pair::new(&traces::config(), &game, 3, |session| session);
    for _ in 0..400 {
        pair.play(|_, frame| Push(push(frame)));
    }
    let end = pair.peers.each_ref().map(|peer| peer.session.agreed().end());
    assert!(end.iter().all(|end| *end > Frame::new(370)), "{end:?}");
    for peer in &pair.peers {
        assert!(peer.stable.len() > 370);
        for (frame, row) in (0..).map(Frame::new).zip(&peer.stable) {
            assert_eq!(row, &[push(frame); 2]);
        }
    }
}

#[test]
fn a_game_that_tells_equivalent_inputs_apart_is_found_by_the_sync_test_and_in_play() {
    let inputs = |frame: Frame, _| Push::<true>(push(frame));
    assert!(SyncTest::new(2).run(&mut Sum::<true>::default(), inputs).unwrap().equivalents > 500);
    let mut unsound = Sum::<true> { sum: 0, is_unsound: true };
    assert!(SyncTest::new(2).run(&mut unsound, inputs).is_err());

    let pair = played::<true>(true);
    assert!(pair.peers[0].events.iter().any(|event| matches!(event, Event::Desync(_))));
}
