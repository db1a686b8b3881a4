//! How datagrams and probes travel: two bytes before each, whatever the way. Little-endian, bit 15 says that it is a probe, and the
//! others are the number of a datagram.

use bytes::{Buf, Bytes, BytesMut};

use super::Probe;

/// What comes before a datagram.
const HEADER_BYTES: usize = 2;

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A datagram and its number.
    Datagram(u16, Bytes),
    /// A probe.
    Probe(Probe),
}

/// A datagram as it travels, without its number as yet.
pub(crate) fn frame_datagram(datagram: &[u8]) -> BytesMut {
    let mut message = BytesMut::with_capacity(HEADER_BYTES + datagram.len());
    message.extend_from_slice(&[0; HEADER_BYTES]);
    message.extend_from_slice(datagram);
    message
}

/// A probe as it travels.
pub(crate) fn frame_probe(probe: Probe) -> BytesMut {
    let mut message = BytesMut::from(&PROBE.to_le_bytes()[..]);
    message.extend_from_slice(&probe.encode());
    message
}

/// Gives a datagram its number, which `draw` tells; a probe has none.
pub(crate) fn number(message: &mut BytesMut, draw: impl FnOnce() -> u16) {
    if let Some(header) = message.first_chunk_mut()
        && *header != PROBE.to_le_bytes()
    {
        *header = draw().to_le_bytes();
    }
}

/// How many bytes of a datagram a message holds; `None` of a probe.
pub(crate) fn datagram_bytes(message: &[u8]) -> Option<usize> {
    let (header, datagram) = message.split_first_chunk()?;
    (*header != PROBE.to_le_bytes()).then_some(datagram.len())
}

impl Framed {
    /// `None` for what is neither.
    pub(crate) fn parse(mut message: Bytes) -> Option<Self> {
        let header = u16::from_le_bytes(*message.first_chunk()?);
        message.advance(HEADER_BYTES);
        match header {
            PROBE => Probe::decode(&message).map(Self::Probe),
            number if number & PROBE == 0 => Some(Self::Datagram(number, message)),
            _ => None,
        }
    }
}

/// The header of a probe.
const PROBE: u16 = 0x8000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_framed_is_parsed() {
        let mut datagram = frame_datagram(b"hello");
        number(&mut datagram, || 0x7ffe);
        assert_eq!(datagram_bytes(&datagram), Some(5));
        let parsed = Framed::parse(datagram.freeze());
        assert_eq!(parsed, Some(Framed::Datagram(0x7ffe, Bytes::from_static(b"hello"))));

        let probe = Probe { sent_at: 1, echo: Some((2, 3)), datagrams: (4, 5) };
        let mut message = frame_probe(probe);
        number(&mut message, || 7);
        assert_eq!(datagram_bytes(&message), None);
        assert_eq!(Framed::parse(message.freeze()), Some(Framed::Probe(probe)));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bytes in [&[][..], &[0], &[0, 0x80], &[0, 0x80, 0], &[1, 0x80], &[0, 0xc0, 1]] {
            assert_eq!(Framed::parse(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
        assert_eq!(
            Framed::parse(Bytes::from_static(&[9, 0])),
            Some(Framed::Datagram(9, Bytes::new()))
        );
    }
}
