//! Why there is no relay socket, and whether to ask again.

use rollback_signaling::{ErrorCode, ServerMessage};
use tokio_tungstenite::tungstenite;

use crate::websocket::OpenError;

/// Why the server relays nothing for this member, for now or for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayTrouble {
    /// There is no WebSocket: the server has no relay, or something in between wants to be asked otherwise.
    #[error("it answers with HTTP status {status}")]
    Status {
        /// The status, such as 404.
        status: u16,
    },
    /// The server refuses this member.
    #[error("it refuses: {code:?}")]
    Refused {
        /// Why.
        code: ErrorCode,
    },
    /// What answers does not speak this protocol.
    #[error("it speaks another protocol")]
    Foreign,
    /// This side cannot ask at all: its trusted certificates, or the address of its proxy, are of no use.
    #[error("no connection can be made with this configuration")]
    Configuration,
}

/// How a socket ended.
#[derive(Debug)]
pub(super) enum End {
    Lost(String),
    Refused(RelayTrouble),
    /// Nobody wants it any more.
    Closed,
}

impl RelayTrouble {
    /// Whether it lasts as long as this process and its token: then it does not ask again.
    #[must_use]
    pub const fn is_final(self) -> bool {
        use ErrorCode::{Replaced, UnknownToken, UnsupportedVersion, WrongRoom};
        match self {
            Self::Refused { code } => {
                matches!(code, UnsupportedVersion | WrongRoom | UnknownToken | Replaced)
            }
            Self::Configuration => true,
            Self::Status { .. } | Self::Foreign => false,
        }
    }
}

/// What becomes of a socket that could not be opened.
pub(super) fn connect_error(error: &OpenError) -> End {
    match error {
        OpenError::Server(tungstenite::Error::Http(response)) if error.is_final() => {
            End::Refused(RelayTrouble::Status { status: response.status().as_u16() })
        }
        error if error.is_final() => End::Refused(RelayTrouble::Configuration),
        error => End::Lost(error.to_string()),
    }
}

/// A text of the server is always a refusal. `is_welcome` says whether it had accepted the socket.
pub(super) fn refusal(text: &str, is_welcome: bool) -> End {
    let Ok(ServerMessage::Error { code, message }) = ServerMessage::from_json(text) else {
        return End::Refused(RelayTrouble::Foreign);
    };
    // A socket that was accepted and then replaced may be so by another one of this process; the answer to the next
    // one says whether it is not.
    let was_replaced = code == ErrorCode::Replaced && is_welcome;
    match code.is_temporary() || code == ErrorCode::TimedOut || was_replaced {
        true => End::Lost(message.as_str().to_owned()),
        false => End::Refused(RelayTrouble::Refused { code }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_may_pass_is_no_end() {
        let refused = |code: &str, is_welcome: bool| {
            let text = format!(r#"{{"kind":"error","code":"{code}","message":"why"}}"#);
            match refusal(&text, is_welcome) {
                End::Lost(_) => None,
                End::Refused(trouble) => Some(trouble.is_final()),
                End::Closed => panic!("{code}"),
            }
        };
        for code in ["rate_limited", "server_full", "shutting_down", "timed_out"] {
            assert_eq!(refused(code, false), None, "{code}");
        }
        for code in ["replaced", "unknown_token", "wrong_room", "unsupported_version"] {
            assert_eq!(refused(code, false), Some(true), "{code}");
        }
        for code in ["bad_message", "unknown_member"] {
            assert_eq!(refused(code, false), Some(false), "{code}");
        }
        assert!(matches!(refusal("nonsense", false), End::Refused(RelayTrouble::Foreign)));
        assert_eq!(refused("replaced", true), None);
        assert_eq!(refused("unknown_token", true), Some(true));
    }
}
