//! `GET /health`: whether the server works and how much it has to do, as JSON.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rollback_signaling::PROTOCOL_VERSION;
use serde::Serialize;
use tokio::sync::oneshot;

use super::Door;
use crate::app::Request;
use crate::coordinator::Status;
use crate::relay::RelayStatus;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    protocol_version: u16,
    #[serde(flatten)]
    load: Status,
    /// Missing where there is no relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<RelayStatus>,
}

pub(crate) async fn health(State(door): State<Door>) -> Response {
    let (reply, answer) = oneshot::channel();
    if door.app.send(Request::Status { reply }).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match answer.await {
        Ok(load) => Json(Health {
            status: "ok",
            version: env!("CARGO_PKG_VERSION"),
            protocol_version: PROTOCOL_VERSION,
            load,
            relay: door.relay.as_ref().map(|relay| relay.status()),
        })
        .into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
