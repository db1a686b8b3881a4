//! The handle for ordinary game loops: nothing here blocks unless its name or documentation says so,
//! and nothing needs an async runtime.

use std::time::Duration;

use bytes::Bytes;
use rollback_core::spectate::WatcherId;
use rollback_core::{PeerId, Timestamp};

use crate::background::Background;
use crate::background_thread::CLOSE_TIMEOUT;
use crate::config::TransportConfig;
use crate::datagram_transport::{DATAGRAM_BYTES_MAX, DatagramTransport, Received, SendOutcome};
use crate::error::{JoinError, SendError};
use crate::health::Unhealthy;
use crate::lobby::{JoinProgress, Room};
use crate::stats::{InputsPassed, Loss, PeerStats, ShutOut, TransportEvent};
use crate::telemetry::{LinkReport, Proof};

/// Datagrams and bulk messages to and from the other members of a room, over WebRTC.
///
/// Connections are made, and made anew, in the background; [`poll_event`](Self::poll_event) tells when.
/// Everything can be called from any thread.
#[derive(Debug)]
pub struct Transport {
    background: Background,
    room: Room,
}

/// A room being joined. Dropping it leaves the room.
#[derive(Debug)]
pub struct Joining {
    /// `None` once the transport has it.
    background: Option<Background>,
}

impl Transport {
    /// Starts joining the room of a link such as `ws://127.0.0.1:8080/kitchen`.
    ///
    /// # Errors
    /// [`JoinError`], when the link or the configuration is wrong.
    pub fn join(link: &str, config: TransportConfig) -> Result<Joining, JoinError> {
        Ok(Joining::new(Background::start(link, config, false)?))
    }

    /// Joins a room and waits until it is complete, for as long as that takes.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn join_blocking(link: &str, config: TransportConfig) -> Result<Self, JoinError> {
        Self::join(link, config)?.complete_blocking()
    }

    /// The room and its members, this one included.
    #[must_use]
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// Microseconds since [`join`](Self::join), on a clock that never goes back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.background.mailbox.now()
    }

    /// Queues a datagram of at most [`DATAGRAM_BYTES_MAX`] bytes, in place of the oldest one if 32 wait.
    /// It may be lost, and may overtake others; after 60 ms without being sent it is dropped.
    ///
    /// # Errors
    /// [`SendError::DatagramTooLong`].
    pub fn try_send(&self, to: PeerId, datagram: &[u8]) -> Result<SendOutcome, SendError> {
        self.background.mailbox.try_send(to, datagram)
    }

    /// Takes the datagram that arrived first of those not taken yet. Of each peer the newest 256 are
    /// kept.
    pub fn try_receive(&self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        self.background.mailbox.try_receive(buffer)
    }

    /// Queues a bulk message of at most [`BULK_MESSAGE_BYTES_MAX`](crate::BULK_MESSAGE_BYTES_MAX)
    /// bytes. Messages arrive in order and exactly once, if need be over a later connection, as long as
    /// both processes live. To a new process of the peer goes what the former one had not taken. While datagrams are sent,
    /// bulk messages go as fast as that leaves their round trips alone.
    ///
    /// # Errors
    /// [`SendError::BulkTooLong`], or [`SendError::BulkWindowFull`] when
    /// [`BULK_WINDOW`](crate::BULK_WINDOW) messages wait for the peer to take them.
    pub fn try_send_bulk(&self, to: PeerId, message: &[u8]) -> Result<(), SendError> {
        self.background.mailbox.try_send_bulk(to, message)
    }

    /// Takes the next bulk message of some peer.
    #[must_use]
    pub fn try_receive_bulk(&self) -> Option<(PeerId, Bytes)> {
        self.background.mailbox.try_receive_bulk()
    }

    /// Waits until there is a datagram to take, or an event or a bulk message has come since the last
    /// wait; at most for `timeout` and never longer than a minute. `false` when nothing came.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.background.mailbox.wait(timeout)
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_event(&self) -> Option<TransportEvent> {
        self.background.mailbox.poll_event()
    }

    /// Events dropped because more than 256 waited.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        self.background.mailbox.events_dropped()
    }

    /// What was counted about a peer since the start.
    #[must_use]
    pub fn stats(&self, peer: PeerId) -> PeerStats {
        self.background.mailbox.stats(peer)
    }

    /// What was measured of the way to a peer: round trips, losses, outages. Measured while datagrams are sent.
    #[must_use]
    pub fn link_report(&self, peer: PeerId) -> LinkReport {
        self.background.mailbox.link_report(peer)
    }

    /// Why nothing is heard of a peer, as far as this side knows: to be asked when members go on without it.
    #[must_use]
    pub fn loss(&self, peer: PeerId) -> Loss {
        self.background.mailbox.loss(peer)
    }

    /// What has been shown of the way to a peer when it was checked last: at the beginning of its connection, and before
    /// each episode of a [`GameLoop`](crate::GameLoop). What was measured then is in [`link_report`](Self::link_report).
    #[must_use]
    pub fn proof(&self, peer: PeerId) -> Proof {
        self.background.mailbox.proof(peer)
    }

    /// Leaves the room for good and closes all connections. Waits until that is done, at most two
    /// seconds and usually some milliseconds; `false` when the time was over. Dropping does the
    /// same.
    pub fn close(mut self) -> bool {
        self.background.close(CLOSE_TIMEOUT)
    }

    /// Closes all connections without leaving the room: the server keeps the slot for a while, and a new process takes
    /// it with the room's token. To the others it is as if this process had been killed. Waits as
    /// [`close`](Self::close) does.
    pub fn abandon(mut self) -> bool {
        self.background.abandon(CLOSE_TIMEOUT)
    }

    pub(crate) const fn background(&self) -> &Background {
        &self.background
    }

    pub(crate) const fn background_mut(&mut self) -> &mut Background {
        &mut self.background
    }
}

impl DatagramTransport for Transport {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn try_send(&mut self, to: PeerId, datagram: &[u8]) -> Result<SendOutcome, SendError> {
        Self::try_send(self, to, datagram)
    }

    fn try_receive(&mut self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        Self::try_receive(self, buffer)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        Self::wait(self, timeout)
    }

    fn try_send_notice(&mut self, to: PeerId, notice: &[u8]) -> bool {
        self.background.mailbox.try_send_notice(to, notice)
    }

    fn try_receive_notice(&mut self) -> Option<(PeerId, Bytes)> {
        self.background.mailbox.try_receive_notice()
    }

    fn try_send_to_watcher(
        &mut self,
        to: WatcherId,
        datagram: &[u8],
    ) -> Result<SendOutcome, SendError> {
        let place = u8::try_from(to.0).ok().and_then(PeerId::new);
        match place {
            Some(place) => self.background.watchers.try_send(place, datagram),
            None => Ok(SendOutcome::NotConnected),
        }
    }

    fn try_receive_from_watcher(
        &mut self,
        buffer: &mut [u8; DATAGRAM_BYTES_MAX],
    ) -> Option<(WatcherId, usize)> {
        let received = self.background.watchers.try_receive(buffer)?;
        Some((WatcherId(received.peer.slot().into()), received.len))
    }

    fn has_left(&self, peer: PeerId) -> bool {
        self.background.mailbox.stats(peer).has_left
    }

    fn is_shut_out(&self, peer: PeerId) -> bool {
        self.background.mailbox.shut_out_of(peer).is_some()
    }

    fn shut_out(&mut self, peer: PeerId) {
        self.background.mailbox.shut_out(peer, ShutOut::Forged);
    }

    fn begin_check(&mut self, peer: PeerId) {
        self.background.mailbox.begin_check(peer);
    }

    fn proof(&self, peer: PeerId) -> Proof {
        self.background.mailbox.proof(peer)
    }

    fn link(&self, peer: PeerId) -> Option<LinkReport> {
        Some(self.background.mailbox.link_report(peer))
    }

    fn note_inputs(&mut self, peer: PeerId, inputs: InputsPassed) {
        self.background.mailbox.note_inputs(peer, inputs);
    }

    fn note_unhealthy(&mut self, peer: PeerId, why: Unhealthy) {
        self.background.mailbox.report(TransportEvent::PeerUnhealthy { peer, why });
    }

    fn is_replaced(&self) -> bool {
        self.background.mailbox.is_replaced()
    }
}

impl Joining {
    pub(crate) const fn new(background: Background) -> Self {
        Self { background: Some(background) }
    }

    /// Waits until the room is complete. `Ok(None)` when the time is over: then it can be called again.
    ///
    /// # Errors
    /// [`JoinError`]; then the room is not joined, and calling it again makes no sense.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<Transport>, JoinError> {
        let background = self.background.as_ref().ok_or(JoinError::Ended)?;
        let Some(room) = background.lobby.wait(timeout)? else { return Ok(None) };
        Ok(self.background.take().map(|background| Transport { background, room }))
    }

    /// How many members there are.
    #[must_use]
    pub fn progress(&self) -> JoinProgress {
        match &self.background {
            Some(background) => background.lobby.progress(),
            None => JoinProgress { members: 0, expected: 0 },
        }
    }

    /// Waits for as long as it takes.
    pub(crate) fn complete_blocking(mut self) -> Result<Transport, JoinError> {
        loop {
            if let Some(transport) = self.wait(Duration::from_secs(60))? {
                return Ok(transport);
            }
        }
    }

    pub(crate) async fn complete(mut self) -> Result<Transport, JoinError> {
        let background = self.background.take().ok_or(JoinError::Ended)?;
        let room = background.lobby.wait_async().await?;
        Ok(Transport { background, room })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_can_be_shared_between_threads() {
        fn assert_shared<T: Send + Sync + 'static>() {}
        assert_shared::<Transport>();
        assert_shared::<Joining>();
    }
}
