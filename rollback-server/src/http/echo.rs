//! `/<room>/echo`: sends datagrams back, for those who try the way that the relay would take. It needs no token, and
//! keeps nothing of whoever comes.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rollback_signaling::{RELAY_DATAGRAM_BYTES_MAX, RELAY_ECHOES_MAX, RoomName};
use tokio::time::timeout;

use super::Door;

pub(crate) async fn echo(
    State(door): State<Door>,
    name: Result<Path<String>, PathRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let is_room = name.is_ok_and(|Path(name)| RoomName::try_from(name).is_ok());
    if door.relay.is_none() || !is_room {
        return (StatusCode::NOT_FOUND, "there is no relay here\n").into_response();
    }
    let Ok(upgrade) = upgrade else {
        return (StatusCode::UPGRADE_REQUIRED, "this is the echo of a rollback server\n")
            .into_response();
    };
    let Ok(permit) = door.echoes.try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many try the relay now\n").into_response();
    };
    let (sockets, abort) = (door.sockets, door.abort);
    upgrade
        .max_message_size(RELAY_DATAGRAM_BYTES_MAX)
        .max_frame_size(RELAY_DATAGRAM_BYTES_MAX)
        .on_upgrade(move |socket| {
            sockets.track_future(async move {
                tokio::select! {
                    () = abort.cancelled() => {}
                    _ = timeout(ECHO_TIME, send_back(socket)) => {}
                }
                drop(permit);
            })
        })
}

/// Ends with the first thing that is no datagram, or when there were enough.
async fn send_back(mut socket: WebSocket) {
    for _ in 0..RELAY_ECHOES_MAX {
        match socket.recv().await {
            Some(Ok(datagram @ Message::Binary(_))) => {
                if socket.send(datagram).await.is_err() {
                    return;
                }
            }
            _ => break,
        }
    }
    let _ = socket.send(Message::Close(None)).await;
}

/// How long all of it may take.
const ECHO_TIME: Duration = Duration::from_secs(15);
