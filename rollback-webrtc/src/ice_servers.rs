//! The STUN and TURN servers that connections may use: those of the configuration, and those that the signaling server
//! offers, whose credentials end after a while and are replaced by newer ones.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;

use crate::ice::IceServer;
use crate::ice_url::{IceUrl, IceUrlError};
use crate::tls::{TlsError, Trust};

/// The servers that there are now.
#[derive(Debug)]
pub(crate) struct IceServers {
    configured: Vec<CheckedServer>,
    /// `None` when none are wanted.
    offered: Option<Mutex<Vec<CheckedServer>>>,
    trust: Arc<Trust>,
}

/// A server that can be used.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CheckedServer {
    pub(crate) url: IceUrl,
    pub(crate) username: String,
    pub(crate) credential: String,
}

/// Why a STUN or TURN server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceServerError {
    /// Its address is wrong.
    #[error("{url:?}: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: IceUrlError,
    },
    /// A TURN server without a user name or a credential.
    #[error("{url:?}: expected a user name and a credential for a TURN server")]
    NoCredentials {
        /// The address.
        url: String,
    },
    /// The user name or the credential is too long.
    #[error(
        "{url:?}: expected a user name and a credential of at most {CREDENTIAL_BYTES_MAX} bytes"
    )]
    LongCredentials {
        /// The address.
        url: String,
    },
    /// There are too many.
    #[error("expected at most {ICE_SERVERS_MAX} STUN and TURN servers, got {got}")]
    TooMany {
        /// How many.
        got: usize,
    },
}

/// Most servers in the configuration: each connection asks all of them.
pub(crate) const ICE_SERVERS_MAX: usize = 16;

/// Longest user name and longest credential in bytes (RFC 8489 §14.3 allows 513).
const CREDENTIAL_BYTES_MAX: usize = 512;

impl IceServers {
    /// The servers of a configuration; `accepts_offers` says whether the signaling server may add others.
    pub(crate) fn new(
        configured: &[IceServer],
        accepts_offers: bool,
        trust: Arc<Trust>,
    ) -> Result<Self, IceServerError> {
        if configured.len() > ICE_SERVERS_MAX {
            return Err(IceServerError::TooMany { got: configured.len() });
        }
        let configured = configured.iter().map(CheckedServer::new).collect::<Result<_, _>>()?;
        Ok(Self { configured, offered: accepts_offers.then(Mutex::default), trust })
    }

    /// These and no others.
    pub(crate) const fn of(servers: Vec<CheckedServer>, trust: Arc<Trust>) -> Self {
        Self { configured: servers, offered: None, trust }
    }

    /// Takes what the signaling server offers, in place of what it offered before. What cannot be used is left out.
    pub(crate) fn offer(&self, servers: &[IceServer]) {
        let Some(offered) = &self.offered else { return };
        let check = |server: &IceServer| {
            CheckedServer::new(server)
                .inspect_err(
                    |error| tracing::warn!(%error, "the server offers a useless ICE server"),
                )
                .ok()
        };
        let usable = servers.iter().take(ICE_SERVERS_MAX).filter_map(check).collect();
        *offered.lock().unwrap_or_else(PoisonError::into_inner) = usable;
    }

    /// The servers for a new connection.
    pub(crate) fn now(&self) -> Vec<CheckedServer> {
        let mut servers = self.configured.clone();
        if let Some(offered) = &self.offered {
            for server in offered.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                if !servers.iter().any(|configured| configured.url == server.url) {
                    servers.push(server.clone());
                }
            }
        }
        servers
    }

    /// Whether there is any TURN server.
    pub(crate) fn has_relay(&self) -> bool {
        self.now().iter().any(|server| server.url.is_turn())
    }

    /// TLS as connections to TURN servers have it.
    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>, TlsError> {
        self.trust.config()
    }
}

impl CheckedServer {
    fn new(server: &IceServer) -> Result<Self, IceServerError> {
        let IceServer { url, username, credential } = server;
        let shown = || url.chars().take(SHOWN_CHARS).collect::<String>();
        let parsed: IceUrl =
            url.parse().map_err(|reason| IceServerError::Url { url: shown(), reason })?;
        if parsed.is_turn() && (username.is_empty() || credential.is_empty()) {
            return Err(IceServerError::NoCredentials { url: shown() });
        }
        if username.len().max(credential.len()) > CREDENTIAL_BYTES_MAX {
            return Err(IceServerError::LongCredentials { url: shown() });
        }
        let (username, credential) = (username.clone(), credential.clone());
        Ok(Self { url: parsed, username, credential })
    }
}

impl fmt::Debug for CheckedServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credential is a secret and stays out of logs.
        formatter.debug_struct("CheckedServer").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Characters of a wrong address that an error shows.
const SHOWN_CHARS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(
        configured: &[IceServer],
        accepts_offers: bool,
    ) -> Result<IceServers, IceServerError> {
        IceServers::new(configured, accepts_offers, Arc::default())
    }

    fn urls(servers: &IceServers) -> Vec<String> {
        servers.now().iter().map(|server| server.url.to_string()).collect()
    }

    #[test]
    fn a_wrong_server_is_refused_at_once_and_named() {
        let secure = IceServer::turn("turns:t?transport=udp", "u", "p");
        let error = servers(&[secure], true).unwrap_err().to_string();
        assert!(
            error.contains("turns:t?transport=udp") && error.contains("TLS over TCP"),
            "{error}"
        );
        let bare = IceServer::turn("turn:t", "u", "");
        assert!(matches!(servers(&[bare], true), Err(IceServerError::NoCredentials { .. })));
        let long = |bytes| IceServer::turn("turn:t", "u".repeat(bytes), "p");
        assert!(servers(&[long(CREDENTIAL_BYTES_MAX)], true).is_ok());
        let past = servers(&[long(CREDENTIAL_BYTES_MAX + 1)], true);
        assert!(matches!(past, Err(IceServerError::LongCredentials { .. })));
        let many = vec![IceServer::stun("stun:s"); ICE_SERVERS_MAX + 1];
        assert!(servers(&many[1..], true).is_ok());
        assert!(matches!(servers(&many, true), Err(IceServerError::TooMany { .. })));
    }

    #[test]
    fn newer_offers_replace_older_ones_and_never_what_is_configured() {
        let servers = servers(&[IceServer::turn("turn:mine", "u", "p")], true).unwrap();
        servers.offer(&[IceServer::turn("turn:a", "1", "p"), IceServer::stun("stun:b")]);
        assert_eq!(
            urls(&servers),
            ["turn:mine:3478?transport=udp", "turn:a:3478?transport=udp", "stun:b:3478"]
        );
        servers.offer(&[
            IceServer::turn("turn:a", "2", "p"),
            IceServer::turn("turn:mine:3478", "theirs", "p"),
            IceServer::turn("http:a", "2", "p"),
        ]);
        let now = servers.now();
        let users: Vec<&str> = now.iter().map(|server| server.username.as_str()).collect();
        assert_eq!(users, ["u", "2"]);
    }

    #[test]
    fn offers_count_for_nothing_where_they_are_not_wanted() {
        let servers = servers(&[], false).unwrap();
        servers.offer(&[IceServer::turn("turn:a", "1", "p")]);
        assert!(!servers.has_relay());
    }
}
