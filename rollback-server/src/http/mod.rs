//! The server as the world sees it: `/health` and one WebSocket link for each room.

mod health;
mod room;
mod socket;

use axum::Router;
use axum::routing::{any, get};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::Request;

/// What every handler needs.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) app: mpsc::Sender<Request>,
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
        .with_state(door)
}
