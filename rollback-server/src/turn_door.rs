//! The socket of the TURN server. The crate `turn` remembers every nonce that it has ever given, and gives one to
//! anybody who asks; so whoever shows none that is known here waits for a share of a small allowance.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind::{ConnectionRefused, ConnectionReset};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use tokio::net::UdpSocket;
use webrtc_util::Conn;

use crate::turn_members::{Asking, Client};

/// The socket, and who has been given a nonce.
pub(crate) struct TurnDoor {
    socket: UdpSocket,
    guard: Mutex<Guard>,
    asking: Asking,
    started_at: Instant,
}

/// Decides which datagrams the TURN server sees.
#[derive(Debug)]
struct Guard {
    /// The last nonce of each client.
    nonces: BTreeMap<SocketAddr, Vec<u8>>,
    /// Requests of strangers that may be answered with a nonce: of each address, and of all together.
    strangers: BTreeMap<IpAddr, Bucket>,
    /// These addresses, as they came.
    order: VecDeque<IpAddr>,
    all: Bucket,
}

/// An allowance that grows back, in thousandths.
#[derive(Debug)]
struct Bucket {
    left: u64,
    most: u64,
    per_second: u64,
    refilled_at_ms: u64,
}

impl TurnDoor {
    /// Who asks for a port is written down in `asking`.
    pub(crate) fn new(socket: UdpSocket, asking: Asking) -> Self {
        Self { socket, guard: Mutex::new(Guard::new()), asking, started_at: Instant::now() }
    }

    fn with_guard<T>(&self, ask: impl FnOnce(&mut Guard) -> T) -> T {
        ask(&mut self.guard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Guard {
    const fn new() -> Self {
        Self {
            nonces: BTreeMap::new(),
            strangers: BTreeMap::new(),
            order: VecDeque::new(),
            all: Bucket::full(0, OF_ALL_MAX, OF_ALL_PER_SECOND),
        }
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
                is_known || self.spend(now_ms, from.ip())
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

    /// A stranger pays of its own first, so that one alone does not use up what all have.
    fn spend(&mut self, now_ms: u64, from: IpAddr) -> bool {
        let network = network(from);
        if !self.strangers.contains_key(&network) {
            if self.order.len() >= STRANGERS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.strangers.remove(&oldest);
            }
            self.order.push_back(network);
        }
        let full = || Bucket::full(now_ms, OF_ONE_MAX, OF_ONE_PER_SECOND);
        self.strangers.entry(network).or_insert_with(full).spend(now_ms) && self.all.spend(now_ms)
    }
}

impl Bucket {
    const fn full(now_ms: u64, most: u64, per_second: u64) -> Self {
        Self { left: most, most, per_second, refilled_at_ms: now_ms }
    }

    fn spend(&mut self, now_ms: u64) -> bool {
        let refill = now_ms.saturating_sub(self.refilled_at_ms).saturating_mul(self.per_second);
        self.refilled_at_ms = now_ms;
        self.left = self.left.saturating_add(refill).min(self.most);
        match self.left.checked_sub(1000) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

/// Of an IPv6 address what a household has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Who a request says that it is from.
fn client(from: SocketAddr, datagram: &[u8]) -> Option<Client> {
    let username = std::str::from_utf8(attribute(datagram, USERNAME)?).ok()?;
    Some(Client { source: from, username: username.to_owned() })
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
                if let Some([0x00, 0x03]) = datagram.first_chunk() {
                    self.asking.note(client(from, datagram));
                }
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
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const NONCE: u16 = 0x0015;

/// Nonces that one address is given at once, in thousandths: an honest client needs one for each address of each
/// connection, and a whole group may be behind one router.
const OF_ONE_MAX: u64 = 500_000;

/// And how many a second after that.
const OF_ONE_PER_SECOND: u64 = 2;

/// Nonces that all strangers are given at once, in thousandths.
const OF_ALL_MAX: u64 = 4_000_000;

/// And how many a second after that, since addresses can be made up: a day of an attack costs some 200 MB.
const OF_ALL_PER_SECOND: u64 = 20;

/// Strangers whose allowance is remembered.
const STRANGERS_MAX: usize = 4096;

/// Clients whose nonces are remembered.
const NONCES_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

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

    /// How many nonces a stranger gets.
    fn given(guard: &mut Guard, now_ms: u64, from: SocketAddr) -> u64 {
        let stranger = message(0x00, 0x03, None);
        (0..).take_while(|_: &u64| guard.admits(now_ms, from, &stranger)).fold(0, |sum, _| sum + 1)
    }

    #[test]
    fn a_stranger_has_an_allowance_that_comes_back_and_clients_need_none() {
        let mut guard = Guard::new();
        guard.note_answer(client(1), &message(0x01, 0x13, Some(b"mine!")));
        assert_eq!(given(&mut guard, 0, client(2)), OF_ONE_MAX / 1000);
        assert!(guard.admits(0, client(1), &proved(message(0x00, 0x04, Some(b"mine!")))));
        assert!(!guard.admits(0, client(1), &message(0x00, 0x04, Some(b"mine!"))), "no proof");
        for other in [Some(b"other".as_slice()), None] {
            assert!(!guard.admits(0, client(1), &proved(message(0x00, 0x04, other))));
            assert!(!guard.admits(0, client(2), &proved(message(0x00, 0x04, Some(b"mine!")))));
        }
        assert_eq!(given(&mut guard, 500, client(3)), 1, "another port is the same stranger");
        let other = SocketAddr::from(([192, 0, 2, 2], 1));
        assert_eq!(
            given(&mut guard, 500, other),
            OF_ONE_MAX / 1000,
            "one does not shut out another"
        );
    }

    #[test]
    fn all_strangers_together_have_an_allowance_and_so_many_are_remembered() {
        let mut guard = Guard::new();
        let stranger = |number: u32| SocketAddr::from((Ipv4Addr::from_bits(number), 1));
        let all: u64 = (0..20).map(|number| given(&mut guard, 0, stranger(number))).sum();
        assert_eq!(all, OF_ALL_MAX / 1000);
        for number in 0..10_000 {
            given(&mut guard, 0, stranger(number));
        }
        assert_eq!((guard.strangers.len(), guard.order.len()), (STRANGERS_MAX, STRANGERS_MAX));
        assert!(guard.strangers.contains_key(&stranger(9_999).ip()));
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"];
        let [one, same, other] = [one, same, other].map(|it| network(it.parse().unwrap()));
        assert_eq!((one == same, one == other), (true, false));
    }

    #[test]
    fn who_asks_for_a_port_is_written_down() {
        let mut request = message(0x00, 0x03, None);
        assert_eq!(super::client(client(1), &request), None);
        request.extend([0, 6, 0, 3]);
        request.extend(b"7:a\0");
        let username = "7:a".to_owned();
        assert_eq!(
            super::client(client(1), &request),
            Some(Client { source: client(1), username })
        );
    }

    #[test]
    fn what_needs_no_nonce_passes_and_what_is_none_of_it_does_not() {
        let mut guard = Guard::new();
        guard.all.left = 0;
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
