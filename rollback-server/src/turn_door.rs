//! The socket of the TURN server. The crate `turn` remembers every nonce that it has ever given, and gives one to
//! anybody who asks; so whoever shows none that is known here waits for a share of a small allowance.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::ErrorKind::{ConnectionRefused, ConnectionReset};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use tokio::net::UdpSocket;
use webrtc_util::Conn;

/// The socket, and who has been given a nonce.
pub(crate) struct TurnDoor {
    socket: UdpSocket,
    guard: Mutex<Guard>,
    started_at: Instant,
}

/// Decides which datagrams the TURN server sees.
#[derive(Debug)]
struct Guard {
    /// The last nonce of each client.
    nonces: BTreeMap<SocketAddr, Vec<u8>>,
    /// Requests that may be answered with a nonce, in thousandths.
    allowance: u64,
    refilled_at_ms: u64,
}

impl TurnDoor {
    pub(crate) fn new(socket: UdpSocket) -> Self {
        Self { socket, guard: Mutex::new(Guard::new()), started_at: Instant::now() }
    }

    fn with_guard<T>(&self, ask: impl FnOnce(&mut Guard) -> T) -> T {
        ask(&mut self.guard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Guard {
    const fn new() -> Self {
        Self { nonces: BTreeMap::new(), allowance: ALLOWANCE_MAX, refilled_at_ms: 0 }
    }

    fn admits(&mut self, now_ms: u64, from: SocketAddr, datagram: &[u8]) -> bool {
        match datagram.first_chunk() {
            // Channel data, and indications: nothing answers them.
            Some([0x40..=0x4f, _] | [0x00, 0x16]) => true,
            // The question of a STUN client.
            Some([0x00, 0x01]) => true,
            Some([0x00, _]) => {
                let nonce = attribute(datagram, NONCE);
                let is_known = nonce.is_some_and(|nonce| {
                    self.nonces.get(&from).is_some_and(|known| known == nonce)
                });
                // Without a proof of who asks, the answer would be another nonce.
                let is_known = is_known && attribute(datagram, MESSAGE_INTEGRITY).is_some();
                is_known || self.spend(now_ms)
            }
            _ => false,
        }
    }

    fn note_answer(&mut self, to: SocketAddr, datagram: &[u8]) {
        let Some(nonce) = attribute(datagram, NONCE) else { return };
        if self.nonces.len() >= NONCES_MAX && !self.nonces.contains_key(&to) {
            // Whoever it belongs to needs a share of the allowance once more.
            self.nonces.pop_first();
        }
        self.nonces.insert(to, nonce.to_vec());
    }

    fn spend(&mut self, now_ms: u64) -> bool {
        let refill = now_ms.saturating_sub(self.refilled_at_ms).saturating_mul(NONCES_PER_SECOND);
        self.refilled_at_ms = now_ms;
        self.allowance = self.allowance.saturating_add(refill).min(ALLOWANCE_MAX);
        match self.allowance.checked_sub(1000) {
            Some(left) => {
                self.allowance = left;
                true
            }
            None => false,
        }
    }
}

#[async_trait]
impl Conn for TurnDoor {
    async fn connect(&self, address: SocketAddr) -> webrtc_util::Result<()> {
        Ok(self.socket.connect(address).await?)
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        loop {
            let (bytes, from) = match self.socket.recv_from(buffer).await {
                Ok(received) => received,
                // What a former datagram to a client that is gone has caused (Windows calls it a reset); the server would
                // end with it.
                Err(error) if matches!(error.kind(), ConnectionRefused | ConnectionReset) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let datagram = buffer.get(..bytes).unwrap_or_default();
            let now_ms = u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
            if self.with_guard(|guard| guard.admits(now_ms, from, datagram)) {
                return Ok((bytes, from));
            }
        }
    }

    async fn send(&self, datagram: &[u8]) -> webrtc_util::Result<usize> {
        Ok(self.socket.send(datagram).await?)
    }

    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> webrtc_util::Result<usize> {
        // Only refusals have one; all else that is sent is relayed.
        if let Some([0x01, _]) = datagram.first_chunk() {
            self.with_guard(|guard| guard.note_answer(to, datagram));
        }
        Ok(self.socket.send_to(datagram, to).await?)
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

/// The value of an attribute of a STUN message (RFC 8489 §14).
fn attribute(datagram: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = datagram.get(20..)?;
    while let Some([kind_high, kind_low, high, low]) = rest.first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = rest.get(4..4 + length)?;
        if u16::from_be_bytes([*kind_high, *kind_low]) == wanted {
            return Some(value);
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
    None
}

/// The attributes (RFC 8489 §18.3).
const MESSAGE_INTEGRITY: u16 = 0x0008;
const NONCE: u16 = 0x0015;

/// Nonces that are given at once, in thousandths: an honest client needs one for each address of each connection.
const ALLOWANCE_MAX: u64 = 2_000_000;

/// And how many a second after that: a day of an attack costs some 50 MB.
const NONCES_PER_SECOND: u64 = 5;

/// Clients whose nonces are remembered.
const NONCES_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(class: u8, method: u8, nonce: Option<&[u8]>) -> Vec<u8> {
        let mut message = vec![0; 20];
        (message[0], message[1]) = (class, method);
        if let Some(nonce) = nonce {
            message.extend(NONCE.to_be_bytes());
            message.extend(u16::try_from(nonce.len()).unwrap().to_be_bytes());
            message.extend(nonce);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        message
    }

    /// With an attribute in which the proof would be.
    fn proved(mut message: Vec<u8>) -> Vec<u8> {
        message.extend(MESSAGE_INTEGRITY.to_be_bytes());
        message.extend(20_u16.to_be_bytes());
        message.extend([7; 20]);
        message
    }

    fn client(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn strangers_share_an_allowance_that_comes_back_and_clients_need_none() {
        let mut guard = Guard::new();
        guard.note_answer(client(1), &message(0x01, 0x13, Some(b"mine!")));
        let stranger = message(0x00, 0x03, None);
        for _ in 0..ALLOWANCE_MAX / 1000 {
            assert!(guard.admits(0, client(2), &stranger));
        }
        assert!(!guard.admits(0, client(2), &stranger));
        assert!(guard.admits(0, client(1), &proved(message(0x00, 0x04, Some(b"mine!")))));
        assert!(!guard.admits(0, client(1), &message(0x00, 0x04, Some(b"mine!"))), "no proof");
        for other in [Some(b"other".as_slice()), None] {
            assert!(!guard.admits(0, client(1), &proved(message(0x00, 0x04, other))));
            assert!(!guard.admits(0, client(2), &proved(message(0x00, 0x04, Some(b"mine!")))));
        }
        assert!(guard.admits(200, client(2), &stranger));
        assert!(!guard.admits(200, client(2), &stranger));
    }

    #[test]
    fn what_needs_no_nonce_passes_and_what_is_none_of_it_does_not() {
        let mut guard = Guard::new();
        guard.allowance = 0;
        for datagram in [&[0x40, 0, 0, 0][..], &message(0, 0x16, None), &message(0, 0x01, None)] {
            assert!(guard.admits(0, client(1), datagram));
        }
        for datagram in [&b""[..], b"\x40", b"PUT / HTTP/1.1", &[0x80; 40], &message(1, 1, None)] {
            assert!(!guard.admits(0, client(1), datagram));
        }
    }

    #[test]
    fn so_many_clients_are_remembered_and_no_more() {
        let mut guard = Guard::new();
        for number in 0..=u16::MAX {
            guard.note_answer(client(number), &message(0x01, 0x13, Some(b"n")));
        }
        assert_eq!(guard.nonces.len(), NONCES_MAX);
        assert!(guard.nonces.contains_key(&client(u16::MAX)));
    }
}
