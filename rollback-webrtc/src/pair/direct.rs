//! From a TURN server back to a direct way: now and then a connection is tried beside the relayed one, over direct ways only.
//! The relayed one goes on until the other is open and was well for a while.

use std::time::Duration;

use rollback_core::Timestamp;
use rollback_signaling::AttemptId;

use super::{Action, Backoff, Pair, Role};

/// What was tried, and when the next is due.
#[derive(Debug)]
pub(super) struct DirectTries {
    backoff: Backoff,
    due: Option<Timestamp>,
    /// When the path was seen to be relayed last.
    relayed_at: Option<Timestamp>,
    /// The last attempt, which takes direct ways only.
    newest: Option<AttemptId>,
}

impl DirectTries {
    pub(super) const fn new(seed: u64) -> Self {
        let backoff = Backoff::new(DIRECT_FIRST, DIRECT_MAX, seed);
        Self { backoff, due: None, relayed_at: None, newest: None }
    }
}

impl Pair {
    /// The open connection passes a TURN server, and need not. The offerer begins; the answerer may see the same, and waits.
    pub(super) fn note_relayed(&mut self, now: Timestamp) {
        if self.role == Role::Answerer || self.successor.is_some() {
            return;
        }
        let tries = &mut self.direct;
        if tries.relayed_at.replace(now).is_none_or(|at| now.since(at) >= FORGIVEN_AFTER) {
            tries.backoff.reset();
            tries.due = None;
        }
        let due = *tries.due.get_or_insert_with(|| now.plus(tries.backoff.next_delay()));
        if now < due {
            return;
        }
        if let Some(attempt) = self.begin_successor(now) {
            self.direct.due = None;
            self.direct.newest = Some(attempt);
            self.actions.push_back(Action::TryDirect(attempt));
        }
    }

    /// The relayed connection is gone. A way that is to be found soon may be any.
    pub(super) fn give_up_direct(&mut self) {
        if self.direct.newest.is_some_and(|attempt| self.is_successor(attempt)) {
            self.give_up_successor();
        }
    }
}

/// How long the relay is in use before the first try; the pause doubles with each further one, whether it failed or its way
/// did not last.
const DIRECT_FIRST: Duration = Duration::from_secs(10);

/// The longest pause: where there is no direct way, a try costs some ten kilobytes.
const DIRECT_MAX: Duration = Duration::from_secs(600);

/// When the path was not relayed for so long, earlier tries do not count.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
