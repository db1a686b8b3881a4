//! What a pair decides, on a clock that the test turns.

mod direct;
mod renewal;

use super::*;

const FIRST: AttemptId = AttemptId::new(1);
const SECOND: AttemptId = AttemptId::new(2);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn actions(pair: &mut Pair) -> Vec<Action> {
    std::iter::from_fn(|| pair.poll_action()).collect()
}

fn open(attempt: AttemptId) -> Action {
    Action::Open { attempt, offer: None }
}

fn offer(attempt: AttemptId) -> SignalPayload {
    SignalPayload::Offer { attempt, sdp: Text::default() }
}

fn request(replaces: Option<AttemptId>) -> SignalPayload {
    SignalPayload::RequestOffer { replaces }
}

const LOST: [Action; 2] = [Action::Close(FIRST), Action::Report(PairReport::Disconnected)];

/// An offerer whose first attempt has started.
fn offerer() -> Pair {
    let mut pair = Pair::new(at(0), Role::Offerer, 7, 1);
    pair.handle_timeout(at(0));
    assert_eq!(actions(&mut pair), [open(FIRST)]);
    pair
}

/// An answerer with an offer.
fn answerer() -> Pair {
    let mut pair = Pair::new(at(0), Role::Answerer, 7, 1);
    pair.handle_signal(at(10), offer(FIRST));
    let opened = Action::Open { attempt: FIRST, offer: Some(String::new()) };
    assert_eq!(actions(&mut pair), [opened]);
    pair
}

fn connect(pair: &mut Pair, attempt: AttemptId) {
    pair.handle_connection(at(100), attempt, ConnectionEvent::Opened);
    assert_eq!(actions(pair), [Action::Report(PairReport::Connected)]);
}

/// Lets time pass until the next attempt starts, and returns when that was.
fn until_next_attempt(pair: &mut Pair, attempt: AttemptId) -> Timestamp {
    for _ in 0..10 {
        let due = pair.next_timeout().unwrap();
        pair.handle_timeout(due);
        if actions(pair).contains(&open(attempt)) {
            return due;
        }
    }
    panic!("no attempt {attempt:?}");
}

/// Signals that were not taken, and those of them that had been before.
fn unused(pair: &mut Pair) -> (u64, u64) {
    let unused = pair.take_unused();
    (unused.stale, unused.replayed)
}

#[test]
fn an_attempt_that_does_not_open_is_replaced_by_a_new_one_after_its_deadline() {
    let mut pair = offerer();
    assert_eq!(pair.next_timeout(), Some(at(4000)));
    pair.handle_timeout(at(3999));
    assert_eq!(actions(&mut pair), []);
    pair.handle_timeout(at(4000));
    assert_eq!(actions(&mut pair), [Action::Close(FIRST)]);
    let next = until_next_attempt(&mut pair, SECOND);
    assert!(next > at(4000) && next <= at(4200), "{next}");
}

#[test]
fn attempts_go_on_for_ever_with_more_patience_and_bounded_delays() {
    let mut pair = offerer();
    let mut started = at(0);
    for number in 2..200 {
        let next = until_next_attempt(&mut pair, AttemptId::new(number));
        let took = next.since(started);
        assert!(took >= Duration::from_secs(4) && took <= Duration::from_secs(22), "{took:?}");
        started = next;
    }
}

#[test]
fn signals_and_events_of_a_replaced_attempt_are_dropped() {
    let mut pair = offerer();
    pair.handle_timeout(at(4000));
    until_next_attempt(&mut pair, SECOND);
    let answer = |attempt| SignalPayload::Answer { attempt, sdp: Text::default() };
    pair.handle_signal(at(4300), answer(FIRST));
    let candidate = SignalPayload::Candidate { attempt: FIRST, candidate: Text::default() };
    pair.handle_signal(at(4300), candidate);
    pair.handle_connection(at(4300), FIRST, ConnectionEvent::Opened);
    pair.handle_connection(at(4300), FIRST, ConnectionEvent::Ended);
    assert_eq!(actions(&mut pair), []);
    assert_eq!(unused(&mut pair), (2, 0));
    pair.handle_signal(at(4300), answer(SECOND));
    assert_eq!(actions(&mut pair), [Action::Feed(SECOND, Remote::Answer(String::new()))]);
    pair.handle_signal(at(4300), answer(SECOND));
    assert_eq!(actions(&mut pair), [], "an answer is taken once");
    assert_eq!(unused(&mut pair), (1, 1));
}

#[test]
fn an_answerer_takes_newer_offers_only() {
    let mut pair = answerer();
    pair.handle_signal(at(500), offer(FIRST));
    assert_eq!(actions(&mut pair), []);
    pair.handle_signal(at(500), offer(SECOND));
    let opened = Action::Open { attempt: SECOND, offer: Some(String::new()) };
    assert_eq!(actions(&mut pair), [Action::Close(FIRST), opened]);
    assert_eq!(unused(&mut pair), (1, 1));
}

#[test]
fn a_flood_of_offers_opens_few_connections() {
    let mut pair = answerer();
    for number in 2..1000 {
        pair.handle_signal(at(10 + u64::from(number) / 10), offer(AttemptId::new(number)));
    }
    let opened = actions(&mut pair);
    let opened = opened.iter().filter(|action| matches!(action, Action::Open { .. })).count();
    assert!(opened <= 3, "{opened} in 100 ms");
}

#[test]
fn roles_are_not_changed_by_what_the_peer_sends() {
    let mut pair = offerer();
    pair.handle_signal(at(1), offer(SECOND));
    let mut other = answerer();
    let answer = SignalPayload::Answer { attempt: FIRST, sdp: Text::default() };
    other.handle_signal(at(11), answer);
    other.handle_signal(at(11), request(Some(FIRST)));
    assert_eq!(actions(&mut pair), []);
    assert_eq!(actions(&mut other), []);
    assert_eq!((unused(&mut pair), unused(&mut other)), ((1, 0), (2, 0)));
}

#[test]
fn a_lost_connection_is_reported_and_replaced() {
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    pair.handle_connection(at(9000), FIRST, ConnectionEvent::Ended);
    assert_eq!(actions(&mut pair), LOST);
    assert!(until_next_attempt(&mut pair, SECOND) <= at(9200));
}

#[test]
fn a_short_interruption_is_left_alone() {
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    pair.handle_connection(at(5000), FIRST, ConnectionEvent::Interrupted);
    assert_eq!(pair.next_timeout(), Some(at(7200)));
    pair.handle_connection(at(6000), FIRST, ConnectionEvent::Resumed);
    assert_eq!(pair.next_timeout(), None);
    let [interrupted, resumed] = [PairReport::Interrupted, PairReport::Resumed].map(Action::Report);
    assert_eq!(actions(&mut pair), [interrupted, Action::Feed(FIRST, Remote::Restart), resumed]);
}

#[test]
fn a_long_interruption_ends_the_connection_once_a_new_one_can_be_made() {
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    pair.handle_signaling(false);
    pair.handle_connection(at(5000), FIRST, ConnectionEvent::Interrupted);
    pair.handle_timeout(at(60_000));
    let report = Action::Report(PairReport::Interrupted);
    assert_eq!(actions(&mut pair), [report], "it may still come back, and there is nothing better");
    pair.handle_signaling(true);
    pair.handle_timeout(at(60_001));
    assert_eq!(actions(&mut pair), LOST);
}

#[test]
fn no_attempt_starts_while_the_peer_cannot_be_told() {
    let mut pair = offerer();
    pair.handle_peer_away();
    pair.handle_timeout(at(4000));
    assert_eq!(actions(&mut pair), [Action::Close(FIRST)]);
    assert_eq!(pair.next_timeout(), None);
    pair.handle_peer_here(at(50_000), 7);
    assert_eq!(until_next_attempt(&mut pair, SECOND), at(50_000));
}

#[test]
fn a_peer_that_returns_to_the_server_keeps_its_connection() {
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    pair.handle_peer_away();
    pair.handle_peer_here(at(9000), 7);
    assert_eq!(actions(&mut pair), []);
}

#[test]
fn a_new_process_of_the_peer_gets_a_new_connection() {
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    pair.handle_peer_here(at(9000), 8);
    let renewed = Action::Report(PairReport::Renewed);
    assert_eq!(actions(&mut pair), [renewed, LOST[0].clone(), LOST[1].clone()]);
    assert_eq!(until_next_attempt(&mut pair, SECOND), at(9000));

    let mut pair = answerer();
    connect(&mut pair, FIRST);
    pair.handle_peer_here(at(9000), 8);
    let renewed = Action::Report(PairReport::Renewed);
    assert_eq!(actions(&mut pair), [renewed, LOST[0].clone(), LOST[1].clone()]);
    pair.handle_signal(at(9001), offer(FIRST));
    let opened = Action::Open { attempt: FIRST, offer: Some(String::new()) };
    assert_eq!(actions(&mut pair), [opened], "the new process counts anew");
}

#[test]
fn an_answerer_asks_for_an_offer_that_does_not_come() {
    let mut pair = Pair::new(at(0), Role::Answerer, 7, 1);
    assert_eq!(pair.next_timeout(), Some(at(1000)));
    pair.handle_timeout(at(1000));
    assert_eq!(actions(&mut pair), [Action::Signal(request(None))]);
    assert!(pair.next_timeout() >= Some(at(3000)));
}

#[test]
fn a_question_replaces_the_connection_that_the_other_side_has_lost() {
    for replaces in [None, Some(FIRST)] {
        let mut pair = offerer();
        connect(&mut pair, FIRST);
        pair.handle_signal(at(9000), request(replaces));
        assert_eq!(actions(&mut pair), LOST);
    }
}

#[test]
fn a_question_about_another_attempt_changes_nothing() {
    let mut pair = offerer();
    pair.handle_signal(at(100), request(None));
    pair.handle_signal(at(100), request(Some(SECOND)));
    assert_eq!(actions(&mut pair), [], "an offer is on its way already");
    connect(&mut pair, FIRST);
    pair.handle_signal(at(200), request(Some(SECOND)));
    assert_eq!(actions(&mut pair), []);
    assert_eq!(unused(&mut pair), (3, 0));
}

#[test]
fn a_peer_that_left_is_left_alone_for_good() {
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    pair.handle_peer_left();
    let report = Action::Report(PairReport::Left);
    assert_eq!(actions(&mut pair), [LOST[0].clone(), LOST[1].clone(), report]);
    pair.handle_peer_left();
    pair.handle_peer_here(at(1), 9);
    pair.handle_signal(at(1), request(None));
    pair.handle_timeout(at(1_000_000));
    assert_eq!(pair.next_timeout(), None);
    assert_eq!(actions(&mut pair), []);
}

#[test]
fn descriptions_become_offers_and_answers() {
    let description = || ConnectionEvent::Description("v=0".to_owned());
    let sdp = || Text::try_from("v=0".to_owned()).unwrap();
    let mut pair = offerer();
    pair.handle_connection(at(1), FIRST, description());
    let offer = SignalPayload::Offer { attempt: FIRST, sdp: sdp() };
    assert_eq!(actions(&mut pair), [Action::Signal(offer)]);
    let mut pair = answerer();
    pair.handle_connection(at(11), FIRST, description());
    let answer = SignalPayload::Answer { attempt: FIRST, sdp: sdp() };
    assert_eq!(actions(&mut pair), [Action::Signal(answer)]);
}

#[test]
fn an_interrupted_connection_is_restarted_by_the_offerer_and_at_the_word_of_the_answerer() {
    let sdp = || Text::try_from("v=0".to_owned()).unwrap();
    let interrupted = Action::Report(PairReport::Interrupted);
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    let mut other = answerer();
    connect(&mut other, FIRST);
    other.handle_connection(at(5000), FIRST, ConnectionEvent::Interrupted);
    let question = SignalPayload::RequestRestart { attempt: FIRST };
    assert_eq!(actions(&mut other), [interrupted.clone(), Action::Signal(question.clone())]);

    pair.handle_signal(at(5020), question.clone());
    assert_eq!(actions(&mut pair), [Action::Feed(FIRST, Remote::Restart)]);
    // It notices by itself, too, and is asked again.
    pair.handle_connection(at(5030), FIRST, ConnectionEvent::Interrupted);
    pair.handle_signal(at(5040), question.clone());
    assert_eq!(actions(&mut pair), [interrupted]);
    pair.handle_connection(at(5050), FIRST, ConnectionEvent::Description("v=0".to_owned()));
    let offer = SignalPayload::RestartOffer { attempt: FIRST, restart: 1, sdp: sdp() };
    assert_eq!(actions(&mut pair), [Action::Signal(offer.clone())]);

    other.handle_signal(at(5070), offer.clone());
    assert_eq!(actions(&mut other), [Action::Feed(FIRST, Remote::Offer("v=0".to_owned()))]);
    other.handle_connection(at(5080), FIRST, ConnectionEvent::Description("v=0".to_owned()));
    let answer = SignalPayload::RestartAnswer { attempt: FIRST, restart: 1, sdp: sdp() };
    assert_eq!(actions(&mut other), [Action::Signal(answer.clone())]);
    pair.handle_signal(at(5100), answer);
    assert_eq!(actions(&mut pair), [Action::Feed(FIRST, Remote::Answer("v=0".to_owned()))]);
    assert_eq!((unused(&mut pair), unused(&mut other)), ((1, 0), (0, 0)));

    // The same offer again, another attempt's question, and a question much later.
    other.handle_signal(at(9000), offer);
    pair.handle_signal(at(9000), SignalPayload::RequestRestart { attempt: SECOND });
    assert_eq!((actions(&mut pair), actions(&mut other)), (vec![], vec![]));
    pair.handle_signal(at(9000), question);
    assert_eq!(actions(&mut pair), [Action::Feed(FIRST, Remote::Restart)]);
}

#[test]
fn a_flood_of_restarts_is_dropped_and_none_opens_a_connection() {
    let mut other = answerer();
    let offer =
        |restart| SignalPayload::RestartOffer { attempt: FIRST, restart, sdp: Text::default() };
    other.handle_signal(at(20), offer(1));
    assert_eq!(actions(&mut other), [], "the connection is not open yet");
    connect(&mut other, FIRST);
    for restart in 1..1000 {
        other.handle_signal(at(1000 + u64::from(restart)), offer(restart));
    }
    assert_eq!(actions(&mut other).len(), 1);
    let mut pair = offerer();
    connect(&mut pair, FIRST);
    for millis in 0..1000 {
        pair.handle_signal(at(1000 + millis), SignalPayload::RequestRestart { attempt: FIRST });
    }
    assert_eq!(actions(&mut pair), [Action::Feed(FIRST, Remote::Restart)]);
}

#[test]
fn a_process_that_is_shut_out_is_spoken_with_no_more_and_another_one_is() {
    let mut pair = answerer();
    connect(&mut pair, FIRST);
    pair.handle_shut_out();
    let report = Action::Report(PairReport::ShutOut);
    assert_eq!(actions(&mut pair), [LOST[0].clone(), LOST[1].clone(), report]);
    pair.handle_shut_out();
    pair.handle_signal(at(5000), offer(SECOND));
    pair.handle_peer_away();
    pair.handle_peer_here(at(6000), 7);
    pair.handle_signal(at(6000), offer(SECOND));
    pair.handle_timeout(at(1_000_000));
    assert_eq!((actions(&mut pair), pair.next_timeout()), (vec![], None));
    assert_eq!(unused(&mut pair), (2, 0));

    pair.handle_peer_here(at(7000), 8);
    assert_eq!(actions(&mut pair), [Action::Report(PairReport::Renewed)]);
    pair.handle_signal(at(7100), offer(FIRST));
    assert_eq!(actions(&mut pair).len(), 1);
}
