//! What goes into the coordinator and what comes out of it.

use std::fmt;
use std::time::Duration;

use rollback_signaling::{ClientMessage, Join, RoomName, ServerMessage, SignalPayload, Token};

/// One connection; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u64);

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Command {
    /// A connection to the link of a room.
    Connected {
        /// The new connection.
        client: ClientId,
        /// The room of its link.
        room: RoomName,
    },
    /// The client asks to join.
    Join {
        /// Its connection.
        client: ClientId,
        /// What it asks for.
        join: Box<Join>,
        /// Fresh random numbers, used if the client gets a new slot.
        entropy: Entropy,
    },
    /// The client has something for another member.
    Signal {
        /// Its connection.
        client: ClientId,
        /// The other member's slot.
        to: u8,
        /// What to pass on.
        payload: Box<SignalPayload>,
    },
    /// The client asks what there is, and joins nothing.
    Examine {
        /// Its connection.
        client: ClientId,
        /// The version of the protocol that it speaks.
        protocol_version: u16,
        /// The room that it asks about.
        room: RoomName,
        /// The time of day, in seconds since 1970.
        unix_secs: u64,
    },
    /// The client goes for good.
    Leave {
        /// Its connection.
        client: ClientId,
    },
    /// The client sent something that is no message.
    BadMessage {
        /// Its connection.
        client: ClientId,
        /// What was wrong with it.
        error: String,
    },
    /// The connection is gone.
    Disconnected {
        /// The connection.
        client: ClientId,
    },
    /// Time passed; expected about once a second.
    Tick,
    /// The server stops.
    ShutDown,
}

/// Random numbers of a secure source, drawn by the caller.
#[derive(Debug, Clone)]
pub struct Entropy {
    /// For the token of a new member.
    pub token: Token,
    /// For the session of a new group.
    pub session_id: u64,
    /// For the seed of a new group.
    pub seed: u64,
}

/// Something that the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this.
    Send {
        /// The connection to send it on.
        client: ClientId,
        /// What to send.
        message: ServerMessage,
    },
    /// Send the STUN and TURN servers, with new credentials.
    OfferIceServers {
        /// The connection to send them on.
        client: ClientId,
        /// Who it is, for the logs of TURN servers.
        who: String,
        /// Longest time for which the credentials are to be good.
        valid: Duration,
    },
    /// Whoever had these servers under this name has left: it is to use those of this process no more.
    EndIceServers {
        /// Who it was.
        who: String,
    },
    /// Close the connection once all is sent. The coordinator has forgotten it already.
    Close {
        /// The connection.
        client: ClientId,
    },
}

impl Command {
    /// What a client's message asks for at this time of day. Random numbers are drawn for a client that joins only.
    ///
    /// # Errors
    /// The error of `draw`: without randomness there are no secrets, and nobody new gets in.
    pub fn from_message<E>(
        client: ClientId,
        message: ClientMessage,
        unix_secs: u64,
        draw: impl FnOnce() -> Result<Entropy, E>,
    ) -> Result<Self, E> {
        Ok(match message {
            ClientMessage::Join(join) => {
                Self::Join { client, join: Box::new(join), entropy: draw()? }
            }
            ClientMessage::Signal { to, payload } => {
                Self::Signal { client, to, payload: Box::new(payload) }
            }
            ClientMessage::Leave {} => Self::Leave { client },
            ClientMessage::Examine { protocol_version, room } => {
                Self::Examine { client, protocol_version, room, unix_secs }
            }
        })
    }
}

impl ClientId {
    /// The connection with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "client {}", self.0)
    }
}
