//! A game shown ahead of the frame that is played: one sees at once what one does, and nothing else changes.

use std::convert::Infallible;

use rollback_core::{
    Advance, Facts, Game, Outcome, Output, PlayerHandle, RUN_AHEAD_MAX, Roster, Session,
    SessionConfig, StateHash, StateHasher, Step, Ticket, Timestamp,
};

use crate::peer;

const DELAY: u32 = 3;

/// The sum of all inputs, and how often each frame was new to it.
#[derive(Clone, Default)]
struct Sum {
    total: i64,
    ends_at: Option<i64>,
    times_new: Vec<u32>,
}

impl Game for Sum {
    type Input = u8;
    type Snapshot = i64;
    type Error = Infallible;

    fn save(&self, slot: &mut i64) -> Result<(), Infallible> {
        *slot = self.total;
        Ok(())
    }

    fn load(&mut self, slot: &i64) -> Result<(), Infallible> {
        self.total = *slot;
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Infallible> {
        self.total += step.inputs().map(i64::from).sum::<i64>();
        let frame = step.frame().index() as usize;
        self.times_new.resize(self.times_new.len().max(frame + 1), 0);
        self.times_new[frame] += u32::from(!step.is_resimulation());
        assert!(!(step.is_ahead() && step.is_final()));
        Ok(match self.ends_at.is_some_and(|end| self.total >= end) {
            true => Outcome::Ended,
            false => Outcome::Running,
        })
    }

    fn hash(&self, slot: &i64, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u64s(&[u64::from_ne_bytes(slot.to_ne_bytes())]);
        Ok(())
    }
}

struct Alone {
    session: Session<Sum>,
    game: Sum,
    tick: u64,
    given: i64,
    hashes: Vec<StateHash>,
}

impl Alone {
    fn new(game: Sum, run_ahead: u32) -> Self {
        let config = SessionConfig::builder().players(1).input_delay_frames(3).build().unwrap();
        let roster = Roster::new(&[peer(0)]).unwrap();
        let (local, seed) = (peer(0), 1);
        let ticket = Ticket { session: 1, episode: 0, seed, roster, local, incarnation: 0 };
        let session = Session::new(&config, &ticket, Facts::default(), &game, Timestamp::ZERO);
        let session = session.unwrap().with_run_ahead(run_ahead);
        Self { session, game, tick: 0, given: 0, hashes: Vec::new() }
    }

    fn tick(&mut self, input: u8) -> Advance {
        let now = Timestamp::from_millis(self.tick * 16);
        self.tick += 1;
        let filed = self.session.set_local_input(PlayerHandle::new(0).unwrap(), &input).unwrap();
        self.given += filed.map_or(0, |_| i64::from(input));
        let advance = self.session.advance_frame(now, &mut self.game).unwrap();
        while let Some(output) = self.session.poll_output(now) {
            if let Output::Stable(frame) = output {
                self.hashes.extend(frame.state_hash);
            }
        }
        advance
    }
}

#[test]
fn one_sees_an_input_at_once_although_it_takes_effect_later() {
    let (mut plain, mut ahead) = (Alone::new(Sum::default(), 0), Alone::new(Sum::default(), DELAY));
    for tick in 0..200_u8 {
        let input = tick % 7;
        plain.tick(input);
        if matches!(ahead.tick(input), Advance::Stepped { .. }) {
            assert_eq!(ahead.game.total, ahead.given);
            assert_eq!(ahead.session.frames_ahead(), DELAY);
        }
        assert_eq!(plain.session.current_frame(), ahead.session.current_frame());
    }
    assert!(ahead.given > 400);
    assert!(plain.game.total < plain.given);
    assert!(plain.hashes.len() > 10);
    assert_eq!(plain.hashes, ahead.hashes);
}

#[test]
fn a_frame_is_new_to_the_game_once() {
    let mut ahead = Alone::new(Sum::default(), DELAY);
    for _ in 0..100 {
        ahead.tick(1);
    }
    assert!(ahead.game.times_new.len() > 90);
    assert!(ahead.game.times_new.iter().all(|times| *times == 1), "{:?}", ahead.game.times_new);
}

#[test]
fn the_game_ends_where_it_would_and_is_not_ahead_then() {
    let mut ahead = Alone::new(Sum { ends_at: Some(50), ..Sum::default() }, RUN_AHEAD_MAX + 1);
    assert!((0..200).any(|_| matches!(ahead.tick(1), Advance::Ended(_))));
    assert_eq!((ahead.game.total, ahead.session.frames_ahead()), (50, 0));
    assert!(ahead.game.times_new.iter().all(|times| *times == 1), "{:?}", ahead.game.times_new);
}
