//! The connection to the signaling server: joins, returns with the token after each loss, and passes
//! messages both ways. It does not know what the messages are for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rollback_signaling::{ClientMessage, ErrorCode, Join, MESSAGE_BYTES_MAX, ServerMessage};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::link::RoomLink;
use crate::proxy::ProxyChoice;
use crate::tls::Trust;
use crate::websocket::{OpenError, open};

/// What the mesh learns from the connection.
#[derive(Debug)]
pub(crate) enum SignalingEvent {
    /// A message of the server, never an error.
    Message(ServerMessage),
    /// The connection is lost, or could not be made; another try follows.
    Lost { reason: String },
    /// The server refuses this client for good. It is the last event.
    Refused { code: ErrorCode, message: String },
    /// The other end does not speak this protocol. It is the last event.
    Foreign { reason: String },
}

/// The connection's state between tries.
pub(crate) struct SignalingClient {
    link: RoomLink,
    proxy: ProxyChoice,
    trust: Arc<Trust>,
    join: Join,
    /// Whether the token is of a group that is not complete yet. When the server does not know it
    /// any more, because it waited for too long or is another process, joining anew loses nothing.
    may_join_anew: bool,
    backoff: Backoff,
    incoming: mpsc::Sender<SignalingEvent>,
    outgoing: mpsc::Receiver<ClientMessage>,
    /// Whether it keeps its slot when it ends.
    stays: Arc<AtomicBool>,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    Lost(String),
    Refused {
        code: ErrorCode,
        message: String,
    },
    Foreign(String),
    /// The mesh does not listen any more, or wants to end.
    Closed,
}

impl SignalingClient {
    /// A client that joins with `join` and draws its jitter from `seed`.
    pub(crate) fn new(
        (link, proxy, trust): (RoomLink, ProxyChoice, Arc<Trust>),
        join: Join,
        seed: u64,
        (incoming, outgoing): (mpsc::Sender<SignalingEvent>, mpsc::Receiver<ClientMessage>),
        stays: Arc<AtomicBool>,
    ) -> Self {
        let backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, seed);
        Self { link, proxy, trust, join, may_join_anew: false, backoff, incoming, outgoing, stays }
    }

    /// Connects, and connects again after each loss, until `close`, after which the server is told
    /// that this member leaves.
    pub(crate) async fn run(mut self, close: CancellationToken) {
        loop {
            let end = self.connect_and_serve(&close).await;
            let event = match end {
                End::Closed => return,
                End::Lost(reason) => SignalingEvent::Lost { reason },
                End::Refused { code, message } if self.is_temporary(code) => {
                    SignalingEvent::Lost { reason: message }
                }
                End::Refused { code, message } => {
                    let _ = self.incoming.send(SignalingEvent::Refused { code, message }).await;
                    return;
                }
                End::Foreign(reason) => {
                    let _ = self.incoming.send(SignalingEvent::Foreign { reason }).await;
                    return;
                }
            };
            if self.incoming.send(event).await.is_err() {
                return;
            }
            let delay = self.backoff.next_delay();
            tokio::select! {
                () = close.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    async fn connect_and_serve(&mut self, close: &CancellationToken) -> End {
        let opening = open(self.link.url(), (&self.proxy, &self.trust), MESSAGE_BYTES_MAX);
        let connecting = timeout(CONNECT_TIMEOUT, opening);
        let connected = tokio::select! {
            () = close.cancelled() => return End::Closed,
            connected = connecting => connected,
        };
        let mut socket = match connected {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return connect_error(&error),
            Err(_) => return End::Lost(format!("no answer within {CONNECT_TIMEOUT:?}")),
        };
        // What was meant for the time before is stale: whoever waits for it has given up.
        while self.outgoing.try_recv().is_ok() {}
        let end = match self.send(&mut socket, &ClientMessage::Join(self.join.clone())).await {
            Ok(()) => self.serve(&mut socket, close).await,
            Err(end) => end,
        };
        if matches!(end, End::Closed) && !self.stays.load(Ordering::Acquire) {
            // The server frees the slot at once instead of waiting for a return.
            let _ = self.send(&mut socket, &ClientMessage::Leave {}).await;
        }
        let _ = timeout(WRITE_TIMEOUT, socket.close(None)).await;
        end
    }

    async fn serve(
        &mut self,
        socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>,
        close: &CancellationToken,
    ) -> End {
        loop {
            tokio::select! {
                () = close.cancelled() => return End::Closed,
                message = self.outgoing.recv() => match message {
                    Some(message) => if let Err(end) = self.send(socket, &message).await {
                        return end;
                    },
                    None => return End::Closed,
                },
                received = timeout(SILENCE_MAX, socket.next()) => {
                    let text = match received {
                        Err(_) => return End::Lost("the server is silent".to_owned()),
                        Ok(None) => return End::Lost("the server closed the connection".to_owned()),
                        Ok(Some(Err(error))) => return End::Lost(error.to_string()),
                        Ok(Some(Ok(Message::Text(text)))) => text,
                        Ok(Some(Ok(Message::Binary(_)))) => {
                            return End::Foreign("it sends binary messages".to_owned());
                        }
                        Ok(Some(Ok(_))) => continue,
                    };
                    if let Some(end) = self.hear(&text).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Takes a text of the server; `Some` when it ends the connection.
    pub(crate) async fn hear(&mut self, text: &str) -> Option<End> {
        let message = match ServerMessage::from_json(text) {
            Ok(message) => message,
            Err(error) => return Some(End::Foreign(error.to_string())),
        };
        match &message {
            ServerMessage::Error { code, message } => {
                return Some(End::Refused { code: *code, message: message.as_str().to_owned() });
            }
            ServerMessage::Joined { token, .. } => {
                self.may_join_anew = self.join.token.is_none() || self.may_join_anew;
                self.join.token = Some(*token);
                self.backoff.reset();
            }
            ServerMessage::Ready { .. } => self.may_join_anew = false,
            _ => {}
        }
        let sent = self.incoming.send(SignalingEvent::Message(message)).await;
        sent.is_err().then_some(End::Closed)
    }

    fn is_temporary(&mut self, code: ErrorCode) -> bool {
        if code == ErrorCode::UnknownToken && self.may_join_anew {
            self.join.token = None;
            return true;
        }
        code.is_temporary()
    }

    async fn send(
        &self,
        socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>,
        message: &ClientMessage,
    ) -> Result<(), End> {
        let text = message.to_json().map_err(|error| End::Lost(error.to_string()))?;
        match timeout(WRITE_TIMEOUT, socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(error.to_string())),
            Err(_) => Err(End::Lost("the server does not read".to_owned())),
        }
    }
}

fn connect_error(error: &OpenError) -> End {
    match error {
        OpenError::Server(tungstenite::Error::Http(response)) if error.is_final() => {
            End::Foreign(format!("it answers {}", response.status()))
        }
        error if error.is_final() => End::Foreign(error.to_string()),
        error => End::Lost(error.to_string()),
    }
}

/// First delay before connecting again.
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// Longest delay before connecting again: a server that restarts has its members back soon, and a
/// hundred clients of a dead one are seven tries a second.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// How long one try to connect may take, DNS and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one message may take to go into the socket's buffer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server may be silent. It pings every 20 s.
const SILENCE_MAX: Duration = Duration::from_secs(50);
