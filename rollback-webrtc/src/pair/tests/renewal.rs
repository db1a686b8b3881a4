//! A worn connection and the one that opens beside it.

use super::*;

/// An offerer whose worn connection has a successor that opens.
fn renewing() -> Pair {
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    pair.handle_connection(at(6000), FIRST, ConnectionEvent::Worn);
    assert_eq!(actions(&mut pair), [open(SECOND)]);
    pair
}

#[test]
fn a_worn_connection_is_kept_until_the_offerers_next_one_is_open() {
    let mut pair = renewing();
    pair.handle_connection(at(6100), FIRST, ConnectionEvent::Worn);
    pair.handle_connection(at(6200), SECOND, ConnectionEvent::Interrupted);
    assert!(actions(&mut pair).is_empty(), "one at a time");
    pair.handle_connection(at(6300), SECOND, ConnectionEvent::Description(String::new()));
    assert_eq!(actions(&mut pair), [Action::Signal(offer(SECOND))]);
    let answer = SignalPayload::Answer { attempt: SECOND, sdp: Text::default() };
    pair.handle_signal(at(6400), answer);
    assert_eq!(actions(&mut pair), [Action::Feed(SECOND, Remote::Answer(String::new()))]);
    pair.handle_connection(at(6500), SECOND, ConnectionEvent::Opened);
    let connected = Action::Report(PairReport::Connected);
    assert_eq!(actions(&mut pair), [Action::Retire(FIRST), connected]);
    pair.handle_connection(at(6600), FIRST, ConnectionEvent::Ended);
    assert!(actions(&mut pair).is_empty(), "it was retired");
}

#[test]
fn a_worn_connection_is_not_replaced_while_the_peer_cannot_be_told_nor_by_the_answerer() {
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    pair.handle_peer_away();
    pair.handle_connection(at(6000), FIRST, ConnectionEvent::Worn);
    assert!(actions(&mut pair).is_empty(), "it is all there is");
    let mut pair = answerer();
    connect(&mut pair, FIRST);
    pair.handle_connection(at(6000), FIRST, ConnectionEvent::Worn);
    assert!(actions(&mut pair).is_empty(), "the offerer sees the same");
}

#[test]
fn a_successor_that_does_not_open_is_tried_again_after_a_while() {
    for is_ended in [true, false] {
        let mut pair = renewing();
        if is_ended {
            pair.handle_connection(at(7000), SECOND, ConnectionEvent::Ended);
        } else {
            assert_eq!(pair.next_timeout(), Some(at(22_000)));
            pair.handle_timeout(at(22_000));
        }
        assert_eq!(actions(&mut pair), [Action::Close(SECOND)]);
        assert_eq!(pair.next_timeout(), None, "the connection goes on");
        if is_ended {
            pair.handle_connection(at(8000), FIRST, ConnectionEvent::Worn);
            assert!(actions(&mut pair).is_empty(), "too soon");
        }
        pair.handle_connection(at(22_000), FIRST, ConnectionEvent::Worn);
        assert_eq!(actions(&mut pair), [open(SECOND.next())]);
    }
}

#[test]
fn a_worn_connection_that_ends_leaves_its_successor() {
    let mut pair = renewing();
    pair.handle_connection(at(7000), FIRST, ConnectionEvent::Ended);
    assert_eq!(actions(&mut pair), LOST);
    connect(&mut pair, SECOND);
    let mut pair = renewing();
    pair.handle_signal(at(7000), request(Some(FIRST)));
    assert_eq!(actions(&mut pair), LOST);
    connect(&mut pair, SECOND);
}

#[test]
fn one_that_has_no_connection_any_more_gets_another() {
    let mut pair = renewing();
    pair.handle_signal(at(7000), request(Some(SECOND)));
    let [close, lost] = LOST;
    assert_eq!(actions(&mut pair), [Action::Close(SECOND), close, lost]);
    until_next_attempt(&mut pair, SECOND.next());
    let mut pair = renewing();
    pair.handle_peer_left();
    let left = Action::Report(PairReport::Left);
    let [close, lost] = LOST;
    assert_eq!(actions(&mut pair), [Action::Close(SECOND), close, lost, left]);
}

#[test]
fn an_answerer_keeps_an_open_connection_until_the_one_offered_is_open() {
    let mut pair = answerer();
    connect(&mut pair, FIRST);
    pair.handle_signal(at(9000), offer(SECOND));
    let opened = |attempt| Action::Open { attempt, offer: Some(String::new()) };
    assert_eq!(actions(&mut pair), [opened(SECOND)]);
    let third = SECOND.next();
    pair.handle_signal(at(10_000), offer(third));
    assert_eq!(actions(&mut pair), [Action::Close(SECOND), opened(third)]);
    pair.handle_connection(at(10_100), third, ConnectionEvent::Description("v=0".to_owned()));
    let sdp = Text::try_from("v=0".to_owned()).unwrap();
    let answer = SignalPayload::Answer { attempt: third, sdp };
    assert_eq!(actions(&mut pair), [Action::Signal(answer)]);
    pair.handle_connection(at(11_000), third, ConnectionEvent::Opened);
    let connected = Action::Report(PairReport::Connected);
    assert_eq!(actions(&mut pair), [Action::Retire(FIRST), connected]);
}

#[test]
fn the_worn_connection_may_be_restarted_while_its_successor_opens_and_no_answer_counts_twice() {
    let answer = |attempt| SignalPayload::Answer { attempt, sdp: Text::default() };
    let taken = |attempt| Action::Feed(attempt, Remote::Answer(String::new()));
    let mut pair = offerer();
    pair.handle_signal(at(50), answer(FIRST));
    assert_eq!(actions(&mut pair), [taken(FIRST)]);
    connect(&mut pair, FIRST);
    pair.handle_connection(at(6000), FIRST, ConnectionEvent::Worn);
    pair.handle_signal(at(6100), answer(SECOND));
    assert_eq!(actions(&mut pair), [open(SECOND), taken(SECOND)]);
    pair.handle_signal(at(6200), SignalPayload::RequestRestart { attempt: FIRST });
    assert_eq!(actions(&mut pair), [Action::Feed(FIRST, Remote::Restart)]);
    let restarted =
        SignalPayload::RestartAnswer { attempt: FIRST, restart: 1, sdp: Text::default() };
    pair.handle_signal(at(6300), restarted.clone());
    assert_eq!(actions(&mut pair), [taken(FIRST)]);
    for replayed in [answer(FIRST), answer(SECOND), restarted] {
        pair.handle_signal(at(6400), replayed);
    }
    assert!(actions(&mut pair).is_empty());
    assert_eq!(unused(&mut pair), (3, 3));
    pair.handle_connection(at(6500), SECOND, ConnectionEvent::Opened);
    actions(&mut pair);
    pair.handle_signal(at(6600), answer(SECOND));
    assert!(actions(&mut pair).is_empty(), "it was answered before it took the place");
}

#[test]
fn an_interrupted_connection_is_kept_while_another_that_is_offered_opens() {
    let mut pair = answerer();
    connect(&mut pair, FIRST);
    pair.handle_connection(at(6000), FIRST, ConnectionEvent::Interrupted);
    actions(&mut pair);
    pair.handle_signal(at(6500), offer(SECOND));
    let opened = Action::Open { attempt: SECOND, offer: Some(String::new()) };
    assert_eq!(actions(&mut pair), [opened]);
    pair.handle_connection(at(6600), FIRST, ConnectionEvent::Resumed);
    assert_eq!(actions(&mut pair), [Action::Report(PairReport::Resumed)]);
    pair.handle_connection(at(6700), SECOND, ConnectionEvent::Opened);
    let connected = Action::Report(PairReport::Connected);
    assert_eq!(actions(&mut pair), [Action::Retire(FIRST), connected]);
}

#[test]
fn a_successor_that_is_left_alone_has_the_time_of_a_first_attempt() {
    let mut pair = renewing();
    pair.handle_connection(at(7000), FIRST, ConnectionEvent::Ended);
    assert_eq!(pair.next_timeout(), Some(at(7000).plus(ATTEMPT_MAX)));
}
