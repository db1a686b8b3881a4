//! Ends between which datagrams go: how a game's thread sends one, and waits for the next.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rollback_core::PeerId;
use rollback_server::{BackgroundServer, GroupSize, Rooms, ServerConfig};
use rollback_webrtc::{DATAGRAM_BYTES_MAX, Joining, Transport, TransportConfig};

use crate::bare;

/// One member of a mesh.
pub(crate) trait End: Send {
    /// Sends a datagram to another member.
    fn send(&mut self, to: usize, datagram: &[u8]);

    /// Waits for the next datagram, whoever sends it.
    fn receive(
        &mut self,
        datagram: &mut [u8; DATAGRAM_BYTES_MAX],
        timeout: Duration,
    ) -> Option<usize>;
}

/// What carries the datagrams.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The system's sockets.
    Udp,
    /// `webrtc` alone, as it starts, but for rule R1: each side sends on a channel of its own.
    Bare,
    /// [`Transport`].
    Ours,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Udp, Self::Bare, Self::Ours];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Bare => "webrtc",
            Self::Ours => "rollback-webrtc",
        }
    }

    /// Members that are all connected to each other.
    pub(crate) fn mesh(self, members: usize) -> Vec<Box<dyn End>> {
        match self {
            Self::Udp => boxed(UdpEnd::mesh(members)),
            Self::Bare => boxed(bare::mesh(members)),
            Self::Ours => boxed(OwnEnd::mesh(members)),
        }
    }
}

fn boxed(ends: Vec<impl End + 'static>) -> Vec<Box<dyn End>> {
    ends.into_iter().map(|end| Box::new(end) as Box<dyn End>).collect()
}

struct UdpEnd {
    socket: UdpSocket,
    ports: Vec<u16>,
}

impl UdpEnd {
    fn mesh(members: usize) -> Vec<Self> {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let sockets: Vec<UdpSocket> = (0..members).map(|_| bind()).collect();
        let port = |socket: &UdpSocket| socket.local_addr().expect("a bound socket").port();
        let ports: Vec<u16> = sockets.iter().map(port).collect();
        sockets.into_iter().map(|socket| Self { socket, ports: ports.clone() }).collect()
    }
}

impl End for UdpEnd {
    fn send(&mut self, to: usize, datagram: &[u8]) {
        if let Some(port) = self.ports.get(to) {
            self.socket.send_to(datagram, (Ipv4Addr::LOCALHOST, *port)).expect("loopback");
        }
    }

    fn receive(
        &mut self,
        datagram: &mut [u8; DATAGRAM_BYTES_MAX],
        timeout: Duration,
    ) -> Option<usize> {
        self.socket.set_read_timeout(Some(timeout.max(TIMEOUT_MIN))).expect("a timeout");
        self.socket.recv(datagram).ok()
    }
}

/// A member of a room on a server that goes with the last of them.
pub(crate) struct OwnEnd {
    transport: Transport,
    _server: std::sync::Arc<BackgroundServer>,
}

impl OwnEnd {
    pub(crate) fn mesh(members: usize) -> Vec<Self> {
        let size = u8::try_from(members).ok().and_then(|members| GroupSize::try_from(members).ok());
        let rooms = Rooms::Any(size.expect("a group of 2 to 8"));
        let server =
            BackgroundServer::start((Ipv4Addr::LOCALHOST, 0).into(), ServerConfig::new(rooms));
        let server = std::sync::Arc::new(server.expect("a server"));
        Self::join(&server, members)
    }

    /// Members of a new room of a server.
    pub(crate) fn join(server: &std::sync::Arc<BackgroundServer>, members: usize) -> Vec<Self> {
        static ROOMS: AtomicU32 = AtomicU32::new(0);
        let room = ROOMS.fetch_add(1, Ordering::Relaxed);
        let link = format!("ws://{}/room{room}", server.local_addr());
        let config =
            TransportConfig { bind: vec![Ipv4Addr::LOCALHOST.into()], ..Default::default() };
        let join = |_| Transport::join(&link, config.clone()).expect("a link");
        let mut joining: Vec<Joining> = (0..members).map(join).collect();
        let joined =
            |joining: &mut Joining| joining.wait(PATIENCE).expect("a member").expect("in time");
        let transports: Vec<Transport> = joining.iter_mut().map(joined).collect();
        let deadline = Instant::now() + PATIENCE;
        let is_direct = |transport: &Transport| {
            let own = transport.room().local;
            let others = transport.room().members.iter().filter(|member| member.peer != own);
            others.into_iter().all(|member| {
                let stats = transport.stats(member.peer);
                stats.is_connected && stats.path != Some(rollback_webrtc::Path::Server)
            })
        };
        while !transports.iter().all(is_direct) {
            assert!(Instant::now() < deadline, "not connected in time");
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut ends: Vec<Self> = transports
            .into_iter()
            .map(|transport| Self { transport, _server: std::sync::Arc::clone(server) })
            .collect();
        ends.sort_by_key(|end| end.transport.room().local);
        ends
    }
}

impl End for OwnEnd {
    fn send(&mut self, to: usize, datagram: &[u8]) {
        if let Some(peer) = u8::try_from(to).ok().and_then(PeerId::new) {
            self.transport.try_send(peer, datagram).expect("a datagram that is not too long");
        }
    }

    fn receive(
        &mut self,
        datagram: &mut [u8; DATAGRAM_BYTES_MAX],
        timeout: Duration,
    ) -> Option<usize> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(received) = self.transport.try_receive(datagram) {
                return Some(received.len);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.transport.wait(left) {
                return None;
            }
        }
    }
}

/// How long anything may take until all are connected.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A timeout of zero means none to the system.
const TIMEOUT_MIN: Duration = Duration::from_micros(1);
