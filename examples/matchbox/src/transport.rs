//! What a game loop needs of a foreign transport: who is who, and how datagrams come and go.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use futures::executor::block_on;
use matchbox_socket::{ChannelError, Packet, WebRtcSocket};
use rollback_core::{PeerId, Roster, RosterError, Ticket, Timestamp};
use rollback_webrtc::{DATAGRAM_BYTES_MAX, DatagramTransport, Received, SendError, SendOutcome};

/// A room of a matchbox server, in which all members are connected to each other.
pub(crate) struct MatchboxTransport {
    /// All members, sorted: on every computer a member has the same place, and that is its number here.
    members: Vec<matchbox_socket::PeerId>,
    own: matchbox_socket::PeerId,
    outgoing: UnboundedSender<(matchbox_socket::PeerId, Packet)>,
    incoming: Receiver<Arrived>,
    /// What arrived while the game loop waited.
    waiting: Option<Arrived>,
    started: Instant,
    /// Dropping it closes the connections.
    _socket: WebRtcSocket,
}

/// A datagram, and when it arrived.
type Arrived = (matchbox_socket::PeerId, Packet, Timestamp);

impl MatchboxTransport {
    /// Waits in a room until so many members are there, this one included.
    pub(crate) fn join(room: &str, members: usize) -> Result<Self, ChannelError> {
        let (mut socket, message_loop) = WebRtcSocket::new_unreliable(room);
        // It ends when the socket is dropped, with an error that says nothing more.
        thread::spawn(move || block_on(message_loop).ok());
        let (own, others) = loop {
            socket.try_update_peers()?;
            let others: Vec<_> = socket.connected_peers().collect();
            match socket.id() {
                Some(own) if others.len() + 1 >= members => break (own, others),
                _ => thread::sleep(LOOK_INTERVAL),
            }
        };
        let mut members = others;
        members.push(own);
        members.sort_unstable();
        let started = Instant::now();
        let (outgoing, mut from_peers) = socket.take_channel(0)?.split();
        let (arrived, incoming) = sync_channel(DATAGRAMS_MAX);
        thread::spawn(move || {
            while let Some((from, bytes)) = block_on(from_peers.next()) {
                // What the game loop does not take in time is lost, like anything else on the way.
                let _ = arrived.try_send((from, bytes, since(started)));
            }
        });
        Ok(Self { members, own, outgoing, incoming, waiting: None, started, _socket: socket })
    }

    /// The place of this member. A room of matchbox gives no number and no seed to a match, so both are drawn from the
    /// random numbers of its members.
    pub(crate) fn ticket(&self) -> Result<Ticket, RosterError> {
        let mixed = self.members.iter().fold(0, |mixed, member| mixed ^ member.0.as_u128());
        let seed = u64::try_from(mixed & u128::from(u64::MAX)).unwrap_or_default();
        let session = u64::try_from(mixed >> 64).unwrap_or_default();
        let roster = Roster::one_player_each(self.members.len())?;
        let local =
            self.peer(self.own).ok_or(RosterError::PeerCount { got: self.members.len() })?;
        Ok(Ticket { session, episode: 0, seed, roster, local, incarnation: 0 })
    }

    fn peer(&self, member: matchbox_socket::PeerId) -> Option<PeerId> {
        let place = self.members.binary_search(&member).ok()?;
        PeerId::new(u8::try_from(place).ok()?)
    }
}

impl DatagramTransport for MatchboxTransport {
    fn now(&self) -> Timestamp {
        since(self.started)
    }

    fn try_send(&mut self, to: PeerId, datagram: &[u8]) -> Result<SendOutcome, SendError> {
        let Some(member) = self.members.get(to.index()) else {
            return Ok(SendOutcome::NotConnected);
        };
        let sent = self.outgoing.unbounded_send((*member, Packet::copy_from_slice(datagram)));
        Ok(if sent.is_ok() { SendOutcome::Queued } else { SendOutcome::NotConnected })
    }

    fn try_receive(&mut self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        loop {
            let (from, bytes, arrived_at) =
                self.waiting.take().or_else(|| self.incoming.try_recv().ok())?;
            // A stranger, or something longer than any datagram of a session, is dropped.
            if let (Some(peer), Some(room)) = (self.peer(from), buffer.get_mut(..bytes.len())) {
                room.copy_from_slice(&bytes);
                return Some(Received { peer, len: bytes.len(), arrived_at });
            }
        }
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        if self.waiting.is_none() {
            self.waiting = match self.incoming.recv_timeout(timeout) {
                Ok(arrived) => Some(arrived),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    thread::sleep(timeout);
                    None
                }
            };
        }
        self.waiting.is_some()
    }
}

fn since(started: Instant) -> Timestamp {
    Timestamp::from_micros(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// Datagrams that may wait for the game loop: two seconds of seven peers.
const DATAGRAMS_MAX: usize = 1024;

/// How often to look whether all are there.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
