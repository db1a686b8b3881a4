//! A worn connection is replaced by one that opens beside it, so that nothing waits meanwhile: on the lines that wear
//! connections out, opening another takes seconds.

use std::time::Duration;

use rollback_core::Timestamp;
use rollback_signaling::AttemptId;

use super::{Action, ConnectionEvent, PATIENCE_MAX, Pair, Role};

/// An attempt beside an open connection, whose place it takes once it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Successor {
    pub(super) attempt: AttemptId,
    pub(super) give_up_at: Timestamp,
    /// Whether the offerer has taken an answer.
    pub(super) is_answered: bool,
}

impl Pair {
    /// The connection is worn. The offerer begins; the answerer sees the same, and waits.
    pub(super) fn renew(&mut self, now: Timestamp) {
        if self.role == Role::Offerer
            && let Some(attempt) = self.begin_successor(now)
        {
            self.actions.push_back(Action::Open { attempt, offer: None });
        }
    }

    /// A successor that is to be opened now, if it is time for one.
    pub(super) fn begin_successor(&mut self, now: Timestamp) -> Option<AttemptId> {
        let is_too_soon = self.renewed_at.is_some_and(|at| now.since(at) < RENEWAL_INTERVAL);
        if self.successor.is_some() || is_too_soon || !self.can_signal() {
            return None;
        }
        self.renewed_at = Some(now);
        let attempt = self.next_attempt();
        let give_up_at = now.plus(PATIENCE_MAX);
        self.successor = Some(Successor { attempt, give_up_at, is_answered: false });
        Some(attempt)
    }

    pub(super) fn handle_successor(
        &mut self,
        now: Timestamp,
        attempt: AttemptId,
        event: ConnectionEvent,
    ) {
        match event {
            ConnectionEvent::Description(sdp) => {
                if !self.signal_description(attempt, sdp) {
                    self.give_up_successor();
                }
            }
            ConnectionEvent::Candidate(candidate) => self.signal_candidate(attempt, candidate),
            ConnectionEvent::Opened => {
                let successor = self.successor.take();
                self.answered = successor.filter(|successor| successor.is_answered).map(|_| 0);
                self.actions.extend(self.current().map(Action::Retire));
                self.note_opened(now, attempt);
            }
            ConnectionEvent::Ended => self.give_up_successor(),
            ConnectionEvent::Interrupted
            | ConnectionEvent::Resumed
            | ConnectionEvent::Echoed(_)
            | ConnectionEvent::Worn
            | ConnectionEvent::Relayed => {}
        }
    }

    /// The connection that there is may do for a while.
    pub(super) fn give_up_successor(&mut self) {
        if let Some(successor) = self.successor.take() {
            self.actions.push_back(Action::Close(successor.attempt));
        }
    }

    pub(super) fn successor_due(&self) -> Option<Timestamp> {
        self.successor.map(|successor| successor.give_up_at)
    }

    pub(super) fn is_successor(&self, attempt: AttemptId) -> bool {
        self.successor.is_some_and(|successor| successor.attempt == attempt)
    }

    /// Whether there is a connection of this attempt.
    pub(super) fn is_open_or_opens(&self, attempt: AttemptId) -> bool {
        self.current() == Some(attempt) || self.is_successor(attempt)
    }
}

/// Least time between the beginnings of two, and after a connection has opened: the other side must have opened it by then, too,
/// or the next offer would end the one that this side uses.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(5);
