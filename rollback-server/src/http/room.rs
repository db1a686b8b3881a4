//! `/<room>`: the link that people pass on, which is itself the address of the WebSocket.

use axum::extract::rejection::PathRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, Path, State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rollback_signaling::{MESSAGE_BYTES_MAX, RoomName};

use super::{Door, READ_BUFFER_BYTES, Reached, socket};

pub(crate) async fn room(
    State(door): State<Door>,
    ConnectInfo(reached): ConnectInfo<Reached>,
    name: Result<Path<String>, PathRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(Path(name)) = name else {
        return (StatusCode::NOT_FOUND, "no room has such a name\n").into_response();
    };
    let room = match RoomName::try_from(name) {
        Ok(room) => room,
        Err(error) => return (StatusCode::NOT_FOUND, format!("{error}\n")).into_response(),
    };
    let Ok(upgrade) = upgrade else {
        let text = format!(
            "This is room {room} of a rollback server. Give this link to a rollback client, with \
             ws:// or wss:// in front.\n"
        );
        return (StatusCode::UPGRADE_REQUIRED, text).into_response();
    };
    let sockets = door.sockets.clone();
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(SOCKET_MESSAGE_BYTES_MAX)
        .max_frame_size(SOCKET_MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| sockets.track_future(socket::serve(socket, room, reached, door)))
}

/// Longest message that the socket reads at all. A message above [`MESSAGE_BYTES_MAX`] but not
/// above this gets an answer that says so; with a longer one the connection just ends.
const SOCKET_MESSAGE_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
