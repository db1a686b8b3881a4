//! The STUN and TURN servers that members are offered, and the credentials that are made for them. Knows no socket.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use rollback_signaling::{ICE_SERVERS_MAX, OfferedIceServer, ServerMessage, Text, TextError};
use sha1::Sha1;

/// What members are offered. The default is nothing.
#[derive(Debug, Clone)]
pub struct IceOffer {
    /// STUN servers, such as `stun:stun.example.org:3478`.
    pub stun_urls: Vec<String>,
    /// TURN servers that are not in this process, such as `turn:turn.example.org:3478?transport=udp`.
    pub turn_urls: Vec<String>,
    /// How members identify themselves at these.
    pub turn_access: Option<TurnAccess>,
    /// How long credentials are good for that are made for a member. It gets new ones after half of it.
    pub credentials_valid: Duration,
    /// A TURN server of this process.
    pub embedded: Option<EmbeddedTurn>,
}

/// How members identify themselves at a TURN server.
#[derive(Clone, PartialEq, Eq)]
pub enum TurnAccess {
    /// All with the same name and password.
    Static {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// Each with credentials of its own, which end by themselves: the name is the time of its end and who it is for, and
    /// the password follows from the name and a secret that only this process and the TURN server know. coturn calls
    /// it `use-auth-secret`, and others TURN REST (draft-uberti-behave-turn-rest-00).
    Secret(Vec<u8>),
}

/// How the names of those begin who only examine the server. They are no members, and end soon.
pub(crate) const GUEST: &str = "examination-";

/// The TURN server of this process, by UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedTurn {
    /// Where it listens; 0 takes any free port.
    pub port: u16,
    /// The address that it listens on; without it that of the whole server, or all where that is loopback and members
    /// reach this computer at another address.
    pub listen: Option<IpAddr>,
    /// The address at which members reach it, where that is not one of this computer: behind a NAT, or a proxy.
    pub public_address: Option<IpAddr>,
    /// The ports that it relays from, the first and the last; any free ones without it.
    pub relay_ports: Option<(u16, u16)>,
}

/// Why these servers cannot be offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceOfferError {
    /// There are more than one offer has room for.
    #[error("expected at most {ICE_SERVERS_MAX} STUN and TURN servers, got {got}")]
    TooMany {
        /// How many.
        got: usize,
    },
    /// An address of another kind.
    #[error("expected an address that begins with {expected}, got {url:?}")]
    Scheme {
        /// What it should begin with.
        expected: &'static str,
        /// The address.
        url: String,
    },
    /// A text that is too long, or no text.
    #[error("an address or a credential cannot be sent: {0}")]
    Text(#[from] TextError),
    /// A TURN server without access, or access without a TURN server.
    #[error("expected TURN servers together with a secret or a name and a password for them")]
    Access,
    /// Ports from which nothing can be relayed.
    #[error("expected ports to relay from as LOW-HIGH, from 1 on, got {first}-{last}")]
    RelayPorts {
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// Credentials that end before they can be used.
    #[error("expected credentials to be good for a minute at least")]
    Validity,
}

impl IceOffer {
    /// No servers.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            stun_urls: Vec::new(),
            turn_urls: Vec::new(),
            turn_access: None,
            credentials_valid: Duration::from_secs(12 * 60 * 60),
            embedded: None,
        }
    }

    /// Whether there is nothing to offer.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.stun_urls.is_empty() && self.turn_urls.is_empty() && self.embedded.is_none()
    }

    /// After how long a member gets credentials anew.
    #[must_use]
    pub const fn renewed_after(&self) -> Duration {
        Duration::from_millis(self.credentials_valid.as_secs() * 500)
    }

    /// Whether all of it makes sense. Names are not resolved, and members check the addresses again.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), IceOfferError> {
        let got =
            self.stun_urls.len() + self.turn_urls.len() + usize::from(self.embedded.is_some());
        if got > ICE_SERVERS_MAX {
            return Err(IceOfferError::TooMany { got });
        }
        check_schemes(&self.stun_urls, "stun:", &["stun:"])?;
        check_schemes(&self.turn_urls, "turn: or turns:", &["turn:", "turns:"])?;
        if self.turn_urls.is_empty() != self.turn_access.is_none() {
            return Err(IceOfferError::Access);
        }
        if self.credentials_valid < Duration::from_secs(60) {
            return Err(IceOfferError::Validity);
        }
        match self.embedded.and_then(|embedded| embedded.relay_ports) {
            Some((first, last)) if first == 0 || last < first => {
                return Err(IceOfferError::RelayPorts { first, last });
            }
            _ => {}
        }
        self.external("", 0).map(drop)
    }

    /// Everything for one client, at this time in seconds since 1970, and good for so long at most. The TURN server of
    /// this process has `url`s.
    pub(crate) fn message(
        &self,
        who: &str,
        (unix_secs, valid): (u64, Duration),
        embedded: Option<(&str, &[u8])>,
    ) -> Result<ServerMessage, IceOfferError> {
        let valid = valid.min(self.credentials_valid).as_secs();
        let end = unix_secs + valid;
        let mut servers = self.external(who, end)?;
        if let Some((url, secret)) = embedded {
            servers.push(minted(url, secret, who, end)?);
        }
        let got = servers.len();
        let servers = servers.try_into().map_err(|_| IceOfferError::TooMany { got })?;
        let valid_secs = u32::try_from(valid).unwrap_or(u32::MAX);
        Ok(ServerMessage::IceServers { servers, valid_secs })
    }

    fn external(&self, who: &str, end: u64) -> Result<Vec<OfferedIceServer>, IceOfferError> {
        let stun = self.stun_urls.iter().map(|url| offered(url, "", ""));
        let turn = self.turn_urls.iter().filter_map(|url| match self.turn_access.as_ref()? {
            TurnAccess::Static { username, password } => Some(offered(url, username, password)),
            TurnAccess::Secret(secret) => Some(minted(url, secret, who, end)),
        });
        stun.chain(turn).collect()
    }
}

impl Default for IceOffer {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for TurnAccess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TurnAccess(secret)")
    }
}

/// The password of a name that ends by itself (draft-uberti-behave-turn-rest-00 §2.2).
pub(crate) fn turn_password(secret: &[u8], username: &str) -> String {
    // A key of any length makes a code; the other arm is never taken.
    let Ok(mut code) = Hmac::<Sha1>::new_from_slice(secret) else { return String::new() };
    code.update(username.as_bytes());
    STANDARD.encode(code.finalize().into_bytes())
}

/// A TURN server with credentials that end at this time in seconds since 1970.
fn minted(
    url: &str,
    secret: &[u8],
    who: &str,
    end: u64,
) -> Result<OfferedIceServer, IceOfferError> {
    let username = format!("{end}:{who}");
    offered(url, &username, &turn_password(secret, &username))
}

fn offered(url: &str, username: &str, credential: &str) -> Result<OfferedIceServer, IceOfferError> {
    fn text<const BYTES_MAX: usize>(text: &str) -> Result<Text<BYTES_MAX>, TextError> {
        text.to_owned().try_into()
    }
    Ok(OfferedIceServer {
        url: text(url)?,
        username: text(username)?,
        credential: text(credential)?,
    })
}

fn check_schemes(
    urls: &[String],
    expected: &'static str,
    schemes: &[&str],
) -> Result<(), IceOfferError> {
    match urls.iter().find(|url| !schemes.iter().any(|scheme| url.starts_with(scheme))) {
        Some(url) => Err(IceOfferError::Scheme { expected, url: url.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(access: Option<TurnAccess>) -> IceOffer {
        let turn_urls = vec!["turn:t".to_owned()];
        IceOffer { turn_urls, turn_access: access, ..IceOffer::none() }
    }

    #[test]
    fn a_password_is_what_other_programs_make_of_the_secret() {
        // printf '1700000000:ada' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(turn_password(b"north", "1700000000:ada"), "ndZ88ryT1whVxdkcRLepT9D1MpM=");
    }

    #[test]
    fn each_member_gets_credentials_of_its_own_that_end() {
        let offer = turn(Some(TurnAccess::Secret(b"north".to_vec())));
        let Ok(ServerMessage::IceServers { servers, valid_secs }) =
            offer.message("room-1", (1000, Duration::MAX), Some(("turn:here", b"south")))
        else {
            panic!("no offer");
        };
        assert_eq!(valid_secs, 43200);
        let [there, here] = servers.as_slice() else { panic!("{servers:?}") };
        assert_eq!(there.username.as_str(), "44200:room-1");
        assert_eq!(there.credential.as_str(), turn_password(b"north", "44200:room-1"));
        assert_eq!(here.url.as_str(), "turn:here");
        assert_eq!(here.credential.as_str(), turn_password(b"south", "44200:room-1"));
        assert_ne!(here.credential, there.credential);
        let short = offer.message("room-1", (1000, Duration::from_secs(60)), None);
        let Ok(ServerMessage::IceServers { servers, valid_secs: 60 }) = short else {
            panic!("{short:?}");
        };
        assert_eq!(servers.as_slice()[0].username.as_str(), "1060:room-1");
    }

    #[test]
    fn what_cannot_be_offered_is_named() {
        assert_eq!(IceOffer::none().check(), Ok(()));
        assert_eq!(turn(None).check(), Err(IceOfferError::Access));
        let access = TurnAccess::Static { username: "u".to_owned(), password: "p".to_owned() };
        assert_eq!(turn(Some(access.clone())).check(), Ok(()));
        let mut offer = turn(Some(access));
        offer.stun_urls = vec!["turn:s".to_owned()];
        assert!(matches!(offer.check(), Err(IceOfferError::Scheme { expected: "stun:", .. })));
        offer.stun_urls = vec!["stun:s".to_owned(); ICE_SERVERS_MAX];
        assert_eq!(offer.check(), Err(IceOfferError::TooMany { got: ICE_SERVERS_MAX + 1 }));
        offer.stun_urls = vec!["stun:".to_owned() + &"s".repeat(300)];
        assert!(matches!(offer.check(), Err(IceOfferError::Text(_))));
        offer.stun_urls = Vec::new();
        offer.credentials_valid = Duration::from_secs(59);
        assert_eq!(offer.check(), Err(IceOfferError::Validity));
        offer.credentials_valid = Duration::from_secs(60);
        for (first, last) in [(0, 9), (9, 8)] {
            let relay_ports = Some((first, last));
            offer.embedded =
                Some(EmbeddedTurn { port: 0, listen: None, public_address: None, relay_ports });
            assert_eq!(offer.check(), Err(IceOfferError::RelayPorts { first, last }));
        }
    }

    #[test]
    fn a_secret_is_in_no_log() {
        let offer = turn(Some(TurnAccess::Secret(b"north".to_vec())));
        assert!(!format!("{offer:?}").contains("north"));
    }
}
