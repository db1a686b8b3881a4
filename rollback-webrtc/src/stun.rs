//! What all STUN messages have in common, TURN's among them (RFC 8489). Knows their bytes, and nothing of who asks what.

use std::net::{IpAddr, SocketAddr};

/// The class and the method, each a byte of its type, and the id of a message. Rejects nearly everything by its first byte.
pub(crate) fn header(datagram: &[u8]) -> Option<(u8, u8, [u8; 12])> {
    let [class, method, ..] = *datagram.first_chunk::<20>()?;
    if class > 0x01 || datagram.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    Some((class, method, *datagram.get(8..)?.first_chunk()?))
}

/// The value of an attribute.
pub(crate) fn attribute(datagram: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = datagram.get(20..)?;
    while let Some([kind_high, kind_low, high, low]) = rest.first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = rest.get(4..4 + length)?;
        if u16::from_be_bytes([*kind_high, *kind_low]) == wanted {
            return Some(value);
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
    None
}

/// The value of an attribute that is an address, masked by the cookie and the id (RFC 8489 §14.2).
pub(crate) fn xor_address(datagram: &[u8], wanted: u16) -> Option<SocketAddr> {
    let value = attribute(datagram, wanted)?;
    let [_, family, port @ ..] = value.first_chunk::<4>()?;
    let mask = *datagram.get(4..)?.first_chunk::<16>()?;
    let port = u16::from_be_bytes(*port) ^ u16::from_be_bytes(*mask.first_chunk()?);
    let host = value.get(4..)?;
    let host = match *family {
        IPV4 => {
            let host = u32::from_be_bytes(*host.first_chunk()?);
            IpAddr::from((host ^ u32::from_be_bytes(*mask.first_chunk()?)).to_be_bytes())
        }
        IPV6 => {
            let host = u128::from_be_bytes(*host.first_chunk()?);
            IpAddr::from((host ^ u128::from_be_bytes(mask)).to_be_bytes())
        }
        _ => return None,
    };
    Some(SocketAddr::new(host, port))
}

/// The families of addresses.
const IPV4: u8 = 1;
const IPV6: u8 = 2;

pub(crate) const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
