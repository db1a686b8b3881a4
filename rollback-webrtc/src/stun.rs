//! What all STUN messages have in common, TURN's among them (RFC 8489). Knows their bytes, and nothing of who asks what.

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

pub(crate) const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
