//! The relay behind real sockets: who gets in, what passes, and what ends a socket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its expectation does")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rollback_server::{BackgroundServer, GroupSize, Rooms, ServerConfig};
use rollback_signaling::{
    ClientMessage, ErrorCode, Join, PROTOCOL_VERSION, RELAY_DATAGRAM_BYTES_MAX,
    RELAY_MESSAGE_BYTES_MAX, RELAY_MESSAGES_PER_SECOND, RelayJoin, RelayMessage, ServerMessage,
    Text, Token, WATCHER_SLOTS,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

/// Longest time that anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What a socket hears.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Binary(Vec<u8>),
    Refusal(ErrorCode),
    End,
}

impl Socket {
    async fn open(server: &BackgroundServer, path: &str) -> Self {
        let link = format!("ws://{}/{path}", server.local_addr());
        Self(connect_async(link).await.unwrap().0)
    }

    /// The relay socket of a member.
    async fn relay(server: &BackgroundServer, room: &str, token: Token) -> Self {
        Self::relay_of(server, room, token, 1).await
    }

    /// The same for one of its processes.
    async fn relay_of(
        server: &BackgroundServer,
        room: &str,
        token: Token,
        incarnation: u64,
    ) -> Self {
        let mut socket = Self::open(server, &format!("{room}/relay")).await;
        socket.send(Message::text(relay_join(room, token, incarnation))).await;
        socket
    }

    async fn send(&mut self, message: Message) {
        // The server may have ended it already.
        let _ = self.0.send(message).await;
    }

    async fn say(&mut self, message: RelayMessage<'_>) {
        self.send(Message::binary(message.to_bytes())).await;
    }

    async fn hear(&mut self) -> Heard {
        // All of it, since pings come while nothing else does.
        timeout(PATIENCE, self.hear_patiently()).await.unwrap()
    }

    async fn hear_patiently(&mut self) -> Heard {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => return Heard::Binary(bytes.to_vec()),
                Some(Ok(Message::Text(text))) => match ServerMessage::from_json(&text).unwrap() {
                    ServerMessage::Error { code, .. } => return Heard::Refusal(code),
                    other => panic!("{other:?}"),
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Heard::End,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn expect(&mut self, message: RelayMessage<'_>) {
        assert_eq!(self.hear().await, Heard::Binary(message.to_bytes()));
    }

    /// The number of the pair with a slot that is here.
    async fn hear_here(&mut self, other: u8) -> u64 {
        loop {
            let Heard::Binary(message) = self.hear().await else { panic!("it goes on") };
            match RelayMessage::parse(&message) {
                Ok(RelayMessage::Here { slot, pairing }) if slot == other => return pairing,
                _ => {}
            }
        }
    }

    async fn expect_refusal(&mut self, code: ErrorCode) {
        loop {
            match self.hear().await {
                Heard::Binary(_) => {}
                heard => break assert_eq!(heard, Heard::Refusal(code)),
            }
        }
        assert_eq!(self.hear().await, Heard::End);
    }
}

/// A member's signaling socket and its token.
struct Member(Socket, Token);

impl Member {
    async fn join(server: &BackgroundServer, room: &str) -> Self {
        let mut socket = Socket::open(server, room).await;
        socket.send(Message::text(join(room, None, false))).await;
        Self::joined(socket).await
    }

    /// Another process comes back with a member's token.
    async fn join_again(server: &BackgroundServer, room: &str, token: Token) -> Self {
        let mut socket = Socket::open(server, room).await;
        let again = join(room, Some(token), false);
        socket.send(Message::text(again.replace("0000000000000001", "0000000000000002"))).await;
        Self::joined(socket).await
    }

    async fn joined(mut socket: Socket) -> Self {
        loop {
            let Some(Ok(Message::Text(text))) = socket.0.next().await else { panic!("joined") };
            if let ServerMessage::Joined { token, .. } = ServerMessage::from_json(&text).unwrap() {
                return Self(socket, token);
            }
        }
    }

    async fn leave(mut self) {
        self.0.send(Message::text(ClientMessage::Leave {}.to_json().unwrap())).await;
    }
}

/// The signaling socket of somebody who watches, and its token.
async fn watch(server: &BackgroundServer, room: &str) -> (Socket, Token) {
    let mut socket = Socket::open(server, room).await;
    socket.send(Message::text(join(room, None, true))).await;
    let Some(Ok(Message::Text(text))) = socket.0.next().await else { panic!("watching") };
    match ServerMessage::from_json(&text).unwrap() {
        ServerMessage::Watching { token, .. } => (socket, token),
        other => panic!("{other:?}"),
    }
}

fn join(room: &str, token: Option<Token>, watch: bool) -> String {
    let join = Join {
        protocol_version: PROTOCOL_VERSION,
        room: room.parse().unwrap(),
        token,
        name: None,
        incarnation: 1,
        settings: Text::default(),
        watch,
    };
    ClientMessage::Join(join).to_json().unwrap()
}

fn server_with(change: impl FnOnce(&mut ServerConfig)) -> BackgroundServer {
    let mut config = ServerConfig::new(Rooms::Any(GroupSize::try_from(2).unwrap()));
    change(&mut config);
    BackgroundServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config).unwrap()
}

async fn pair(server: &BackgroundServer, room: &str) -> [Member; 2] {
    [Member::join(server, room).await, Member::join(server, room).await]
}

/// Two members and their relay sockets, which know of each other; `pairing` is their number.
async fn relayed(server: &BackgroundServer, room: &str) -> ([Member; 2], [Socket; 2], u64) {
    let members = pair(server, room).await;
    let mut first = Socket::relay(server, room, members[0].1).await;
    first.expect(RelayMessage::Welcome { slot: 0 }).await;
    let mut second = Socket::relay(server, room, members[1].1).await;
    second.expect(RelayMessage::Welcome { slot: 1 }).await;
    let Heard::Binary(here) = first.hear().await else { panic!("the other is here") };
    let Ok(RelayMessage::Here { slot: 1, pairing }) = RelayMessage::parse(&here) else {
        panic!("{here:?}")
    };
    second.expect(RelayMessage::Here { slot: 0, pairing }).await;
    (members, [first, second], pairing)
}

fn relay_join(room: &str, token: Token, incarnation: u64) -> String {
    let room = room.parse().unwrap();
    RelayJoin { protocol_version: PROTOCOL_VERSION, room, token, incarnation }.to_json().unwrap()
}

async fn get(server: &BackgroundServer, path: &str) -> String {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

/// A number of the relay on the health page.
async fn counted(server: &BackgroundServer, name: &str) -> u64 {
    let answer = get(server, "/health").await;
    let health: serde_json::Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    health.pointer(&format!("/relay/{name}")).unwrap().as_u64().unwrap()
}

const HELLO: RelayMessage<'static> = RelayMessage::Datagram { slot: 1, datagram: b"hello" };
const HELLO_FROM_0: RelayMessage<'static> = RelayMessage::Datagram { slot: 0, datagram: b"hello" };

#[tokio::test]
async fn datagrams_and_bulk_frames_pass_between_two_members() {
    let server = server_with(|_| {});
    let (_members, [mut first, mut second], pairing) = relayed(&server, "kitchen").await;
    first.say(HELLO).await;
    second.expect(HELLO_FROM_0).await;
    let frame = vec![7; 16 * 1024];
    second.say(RelayMessage::Bulk { slot: 0, pairing, frame: &frame }).await;
    first.expect(RelayMessage::Bulk { slot: 1, pairing, frame: &frame }).await;
    second.say(RelayMessage::Hearing { slot: 0, is_heard: false }).await;
    first.expect(RelayMessage::Hearing { slot: 1, is_heard: false }).await;
    assert_eq!(counted(&server, "sockets").await, 2);
    assert_eq!(counted(&server, "datagrams").await, 1);
    drop(second);
    first.expect(RelayMessage::Gone { slot: 1 }).await;
}

#[tokio::test]
async fn only_members_of_complete_groups_get_in() {
    let server = server_with(|_| {});
    let [member, _other] = pair(&server, "kitchen").await;
    let waiting = Member::join(&server, "hall").await;
    let foreign = Token::from_bytes([9; 16]);
    for (room, token) in [("kitchen", foreign), ("hall", waiting.1), ("hall", member.1)] {
        let mut socket = Socket::relay(&server, room, token).await;
        socket.expect_refusal(ErrorCode::UnknownToken).await;
    }
    let wrong_room = relay_join("hall", member.1, 1);
    let wrong_version = relay_join("kitchen", member.1, 1)
        .replace(&format!(":{PROTOCOL_VERSION},"), &format!(":{},", PROTOCOL_VERSION + 1));
    let binary = Message::binary(HELLO.to_bytes());
    for (first, code) in [
        (Message::text(wrong_room), ErrorCode::WrongRoom),
        (Message::text(wrong_version), ErrorCode::UnsupportedVersion),
        (Message::text("hello"), ErrorCode::BadMessage),
        (Message::text("{}"), ErrorCode::BadMessage),
        (binary, ErrorCode::BadMessage),
    ] {
        let mut socket = Socket::open(&server, "kitchen/relay").await;
        socket.send(first).await;
        socket.expect_refusal(code).await;
    }
    assert_eq!(counted(&server, "refused").await, 8);
    assert_eq!(counted(&server, "sockets").await, 0);
}

#[tokio::test]
async fn what_no_honest_member_sends_ends_its_socket_is_counted_and_disturbs_nobody() {
    let server = server_with(|_| {});
    let (members, [first, mut second], _) = relayed(&server, "kitchen").await;
    drop(first);
    second.expect(RelayMessage::Gone { slot: 0 }).await;
    let bad = [
        (Message::text("hello"), Some(ErrorCode::BadMessage)),
        (Message::binary(vec![]), Some(ErrorCode::BadMessage)),
        (Message::binary(vec![9, 1]), Some(ErrorCode::BadMessage)),
        (
            Message::binary([vec![1, 1], vec![0; RELAY_DATAGRAM_BYTES_MAX + 1]].concat()),
            Some(ErrorCode::BadMessage),
        ),
        (Message::binary(vec![0; RELAY_MESSAGE_BYTES_MAX + 1]), None),
        (
            Message::binary(RelayMessage::Here { slot: 1, pairing: 1 }.to_bytes()),
            Some(ErrorCode::BadMessage),
        ),
        (
            Message::binary(RelayMessage::Datagram { slot: 0, datagram: b"" }.to_bytes()),
            Some(ErrorCode::UnknownMember),
        ),
        (
            Message::binary(RelayMessage::Datagram { slot: 2, datagram: b"" }.to_bytes()),
            Some(ErrorCode::UnknownMember),
        ),
        (Message::binary(vec![1, 200]), Some(ErrorCode::BadMessage)),
    ];
    let count = u64::try_from(bad.len()).unwrap();
    for (message, code) in bad {
        let mut socket = Socket::relay(&server, "kitchen", members[0].1).await;
        socket.expect(RelayMessage::Welcome { slot: 0 }).await;
        socket.send(message.clone()).await;
        match code {
            Some(code) => socket.expect_refusal(code).await,
            None => while socket.hear().await != Heard::End {},
        }
    }
    assert_eq!(counted(&server, "violations").await, count);
    let mut first = Socket::relay(&server, "kitchen", members[0].1).await;
    first.expect(RelayMessage::Welcome { slot: 0 }).await;
    first.say(HELLO).await;
    loop {
        match second.hear().await {
            Heard::Binary(bytes) if bytes == HELLO_FROM_0.to_bytes() => break,
            Heard::Binary(_) => {}
            heard => panic!("{heard:?}"),
        }
    }
}

#[tokio::test]
async fn a_flood_is_cut_off_and_kept_out_and_others_are_not_disturbed() {
    let server = server_with(|_| {});
    let (members, [mut flooder, mut victim], _) = relayed(&server, "kitchen").await;
    let (_others, [mut third, mut fourth], _) = relayed(&server, "hall").await;
    let message = Message::binary(HELLO.to_bytes());
    for _ in 0..20 * RELAY_MESSAGES_PER_SECOND {
        if flooder.0.feed(message.clone()).await.is_err() {
            break;
        }
    }
    let mut heard = 0;
    while victim.hear().await == Heard::Binary(HELLO_FROM_0.to_bytes()) {
        heard += 1;
    }
    // What passes in the time that the flood takes is a second's worth, and what grows back meanwhile.
    assert!(heard <= 4 * RELAY_MESSAGES_PER_SECOND, "{heard}");
    assert_eq!(counted(&server, "floods").await, 1);
    let mut again = Socket::relay(&server, "kitchen", members[0].1).await;
    again.expect_refusal(ErrorCode::RateLimited).await;
    third.say(HELLO).await;
    fourth.expect(HELLO_FROM_0).await;
}

#[tokio::test]
async fn of_what_was_sent_to_one_that_does_not_read_it_gets_little_but_the_newest() {
    const SENT: u16 = 1500;
    let server = server_with(|_| {});
    let members = pair(&server, "kitchen").await;
    let mut sender = Socket::relay(&server, "kitchen", members[0].1).await;
    // One whose own system holds little, too.
    let receiver = TcpSocket::new_v4().unwrap();
    receiver.set_recv_buffer_size(4096).unwrap();
    let stream = receiver.connect(server.local_addr()).await.unwrap();
    let link = format!("ws://{}/kitchen/relay", server.local_addr());
    let stream = client_async(link, MaybeTlsStream::Plain(stream)).await.unwrap().0;
    let mut receiver = Socket(stream);
    receiver.send(Message::text(relay_join("kitchen", members[1].1, 1))).await;
    receiver.expect(RelayMessage::Welcome { slot: 1 }).await;
    let here = sender.hear_here(1).await;
    for number in 1..=SENT {
        let datagram = &[number.to_le_bytes().as_slice(), &[0; 100]].concat();
        sender.say(RelayMessage::Datagram { slot: 1, datagram }).await;
    }
    // The server has them all before anything is read; and bulk frames come after all datagrams.
    while counted(&server, "datagrams").await < SENT.into() {}
    let last = RelayMessage::Bulk { slot: 1, pairing: here, frame: b"last" };
    sender.say(last).await;
    while counted(&server, "bulk_frames").await == 0 {}
    let mut heard = 0;
    loop {
        let Heard::Binary(message) = receiver.hear().await else { panic!("it goes on") };
        match RelayMessage::parse(&message) {
            Ok(RelayMessage::Datagram { .. }) => heard += 1,
            Ok(RelayMessage::Bulk { .. }) => break,
            _ => {}
        }
    }
    // Its share of the queue, and what the system holds of the sender's and the receiver's side.
    assert!(heard <= 90, "{heard}");
    let not_sent =
        counted(&server, "datagrams_dropped").await + counted(&server, "datagrams_expired").await;
    assert_eq!(not_sent, u64::from(SENT - heard));
}

#[tokio::test]
async fn a_second_socket_replaces_the_first_and_a_member_that_leaves_loses_its_own() {
    let server = server_with(|_| {});
    let ([first, second], [mut old, mut other], _) = relayed(&server, "kitchen").await;
    let mut new = Socket::relay(&server, "kitchen", first.1).await;
    new.expect(RelayMessage::Welcome { slot: 0 }).await;
    old.expect_refusal(ErrorCode::Replaced).await;
    let Heard::Binary(here) = new.hear().await else { panic!("here") };
    assert_eq!(other.hear().await, Heard::Binary([&[here[0], 0], &here[2..]].concat()));
    second.leave().await;
    other.expect_refusal(ErrorCode::Replaced).await;
    new.expect(RelayMessage::Gone { slot: 1 }).await;
    // A member that only lost its signaling socket keeps its slot, and its relay.
    drop(first.0);
    let token = first.1;
    let mut back = Socket::relay(&server, "kitchen", token).await;
    back.expect(RelayMessage::Welcome { slot: 0 }).await;
}

#[tokio::test]
async fn a_former_process_of_a_member_gets_no_relay_and_the_present_one_keeps_its_own() {
    let server = server_with(|_| {});
    let ([first, _second], [mut old, _other], _) = relayed(&server, "kitchen").await;
    let _again = Member::join_again(&server, "kitchen", first.1).await;
    let mut new = Socket::relay_of(&server, "kitchen", first.1, 2).await;
    new.expect(RelayMessage::Welcome { slot: 0 }).await;
    old.expect_refusal(ErrorCode::Replaced).await;
    let mut stale = Socket::relay_of(&server, "kitchen", first.1, 1).await;
    stale.expect_refusal(ErrorCode::Replaced).await;
    assert_eq!(counted(&server, "refused").await, 1);
    let Heard::Binary(here) = new.hear().await else { panic!("here") };
    assert!(matches!(RelayMessage::parse(&here), Ok(RelayMessage::Here { slot: 1, .. })));
}

#[tokio::test]
async fn whoever_watches_has_a_relay_to_the_members_until_it_goes() {
    let server = server_with(|_| {});
    let (_members, [mut first, _second], _) = relayed(&server, "kitchen").await;
    let (watcher, token) = watch(&server, "kitchen").await;
    let mut relay = Socket::relay(&server, "kitchen", token).await;
    relay.expect(RelayMessage::Welcome { slot: WATCHER_SLOTS }).await;
    let Heard::Binary(here) = first.hear().await else { panic!("here") };
    let Ok(RelayMessage::Here { slot: WATCHER_SLOTS, .. }) = RelayMessage::parse(&here) else {
        panic!("{here:?}")
    };
    relay.say(RelayMessage::Datagram { slot: 0, datagram: b"show me" }).await;
    let asked = RelayMessage::Datagram { slot: WATCHER_SLOTS, datagram: b"show me" };
    first.expect(asked).await;
    first.say(RelayMessage::Datagram { slot: WATCHER_SLOTS, datagram: b"look" }).await;
    for _ in 0..2 {
        let Heard::Binary(here) = relay.hear().await else { panic!("here") };
        assert!(matches!(RelayMessage::parse(&here), Ok(RelayMessage::Here { .. })));
    }
    relay.expect(RelayMessage::Datagram { slot: 0, datagram: b"look" }).await;
    drop(watcher);
    relay.expect_refusal(ErrorCode::Replaced).await;
    Socket::relay(&server, "kitchen", token).await.expect_refusal(ErrorCode::UnknownToken).await;
    // Its token is no member's.
    let mut thief = Socket::open(&server, "kitchen").await;
    thief.send(Message::text(join("kitchen", Some(token), false))).await;
    thief.expect_refusal(ErrorCode::UnknownToken).await;
}

#[tokio::test]
async fn a_server_may_have_no_relay() {
    let server = server_with(|config| config.relay = false);
    let [_member, _other] = pair(&server, "kitchen").await;
    let refused = connect_async(format!("ws://{}/kitchen/relay", server.local_addr())).await;
    let Err(Error::Http(response)) = refused else { panic!("there is one") };
    assert_eq!(response.status(), 404);
    assert!(!get(&server, "/health").await.contains("relay"));
}

#[tokio::test]
async fn a_browser_is_told_and_a_server_that_stops_says_so() {
    let server = server_with(|_| {});
    assert!(get(&server, "/kitchen/relay").await.starts_with("HTTP/1.1 426"));
    assert!(get(&server, "/Kitchen/relay").await.starts_with("HTTP/1.1 404"));
    let (_members, [mut first, _second], _) = relayed(&server, "kitchen").await;
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    first.expect_refusal(ErrorCode::ShuttingDown).await;
    timeout(PATIENCE, stopping).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn sockets_above_the_limit_are_turned_away() {
    let server = server_with(|config| config.connections_max = 2);
    let (_members, _sockets, _) = relayed(&server, "kitchen").await;
    let refused = connect_async(format!("ws://{}/kitchen/relay", server.local_addr())).await;
    let Err(Error::Http(response)) = refused else { panic!("there is room") };
    assert_eq!(response.status(), 503);
}
