//! The one way to open a WebSocket: through a proxy where there is one, with TLS where the link says
//! so.

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::UrlError;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use crate::proxy::{self, ProxyChoice, ProxyError, ProxyUrl, Target};
use crate::tcp::connect;
use crate::tls::{TlsError, Trust};

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The system has no TLS to offer.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy gives no way.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The server cannot be reached, or is none.
    #[error(transparent)]
    Server(#[from] tungstenite::Error),
}

/// Where a WebSocket goes to, and through which proxy.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) request: Request,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
    pub(crate) proxy: Option<ProxyUrl>,
}

impl OpenError {
    /// Whether trying again makes no sense. A web server that answers otherwise than with a WebSocket
    /// is none of ours; proxies in front of one that is just starting answer 5xx, and that passes.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Tls(_) | Self::Proxy(ProxyError::Url(_)) => true,
            Self::Proxy(ProxyError::Unreachable { .. } | ProxyError::Refused { .. }) => false,
            Self::Server(tungstenite::Error::Http(response)) => {
                !response.status().is_server_error()
            }
            Self::Server(error) => matches!(error, tungstenite::Error::Url(_)),
        }
    }
}

/// Opens the WebSocket of a link. Its messages have at most so many bytes.
pub(crate) async fn open(
    url: &str,
    (proxy, trust): (&ProxyChoice, &Trust),
    message_bytes_max: usize,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, OpenError> {
    let connector = match url.starts_with("wss:") {
        true => Connector::Rustls(trust.config()?),
        false => Connector::Plain,
    };
    open_with(url, proxy, message_bytes_max, connector).await
}

pub(crate) async fn open_with(
    url: &str,
    proxy: &ProxyChoice,
    message_bytes_max: usize,
    connector: Connector,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, OpenError> {
    let place = Place::of(url, proxy)?;
    let stream = match &place.proxy {
        None => {
            connect(place.address(), SEND_BUFFER_BYTES).await.map_err(tungstenite::Error::Io)?
        }
        Some(proxy) => {
            let unreachable = |error| ProxyError::Unreachable { proxy: proxy.clone(), error };
            let mut stream =
                connect(proxy.address(), SEND_BUFFER_BYTES).await.map_err(unreachable)?;
            proxy::ask(&mut stream, proxy, place.target()).await?;
            stream
        }
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    let (socket, _) =
        client_async_tls_with_config(place.request, stream, Some(config), Some(connector)).await?;
    Ok(socket)
}

impl Place {
    pub(crate) fn of(url: &str, proxy: &ProxyChoice) -> Result<Self, OpenError> {
        let request = url.into_client_request()?;
        let no_host = || tungstenite::Error::Url(UrlError::NoHostName);
        let host = request.uri().host().ok_or_else(no_host)?.to_owned();
        let is_secure = request.uri().scheme_str() == Some("wss");
        let port = request.uri().port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let target = Target { host: &host, port, is_secure };
        let variable = |name: &str| std::env::var(name).ok();
        let proxy = proxy.proxy(target, variable).map_err(ProxyError::Url)?;
        Ok(Self { request, host, port, is_secure, proxy })
    }

    /// Host and port, as a socket connects to them.
    pub(crate) fn address(&self) -> (&str, u16) {
        (self.host.trim_matches(['[', ']']), self.port)
    }

    /// As a proxy is asked for it.
    pub(crate) fn target(&self) -> Target<'_> {
        Target { host: &self.host, port: self.port, is_secure: self.is_secure }
    }
}

/// What is read at once, and taken for each socket: nearly all messages fit. The default is 128 KiB.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// What the system may hold of what was sent: when nothing gets through, datagrams are to wait where old ones are
/// dropped (rule R5), and not for seconds in the system's buffer of megabytes.
pub(crate) const SEND_BUFFER_BYTES: u32 = 32 * 1024;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use futures_util::{SinkExt, StreamExt};
    use rustls::RootCertStore;
    use rustls::crypto::ring;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_tungstenite::tungstenite::Message;

    use super::*;
    use crate::tls::client_config;

    const NAME: &str = "play.example.org";

    /// A server with a certificate for `localhost` and [`NAME`] that it signed itself; its port.
    async fn secure_server() -> (u16, CertificateDer<'static>) {
        let names = ["localhost".to_owned(), NAME.to_owned()];
        let signed = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
        let certificate = signed.cert.der().clone();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(key))
                .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                    socket.send(Message::text("welcome")).await.unwrap();
                }
            }
        });
        (port, certificate)
    }

    /// An HTTP proxy to which every name is this computer, and what it was asked.
    async fn proxy_to(port: u16) -> (ProxyChoice, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (asked, questions) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                asked.send(String::from_utf8(head).unwrap()).unwrap();
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut stream, &mut server).await });
            }
        });
        // Its own address is loopback, and that is fine: only the server's must not be.
        let url = format!("http://ada:lace@127.0.0.1:{own}").parse().unwrap();
        (ProxyChoice::Through(url), questions)
    }

    fn trusting(certificate: CertificateDer<'static>) -> Connector {
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        Connector::Rustls(client_config(roots).unwrap())
    }

    #[tokio::test]
    async fn a_secure_link_works_with_a_trusted_certificate_only() {
        let (port, certificate) = secure_server().await;
        let link = format!("wss://localhost:{port}/kitchen");
        let open = |connector| open_with(&link, &ProxyChoice::Never, 1024, connector);
        let mut socket = open(trusting(certificate)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("welcome"));

        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let refused = open(trusting(other.cert.der().clone())).await;
        assert!(!refused.unwrap_err().is_final());
    }

    #[tokio::test]
    async fn a_secure_link_works_through_a_proxy_which_sees_only_its_name() {
        let (port, certificate) = secure_server().await;
        let (proxy, mut questions) = proxy_to(port).await;
        let link = format!("wss://{NAME}/kitchen");
        let mut socket = open_with(&link, &proxy, 1024, trusting(certificate)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("welcome"));
        let question = questions.recv().await.unwrap();
        assert!(question.starts_with("CONNECT play.example.org:443 HTTP/1.1\r\n"), "{question}");
        assert!(question.contains("Proxy-Authorization: Basic YWRhOmxhY2U="), "{question}");
        assert!(questions.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there_is_named_and_tried_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        drop(listener);
        let proxy = ProxyChoice::Through(url.parse().unwrap());
        let link = format!("ws://{NAME}/kitchen");
        let error = open(&link, (&proxy, &Trust::default()), 1024).await.unwrap_err();
        assert!(error.to_string().contains(&url), "{error}");
        assert!(!error.is_final());
    }
}
