//! A socket of a connection, on which what passes is read: `webrtc` 0.21.1 tells neither what TURN servers answer nor why a
//! handshake fails. Nothing is changed or held up.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::certificate_watch::CertificateWatch;
use super::turn_watch::TurnWatch;

/// Who reads what passes the sockets of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) turn: TurnWatch,
    pub(super) certificates: CertificateWatch,
}

/// A socket of a connection, watched.
#[derive(Debug)]
pub(super) struct WatchedSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    watch: Arc<Watch>,
}

impl WatchedSocket {
    pub(super) fn new(socket: Arc<dyn AsyncUdpSocket>, watch: Arc<Watch>) -> Self {
        Self { socket, watch }
    }
}

impl AsyncUdpSocket for WatchedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<usize>> {
        let sent = self.socket.poll_send(context, transmit);
        if sent.is_ready() {
            let contents = transmit.contents;
            let segment = transmit.segment_size.unwrap_or(contents.len()).max(1);
            for datagram in contents.chunks(segment) {
                self.watch.turn.note_sent(transmit.destination, datagram);
                self.watch.certificates.note_sent(datagram);
            }
        }
        sent
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(context, buffers, meta);
        if let Poll::Ready(Ok(messages)) = received {
            for (buffer, meta) in buffers.iter().zip(meta.iter()).take(messages) {
                let message = buffer.get(..meta.len).unwrap_or_default();
                for datagram in message.chunks(meta.stride.max(1)) {
                    self.watch.turn.note_received(meta.addr, datagram);
                    self.watch.certificates.note_received(datagram);
                }
            }
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}
