//! The decisions about the connection to one other member, as a pure state machine: when an attempt
//! starts, what replaces it, when it is given up. It knows no socket, clock or WebRTC.
//!
//! **Rule R4: every attempt has a deadline.** With `webrtc` 0.21.1 a DTLS handshake whose server
//! flight is lost can be stuck for good: the client repeats itself for 8 s, then its channels close,
//! and the side that is the server is told nothing. So after its deadline an attempt is replaced by a
//! new one with a new connection and a new number, for as long as both members are there. The member
//! with the lower slot offers and counts the attempts; the other can only ask.

mod direct;
mod exchange;
mod renewal;
mod restarting;

use std::collections::VecDeque;
use std::time::Duration;

use rollback_core::Timestamp;
use rollback_signaling::{AttemptId, SignalPayload, Text};

use self::direct::DirectTries;
pub(crate) use self::exchange::{Action, ConnectionEvent, PairReport, Remote, Role, UnusedSignals};
use self::renewal::Successor;
use crate::backoff::Backoff;

/// The state of the connection to one member.
#[derive(Debug)]
pub(crate) struct Pair {
    role: Role,
    state: State,
    /// What is to take the place of the open connection.
    successor: Option<Successor>,
    /// When the last one of those began, or the present connection opened.
    renewed_at: Option<Timestamp>,
    direct: DirectTries,
    /// The newest attempt that was started or offered by the peer's present process.
    newest: Option<AttemptId>,
    peer_incarnation: u64,
    peer_is_here: bool,
    signaling_is_up: bool,
    offer_accepted_at: Option<Timestamp>,
    /// Restarts of the present attempt, and when the last one began.
    restarts: u32,
    /// The last restart of the present attempt that an answer was taken of: no other one is. The first description is 0.
    answered: Option<u32>,
    restarted_at: Option<Timestamp>,
    backoff: Backoff,
    actions: VecDeque<Action>,
    unused: UnusedSignals,
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
    /// Its present process is shut out.
    ShutOut,
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
            successor: None,
            renewed_at: None,
            direct: DirectTries::new(seed),
            newest: None,
            peer_incarnation,
            peer_is_here: true,
            signaling_is_up: true,
            offer_accepted_at: None,
            restarts: 0,
            answered: None,
            restarted_at: None,
            backoff: Backoff::new(RETRY_FIRST, RETRY_MAX, seed),
            actions: VecDeque::new(),
            unused: UnusedSignals::default(),
        }
    }

    /// What has to be done next.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        self.state_due().into_iter().chain(self.successor_due()).min()
    }

    fn state_due(&self) -> Option<Timestamp> {
        match self.state {
            State::Idle { retry_at } => self.can_signal().then_some(retry_at),
            State::Attempting { give_up_at, .. } => Some(give_up_at),
            State::Interrupted { give_up_at, .. } => self.can_signal().then_some(give_up_at),
            State::Connected { .. } | State::ShutOut | State::Left => None,
        }
    }

    /// What was not taken of the peer's signals since the last call.
    pub(crate) fn take_unused(&mut self) -> UnusedSignals {
        std::mem::take(&mut self.unused)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        if self.successor_due().is_some_and(|due| due <= now) {
            self.give_up_successor();
        }
        if self.state_due().is_none_or(|due| due > now) {
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
                self.handle_answer(attempt, 0, sdp.into());
            }
            (SignalPayload::Candidate { attempt, candidate }, _) => {
                self.feed(attempt, Remote::Candidate(candidate.into()));
            }
            (SignalPayload::RequestOffer { replaces }, Role::Offerer) => {
                self.handle_request(now, replaces);
            }
            (SignalPayload::RequestRestart { attempt }, Role::Offerer)
                if self.may_restart(now, attempt) =>
            {
                self.restart(now, attempt);
            }
            (SignalPayload::RestartOffer { attempt, restart, sdp }, Role::Answerer)
                if self.may_restart(now, attempt) && restart > self.restarts =>
            {
                (self.restarts, self.restarted_at) = (restart, Some(now));
                self.actions.push_back(Action::Feed(attempt, Remote::Offer(sdp.into())));
            }
            (SignalPayload::RestartAnswer { attempt, restart, sdp }, Role::Offerer)
                if restart == self.restarts =>
            {
                self.handle_answer(attempt, restart, sdp.into());
            }
            (SignalPayload::RestartOffer { attempt, restart, .. }, Role::Answerer) => {
                self.unused.count(self.current() == Some(attempt) && restart <= self.restarts);
            }
            _ => self.unused.count(false),
        }
    }

    /// Takes what a connection says about itself; one that was replaced is not listened to.
    pub(crate) fn handle_connection(
        &mut self,
        now: Timestamp,
        attempt: AttemptId,
        event: ConnectionEvent,
    ) {
        if self.is_successor(attempt) {
            return self.handle_successor(now, attempt, event);
        }
        if self.current() != Some(attempt) {
            return;
        }
        match (event, self.state) {
            (ConnectionEvent::Description(sdp), _) => {
                if !self.signal_description(attempt, sdp) {
                    self.abandon(now);
                }
            }
            (ConnectionEvent::Candidate(candidate), _) => self.signal_candidate(attempt, candidate),
            (ConnectionEvent::Opened, State::Attempting { .. }) => self.note_opened(now, attempt),
            (ConnectionEvent::Interrupted, State::Connected { .. }) => {
                self.state = State::Interrupted { attempt, give_up_at: now.plus(INTERRUPTION_MAX) };
                self.actions.push_back(Action::Report(PairReport::Interrupted));
                self.mend(now, attempt);
            }
            (ConnectionEvent::Resumed, State::Interrupted { .. }) => {
                self.state = State::Connected { attempt };
                self.actions.push_back(Action::Report(PairReport::Resumed));
            }
            (ConnectionEvent::Echoed(number), State::Connected { .. }) => {
                self.actions.push_back(Action::Report(PairReport::Echoed(number)));
            }
            (ConnectionEvent::Worn, State::Connected { .. }) => self.renew(now),
            (ConnectionEvent::Relayed, State::Connected { .. }) => self.note_relayed(now),
            (ConnectionEvent::Ended, _) => self.abandon(now),
            (
                ConnectionEvent::Opened
                | ConnectionEvent::Interrupted
                | ConnectionEvent::Resumed
                | ConnectionEvent::Echoed(_)
                | ConnectionEvent::Worn
                | ConnectionEvent::Relayed,
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
            self.actions.push_back(Action::Report(PairReport::Renewed));
            self.drop_connections();
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

    /// The peer's present process is shut out: its connection ends, and its offers are refused.
    pub(crate) fn handle_shut_out(&mut self) {
        if !matches!(self.state, State::ShutOut | State::Left) {
            self.drop_connections();
            self.state = State::ShutOut;
            self.actions.push_back(Action::Report(PairReport::ShutOut));
        }
    }

    /// The peer left for good.
    pub(crate) fn handle_peer_left(&mut self) {
        if self.state != State::Left {
            self.drop_connections();
            self.state = State::Left;
            self.actions.push_back(Action::Report(PairReport::Left));
        }
    }

    fn start_attempt(&mut self, now: Timestamp) {
        let attempt = self.next_attempt();
        self.answered = None;
        // A slow way needs longer than a lost packet should cost at first.
        let patience = ATTEMPT_MAX * (self.backoff.tries() + 1).min(ATTEMPT_STEPS);
        self.state = State::Attempting { attempt, give_up_at: now.plus(patience) };
        self.actions.push_back(Action::Open { attempt, offer: None });
    }

    fn next_attempt(&mut self) -> AttemptId {
        let attempt = self.newest.map_or(AttemptId::new(1), AttemptId::next);
        self.newest = Some(attempt);
        attempt
    }

    fn note_opened(&mut self, now: Timestamp, attempt: AttemptId) {
        self.state = State::Connected { attempt };
        self.renewed_at = Some(now);
        (self.restarts, self.restarted_at) = (0, None);
        self.backoff.reset();
        self.actions.push_back(Action::Report(PairReport::Connected));
    }

    fn handle_offer(&mut self, now: Timestamp, attempt: AttemptId, sdp: String) {
        let is_new = self.newest.is_none_or(|newest| attempt > newest);
        let is_too_soon = self.offer_accepted_at.is_some_and(|at| now.since(at) < OFFER_INTERVAL);
        let is_over = matches!(self.state, State::ShutOut | State::Left);
        if is_over || !is_new || is_too_soon {
            self.unused.count(!is_new);
            return;
        }
        self.newest = Some(attempt);
        self.offer_accepted_at = Some(now);
        let give_up_at = now.plus(PATIENCE_MAX);
        // The offerer may have given the open connection up, or see that it is worn.
        if let State::Connected { .. } | State::Interrupted { .. } = self.state {
            self.give_up_successor();
            self.successor = Some(Successor { attempt, give_up_at, is_answered: false });
        } else {
            self.drop_connections();
            self.state = State::Attempting { attempt, give_up_at };
        }
        self.actions.push_back(Action::Open { attempt, offer: Some(sdp) });
    }

    /// One that was repeated would end the connection.
    fn handle_answer(&mut self, attempt: AttemptId, restart: u32, sdp: String) {
        let is_current = self.current() == Some(attempt);
        let was_taken = match &self.successor {
            Some(successor) if successor.attempt == attempt => successor.is_answered,
            _ => is_current && self.answered >= Some(restart),
        };
        let is_new = match &mut self.successor {
            Some(successor) if successor.attempt == attempt => {
                restart == 0 && !std::mem::replace(&mut successor.is_answered, true)
            }
            _ if is_current && self.answered < Some(restart) => {
                self.answered = Some(restart);
                true
            }
            _ => false,
        };
        if is_new {
            self.actions.push_back(Action::Feed(attempt, Remote::Answer(sdp)));
        } else {
            self.unused.count(was_taken);
        }
    }

    /// The peer has no connection at all.
    fn handle_request(&mut self, now: Timestamp, replaces: Option<AttemptId>) {
        if replaces.is_some_and(|replaced| self.is_successor(replaced)) {
            self.give_up_successor();
            return self.abandon(now);
        }
        let is_lost_there = match self.state {
            State::Attempting { attempt, .. } => replaces == Some(attempt),
            State::Connected { attempt } | State::Interrupted { attempt, .. } => {
                replaces.is_none_or(|replaced| replaced == attempt)
            }
            State::Idle { .. } | State::ShutOut | State::Left => false,
        };
        if is_lost_there {
            self.abandon(now);
        } else {
            self.unused.count(false);
        }
    }

    fn feed(&mut self, attempt: AttemptId, remote: Remote) {
        if self.is_open_or_opens(attempt) {
            self.actions.push_back(Action::Feed(attempt, remote));
        } else {
            self.unused.count(false);
        }
    }

    /// `false` when the description is longer than any that can be sent.
    fn signal_description(&mut self, attempt: AttemptId, sdp: String) -> bool {
        let Ok(sdp) = Text::try_from(sdp) else { return false };
        let restart = self.restarts;
        let is_restart =
            !self.is_successor(attempt) && !matches!(self.state, State::Attempting { .. });
        self.actions.push_back(Action::Signal(match (self.role, is_restart) {
            (Role::Offerer, false) => SignalPayload::Offer { attempt, sdp },
            (Role::Answerer, false) => SignalPayload::Answer { attempt, sdp },
            (Role::Offerer, true) => SignalPayload::RestartOffer { attempt, restart, sdp },
            (Role::Answerer, true) => SignalPayload::RestartAnswer { attempt, restart, sdp },
        }));
        true
    }

    fn signal_candidate(&mut self, attempt: AttemptId, candidate: String) {
        // One that is longer than any honest one is not worth an error.
        if let Ok(candidate) = Text::try_from(candidate) {
            let payload = SignalPayload::Candidate { attempt, candidate };
            self.actions.push_back(Action::Signal(payload));
        }
    }

    /// Gives the connection up; its successor is all there is then, or the next try comes after a while.
    fn abandon(&mut self, now: Timestamp) {
        self.drop_connection();
        self.give_up_direct();
        self.state = match self.successor.take() {
            // It is no longer beside another, and gets the time of a first attempt.
            Some(Successor { attempt, give_up_at, is_answered }) => {
                self.answered = is_answered.then_some(0);
                State::Attempting { attempt, give_up_at: give_up_at.min(now.plus(ATTEMPT_MAX)) }
            }
            None => State::Idle { retry_at: now.plus(self.backoff.next_delay()) },
        };
    }

    fn drop_connections(&mut self) {
        self.give_up_successor();
        self.drop_connection();
    }

    fn drop_connection(&mut self) {
        let Some(attempt) = self.current() else { return };
        self.actions.push_back(Action::Close(attempt));
        if matches!(self.state, State::Connected { .. } | State::Interrupted { .. }) {
            self.actions.push_back(Action::Report(PairReport::Disconnected));
        }
    }

    fn current(&self) -> Option<AttemptId> {
        match self.state {
            State::Attempting { attempt, .. }
            | State::Connected { attempt }
            | State::Interrupted { attempt, .. } => Some(attempt),
            State::Idle { .. } | State::ShutOut | State::Left => None,
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

/// How long an attempt may take whose successor is not its own side's to begin, or that opens beside an open connection.
const PATIENCE_MAX: Duration = Duration::from_secs(16);

/// First delay between two attempts.
const RETRY_FIRST: Duration = Duration::from_millis(200);

/// Longest delay between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// How long an interruption may last before the connection is replaced. ICE reports it after 0.8 s
/// without a packet; after 2.5 s connections still came back by themselves within 0.4 s.
const INTERRUPTION_MAX: Duration = Duration::from_millis(2200);

/// How long an answerer waits for the first offer before it asks for one.
const FIRST_QUESTION_AFTER: Duration = Duration::from_secs(1);

/// Least time between two questions: the offerer's own deadline comes first.
const QUESTION_INTERVAL: Duration = Duration::from_secs(2);

/// Least time between two offers; each costs a key pair and sockets, so a flood of them is dropped.
/// Honest ones are at least half of [`RETRY_FIRST`] apart when they are sent.
const OFFER_INTERVAL: Duration = Duration::from_millis(40);

#[cfg(test)]
mod tests;
