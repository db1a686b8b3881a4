//! The same transport for async programs, on whatever runtime they have.

use std::time::Duration;

use bytes::Bytes;
use rollback_core::spectate::WatcherId;
use rollback_core::{PeerId, Timestamp};

use crate::config::TransportConfig;
use crate::datagram_transport::{
    AsyncDatagramTransport, DATAGRAM_BYTES_MAX, DatagramTransport, Received, SendOutcome,
};
use crate::error::{JoinError, SendError};
use crate::health::Unhealthy;
use crate::stats::{InputsPassed, ShutOut, TransportEvent};
use crate::telemetry::{LinkReport, Proof};
use crate::transport::Transport;

/// A [`Transport`] whose waiting is async. Everything that does not wait is [`Transport`]'s own, by
/// [`get`](Self::get).
#[derive(Debug)]
pub struct AsyncTransport(Transport);

impl AsyncTransport {
    /// Joins a room and waits until it is complete. Dropping the future leaves the room.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn join(link: &str, config: TransportConfig) -> Result<Self, JoinError> {
        Ok(Self(Transport::join(link, config)?.complete().await?))
    }

    /// Everything that does not wait: sending datagrams, counters, the room.
    #[must_use]
    pub const fn get(&self) -> &Transport {
        &self.0
    }

    /// Waits for a datagram; `None` when the transport has ended.
    pub async fn receive(&self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        self.0.background().mailbox.take_async(|| self.0.try_receive(buffer)).await
    }

    /// Waits until a bulk message can be queued, and queues it.
    ///
    /// # Errors
    /// [`SendError::BulkTooLong`], or [`SendError::BulkWindowFull`] when the transport has ended.
    pub async fn send_bulk(&self, to: PeerId, message: &[u8]) -> Result<(), SendError> {
        let queue = || match self.0.try_send_bulk(to, message) {
            Err(SendError::BulkWindowFull) => None,
            result => Some(result),
        };
        let queued = self.0.background().mailbox.take_async(queue).await;
        queued.unwrap_or(Err(SendError::BulkWindowFull))
    }

    /// Waits for a bulk message; `None` when the transport has ended.
    pub async fn receive_bulk(&self) -> Option<(PeerId, Bytes)> {
        self.0.background().mailbox.take_async(|| self.0.try_receive_bulk()).await
    }

    /// Waits for the next thing that happens; `None` when the transport has ended.
    pub async fn next_event(&self) -> Option<TransportEvent> {
        self.0.background().mailbox.take_async(|| self.0.poll_event()).await
    }

    /// Leaves the room for good and waits until all connections are closed. Dropping does the same,
    /// but blocks meanwhile.
    pub async fn close(mut self) {
        self.0.background_mut().close_async().await;
    }
}

impl DatagramTransport for AsyncTransport {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn try_send(&mut self, to: PeerId, datagram: &[u8]) -> Result<SendOutcome, SendError> {
        self.0.try_send(to, datagram)
    }

    fn try_receive(&mut self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        self.0.try_receive(buffer)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        self.0.wait(timeout)
    }

    fn try_send_notice(&mut self, to: PeerId, notice: &[u8]) -> bool {
        self.0.background().mailbox.try_send_notice(to, notice)
    }

    fn try_receive_notice(&mut self) -> Option<(PeerId, Bytes)> {
        self.0.background().mailbox.try_receive_notice()
    }

    fn try_send_to_watcher(
        &mut self,
        to: WatcherId,
        datagram: &[u8],
    ) -> Result<SendOutcome, SendError> {
        self.0.try_send_to_watcher(to, datagram)
    }

    fn try_receive_from_watcher(
        &mut self,
        buffer: &mut [u8; DATAGRAM_BYTES_MAX],
    ) -> Option<(WatcherId, usize)> {
        self.0.try_receive_from_watcher(buffer)
    }

    fn has_left(&self, peer: PeerId) -> bool {
        self.0.background().mailbox.stats(peer).has_left
    }

    fn is_shut_out(&self, peer: PeerId) -> bool {
        self.0.background().mailbox.shut_out_of(peer).is_some()
    }

    fn shut_out(&mut self, peer: PeerId) {
        self.0.background().mailbox.shut_out(peer, ShutOut::Forged);
    }

    fn begin_check(&mut self, peer: PeerId) {
        self.0.background().mailbox.begin_check(peer);
    }

    fn proof(&self, peer: PeerId) -> Proof {
        self.0.background().mailbox.proof(peer)
    }

    fn link(&self, peer: PeerId) -> Option<LinkReport> {
        Some(self.0.background().mailbox.link_report(peer))
    }

    fn note_inputs(&mut self, peer: PeerId, inputs: InputsPassed) {
        self.0.background().mailbox.note_inputs(peer, inputs);
    }

    fn note_unhealthy(&mut self, peer: PeerId, why: Unhealthy) {
        self.0.background().mailbox.report(TransportEvent::PeerUnhealthy { peer, why });
    }

    fn is_replaced(&self) -> bool {
        self.0.background().mailbox.is_replaced()
    }
}

impl AsyncDatagramTransport for AsyncTransport {
    async fn wait_async(&mut self, timeout: Duration) -> bool {
        self.0.background().mailbox.wait_async(timeout).await
    }
}
