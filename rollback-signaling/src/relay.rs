//! What passes over a relay socket: one text to begin with, binary messages ever after, and how much
//! one member may send.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{MEMBERS_MAX, MESSAGE_BYTES_MAX, MessageError, RoomName, Token, WATCHERS_MAX};

/// Longest datagram that is relayed, in bytes, with the two in which its number travels.
pub const RELAY_DATAGRAM_BYTES_MAX: usize = 1102;

/// Longest bulk frame that is relayed, in bytes: a message of 16 KiB and its header.
pub const RELAY_BULK_BYTES_MAX: usize = 16 * 1024 + 9;

/// Longest message of a relay socket in bytes.
pub const RELAY_MESSAGE_BYTES_MAX: usize = BULK_HEADER_BYTES + RELAY_BULK_BYTES_MAX;

/// Messages a second that the server relays for one member. Twice what members send who keep to
/// their own limits: a datagram for each of seven others at 240 frames a second is 1,680.
pub const RELAY_MESSAGES_PER_SECOND: u32 = 4_000;

/// Bytes a second that the server relays for one member.
pub const RELAY_BYTES_PER_SECOND: u32 = 1024 * 1024;

/// Bytes of bulk frames to one other member that may be under way through the relay. An honest member
/// sends no more before the other's game has taken some, but for one message.
pub const RELAY_BULK_WINDOW_BYTES: usize = 64 * 1024;

/// Datagrams that `/<room>/echo` sends back to one who tries the way to the relay.
pub const RELAY_ECHOES_MAX: usize = 256;

/// The first message of a client on a relay socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayJoin {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the client.
    pub protocol_version: u16,
    /// The room, the same as in the link.
    pub room: RoomName,
    /// The member's token.
    pub token: Token,
    /// The process, as in its [`Join`](crate::Join): a former one of the same member is refused.
    #[serde(with = "crate::hex_u64")]
    pub incarnation: u64,
}

/// A binary message of a relay socket. `slot` is the other end's: the receiver's on the way to the
/// server, the sender's on the way from it; of one who watches, its place and
/// [`WATCHER_SLOTS`](crate::WATCHER_SLOTS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayMessage<'bytes> {
    /// From the server, first of all: the socket is this member's relay now.
    Welcome {
        /// The member's own slot.
        slot: u8,
    },
    /// A datagram, which may be lost.
    Datagram {
        /// The other end.
        slot: u8,
        /// The datagram.
        datagram: &'bytes [u8],
    },
    /// A bulk frame, which is lost only with one of the two sockets.
    Bulk {
        /// The other end.
        slot: u8,
        /// The number of the pair of sockets that it is for, see [`Here`](Self::Here).
        pairing: u64,
        /// The frame.
        frame: &'bytes [u8],
    },
    /// From the server: another member has a relay socket too.
    Here {
        /// The other member.
        slot: u8,
        /// A number of these two sockets, the same for both members.
        pairing: u64,
    },
    /// From the server: another member has none any more.
    Gone {
        /// The other member.
        slot: u8,
    },
    /// To another member: whether it is heard over its WebRTC connection.
    Hearing {
        /// The other end.
        slot: u8,
        /// Whether it is heard.
        is_heard: bool,
    },
}

/// Bytes that are no message of a relay socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayMessageError {
    /// The first byte names no kind of message.
    #[error("expected a kind of relay message, got {got:?}")]
    Kind {
        /// The first byte, if there is one.
        got: Option<u8>,
    },
    /// It is too short, or too long, for its kind.
    #[error("expected another length of a relay message of kind {kind}, got {got} bytes")]
    Length {
        /// The kind.
        kind: u8,
        /// The bytes there are.
        got: usize,
    },
    /// The slot is nobody's.
    #[error("expected a slot of a member or of one who watches, got {got}")]
    Slot {
        /// The slot.
        got: u8,
    },
}

/// How much one member may send: an allowance of one second's worth that grows back.
#[derive(Debug, Clone)]
pub struct RelayAllowance {
    messages: Bucket,
    bytes: Bucket,
    grown_until: Duration,
}

#[derive(Debug, Clone)]
struct Bucket {
    /// In millionths, so that what a microsecond brings is a whole number.
    left: u64,
    per_second: u32,
}

impl RelayJoin {
    /// Parses the first message.
    ///
    /// # Errors
    /// [`MessageError`] when the text is none.
    pub fn from_json(text: &str) -> Result<Self, MessageError> {
        match text.len() {
            got if got > MESSAGE_BYTES_MAX => Err(MessageError::TooLong { got }),
            _ => Ok(serde_json::from_str(text)?),
        }
    }

    /// The message as JSON.
    ///
    /// # Errors
    /// [`MessageError`], which the limits of the fields do not allow to happen.
    pub fn to_json(&self) -> Result<String, MessageError> {
        Ok(serde_json::to_string(self)?)
    }
}

impl<'bytes> RelayMessage<'bytes> {
    /// Parses a message.
    ///
    /// # Errors
    /// [`RelayMessageError`].
    pub fn parse(bytes: &'bytes [u8]) -> Result<Self, RelayMessageError> {
        let Some((&kind, after)) = bytes.split_first() else {
            return Err(RelayMessageError::Kind { got: None });
        };
        let wrong = RelayMessageError::Length { kind, got: bytes.len() };
        let (&slot, body) = after.split_first().ok_or(wrong)?;
        if slot >= MEMBERS_MAX + WATCHERS_MAX {
            return Err(RelayMessageError::Slot { got: slot });
        }
        let message = match (kind, body) {
            (WELCOME, []) => Self::Welcome { slot },
            (DATAGRAM, datagram) if datagram.len() <= RELAY_DATAGRAM_BYTES_MAX => {
                Self::Datagram { slot, datagram }
            }
            (BULK, body) => {
                let (pairing, frame) = body.split_first_chunk().ok_or(wrong)?;
                if frame.is_empty() || frame.len() > RELAY_BULK_BYTES_MAX {
                    return Err(wrong);
                }
                Self::Bulk { slot, pairing: u64::from_le_bytes(*pairing), frame }
            }
            (HERE, body) => {
                let pairing: [u8; 8] = body.try_into().map_err(|_| wrong)?;
                Self::Here { slot, pairing: u64::from_le_bytes(pairing) }
            }
            (GONE, []) => Self::Gone { slot },
            (HEARING, [is_heard @ (0 | 1)]) => Self::Hearing { slot, is_heard: *is_heard == 1 },
            (WELCOME | DATAGRAM | GONE | HEARING, _) => return Err(wrong),
            (kind, _) => return Err(RelayMessageError::Kind { got: Some(kind) }),
        };
        Ok(message)
    }

    /// The message's bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Welcome { slot } => vec![WELCOME, slot],
            Self::Datagram { slot, datagram } => [&[DATAGRAM, slot], datagram].concat(),
            Self::Bulk { slot, pairing, frame } => {
                [&[BULK, slot], pairing.to_le_bytes().as_slice(), frame].concat()
            }
            Self::Here { slot, pairing } => {
                [&[HERE, slot], pairing.to_le_bytes().as_slice()].concat()
            }
            Self::Gone { slot } => vec![GONE, slot],
            Self::Hearing { slot, is_heard } => vec![HEARING, slot, u8::from(is_heard)],
        }
    }
}

impl RelayAllowance {
    /// A full allowance of so many messages and bytes a second. `now` is counted from any origin.
    #[must_use]
    pub fn new(now: Duration, messages_per_second: u32, bytes_per_second: u32) -> Self {
        Self {
            messages: Bucket::full(messages_per_second),
            bytes: Bucket::full(bytes_per_second),
            grown_until: now,
        }
    }

    /// Spends one message of so many bytes; `false` when there is too little left, and then nothing is
    /// spent. What is longer than one second's worth costs that.
    pub fn spend(&mut self, now: Duration, bytes: usize) -> bool {
        let passed = now.saturating_sub(self.grown_until).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.grown_until = self.grown_until.max(now);
        self.messages.grow(passed);
        self.bytes.grow(passed);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(MILLION);
        let bytes = bytes.min(self.bytes.most());
        let is_enough = self.messages.left >= MILLION && self.bytes.left >= bytes;
        if is_enough {
            self.messages.left -= MILLION;
            self.bytes.left -= bytes;
        }
        is_enough
    }
}

impl Bucket {
    fn full(per_second: u32) -> Self {
        Self { left: u64::from(per_second) * MILLION, per_second }
    }

    fn most(&self) -> u64 {
        u64::from(self.per_second) * MILLION
    }

    fn grow(&mut self, micros: u64) {
        let grown = micros.saturating_mul(self.per_second.into());
        self.left = self.left.saturating_add(grown).min(self.most());
    }
}

const WELCOME: u8 = 0;
const DATAGRAM: u8 = 1;
const BULK: u8 = 2;
const HERE: u8 = 3;
const GONE: u8 = 4;
const HEARING: u8 = 5;

const BULK_HEADER_BYTES: usize = 10;

const MILLION: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_its_bytes() {
        let longest = [7; RELAY_BULK_BYTES_MAX];
        let messages = [
            RelayMessage::Welcome { slot: 3 },
            RelayMessage::Datagram { slot: 15, datagram: &[] },
            RelayMessage::Datagram { slot: 0, datagram: &longest[..RELAY_DATAGRAM_BYTES_MAX] },
            RelayMessage::Bulk { slot: 1, pairing: 0x0102_0304, frame: &longest },
            RelayMessage::Here { slot: 2, pairing: u64::MAX },
            RelayMessage::Gone { slot: 7 },
            RelayMessage::Hearing { slot: 8, is_heard: true },
            RelayMessage::Hearing { slot: 8, is_heard: false },
        ];
        for message in messages {
            let bytes = message.to_bytes();
            assert!(bytes.len() <= RELAY_MESSAGE_BYTES_MAX);
            assert_eq!(RelayMessage::parse(&bytes), Ok(message));
        }
    }

    #[test]
    fn honest_members_of_the_largest_group_keep_to_half_at_240_frames_a_second() {
        let half = (RELAY_MESSAGES_PER_SECOND / 2, RELAY_BYTES_PER_SECOND / 2);
        let mut allowance = RelayAllowance::new(Duration::ZERO, half.0, half.1);
        for frame in 0..2400 {
            let now = Duration::from_secs(1) * frame / 240;
            assert!((1..MEMBERS_MAX).all(|_| allowance.spend(now, 200)), "frame {frame}");
        }
    }

    #[test]
    fn what_is_no_message_is_named() {
        let too_long = [&[DATAGRAM, 0], [0; RELAY_DATAGRAM_BYTES_MAX + 1].as_slice()].concat();
        let bulk_too_long = [&[BULK, 0], [0; 8 + RELAY_BULK_BYTES_MAX + 1].as_slice()].concat();
        let bad: [(&[u8], _); 10] = [
            (&[], RelayMessageError::Kind { got: None }),
            (&[6, 0], RelayMessageError::Kind { got: Some(6) }),
            (&[DATAGRAM], RelayMessageError::Length { kind: DATAGRAM, got: 1 }),
            (&[DATAGRAM, 16], RelayMessageError::Slot { got: 16 }),
            (&too_long, RelayMessageError::Length { kind: DATAGRAM, got: too_long.len() }),
            (&bulk_too_long, RelayMessageError::Length { kind: BULK, got: bulk_too_long.len() }),
            (&[BULK, 0, 1, 2, 3, 4, 5, 6, 7, 8], RelayMessageError::Length { kind: BULK, got: 10 }),
            (&[HERE, 0, 1], RelayMessageError::Length { kind: HERE, got: 3 }),
            (&[HEARING, 0, 2], RelayMessageError::Length { kind: HEARING, got: 3 }),
            (&[WELCOME, 0, 0], RelayMessageError::Length { kind: WELCOME, got: 3 }),
        ];
        for (bytes, error) in bad {
            assert_eq!(RelayMessage::parse(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn an_allowance_is_one_second_and_grows_back() {
        let mut allowance = RelayAllowance::new(Duration::ZERO, 10, 1000);
        assert_eq!((0..20).filter(|_| allowance.spend(Duration::ZERO, 1)).count(), 10);
        assert!(!allowance.spend(Duration::from_millis(99), 1));
        assert!(allowance.spend(Duration::from_millis(100), 1));
        let later = Duration::from_secs(60);
        assert!(allowance.spend(later, 999));
        assert!(!allowance.spend(later, 2), "two bytes more than a second's worth");
        assert!(allowance.spend(later, 1));
        assert!(allowance.spend(2 * later, 5000), "never more than there can be");
        assert!(!allowance.spend(later, 1), "time never goes back");
    }

    #[test]
    fn the_first_message_names_its_room_and_member() {
        let join = RelayJoin {
            protocol_version: crate::PROTOCOL_VERSION,
            room: "kitchen".parse().unwrap(),
            token: Token::from_bytes([1; 16]),
            incarnation: 7,
        };
        assert_eq!(RelayJoin::from_json(&join.to_json().unwrap()).unwrap(), join);
        assert!(RelayJoin::from_json(r#"{"protocol_version":1,"room":"kitchen"}"#).is_err());
        assert!(RelayJoin::from_json(&"x".repeat(MESSAGE_BYTES_MAX + 1)).is_err());
    }
}
