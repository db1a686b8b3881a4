//! The addresses of STUN and TURN servers, parsed once (RFC 7064, RFC 7065). Does not resolve names.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A parsed address of a STUN or TURN server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IceUrl {
    pub(crate) kind: IceUrlKind,
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// What the server is, and how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IceUrlKind {
    Stun,
    Turn(TurnTransport),
}

/// How a TURN server is reached. What it relays are datagrams in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnTransport {
    /// By datagrams.
    Udp,
    /// By a stream.
    Tcp,
    /// By a stream in TLS.
    Tls,
}

/// `udp`, `tcp` or `tls`.
impl fmt::Display for TurnTransport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

/// Why a string is no address of a STUN or TURN server that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceUrlError {
    /// It is too long.
    #[error("expected at most {ICE_URL_BYTES_MAX} bytes")]
    TooLong,
    /// It begins with something else.
    #[error("expected stun:, turn: or turns: in front")]
    Scheme,
    /// STUN over TLS is not supported.
    #[error("stuns: is not supported; expected stun:")]
    SecureStun,
    /// There is no host, or one with characters that none has.
    #[error("expected a name or an address of a server")]
    Host,
    /// A server that is reached by UDP is named by an IPv6 address.
    #[error("expected a name or an IPv4 address for a server that is reached by UDP")]
    LiteralIpv6,
    /// The port is no number from 1 to 65535.
    #[error("expected a port from 1 to 65535")]
    Port,
    /// There is something behind a question mark that is not `transport=udp` or `transport=tcp`.
    #[error(
        "expected nothing behind the port, or ?transport=udp or ?transport=tcp of a TURN server"
    )]
    Query,
    /// TURN over DTLS is not supported.
    #[error("turns: is TLS over TCP; it cannot have transport=udp")]
    SecureUdp,
}

/// Longest address of a server in bytes: a name of 253 and what is around it.
pub(crate) const ICE_URL_BYTES_MAX: usize = 300;

impl IceUrl {
    /// Whether it is a TURN server.
    pub(crate) const fn is_turn(&self) -> bool {
        matches!(self.kind, IceUrlKind::Turn(_))
    }
}

impl FromStr for IceUrl {
    type Err = IceUrlError;

    fn from_str(url: &str) -> Result<Self, IceUrlError> {
        if url.len() > ICE_URL_BYTES_MAX {
            return Err(IceUrlError::TooLong);
        }
        let (scheme, rest) = url.split_once(':').ok_or(IceUrlError::Scheme)?;
        let (address, query) = match rest.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (rest, None),
        };
        let transport = match query {
            None => None,
            Some("transport=udp") => Some(TurnTransport::Udp),
            Some("transport=tcp") => Some(TurnTransport::Tcp),
            Some(_) => return Err(IceUrlError::Query),
        };
        let kind = match (scheme.to_ascii_lowercase().as_str(), transport) {
            ("stun", None) => IceUrlKind::Stun,
            ("stun", Some(_)) => return Err(IceUrlError::Query),
            ("stuns", _) => return Err(IceUrlError::SecureStun),
            ("turn", transport) => IceUrlKind::Turn(transport.unwrap_or(TurnTransport::Udp)),
            ("turns", Some(TurnTransport::Udp)) => return Err(IceUrlError::SecureUdp),
            ("turns", _) => IceUrlKind::Turn(TurnTransport::Tls),
            _ => return Err(IceUrlError::Scheme),
        };
        let is_stream = matches!(kind, IceUrlKind::Turn(TurnTransport::Tcp | TurnTransport::Tls));
        let (host, port) = split_address(address, is_stream)?;
        let usual = if kind == IceUrlKind::Turn(TurnTransport::Tls) { 5349 } else { 3478 };
        Ok(Self { kind, host, port: port.unwrap_or(usual) })
    }
}

/// As the WebRTC library takes it.
impl fmt::Display for IceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, host, port } = self;
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.clone(),
        };
        match kind {
            IceUrlKind::Stun => write!(formatter, "stun:{host}:{port}"),
            IceUrlKind::Turn(TurnTransport::Udp) => {
                write!(formatter, "turn:{host}:{port}?transport=udp")
            }
            IceUrlKind::Turn(TurnTransport::Tcp) => {
                write!(formatter, "turn:{host}:{port}?transport=tcp")
            }
            IceUrlKind::Turn(TurnTransport::Tls) => {
                write!(formatter, "turns:{host}:{port}?transport=tcp")
            }
        }
    }
}

fn split_address(address: &str, is_stream: bool) -> Result<(String, Option<u16>), IceUrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(literal) => {
            let (host, behind) = literal.split_once(']').ok_or(IceUrlError::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| IceUrlError::Host)?;
            // The library joins host and port without brackets, and resolves what comes out.
            if !is_stream {
                return Err(IceUrlError::LiteralIpv6);
            }
            match behind.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if behind.is_empty() => (host, None),
                None => return Err(IceUrlError::Port),
            }
        }
        None => {
            let (host, port) = match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            };
            check_name(host)?;
            (host, port)
        }
    };
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = port.parse().ok().filter(|port: &u16| *port != 0);
            Some(port.ok_or(IceUrlError::Port)?)
        }
        Some(_) => return Err(IceUrlError::Port),
        None => None,
    };
    Ok((host.to_owned(), port))
}

/// A name of a computer, or an IPv4 address; what looks like one has to be one.
fn check_name(host: &str) -> Result<(), IceUrlError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = (1..=HOST_BYTES_MAX).contains(&host.len())
        && host.bytes().all(is_allowed)
        && host.bytes().any(|byte| byte.is_ascii_alphanumeric());
    let is_numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match is_name && (!is_numeric || host.parse::<Ipv4Addr>().is_ok()) {
        true => Ok(()),
        false => Err(IceUrlError::Host),
    }
}

/// Longest name of a computer (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, IceUrlError> {
        url.parse::<IceUrl>().map(|url| url.to_string())
    }

    #[test]
    fn ports_and_transports_have_their_usual_values() {
        assert_eq!(shown("stun:a.example").unwrap(), "stun:a.example:3478");
        assert_eq!(shown("turn:a.example").unwrap(), "turn:a.example:3478?transport=udp");
        assert_eq!(
            shown("turn:1.2.3.4:99?transport=udp").unwrap(),
            "turn:1.2.3.4:99?transport=udp"
        );
        assert_eq!(shown("turn:t:443?transport=tcp").unwrap(), "turn:t:443?transport=tcp");
        assert_eq!(shown("turns:t").unwrap(), "turns:t:5349?transport=tcp");
        assert_eq!(shown("TURNS:t:443?transport=tcp").unwrap(), "turns:t:443?transport=tcp");
        assert_eq!(shown("turns:[::1]:443").unwrap(), "turns:[::1]:443?transport=tcp");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("", IceUrlError::Scheme),
            ("turn", IceUrlError::Scheme),
            ("http://t", IceUrlError::Scheme),
            ("stuns:t", IceUrlError::SecureStun),
            ("turns:t?transport=udp", IceUrlError::SecureUdp),
            ("turn:t?transport=sctp", IceUrlError::Query),
            ("turn:t?transport=tcp&transport=udp", IceUrlError::Query),
            ("turn:t?", IceUrlError::Query),
            ("stun:t?transport=udp", IceUrlError::Query),
            ("turn:", IceUrlError::Host),
            ("turn://t", IceUrlError::Host),
            ("turn:user@t", IceUrlError::Host),
            ("turn:t/x", IceUrlError::Host),
            ("turn:t x", IceUrlError::Host),
            ("turn:1.2.3", IceUrlError::Host),
            ("turn:...", IceUrlError::Host),
            ("turn:[::1", IceUrlError::Host),
            ("turn:[t]:1?transport=tcp", IceUrlError::Host),
            ("turn:[::1]", IceUrlError::LiteralIpv6),
            ("turn:[::1]1?transport=tcp", IceUrlError::Port),
            ("turn:t:", IceUrlError::Port),
            ("turn:t:0", IceUrlError::Port),
            ("turn:t:+1", IceUrlError::Port),
            ("turn:t:65536", IceUrlError::Port),
        ];
        for (url, error) in wrong {
            assert_eq!(url.parse::<IceUrl>(), Err(error), "{url}");
        }
        let name = |bytes: usize| format!("turn:{}:3478?transport=udp", "t".repeat(bytes));
        assert!(name(HOST_BYTES_MAX).parse::<IceUrl>().is_ok());
        assert_eq!(name(HOST_BYTES_MAX + 1).parse::<IceUrl>(), Err(IceUrlError::Host));
        assert_eq!(name(ICE_URL_BYTES_MAX).parse::<IceUrl>(), Err(IceUrlError::TooLong));
    }
}
