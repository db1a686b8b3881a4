//! The server as the world sees it: `/health`, and for each room one WebSocket link and one relay.

mod echo;
mod health;
mod relay;
mod room;
mod socket;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::routing::{any, get};
use axum::serve::{IncomingStream, Listener};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::Request;
use crate::relay::Relay;

/// What every handler needs.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) app: mpsc::Sender<Request>,
    /// What members without a better way send each other; `None` where that is not wanted.
    pub(crate) relay: Option<Arc<Relay>>,
    /// As many sockets may be open that only try the way to the relay.
    pub(crate) echoes: Arc<Semaphore>,
    /// Counts the sockets still open, so that a stop can wait for them.
    pub(crate) sockets: TaskTracker,
    /// Ends sockets that do not end by themselves when the server stops.
    pub(crate) abort: CancellationToken,
}

/// The address of this computer that a client reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached(pub(crate) Option<IpAddr>);

impl Connected<IncomingStream<'_, PromptListener>> for Reached {
    fn connect_info(stream: IncomingStream<'_, PromptListener>) -> Self {
        Self(stream.io().local_addr().ok().map(|address| address.ip().to_canonical()))
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

/// All paths of the server.
pub(crate) fn router(door: Door) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route("/{room}", any(room::room))
        .route("/{room}/relay", any(relay::relay))
        .route("/{room}/echo", any(echo::echo))
        .with_state(door)
}

/// What the system may hold of what was not even sent once, where it can be told: some datagrams. Without this an outage of
/// seconds would be followed by all that fits into the buffer (rule R5).
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES: u32 = 4 * 1024;

/// What is read from a client at once, and taken for each socket: nearly all messages fit. The default is 128 KiB.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Sockets at once that only try the way to the relay.
pub(crate) const ECHOES_MAX: usize = 32;

/// What the system may hold of what was sent to one client: datagrams are to wait in the relay's queue, where the
/// oldest are dropped, and not in the system's buffer of megabytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
