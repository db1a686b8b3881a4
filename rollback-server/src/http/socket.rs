//! One signaling WebSocket: text in both directions, pings, and an end in bounded time.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use rollback_signaling::{ClientMessage, RoomName, ServerMessage};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::{Door, Reached};
use crate::app::Request;
use crate::command::ClientId;

/// Serves one socket until either side ends it.
pub(crate) async fn serve(mut socket: WebSocket, room: RoomName, reached: Reached, door: Door) {
    let (outbox, mut sends) = mpsc::channel(OUTBOX_MESSAGES);
    let (reply, answer) = oneshot::channel();
    if door.app.send(Request::Connected { room, reached: reached.0, outbox, reply }).await.is_err()
    {
        return;
    }
    let Ok(client) = answer.await else { return };
    tokio::select! {
        () = door.abort.cancelled() => {}
        () = pass_messages(&mut socket, client, &mut sends, &door) => {}
    }
    // Not before the socket is done with: the app may say the last words itself.
    let _ = door.app.send(Request::Disconnected { client }).await;
}

/// Ends when the socket fails, the client closes it or is silent for too long, or the app has
/// dropped the outbox and all that was in it is sent.
async fn pass_messages(
    socket: &mut WebSocket,
    client: ClientId,
    sends: &mut mpsc::Receiver<ServerMessage>,
    door: &Door,
) {
    let mut ping = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard_at = Instant::now();
    let mut is_reading = true;
    loop {
        tokio::select! {
            message = sends.recv() => match message {
                Some(message) => if !send(socket, message).await { break },
                None => {
                    let _ = timeout(WRITE_TIMEOUT, socket.send(Message::Close(None))).await;
                    return;
                }
            },
            incoming = socket.recv(), if is_reading => {
                heard_at = Instant::now();
                match read(incoming, client) {
                    Heard::Request(request) => {
                        // Nothing after the first nonsense is looked at.
                        is_reading = !matches!(request, Request::SaidNonsense { .. });
                        // When the app has stopped, its last words are still to be sent.
                        is_reading &= door.app.send(request).await.is_ok();
                    }
                    Heard::Nothing => {}
                    Heard::End => return,
                }
            }
            _ = ping.tick() => {
                if heard_at.elapsed() >= SILENCE_MAX { return }
                let ping = socket.send(Message::Ping(Vec::new().into()));
                if !matches!(timeout(WRITE_TIMEOUT, ping).await, Ok(Ok(()))) { break }
            }
        }
    }
    if is_reading {
        let _ = timeout(LAST_WORDS_MAX, read_out(socket, client, door)).await;
    }
}

/// Takes what a client said before it went. Its socket fails to write as soon as it is gone, but its
/// `leave` may be unread then, and without that it would be away and not have left.
async fn read_out(socket: &mut WebSocket, client: ClientId, door: &Door) {
    loop {
        match read(socket.recv().await, client) {
            Heard::Request(request) => {
                let is_nonsense = matches!(request, Request::SaidNonsense { .. });
                if door.app.send(request).await.is_err() || is_nonsense {
                    return;
                }
            }
            Heard::Nothing => {}
            Heard::End => return,
        }
    }
}

enum Heard {
    Request(Request),
    Nothing,
    End,
}

fn read(incoming: Option<Result<Message, axum::Error>>, client: ClientId) -> Heard {
    let nonsense = |error: String| Heard::Request(Request::SaidNonsense { client, error });
    match incoming {
        Some(Ok(Message::Text(text))) => match ClientMessage::from_json(&text) {
            Ok(message) => Heard::Request(Request::Said { client, message }),
            Err(error) => nonsense(error.to_string()),
        },
        Some(Ok(Message::Binary(_))) => nonsense("expected text, got binary data".to_owned()),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Heard::Nothing,
        Some(Ok(Message::Close(_)) | Err(_)) | None => Heard::End,
    }
}

async fn send(socket: &mut WebSocket, message: ServerMessage) -> bool {
    match message.to_json() {
        Ok(text) => matches!(
            timeout(WRITE_TIMEOUT, socket.send(Message::Text(text.into()))).await,
            Ok(Ok(()))
        ),
        Err(error) => {
            tracing::error!(%error, "a message of this server is too long");
            false
        }
    }
}

/// Messages that may wait for one client to read. Seven others that connect at once send it about
/// eighty; a client that has five times as many waiting does not read.
const OUTBOX_MESSAGES: usize = 400;

/// How long one message may take to go into the socket's buffer before the client counts as dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client to which nothing can be written is still read; what it said is here already.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// How often a client is pinged; below the 60 s after which usual proxies close an idle socket.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long a client may be silent, pongs included: two lost pings.
const SILENCE_MAX: Duration = Duration::from_secs(50);
