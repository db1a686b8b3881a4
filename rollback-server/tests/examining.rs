//! What one hears who asks about a room without joining it, and how little that costs the server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its expectation does")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rollback_server::{
    BackgroundServer, ClientId, Command, Coordinator, Effect, Entropy, GroupSize, IceOffer, Rooms,
    ServerConfig, Status,
};
use rollback_signaling::{
    ClientMessage, ErrorCode, Join, PROTOCOL_VERSION, RELAY_DATAGRAM_BYTES_MAX, RELAY_ECHOES_MAX,
    RoomName, ServerMessage, Text, Token,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longest time that anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn room(name: &str) -> RoomName {
    name.parse().unwrap()
}

fn config() -> ServerConfig {
    let ice = IceOffer { stun_urls: vec!["stun:s".to_owned()], ..IceOffer::none() };
    ServerConfig { ice, ..ServerConfig::new(Rooms::Any(GroupSize::try_from(2).unwrap())) }
}

fn connect(server: &mut Coordinator, client: u64) {
    let command = Command::Connected { client: ClientId::new(client), room: room("kitchen") };
    assert_eq!(server.handle(Duration::ZERO, command), []);
}

fn enter(server: &mut Coordinator, client: u64) {
    connect(server, client);
    let join = Join {
        protocol_version: PROTOCOL_VERSION,
        room: room("kitchen"),
        token: None,
        name: None,
        incarnation: client,
        settings: Text::default(),
        watch: false,
    };
    let number = u8::try_from(client).unwrap();
    let entropy = Entropy { token: Token::from_bytes([number; 16]), session_id: client, seed: 3 };
    let client = ClientId::new(client);
    let _ = server.handle(Duration::ZERO, Command::Join { client, join: Box::new(join), entropy });
}

fn examine(server: &mut Coordinator, client: u64, version: u16, name: &str) -> Vec<Effect> {
    let command = Command::Examine {
        client: ClientId::new(client),
        protocol_version: version,
        room: room(name),
        unix_secs: 1_700_000_000,
    };
    server.handle(Duration::ZERO, command)
}

fn refusal(effects: &[Effect]) -> ErrorCode {
    match effects {
        [Effect::Send { message: ServerMessage::Error { code, .. }, .. }, Effect::Close { .. }] => {
            *code
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn load(server: &Coordinator) -> (usize, usize, usize) {
    let Status { connections, groups, members, .. } = server.status();
    (connections, groups, members)
}

#[test]
fn whoever_asks_is_told_what_there_is_and_takes_no_slot() {
    let mut server = Coordinator::new(config());
    for client in 1..=3 {
        enter(&mut server, client);
    }
    let before = load(&server);
    connect(&mut server, 9);
    let client = ClientId::new(9);
    let who = "examination-9".to_owned();
    let message = ServerMessage::Examined {
        version: env!("CARGO_PKG_VERSION").to_owned().try_into().unwrap(),
        unix_secs: 1_700_000_000,
        expected: 2,
        begins_with: 2,
        waiting: 1,
        playing: 1,
        relay: true,
    };
    // Nothing is for anybody else.
    let expected = [
        Effect::OfferIceServers { client, who, valid: Duration::from_secs(60) },
        Effect::Send { client, message },
        Effect::Close { client },
    ];
    assert_eq!(examine(&mut server, 9, PROTOCOL_VERSION, "kitchen"), expected);
    assert_eq!(load(&server), before);
    assert_eq!(examine(&mut server, 9, PROTOCOL_VERSION, "kitchen"), []);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut server = Coordinator::new(config());
    connect(&mut server, 1);
    let other = examine(&mut server, 1, PROTOCOL_VERSION - 1, "kitchen");
    assert_eq!(refusal(&other), ErrorCode::UnsupportedVersion);
    connect(&mut server, 2);
    assert_eq!(refusal(&examine(&mut server, 2, PROTOCOL_VERSION, "hall")), ErrorCode::WrongRoom);
    enter(&mut server, 3);
    let member = examine(&mut server, 3, PROTOCOL_VERSION, "kitchen");
    assert_eq!(refusal(&member), ErrorCode::OutOfOrder);
}

#[test]
fn all_who_ask_have_one_allowance_and_members_have_none_of_it() {
    let mut server = Coordinator::new(config());
    let mut ask = |client| {
        connect(&mut server, client);
        examine(&mut server, client, PROTOCOL_VERSION, "kitchen")
    };
    let answered = (10..110).take_while(|client| ask(*client).len() == 3).count();
    assert_eq!(answered, 32);
    assert_eq!(refusal(&ask(200)), ErrorCode::RateLimited);
    enter(&mut server, 201);
    assert_eq!(load(&server), (1, 1, 1));
    assert_eq!(server.status().since_start.examinations, 32);
}

fn start(config: ServerConfig) -> BackgroundServer {
    BackgroundServer::start("127.0.0.1:0".parse().unwrap(), config).unwrap()
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(server: &BackgroundServer, path: &str) -> Result<Socket, u16> {
    match connect_async(format!("ws://{}/{path}", server.local_addr())).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(other) => panic!("expected a socket, got {other}"),
    }
}

async fn hear(socket: &mut Socket) -> Option<Message> {
    match timeout(PATIENCE, socket.next()).await.unwrap() {
        Some(Ok(message)) if !message.is_close() => Some(message),
        _ => None,
    }
}

#[tokio::test]
async fn an_examination_ends_its_connection() {
    let server = start(config());
    let mut socket = open(&server, "kitchen").await.unwrap();
    let question =
        ClientMessage::Examine { protocol_version: PROTOCOL_VERSION, room: room("kitchen") };
    socket.send(Message::text(question.to_json().unwrap())).await.unwrap();
    let mut told = Vec::new();
    while let Some(Message::Text(text)) = hear(&mut socket).await {
        told.push(ServerMessage::from_json(&text).unwrap());
    }
    let [ServerMessage::IceServers { valid_secs: 60, .. }, ServerMessage::Examined { .. }] =
        told.as_slice()
    else {
        panic!("{told:?}")
    };
}

#[tokio::test]
async fn datagrams_come_back_and_not_without_end() {
    let server = start(config());
    let mut socket = open(&server, "kitchen/echo").await.unwrap();
    let longest = Message::binary(vec![7; RELAY_DATAGRAM_BYTES_MAX]);
    for _ in 0..RELAY_ECHOES_MAX {
        socket.send(longest.clone()).await.unwrap();
        assert_eq!(hear(&mut socket).await, Some(longest.clone()));
    }
    assert_eq!(hear(&mut socket).await, None);
    let too_long = Message::binary(vec![7; RELAY_DATAGRAM_BYTES_MAX + 1]);
    for nonsense in [Message::text("hello"), too_long] {
        let mut socket = open(&server, "kitchen/echo").await.unwrap();
        socket.send(nonsense).await.unwrap();
        assert_eq!(hear(&mut socket).await, None);
    }
}

#[tokio::test]
async fn so_many_may_try_at_once_and_no_more() {
    let server = start(config());
    let mut open_ones = Vec::new();
    for _ in 0..32 {
        open_ones.push(open(&server, "kitchen/echo").await.unwrap());
    }
    assert_eq!(open(&server, "kitchen/echo").await.err(), Some(503));
    let mut first = open_ones.remove(0);
    first.close(None).await.unwrap();
    while hear(&mut first).await.is_some() {}
    drop(first);
    let again = async {
        while open(&server, "kitchen/echo").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
    assert_eq!(open(&server, "KITCHEN/echo").await.err(), Some(404));
    let without = start(ServerConfig { relay: false, ..config() });
    assert_eq!(open(&without, "kitchen/echo").await.err(), Some(404));
}
