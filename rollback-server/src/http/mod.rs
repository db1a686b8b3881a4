//! The server as the world sees it: `/health`, and for each room one WebSocket link and one relay.

mod echo;
mod health;
mod listener;
mod relay;
mod room;
mod socket;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::listener::{PromptListener, Reached, TlsListener};
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

/// All paths of the server.
pub(crate) fn router(door: Door) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route("/{room}", any(room::room))
        .route("/{room}/relay", any(relay::relay))
        .route("/{room}/echo", any(echo::echo))
        .with_state(door)
}

/// What is read from a client at once, and taken for each socket: nearly all messages fit. The default is 128 KiB.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Sockets at once that only try the way to the relay.
pub(crate) const ECHOES_MAX: usize = 32;
