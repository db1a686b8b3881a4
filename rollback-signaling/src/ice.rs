//! The STUN and TURN servers that a signaling server offers, with credentials that end after a while.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Text;

/// Longest address of a server in bytes: a name of 253 and what is around it.
pub const ICE_URL_BYTES_MAX: usize = 300;

/// Longest user name and longest credential in bytes (RFC 8489 §14.3 allows 513).
pub const ICE_CREDENTIAL_BYTES_MAX: usize = 512;

/// Most servers of one offer. Each connection asks all of them for an address.
pub const ICE_SERVERS_MAX: usize = 8;

/// A STUN or TURN server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferedIceServer {
    /// Such as `stun:host:port` or `turn:host:port?transport=udp` (RFC 7064, RFC 7065). Whoever gets it checks it.
    pub url: Text<ICE_URL_BYTES_MAX>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub username: Text<ICE_CREDENTIAL_BYTES_MAX>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub credential: Text<ICE_CREDENTIAL_BYTES_MAX>,
}

/// At most [`ICE_SERVERS_MAX`] servers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<OfferedIceServer>", into = "Vec<OfferedIceServer>")]
pub struct OfferedIceServers(Vec<OfferedIceServer>);

/// There are more servers than one offer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected at most {ICE_SERVERS_MAX} servers, got {got}")]
pub struct OfferedIceServersError {
    /// How many there are.
    pub got: usize,
}

impl OfferedIceServers {
    /// The servers.
    #[must_use]
    pub fn as_slice(&self) -> &[OfferedIceServer] {
        &self.0
    }
}

impl TryFrom<Vec<OfferedIceServer>> for OfferedIceServers {
    type Error = OfferedIceServersError;

    fn try_from(servers: Vec<OfferedIceServer>) -> Result<Self, OfferedIceServersError> {
        match servers.len() {
            0..=ICE_SERVERS_MAX => Ok(Self(servers)),
            got => Err(OfferedIceServersError { got }),
        }
    }
}

impl From<OfferedIceServers> for Vec<OfferedIceServer> {
    fn from(servers: OfferedIceServers) -> Self {
        servers.0
    }
}

impl fmt::Debug for OfferedIceServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credential is a secret and stays out of logs.
        let Self { url, username, .. } = self;
        let mut server = formatter.debug_struct("OfferedIceServer");
        server.field("url", url).field("username", username).finish_non_exhaustive()
    }
}

fn is_empty<const BYTES_MAX: usize>(text: &Text<BYTES_MAX>) -> bool {
    text.as_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerMessage;

    fn server(url: &str) -> OfferedIceServer {
        let (username, credential) = (Text::default(), Text::default());
        OfferedIceServer { url: url.to_owned().try_into().unwrap(), username, credential }
    }

    #[test]
    fn an_offer_has_this_json_form() {
        let text = r#"{"kind":"ice_servers","servers":[{"url":"stun:s"},{"url":"turn:t","username":"1:a","credential":"x="}],"valid_secs":60}"#;
        let turn = OfferedIceServer {
            username: "1:a".to_owned().try_into().unwrap(),
            credential: "x=".to_owned().try_into().unwrap(),
            ..server("turn:t")
        };
        let servers = vec![server("stun:s"), turn].try_into().unwrap();
        let offer = ServerMessage::IceServers { servers, valid_secs: 60 };
        assert_eq!(offer.to_json().unwrap(), text);
        assert_eq!(ServerMessage::from_json(text).unwrap(), offer);
        assert!(!format!("{offer:?}").contains("x="));
    }

    #[test]
    fn an_offer_has_so_many_servers_and_no_more_and_fits_in_a_message() {
        let longest = OfferedIceServer {
            url: "\"".repeat(ICE_URL_BYTES_MAX).try_into().unwrap(),
            username: "\"".repeat(ICE_CREDENTIAL_BYTES_MAX).try_into().unwrap(),
            credential: "\"".repeat(ICE_CREDENTIAL_BYTES_MAX).try_into().unwrap(),
        };
        let servers = vec![longest.clone(); ICE_SERVERS_MAX].try_into().unwrap();
        let offer = ServerMessage::IceServers { servers, valid_secs: u32::MAX };
        let text = offer.to_json().unwrap();
        assert_eq!(ServerMessage::from_json(&text).unwrap(), offer);
        let past = OfferedIceServers::try_from(vec![longest; ICE_SERVERS_MAX + 1]);
        assert_eq!(past, Err(OfferedIceServersError { got: ICE_SERVERS_MAX + 1 }));
        let one_more = text.replacen('[', r#"[{"url":"stun:s"},"#, 1);
        assert!(ServerMessage::from_json(&one_more).is_err());
    }
}
