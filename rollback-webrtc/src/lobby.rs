//! Where a thread or task waits for the room to be complete.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rollback_core::{PeerId, PeerSet};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::error::JoinError;

/// A complete room as this member sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct Room {
    /// This member.
    pub local: PeerId,
    /// All members in the order of their slots, this one included, and those that have left since or come late.
    pub members: Vec<RoomMember>,
    /// The slots of those who may come late: the match begins without them, whether they are there by now or not.
    pub late: PeerSet,
    /// A random number, the same for all members of this group and for no other.
    pub session_id: u64,
    /// A random number, the same for all members, for whatever they draw in common.
    pub seed: u64,
    /// The secret with which a new process of this member returns to its slot, as
    /// [`TransportConfig::token`](crate::TransportConfig::token).
    pub token: String,
    /// Which life of its slot this process lives: 0, or another one when it came late or came back with its token, into a
    /// match that the others may be playing.
    pub life: u8,
}

impl fmt::Debug for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { local, members, late, session_id, seed, token: _, life } = self;
        let mut room = formatter.debug_struct("Room");
        room.field("local", local).field("members", members).field("late", late);
        room.field("session_id", session_id);
        room.field("seed", seed).field("life", life).finish_non_exhaustive()
    }
}

/// A member of a complete room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomMember {
    /// Its slot.
    pub peer: PeerId,
    /// What it calls itself, if it was there when this was heard.
    pub name: Option<String>,
    /// The settings digest it joined with.
    pub settings: String,
}

/// How many members there are, and how many make the room complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinProgress {
    /// Members there are, this one included; 0 until the server has answered.
    pub members: usize,
    /// Members that make the room complete; 0 until the server has answered.
    pub expected: usize,
}

/// The state of joining, written by the mesh and awaited by the caller.
#[derive(Debug)]
pub(crate) struct Lobby {
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
    changed_async: Notify,
}

#[derive(Debug)]
enum State {
    Waiting(JoinProgress),
    Ready(Room),
    Failed(Option<JoinError>),
}

impl Lobby {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::new(State::Waiting(JoinProgress { members: 0, expected: 0 })),
            changed: Condvar::new(),
            changed_async: Notify::new(),
        }
    }

    pub(crate) fn progress(&self) -> JoinProgress {
        match &*self.lock() {
            State::Waiting(progress) => *progress,
            State::Ready(room) => {
                JoinProgress { members: room.members.len(), expected: room.members.len() }
            }
            State::Failed(_) => JoinProgress { members: 0, expected: 0 },
        }
    }

    pub(crate) fn set_progress(&self, progress: JoinProgress) {
        self.change(|state| {
            if let State::Waiting(old) = state {
                *old = progress;
            }
        });
    }

    pub(crate) fn open(&self, room: Room) {
        self.change(|state| *state = State::Ready(room));
    }

    /// Fails unless the room is complete.
    pub(crate) fn fail(&self, error: JoinError) {
        self.change(|state| {
            if let State::Waiting(_) = state {
                *state = State::Failed(Some(error));
            }
        });
    }

    /// Waits for the room; `None` when the time is over.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<Option<Room>, JoinError> {
        let deadline = self.clock.now().plus(timeout);
        let mut state = self.lock();
        loop {
            if let Some(result) = state.result() {
                return result.map(Some);
            }
            let left = deadline.since(self.clock.now());
            if left.is_zero() {
                return Ok(None);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) async fn wait_async(&self) -> Result<Room, JoinError> {
        loop {
            let mut changed = std::pin::pin!(self.changed_async.notified());
            // Registered before looking, so that a change in between still wakes.
            changed.as_mut().enable();
            if let Some(result) = self.lock().result() {
                return result;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
        self.changed_async.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn result(&mut self) -> Option<Result<Room, JoinError>> {
        match self {
            Self::Waiting(_) => None,
            Self::Ready(room) => Some(Ok(room.clone())),
            Self::Failed(error) => Some(Err(error.take().unwrap_or(JoinError::Ended))),
        }
    }
}
