//! `/<room>/relay`: one relay socket. A text with the member's token, then binary messages both ways.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rollback_signaling::{
    ErrorCode, PROTOCOL_VERSION, RELAY_MESSAGE_BYTES_MAX, RelayJoin, RoomName, ServerMessage, Text,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::{Door, READ_BUFFER_BYTES};
use crate::app::Request;
use crate::relay::{Line, Next, Refusal, Relay};

pub(crate) async fn relay(
    State(door): State<Door>,
    name: Result<Path<String>, PathRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let room = name.ok().and_then(|Path(name)| RoomName::try_from(name).ok());
    let (Some(relay), Some(room)) = (door.relay.clone(), room) else {
        return (StatusCode::NOT_FOUND, "there is no relay here\n").into_response();
    };
    let Ok(upgrade) = upgrade else {
        return (StatusCode::UPGRADE_REQUIRED, "this is the relay of a rollback server\n")
            .into_response();
    };
    let Some(entry) = relay.enter() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the relay is full\n").into_response();
    };
    let sockets = door.sockets.clone();
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(RELAY_MESSAGE_BYTES_MAX)
        .max_frame_size(RELAY_MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| {
            sockets.track_future(async move {
                tokio::select! {
                    () = door.abort.cancelled() => {}
                    () = serve(socket, &room, &door, &relay) => {}
                }
                drop(entry);
            })
        })
}

async fn serve(mut socket: WebSocket, room: &RoomName, door: &Door, relay: &Arc<Relay>) {
    let line = match open(&mut socket, room, door).await {
        Ok(line) => line,
        Err(None) => return,
        Err(Some(refusal)) => {
            relay.count_refused();
            return say_why(&mut socket, refusal).await;
        }
    };
    let (mut sink, mut stream) = socket.split();
    let refusal = tokio::select! {
        refusal = read(&mut stream, &line) => refusal,
        refusal = write(&mut sink, &line) => refusal,
    };
    // The others hear of it before this member can come back.
    drop(line);
    if let Some(refusal) = refusal
        && let Ok(mut socket) = sink.reunite(stream)
    {
        say_why(&mut socket, refusal).await;
    }
}

/// Waits for the first message and makes the socket the relay of its member. `Err(None)` when the client went away.
async fn open(
    socket: &mut WebSocket,
    room: &RoomName,
    door: &Door,
) -> Result<Line, Option<Refusal>> {
    let refusal = |code, explanation| Some(Refusal { code, explanation });
    let text = match timeout(JOIN_TIMEOUT, socket.recv()).await {
        Err(_) => return Err(refusal(ErrorCode::TimedOut, "no token came in time")),
        Ok(Some(Ok(Message::Text(text)))) => text,
        Ok(None | Some(Err(_) | Ok(Message::Close(_)))) => return Err(None),
        Ok(Some(Ok(_))) => return Err(refusal(ErrorCode::BadMessage, "expected a text first")),
    };
    let join = RelayJoin::from_json(&text)
        .map_err(|_| refusal(ErrorCode::BadMessage, "expected a room and a token"))?;
    if join.protocol_version != PROTOCOL_VERSION {
        return Err(refusal(ErrorCode::UnsupportedVersion, "use the same release"));
    }
    if join.room != *room {
        return Err(refusal(ErrorCode::WrongRoom, "the link is for another room"));
    }
    let (reply, answer) = oneshot::channel();
    let stopping = || refusal(ErrorCode::ShuttingDown, "the server stops");
    door.app.send(Request::OpenRelay { join, reply }).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())?.map_err(Some)
}

/// Passes on what the member sends; answers why the socket is to be ended.
async fn read(stream: &mut SplitStream<WebSocket>, line: &Line) -> Option<Refusal> {
    loop {
        match timeout(SILENCE_MAX, stream.next()).await {
            Ok(Some(Ok(Message::Binary(message)))) => {
                if let Err(refusal) = line.pass(&message) {
                    return Some(refusal);
                }
            }
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
            Ok(Some(Ok(Message::Text(_)))) => {
                line.count_violation();
                let explanation = "expected binary messages after the first";
                return Some(Refusal { code: ErrorCode::BadMessage, explanation });
            }
            Ok(Some(Err(error))) if is_too_long(&error) => {
                line.count_violation();
                return None;
            }
            Err(_) | Ok(None | Some(Ok(Message::Close(_)) | Err(_))) => return None,
        }
    }
}

/// Writes what there is for the member; answers why the socket is to be ended.
async fn write(sink: &mut SplitSink<WebSocket, Message>, line: &Line) -> Option<Refusal> {
    let mut ping = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = match line.try_next() {
            Next::Send(message) => Message::Binary(message.into()),
            Next::End(refusal) => return Some(refusal),
            Next::Wait => tokio::select! {
                () = line.wait() => continue,
                _ = ping.tick() => Message::Ping(Vec::new().into()),
            },
        };
        if !matches!(timeout(WRITE_TIMEOUT, sink.send(message)).await, Ok(Ok(()))) {
            return None;
        }
    }
}

async fn say_why(socket: &mut WebSocket, refusal: Refusal) {
    let Refusal { code, explanation } = refusal;
    let message = Text::try_from(explanation.to_owned()).unwrap_or_default();
    let Ok(text) = ServerMessage::Error { code, message }.to_json() else { return };
    let goodbye = async {
        socket.send(Message::Text(text.into())).await?;
        socket.send(Message::Close(None)).await
    };
    let _ = timeout(GOODBYE_TIMEOUT, goodbye).await;
}

/// Whether a socket ended because of a message above its limit. Its library says so in words only.
fn is_too_long(error: &axum::Error) -> bool {
    error.to_string().contains("too long")
}

/// How long a client may take to show its token.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one message may take to go into the socket's buffer before the member counts as dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a refused client may take to read why.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a member is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long a member may be silent, pongs included. Its own pings come every two seconds, and a member
/// that lost its network comes back with another socket long before.
const SILENCE_MAX: Duration = Duration::from_secs(15);
