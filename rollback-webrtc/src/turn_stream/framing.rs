//! Where one TURN message ends in a stream and the next begins (RFC 8656 §12.4 and §3.1, RFC 8489 §5). A message has
//! the same bytes as a datagram, but for padding: in a stream, channel data is padded to four bytes.

use bytes::{Buf, Bytes, BytesMut};

/// Cuts a stream into the messages that would be datagrams.
#[derive(Debug, Default)]
pub(super) struct Unframer {
    received: BytesMut,
}

/// The stream is none of TURN messages: it cannot be known where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FramingError {
    /// The first bytes are those of no STUN message and no channel data.
    #[error("expected a TURN message, got the bytes {first:02x?}")]
    Foreign { first: [u8; 4] },
    /// It claims to be longer than any that would be relayed.
    #[error("expected a TURN message of at most {MESSAGE_BYTES_MAX} bytes, got {got}")]
    TooLong { got: usize },
}

impl Unframer {
    /// Where to read into.
    pub(super) const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.received
    }

    /// The next message that is there as a whole, without its padding.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, FramingError> {
        let Some(head) = self.received.first_chunk() else { return Ok(None) };
        let bytes = message_bytes(*head)?;
        if bytes > MESSAGE_BYTES_MAX {
            return Err(FramingError::TooLong { got: bytes });
        }
        let padding = padding_bytes(bytes);
        if self.received.len() < bytes + padding {
            return Ok(None);
        }
        let message = self.received.split_to(bytes).freeze();
        self.received.advance(padding);
        Ok(Some(message))
    }
}

/// A datagram as it goes into the stream. `None` when it holds no whole TURN message.
pub(super) fn frame(datagram: &[u8]) -> Option<Bytes> {
    let bytes = message_bytes(*datagram.first_chunk()?).ok()?;
    let message = datagram.get(..bytes).filter(|_| bytes <= MESSAGE_BYTES_MAX)?;
    let mut framed = BytesMut::with_capacity(bytes + 3);
    framed.extend_from_slice(message);
    framed.resize(bytes + padding_bytes(bytes), 0);
    Some(framed.freeze())
}

/// The bytes of the message that begins so.
fn message_bytes(head: [u8; 4]) -> Result<usize, FramingError> {
    let [first, _, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    match first >> 6 {
        // A length of STUN counts attributes, which are padded themselves.
        0b00 if length.is_multiple_of(4) => Ok(STUN_HEADER_BYTES + length),
        // The channels that there are: 0x4000 to 0x4FFF (RFC 8656 §12).
        0b01 if first <= 0x4f => Ok(CHANNEL_HEADER_BYTES + length),
        _ => Err(FramingError::Foreign { first: head }),
    }
}

const fn padding_bytes(bytes: usize) -> usize {
    bytes.next_multiple_of(4) - bytes
}

const STUN_HEADER_BYTES: usize = 20;
const CHANNEL_HEADER_BYTES: usize = 4;

/// Longest message either way. What is relayed are datagrams of WebRTC with at most some 1,300 bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(length: u16) -> Vec<u8> {
        let mut message = vec![0x00, 0x17];
        message.extend(length.to_be_bytes());
        message.resize(STUN_HEADER_BYTES + usize::from(length), 7);
        message
    }

    fn channel(length: u16) -> Vec<u8> {
        let mut message = vec![0x40, 0x01];
        message.extend(length.to_be_bytes());
        message.resize(CHANNEL_HEADER_BYTES + usize::from(length), 9);
        message
    }

    fn unframed(stream: &[u8], step: usize) -> Result<Vec<Vec<u8>>, FramingError> {
        let mut unframer = Unframer::default();
        let mut messages = Vec::new();
        for part in stream.chunks(step) {
            unframer.buffer().extend_from_slice(part);
            while let Some(message) = unframer.next()? {
                messages.push(message.to_vec());
            }
        }
        Ok(messages)
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_messages_that_went_in() {
        let messages = [stun(0), channel(0), channel(1), stun(8), channel(2), channel(3), stun(4)];
        let stream: Vec<u8> = messages.iter().flat_map(|message| frame(message).unwrap()).collect();
        assert_eq!(stream.len() % 4, 0);
        for step in 1..=stream.len() {
            assert_eq!(unframed(&stream, step).unwrap(), messages, "in parts of {step}");
        }
    }

    #[test]
    fn padding_in_a_datagram_is_not_framed_twice() {
        let mut padded = channel(5);
        padded.resize(12, 0);
        assert_eq!(frame(&padded).unwrap(), frame(&channel(5)).unwrap());
    }

    #[test]
    fn a_message_may_have_so_many_bytes_and_no_more() {
        let longest = u16::try_from(MESSAGE_BYTES_MAX - CHANNEL_HEADER_BYTES).unwrap();
        assert_eq!(unframed(&channel(longest), 9).unwrap(), [channel(longest)]);
        assert_eq!(frame(&channel(longest)).unwrap().len(), MESSAGE_BYTES_MAX);
        let error = FramingError::TooLong { got: MESSAGE_BYTES_MAX + 1 };
        assert_eq!(unframed(&channel(longest + 1), 9), Err(error));
        assert_eq!(frame(&channel(longest + 1)), None);
    }

    #[test]
    fn what_is_no_turn_message_ends_the_stream_and_is_not_sent() {
        for first in [[0x80, 0, 0, 0], [0x50, 0, 0, 0], [0, 1, 0, 3], [0xff; 4]] {
            assert_eq!(unframed(&first, 4), Err(FramingError::Foreign { first }));
            assert_eq!(frame(&first), None);
        }
        // Much text looks like channel data, and too long.
        assert_eq!(unframed(b"HTTP", 4), Err(FramingError::TooLong { got: 4 + 0x5450 }));
        assert_eq!(frame(&[]), None);
        assert_eq!(frame(&stun(8)[..27]), None);
    }

    #[test]
    fn no_bytes_whatever_make_it_panic_or_hold_more_than_one_message() {
        let mut random = 1_u64;
        for _ in 0..2_000 {
            let mut unframer = Unframer::default();
            for _ in 0..32 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                unframer
                    .buffer()
                    .extend_from_slice(&(random & 0x4fff_ffff_0fff_4f4f).to_be_bytes());
                while let Ok(Some(message)) = unframer.next() {
                    assert!(message.len() <= MESSAGE_BYTES_MAX);
                }
                if unframer.next().is_err() {
                    break;
                }
            }
        }
    }
}
