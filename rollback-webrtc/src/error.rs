//! Everything that can go wrong for the caller. What goes wrong on the network is counted instead.

use std::io;
use std::time::Duration;

use rollback_signaling::{ErrorCode, NameError, TextError, TokenError};

use crate::bulk::{BULK_MESSAGE_BYTES_MAX, BULK_WINDOW};
use crate::datagram_transport::DATAGRAM_BYTES_MAX;
use crate::ice_servers::IceServerError;

/// Why something was not accepted for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The datagram is too long.
    #[error("expected a datagram of at most {DATAGRAM_BYTES_MAX} bytes, got {got}")]
    DatagramTooLong {
        /// Its bytes.
        got: usize,
    },
    /// The bulk message is too long.
    #[error("expected a bulk message of at most {BULK_MESSAGE_BYTES_MAX} bytes, got {got}")]
    BulkTooLong {
        /// Its bytes.
        got: usize,
    },
    /// The peer's game has not taken the last bulk messages yet; try again later.
    #[error("{BULK_WINDOW} bulk messages wait for the peer to take them")]
    BulkWindowFull,
}

/// Why a link is not one to a room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// It is no URL.
    #[error("expected a link such as ws://127.0.0.1:8080/kitchen, got {link:?}")]
    NotUrl {
        /// The link.
        link: String,
    },
    /// It is for another protocol.
    #[error("expected a link that begins with ws:// or wss://, got {scheme:?}")]
    Scheme {
        /// What it begins with.
        scheme: String,
    },
    /// Its path does not end in the name of a room.
    #[error("expected a link that ends in the name of a room: {0}")]
    Room(#[from] NameError),
}

/// Why a room could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The link is wrong.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The configured name of this member is wrong.
    #[error("the member's name is not valid: {0}")]
    Name(#[source] NameError),
    /// The configured settings digest is wrong.
    #[error("the settings digest is not valid: {0}")]
    Settings(#[source] TextError),
    /// The configured token is wrong.
    #[error("the token is not valid: {0}")]
    Token(#[source] TokenError),
    /// A configured STUN or TURN server is wrong.
    #[error("a STUN or TURN server is not valid: {0}")]
    IceServer(#[from] IceServerError),
    /// A certificate of the configuration is none.
    #[error("a certificate that is to be trusted is not valid: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// The background thread could not be started.
    #[error("cannot start the transport's thread: {0}")]
    Thread(#[source] io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Randomness(#[source] io::Error),
    /// No connection to the server within the configured time.
    #[error("no connection to {link} within {within:?}: {reason}")]
    Unreachable {
        /// The link.
        link: String,
        /// The configured time.
        within: Duration,
        /// What the last try said.
        reason: String,
    },
    /// The server does not want this client.
    #[error("the server refuses: {message} ({code:?})")]
    Refused {
        /// Which kind of reason.
        code: ErrorCode,
        /// What the server says.
        message: String,
    },
    /// The server does not speak this protocol.
    #[error("the server does not speak this protocol: {reason}")]
    Protocol {
        /// What it did.
        reason: String,
    },
    /// The background thread ended, which it never should by itself.
    #[error("the transport's thread ended")]
    Ended,
}

impl JoinError {
    pub(crate) fn randomness(source: getrandom::Error) -> Self {
        Self::Randomness(source.into())
    }
}
