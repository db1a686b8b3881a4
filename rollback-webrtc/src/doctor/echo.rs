//! The way through the server: datagrams over a WebSocket that sends them back.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rollback_signaling::RELAY_DATAGRAM_BYTES_MAX;
use tokio::time::{Instant, interval, timeout, timeout_at};
use tokio_tungstenite::tungstenite::{self, Message};

use super::finding::Trip;
use super::loopback::{DATAGRAM_BYTES, DATAGRAM_INTERVAL, DATAGRAMS, LATEST};
use crate::link::RoomLink;
use crate::proxy::ProxyChoice;
use crate::tls::Trust;
use crate::websocket::{OpenError, open};

/// Sends datagrams to the server, which sends them back.
pub(super) async fn echo(
    link: &RoomLink,
    (proxy, trust): (&ProxyChoice, &Trust),
) -> Result<Trip, String> {
    let url = link.echo_url();
    let opening = open(&url, (proxy, trust), RELAY_DATAGRAM_BYTES_MAX);
    let socket = match timeout(OPEN_TIMEOUT, opening).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(reason(&error)),
        Err(_) => return Err(format!("no answer within {OPEN_TIMEOUT:?}")),
    };
    let (mut sink, mut stream) = socket.split();
    let origin = Instant::now();
    let mut sent_at = [None; DATAGRAMS as usize];
    let mut delays = Vec::new();
    let mut every = interval(DATAGRAM_INTERVAL);
    let end = origin + DATAGRAM_INTERVAL * u32::from(DATAGRAMS) + LATEST;
    let mut number = 0;
    while delays.len() < usize::from(DATAGRAMS) {
        tokio::select! {
            _ = every.tick(), if number < DATAGRAMS => {
                if let Some(at) = sent_at.get_mut(usize::from(number)) {
                    *at = Some(Instant::now());
                }
                number += 1;
                let datagram = Message::binary(vec![number - 1; DATAGRAM_BYTES]);
                let sent = timeout_at(end, sink.send(datagram)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return Err("the server takes nothing".to_owned());
                }
            }
            came = timeout_at(end, stream.next()) => match came {
                Ok(Some(Ok(Message::Binary(datagram)))) => {
                    // Each counts once, whatever the server sends.
                    let first = datagram.first().map(|first| usize::from(*first));
                    let at = first.and_then(|first| sent_at.get_mut(first)?.take());
                    delays.extend(at.map(|at| at.elapsed()));
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Err(format!("the socket ended: {error}")),
                Ok(None) => return Err("the server closed the socket".to_owned()),
                Err(_) => break,
            },
        }
    }
    let _ = timeout(LATEST, sink.close()).await;
    Ok(Trip::of(DATAGRAMS.into(), delays))
}

fn reason(error: &OpenError) -> String {
    match error {
        OpenError::Server(tungstenite::Error::Http(response)) => match response.status().as_u16() {
            404 => "the server carries nothing between members (404)".to_owned(),
            503 => "too many try it now (503)".to_owned(),
            _ => format!("the server answers {}", response.status()),
        },
        error => error.to_string(),
    }
}

/// How long it may take to get the socket.
const OPEN_TIMEOUT: Duration = Duration::from_secs(4);
