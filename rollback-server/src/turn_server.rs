//! A TURN server in this process, by UDP: the crate `turn`, told who may use it, from which ports it relays, and where
//! to. The only file that names that crate.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
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
        let live = Arc::new(AtomicUsize::new(0));
        let mut port = config.port;
        let (mut conn_configs, mut addresses) = (Vec::new(), Vec::new());
        for bound in bound {
            let socket = UdpSocket::bind((bound, port)).await?;
            port = socket.local_addr()?.port();
            let public = config.public_address.unwrap_or(bound);
            let ports = config.relay_ports;
            let relay = RelayPorts { bound, public, ports, live: Arc::clone(&live) };
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
    live: Arc<AtomicUsize>,
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
        let place = Place::take(&self.live).ok_or(turn::Error::ErrMaxRetriesExceeded)?;
        let socket = self.bind().await?;
        let address = SocketAddr::new(self.public, socket.local_addr()?.port());
        Ok((Arc::new(RelaySocket { socket, public: self.public, _place: place }), address))
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

/// One of the clients that may be served at once.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(live: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(live));
        // Dropping it gives back what is taken here, in either case.
        (live.fetch_add(1, Ordering::AcqRel) < ALLOCATIONS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A port of one client. What it sends elsewhere than to other members is dropped.
struct RelaySocket {
    socket: UdpSocket,
    public: IpAddr,
    _place: Place,
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
                // What a former datagram to a member that is gone has caused.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn send(&self, _: &[u8]) -> webrtc_util::Result<usize> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> webrtc_util::Result<usize> {
        if may_relay(self.public, to.ip()) {
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
        let live = Arc::new(AtomicUsize::new(ALLOCATIONS_MAX - 1));
        let last = Place::take(&live).unwrap();
        assert!(Place::take(&live).is_none());
        drop(last);
        assert!(Place::take(&live).is_some());
    }

    #[tokio::test]
    async fn relays_are_given_ports_of_the_range_until_there_are_none() {
        let first = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let ports = RelayPorts {
            bound: Ipv4Addr::LOCALHOST.into(),
            public: Ipv4Addr::LOCALHOST.into(),
            ports: Some((first, first)),
            live: Arc::default(),
        };
        let (relay, address) = ports.allocate_conn(true, 0).await.unwrap();
        assert_eq!(address.port(), first);
        assert!(ports.allocate_conn(true, 0).await.is_err());
        drop(relay);
        assert!(ports.allocate_conn(true, 0).await.is_ok());
        assert!(ports.allocate_conn(false, 0).await.is_err());
    }
}
