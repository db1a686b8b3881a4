//! What a session counts of its guesses, held against a trial of the same inputs.

use rollback_core::{
    Advance, Frame, GuessCounters, Idle, Markov, Predictor, RepeatLast, SessionConfig,
};

use crate::pair::{Mixer, Pair};
use crate::traces::{self, Trace};

/// Two sessions play a trace, with datagrams so many frames late; answers what peer 0 counted, and how many frames it
/// has heard of.
fn played(trace: &Trace, lateness: u64, predictor: fn() -> Box<dyn Predictor + Send>) -> Counted {
    let prepare = |session: rollback_core::Session<Mixer>| session.with_predictor(predictor());
    let mut pair = Pair::new(&traces::config(), &Mixer::default(), lateness, prepare);
    let mut stalls = 0;
    while pair.peers[0].session.current_frame() < Frame::new(FRAMES) {
        let advances =
            pair.play(|player, frame| trace.get(frame.index() as usize).unwrap()[player.index()]);
        let has_begun = pair.peers[0].session.current_frame() > Frame::ZERO;
        stalls += u32::from(has_begun && matches!(advances[0], Advance::Stalled(_)));
    }
    assert_eq!(stalls, 0, "the window is wide enough");
    let counters = pair.peers[0].session.counters();
    Counted {
        guesses: counters.guesses,
        rollbacks: counters.rollback.rollbacks,
        resimulated: counters.rollback.resimulated,
    }
}

#[derive(PartialEq, Eq, Debug)]
struct Counted {
    guesses: GuessCounters,
    rollbacks: u64,
    resimulated: u64,
}

const FRAMES: u32 = 2_000;

#[test]
fn a_session_counts_what_a_trial_of_the_same_inputs_counts() {
    let predictors: [fn() -> Box<dyn Predictor + Send>; 3] =
        [|| Box::new(RepeatLast), || Box::new(Idle), || Box::new(Markov::new(&traces::config()))];
    let mut trace = traces::people(3, 4..=6);
    trace.truncate(FRAMES as usize);
    // The input of the first frame goes out as soon as hands are shaken, a tick before the frame is stepped.
    trace[0] = [0, 0];
    for lateness in [1, 3, 5] {
        for predictor in predictors {
            let trial = traces::tried(&trace, lateness, predictor());
            let expected = Counted {
                guesses: GuessCounters {
                    guesses: trial.guesses.guesses - u64::from(lateness == 1),
                    ..trial.guesses
                },
                rollbacks: trial.rollbacks,
                resimulated: trial.resimulated,
            };
            assert!(expected.guesses.mispredictions > 0);
            assert_eq!(played(&trace, lateness.into(), predictor), expected);
        }
    }
}

#[test]
fn nothing_is_guessed_in_lockstep() {
    let config = rollback_core::SessionConfig::builder().players(2).prediction_window_frames(0);
    let mut pair = Pair::new(&config.build().unwrap(), &Mixer::default(), 1, |session| session);
    for _ in 0..200 {
        pair.play(|_, frame| frame.index().to_le_bytes()[0]);
    }
    let session = &pair.peers[0].session;
    assert!(session.current_frame() > Frame::new(90));
    assert_eq!(session.counters().guesses, GuessCounters::default());
}

#[test]
fn inputs_that_pass_are_counted_and_so_are_those_that_come_late_or_again() {
    for (delay, is_late) in [(0, true), (4, false)] {
        let config = SessionConfig::builder().players(2).input_delay_frames(delay).build().unwrap();
        let mut pair = Pair::new(&config, &Mixer::default(), 3, |session| session);
        while pair.peers[0].session.current_frame() < Frame::new(200) {
            let _ = pair.play(|_, frame| frame.index().to_le_bytes()[0]);
        }
        let [ours, theirs] = [0, 1].map(|own| {
            let other = pair.peers[1 - own].id;
            pair.peers[own].session.link_counters(other).unwrap()
        });
        assert!(ours.frames_direct >= 195 && ours.frames_repeated > 0);
        match is_late {
            true => assert_eq!(ours.frames_late, ours.frames_direct),
            // Only the idle frames before the first input, which come when play has begun.
            false => assert!(ours.frames_late < u64::from(delay), "{}", ours.frames_late),
        }
        // Three datagrams are under way, with as many frames as are not acknowledged at most.
        let under_way = theirs.frames_sent - (ours.frames_direct + ours.frames_repeated);
        assert!((3..=3 * 8).contains(&under_way), "{under_way}");
    }
}
