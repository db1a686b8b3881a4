//! Hints: what a peer says that its players will do is guessed, and believed of nobody.

use rollback_core::{
    Advance, Frame, GuessCounters, HINT_FRAMES_MAX, Idle, InputError, PlayerHandle,
};

use crate::pair::{Mixer, Pair};
use crate::traces;

/// Something else in every frame, which no predictor guesses.
fn input(player: PlayerHandle, frame: Frame) -> u8 {
    let mixed = (frame.index() + 1).wrapping_mul(0x9e37_79b9) >> (8 + player.index());
    mixed.to_le_bytes()[0] | 1
}

const TICKS: u64 = 400;

/// Two peers play with datagrams three frames late; both hint eight frames ahead what `hint` says.
fn played(hint: impl Fn(PlayerHandle, Frame) -> Option<u8>) -> Pair<Mixer> {
    let prepare = |session: rollback_core::Session<Mixer>| session.with_predictor(Box::new(Idle));
    let mut pair = Pair::new(&traces::config(), &Mixer::default(), 3, prepare);
    for _ in 0..TICKS {
        for peer in &mut pair.peers {
            let current = peer.session.current_frame();
            for frame in current.next().until(current.plus(9)) {
                if let Some(hint) = hint(peer.player, frame) {
                    assert_eq!(peer.session.hint_input(peer.player, frame, &hint), Ok(true));
                }
            }
        }
        pair.play(input);
    }
    for peer in &pair.peers {
        assert!(peer.session.agreed().end() > Frame::new(370));
        for (frame, row) in (0..).map(Frame::new).zip(&peer.stable) {
            let players = pair.peers.each_ref().map(|peer| peer.player);
            assert_eq!(row, &players.map(|player| input(player, frame)));
        }
    }
    pair
}

fn counted(pair: &Pair<Mixer>) -> (GuessCounters, u64) {
    let counters = pair.peers[0].session.counters();
    (counters.guesses, counters.rollback.rollbacks)
}

#[test]
fn right_hints_leave_no_rollback() {
    let (guesses, rollbacks) = counted(&played(|player, frame| Some(input(player, frame))));
    assert!(guesses.guesses > 380, "{guesses:?}");
    // The first hints arrive when three frames were stepped.
    assert!(guesses.mispredictions <= 3, "{guesses:?}");
    assert!(rollbacks <= 3);
}

#[test]
fn wrong_hints_cost_what_wrong_guesses_cost() {
    let (without, rollbacks) = counted(&played(|_, _| None));
    assert_eq!(without.mispredictions, without.guesses);
    let (wrong, more) = counted(&played(|player, frame| Some(!input(player, frame))));
    assert_eq!((wrong, more), (without, rollbacks));
}

#[test]
fn a_hint_holds_for_its_frame_and_the_predictor_guesses_the_others() {
    let every_other = |player, frame: Frame| frame.is_multiple_of(2).then(|| input(player, frame));
    let (guesses, _) = counted(&played(every_other));
    let half = guesses.guesses / 2;
    assert!((half - 3..=half + 3).contains(&guesses.mispredictions), "{guesses:?}");
}

#[test]
fn a_later_hint_replaces_an_earlier_one() {
    // The first word is wrong, the last one before the frame is right; it comes in time for frames five ahead.
    let prepare = |session: rollback_core::Session<Mixer>| session.with_predictor(Box::new(Idle));
    let mut pair = Pair::new(&traces::config(), &Mixer::default(), 3, prepare);
    for _ in 0..TICKS {
        for peer in &mut pair.peers {
            let current = peer.session.current_frame();
            for (frame, wrong) in [(current.plus(8), 0xff), (current.plus(6), 0)] {
                let hint = input(peer.player, frame) ^ wrong;
                peer.session.hint_input(peer.player, frame, &hint).unwrap();
            }
        }
        pair.play(input);
    }
    let (guesses, _) = counted(&pair);
    assert!(guesses.guesses > 380 && guesses.mispredictions <= 10, "{guesses:?}");
}

#[test]
fn hints_that_cannot_be_sent_are_refused_or_not_taken() {
    let mut pair = Pair::new(&traces::config(), &Mixer::default(), 1, |session| session);
    while !matches!(pair.play(input)[0], Advance::Stepped { .. }) {}
    let [own, other] = pair.peers.each_ref().map(|peer| peer.player);
    let session = &mut pair.peers[0].session;
    let current = session.current_frame();
    let mut hint = |player, frame| session.hint_input(player, frame, &1);
    assert_eq!(hint(other, current.plus(1)), Err(InputError::NotLocal { player: other }));
    assert_eq!(hint(own, current.minus(1)), Ok(false), "it has its input");
    assert_eq!(hint(own, current), Ok(true));
    assert_eq!(hint(own, current.plus(HINT_FRAMES_MAX - 1)), Ok(true));
    assert_eq!(hint(own, current.plus(HINT_FRAMES_MAX)), Ok(false), "it is too far ahead");
    let width = InputError::Width { expected: 1, got: 2 };
    assert_eq!(session.hint_input_bytes(own, current, &[1, 2]), Err(width));
    session.leave();
    assert_eq!(session.hint_input(own, current.plus(5), &1), Ok(false), "it leaves");
}

#[test]
fn hints_that_are_heard_are_counted() {
    let mut pair = Pair::new(&traces::config(), &Mixer::default(), 1, |session| session);
    for _ in 0..100 {
        pair.play(input);
    }
    let counted = |pair: &Pair<Mixer>| {
        let counters = pair.peers[1].session.link_counters(pair.peers[0].id).unwrap();
        (counters.hints, counters.hints_refused, counters.malformed)
    };
    assert_eq!(counted(&pair), (0, 0, 0));
    let (player, current) = (pair.peers[0].player, pair.peers[0].session.current_frame());
    // It goes along with this datagram and the next two; then the frame has its input.
    assert_eq!(pair.peers[0].session.hint_input(player, current.plus(3), &1), Ok(true));
    for _ in 0..20 {
        pair.play(input);
    }
    assert_eq!(counted(&pair), (3, 0, 0));
}
