//! The messages between a rollback client and its signaling server: bounded serde types and their
//! JSON form. It knows no socket, no room logic and no WebRTC.
//!
//! Each message is one JSON object in one WebSocket text message. Every field is checked while it
//! is parsed, so a value of these types is always within its limits; `docs/signaling-protocol.md`
//! has a worked example.
//!
//! ```
//! use rollback_signaling::ClientMessage;
//! let message = ClientMessage::from_json(r#"{"kind":"leave"}"#)?;
//! assert_eq!(message, ClientMessage::Leave {});
//! assert!(ClientMessage::from_json(r#"{"kind":"leave","now":1}"#).is_err());
//! # Ok::<(), rollback_signaling::MessageError>(())
//! ```

mod hex_u64;
mod ice;
mod message;
mod names;
mod relay;
mod signal;
mod text;
mod token;

pub use ice::{
    ICE_CREDENTIAL_BYTES_MAX, ICE_SERVERS_MAX, ICE_URL_BYTES_MAX, OfferedIceServer,
    OfferedIceServers, OfferedIceServersError,
};
pub use message::{
    ClientMessage, ERROR_TEXT_BYTES_MAX, ErrorCode, Join, Member, MessageError, SETTINGS_BYTES_MAX,
    ServerMessage, VERSION_BYTES_MAX,
};
pub use names::{
    MEMBER_NAME_BYTES_MAX, MemberName, NameError, RESERVED_ROOM_NAMES, ROOM_NAME_CHARS_MAX,
    RoomName,
};
pub use relay::{
    RELAY_BULK_BYTES_MAX, RELAY_BULK_WINDOW_BYTES, RELAY_BYTES_PER_SECOND,
    RELAY_DATAGRAM_BYTES_MAX, RELAY_ECHOES_MAX, RELAY_MESSAGE_BYTES_MAX, RELAY_MESSAGES_PER_SECOND,
    RelayAllowance, RelayJoin, RelayMessage, RelayMessageError,
};
pub use signal::{AttemptId, CANDIDATE_BYTES_MAX, SDP_BYTES_MAX, SignalPayload};
pub use text::{Text, TextError};
pub use token::{Token, TokenError};

/// The version of these messages. Client and server must have the same one; a server answers any
/// other with [`ErrorCode::UnsupportedVersion`].
pub const PROTOCOL_VERSION: u16 = 4;

/// Longest message in bytes, either way. The largest honest one, an offer, has 1–4 KiB; 64 KiB
/// leaves room for [`SDP_BYTES_MAX`] with every character escaped.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Most members of one group, the same as the engine's limit of peers. A mesh of n members has
/// n·(n − 1)/2 connections, each about 0.3 MB a side, and every member sends its inputs n − 1 times.
pub const MEMBERS_MAX: u8 = 8;

/// Most who watch one group at once. Each has connections to two members.
pub const WATCHERS_MAX: u8 = 8;

/// In signals, those who watch have the slots from here on: this number and their place.
pub const WATCHER_SLOTS: u8 = MEMBERS_MAX;
