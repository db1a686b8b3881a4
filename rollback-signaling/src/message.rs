//! The messages themselves and their JSON form. Unknown kinds and unknown fields are errors.

use serde::{Deserialize, Serialize};

use crate::{
    MESSAGE_BYTES_MAX, MemberName, OfferedIceServers, RoomName, SignalPayload, Text, Token, hex_u64,
};

/// Longest settings string in bytes: meant for a digest, never for the settings themselves.
pub const SETTINGS_BYTES_MAX: usize = 256;

/// Longest explanation of an error in bytes.
pub const ERROR_TEXT_BYTES_MAX: usize = 512;

/// Longest version of a program in bytes.
pub const VERSION_BYTES_MAX: usize = 64;

/// What a client says to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// The first message of each connection.
    Join(Join),
    /// Something for another member of the same group.
    Signal {
        /// The other member's slot; of one who watches, its place and [`WATCHER_SLOTS`](crate::WATCHER_SLOTS).
        to: u8,
        /// What to pass on.
        payload: SignalPayload,
    },
    /// The client goes and will not return: its slot and token end.
    Leave {},
    /// The first and only message of a connection that joins nothing: what is there, and which ways lead to it?
    Examine {
        /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the client.
        protocol_version: u16,
        /// The room, the same as in the link.
        room: RoomName,
    },
}

/// How a client enters a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the client.
    pub protocol_version: u16,
    /// The room, the same as in the link: it catches a proxy that sends links elsewhere.
    pub room: RoomName,
    /// The token of an earlier [`ServerMessage::Joined`], to return to the same slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// What other members may call this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<MemberName>,
    /// A random number of the client's process. When it changes, the member is a new process that
    /// has none of the old one's connections.
    #[serde(with = "hex_u64")]
    pub incarnation: u64,
    /// A digest of whatever all members must have in common. The server compares it, and refuses
    /// a member whose settings differ from those of the members waiting.
    #[serde(default)]
    pub settings: Text<SETTINGS_BYTES_MAX>,
    /// The client wants to watch a group that plays, and is to be no member of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watch: bool,
}

/// What the server says to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerMessage {
    /// STUN and TURN servers for the connections of this client, in place of those offered before. It comes before
    /// [`Joined`](Self::Joined) or [`Watching`](Self::Watching), and again before the credentials end.
    IceServers {
        /// The servers.
        servers: OfferedIceServers,
        /// How many seconds the credentials are good for.
        valid_secs: u32,
    },
    /// The answer to [`ClientMessage::Join`].
    Joined {
        /// The client's slot, from 0 to `expected - 1`.
        slot: u8,
        /// The secret with which this client returns to the slot.
        token: Token,
        /// Members of the group so far, this client included, in the order of slots.
        members: Vec<Member>,
        /// Slots of the group.
        expected: u8,
        /// The group is complete with so many members, those of the first slots; the others may come later.
        begins_with: u8,
    },
    /// The answer to a client that wants to watch: the newest complete group of the room.
    Watching {
        /// The client's place among those who watch the group.
        place: u8,
        /// The secret with which this client opens the relay, and nothing else.
        token: Token,
        /// As in [`Ready`](Self::Ready).
        #[serde(with = "hex_u64")]
        session_id: u64,
        /// As in [`Ready`](Self::Ready).
        #[serde(with = "hex_u64")]
        seed: u64,
        /// All members in the order of slots; a slot that was left for good is missing.
        members: Vec<Member>,
        /// Slots of the group.
        expected: u8,
    },
    /// Somebody watches the group, and will offer connections to some of its members.
    WatcherJoined {
        /// Its place.
        place: u8,
        /// The random number of its process.
        #[serde(with = "hex_u64")]
        incarnation: u64,
    },
    /// Somebody watches no more, or has lost its connection to the server.
    WatcherLeft {
        /// Its place.
        place: u8,
    },
    /// Another member entered the incomplete group, or came late into the complete one.
    MemberJoined {
        /// The new member.
        member: Member,
    },
    /// The group is complete. Sent again to a member that returns.
    Ready {
        /// A random number, the same for all members of the group.
        #[serde(with = "hex_u64")]
        session_id: u64,
        /// A random number, the same for all members, for whatever they draw in common.
        #[serde(with = "hex_u64")]
        seed: u64,
        /// All members in the order of slots; a slot that was left for good is missing.
        members: Vec<Member>,
        /// The slots from this one on have had no member yet, and are kept for those who come late.
        reserved_from: u8,
    },
    /// Another member's payload.
    Signal {
        /// Its slot; of one who watches, its place and [`WATCHER_SLOTS`](crate::WATCHER_SLOTS).
        from: u8,
        /// What it says.
        payload: SignalPayload,
    },
    /// A member of a complete group lost its connection to the server. Its slot stays reserved, and
    /// its connections to other members need not be affected.
    MemberAway {
        /// Its slot.
        slot: u8,
    },
    /// A member that was away returned.
    MemberBack {
        /// The member as it is now; its incarnation says whether it is a new process.
        member: Member,
    },
    /// A member left and will not return, or was away for too long.
    MemberLeft {
        /// Its slot.
        slot: u8,
    },
    /// The answer to [`ClientMessage::Examine`], after which the server closes the connection. [`IceServers`](Self::IceServers)
    /// come before it, with credentials that end soon.
    Examined {
        /// The version of the server's program.
        version: Text<VERSION_BYTES_MAX>,
        /// The server's time of day, in seconds since 1970.
        unix_secs: u64,
        /// Slots of a group of the room.
        expected: u8,
        /// Members that make it complete.
        begins_with: u8,
        /// Members who wait in the room now.
        waiting: u8,
        /// Complete groups of the room that there are now.
        playing: u32,
        /// Whether the server carries what members cannot send each other in another way.
        relay: bool,
    },
    /// Something went wrong; the server closes the connection after it.
    Error {
        /// Which kind of thing.
        code: ErrorCode,
        /// The details, for people.
        message: Text<ERROR_TEXT_BYTES_MAX>,
    },
}

/// One member of a group as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its slot, from 0; the engine calls it the peer id.
    pub slot: u8,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<MemberName>,
    /// The random number of its process, see [`Join::incarnation`].
    #[serde(with = "hex_u64")]
    pub incarnation: u64,
    /// The settings it joined with.
    #[serde(default)]
    pub settings: Text<SETTINGS_BYTES_MAX>,
    /// Which life of its slot it lives: 0, or 1 if it came late, and one more for each new process that came back with its
    /// token after the group was complete. All members are told the same.
    #[serde(default)]
    pub life: u8,
    /// Whether it is connected to the server now.
    pub connected: bool,
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The client has another [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    UnsupportedVersion,
    /// A message was not one of [`ClientMessage`], or too long.
    BadMessage,
    /// A message that makes no sense now, such as a signal before joining.
    OutOfOrder,
    /// The room in [`Join`] is not the room of the link.
    WrongRoom,
    /// This server has no room of that name.
    UnknownRoom,
    /// Members of the group have other settings.
    SettingsDiffer,
    /// The token is not, or no longer, a member's.
    UnknownToken,
    /// The signal is for a slot that is no other member's.
    UnknownMember,
    /// Nobody plays in this room now.
    NothingToWatch,
    /// This room is not to be watched.
    WatchingForbidden,
    /// A limit of the server is reached; later it may not be.
    ServerFull,
    /// The client sends more than it may.
    RateLimited,
    /// The client did not join in time, or waited too long for others.
    TimedOut,
    /// Another connection returned with this client's token.
    Replaced,
    /// The server stops.
    ShuttingDown,
}

impl ErrorCode {
    /// Whether the same request may succeed later, so that trying again makes sense.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::ServerFull | Self::RateLimited | Self::ShuttingDown | Self::NothingToWatch
        )
    }
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The text is longer than [`MESSAGE_BYTES_MAX`].
    #[error("expected a message of at most {MESSAGE_BYTES_MAX} bytes, got {got}")]
    TooLong {
        /// The bytes there are.
        got: usize,
    },
    /// The text is not JSON, or not one of the messages, or a field is outside its limits.
    #[error("expected a signaling message: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl ClientMessage {
    /// Parses one message.
    ///
    /// # Errors
    /// [`MessageError`] when the text is no message within its limits.
    pub fn from_json(text: &str) -> Result<Self, MessageError> {
        parse(text)
    }

    /// The message as JSON.
    ///
    /// # Errors
    /// [`MessageError::TooLong`], which the limits of all fields together do not allow to happen.
    pub fn to_json(&self) -> Result<String, MessageError> {
        write(self)
    }
}

impl ServerMessage {
    /// Parses one message.
    ///
    /// # Errors
    /// [`MessageError`] when the text is no message within its limits.
    pub fn from_json(text: &str) -> Result<Self, MessageError> {
        parse(text)
    }

    /// The message as JSON.
    ///
    /// # Errors
    /// [`MessageError::TooLong`], which a list of at most [`MEMBERS_MAX`](crate::MEMBERS_MAX)
    /// members does not reach.
    pub fn to_json(&self) -> Result<String, MessageError> {
        write(self)
    }
}

fn parse<'text, M: Deserialize<'text>>(text: &'text str) -> Result<M, MessageError> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLong { got: text.len() });
    }
    Ok(serde_json::from_str(text)?)
}

fn write<M: Serialize>(message: &M) -> Result<String, MessageError> {
    let text = serde_json::to_string(message)?;
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLong { got: text.len() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttemptId, MEMBERS_MAX};

    fn longest_text<const BYTES_MAX: usize>() -> Text<BYTES_MAX> {
        "\"".repeat(BYTES_MAX).try_into().unwrap()
    }

    fn join() -> Join {
        Join {
            protocol_version: 4,
            room: "kitchen".parse().unwrap(),
            token: None,
            name: None,
            incarnation: 0xfeed,
            settings: Text::default(),
            watch: false,
        }
    }

    #[test]
    fn a_join_has_this_json_form() {
        let text = r#"{"kind":"join","protocol_version":4,"room":"kitchen","incarnation":"000000000000feed","settings":""}"#;
        assert_eq!(ClientMessage::Join(join()).to_json().unwrap(), text);
        assert_eq!(ClientMessage::from_json(text).unwrap(), ClientMessage::Join(join()));
    }

    #[test]
    fn a_join_of_one_who_watches_says_so() {
        let text = r#"{"kind":"join","protocol_version":4,"room":"kitchen","incarnation":"000000000000feed","settings":"","watch":true}"#;
        let watch = ClientMessage::Join(Join { watch: true, ..join() });
        assert_eq!(watch.to_json().unwrap(), text);
        assert_eq!(ClientMessage::from_json(text).unwrap(), watch);
    }

    #[test]
    fn an_examination_has_this_json_form() {
        let text = r#"{"kind":"examine","protocol_version":4,"room":"kitchen"}"#;
        let examine =
            ClientMessage::Examine { protocol_version: 4, room: "kitchen".parse().unwrap() };
        assert_eq!(examine.to_json().unwrap(), text);
        assert_eq!(ClientMessage::from_json(text).unwrap(), examine);
        let text = r#"{"kind":"examined","version":"0.1.0","unix_secs":7,"expected":3,"begins_with":2,"waiting":1,"playing":0,"relay":true}"#;
        let examined = ServerMessage::from_json(text).unwrap();
        assert_eq!(examined.to_json().unwrap(), text);
        let long = text.replace("0.1.0", &"1".repeat(VERSION_BYTES_MAX + 1));
        assert!(ServerMessage::from_json(&long).is_err());
    }

    #[test]
    fn unknown_kinds_and_fields_are_named_in_the_error() {
        let unknown_kind = ClientMessage::from_json(r#"{"kind":"dance"}"#).unwrap_err();
        assert!(unknown_kind.to_string().contains("unknown variant `dance`"), "{unknown_kind}");
        let texts = [
            r#"{"kind":"leave","x":1}"#,
            r#"{"kind":"join","protocol_version":4,"room":"a","incarnation":"0000000000000000","x":1}"#,
            r#"{"kind":"signal","to":1,"payload":{"kind":"request_offer","x":1}}"#,
            r#"{"kind":"signal","to":1,"payload":{"kind":"request_offer"},"x":1}"#,
        ];
        for text in texts {
            let error = ClientMessage::from_json(text).unwrap_err().to_string();
            assert!(error.contains("unknown field `x`"), "{text}: {error}");
        }
    }

    #[test]
    fn fields_outside_their_limits_are_refused() {
        let long_settings = format!(
            r#"{{"kind":"join","protocol_version":4,"room":"a","incarnation":"0000000000000000","settings":"{}"}}"#,
            "s".repeat(SETTINGS_BYTES_MAX + 1)
        );
        let texts = [
            r#"{"kind":"join","protocol_version":4,"room":"A","incarnation":"0000000000000000"}"#,
            r#"{"kind":"join","protocol_version":4,"room":"a","incarnation":7}"#,
            r#"{"kind":"join","protocol_version":70000,"room":"a","incarnation":"0000000000000000"}"#,
            r#"{"kind":"signal","to":256,"payload":{"kind":"request_offer"}}"#,
            r#"{"kind":"signal","to":-1,"payload":{"kind":"request_offer"}}"#,
            &long_settings,
        ];
        for text in texts {
            assert!(ClientMessage::from_json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_message_is_refused_one_byte_past_the_limit() {
        let leave = r#"{"kind":"leave"}"#;
        let at_limit = format!("{leave}{}", " ".repeat(MESSAGE_BYTES_MAX - leave.len()));
        assert!(ClientMessage::from_json(&at_limit).is_ok());
        let past = ClientMessage::from_json(&format!("{at_limit} "));
        assert!(matches!(past, Err(MessageError::TooLong { got }) if got == MESSAGE_BYTES_MAX + 1));
    }

    #[test]
    fn the_largest_messages_fit() {
        let offer = SignalPayload::Offer { attempt: AttemptId::new(u32::MAX), sdp: longest_text() };
        assert!(ClientMessage::Signal { to: 255, payload: offer }.to_json().is_ok());
        let member = |slot| Member {
            slot,
            name: Some("\"".repeat(64).parse().unwrap()),
            incarnation: u64::MAX,
            settings: longest_text(),
            life: u8::MAX,
            connected: false,
        };
        let members = (0..MEMBERS_MAX).map(member).collect();
        let ready = ServerMessage::Ready { session_id: 1, seed: 2, members, reserved_from: 8 };
        assert!(ready.to_json().is_ok());
    }

    #[test]
    fn server_messages_survive_their_json_form() {
        let messages = [
            ServerMessage::MemberAway { slot: 3 },
            ServerMessage::Signal {
                from: 1,
                payload: SignalPayload::Candidate {
                    attempt: AttemptId::new(4),
                    candidate: r#"{"candidate":"x"}"#.to_owned().try_into().unwrap(),
                },
            },
            ServerMessage::Error { code: ErrorCode::WrongRoom, message: Text::default() },
            ServerMessage::Ready {
                session_id: u64::MAX,
                seed: 0,
                members: vec![],
                reserved_from: 2,
            },
            ServerMessage::Joined {
                slot: 2,
                token: Token::from_bytes([3; 16]),
                members: vec![],
                expected: 3,
                begins_with: 1,
            },
            ServerMessage::Watching {
                place: 7,
                token: Token::from_bytes([3; 16]),
                session_id: 1,
                seed: u64::MAX,
                members: vec![],
                expected: 2,
            },
            ServerMessage::WatcherJoined { place: 0, incarnation: u64::MAX },
            ServerMessage::WatcherLeft { place: 3 },
        ];
        for message in messages {
            let text = message.to_json().unwrap();
            assert_eq!(ServerMessage::from_json(&text).unwrap(), message, "{text}");
        }
    }
}
