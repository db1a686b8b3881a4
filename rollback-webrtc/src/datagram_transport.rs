//! What a game loop needs of any transport.

use std::time::Duration;

use bytes::Bytes;
use rollback_core::spectate::WatcherId;
use rollback_core::{PeerId, Timestamp};

use crate::error::SendError;
use crate::health::Unhealthy;
use crate::stats::InputsPassed;
use crate::telemetry::{LinkReport, Proof};

/// Longest datagram in bytes. With the headers of SCTP, DTLS, UDP and IPv6 it stays below the 1,280
/// bytes that every IPv6 path carries.
pub const DATAGRAM_BYTES_MAX: usize = 1100;

/// Datagrams to and from the other members, without ever blocking, as a game loop wants them. They may
/// be lost, repeated or overtake each other.
pub trait DatagramTransport {
    /// The time, on the clock of [`Received::arrived_at`].
    fn now(&self) -> Timestamp;

    /// Queues a datagram, in place of the oldest one if the queue is full.
    ///
    /// # Errors
    /// [`SendError::DatagramTooLong`].
    fn try_send(&mut self, to: PeerId, datagram: &[u8]) -> Result<SendOutcome, SendError>;

    /// Takes the datagram that arrived first of those not taken yet.
    fn try_receive(&mut self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received>;

    /// Waits until there is a datagram to take, or something else happened that the caller may want
    /// to look at; at most for `timeout`, after which it returns `false`.
    fn wait(&mut self, timeout: Duration) -> bool;

    /// Queues a notice of this game loop to another's, at most [`BULK_MESSAGE_BYTES_MAX`](crate::BULK_MESSAGE_BYTES_MAX)
    /// bytes: it arrives once and in order as long as both processes live, whatever else is sent. Answers whether there
    /// was room. Without such a way nobody can come back into a match.
    fn try_send_notice(&mut self, _to: PeerId, _notice: &[u8]) -> bool {
        false
    }

    /// Takes the next notice of some peer.
    fn try_receive_notice(&mut self) -> Option<(PeerId, Bytes)> {
        None
    }

    /// Queues a datagram for one who watches, as [`try_send`](Self::try_send) does for a member.
    ///
    /// # Errors
    /// [`SendError::DatagramTooLong`].
    fn try_send_to_watcher(
        &mut self,
        _to: WatcherId,
        _datagram: &[u8],
    ) -> Result<SendOutcome, SendError> {
        Ok(SendOutcome::NotConnected)
    }

    /// Takes the next datagram of one who watches, and says how many bytes of the buffer it fills.
    fn try_receive_from_watcher(
        &mut self,
        _buffer: &mut [u8; DATAGRAM_BYTES_MAX],
    ) -> Option<(WatcherId, usize)> {
        None
    }

    /// Counts these inputs with the ways that they took: what was received in the datagram of this peer that was taken last,
    /// and what was sent to it just now.
    fn note_inputs(&mut self, _peer: PeerId, _inputs: InputsPassed) {}

    /// Has both directions of the way to this peer shown anew.
    fn begin_check(&mut self, _peer: PeerId) {}

    /// What has been shown of the way to this peer. A transport that cannot tell says that all is well.
    fn proof(&self, _peer: PeerId) -> Proof {
        Proof::Both
    }

    /// What was measured of the way to this peer, if anything is.
    fn link(&self, _peer: PeerId) -> Option<LinkReport> {
        None
    }

    /// The way to this peer is worse than it may be.
    fn note_unhealthy(&mut self, _peer: PeerId, _why: Unhealthy) {}

    /// Whether nobody is in this peer's slot: it left the match for good, or has not come yet.
    fn has_left(&self, _peer: PeerId) -> bool {
        false
    }

    /// Whether nothing is taken from this peer any more, since it sent what no honest one sends.
    fn is_shut_out(&self, _peer: PeerId) -> bool {
        false
    }

    /// Takes nothing from this peer any more, for what it sent is not of the session. Without such a way it is counted.
    fn shut_out(&mut self, _peer: PeerId) {}

    /// Whether another process has this member's slot now.
    fn is_replaced(&self) -> bool {
        false
    }
}

/// A transport on which async programs can wait, on whatever runtime they have.
pub trait AsyncDatagramTransport: DatagramTransport {
    /// [`wait`](DatagramTransport::wait) without blocking the thread.
    fn wait_async(&mut self, timeout: Duration) -> impl Future<Output = bool> + Send;
}

/// A datagram that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub peer: PeerId,
    /// How many bytes of the buffer it fills.
    pub len: usize,
    /// When it arrived, which may be long before it was taken.
    pub arrived_at: Timestamp,
}

/// What became of a datagram to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// It waits to be sent.
    Queued,
    /// It waits to be sent, and the oldest one waiting was dropped for it.
    OldestDropped,
    /// There is no connection to that peer now, so it was dropped.
    NotConnected,
}
