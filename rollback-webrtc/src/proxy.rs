//! Which HTTP proxy a WebSocket goes through, if any, and how to ask it for a way (CONNECT, RFC 9110
//! §9.3.6). Pure but for that question.

use std::fmt;
use std::io;
use std::net::IpAddr;

use data_encoding::BASE64;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::http::Uri;

/// Which proxy to take to the server, for signaling and for the relay through it. Never used for a
/// server on this computer, nor for WebRTC, which HTTP proxies do not carry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProxyChoice {
    /// What the environment says, as most programs do: `HTTPS_PROXY` for `wss://`, `HTTP_PROXY` for
    /// `ws://`, none for what `NO_PROXY` lists (names with all below them, addresses, `*`); each in
    /// small letters too.
    #[default]
    Environment,
    /// None.
    Never,
    /// This one, such as `http://proxy.example.org:3128` or `http://name:password@proxy:3128`.
    Through(ProxyUrl),
}

/// The address of an HTTP proxy. `Debug` does not show its password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    host: String,
    port: u16,
    /// Name and password, joined by a colon.
    credentials: Option<String>,
}

/// Text that is no address of an HTTP proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// It cannot be parsed.
    #[error("expected the address of a proxy such as http://proxy.example.org:3128")]
    NotUrl,
    /// Only proxies that are spoken to without encryption are supported; what goes through them may
    /// be encrypted.
    #[error("expected a proxy address that begins with http://")]
    Scheme,
}

/// Why a proxy does not give a way to the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the proxy's address in the environment is not valid: {0}")]
    Url(#[from] ProxyUrlError),
    #[error("the proxy {proxy:?} cannot be reached: {error}")]
    Unreachable { proxy: ProxyUrl, error: io::Error },
    #[error("the proxy {proxy:?} refuses: {status:?}")]
    Refused { proxy: ProxyUrl, status: String },
}

/// Where a WebSocket is to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'link> {
    pub(crate) host: &'link str,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
}

impl std::str::FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(url: &str) -> Result<Self, ProxyUrlError> {
        // Many people leave the scheme out, and curl takes that too.
        let with_scheme =
            if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = with_scheme.parse().map_err(|_| ProxyUrlError::NotUrl)?;
        if uri.scheme_str() != Some("http") {
            return Err(ProxyUrlError::Scheme);
        }
        let authority = uri.authority().ok_or(ProxyUrlError::NotUrl)?;
        let host = authority.host().to_owned();
        let credentials = match authority.as_str().rsplit_once('@') {
            Some((credentials, _)) => Some(percent_decoded(credentials)?),
            None => None,
        };
        match host.is_empty() {
            true => Err(ProxyUrlError::NotUrl),
            false => Ok(Self { host, port: authority.port_u16().unwrap_or(80), credentials }),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if self.credentials.is_some() { "…@" } else { "" };
        write!(formatter, "http://{secret}{}:{}", self.host, self.port)
    }
}

impl ProxyUrl {
    /// Host and port, as a socket connects to them.
    pub(crate) fn address(&self) -> (&str, u16) {
        (self.host.trim_matches(['[', ']']), self.port)
    }
}

impl ProxyChoice {
    /// The proxy for a target; `variable` reads one of the environment.
    pub(crate) fn proxy(
        &self,
        target: Target<'_>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<ProxyUrl>, ProxyUrlError> {
        if is_loopback(target.host) {
            return Ok(None);
        }
        let first = |names: [&str; 2]| {
            let values = names.into_iter().filter_map(&variable);
            { values }.find(|value| !value.trim().is_empty())
        };
        match self {
            Self::Never => Ok(None),
            Self::Through(proxy) => Ok(Some(proxy.clone())),
            Self::Environment => {
                let excepted = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
                if excepted.split(',').any(|exception| is_excepted(target, exception.trim())) {
                    return Ok(None);
                }
                let names = match target.is_secure {
                    true => ["HTTPS_PROXY", "https_proxy"],
                    false => ["HTTP_PROXY", "http_proxy"],
                };
                first(names).map(|url| url.trim().parse()).transpose()
            }
        }
    }
}

/// Asks a proxy, over a fresh connection to it, for a way to the target.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &ProxyUrl,
    target: Target<'_>,
) -> Result<(), ProxyError> {
    let unreachable = |error| ProxyError::Unreachable { proxy: proxy.clone(), error };
    let place = format!("{}:{}", target.host, target.port);
    let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
    if let Some(credentials) = &proxy.credentials {
        let encoded = BASE64.encode(credentials.as_bytes());
        request.push_str(&format!("Proxy-Authorization: Basic {encoded}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(unreachable)?;
    let head = read_head(stream).await.map_err(unreachable)?;
    let status = head.lines().next().unwrap_or_default();
    let mut words = status.split(' ');
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    match words.next() {
        Some(code) if is_http && code.len() == 3 && code.starts_with('2') => Ok(()),
        _ => {
            let status = status.chars().filter(|c| !c.is_control()).take(200).collect();
            Err(ProxyError::Refused { proxy: proxy.clone(), status })
        }
    }
}

/// Reads an answer up to its empty line and not one byte more, which would be the server's.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(io::Error::other("its answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn is_loopback(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether one part of `NO_PROXY` names the target: its name, or one that it lies below, or its
/// address, perhaps with its port.
fn is_excepted(target: Target<'_>, exception: &str) -> bool {
    let host = target.host.trim_matches(['[', ']']).to_ascii_lowercase();
    let exception = exception.to_ascii_lowercase();
    let exception = match exception.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            match port.parse::<u16>() {
                Ok(port) if port == target.port => name.to_owned(),
                _ => return false,
            }
        }
        _ => exception,
    };
    let name = exception.trim_matches(['[', ']']).trim_start_matches("*.").trim_start_matches('.');
    let is_below = || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    exception == "*" || (!name.is_empty() && (host == name || is_below()))
}

fn percent_decoded(text: &str) -> Result<String, ProxyUrlError> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).ok_or(ProxyUrlError::NotUrl)?;
        bytes.push(u8::from_str_radix(code, 16).map_err(|_| ProxyUrlError::NotUrl)?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| ProxyUrlError::NotUrl)
}

/// Longest answer of a proxy; usual ones have some hundred bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, is_secure: bool) -> Target<'_> {
        Target { host, port: if is_secure { 443 } else { 80 }, is_secure }
    }

    fn chosen(host: &str, is_secure: bool, environment: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxy = ProxyChoice::Environment.proxy(target(host, is_secure), variable).unwrap();
        proxy.map(|proxy| format!("{proxy:?}"))
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let both = [("HTTPS_PROXY", "http://secure:3128"), ("http_proxy", "plain:8080")];
        assert_eq!(chosen("play.example.org", true, &both).unwrap(), "http://secure:3128");
        assert_eq!(chosen("play.example.org", false, &both).unwrap(), "http://plain:8080");
        assert_eq!(chosen("play.example.org", false, &both[..1]), None);
        assert_eq!(chosen("play.example.org", true, &[("HTTPS_PROXY", " ")]), None);
    }

    #[test]
    fn a_server_on_this_computer_is_never_reached_through_a_proxy() {
        let through = ProxyChoice::Through("http://p".parse().unwrap());
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]"] {
            assert_eq!(chosen(host, true, &[("HTTPS_PROXY", "http://p")]), None, "{host}");
            assert_eq!(through.proxy(target(host, false), |_| None), Ok(None));
        }
        let proxy = through.proxy(target("h", false), |_| None).unwrap().unwrap();
        assert_eq!(proxy.address(), ("p", 80));
        assert_eq!(ProxyChoice::Never.proxy(target("h", false), |_| Some("p".into())), Ok(None));
    }

    #[test]
    fn exceptions_are_names_with_all_below_them_addresses_and_everything() {
        let passes = |host: &str, exceptions: &str| {
            chosen(host, true, &[("HTTPS_PROXY", "http://p"), ("NO_PROXY", exceptions)]).is_none()
        };
        for exceptions in
            ["example.org", ".example.org", "a, *.example.org", "*", "x.example.org:443"]
        {
            assert!(passes("x.example.org", exceptions), "{exceptions}");
        }
        for exceptions in ["", "ample.org", "y.example.org", "x.example.org:80", "x.example.org.de"]
        {
            assert!(!passes("x.example.org", exceptions), "{exceptions}");
        }
        assert!(passes("192.168.0.7", "10.0.0.1,192.168.0.7"));
        assert!(passes("[fe80::7]", "fe80::7"));
        assert!(passes("[fe80::7]", "[fe80::7]:443"));
        assert!(!passes("192.168.0.70", "192.168.0.7"));
    }

    #[test]
    fn what_is_no_proxy_is_named_and_a_password_is_not_shown() {
        let parse = |url: &str| url.parse::<ProxyUrl>();
        assert_eq!(parse("https://p"), Err(ProxyUrlError::Scheme));
        assert_eq!(parse("socks5://p"), Err(ProxyUrlError::Scheme));
        for url in ["", "http://", "http://a b", "http://%zz:x@p", "http://n:%4@p"] {
            assert_eq!(parse(url), Err(ProxyUrlError::NotUrl), "{url:?}");
        }
        let proxy = parse("http://ada:p%40ss@proxy:3128").unwrap();
        assert_eq!(proxy.credentials.as_deref(), Some("ada:p@ss"));
        assert_eq!(format!("{proxy:?}"), "http://…@proxy:3128");
    }

    async fn asked(answer: &'static [u8], proxy: &str) -> (Result<(), ProxyError>, String) {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        far.write_all(answer).await.unwrap();
        let proxy = proxy.parse().unwrap();
        let result = ask(&mut near, &proxy, target("play.example.org", true)).await;
        let mut request = vec![0; 4096];
        let length = far.read(&mut request).await.unwrap();
        request.truncate(length);
        (result, String::from_utf8(request).unwrap())
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_a_way_and_shown_the_password() {
        let (result, request) = asked(b"HTTP/1.1 200 ok\r\nVia: me\r\n\r\n", "ada:lace@p").await;
        assert!(result.is_ok());
        let expected = "CONNECT play.example.org:443 HTTP/1.1\r\nHost: play.example.org:443\r\n\
                        Proxy-Authorization: Basic YWRhOmxhY2U=\r\n\r\n";
        assert_eq!(request, expected);
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_or_talks_nonsense_gives_no_way() {
        let endless: &[u8] = &[b'x'; HEAD_BYTES_MAX + 1];
        for answer in [b"HTTP/1.1 407 no\r\n\r\n".as_slice(), b"200\r\n\r\n", b"SSH-2.0\r\n\r\n"] {
            let (result, request) = asked(answer, "p").await;
            assert!(matches!(result, Err(ProxyError::Refused { .. })), "{result:?}");
            assert!(!request.contains("Authorization"));
        }
        assert!(matches!(asked(endless, "p").await.0, Err(ProxyError::Unreachable { .. })));
    }
}
