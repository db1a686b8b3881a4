//! Where connections come in: at once as they are, or once TLS is agreed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::Certificate;

/// The address of this computer that a client reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached(pub(crate) Option<IpAddr>);

impl Connected<IncomingStream<'_, PromptListener>> for Reached {
    fn connect_info(stream: IncomingStream<'_, PromptListener>) -> Self {
        Self::by(stream.io())
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Reached {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self::by(stream.io().get_ref().0)
    }
}

impl Reached {
    fn by(stream: &TcpStream) -> Self {
        Self(stream.local_addr().ok().map(|address| address.ip().to_canonical()))
    }
}

/// A listener whose connections send at once what they are given: candidates are small and urgent.
pub(crate) struct PromptListener(pub(crate) TcpListener);

impl Listener for PromptListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        // Not the method of the same name, which gives errors up.
        let (stream, address) = Listener::accept(&mut self.0).await;
        // A socket that refuses works all the same.
        let _ = stream.set_nodelay(true);
        let socket = SockRef::from(&stream);
        let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
        (stream, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The same behind TLS. Clients agree on it side by side, so that none waits for a slow one.
pub(crate) struct TlsListener {
    agreed: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    accepting: AbortHandle,
}

impl TlsListener {
    pub(crate) fn start(listener: PromptListener, certificate: &Certificate) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, agreed) = mpsc::channel(1);
        let acceptor = TlsAcceptor::from(certificate.config());
        let accepting = tokio::spawn(accept_all(listener, acceptor, sender)).abort_handle();
        Ok(Self { agreed, address, accepting })
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.agreed.recv().await {
            Some(accepted) => accepted,
            // The task that accepts ends only with this listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept_all(
    mut listener: PromptListener,
    acceptor: TlsAcceptor,
    agreed: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let free = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    // It is never closed.
    while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
        let (stream, address) = listener.accept().await;
        let (acceptor, agreed) = (acceptor.clone(), agreed.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                // When the listener has gone, nobody is served any more.
                Ok(Ok(stream)) => drop(agreed.send((stream, address)).await),
                Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
                Err(_) => tracing::debug!(%address, "no TLS in time"),
            }
            drop(permit);
        });
    }
}

/// What the system may hold of what was not even sent once, where it can be told: some datagrams. Without this an outage of
/// seconds would be followed by all that fits into the buffer (rule R5).
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 4 * 1024;

/// What the system may hold of what was sent to one client: datagrams are to wait in the relay's queue, where the
/// oldest are dropped, and not in the system's buffer of megabytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// How long a client may take to agree on TLS.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Clients that may do so at once; further ones wait in the queue of the system.
const HANDSHAKES_MAX: usize = 256;
