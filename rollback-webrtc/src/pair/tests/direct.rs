//! A relayed connection, and the direct one that is tried beside it.

use super::*;

const SECONDS_10: u64 = 10_000;

/// An offerer whose connection is seen to be relayed.
fn relayed() -> Pair {
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    pair
}

/// Sees twice a second that the connection is relayed, until a direct one is tried: when that was.
fn until_tried(pair: &mut Pair, mut millis: u64, attempt: AttemptId) -> u64 {
    let started = millis;
    while millis < started + 1_000_000 {
        pair.handle_connection(at(millis), FIRST, ConnectionEvent::Relayed);
        let actions = actions(pair);
        if !actions.is_empty() {
            assert_eq!(actions, [Action::TryDirect(attempt)]);
            return millis;
        }
        millis += 500;
    }
    panic!("no attempt {attempt:?}");
}

#[test]
fn a_direct_way_is_tried_beside_a_relayed_one_ever_more_seldom() {
    let mut pair = relayed();
    let mut now = 1000;
    let mut attempt = SECOND;
    for whole in [10, 20, 40, 80, 160, 320, 600, 600] {
        let tried = until_tried(&mut pair, now, attempt);
        let pause = tried - now;
        assert!(pause >= whole * 500 && pause <= whole * 1000 + 500, "{pause} of {whole} s");
        pair.handle_connection(at(tried + 500), FIRST, ConnectionEvent::Relayed);
        assert!(actions(&mut pair).is_empty(), "one at a time");
        now = tried + 6000;
        pair.handle_connection(at(now), attempt, ConnectionEvent::Ended);
        assert_eq!(actions(&mut pair), [Action::Close(attempt)], "the relayed one goes on");
        attempt = attempt.next();
    }
}

#[test]
fn the_relayed_connection_is_kept_until_the_direct_one_is_open_and_a_long_peace_is_forgiven() {
    let mut pair = relayed();
    let tried = until_tried(&mut pair, 1000, SECOND);
    pair.handle_connection(at(tried + 3000), SECOND, ConnectionEvent::Opened);
    let connected = Action::Report(PairReport::Connected);
    assert_eq!(actions(&mut pair), [Action::Retire(FIRST), connected]);
    let relayed_again = |pair: &mut Pair, now: u64| {
        (now..).step_by(500).find_map(|millis| {
            pair.handle_connection(at(millis), SECOND, ConnectionEvent::Relayed);
            (!actions(pair).is_empty()).then_some(millis - now)
        })
    };
    // It did not last: the next pause is twice as long.
    let fallen = tried + 20_000;
    let pause = relayed_again(&mut pair, fallen).unwrap();
    assert!(pause >= SECONDS_10, "{pause}");
    let third = SECOND.next();
    pair.handle_connection(at(fallen + pause + 500), third, ConnectionEvent::Ended);
    actions(&mut pair);
    // And now it was direct for long.
    let pause = relayed_again(&mut pair, fallen + pause + 70_000).unwrap();
    assert!(pause <= SECONDS_10 + 500, "{pause}");
}

#[test]
fn only_the_offerer_tries_and_only_while_the_peer_can_be_told() {
    let mut other = answerer();
    connect(&mut other, FIRST);
    let mut pair = relayed();
    pair.handle_peer_away();
    for half_second in 0..1000 {
        let now = at(1000 + half_second * 500);
        other.handle_connection(now, FIRST, ConnectionEvent::Relayed);
        pair.handle_connection(now, FIRST, ConnectionEvent::Relayed);
    }
    assert_eq!((actions(&mut other), actions(&mut pair)), (vec![], vec![]));
}

#[test]
fn when_the_relayed_connection_ends_any_way_is_looked_for() {
    let mut pair = relayed();
    let tried = until_tried(&mut pair, 1000, SECOND);
    pair.handle_connection(at(tried + 1000), FIRST, ConnectionEvent::Ended);
    let [close, lost] = LOST;
    assert_eq!(actions(&mut pair), [close, lost, Action::Close(SECOND)]);
    until_next_attempt(&mut pair, SECOND.next());
}
