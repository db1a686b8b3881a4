//! The decisions about the connection to one other member, as a pure state machine: when an attempt
//! starts, what replaces it, when it is given up. It knows no socket, clock or WebRTC.
//!
//! **Rule R4: every attempt has a deadline.** With `webrtc` 0.21.1 a DTLS handshake whose server
//! flight is lost can be stuck for good: the client repeats itself for 8 s, then its channels close,
//! and the side that is the server is told nothing. So after its deadline an attempt is replaced by a
//! new one with a new connection and a new number, for as long as both members are there. The member
//! with the lower slot offers and counts the attempts; the other can only ask.

use std::collections::VecDeque;
use std::time::Duration;

use rollback_core::Timestamp;
use rollback_signaling::{AttemptId, SignalPayload, Text};

use crate::backoff::Backoff;

/// The state of the connection to one member.
#[derive(Debug)]
pub(crate) struct Pair {
    role: Role,
    state: State,
    /// The newest attempt that was started or offered by the peer's present process.
    newest: Option<AttemptId>,
    peer_incarnation: u64,
    peer_is_here: bool,
    signaling_is_up: bool,
    offer_accepted_at: Option<Timestamp>,
    backoff: Backoff,
    actions: VecDeque<Action>,
    stale_signals: u64,
}

/// Who starts attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The lower slot.
    Offerer,
    /// The higher slot.
    Answerer,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a connection, as the offerer or with the peer's offer. There is none at this moment.
    Open { attempt: AttemptId, offer: Option<String> },
    /// Pass something to the connection.
    Feed(Remote),
    /// Close the connection.
    Close,
    /// Send this to the peer.
    Signal(SignalPayload),
    /// Tell the game.
    Report(PairReport),
}

/// What the peer says about the attempt in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remote {
    Answer(String),
    Candidate(String),
}

/// What the game should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PairReport {
    Connected,
    Disconnected,
    Left,
}

/// What a connection says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectionEvent {
    /// The own session description is ready.
    Description(String),
    /// The own side may be reached here.
    Candidate(String),
    /// All channels are open.
    Opened,
    /// Nothing has come from the peer for a while.
    Interrupted,
    /// Something came again.
    Resumed,
    /// It is over.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No connection; the next try, or question to the offerer, is due at this time.
    Idle { retry_at: Timestamp },
    /// An attempt that is given up at this time.
    Attempting { attempt: AttemptId, give_up_at: Timestamp },
    /// Connected.
    Connected { attempt: AttemptId },
    /// Connected, but nothing comes; replaced at this time, once that is possible.
    Interrupted { attempt: AttemptId, give_up_at: Timestamp },
    /// The peer left for good.
    Left,
}

impl Pair {
    /// A pair that connects at once if it is the offerer; the answerer waits for an offer.
    pub(crate) fn new(now: Timestamp, role: Role, peer_incarnation: u64, seed: u64) -> Self {
        let retry_at = match role {
            Role::Offerer => now,
            Role::Answerer => now.plus(FIRST_QUESTION_AFTER),
        };
        Self {
            role,
            state: State::Idle { retry_at },
            newest: None,
            peer_incarnation,
            peer_is_here: true,
            signaling_is_up: true,
            offer_accepted_at: None,
            backoff: Backoff::new(RETRY_FIRST, RETRY_MAX, seed),
            actions: VecDeque::new(),
            stale_signals: 0,
        }
    }

    /// What has to be done next.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        match self.state {
            State::Idle { retry_at } => self.can_signal().then_some(retry_at),
            State::Attempting { give_up_at, .. } => Some(give_up_at),
            State::Interrupted { give_up_at, .. } => self.can_signal().then_some(give_up_at),
            State::Connected { .. } | State::Left => None,
        }
    }

    /// Signals of attempts that were over, since the last call.
    pub(crate) fn take_stale_signals(&mut self) -> u64 {
        std::mem::take(&mut self.stale_signals)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        if self.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        match (self.state, self.role) {
            (State::Idle { .. }, Role::Offerer) => self.start_attempt(now),
            (State::Idle { .. }, Role::Answerer) => {
                let replaces = self.newest;
                self.actions.push_back(Action::Signal(SignalPayload::RequestOffer { replaces }));
                let next = self.backoff.next_delay().max(QUESTION_INTERVAL);
                self.state = State::Idle { retry_at: now.plus(next) };
            }
            _ => self.abandon(now),
        }
    }

    /// Takes a signal of the peer.
    pub(crate) fn handle_signal(&mut self, now: Timestamp, payload: SignalPayload) {
        match (payload, self.role) {
            (SignalPayload::Offer { attempt, sdp }, Role::Answerer) => {
                self.handle_offer(now, attempt, sdp.into());
            }
            (SignalPayload::Answer { attempt, sdp }, Role::Offerer) => {
                self.feed(attempt, Remote::Answer(sdp.into()));
            }
            (SignalPayload::Candidate { attempt, candidate }, _) => {
                self.feed(attempt, Remote::Candidate(candidate.into()));
            }
            (SignalPayload::RequestOffer { replaces }, Role::Offerer) => {
                self.handle_request(now, replaces);
            }
            (SignalPayload::Offer { .. } | SignalPayload::RequestOffer { .. }, _)
            | (SignalPayload::Answer { .. }, Role::Answerer) => self.stale_signals += 1,
        }
    }

    /// Takes what a connection says about itself; one that was replaced is not listened to.
    pub(crate) fn handle_connection(
        &mut self,
        now: Timestamp,
        attempt: AttemptId,
        event: ConnectionEvent,
    ) {
        if self.current() != Some(attempt) {
            return;
        }
        match (event, self.state) {
            (ConnectionEvent::Description(sdp), _) => self.signal_description(now, attempt, sdp),
            (ConnectionEvent::Candidate(candidate), _) => {
                // One that is longer than any honest one is not worth an error.
                if let Ok(candidate) = Text::try_from(candidate) {
                    let payload = SignalPayload::Candidate { attempt, candidate };
                    self.actions.push_back(Action::Signal(payload));
                }
            }
            (ConnectionEvent::Opened, State::Attempting { .. }) => {
                self.state = State::Connected { attempt };
                self.backoff.reset();
                self.actions.push_back(Action::Report(PairReport::Connected));
            }
            (ConnectionEvent::Interrupted, State::Connected { .. }) => {
                self.state = State::Interrupted { attempt, give_up_at: now.plus(INTERRUPTION_MAX) };
            }
            (ConnectionEvent::Resumed, State::Interrupted { .. }) => {
                self.state = State::Connected { attempt };
            }
            (ConnectionEvent::Ended, _) => self.abandon(now),
            (
                ConnectionEvent::Opened | ConnectionEvent::Interrupted | ConnectionEvent::Resumed,
                _,
            ) => {}
        }
    }

    /// The own connection to the server is there, or lost.
    pub(crate) fn handle_signaling(&mut self, is_up: bool) {
        self.signaling_is_up = is_up;
    }

    /// The peer lost its connection to the server. Its connection to us may be fine.
    pub(crate) fn handle_peer_away(&mut self) {
        self.peer_is_here = false;
    }

    /// The peer is at the server, perhaps as a new process, which has no connection to us.
    pub(crate) fn handle_peer_here(&mut self, now: Timestamp, incarnation: u64) {
        self.peer_is_here = true;
        if self.state == State::Left {
            return;
        }
        if incarnation != self.peer_incarnation {
            self.peer_incarnation = incarnation;
            self.drop_connection();
            // The new process counts anew.
            if self.role == Role::Answerer {
                self.newest = None;
            }
            self.offer_accepted_at = None;
            self.backoff.reset();
            self.state = State::Idle { retry_at: self.first_try_at(now) };
        } else if let State::Idle { .. } = self.state {
            self.state = State::Idle { retry_at: self.first_try_at(now) };
        }
    }

    /// The peer left for good.
    pub(crate) fn handle_peer_left(&mut self) {
        if self.state != State::Left {
            self.drop_connection();
            self.state = State::Left;
            self.actions.push_back(Action::Report(PairReport::Left));
        }
    }

    fn start_attempt(&mut self, now: Timestamp) {
        let attempt = self.newest.map_or(AttemptId::new(1), AttemptId::next);
        self.newest = Some(attempt);
        // A slow way needs longer than a lost packet should cost at first.
        let patience = ATTEMPT_MAX * (self.backoff.tries() + 1).min(ATTEMPT_STEPS);
        self.state = State::Attempting { attempt, give_up_at: now.plus(patience) };
        self.actions.push_back(Action::Open { attempt, offer: None });
    }

    fn handle_offer(&mut self, now: Timestamp, attempt: AttemptId, sdp: String) {
        let is_new = self.newest.is_none_or(|newest| attempt > newest);
        let is_too_soon = self.offer_accepted_at.is_some_and(|at| now.since(at) < OFFER_INTERVAL);
        if self.state == State::Left || !is_new || is_too_soon {
            self.stale_signals += 1;
            return;
        }
        self.drop_connection();
        self.newest = Some(attempt);
        self.offer_accepted_at = Some(now);
        let give_up_at = now.plus(ATTEMPT_MAX * (ATTEMPT_STEPS + 1));
        self.state = State::Attempting { attempt, give_up_at };
        self.actions.push_back(Action::Open { attempt, offer: Some(sdp) });
    }

    fn handle_request(&mut self, now: Timestamp, replaces: Option<AttemptId>) {
        let is_lost_there = match self.state {
            State::Attempting { attempt, .. } => replaces == Some(attempt),
            State::Connected { attempt } | State::Interrupted { attempt, .. } => {
                replaces.is_none_or(|replaced| replaced == attempt)
            }
            State::Idle { .. } | State::Left => false,
        };
        if is_lost_there {
            self.abandon(now);
        } else {
            self.stale_signals += 1;
        }
    }

    fn feed(&mut self, attempt: AttemptId, remote: Remote) {
        if self.current() == Some(attempt) {
            self.actions.push_back(Action::Feed(remote));
        } else {
            self.stale_signals += 1;
        }
    }

    fn signal_description(&mut self, now: Timestamp, attempt: AttemptId, sdp: String) {
        let Ok(sdp) = Text::try_from(sdp) else {
            self.abandon(now);
            return;
        };
        self.actions.push_back(Action::Signal(match self.role {
            Role::Offerer => SignalPayload::Offer { attempt, sdp },
            Role::Answerer => SignalPayload::Answer { attempt, sdp },
        }));
    }

    /// Gives the connection up; the next try comes after a while.
    fn abandon(&mut self, now: Timestamp) {
        self.drop_connection();
        self.state = State::Idle { retry_at: now.plus(self.backoff.next_delay()) };
    }

    fn drop_connection(&mut self) {
        if self.current().is_none() {
            return;
        }
        self.actions.push_back(Action::Close);
        if matches!(self.state, State::Connected { .. } | State::Interrupted { .. }) {
            self.actions.push_back(Action::Report(PairReport::Disconnected));
        }
    }

    fn current(&self) -> Option<AttemptId> {
        match self.state {
            State::Attempting { attempt, .. }
            | State::Connected { attempt }
            | State::Interrupted { attempt, .. } => Some(attempt),
            State::Idle { .. } | State::Left => None,
        }
    }

    fn first_try_at(&self, now: Timestamp) -> Timestamp {
        match self.role {
            Role::Offerer => now,
            Role::Answerer => now.plus(FIRST_QUESTION_AFTER),
        }
    }

    /// Whether a signal to the peer would reach it. Without that, a new attempt is hopeless, and an
    /// interrupted connection that may recover is worth more.
    fn can_signal(&self) -> bool {
        self.signaling_is_up && self.peer_is_here
    }
}

/// How long the first attempts may take; connecting takes 0.1–0.8 s at usual round trips.
const ATTEMPT_MAX: Duration = Duration::from_secs(4);

/// Later attempts may take up to so many times as long: with TURN and a round trip of half a
/// second, the eleven round trips of all handshakes together need it.
const ATTEMPT_STEPS: u32 = 3;

/// First delay between two attempts.
const RETRY_FIRST: Duration = Duration::from_millis(200);

/// Longest delay between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// How long an interruption may last before the connection is replaced. ICE reports it after 1.5 s
/// without a packet; after 2.5 s connections still came back by themselves within 0.4 s.
const INTERRUPTION_MAX: Duration = Duration::from_millis(1500);

/// How long an answerer waits for the first offer before it asks for one.
const FIRST_QUESTION_AFTER: Duration = Duration::from_secs(1);

/// Least time between two questions: the offerer's own deadline comes first.
const QUESTION_INTERVAL: Duration = Duration::from_secs(2);

/// Least time between two offers; each costs a key pair and sockets, so a flood of them is dropped.
/// Honest ones are at least half of [`RETRY_FIRST`] apart when they are sent.
const OFFER_INTERVAL: Duration = Duration::from_millis(40);

#[cfg(test)]
mod tests {
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

    const LOST: [Action; 2] = [Action::Close, Action::Report(PairReport::Disconnected)];

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

    #[test]
    fn an_attempt_that_does_not_open_is_replaced_by_a_new_one_after_its_deadline() {
        let mut pair = offerer();
        assert_eq!(pair.next_timeout(), Some(at(4000)));
        pair.handle_timeout(at(3999));
        assert_eq!(actions(&mut pair), []);
        pair.handle_timeout(at(4000));
        assert_eq!(actions(&mut pair), [Action::Close]);
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
        assert_eq!(pair.take_stale_signals(), 2);
        pair.handle_signal(at(4300), answer(SECOND));
        assert_eq!(actions(&mut pair), [Action::Feed(Remote::Answer(String::new()))]);
    }

    #[test]
    fn an_answerer_takes_newer_offers_only() {
        let mut pair = answerer();
        pair.handle_signal(at(500), offer(FIRST));
        assert_eq!(actions(&mut pair), []);
        pair.handle_signal(at(500), offer(SECOND));
        let opened = Action::Open { attempt: SECOND, offer: Some(String::new()) };
        assert_eq!(actions(&mut pair), [Action::Close, opened]);
        assert_eq!(pair.take_stale_signals(), 1);
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
        assert_eq!((pair.take_stale_signals(), other.take_stale_signals()), (1, 2));
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
        assert_eq!(pair.next_timeout(), Some(at(6500)));
        pair.handle_connection(at(6000), FIRST, ConnectionEvent::Resumed);
        assert_eq!(pair.next_timeout(), None);
        assert_eq!(actions(&mut pair), []);
    }

    #[test]
    fn a_long_interruption_ends_the_connection_once_a_new_one_can_be_made() {
        let mut pair = offerer();
        connect(&mut pair, FIRST);
        pair.handle_signaling(false);
        pair.handle_connection(at(5000), FIRST, ConnectionEvent::Interrupted);
        pair.handle_timeout(at(60_000));
        assert_eq!(actions(&mut pair), [], "it may still come back, and there is nothing better");
        pair.handle_signaling(true);
        pair.handle_timeout(at(60_001));
        assert_eq!(actions(&mut pair), LOST);
    }

    #[test]
    fn no_attempt_starts_while_the_peer_cannot_be_told() {
        let mut pair = offerer();
        pair.handle_peer_away();
        pair.handle_timeout(at(4000));
        assert_eq!(actions(&mut pair), [Action::Close]);
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
        assert_eq!(actions(&mut pair), LOST);
        assert_eq!(until_next_attempt(&mut pair, SECOND), at(9000));

        let mut pair = answerer();
        connect(&mut pair, FIRST);
        pair.handle_peer_here(at(9000), 8);
        assert_eq!(actions(&mut pair), LOST);
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
        assert_eq!(pair.take_stale_signals(), 3);
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
}
