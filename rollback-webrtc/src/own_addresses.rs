//! Which addresses of this computer a connection binds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// What to bind, looked up anew for each connection, since a computer changes its network.
#[derive(Clone, Debug)]
pub(crate) struct OwnAddresses {
    configured: Vec<IpAddr>,
    is_loopback: bool,
}

impl OwnAddresses {
    /// The configured addresses. Without any: all IPv4 ones, the usual IPv6 one, and loopback if the server is on this
    /// computer, as the other members may be there too, and there may be no other network.
    pub(crate) const fn new(configured: Vec<IpAddr>, is_loopback: bool) -> Self {
        Self { configured, is_loopback }
    }

    /// Each with any port.
    pub(crate) fn now(&self) -> Vec<SocketAddr> {
        self.with_usual_ipv6(usual_ipv6())
    }

    /// The IPv4 address from which servers are asked. One address of several may not reach all of them; one that was configured
    /// alone is meant.
    pub(crate) fn ipv4(&self) -> Ipv4Addr {
        match self.configured.as_slice() {
            [IpAddr::V4(one)] => *one,
            _ => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// The IPv6 address of connections. [`usual_ipv6`], or the one configured.
    pub(crate) fn ipv6(&self) -> Option<Ipv6Addr> {
        self.now().into_iter().find_map(|address| match address.ip() {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
    }

    fn with_usual_ipv6(&self, ipv6: Option<Ipv6Addr>) -> Vec<SocketAddr> {
        let loopback = self.is_loopback.then_some(Ipv4Addr::LOCALHOST.into());
        // The library binds each of an interface's addresses in place of this one, but none of loopback or of one link.
        let ipv4 = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let usual = || loopback.into_iter().chain([ipv4]).chain(ipv6.map(IpAddr::from)).collect();
        let addresses = if self.configured.is_empty() { usual() } else { self.configured.clone() };
        addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect()
    }
}

/// The address from which something would be sent to the IPv6 Internet; nothing is (2001:db8::/32 is nobody's, RFC 3849). It
/// is the one that the system prefers, so one that is no lasting name of the computer where it has such (RFC 6724, RFC 8981).
///
/// A computer has three to eight IPv6 addresses, all behind the same router. Each would be a socket of every
/// connection, a question to each STUN server and a row of pairs to check, and `[::]` means all of them to the library, or
/// itself where there is none: a candidate that nobody can reach.
fn usual_ipv6() -> Option<Ipv6Addr> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V6(address) => Some(address).filter(is_of_use),
        IpAddr::V4(_) => None,
    }
}

/// Whether another computer can reach it by what a candidate says, which names no interface.
fn is_of_use(address: &Ipv6Addr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_unicast_link_local()
        && address.to_ipv4_mapped().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPV6: &str = "2001:db8::7";

    fn bound(configured: &[&str], is_loopback: bool, ipv6: Option<&str>) -> Vec<String> {
        let configured = configured.iter().map(|address| address.parse().unwrap()).collect();
        let own = OwnAddresses::new(configured, is_loopback);
        let addresses = own.with_usual_ipv6(ipv6.map(|address| address.parse().unwrap()));
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_loopback_link_works_offline_and_for_members_elsewhere() {
        assert_eq!(bound(&[], true, None), ["127.0.0.1:0", "0.0.0.0:0"]);
        assert_eq!(bound(&[], true, Some(IPV6)), ["127.0.0.1:0", "0.0.0.0:0", "[2001:db8::7]:0"]);
    }

    #[test]
    fn a_computer_with_ipv6_takes_one_address_of_it_and_one_without_takes_none() {
        assert_eq!(bound(&[], false, Some(IPV6)), ["0.0.0.0:0", "[2001:db8::7]:0"]);
        assert_eq!(bound(&[], false, None), ["0.0.0.0:0"]);
    }

    #[test]
    fn what_is_configured_is_all_that_is_bound() {
        assert_eq!(bound(&["127.0.0.1"], true, Some(IPV6)), ["127.0.0.1:0"]);
        assert_eq!(bound(&["::1", "10.1.2.3"], false, Some(IPV6)), ["[::1]:0", "10.1.2.3:0"]);
        let own = |configured: &str| OwnAddresses::new(vec![configured.parse().unwrap()], false);
        assert_eq!(own("10.1.2.3").ipv4(), Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(own("10.1.2.3").ipv6(), None);
        assert_eq!(
            (own("::1").ipv4(), own("::1").ipv6()),
            (Ipv4Addr::UNSPECIFIED, Some(Ipv6Addr::LOCALHOST))
        );
    }

    #[test]
    fn addresses_that_mean_something_on_this_computer_or_link_only_are_of_no_use() {
        for address in ["::", "::1", "fe80::1", "::ffff:10.1.2.3"] {
            assert!(!is_of_use(&address.parse().unwrap()), "{address}");
        }
        for address in [IPV6, "2a02:1::1", "fd00::1"] {
            assert!(is_of_use(&address.parse().unwrap()), "{address}");
        }
        // Whatever this computer has.
        assert!(usual_ipv6().is_none_or(|address| is_of_use(&address)));
    }
}
