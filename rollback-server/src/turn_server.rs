//! A TURN server in this process, by UDP: the crate `turn`, told who may use it, from which ports it relays, and where
//! to. The only file that names that crate.

use std::any::Any;
use std::io::{self, ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
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
use crate::turn_members::{Asking, Port, TurnMembers};

/// A running TURN server. It ends when this is closed.
pub(crate) struct TurnServer {
    server: Server,
    port: u16,
    /// Where it can be reached, the best first.
    addresses: Vec<IpAddr>,
    members: TurnMembers,
}

impl TurnServer {
    /// Listens where the configuration says, or else where `listen` does, which is where the whole server listens; with an
    /// address that stands for all of this computer, at each of them.
    ///
    /// # Errors
    /// When a socket cannot be bound, or is to be at an IPv6 address: clients get relays at IPv4 addresses.
    pub(crate) async fn start(
        config: EmbeddedTurn,
        listen: IpAddr,
        secret: Vec<u8>,
    ) -> io::Result<Self> {
        let bound = addresses_to_bind(&config, listen)?;
        let own: Arc<[IpAddr]> =
            all_addresses()?.into_iter().chain(config.public_address).collect();
        let members = TurnMembers::new();
        let mut port = config.port;
        let (mut conn_configs, mut addresses) = (Vec::new(), Vec::new());
        for bound in bound {
            let socket = UdpSocket::bind((bound, port)).await?;
            port = socket.local_addr()?.port();
            let public = config.public_address.unwrap_or(bound);
            let ports = config.relay_ports;
            let (asking, own) = (Asking::default(), Arc::clone(&own));
            let conn = Arc::new(TurnDoor::new(socket, asking.clone()));
            let members = members.clone();
            let relay = RelayPorts { bound, public, own, ports, members, asking };
            let relay_addr_generator = Box::new(relay);
            conn_configs.push(ConnConfig { conn, relay_addr_generator });
            addresses.push(public);
        }
        addresses.dedup();
        if addresses.iter().all(IpAddr::is_loopback) {
            tracing::warn!(
                "only this computer reaches the TURN server; --turn-listen gives it another address"
            );
        }
        let auth_handler = Arc::new(Passwords { secret, members: members.clone() });
        let config = ServerConfig {
            conn_configs,
            realm: REALM.to_owned(),
            auth_handler,
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        };
        let server = Server::new(config).await.map_err(io::Error::other)?;
        Ok(Self { server, port, addresses, members })
    }

    /// Its address for a client that reached this computer at `reached`.
    pub(crate) fn url(&self, reached: Option<IpAddr>) -> Option<String> {
        let known = reached.filter(|reached| self.addresses.contains(reached));
        let address = known.or_else(|| self.addresses.first().copied())?;
        Some(format!("turn:{address}:{}?transport=udp", self.port))
    }

    /// Who may use it.
    pub(crate) const fn members(&self) -> &TurnMembers {
        &self.members
    }

    pub(crate) async fn close(&self) {
        // It can only be closed already.
        let _ = self.server.close().await;
    }
}

/// Knows the passwords of those who may use it.
struct Passwords {
    secret: Vec<u8>,
    members: TurnMembers,
}

impl AuthHandler for Passwords {
    fn auth_handle(
        &self,
        username: &str,
        realm: &str,
        source: SocketAddr,
    ) -> Result<Vec<u8>, turn::Error> {
        if !self.members.is_good(username, source, unix_secs()) {
            return Err(turn::Error::ErrNoSuchUser);
        }
        Ok(generate_auth_key(username, realm, &turn_password(&self.secret, username)))
    }
}

/// Gives each client a port, so many at most.
struct RelayPorts {
    bound: IpAddr,
    public: IpAddr,
    /// All addresses of this computer.
    own: Arc<[IpAddr]>,
    ports: Option<(u16, u16)>,
    members: TurnMembers,
    asking: Asking,
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
        let client = self.asking.take().ok_or(turn::Error::ErrNoSuchUser)?;
        let socket = self.bind().await?;
        let number = socket.local_addr()?.port();
        let port = self.members.take((number, self.bound), client, unix_secs());
        let port = port.ok_or(turn::Error::ErrMaxRetriesExceeded)?;
        let (public, own) = (self.public, Arc::clone(&self.own));
        let address = SocketAddr::new(public, number);
        Ok((Arc::new(RelaySocket { socket, public, own, port }), address))
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

/// A port of one client. What it sends elsewhere than to other members is dropped.
struct RelaySocket {
    socket: UdpSocket,
    public: IpAddr,
    own: Arc<[IpAddr]>,
    port: Port,
}

impl RelaySocket {
    fn may_send(&self, to: SocketAddr) -> bool {
        // Of its own computer on the Internet other clients' ports only: else it would be a way to whatever listens there,
        // past every firewall in between.
        let address = to.ip().to_canonical();
        match self.own.contains(&address) && !is_local(address) {
            true => self.port.members().is_live(to.port()),
            false => may_relay(self.public, address),
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
            let received = tokio::select! {
                received = self.socket.recv_from(buffer) => received,
                // The crate lets a client keep a port for an hour; an error ends it.
                () = self.port.ended() => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            };
            match received {
                // Whether its client lets that address send to it, the crate asks afterwards.
                Ok((bytes, from)) if self.port.may_receive(from.ip(), bytes) => {
                    return Ok((bytes, from));
                }
                // More than this port takes; it is lost, as any datagram may be.
                Ok(_) => {}
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
        if self.may_send(to) && self.port.may_send(to.ip(), datagram.len()) {
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
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
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

/// Where to listen, the address first that is offered to those of whom nothing better is known. A server that listens on
/// loopback and has a public address is behind a proxy, which carries no UDP: then it is all addresses.
fn addresses_to_bind(config: &EmbeddedTurn, listen: IpAddr) -> io::Result<Vec<IpAddr>> {
    let is_public = config.public_address.is_some_and(|public| !public.is_loopback());
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let listen = match config.listen {
        Some(listen) => listen,
        None if listen.is_loopback() && is_public => all,
        None => listen.to_canonical(),
    };
    match (listen.is_unspecified(), config.public_address) {
        (true, Some(_)) => Ok(vec![all]),
        (true, None) => own_addresses(),
        (false, _) if listen.is_ipv4() => Ok(vec![listen]),
        (false, _) => Err(io::Error::other(format!(
            "expected an IPv4 address for the TURN server (--turn-listen), got {listen}"
        ))),
    }
}

/// The IPv4 addresses of this computer, the one first from which it reaches the Internet, then others on the Internet;
/// that of loopback only when there is no other.
fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let is_of_use = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(_) => false,
    };
    let mut found: Vec<IpAddr> = all_addresses()?.into_iter().filter(is_of_use).collect();
    let usual = usual_address();
    found.sort_unstable_by_key(|address| (Some(*address) != usual, is_local(*address), *address));
    found.dedup();
    if found.is_empty() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    Ok(found)
}

fn all_addresses() -> io::Result<Vec<IpAddr>> {
    let interfaces = webrtc_util::ifaces::ifaces().map_err(io::Error::other)?;
    let addresses = interfaces.iter().filter_map(|interface| Some(interface.addr?.ip()));
    Ok(addresses.map(|address| address.to_canonical()).collect())
}

/// The address from which something would be sent to the Internet; nothing is (192.0.2.1 is nobody's, RFC 5737).
fn usual_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// What the clients of a TURN server see.
const REALM: &str = "rollback";

#[cfg(test)]
mod with_clients;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn_members::Client;

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

    fn client() -> Client {
        let source = SocketAddr::from(([192, 0, 2, 1], 1));
        Client { source, username: "1000:a-0".to_owned() }
    }

    #[tokio::test]
    async fn of_its_own_computer_a_relay_on_the_internet_reaches_other_clients_only() {
        let [public, second] = [[203, 0, 113, 1], [198, 51, 100, 1]].map(IpAddr::from);
        let (bound, members) = (IpAddr::from(Ipv4Addr::LOCALHOST), TurnMembers::new());
        let socket = UdpSocket::bind((bound, 0)).await.unwrap();
        let [port, other] =
            [5000, 5001].map(|port| members.take((port, bound), client(), 0).unwrap());
        let relay = RelaySocket { socket, public, own: [public, second].into(), port };
        for address in [public, second] {
            let to = |port| SocketAddr::new(address, port);
            assert!(relay.may_send(to(5000)) && relay.may_send(to(5001)));
            for port in [53, 4999, 5002, 11_211] {
                assert!(!relay.may_send(to(port)), "{address} {port}");
            }
        }
        drop(other);
        assert!(!relay.may_send(SocketAddr::new(public, 5001)));
        assert!(relay.may_send(SocketAddr::from(([198, 51, 100, 7], 53))));
    }

    #[tokio::test]
    async fn relays_are_given_ports_of_the_range_until_there_are_none() {
        let first = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let ports = RelayPorts {
            bound: Ipv4Addr::LOCALHOST.into(),
            public: Ipv4Addr::LOCALHOST.into(),
            own: Arc::default(),
            ports: Some((first, first)),
            members: TurnMembers::new(),
            asking: Asking::default(),
        };
        assert!(ports.allocate_conn(true, 0).await.is_err(), "nobody asks");
        ports.asking.note(Some(client()));
        let (relay, address) = ports.allocate_conn(true, 0).await.unwrap();
        assert_eq!(address.port(), first);
        ports.asking.note(Some(client()));
        assert!(ports.allocate_conn(true, 0).await.is_err());
        drop(relay);
        ports.asking.note(Some(client()));
        assert!(ports.allocate_conn(true, 0).await.is_ok());
        ports.asking.note(Some(client()));
        assert!(ports.allocate_conn(false, 0).await.is_err());
    }

    #[test]
    fn it_listens_where_the_server_does_unless_that_is_behind_a_proxy_or_told_otherwise() {
        let bound = |listen: Option<&str>, public: Option<&str>, server: &str| {
            let parsed = |address: &str| address.parse().unwrap();
            let (listen, public_address) = (listen.map(parsed), public.map(parsed));
            let config = EmbeddedTurn { port: 0, listen, public_address, relay_ports: None };
            addresses_to_bind(&config, parsed(server))
                .map(|bound| bound.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "))
        };
        let public = Some("203.0.113.7");
        assert_eq!(bound(None, None, "192.0.2.1").unwrap(), "192.0.2.1");
        assert_eq!(bound(None, None, "127.0.0.1").unwrap(), "127.0.0.1");
        assert_eq!(bound(None, public, "127.0.0.1").unwrap(), "0.0.0.0");
        assert_eq!(bound(None, public, "::1").unwrap(), "0.0.0.0");
        assert_eq!(bound(None, public, "192.0.2.1").unwrap(), "192.0.2.1");
        assert_eq!(bound(Some("10.0.0.2"), public, "127.0.0.1").unwrap(), "10.0.0.2");
        assert_eq!(bound(None, None, "::ffff:192.0.2.1").unwrap(), "192.0.2.1");
        for server in ["::1", "2001:db8::1"] {
            assert!(bound(None, None, server).unwrap_err().to_string().contains("--turn-listen"));
        }
        // Loopback is there only when there is nothing else.
        let all = bound(None, None, "0.0.0.0").unwrap();
        assert!(all == "127.0.0.1" || !all.contains("127.0.0.1"), "{all}");
    }
}
