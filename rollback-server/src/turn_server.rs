//! A TURN server in this process, by UDP: the crate `turn`, told who may use it, from which ports it relays, and where
//! to. The only file that names that crate.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::UdpSocket;
use turn::auth::{AuthHandler, generate_auth_key};
use turn::relay::RelayAddressGenerator;
use turn::server::Server;
use turn::server::config::{ConnConfig, ServerConfig};
use webrtc_util::Conn;

use crate::clock::unix_secs;
use crate::ice::{EmbeddedTurn, turn_password};
use crate::turn_door::TurnDoor;

/// A running TURN server. It ends when this is closed.
pub(crate) struct TurnServer {
    server: Server,
    port: u16,
    /// Where it can be reached, the best first.
    addresses: Vec<IpAddr>,
}

impl TurnServer {
    /// Listens where `listen` says, which is where the whole server listens; with an address that stands for all of this
    /// computer, at each of them.
    ///
    /// # Errors
    /// When a socket cannot be bound, or the computer has no IPv4 address.
    pub(crate) async fn start(
        config: EmbeddedTurn,
        listen: IpAddr,
        secret: Vec<u8>,
    ) -> io::Result<Self> {
        let bound = match (listen.is_unspecified(), config.public_address) {
            (false, _) => vec![listen],
            (true, Some(_)) => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
            (true, None) => own_addresses()?,
        };
        let live = LivePorts::default();
        let mut port = config.port;
        let (mut conn_configs, mut addresses) = (Vec::new(), Vec::new());
        for bound in bound {
            let socket = UdpSocket::bind((bound, port)).await?;
            port = socket.local_addr()?.port();
            let public = config.public_address.unwrap_or(bound);
            let ports = config.relay_ports;
            let relay = RelayPorts { bound, public, ports, live: live.clone() };
            let relay_addr_generator = Box::new(relay);
            let conn = Arc::new(TurnDoor::new(socket));
            conn_configs.push(ConnConfig { conn, relay_addr_generator });
            addresses.push(public);
        }
        addresses.dedup();
        let auth_handler = Arc::new(Members { secret, known: Mutex::default() });
        let config = ServerConfig {
            conn_configs,
            realm: REALM.to_owned(),
            auth_handler,
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        };
        let server = Server::new(config).await.map_err(io::Error::other)?;
        Ok(Self { server, port, addresses })
    }

    /// Its address for a client that reached this computer at `reached`.
    pub(crate) fn url(&self, reached: Option<IpAddr>) -> Option<String> {
        let known = reached.filter(|reached| self.addresses.contains(reached));
        let address = known.or_else(|| self.addresses.first().copied())?;
        Some(format!("turn:{address}:{}?transport=udp", self.port))
    }

    pub(crate) async fn close(&self) {
        // It can only be closed already.
        let _ = self.server.close().await;
    }
}

/// Who may use it: those whose name ends in the future, and those that were there before theirs ended, as coturn has it;
/// else a match that outlives its credentials would lose its way.
struct Members {
    secret: Vec<u8>,
    /// The names and addresses that were good once.
    known: Mutex<BTreeMap<SocketAddr, String>>,
}

impl AuthHandler for Members {
    fn auth_handle(
        &self,
        username: &str,
        realm: &str,
        source: SocketAddr,
    ) -> Result<Vec<u8>, turn::Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let end: Option<u64> = username.split(':').next().and_then(|end| end.parse().ok());
        if end.is_some_and(|end| end >= unix_secs()) {
            if known.len() >= KNOWN_MAX && !known.contains_key(&source) {
                // One of many, and only of use when its name ends during a match.
                known.pop_first();
            }
            known.insert(source, username.to_owned());
        } else if known.get(&source).is_none_or(|known| known != username) {
            return Err(turn::Error::ErrNoSuchUser);
        }
        Ok(generate_auth_key(username, realm, &turn_password(&self.secret, username)))
    }
}

/// Gives each client a port, so many at most.
struct RelayPorts {
    bound: IpAddr,
    public: IpAddr,
    ports: Option<(u16, u16)>,
    live: LivePorts,
}

#[async_trait]
impl RelayAddressGenerator for RelayPorts {
    fn validate(&self) -> Result<(), turn::Error> {
        Ok(())
    }

    async fn allocate_conn(
        &self,
        use_ipv4: bool,
        requested_port: u16,
    ) -> Result<(Arc<dyn Conn + Send + Sync>, SocketAddr), turn::Error> {
        // A port of the client's choice, as for RTP, nobody needs.
        if use_ipv4 != self.bound.is_ipv4() || requested_port != 0 {
            return Err(turn::Error::ErrListeningAddressInvalid);
        }
        let socket = self.bind().await?;
        let port = socket.local_addr()?.port();
        let place = Place::take(&self.live, (port, self.bound))
            .ok_or(turn::Error::ErrMaxRetriesExceeded)?;
        let address = SocketAddr::new(self.public, port);
        Ok((Arc::new(RelaySocket { socket, public: self.public, place }), address))
    }
}

impl RelayPorts {
    async fn bind(&self) -> io::Result<UdpSocket> {
        let Some((first, last)) = self.ports else { return UdpSocket::bind((self.bound, 0)).await };
        let ports = u32::from(last - first) + 1;
        let begin = getrandom::u32().map_err(io::Error::other)?;
        for step in 0..ports {
            let offset = begin.wrapping_add(step) % ports;
            let port = u16::try_from(u32::from(first) + offset).unwrap_or(last);
            if let Ok(socket) = UdpSocket::bind((self.bound, port)).await {
                return Ok(socket);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

/// The ports from which it relays now, with the address that each is of.
#[derive(Debug, Clone, Default)]
struct LivePorts(Arc<Mutex<BTreeSet<(u16, IpAddr)>>>);

impl LivePorts {
    fn with<T>(&self, ask: impl FnOnce(&mut BTreeSet<(u16, IpAddr)>) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn contains(&self, port: u16) -> bool {
        let first = (port, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.with(|ports| ports.range(first..).next().is_some_and(|(live, _)| *live == port))
    }
}

/// One of the clients that may be served at once.
struct Place {
    live: LivePorts,
    port: (u16, IpAddr),
}

impl Place {
    fn take(live: &LivePorts, port: (u16, IpAddr)) -> Option<Self> {
        let has_room = live.with(|ports| ports.len() < ALLOCATIONS_MAX && ports.insert(port));
        has_room.then(|| Self { live: live.clone(), port })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.live.with(|ports| ports.remove(&self.port));
    }
}

/// A port of one client. What it sends elsewhere than to other members is dropped.
struct RelaySocket {
    socket: UdpSocket,
    public: IpAddr,
    place: Place,
}

impl RelaySocket {
    fn may_send(&self, to: SocketAddr) -> bool {
        // Of its own computer on the Internet other clients' ports only: else it would be a way to whatever listens there,
        // past every firewall in between.
        let is_own = to.ip().to_canonical() == self.public && !is_local(self.public);
        match is_own {
            true => self.place.live.contains(to.port()),
            false => may_relay(self.public, to.ip()),
        }
    }
}

#[async_trait]
impl Conn for RelaySocket {
    async fn connect(&self, _: SocketAddr) -> webrtc_util::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        Ok(self.socket.recv(buffer).await?)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        loop {
            match self.socket.recv_from(buffer).await {
                Ok(received) => return Ok(received),
                // What a former datagram to a member that is gone has caused; Windows calls it a reset.
                Err(error) if matches!(error.kind(), ConnectionRefused | ConnectionReset) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn send(&self, _: &[u8]) -> webrtc_util::Result<usize> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> webrtc_util::Result<usize> {
        if self.may_send(to) {
            // It may be lost, as any datagram.
            let _ = self.socket.send_to(datagram, to).await;
        }
        Ok(datagram.len())
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

/// Whether an address is of this computer or of a network that is not the Internet.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_carrier_grade = first == 100 && (64..128).contains(&second);
            let is_special = address.is_loopback() || address.is_link_local();
            is_special || address.is_private() || is_carrier_grade
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// Whether to relay there: a server on the Internet must be no way into its own computer and its own network.
fn may_relay(public: IpAddr, to: IpAddr) -> bool {
    let to = to.to_canonical();
    match (public, to) {
        // Other clients of this server.
        (public, to) if public == to => true,
        (IpAddr::V4(public), IpAddr::V4(to)) => {
            let is_special = to.is_unspecified()
                || to.is_broadcast()
                || to.is_multicast()
                || to.is_link_local()
                || to.octets()[0] == 0;
            let is_carrier_grade = |address: Ipv4Addr| {
                let [first, second, ..] = address.octets();
                first == 100 && (64..128).contains(&second)
            };
            let is_private = |address: Ipv4Addr| address.is_private() || is_carrier_grade(address);
            !is_special
                && (!to.is_loopback() || public.is_loopback())
                && (!is_private(to) || is_private(public) || public.is_loopback())
        }
        _ => false,
    }
}

/// The IPv4 addresses of this computer; that of loopback only when there is no other.
fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let interfaces = webrtc_util::ifaces::ifaces().map_err(io::Error::other)?;
    let addresses = interfaces.iter().filter_map(|interface| Some(interface.addr?.ip()));
    let is_of_use = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(_) => false,
    };
    let mut found: Vec<IpAddr> = addresses.filter(is_of_use).collect();
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    Ok(found)
}

/// What the clients of a TURN server see.
const REALM: &str = "rollback";

/// Most clients at once: each connection of a member is one, for each of its addresses.
const ALLOCATIONS_MAX: usize = 4096;

/// Most names that are remembered beyond their end.
const KNOWN_MAX: usize = 4 * ALLOCATIONS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn may(public: &str, to: &str) -> bool {
        may_relay(public.parse().unwrap(), to.parse().unwrap())
    }

    #[test]
    fn a_relay_is_no_way_into_its_own_network() {
        for to in ["198.51.100.7", "203.0.113.1"] {
            assert!(may("203.0.113.1", to), "{to}");
        }
        let inner =
            ["127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0"];
        for to in
            inner.into_iter().chain(["224.0.0.1", "255.255.255.255", "::1", "::ffff:127.0.0.1"])
        {
            assert!(!may("203.0.113.1", to), "{to}");
        }
        assert!(may("192.168.1.2", "192.168.1.3"));
        assert!(may("192.168.1.2", "198.51.100.7"));
        assert!(!may("192.168.1.2", "127.0.0.1"));
        assert!(may("127.0.0.1", "127.0.0.1"));
    }

    #[test]
    fn a_name_is_good_until_it_ends_and_later_only_for_who_had_it_before() {
        let members = Members { secret: b"north".to_vec(), known: Mutex::default() };
        let (one, other) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap());
        let valid = format!("{}:a", unix_secs() + 60);
        assert!(members.auth_handle(&valid, REALM, one).is_ok());
        members.known.lock().unwrap().insert(one, "1000:a".to_owned());
        assert!(members.auth_handle("1000:a", REALM, one).is_ok());
        assert!(members.auth_handle("1000:a", REALM, other).is_err());
        assert!(members.auth_handle("1000:b", REALM, one).is_err());
        assert!(members.auth_handle("a", REALM, one).is_err());
    }

    #[test]
    fn so_many_clients_at_once_and_no_more() {
        let (live, one) = (LivePorts::default(), IpAddr::from([192, 0, 2, 1]));
        let port = |number: usize| (u16::try_from(number).unwrap(), one);
        let others: Vec<Place> =
            (1..ALLOCATIONS_MAX).map(|number| Place::take(&live, port(number)).unwrap()).collect();
        let last = Place::take(&live, port(0)).unwrap();
        assert!(Place::take(&live, port(ALLOCATIONS_MAX)).is_none());
        drop(last);
        assert!(Place::take(&live, port(ALLOCATIONS_MAX)).is_some());
        drop(others);
        assert!(live.with(|ports| ports.is_empty()));
    }

    #[tokio::test]
    async fn of_its_own_computer_a_relay_on_the_internet_reaches_other_clients_only() {
        let public = IpAddr::from([203, 0, 113, 1]);
        let (bound, live) = (IpAddr::from(Ipv4Addr::LOCALHOST), LivePorts::default());
        let socket = UdpSocket::bind((bound, 0)).await.unwrap();
        let place = Place::take(&live, (5000, bound)).unwrap();
        let other = Place::take(&live, (5001, bound)).unwrap();
        let relay = RelaySocket { socket, public, place };
        let to = |port| SocketAddr::new(public, port);
        assert!(relay.may_send(to(5000)) && relay.may_send(to(5001)));
        for port in [53, 4999, 5002, 11_211] {
            assert!(!relay.may_send(to(port)), "{port}");
        }
        drop(other);
        assert!(!relay.may_send(to(5001)));
        assert!(relay.may_send(SocketAddr::from(([198, 51, 100, 7], 53))));
    }

    #[tokio::test]
    async fn relays_are_given_ports_of_the_range_until_there_are_none() {
        let first = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let ports = RelayPorts {
            bound: Ipv4Addr::LOCALHOST.into(),
            public: Ipv4Addr::LOCALHOST.into(),
            ports: Some((first, first)),
            live: LivePorts::default(),
        };
        let (relay, address) = ports.allocate_conn(true, 0).await.unwrap();
        assert_eq!(address.port(), first);
        assert!(ports.allocate_conn(true, 0).await.is_err());
        drop(relay);
        assert!(ports.allocate_conn(true, 0).await.is_ok());
        assert!(ports.allocate_conn(false, 0).await.is_err());
    }
}
