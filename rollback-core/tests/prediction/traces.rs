//! Inputs of two players as they might have been recorded, made from a seed.

use rollback_core::testing::Random;
use rollback_core::{
    Frame, PeerId, PeerSet, PredictionTrial, Predictor, Roster, SessionConfig, StableFrame,
    TrialResult,
};

/// The inputs of both players, by frame.
pub(crate) type Trace = Vec<[u8; 2]>;

/// Two hundred seconds at 60 Hz.
pub(crate) const FRAMES: u32 = 12_000;

fn trace(
    seed: u64,
    mut play: impl FnMut(&mut Random) -> Box<dyn FnMut(&mut Random) -> u8>,
) -> Trace {
    let mut players = [0, 1].map(|slot| {
        let mut random = Random::new(seed, slot);
        (play(&mut random), random)
    });
    (0..FRAMES).map(|_| players.each_mut().map(|(play, random)| play(random))).collect()
}

/// People at keys: a direction is held for 8 to 60 frames, one of four or none; beside it one of two buttons is tapped,
/// every 6 to 40 frames, for `tap` frames (100 ms are 6).
pub(crate) fn people(seed: u64, tap: std::ops::RangeInclusive<u32>) -> Trace {
    trace(seed, |_| {
        let (mut direction, mut direction_left) = (0, 0);
        let (mut button, mut button_left) = (0, 10);
        let tap = tap.clone();
        Box::new(move |random| {
            if direction_left == 0 {
                let is_released = direction != 0 && random.chance(500);
                direction = if is_released { 0 } else { 1 << random.below(4) };
                direction_left = random.between(8, 60);
            }
            if button_left == 0 {
                let is_pressed = button == 0;
                button = if is_pressed { 16 << random.below(2) } else { 0 };
                button_left = match is_pressed {
                    true => random.between(*tap.start(), *tap.end()),
                    false => random.between(6, 40),
                };
            }
            direction_left -= 1;
            button_left -= 1;
            direction | button
        })
    })
}

/// Players whose key press is an action of one frame, as in grid worlds: one of five, 2 to 6 frames after the last.
pub(crate) fn single_presses(seed: u64) -> Trace {
    trace(seed, |_| {
        let mut left = 3;
        Box::new(move |random| {
            left -= 1;
            if left > 0 {
                return 0;
            }
            left = random.between(2, 6);
            random.between(1, 5).to_le_bytes()[0]
        })
    })
}

/// Any of `count` inputs in every frame: nothing can be learnt.
pub(crate) fn noise(seed: u64, count: u32) -> Trace {
    trace(seed, |_| Box::new(move |random| random.below(count).to_le_bytes()[0]))
}

/// A switch that is turned in so many of a thousand frames.
pub(crate) fn switch(seed: u64, per_mille: u32) -> Trace {
    trace(seed, |_| {
        let mut is_on = false;
        Box::new(move |random| {
            is_on ^= random.chance(per_mille);
            u8::from(is_on)
        })
    })
}

pub(crate) fn config() -> SessionConfig {
    SessionConfig::builder().players(2).build().unwrap()
}

/// What a predictor costs peer 0 when the inputs of peer 1 come so many frames late.
pub(crate) fn tried(
    trace: &Trace,
    lateness: u32,
    predictor: Box<dyn Predictor + Send>,
) -> TrialResult {
    let late: PeerSet = [PeerId::new(1).unwrap()].into_iter().collect();
    let roster = Roster::one_player_each(2).unwrap();
    let mut trial = PredictionTrial::new(&config(), &roster, late, lateness, predictor);
    for (frame, inputs) in (0..).map(Frame::new).zip(trace) {
        trial.push(&StableFrame {
            frame,
            inputs,
            flags: &[0, 0],
            items: &[],
            output: &[],
            state_hash: None,
            keyframe: None,
        });
    }
    trial.result()
}
