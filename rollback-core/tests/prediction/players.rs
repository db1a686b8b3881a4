//! A predictor for each player.

use rollback_core::{
    Frame, Idle, PeerSet, PerPlayer, PlayerHandle, PredictionTrial, RepeatLast, Roster,
    SessionConfig, StableFrame,
};

#[test]
fn each_player_is_guessed_by_its_own_predictor() {
    let config = SessionConfig::builder().players(3).build().unwrap();
    let roster = Roster::one_player_each(3).unwrap();
    // All give 5 and then 0, in turn. Repeating is wrong at each change, idle wherever 5 is given.
    let wrong = |predictor: PerPlayer| {
        let late = PeerSet::first(3);
        let mut trial = PredictionTrial::new(&config, &roster, late, 1, Box::new(predictor));
        for index in 0..101 {
            let input = if index % 10 < 5 { 5 } else { 0 };
            trial.push(&StableFrame {
                frame: Frame::new(index),
                inputs: &[input; 3],
                flags: &[0; 3],
                items: &[],
                output: &[],
                state_hash: None,
                keyframe: None,
            });
        }
        trial.result().guesses.mispredictions
    };
    let with_idle = |slots: &[u8]| {
        slots.iter().fold(PerPlayer::new(Box::new(RepeatLast)), |predictor, slot| {
            predictor.with(PlayerHandle::new(*slot).unwrap(), Box::new(Idle))
        })
    };
    // In 100 guessed frames there are 20 changes with the first, and 50 frames of 5.
    assert_eq!(wrong(with_idle(&[])), 3 * 20);
    assert_eq!(wrong(with_idle(&[1])), 2 * 20 + 50);
    assert_eq!(wrong(with_idle(&[0, 2])), 20 + 2 * 50);
    assert_eq!(wrong(with_idle(&[0, 1, 2])), 3 * 50);
}
