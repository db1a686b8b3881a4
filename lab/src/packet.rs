//! What the switch has to know of a packet.

use std::net::Ipv4Addr;

/// The header of an IPv4 packet, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Who sent it.
    pub from: Ipv4Addr,
    /// Where it goes.
    pub to: Ipv4Addr,
    /// Whether it is UDP.
    pub is_udp: bool,
}

impl Header {
    /// Reads the header (RFC 791 §3.1); `None` for what is no IPv4 packet.
    #[must_use]
    pub fn read(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<20>()?;
        if header[0] >> 4 != 4 {
            return None;
        }
        let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
        Some(Self {
            from: address(&header[12..16])?,
            to: address(&header[16..20])?,
            is_udp: header[9] == UDP,
        })
    }
}

const UDP: u8 = 17;

#[cfg(test)]
pub(crate) mod tests {
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

    #[test]
    fn a_header_is_read_and_what_is_none_is_not() {
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let bytes = packet(from, to, true, 60);
        assert_eq!(Header::read(&bytes), Some(Header { from, to, is_udp: true }));
        assert_eq!(Header::read(&bytes[..19]), None);
        assert_eq!(Header::read(&[0x60; 40]), None);
    }
}
