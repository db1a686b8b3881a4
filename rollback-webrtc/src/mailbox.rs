//! Where the game's thread and the background thread meet: bounded queues of datagrams, bulk
//! messages and events, and the counters. No side ever waits for the other longer than a short lock.

mod arrivals;
mod bulk_pace;
mod guard;
mod offences;
mod send_rate;
mod state;
mod ways;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rollback_core::{PeerId, Timestamp};
use rollback_signaling::MEMBERS_MAX;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use self::bulk_pace::BulkPace;
use self::guard::Guard;
use self::state::{Peer, State};
pub(crate) use self::ways::Relayed;
use crate::bulk::BULK_MESSAGE_BYTES_MAX;
use crate::clock::Clock;
use crate::config::{DATAGRAMS_PER_SECOND, DATAGRAMS_PER_SECOND_MIN};
use crate::datagram_transport::{DATAGRAM_BYTES_MAX, Received, SendOutcome};
use crate::error::SendError;
use crate::link_conditions::{ConditionedLink, LinkConditions};
use crate::route::Way;
use crate::stats::{PeerStats, ShutOut, TransportEvent};
use crate::telemetry::{frame_datagram, frame_probe};

/// All queues of one transport.
#[derive(Debug)]
pub(crate) struct Mailbox {
    clock: Clock,
    state: Mutex<State>,
    /// For threads that wait for anything to arrive.
    arrived: Condvar,
    /// For tasks that wait for anything to arrive.
    arrived_async: Notify,
    /// For the task that wakes others when a delayed datagram is due.
    delayed: Notify,
    /// For the task that wakes those that send datagrams over WebRTC.
    outgoing: Notify,
    /// For the task of the relay.
    relayed: Notify,
    /// For the mesh, when somebody is shut out.
    offended: Notify,
    wakes: Vec<Wakes>,
}

/// What the background tasks of one peer wait for.
#[derive(Debug, Default)]
struct Wakes {
    datagrams: Notify,
    bulk: Notify,
}

impl Mailbox {
    /// Empty queues for every peer that there may be. `incarnation` is a random number of this
    /// process.
    pub(crate) fn new(clock: Clock, incarnation: u64) -> Self {
        let (peers, now) = (|| 0..MEMBERS_MAX, clock.now());
        let state = State {
            peers: peers()
                .map(|_| Peer::new(incarnation, Guard::new(now, DATAGRAMS_PER_SECOND)))
                .collect(),
            events: VecDeque::new(),
            events_dropped: 0,
            has_news: false,
            alarm: None,
            is_replaced: false,
            is_closed: false,
            bulk_pace: BulkPace::new(),
            bulk_due: None,
            relay_turn: 0,
            offenders: VecDeque::new(),
        };
        Self {
            clock,
            state: Mutex::new(state),
            arrived: Condvar::new(),
            arrived_async: Notify::new(),
            delayed: Notify::new(),
            outgoing: Notify::new(),
            relayed: Notify::new(),
            offended: Notify::new(),
            wakes: peers().map(|_| Wakes::default()).collect(),
        }
    }

    /// From now on everything that arrives at `local` is subject to these conditions.
    pub(crate) fn set_conditions(&self, conditions: &LinkConditions, local: PeerId) {
        let mut state = self.lock();
        for (slot, peer) in (0..).zip(&mut state.peers) {
            let link = PeerId::new(slot).filter(|_| !conditions.is_perfect());
            peer.conditions = link.map(|from| ConditionedLink::new(conditions, from, local));
        }
    }

    /// From now on every peer may send so many datagrams a second, but no fewer than any honest one needs.
    pub(crate) fn set_datagrams_per_second(&self, limit: u32) {
        let (now, limit) = (self.clock.now(), limit.max(DATAGRAMS_PER_SECOND_MIN));
        self.lock().peers.iter_mut().for_each(|peer| peer.guard = Guard::new(now, limit));
    }

    /// The number of the next datagram to a peer, for those that need no mailbox to send.
    pub(crate) fn take_number(&self, to: PeerId) -> u16 {
        self.lock().peer(to).map(|peer| peer.telemetry.take_number()).unwrap_or_default()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    // The game's side.

    pub(crate) fn try_send(&self, to: PeerId, datagram: &[u8]) -> Result<SendOutcome, SendError> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(SendError::DatagramTooLong { got: datagram.len() });
        }
        let now = self.clock.now();
        let (outcome, way) = {
            let mut state = self.lock();
            let is_bulk_active = state.bulk_pace.is_active(now);
            let peer = state.peer(to).filter(|peer| peer.stats.is_connected);
            let Some(peer) = peer else { return Ok(SendOutcome::NotConnected) };
            // Also here, so that nothing old waits where the background thread is late.
            peer.drop_old(now);
            let is_full = peer.outgoing.len() >= OUTGOING_DATAGRAMS;
            if is_full {
                peer.outgoing.pop_front();
                peer.stats.datagrams_not_sent += 1;
            }
            // A game sends in each frame, so that this is often enough, and no task of its own is needed.
            let probe = match is_bulk_active {
                true => peer.telemetry.poll_probe_beside_bulk(now),
                false => peer.telemetry.poll_probe(now),
            };
            if let Some(probe) = probe {
                peer.probe = Some(frame_probe(probe));
            }
            peer.send_rate.note(now, datagram.len());
            peer.outgoing.push_back((now, frame_datagram(datagram)));
            let outcome = match is_full {
                true => SendOutcome::OldestDropped,
                false => SendOutcome::Queued,
            };
            (outcome, peer.way)
        };
        self.wake_datagrams(way);
        Ok(outcome)
    }

    pub(crate) fn try_receive(&self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        let now = self.clock.now();
        let mut state = self.lock();
        self.admit_due(&mut state, now);
        let first = |(slot, peer): (u8, &Peer)| Some((peer.incoming.front()?.0, slot));
        let (_, slot) = (0..).zip(&state.peers).filter_map(first).min()?;
        let peer = PeerId::new(slot)?;
        let taken = state.peer(peer)?;
        let (arrived_at, way, datagram) = taken.incoming.pop_front()?;
        taken.taken_from = Some(way);
        drop(state);
        // Longer ones are dropped on arrival, so this always finds room.
        buffer.get_mut(..datagram.len())?.copy_from_slice(&datagram);
        Some(Received { peer, len: datagram.len(), arrived_at })
    }

    pub(crate) fn try_send_bulk(&self, to: PeerId, message: &[u8]) -> Result<(), SendError> {
        if message.len() > BULK_MESSAGE_BYTES_MAX {
            return Err(SendError::BulkTooLong { got: message.len() });
        }
        {
            let mut state = self.lock();
            let Some(peer) = state.peer(to) else { return Err(SendError::BulkWindowFull) };
            if !peer.bulk.push(message) {
                return Err(SendError::BulkWindowFull);
            }
            peer.stats.bulk_sent += 1;
        }
        self.wake_bulk(to);
        Ok(())
    }

    pub(crate) fn try_receive_bulk(&self) -> Option<(PeerId, Bytes)> {
        let taken = {
            let mut state = self.lock();
            let slot = (0..).zip(&state.peers).find(|(_, peer)| peer.bulk.has_message())?.0;
            let from = PeerId::new(slot)?;
            let peer = state.peer(from)?;
            peer.stats.bulk_received += 1;
            (from, peer.bulk.pop()?)
        };
        // The sender has to learn that its window opens.
        self.wake_bulk(taken.0);
        Some(taken)
    }

    /// Queues a notice; `false` when it is too long or the window is full.
    pub(crate) fn try_send_notice(&self, to: PeerId, notice: &[u8]) -> bool {
        let is_queued = notice.len() <= BULK_MESSAGE_BYTES_MAX
            && self.lock().peer(to).is_some_and(|peer| peer.notices.push(notice));
        if is_queued {
            self.wake_bulk(to);
        }
        is_queued
    }

    pub(crate) fn try_receive_notice(&self) -> Option<(PeerId, Bytes)> {
        let taken = {
            let mut state = self.lock();
            let slot = (0..).zip(&state.peers).find(|(_, peer)| peer.notices.has_message())?.0;
            let from = PeerId::new(slot)?;
            (from, state.peer(from)?.notices.pop()?)
        };
        self.wake_bulk(taken.0);
        Some(taken)
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.lock().is_replaced
    }

    pub(crate) fn poll_event(&self) -> Option<TransportEvent> {
        self.lock().events.pop_front()
    }

    pub(crate) fn events_dropped(&self) -> u64 {
        self.lock().events_dropped
    }

    pub(crate) fn stats(&self, peer: PeerId) -> PeerStats {
        self.lock().peer(peer).map(|peer| peer.stats).unwrap_or_default()
    }

    /// Waits until there is a datagram, an event or bulk message has come since the last time, the
    /// mailbox is closed, or the time is over. (A caller that never takes events must not be woken
    /// by the same one for ever.)
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let deadline = self.clock.now().plus(timeout.min(WAIT_MAX));
        let mut state = self.lock();
        loop {
            let now = self.clock.now();
            self.admit_due(&mut state, now);
            if std::mem::take(&mut state.has_news) || state.has_datagram() {
                return true;
            }
            if state.is_closed || now >= deadline {
                return false;
            }
            let until = state.next_due().map_or(deadline, |due| due.min(deadline));
            let waited = self.arrived.wait_timeout(state, until.since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The same for tasks, which [`start_waking`](Self::start_waking) has woken when the time is over.
    pub(crate) async fn wait_async(&self, timeout: Duration) -> bool {
        let deadline = self.clock.now().plus(timeout.min(WAIT_MAX));
        loop {
            let mut arrived = std::pin::pin!(self.arrived_async.notified());
            // Registered before looking, so that what arrives in between still wakes.
            arrived.as_mut().enable();
            {
                let now = self.clock.now();
                let mut state = self.lock();
                self.admit_due(&mut state, now);
                if std::mem::take(&mut state.has_news) || state.has_datagram() {
                    return true;
                }
                if state.is_closed || now >= deadline {
                    return false;
                }
                if state.alarm.is_none_or(|alarm| deadline < alarm) {
                    state.alarm = Some(deadline);
                    self.delayed.notify_one();
                }
            }
            arrived.await;
        }
    }

    /// Calls `take` until it takes something or the mailbox is closed.
    pub(crate) async fn take_async<T>(&self, mut take: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            let mut arrived = std::pin::pin!(self.arrived_async.notified());
            // Registered before looking, so that what arrives in between still wakes.
            arrived.as_mut().enable();
            if let Some(taken) = take() {
                return Some(taken);
            }
            if self.lock().is_closed {
                return None;
            }
            arrived.await;
        }
    }

    /// Why nothing is taken from a peer any more.
    pub(crate) fn shut_out_of(&self, peer: PeerId) -> Option<ShutOut> {
        self.lock().peer(peer)?.guard.reason()
    }

    /// Nothing is taken from a peer any more, nor sent to it.
    pub(crate) fn shut_out(&self, peer: PeerId, why: ShutOut) {
        self.judge(&mut self.lock(), peer, |_| Some(why));
    }

    // The background's side.

    /// Tells the game.
    pub(crate) fn report(&self, event: TransportEvent) {
        self.lock().push_event(event);
        self.announce();
    }

    /// Another process took this member's slot.
    pub(crate) fn replaced(&self) {
        self.lock().is_replaced = true;
    }

    /// Ends all waiting, now and later.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.announce();
    }

    /// Starts the task that wakes others: without it nothing is sent over WebRTC. It ends when the handle is dropped.
    pub(crate) fn start_waking(self: &Arc<Self>) -> AbortOnDropHandle<()> {
        let mailbox = Arc::clone(self);
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::join!(mailbox.wake_when_due(), mailbox.wake_senders());
        }))
    }

    /// Wakes those that send datagrams, each when there is something for it. So a game's thread wakes one task for all that
    /// it sends in a frame: each one that is woken from another thread costs a call of the system.
    async fn wake_senders(&self) {
        loop {
            self.outgoing.notified().await;
            let state = self.lock();
            for (peer, wakes) in state.peers.iter().zip(&self.wakes) {
                if peer.has_outgoing(Way::WebRtc) {
                    wakes.datagrams.notify_one();
                }
            }
        }
    }

    /// Wakes waiting tasks whenever a delayed datagram is due or the time of one of them is over; threads wake by
    /// themselves.
    async fn wake_when_due(&self) {
        loop {
            let next_wake = self.lock().next_wake();
            let Some(due) = next_wake else {
                self.delayed.notified().await;
                continue;
            };
            let wait = due.since(self.clock.now());
            // Otherwise something is due earlier now.
            if tokio::time::timeout(wait, self.delayed.notified()).await.is_err() {
                let now = self.clock.now();
                let mut state = self.lock();
                self.admit_due(&mut state, now);
                state.alarm = state.alarm.filter(|alarm| *alarm > now);
                if state.bulk_due.take_if(|due| *due <= now).is_some() {
                    self.wakes.iter().for_each(|wakes| wakes.bulk.notify_one());
                    self.relayed.notify_one();
                }
                drop(state);
                self.arrived_async.notify_waiters();
            }
        }
    }

    /// The next bulk frame for a peer on a way, once it may go: whoever waits for one is woken then.
    fn poll_bulk(&self, state: &mut State, to: PeerId, way: Way) -> Option<BytesMut> {
        let due = state.bulk_due;
        let frame = state.poll_bulk(self.clock.now(), to, way);
        if state.bulk_due != due {
            self.delayed.notify_one();
        }
        frame
    }

    fn announce(&self) {
        self.arrived.notify_all();
        self.arrived_async.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No operation leaves the state half changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Datagrams to one peer that wait for the background thread; at 60 a second about half a second,
/// after which a datagram of a game is worth nothing.
const OUTGOING_DATAGRAMS: usize = 32;

/// Datagrams from one peer that wait for the game; at 60 a second about four seconds.
const INCOMING_DATAGRAMS: usize = 256;

/// Events that wait for the game.
const EVENTS: usize = 256;

/// How old a datagram may be when a way takes it.
const OUTGOING_AGE_MAX: Duration = Duration::from_millis(60);

/// Longest time that a thread waits in one call.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
