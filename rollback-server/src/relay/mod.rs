//! The relay: what passes between members who have no better way to each other. It looks at nothing
//! but the first bytes of a message. `hub` and `queue` decide; this file lets the tasks of all sockets
//! share them.

mod hub;
mod queue;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use self::hub::Hub;
pub use self::hub::RelayStatus;
pub(crate) use self::hub::{LineId, Next, Refusal, Seat};

/// The relay of a server. Each call takes a lock for some microseconds.
#[derive(Debug)]
pub(crate) struct Relay {
    started_at: Instant,
    shared: Mutex<Shared>,
    sockets_max: usize,
}

#[derive(Debug, Default)]
struct Shared {
    hub: Hub,
    /// For the writer of each seat's present socket.
    wakes: BTreeMap<Seat, Arc<Notify>>,
    /// Those not yet authenticated included.
    sockets: usize,
}

/// A socket that counts against the limit until this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    relay: Arc<Relay>,
}

/// A member's relay socket; closed when dropped.
#[derive(Debug)]
pub(crate) struct Line {
    relay: Arc<Relay>,
    id: LineId,
    wake: Arc<Notify>,
}

impl Relay {
    /// A relay for at most so many sockets at once.
    pub(crate) fn new(sockets_max: usize) -> Self {
        Self { started_at: Instant::now(), shared: Mutex::default(), sockets_max }
    }

    /// Lets a socket in; `None` when there are too many.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Entry> {
        let mut shared = self.lock();
        if shared.sockets >= self.sockets_max {
            shared.hub.count_refused();
            return None;
        }
        shared.sockets += 1;
        Some(Entry { relay: Arc::clone(self) })
    }

    /// Makes the socket that of a seat of a group of `expected` members.
    ///
    /// # Errors
    /// [`Refusal`], as the client is to be told.
    pub(crate) fn open(self: &Arc<Self>, seat: Seat, expected: u8) -> Result<Line, Refusal> {
        let wake = Arc::new(Notify::new());
        let now = self.started_at.elapsed();
        let mut shared = self.lock();
        let id = shared.hub.open(now, seat, expected)?;
        // The writer of the socket that was replaced looks once more, and ends.
        if let Some(replaced) = shared.wakes.insert(seat, Arc::clone(&wake)) {
            replaced.notify_one();
        }
        shared.wake();
        Ok(Line { relay: Arc::clone(self), id, wake })
    }

    /// A slot has ended, and its socket with it.
    pub(crate) fn end(&self, seat: Seat) {
        let mut shared = self.lock();
        shared.hub.end(seat);
        shared.wake();
    }

    /// The server stops.
    pub(crate) fn end_all(&self) {
        let mut shared = self.lock();
        shared.hub.end_all();
        shared.wake();
    }

    pub(crate) fn count_refused(&self) {
        self.lock().hub.count_refused();
    }

    pub(crate) fn status(&self) -> RelayStatus {
        self.lock().hub.status()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // No operation leaves the state half changed, so a panic elsewhere does not spoil it.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Passes a message of this member on.
    ///
    /// # Errors
    /// [`Refusal`], when the socket is to be ended.
    pub(crate) fn pass(&self, message: &[u8]) -> Result<(), Refusal> {
        let now = self.relay.started_at.elapsed();
        let mut shared = self.relay.lock();
        let passed = shared.hub.pass(now, self.id, message);
        shared.wake();
        passed
    }

    /// The member sent something that is no binary message.
    pub(crate) fn count_violation(&self) {
        self.relay.lock().hub.count_violation();
    }

    /// What is to be written next, at once.
    pub(crate) fn try_next(&self) -> Next {
        let now = self.relay.started_at.elapsed();
        self.relay.lock().hub.next(now, self.id)
    }

    /// Waits until there may be something to write.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }
}

impl Shared {
    fn wake(&mut self) {
        for seat in self.hub.take_woken() {
            if let Some(wake) = self.wakes.get(&seat) {
                wake.notify_one();
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.relay.lock().sockets -= 1;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut shared = self.relay.lock();
        shared.hub.close(self.id);
        let seat = self.id.seat();
        if shared.wakes.get(&seat).is_some_and(|wake| Arc::ptr_eq(wake, &self.wake)) {
            shared.wakes.remove(&seat);
        }
        shared.wake();
    }
}
