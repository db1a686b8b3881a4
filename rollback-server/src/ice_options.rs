//! The options of the command line that say which STUN and TURN servers members are offered.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::ice::{EmbeddedTurn, IceOffer, IceOfferError, TurnAccess};

/// The options, with the defaults of the command line.
#[derive(Debug, Clone, Args)]
pub struct IceOptions {
    /// A STUN server for the members, such as stun:stun.example.org:3478; may be given several times.
    #[arg(long = "stun-url", value_name = "URL")]
    pub stun_urls: Vec<String>,

    /// A TURN server for the members, such as turn:turn.example.org:3478; may be given several times.
    #[arg(long = "turn-url", value_name = "URL")]
    pub turn_urls: Vec<String>,

    /// A file with the secret that these TURN servers know (coturn's static-auth-secret).
    #[arg(long, value_name = "FILE")]
    pub turn_secret_file: Option<PathBuf>,

    /// A file with one line NAME:PASSWORD for these TURN servers, in place of a secret.
    #[arg(long, value_name = "FILE", conflicts_with = "turn_secret_file")]
    pub turn_user_file: Option<PathBuf>,

    /// How many seconds the credentials are good for that are made from a secret.
    #[arg(long, value_name = "SECONDS", default_value_t = CREDENTIALS_VALID_SECS)]
    pub turn_ttl: u64,

    /// Runs a TURN server, by UDP, in this process.
    #[arg(long)]
    pub turn: bool,

    /// The port that it listens on.
    #[arg(long, value_name = "PORT", default_value_t = TURN_PORT)]
    pub turn_port: u16,

    /// The address that it listens on, where that is not the one of --listen.
    #[arg(long, value_name = "ADDRESS")]
    pub turn_listen: Option<IpAddr>,

    /// The address at which members reach it, where that is not one of this computer.
    #[arg(long, value_name = "ADDRESS")]
    pub turn_address: Option<IpAddr>,

    /// The ports that it relays from, such as 49152-65535; any free ones without it.
    #[arg(long, value_name = "LOW-HIGH", value_parser = parse_ports)]
    pub turn_relay_ports: Option<(u16, u16)>,
}

/// Why the options make no offer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IceOptionsError {
    /// They contradict each other, or an address is wrong.
    #[error(transparent)]
    Offer(#[from] IceOfferError),
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file has something else in it.
    #[error("expected {expected} in {path}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
}

impl IceOptions {
    /// Reads the files, and makes the offer.
    ///
    /// # Errors
    /// [`IceOptionsError`].
    pub fn offer(&self) -> Result<IceOffer, IceOptionsError> {
        let turn_access = match (&self.turn_secret_file, &self.turn_user_file) {
            (Some(path), _) => Some(TurnAccess::Secret(line(path, "one line, a secret")?.into())),
            (None, Some(path)) => {
                let expected = "one line NAME:PASSWORD";
                let line = line(path, expected)?;
                let content = || IceOptionsError::Content { path: path.clone(), expected };
                let (username, password) = line.split_once(':').ok_or_else(content)?;
                let (username, password) = (username.to_owned(), password.to_owned());
                if username.is_empty() || password.is_empty() {
                    return Err(content());
                }
                Some(TurnAccess::Static { username, password })
            }
            (None, None) => None,
        };
        let embedded = self.turn.then_some(EmbeddedTurn {
            port: self.turn_port,
            listen: self.turn_listen,
            public_address: self.turn_address,
            relay_ports: self.turn_relay_ports,
        });
        let offer = IceOffer {
            stun_urls: self.stun_urls.clone(),
            turn_urls: self.turn_urls.clone(),
            turn_access,
            credentials_valid: Duration::from_secs(self.turn_ttl),
            embedded,
        };
        offer.check()?;
        Ok(offer)
    }
}

impl Default for IceOptions {
    fn default() -> Self {
        Self {
            stun_urls: Vec::new(),
            turn_urls: Vec::new(),
            turn_secret_file: None,
            turn_user_file: None,
            turn_ttl: CREDENTIALS_VALID_SECS,
            turn: false,
            turn_port: TURN_PORT,
            turn_listen: None,
            turn_address: None,
            turn_relay_ports: None,
        }
    }
}

/// Ports such as `49152-65535`.
///
/// # Errors
/// What was expected.
pub fn parse_ports(text: &str) -> Result<(u16, u16), String> {
    let ports = text.split_once('-').and_then(|(first, last)| {
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        (0 < first && first <= last).then_some((first, last))
    });
    ports.ok_or_else(|| format!("expected two ports such as 49152-65535, got {text:?}"))
}

fn line(path: &Path, expected: &'static str) -> Result<String, IceOptionsError> {
    let file = |error| IceOptionsError::File { path: path.to_owned(), error };
    let text = std::fs::read_to_string(path).map_err(file)?;
    let line = text.trim();
    if line.is_empty() || line.contains('\n') {
        return Err(IceOptionsError::Content { path: path.to_owned(), expected });
    }
    Ok(line.to_owned())
}

/// Half a day: longer than a match lasts, and no secret for ever.
const CREDENTIALS_VALID_SECS: u64 = 12 * 60 * 60;

/// The port of TURN (RFC 8656 §3.1).
const TURN_PORT: u16 = 3478;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(name: &str, content: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rollback-ice-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn turn(file: Option<PathBuf>) -> IceOptions {
        let turn_urls = vec!["turn:t".to_owned()];
        IceOptions { turn_urls, turn_secret_file: file, ..IceOptions::default() }
    }

    #[test]
    fn secrets_and_names_are_read_from_files() {
        let offer = turn(Some(with_file("secret", "north\n"))).offer().unwrap();
        assert_eq!(offer.turn_access, Some(TurnAccess::Secret(b"north".to_vec())));
        let user = Some(with_file("user", "ada:love:lace\n"));
        let offer = IceOptions { turn_user_file: user, ..turn(None) }.offer().unwrap();
        let (username, password) = ("ada".to_owned(), "love:lace".to_owned());
        assert_eq!(offer.turn_access, Some(TurnAccess::Static { username, password }));
    }

    #[test]
    fn what_makes_no_offer_is_named() {
        let error = |options: IceOptions| options.offer().unwrap_err().to_string();
        assert!(error(turn(Some("/no/such/file".into()))).contains("/no/such/file"));
        assert!(error(turn(Some(with_file("empty", " \n")))).contains("a secret"));
        assert!(error(turn(Some(with_file("two", "a\nb\n")))).contains("one line"));
        let user = Some(with_file("nameless", ":x"));
        assert!(error(IceOptions { turn_user_file: user, ..turn(None) }).contains("NAME:PASSWORD"));
        assert!(error(turn(None)).contains("secret"));
        assert!(parse_ports("10-9").is_err() && parse_ports("0-9").is_err());
        assert_eq!(parse_ports("9-9"), Ok((9, 9)));
    }
}
