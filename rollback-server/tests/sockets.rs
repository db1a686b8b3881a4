//! The server behind real sockets: the link, what hostile clients can do, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rollback_server::{BackgroundServer, GroupSize, Rooms, ServerConfig};
use rollback_signaling::{
    AttemptId, ClientMessage, ErrorCode, Join, MESSAGE_BYTES_MAX, PROTOCOL_VERSION, ServerMessage,
    SignalPayload, Text, Token,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Longest time that anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn server_with(config: ServerConfig) -> BackgroundServer {
    BackgroundServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config).unwrap()
}

fn server() -> BackgroundServer {
    server_with(ServerConfig::new(Rooms::Any(GroupSize::try_from(2).unwrap())))
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(server: &BackgroundServer, room: &str) -> Self {
        let link = format!("ws://{}/{room}", server.local_addr());
        Self(connect_async(link).await.unwrap().0)
    }

    async fn join(server: &BackgroundServer, room: &str, token: Option<Token>) -> Self {
        let mut client = Self::connect(server, room).await;
        client.say(&ClientMessage::Join(join(room, token))).await;
        client
    }

    async fn say(&mut self, message: &ClientMessage) {
        self.0.send(Message::text(message.to_json().unwrap())).await.unwrap();
    }

    async fn say_raw(&mut self, message: Message) {
        // The server may have closed the connection already.
        let _ = self.0.send(message).await;
    }

    /// The next message, or `None` when the server has closed the connection.
    async fn hear(&mut self) -> Option<ServerMessage> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.unwrap()? {
                Ok(Message::Text(text)) => return Some(ServerMessage::from_json(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Skips messages until the server says why it closes the connection, and sees it closed.
    async fn hear_refusal(&mut self) -> ErrorCode {
        loop {
            if let ServerMessage::Error { code, .. } = self.hear().await.unwrap() {
                assert_eq!(self.hear().await, None, "the connection ends after an error");
                return code;
            }
        }
    }

    async fn hear_ready(&mut self) -> u64 {
        loop {
            if let ServerMessage::Ready { session_id, .. } = self.hear().await.unwrap() {
                return session_id;
            }
        }
    }
}

fn join(room: &str, token: Option<Token>) -> Join {
    Join {
        protocol_version: PROTOCOL_VERSION,
        room: room.parse().unwrap(),
        token,
        name: None,
        incarnation: 1,
        settings: Text::default(),
        watch: false,
    }
}

fn request_offer(to: u8) -> ClientMessage {
    ClientMessage::Signal { to, payload: SignalPayload::RequestOffer { replaces: None } }
}

/// A plain HTTP request; the whole answer.
async fn get(server: &BackgroundServer, path: &str) -> String {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn health(server: &BackgroundServer) -> serde_json::Value {
    let answer = get(server, "/health").await;
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

/// Two members of one group, who have heard that it is complete.
async fn pair(server: &BackgroundServer, room: &str) -> (Client, Client) {
    let mut first = Client::join(server, room, None).await;
    assert!(matches!(first.hear().await, Some(ServerMessage::Joined { slot: 0, .. })));
    let mut second = Client::join(server, room, None).await;
    assert_eq!(first.hear_ready().await, second.hear_ready().await);
    (first, second)
}

#[tokio::test]
async fn the_link_itself_is_the_socket_and_signals_pass_between_members() {
    let server = server();
    let (mut first, mut second) = pair(&server, "kitchen").await;
    first.say(&request_offer(1)).await;
    let payload = SignalPayload::RequestOffer { replaces: None };
    assert_eq!(second.hear().await, Some(ServerMessage::Signal { from: 0, payload }));
}

#[tokio::test]
async fn a_browser_is_told_what_the_link_is_for() {
    let server = server();
    let answer = get(&server, "/kitchen").await;
    assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
    assert!(answer.contains("room kitchen"), "{answer}");
    for path in ["/Kitchen", "/a/b", "/", "/..%2f..%2fetc", "/%ff"] {
        assert!(get(&server, path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[tokio::test]
async fn health_says_how_much_there_is() {
    let server = server();
    let _members = pair(&server, "kitchen").await;
    let health = health(&server).await;
    assert_eq!(health["status"], "ok");
    assert_eq!(health["protocol_version"], PROTOCOL_VERSION);
    assert_eq!(health["connections"], 2);
    assert_eq!(health["groups"], 1);
    assert_eq!(health["since_start"]["groups_completed"], 1);
}

#[tokio::test]
async fn nonsense_ends_the_connection_and_changes_nothing() {
    let server = server();
    let nonsense = [
        Message::text(""),
        Message::text("hello"),
        Message::text("{}"),
        Message::text("[]"),
        Message::text(r#"{"kind":"dance"}"#),
        Message::text(r#"{"kind":"leave","extra":1}"#),
        Message::text("[".repeat(10_000)),
        Message::text("x".repeat(MESSAGE_BYTES_MAX + 1)),
        Message::binary(vec![0, 159, 146, 150]),
    ];
    for message in nonsense {
        let mut client = Client::connect(&server, "kitchen").await;
        client.say_raw(message.clone()).await;
        assert_eq!(client.hear_refusal().await, ErrorCode::BadMessage, "{message:?}");
    }
    let health = health(&server).await;
    assert_eq!((&health["connections"], &health["groups"]), (&0.into(), &0.into()));
}

#[tokio::test]
async fn a_message_far_above_the_limit_ends_the_connection_at_once() {
    let server = server();
    let mut client = Client::connect(&server, "kitchen").await;
    client.say_raw(Message::text("x".repeat(50 * MESSAGE_BYTES_MAX))).await;
    assert_eq!(client.hear().await, None);
}

#[tokio::test]
async fn a_member_in_another_room_or_group_hears_nothing() {
    let server = server();
    let (mut first, mut second) = pair(&server, "kitchen").await;
    let (mut other, _fourth) = pair(&server, "kitchen").await;
    let mut stranger = Client::connect(&server, "hall").await;
    stranger.say(&request_offer(0)).await;
    assert_eq!(stranger.hear_refusal().await, ErrorCode::OutOfOrder);
    let mut liar = Client::connect(&server, "hall").await;
    liar.say(&ClientMessage::Join(join("kitchen", None))).await;
    assert_eq!(liar.hear_refusal().await, ErrorCode::WrongRoom);
    other.say(&request_offer(1)).await;
    // What the first member hears next is from its own group.
    second.say(&request_offer(0)).await;
    assert!(matches!(first.hear().await, Some(ServerMessage::Signal { from: 1, .. })));
    first.say(&request_offer(5)).await;
    assert_eq!(first.hear_refusal().await, ErrorCode::UnknownMember);
}

#[tokio::test]
async fn a_flood_is_ended_and_does_not_disturb_the_others() {
    let server = server();
    let (mut flooder, mut victim) = pair(&server, "kitchen").await;
    let message = Message::text(request_offer(1).to_json().unwrap());
    for _ in 0..5000 {
        if flooder.0.send(message.clone()).await.is_err() {
            break;
        }
    }
    let mut heard = 0;
    while let Some(ServerMessage::Signal { .. }) = victim.hear().await {
        heard += 1;
    }
    assert!((1..=700).contains(&heard), "{heard}");
    let (_, _) = pair(&server, "hall").await;
}

#[tokio::test]
async fn mutated_messages_never_do_harm() {
    let server = server();
    let (mut first, mut second) = pair(&server, "kitchen").await;
    let originals = [
        ClientMessage::Join(join("kitchen", Some(Token::from_bytes([7; 16])))).to_json().unwrap(),
        request_offer(1).to_json().unwrap(),
        r#"{"kind":"signal","to":1,"payload":{"kind":"offer","attempt":1,"sdp":"v=0\r\n"}}"#
            .to_owned(),
        r#"{"kind":"leave"}"#.to_owned(),
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap()
    };
    for round in 0..300 {
        let mut bytes = originals[round % originals.len()].clone().into_bytes();
        for _ in 0..=next() % 3 {
            let at = next() % bytes.len().max(1);
            match next() % 4 {
                0 if at < bytes.len() => bytes[at] = u8::try_from(next() % 128).unwrap(),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                0..=2 => bytes.insert(at, b"{}[]\",:0-e\\"[next() % 11]),
                _ => bytes.truncate(at),
            }
        }
        let mut client = Client::connect(&server, "mutants").await;
        client.say_raw(Message::text(String::from_utf8_lossy(&bytes).into_owned())).await;
        client.say_raw(Message::Close(None)).await;
        while client.hear().await.is_some() {}
    }
    // The group of the others has heard nothing of it, and works.
    first.say(&request_offer(1)).await;
    assert!(matches!(second.hear().await, Some(ServerMessage::Signal { from: 0, .. })));
    assert_eq!(health(&server).await["connections"], 2);
}

#[tokio::test]
async fn a_member_returns_after_its_socket_broke() {
    let server = server();
    let mut first = Client::join(&server, "kitchen", None).await;
    let Some(ServerMessage::Joined { token, .. }) = first.hear().await else { panic!("joined") };
    let mut second = Client::join(&server, "kitchen", None).await;
    let session = second.hear_ready().await;
    drop(first);
    assert_eq!(second.hear().await, Some(ServerMessage::MemberAway { slot: 0 }));
    let mut back = Client::join(&server, "kitchen", Some(token)).await;
    assert!(matches!(back.hear().await, Some(ServerMessage::Joined { slot: 0, .. })));
    assert_eq!(back.hear_ready().await, session);
    assert!(matches!(second.hear().await, Some(ServerMessage::MemberBack { .. })));
}

#[tokio::test]
async fn one_that_leaves_while_it_is_written_to_has_left() {
    let server = server_with(ServerConfig::new(Rooms::Any(GroupSize::try_from(8).unwrap())));
    let mut others = Vec::new();
    for _ in 0..7 {
        others.push(Client::join(&server, "kitchen", None).await);
        let joined = others.last_mut().unwrap().hear().await;
        assert!(matches!(joined, Some(ServerMessage::Joined { .. })));
    }
    let mut leaver = Client::join(&server, "kitchen", None).await;
    leaver.hear_ready().await;
    for other in &mut others {
        other.hear_ready().await;
    }
    let mut witness = others.pop().unwrap();
    // More than the buffers of a socket take: the server waits in the middle of a message.
    let sdp = Text::try_from("\"".repeat(16_000)).unwrap();
    let payload = SignalPayload::Answer { attempt: AttemptId::new(1), sdp };
    for other in &mut others {
        for _ in 0..30 {
            other.say(&ClientMessage::Signal { to: 7, payload: payload.clone() }).await;
        }
        other.say(&request_offer(6)).await;
        assert!(matches!(witness.hear().await, Some(ServerMessage::Signal { .. })));
    }
    leaver.say(&ClientMessage::Leave {}).await;
    // A socket that is closed with something unread is reset.
    drop(leaver);
    assert_eq!(witness.hear().await, Some(ServerMessage::MemberLeft { slot: 7 }));
}

#[tokio::test]
async fn connections_above_the_limit_are_refused() {
    let rooms = Rooms::Any(GroupSize::try_from(2).unwrap());
    let server = server_with(ServerConfig { connections_max: 2, ..ServerConfig::new(rooms) });
    let _members = pair(&server, "kitchen").await;
    let mut third = Client::connect(&server, "kitchen").await;
    assert_eq!(third.hear_refusal().await, ErrorCode::ServerFull);
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_frees_its_port() {
    let server = server();
    let address = server.local_addr();
    let (mut first, _second) = pair(&server, "kitchen").await;
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    assert_eq!(first.hear_refusal().await, ErrorCode::ShuttingDown);
    timeout(PATIENCE, stopping).await.unwrap().unwrap().unwrap();
    let refused = connect_async(format!("ws://{address}/kitchen")).await;
    assert!(matches!(refused, Err(Error::Io(_))));
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let server = server();
    let rooms = Rooms::Any(GroupSize::try_from(2).unwrap());
    let second = BackgroundServer::start(server.local_addr(), ServerConfig::new(rooms));
    assert!(second.unwrap_err().to_string().contains("cannot listen"));
}
