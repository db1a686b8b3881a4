//! The way that datagrams to one peer take, as users see it: what kind of addresses are at its ends, and how it gets there.

use std::fmt;
use std::net::IpAddr;

use crate::ice_url::TurnTransport;

/// The way that datagrams to one peer take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// A WebRTC connection, direct or through TURN.
    WebRtc {
        /// The own end.
        local: PathEnd,
        /// The peer's end.
        remote: PathEnd,
        /// How the own TURN server is reached, if the path passes one.
        turn: Option<TurnTransport>,
    },
    /// The relay of the server of the room, over WebSockets.
    Server,
}

/// One end of a path through WebRTC. No address, since these are of people; only what is to be said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathEnd {
    /// Where its address was found.
    pub kind: CandidateKind,
    /// Where its address belongs.
    pub network: Network,
    /// Whether it is an address of IPv6.
    pub is_ipv6: bool,
}

/// Where one end of a path was found (RFC 8445 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateKind {
    /// An address of the computer itself.
    Host,
    /// The address a NAT gives it, as a STUN server sees it.
    ServerReflexive,
    /// The address a NAT gives it, as the other peer sees it.
    PeerReflexive,
    /// An address at a TURN server.
    Relay,
}

/// Where an address belongs (RFC 6890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// To the computer itself.
    Loopback,
    /// To one cable or radio, without a router.
    LinkLocal,
    /// To a network of its own, such as a home's, or the customers of one provider (RFC 6598).
    Private,
    /// To the Internet.
    Public,
}

impl PathEnd {
    /// An end that was found so, at this address.
    #[must_use]
    pub fn new(kind: CandidateKind, address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { kind, network: Network::of(address), is_ipv6: address.is_ipv6() }
    }
}

impl Network {
    /// Where an address belongs.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let (is_link_local, is_private) = match address {
            IpAddr::V4(address) => {
                let [first, second, ..] = address.octets();
                let is_shared = first == 100 && (64..128).contains(&second);
                (address.is_link_local(), address.is_private() || is_shared)
            }
            IpAddr::V6(address) => (address.is_unicast_link_local(), address.is_unique_local()),
        };
        match address.is_loopback() {
            true => Self::Loopback,
            false if is_link_local => Self::LinkLocal,
            false if is_private => Self::Private,
            false => Self::Public,
        }
    }
}

impl Path {
    /// Whether a TURN server, or the server of the room, is on the way.
    #[must_use]
    pub fn is_relayed(&self) -> bool {
        match self {
            Self::WebRtc { local, remote, .. } => {
                [local.kind, remote.kind].contains(&CandidateKind::Relay)
            }
            Self::Server => true,
        }
    }

    /// Whether what is sent passes a TURN server of one's own.
    pub(crate) const fn is_relayed_here(&self) -> bool {
        matches!(self, Self::WebRtc { local: PathEnd { kind: CandidateKind::Relay, .. }, .. })
    }
}

/// Such as `direct host/srflx udp, private/public IPv4` or `relayed relay/host tls, public/private IPv4`: whether there is
/// a relay, the own end and the peer's, how datagrams leave this computer, and where both addresses belong; or `relayed by
/// the server, websocket`.
impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.is_relayed() { "relayed" } else { "direct" };
        let Self::WebRtc { local, remote, turn } = self else {
            return write!(formatter, "{way} by the server, websocket");
        };
        let (ours, theirs) = (local.kind, remote.kind);
        let transport = turn.unwrap_or(TurnTransport::Udp);
        write!(
            formatter,
            "{way} {ours}/{theirs} {transport}, {}/{} ",
            local.network, remote.network
        )?;
        formatter.write_str(if local.is_ipv6 { "IPv6" } else { "IPv4" })
    }
}

/// The usual short name: `host`, `srflx`, `prflx` or `relay`.
impl fmt::Display for CandidateKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relay => "relay",
        })
    }
}

/// `loopback`, `link-local`, `private` or `public`.
impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Private => "private",
            Self::Public => "public",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(ends: [(CandidateKind, &str); 2], turn: Option<TurnTransport>) -> String {
        let [local, remote] =
            ends.map(|(kind, address)| PathEnd::new(kind, address.parse().unwrap()));
        Path::WebRtc { local, remote, turn }.to_string()
    }

    #[test]
    fn a_path_says_whether_it_is_direct_and_which_networks_it_joins() {
        use CandidateKind::{Host, PeerReflexive, Relay, ServerReflexive};
        let at_home = path([(Host, "192.168.1.2"), (ServerReflexive, "203.0.113.1")], None);
        assert_eq!(at_home, "direct host/srflx udp, private/public IPv4");
        let by_ipv6 = path([(Host, "fe80::1"), (Host, "fd00::1")], None);
        assert_eq!(by_ipv6, "direct host/host udp, link-local/private IPv6");
        let relayed = path([(PeerReflexive, "100.64.0.1"), (Relay, "192.0.2.1")], None);
        assert_eq!(relayed, "relayed prflx/relay udp, private/public IPv4");
        let by_tls =
            path([(Relay, "192.0.2.1"), (Host, "::ffff:127.0.0.1")], Some(TurnTransport::Tls));
        assert_eq!(by_tls, "relayed relay/host tls, public/loopback IPv4");
        assert_eq!(Path::Server.to_string(), "relayed by the server, websocket");
    }
}
