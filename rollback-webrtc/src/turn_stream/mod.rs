//! TURN over TCP and TLS. The WebRTC library speaks TURN by UDP only, so it is given a socket of this computer
//! instead: what comes there goes through a stream to the server, and what the stream brings comes back as datagrams.
//! Each address that sends has a stream of its own, since a TURN server tells its clients apart by their addresses.

mod framing;
mod outbox;

use std::collections::HashMap;
use std::io::{self, ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use self::framing::{FramingError, MESSAGE_BYTES_MAX, Unframer, frame};
use self::outbox::Outbox;
use crate::ice::TurnTrouble;
use crate::tcp::connect;

/// A TURN server that is reached by a stream.
#[derive(Clone)]
pub(crate) struct StreamServer {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// How many ways to TURN servers are better than this one.
    pub(crate) rank: u8,
}

/// The best rank of those TURN servers that have given an address. A stream is no match for UDP, where one lost
/// packet holds up no other, and one in TLS costs more than one without: so each waits for those before it.
#[derive(Debug)]
pub(crate) struct BestRelay(AtomicU8);

/// The socket in place of a server. It ends, with all its streams, when this is dropped.
#[derive(Debug)]
pub(crate) struct TurnStream {
    address: SocketAddr,
    task: AbortHandle,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("the connection is lost: {0}")]
    Lost(#[from] io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error(transparent)]
    Framing(#[from] FramingError),
}

impl BestRelay {
    pub(crate) fn is_better_than(&self, rank: u8) -> bool {
        self.0.load(Ordering::Acquire) < rank
    }

    pub(crate) fn note(&self, rank: u8) {
        self.0.fetch_min(rank, Ordering::AcqRel);
    }
}

impl Default for BestRelay {
    fn default() -> Self {
        Self(AtomicU8::new(u8::MAX))
    }
}

impl TurnStream {
    /// Binds the socket, on the loopback address of that family; streams begin with the first datagrams.
    ///
    /// Loopback can be reached from a socket with any other address of the same computer, and from nowhere else.
    pub(crate) fn open(
        server: StreamServer,
        is_ipv4: bool,
        best: Arc<BestRelay>,
        troubles: mpsc::Sender<TurnTrouble>,
    ) -> io::Result<Self> {
        let loopback = match is_ipv4 {
            true => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            false => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        };
        let socket = std::net::UdpSocket::bind(loopback)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let address = socket.local_addr()?;
        let task = tokio::spawn(serve(socket, server, best, troubles)).abort_handle();
        Ok(Self { address, task })
    }

    /// Where the WebRTC library finds the server.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TurnStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes each datagram to the stream of its sender. A stream that ended stays so, because the server has forgotten
/// whatever it gave its client: the next attempt has a new socket.
async fn serve(
    socket: Arc<UdpSocket>,
    server: StreamServer,
    best: Arc<BestRelay>,
    troubles: mpsc::Sender<TurnTrouble>,
) {
    let mut outboxes: HashMap<SocketAddr, Arc<Outbox>> = HashMap::new();
    // Dropped with this task, and the streams with it.
    let mut streams = JoinSet::new();
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    loop {
        let (bytes, source) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // What a former send to a socket that is closed by now has caused; Windows calls it a reset.
            Err(error) if matches!(error.kind(), ConnectionRefused | ConnectionReset) => continue,
            Err(error) => {
                tracing::warn!(%error, "a local socket of a TURN server failed");
                return;
            }
        };
        let Some(message) = buffer.get(..bytes).and_then(frame) else { continue };
        if !outboxes.contains_key(&source) {
            if outboxes.len() >= SOURCES_MAX {
                continue;
            }
            let outbox = Arc::new(Outbox::default());
            outboxes.insert(source, Arc::clone(&outbox));
            let (socket, server) = (Arc::clone(&socket), server.clone());
            let (best, troubles) = (Arc::clone(&best), troubles.clone());
            streams.spawn(async move {
                sleep(RANK_DELAY * u32::from(server.rank)).await;
                if best.is_better_than(server.rank) {
                    return;
                }
                if let Err(error) = carry(&socket, source, &server, &outbox).await {
                    let StreamServer { host, port, .. } = &server;
                    tracing::info!(%host, port, %error, "a stream to a TURN server ended");
                    // Others that are not read yet say the same.
                    let _ = troubles.try_send(error.trouble());
                }
            });
        }
        if let Some(outbox) = outboxes.get(&source) {
            outbox.push(message);
        }
    }
}

impl StreamError {
    const fn trouble(&self) -> TurnTrouble {
        match self {
            Self::Connect(_) => TurnTrouble::Unreachable,
            Self::Tls(_) => TurnTrouble::Tls,
            Self::Lost(_) | Self::Closed | Self::Framing(_) => TurnTrouble::Lost,
        }
    }
}

async fn carry(
    socket: &UdpSocket,
    source: SocketAddr,
    server: &StreamServer,
    outbox: &Outbox,
) -> Result<(), StreamError> {
    let connecting =
        timeout(CONNECT_TIMEOUT, connect((&server.host, server.port), SEND_BUFFER_BYTES));
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let stream = connecting.await.unwrap_or_else(|_| Err(late())).map_err(StreamError::Connect)?;
    let Some(config) = &server.tls else { return pass(socket, source, stream, outbox).await };
    let name = ServerName::try_from(server.host.clone())
        .map_err(|error| StreamError::Tls(io::Error::other(error)))?;
    let securing = TlsConnector::from(Arc::clone(config)).connect(name, stream);
    let secured = timeout(CONNECT_TIMEOUT, securing).await;
    let stream = secured.unwrap_or_else(|_| Err(late())).map_err(StreamError::Tls)?;
    pass(socket, source, stream, outbox).await
}

async fn pass(
    socket: &UdpSocket,
    source: SocketAddr,
    stream: impl AsyncRead + AsyncWrite,
    outbox: &Outbox,
) -> Result<(), StreamError> {
    let (mut reader, mut writer) = split(stream);
    let write = async {
        loop {
            let messages = outbox.take().await;
            writer.write_all(&messages).await?;
            writer.flush().await?;
        }
    };
    let read = async {
        let mut unframer = Unframer::default();
        loop {
            if reader.read_buf(unframer.buffer()).await? == 0 {
                return Err(StreamError::Closed);
            }
            while let Some(message) = unframer.next()? {
                // A full buffer loses it, as it would any datagram.
                let _ = socket.send_to(&message, source).await;
            }
        }
    };
    tokio::select! {
        ended = write => ended,
        ended = read => ended,
    }
}

/// Local addresses that may have a stream: those of a computer with several networks.
const SOURCES_MAX: usize = 32;

/// How long a name, a connection and its security may take; then the attempt is nearly over anyway.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a way waits for each better one to give an address: two round trips of 200 ms.
const RANK_DELAY: Duration = Duration::from_millis(400);

/// What the system may hold of what is written: a second or two of a game.
const SEND_BUFFER_BYTES: u32 = 16 * 1024;

#[cfg(test)]
mod tests;
