//! How peers find a way to each other, in this crate's own words: servers, policy, what goes wrong.

use std::fmt;

/// A STUN or TURN server. None is used unless the configuration names it, or the signaling server offers it.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port`, with `?transport=tcp` for TURN over TCP, or `turns:host:port` for TLS. The
    /// port is 3478 if none is given, and with TLS 5349.
    pub url: String,
    /// For TURN; empty for STUN.
    pub username: String,
    /// For TURN; empty for STUN.
    pub credential: String,
}

/// Which ways may be taken. The relay of the server is one of both, unless
/// [`TransportConfig::server_relay`](crate::TransportConfig::server_relay) rules it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathPolicy {
    /// Direct ones first, TURN when there is none, else the relay of the server.
    #[default]
    All,
    /// For privacy: only TURN and the relay of the server, so that peers do not learn each other's
    /// addresses. One member's choice hides that member's address; with no TURN server named, its
    /// datagrams all pass the server.
    RelayOnly,
}

/// What keeps a TURN server from being of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TurnTrouble {
    /// It refuses to relay, with this code of STUN: 401 and 400 mean credentials that are wrong or too old, 486 and 508
    /// that it has no more to give.
    Refused {
        /// The code.
        code: u16,
    },
    /// It goes on relaying for some minutes and then stops, with this code of STUN.
    NotRenewed {
        /// The code.
        code: u16,
    },
    /// None is known, and only relayed ways are allowed.
    Missing,
    /// It does not answer.
    Silent,
    /// There is no connection to it by TCP.
    Unreachable,
    /// It is not secured by TLS, or by a certificate that is not trusted.
    Tls,
    /// The connection to it by TCP or TLS ended.
    Lost,
}

impl IceServer {
    /// A STUN server, such as `stun:stun.example.org:3478`.
    #[must_use]
    pub fn stun(url: impl Into<String>) -> Self {
        Self { url: url.into(), username: String::new(), credential: String::new() }
    }

    /// A TURN server, such as `turn:turn.example.org:3478?transport=udp`.
    #[must_use]
    pub fn turn(
        url: impl Into<String>,
        username: impl Into<String>,
        credential: impl Into<String>,
    ) -> Self {
        Self { url: url.into(), username: username.into(), credential: credential.into() }
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credential is a secret and stays out of logs.
        formatter
            .debug_struct("IceServer")
            .field("url", &self.url)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// For people.
impl fmt::Display for TurnTrouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code } => {
                write!(formatter, "the TURN server refuses: {code} {}", meaning(*code))
            }
            Self::NotRenewed { code } => {
                write!(formatter, "the TURN server will stop: {code} {}", meaning(*code))
            }
            Self::Missing => formatter.write_str("no TURN server is known"),
            Self::Silent => formatter.write_str("the TURN server does not answer"),
            Self::Unreachable => formatter.write_str("no connection to the TURN server"),
            Self::Tls => formatter.write_str("no TLS with the TURN server"),
            Self::Lost => formatter.write_str("the connection to the TURN server is lost"),
        }
    }
}

/// Codes of STUN and TURN (RFC 8489 §14.8, RFC 8656 §19).
const fn meaning(code: u16) -> &'static str {
    match code {
        400 => "(bad request)",
        401 => "(unauthorized)",
        403 => "(forbidden)",
        437 => "(allocation mismatch)",
        441 => "(wrong credentials)",
        486 => "(allocation quota reached)",
        508 => "(insufficient capacity)",
        _ => "(another error)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_credential() {
        let server = IceServer::turn("turn:t:3478", "user", "hunter2");
        assert!(!format!("{server:?}").contains("hunter2"));
    }
}
