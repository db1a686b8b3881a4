//! The way to the server of a link, step by step, and what it says about the room.

use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use rollback_signaling::{
    ClientMessage, ErrorCode, MESSAGE_BYTES_MAX, PROTOCOL_VERSION, ServerMessage,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::finding::{Finding, Millis, Outcome, Part};
use super::stun::is_public;
use crate::ice::IceServer;
use crate::link::RoomLink;
use crate::proxy::{self, ProxyChoice};
use crate::tcp::connect;
use crate::tls::Trust;
use crate::websocket::{Place, SEND_BUFFER_BYTES};

/// What the server offers.
#[derive(Debug, Default)]
pub(super) struct Offered {
    pub(super) ice_servers: Vec<IceServer>,
    /// Whether it carries what members cannot send each other in another way.
    pub(super) relay: bool,
    /// Whether it is at an address of this computer or of its network. What is behind a proxy is not.
    pub(super) is_local: bool,
}

/// A step that did not succeed: its name, and why.
struct Failure(&'static str, String);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Goes to the server and asks about the room. `None` when there is no answer; `findings` says where it ended.
pub(super) async fn examine(
    link: &RoomLink,
    (proxy, trust): (&ProxyChoice, &Trust),
    findings: &mut Vec<Finding>,
) -> Option<Offered> {
    let end = Instant::now() + SERVER_TIMEOUT;
    match steps(link, (proxy, trust), findings, end).await {
        Ok(offered) => Some(offered),
        Err(Failure(name, reason)) => {
            findings.push(Finding::new(Part::Server, name, Outcome::Bad, reason));
            None
        }
    }
}

async fn steps(
    link: &RoomLink,
    (proxy, trust): (&ProxyChoice, &Trust),
    findings: &mut Vec<Finding>,
    end: Instant,
) -> Result<Offered, Failure> {
    let place = Place::of(link.url(), proxy).map_err(|error| Failure(PROXY, error.to_string()))?;
    let (stream, is_local) = reach(&place, findings, end).await?;
    let stream = match place.is_secure {
        true => secure(stream, &place, (trust, &mut *findings), end).await?,
        false => stream,
    };
    let mut socket = upgrade(stream, place.request, end).await?;
    let started = Instant::now();
    let question =
        ClientMessage::Examine { protocol_version: PROTOCOL_VERSION, room: link.room().clone() };
    let question = question.to_json().map_err(|error| Failure(ROOM, error.to_string()))?;
    within(end, ROOM, socket.send(Message::text(question))).await?;
    let mut offered = Offered { is_local, ..Offered::default() };
    let examined = hear(&mut socket, &mut offered, end).await?;
    let took = Millis(started.elapsed());
    let ServerMessage::Examined {
        version,
        unix_secs,
        expected,
        begins_with,
        waiting,
        playing,
        relay,
    } = examined
    else {
        return Err(Failure(ROOM, "the server does not speak this protocol".to_owned()));
    };
    offered.relay = relay;
    let members = if expected == 1 { "member" } else { "members" };
    let groups = if playing == 1 { "group plays" } else { "groups play" };
    let room = link.room();
    let begin = match begins_with < expected {
        true => format!(", who begin when {begins_with} are there"),
        false => String::new(),
    };
    let text = format!(
        "{room} is for {expected} {members}{begin}; {waiting} wait, {playing} {groups}; asked in {took}"
    );
    findings.push(good(ROOM, text));
    let own = env!("CARGO_PKG_VERSION");
    let text = match version.as_str() == own {
        true => format!("{own}, as here"),
        false => format!("{version}, here {own}; they understand each other"),
    };
    findings.push(good("version", text));
    findings.push(clock(unix_secs));
    Ok(offered)
}

/// A stream to the server, or through the proxy to it, and whether the server is of this network.
async fn reach(
    place: &Place,
    findings: &mut Vec<Finding>,
    end: Instant,
) -> Result<(Box<dyn Stream>, bool), Failure> {
    let (host, port) = match &place.proxy {
        Some(proxy) => proxy.address(),
        None => place.address(),
    };
    let started = Instant::now();
    let found = within(end, NAME, lookup_host((host, port))).await?;
    let addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
    let Some(first) = addresses.first() else {
        return Err(Failure(NAME, format!("{host} has no address")));
    };
    if first != host {
        let more = match addresses.len() {
            1 => String::new(),
            several => format!(" and {} more", several - 1),
        };
        let took = Millis(started.elapsed());
        findings.push(good(NAME, format!("{host} is {first}{more}, known after {took}")));
    }
    let started = Instant::now();
    let mut stream = within(end, TCP, connect((host, port), SEND_BUFFER_BYTES)).await?;
    let took = Millis(started.elapsed());
    findings.push(good(TCP, format!("{host} port {port} answers in {took}")));
    let is_near = stream.peer_addr().is_ok_and(|server| !is_public(server.ip()));
    if let Some(proxy) = &place.proxy {
        within(end, PROXY, proxy::ask(&mut stream, proxy, place.target())).await?;
        findings.push(good(PROXY, format!("{proxy:?} gives a way to {}", place.host)));
    }
    Ok((Box::new(stream), is_near && place.proxy.is_none()))
}

async fn secure(
    stream: Box<dyn Stream>,
    place: &Place,
    (trust, findings): (&Trust, &mut Vec<Finding>),
    end: Instant,
) -> Result<Box<dyn Stream>, Failure> {
    let config = trust.config().map_err(|error| Failure(TLS, error.to_string()))?;
    let name = ServerName::try_from(place.address().0.to_owned())
        .map_err(|error| Failure(TLS, error.to_string()))?;
    let started = Instant::now();
    let secured = within(end, TLS, TlsConnector::from(config).connect(name, stream)).await?;
    let took = Millis(started.elapsed());
    findings.push(good(TLS, format!("the certificate is trusted, {took}")));
    Ok(Box::new(secured))
}

async fn upgrade(
    stream: Box<dyn Stream>,
    request: Request,
    end: Instant,
) -> Result<WebSocketStream<Box<dyn Stream>>, Failure> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match timeout_at(end, client_async_with_config(request, stream, Some(limits))).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => {
            let text = format!("it answers {}: no rollback server is there", response.status());
            Err(Failure(ROOM, text))
        }
        Ok(Err(error)) => Err(Failure(ROOM, error.to_string())),
        Err(_) => Err(late(ROOM)),
    }
}

/// Takes what the server says until it has answered.
async fn hear(
    socket: &mut WebSocketStream<Box<dyn Stream>>,
    offered: &mut Offered,
    end: Instant,
) -> Result<ServerMessage, Failure> {
    for _ in 0..MESSAGES_MAX {
        let text = match timeout_at(end, socket.next()).await {
            Err(_) => return Err(late(ROOM)),
            Ok(None | Some(Ok(Message::Close(_)))) => break,
            Ok(Some(Err(error))) => return Err(Failure(ROOM, error.to_string())),
            Ok(Some(Ok(Message::Text(text)))) => text,
            Ok(Some(Ok(_))) => continue,
        };
        let message = ServerMessage::from_json(&text).map_err(|error| {
            Failure(ROOM, format!("the server does not speak this protocol: {error}"))
        })?;
        match message {
            ServerMessage::IceServers { servers, .. } => {
                let server = |server: &rollback_signaling::OfferedIceServer| IceServer {
                    url: server.url.as_str().to_owned(),
                    username: server.username.as_str().to_owned(),
                    credential: server.credential.as_str().to_owned(),
                };
                offered.ice_servers = servers.as_slice().iter().map(server).collect();
            }
            ServerMessage::Error { code: ErrorCode::BadMessage, .. } => {
                let text = "the server cannot be asked: it is of an older release";
                return Err(Failure(ROOM, text.to_owned()));
            }
            ServerMessage::Error { message, .. } => {
                return Err(Failure(ROOM, format!("the server refuses: {message}")));
            }
            message => return Ok(message),
        }
    }
    Err(Failure(ROOM, "the server ends the connection without an answer".to_owned()))
}

/// Certificates and credentials end by the time of day.
fn clock(unix_secs: u64) -> Finding {
    let own = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let apart = own.abs_diff(unix_secs);
    let (outcome, text) = match apart {
        0..=CLOCKS_APART_MAX => (Outcome::Good, format!("{apart} s apart")),
        _ => {
            let text =
                format!("{apart} s apart: one is wrong; certificates and credentials end by it");
            (Outcome::Note, text)
        }
    };
    Finding::new(Part::Server, "clock", outcome, text)
}

fn good(name: &str, text: String) -> Finding {
    Finding::new(Part::Server, name, Outcome::Good, text)
}

async fn within<T, E: Display>(
    end: Instant,
    name: &'static str,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match timeout_at(end, step).await {
        Ok(result) => result.map_err(|error| Failure(name, error.to_string())),
        Err(_) => Err(late(name)),
    }
}

fn late(name: &'static str) -> Failure {
    Failure(name, format!("no answer within {} s", SERVER_TIMEOUT.as_secs()))
}

/// Names of the steps.
const NAME: &str = "name";
const PROXY: &str = "proxy";
const TCP: &str = "tcp";
const TLS: &str = "tls";
const ROOM: &str = "room";

/// How long all steps together may take.
const SERVER_TIMEOUT: Duration = Duration::from_secs(4);

/// Messages of the server that are looked at; an honest one sends two.
const MESSAGES_MAX: usize = 8;

/// Seconds by which clocks may differ without harm.
const CLOCKS_APART_MAX: u64 = 30;
