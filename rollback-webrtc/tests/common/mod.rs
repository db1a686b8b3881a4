//! What the tests share: a real server on any free port, members on 127.0.0.1, and waiting with a
//! deadline instead of sleeping.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "each test binary uses another part of it, and ends where an expectation does"
)]

pub(crate) mod coturn;
pub(crate) mod faulty_path;
pub(crate) mod folder;
pub(crate) mod strict_relay;
pub(crate) mod sum;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rollback_core::PeerId;
use rollback_server::{BackgroundServer, GroupSize, Rooms, ServerConfig};
use rollback_webrtc::{
    DATAGRAM_BYTES_MAX, Joining, LinkConditions, Transport, TransportConfig, TransportEvent,
};

/// Longest time that anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn peer(slot: u8) -> PeerId {
    PeerId::new(slot).unwrap()
}

/// A server whose rooms are complete with so many members.
pub(crate) fn server(members: u8) -> BackgroundServer {
    server_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), members)
}

/// A server whose rooms are for so many members and begin with fewer.
pub(crate) fn server_beginning_with(begins_with: u8, members: u8) -> BackgroundServer {
    let size = GroupSize::try_from(members).unwrap().beginning_with(begins_with).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    BackgroundServer::start(address, ServerConfig::new(Rooms::Any(size))).unwrap()
}

pub(crate) fn server_at(address: SocketAddr, members: u8) -> BackgroundServer {
    let rooms = Rooms::Any(GroupSize::try_from(members).unwrap());
    BackgroundServer::start(address, ServerConfig::new(rooms)).unwrap()
}

pub(crate) fn link(server: &BackgroundServer, room: &str) -> String {
    format!("ws://{}/{room}", server.local_addr())
}

/// A configuration that stays on 127.0.0.1.
pub(crate) fn local() -> TransportConfig {
    TransportConfig { bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..Default::default() }
}

pub(crate) fn conditioned(link_conditions: LinkConditions) -> TransportConfig {
    TransportConfig { link_conditions, ..local() }
}

/// Joins one member after the other, so that the n-th has slot n, and waits for the room.
pub(crate) fn join_all(link: &str, configs: Vec<TransportConfig>) -> Vec<Transport> {
    let mut joining: Vec<Joining> = Vec::new();
    for (index, config) in configs.into_iter().enumerate() {
        let next = Transport::join(link, config).unwrap();
        // The last one completes the room, and its progress may be over before it is looked at.
        wait_until("the member is in the room", || next.progress().members > index);
        joining.push(next);
    }
    joining.iter_mut().map(|joining| joining.wait(PATIENCE).unwrap().unwrap()).collect()
}

/// Members of a room with connections between all of them.
pub(crate) fn mesh(
    server: &BackgroundServer,
    room: &str,
    configs: Vec<TransportConfig>,
) -> Vec<Transport> {
    let transports = join_all(&link(server, room), configs);
    wait_connected(&transports);
    transports
}

/// All the others, as one of them sees it.
pub(crate) fn others(transport: &Transport) -> Vec<PeerId> {
    let room = transport.room();
    room.members.iter().map(|member| member.peer).filter(|peer| *peer != room.local).collect()
}

pub(crate) fn wait_connected(transports: &[Transport]) {
    wait_until("all are connected", || {
        transports.iter().all(|transport| {
            others(transport).into_iter().all(|peer| transport.stats(peer).is_connected)
        })
    });
}

/// Looks again and again, waiting a little in between, until it is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Calls `step` about every millisecond for a while, with the time at which it began to, and whether a frame is due: 60 a second.
pub(crate) fn paced(
    transports: &[Transport],
    length: Duration,
    mut step: impl FnMut(Instant, bool),
) {
    let started = Instant::now();
    let mut next_frame = Duration::ZERO;
    while started.elapsed() < length {
        let is_due = started.elapsed() >= next_frame;
        if is_due {
            next_frame += Duration::from_micros(16_667);
        }
        step(started, is_due);
        let _ = transports[0].wait(Duration::from_millis(1));
    }
}

/// Waits for an event of this kind, and drops the ones before it.
pub(crate) fn wait_event(transport: &Transport, wanted: TransportEvent) {
    let mut seen = Vec::new();
    wait_until(&format!("{wanted:?}"), || {
        while let Some(event) = transport.poll_event() {
            if event == wanted {
                return true;
            }
            seen.push(event);
        }
        false
    });
}

/// The next datagram, within the patience of the tests.
pub(crate) fn receive(transport: &Transport) -> (PeerId, Vec<u8>) {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(received) = transport.try_receive(&mut buffer) {
            return (received.peer, buffer[..received.len].to_vec());
        }
        assert!(Instant::now() < deadline, "no datagram came");
        let _ = transport.wait(Duration::from_millis(100));
    }
}
