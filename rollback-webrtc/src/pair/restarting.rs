//! An open connection lets ICE look for another path, while the present one may recover.

use std::time::Duration;

use rollback_core::Timestamp;
use rollback_signaling::{AttemptId, SignalPayload};

use super::{Action, Pair, Remote, Role, State};

impl Pair {
    /// Nothing comes over the connection: ICE is to look for another path, while the old one may recover.
    pub(super) fn mend(&mut self, now: Timestamp, attempt: AttemptId) {
        match self.role {
            _ if !self.can_signal() => {}
            Role::Offerer if self.may_restart(now, attempt) => self.restart(now, attempt),
            Role::Offerer => {}
            Role::Answerer => {
                self.actions.push_back(Action::Signal(SignalPayload::RequestRestart { attempt }));
            }
        }
    }

    pub(super) fn restart(&mut self, now: Timestamp, attempt: AttemptId) {
        self.restarts += 1;
        self.restarted_at = Some(now);
        self.actions.push_back(Action::Feed(attempt, Remote::Restart));
    }

    /// Whether the open connection is that of this attempt, and was not restarted just now. Both sides often notice an
    /// interruption at once, and a flood of restarts costs sockets and packets.
    pub(super) fn may_restart(&self, now: Timestamp, attempt: AttemptId) -> bool {
        let is_open = matches!(
            self.state,
            State::Connected { attempt: open } | State::Interrupted { attempt: open, .. }
                if open == attempt
        );
        is_open && self.restarted_at.is_none_or(|at| now.since(at) >= RESTART_INTERVAL)
    }
}

/// Least time between two restarts of ICE in one connection.
const RESTART_INTERVAL: Duration = Duration::from_secs(1);
