//! A member of the room that sends what no honest one sends. Nobody crashes, and the others play on.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where its expectation does"
)]

mod common;

use std::time::Duration;

use common::{PATIENCE, link, local, peer, server};
use futures_util::{SinkExt, StreamExt};
use rollback_server::BackgroundServer;
use rollback_signaling::{
    AttemptId, ClientMessage, Join, PROTOCOL_VERSION, ServerMessage, SignalPayload, Text,
};
use rollback_webrtc::{AsyncTransport, DATAGRAM_BYTES_MAX, TransportEvent};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A raw client of the signaling server, which says what it likes.
struct Hostile {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    random: u64,
}

impl Hostile {
    /// Joins and waits for its slot.
    async fn join(server: &BackgroundServer, room: &str) -> Self {
        let (socket, _) = connect_async(link(server, room)).await.unwrap();
        let mut hostile = Self { socket, random: 0x1234_5678_9abc_def1 };
        let join = Join {
            protocol_version: PROTOCOL_VERSION,
            room: room.parse().unwrap(),
            token: None,
            name: None,
            incarnation: 666,
            settings: Text::default(),
            watch: false,
        };
        hostile.say(ClientMessage::Join(join)).await;
        assert!(matches!(hostile.hear().await, ServerMessage::Joined { .. }));
        hostile
    }

    async fn say(&mut self, message: ClientMessage) {
        self.socket.send(Message::text(message.to_json().unwrap())).await.unwrap();
    }

    async fn hear(&mut self) -> ServerMessage {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap() {
                Message::Text(text) => return ServerMessage::from_json(&text).unwrap(),
                _ => continue,
            }
        }
    }

    /// The next signal of this member.
    async fn hear_from(&mut self, slot: u8) -> SignalPayload {
        loop {
            match self.hear().await {
                ServerMessage::Signal { from, payload } if from == slot => return payload,
                ServerMessage::Error { code, .. } => panic!("the server ends this test: {code:?}"),
                _ => {}
            }
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).unwrap() % bound
    }

    /// The text with some lines lost, doubled, cut, or with other characters.
    fn mutate(&mut self, text: &str) -> String {
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        for _ in 0..=self.below(3) {
            let at = self.below(lines.len());
            let mut characters: Vec<char> = lines[at].chars().collect();
            let place = self.below(characters.len().max(1));
            match self.below(6) {
                0 if lines.len() > 1 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                2 => characters.truncate(place),
                3 => characters.insert(place, ['9', '-', ' ', ':', '=', 'ß', '{'][self.below(7)]),
                4 => characters.splice(place..place, "99999999999999999999".chars()).for_each(drop),
                _ if !characters.is_empty() => drop(characters.remove(place)),
                _ => {}
            }
            if let Some(line) = lines.get_mut(at) {
                *line = characters.into_iter().collect();
            }
        }
        lines.concat()
    }
}

fn text<const BYTES_MAX: usize>(text: String) -> Text<BYTES_MAX> {
    Text::try_from(text).unwrap_or_default()
}

async fn wait_connected_to(transport: &AsyncTransport, slot: u8) {
    let wanted = TransportEvent::PeerConnected { peer: peer(slot) };
    timeout(PATIENCE, async { while transport.next_event().await != Some(wanted) {} })
        .await
        .unwrap();
}

/// Both of two honest members still reach each other.
async fn assert_they_play_on(honest: &[AsyncTransport]) {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    for (from, to) in [(0, 1), (1, 0)] {
        let receiver = honest[to].get().room().local;
        honest[from].get().try_send(receiver, b"still here").unwrap();
        let received = timeout(PATIENCE, honest[to].receive(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(&buffer[..received.len], b"still here");
    }
}

async fn join_honest(server: &BackgroundServer, room: &str) -> Vec<AsyncTransport> {
    let link = link(server, room);
    let (first, second) =
        tokio::join!(AsyncTransport::join(&link, local()), AsyncTransport::join(&link, local()));
    vec![first.unwrap(), second.unwrap()]
}

/// A real offer, as the second of two members gets it.
async fn real_offer(server: &BackgroundServer) -> String {
    let link = link(server, "source");
    let joining = tokio::spawn(async move { AsyncTransport::join(&link, local()).await });
    // Whoever comes first has slot 0; only slot 0 offers, so this one must be second.
    while common_members(server, "source").await == 0 {
        tokio::task::yield_now().await;
    }
    let mut source = Hostile::join(server, "source").await;
    loop {
        if let SignalPayload::Offer { sdp, .. } = source.hear_from(0).await {
            drop(joining.await.unwrap().unwrap());
            return sdp.into();
        }
    }
}

/// Members waiting or playing at the server; the name of the room is for the reader.
async fn common_members(server: &BackgroundServer, _room: &str) -> u64 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let request = b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    serde_json::from_str::<serde_json::Value>(body).unwrap()["members"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mutated_offers_and_candidates_crash_nothing() {
    let offer = real_offer(&server(2)).await;
    let server = server(3);
    let mut hostile = Hostile::join(&server, "offers").await;
    let honest = join_honest(&server, "offers").await;
    let (one, two) = (honest[0].get().room().local, honest[1].get().room().local);
    assert_eq!(one.slot() + two.slot(), 3, "the hostile member has slot 0");
    wait_connected_to(&honest[0], two.slot()).await;

    let candidate = r#"{"candidate":"candidate:1 1 udp 2130706431 127.0.0.1 9 typ host","sdpMid":"","sdpMLineIndex":0}"#;
    // At the rate that a pair accepts; the server's own limit is above it.
    let mut pace = interval(Duration::from_millis(60));
    for number in 1..=80 {
        pace.tick().await;
        let attempt = AttemptId::new(number);
        let sdp = text(hostile.mutate(&offer));
        let to = 1 + u8::try_from(number % 2).unwrap();
        let payload = SignalPayload::Offer { attempt, sdp };
        hostile.say(ClientMessage::Signal { to, payload }).await;
        let candidate = text(hostile.mutate(candidate));
        let payload = SignalPayload::Candidate { attempt, candidate };
        hostile.say(ClientMessage::Signal { to, payload }).await;
    }
    assert_they_play_on(&honest).await;
    let attempts: u64 = honest.iter().map(|end| end.get().stats(peer(0)).attempts).sum();
    assert!(attempts > 40, "the offers were looked at: {attempts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mutated_answers_crash_nothing() {
    let server = server(3);
    let link_ = link(&server, "answers");
    let joining = tokio::spawn(async move {
        tokio::join!(AsyncTransport::join(&link_, local()), AsyncTransport::join(&link_, local()))
    });
    while common_members(&server, "answers").await < 2 {
        tokio::task::yield_now().await;
    }
    let mut hostile = Hostile::join(&server, "answers").await;
    let (first, second) = joining.await.unwrap();
    let honest = [first.unwrap(), second.unwrap()];
    for _ in 0..30 {
        // A question brings the next offer; the pair's growing delays bound how many come in time.
        let offered = timeout(Duration::from_secs(1), async {
            loop {
                if let SignalPayload::Offer { attempt, sdp } = hostile.hear_from(0).await {
                    return (attempt, sdp);
                }
            }
        })
        .await;
        let Ok((attempt, sdp)) = offered else { break };
        let answer = sdp.as_str().replace("actpass", "passive");
        let sdp = text(hostile.mutate(&answer));
        let payload = SignalPayload::Answer { attempt, sdp };
        hostile.say(ClientMessage::Signal { to: 0, payload }).await;
        let payload = SignalPayload::RequestOffer { replaces: Some(attempt) };
        hostile.say(ClientMessage::Signal { to: 0, payload }).await;
    }
    let slot_0 = honest.iter().find(|end| end.get().room().local == peer(0)).unwrap();
    wait_connected_to(slot_0, 1).await;
    assert_they_play_on(&honest).await;
    assert!(slot_0.get().stats(peer(2)).attempts >= 3);
}
