//! What TURN servers answer. The library writes a refusal into its log and goes on as if there were no server, so the
//! answers are read here, on their way through the sockets of a connection; nothing is changed or held up.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::ice::TurnTrouble;
use crate::ice_url::TurnTransport;
use crate::stun::{attribute, header, xor_address};
use crate::turn_stream::BestRelay;

/// What is known of the TURN servers of one connection.
#[derive(Debug)]
pub(super) struct TurnWatch {
    state: Mutex<WatchState>,
    troubles: mpsc::Sender<TurnTrouble>,
    best: Arc<BestRelay>,
}

#[derive(Debug, Default)]
struct WatchState {
    /// Requests with credentials that have no answer yet. Only what answers one of them is believed.
    requests: VecDeque<Request>,
    /// Servers that were asked for an address, and whether they have said anything.
    servers: Vec<(SocketAddr, bool)>,
    streams: Vec<StandIn>,
    /// The addresses that servers have given, the newest last, and how those servers are reached.
    given: VecDeque<(SocketAddr, TurnTransport)>,
}

/// A socket of this computer in place of a server that is reached by a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct StandIn {
    pub(super) address: SocketAddr,
    pub(super) transport: TurnTransport,
    pub(super) rank: u8,
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    id: [u8; 12],
    method: u8,
}

impl TurnWatch {
    pub(super) fn new(troubles: mpsc::Sender<TurnTrouble>, best: Arc<BestRelay>) -> Self {
        Self { state: Mutex::default(), troubles, best }
    }

    pub(super) fn add_stream(&self, stream: StandIn) {
        self.with_state(|state| state.streams.push(stream));
    }

    /// How the server is reached that has given this address.
    pub(super) fn transport_of(&self, given: SocketAddr) -> Option<TurnTransport> {
        self.with_state(|state| {
            let mut newest_first = state.given.iter().rev();
            newest_first.find(|(address, _)| *address == given).map(|(_, transport)| *transport)
        })
    }

    /// A TURN server was asked, and none has said anything.
    pub(super) fn is_silent(&self) -> bool {
        self.with_state(|state| {
            !state.servers.is_empty() && state.servers.iter().all(|(_, has_answered)| !has_answered)
        })
    }

    pub(super) fn note_sent(&self, to: SocketAddr, datagram: &[u8]) {
        let Some((0x00, method, id)) = header(datagram) else { return };
        if !matches!(method, ALLOCATE | REFRESH | CREATE_PERMISSION) {
            return;
        }
        self.with_state(|state| {
            let is_new = state.servers.iter().all(|(server, _)| *server != to);
            if method == ALLOCATE && is_new && state.servers.len() < SERVERS_MAX {
                state.servers.push((to, false));
            }
            let request = Request { id, method };
            if attribute(datagram, USERNAME).is_some() && !state.requests.contains(&request) {
                if state.requests.len() >= REQUESTS_MAX {
                    state.requests.pop_front();
                }
                state.requests.push_back(request);
            }
        });
    }

    pub(super) fn note_received(&self, from: SocketAddr, datagram: &[u8]) {
        let Some((0x01, kind, id)) = header(datagram) else { return };
        let (method, is_error) = (kind & !ERROR, kind & ERROR != 0);
        let request = Request { id, method };
        let trouble = self.with_state(|state| {
            if let Some((_, has_answered)) = state.servers.iter_mut().find(|(to, _)| *to == from) {
                *has_answered = true;
            }
            let at = state.requests.iter().position(|sent| *sent == request)?;
            state.requests.remove(at);
            if !is_error {
                if method == ALLOCATE {
                    self.best.note(state.note_given(from, datagram));
                }
                return None;
            }
            match (error_code(datagram)?, method) {
                // The client asks again with the new number.
                (STALE_NONCE, _) => None,
                (code, ALLOCATE) => Some(TurnTrouble::Refused { code }),
                (code, REFRESH) | (code @ (UNAUTHORIZED | NO_ALLOCATION | OTHER_NAME), _) => {
                    Some(TurnTrouble::NotRenewed { code })
                }
                // One address that it does not send to, such as a private one, is no end of all others.
                _ => None,
            }
        });
        if let Some(trouble) = trouble {
            // Others that are not read yet say the same.
            let _ = self.troubles.try_send(trouble);
        }
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut WatchState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl WatchState {
    /// A server has given an address. Answers the rank of the way to that server.
    fn note_given(&mut self, from: SocketAddr, answer: &[u8]) -> u8 {
        let stream = self.streams.iter().find(|stream| stream.address == from);
        let (transport, rank) =
            stream.map_or((TurnTransport::Udp, 0), |it| (it.transport, it.rank));
        if let Some(given) = xor_address(answer, XOR_RELAYED_ADDRESS) {
            if self.given.len() >= GIVEN_MAX {
                self.given.pop_front();
            }
            self.given.push_back((given, transport));
        }
        rank
    }
}

/// Such as 401 (RFC 8489 §14.8).
fn error_code(datagram: &[u8]) -> Option<u16> {
    let [_, _, hundreds, rest] = *attribute(datagram, ERROR_CODE)?.first_chunk()?;
    Some(u16::from(hundreds & 0x07) * 100 + u16::from(rest))
}

/// Methods of TURN (RFC 8656 §17), as in the second byte of a request.
const ALLOCATE: u8 = 0x03;
const REFRESH: u8 = 0x04;
const CREATE_PERMISSION: u8 = 0x08;

/// In the second byte of an answer, when it is an error.
const ERROR: u8 = 0x10;

/// Attributes (RFC 8489 §18.3, RFC 8656 §18).
const USERNAME: u16 = 0x0006;
const ERROR_CODE: u16 = 0x0009;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;

/// Errors (RFC 8656 §18.4, RFC 8489 §14.8): nothing more is done for this client.
const UNAUTHORIZED: u16 = 401;
const NO_ALLOCATION: u16 = 437;
const OTHER_NAME: u16 = 441;

const STALE_NONCE: u16 = 438;

/// Requests without an answer that are remembered; a connection has a few for each server.
const REQUESTS_MAX: usize = 64;

/// Servers that are remembered.
const SERVERS_MAX: usize = 64;

/// Addresses of servers that are remembered: each socket of a connection may be given one by each server.
const GIVEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::MAGIC_COOKIE;

    fn message(class: u8, method: u8, id: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![class, method, 0, 0];
        message.extend(MAGIC_COOKIE);
        message.extend([id; 12]);
        for (kind, value) in attributes {
            message.extend(kind.to_be_bytes());
            message.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            message.extend(*value);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        message
    }

    fn watch() -> (TurnWatch, mpsc::Receiver<TurnTrouble>) {
        let (sender, troubles) = mpsc::channel(8);
        (TurnWatch::new(sender, Arc::default()), troubles)
    }

    fn server() -> SocketAddr {
        "192.0.2.1:3478".parse().unwrap()
    }

    fn error(method: u8, id: u8, code: u16) -> Vec<u8> {
        let class = u8::try_from(code / 100).unwrap();
        let value = [0, 0, class, u8::try_from(code % 100).unwrap(), b'n', b'o'];
        message(0x01, ERROR | method, id, &[(ERROR_CODE, &value)])
    }

    #[test]
    fn a_refusal_of_credentials_is_told_and_the_usual_question_for_them_is_not() {
        let (watch, mut troubles) = watch();
        watch.note_sent(server(), &message(0, ALLOCATE, 1, &[]));
        assert!(watch.is_silent());
        watch.note_received(server(), &error(ALLOCATE, 1, 401));
        assert!(!watch.is_silent());
        assert!(troubles.try_recv().is_err());
        watch.note_sent(server(), &message(0, ALLOCATE, 2, &[(0x1, b"abc"), (USERNAME, b"u")]));
        watch.note_received(server(), &error(ALLOCATE, 2, 438));
        watch.note_sent(server(), &message(0, ALLOCATE, 3, &[(USERNAME, b"u")]));
        watch.note_received(server(), &error(ALLOCATE, 3, 401));
        assert_eq!(troubles.try_recv(), Ok(TurnTrouble::Refused { code: 401 }));
        assert!(troubles.try_recv().is_err());
    }

    #[test]
    fn an_address_that_is_not_renewed_is_told() {
        let (watch, mut troubles) = watch();
        watch.note_sent(server(), &message(0, REFRESH, 1, &[(USERNAME, b"u")]));
        watch.note_received(server(), &error(REFRESH, 1, 441));
        assert_eq!(troubles.try_recv(), Ok(TurnTrouble::NotRenewed { code: 441 }));
    }

    #[test]
    fn what_answers_no_question_is_not_believed() {
        let (watch, mut troubles) = watch();
        watch.note_sent(server(), &message(0, ALLOCATE, 1, &[(USERNAME, b"u")]));
        watch.note_received(server(), &error(ALLOCATE, 2, 401));
        watch.note_received(server(), &error(REFRESH, 1, 401));
        watch.note_received(server(), &message(0x01, ERROR | ALLOCATE, 1, &[])[..19]);
        assert!(troubles.try_recv().is_err());
        assert!(!watch.best.is_better_than(1));
        watch.note_received(server(), &message(0x01, ALLOCATE, 1, &[]));
        assert!(watch.best.is_better_than(1));
    }

    #[test]
    fn it_is_known_how_the_server_is_reached_that_gave_an_address() {
        let (watch, _troubles) = watch();
        let (address, transport) = ("127.0.0.1:5000".parse().unwrap(), TurnTransport::Tls);
        watch.add_stream(StandIn { address, transport, rank: 1 });
        // 192.0.2.7 and 192.0.2.8 under the cookie, port 8738.
        for (id, from, last) in [(1, server(), 0x45), (2, address, 0x4a)] {
            watch.note_sent(from, &message(0, ALLOCATE, id, &[(USERNAME, b"u")]));
            let value = [0, 1, 0x03, 0x30, 0xe1, 0x12, 0xa6, last];
            watch.note_received(
                from,
                &message(0x01, ALLOCATE, id, &[(XOR_RELAYED_ADDRESS, &value)]),
            );
        }
        let of = |given: &str| watch.transport_of(given.parse().unwrap());
        assert_eq!(of("192.0.2.7:8738"), Some(TurnTransport::Udp));
        assert_eq!(of("192.0.2.8:8738"), Some(TurnTransport::Tls));
        assert_eq!(of("192.0.2.8:8739"), None);
    }

    #[test]
    fn any_bytes_may_come() {
        let (watch, _troubles) = watch();
        watch.note_sent(server(), &message(0, ALLOCATE, 1, &[(USERNAME, b"u")]));
        let honest = error(ALLOCATE, 1, 401);
        for at in 0..honest.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bytes = honest.clone();
                bytes[at] = byte;
                watch.note_received(server(), &bytes);
                watch.note_received(server(), &bytes[..at]);
                watch.note_sent(server(), &bytes);
            }
        }
    }
}
