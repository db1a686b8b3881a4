//! What the switch has to know of a packet.

use std::net::IpAddr;

/// The header of an IP packet, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Who sent it.
    pub from: IpAddr,
    /// Where it goes.
    pub to: IpAddr,
    /// Whether it is UDP.
    pub is_udp: bool,
}

impl Header {
    /// Reads the header (RFC 791 §3.1, RFC 8200 §3); `None` for what is no such packet, or is for all of a link, which no line
    /// carries.
    #[must_use]
    pub fn read(packet: &[u8]) -> Option<Self> {
        let header = match packet.first()? >> 4 {
            4 => {
                let header = packet.first_chunk::<20>()?;
                let address = |bytes: &[u8]| Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?));
                let (from, to) = (address(&header[12..16])?, address(&header[16..20])?);
                Self { from, to, is_udp: header[9] == UDP }
            }
            6 => {
                let header = packet.first_chunk::<40>()?;
                let address = |bytes: &[u8]| Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?));
                let (from, to) = (address(&header[8..24])?, address(&header[24..40])?);
                // One with other headers before that of UDP, as fragments have, counts as none.
                Self { from, to, is_udp: header[6] == UDP }
            }
            _ => return None,
        };
        Some(header).filter(|header| !header.to.is_multicast())
    }
}

const UDP: u8 = 17;

#[cfg(test)]
pub(crate) mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// A packet of so many bytes.
    pub(crate) fn packet(from: Ipv4Addr, to: Ipv4Addr, is_udp: bool, bytes: usize) -> Vec<u8> {
        let mut packet = vec![0; bytes.max(20)];
        packet[0] = 0x45;
        packet[9] = if is_udp { UDP } else { 6 };
        packet[12..16].copy_from_slice(&from.octets());
        packet[16..20].copy_from_slice(&to.octets());
        packet
    }

    /// The same by IPv6, of UDP.
    pub(crate) fn ipv6_packet(from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
        let mut packet = vec![0; 100];
        packet[0] = 0x60;
        packet[6] = UDP;
        packet[8..24].copy_from_slice(&from.octets());
        packet[24..40].copy_from_slice(&to.octets());
        packet
    }

    #[test]
    fn a_header_is_read_and_what_is_none_is_not() {
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let bytes = packet(from, to, true, 60);
        let expected = Header { from: from.into(), to: to.into(), is_udp: true };
        assert_eq!(Header::read(&bytes), Some(expected));
        assert_eq!(Header::read(&bytes[..19]), None);
        assert_eq!(Header::read(&[0x50; 40]), None);
        assert_eq!(Header::read(&[]), None);
    }

    #[test]
    fn a_header_of_ipv6_is_read_and_one_to_all_of_a_link_is_not() {
        let [from, to] = ["2001:db8::1", "2001:db8::2"].map(|address| address.parse().unwrap());
        let bytes = ipv6_packet(from, to);
        let expected = Header { from: from.into(), to: to.into(), is_udp: true };
        assert_eq!(Header::read(&bytes), Some(expected));
        assert_eq!(Header::read(&bytes[..39]), None);
        assert_eq!(Header::read(&ipv6_packet(from, "ff02::2".parse().unwrap())), None);
    }
}
