//! Texts of hostile servers and members, through the parser and the state machine of a client.

#[path = "../../../rollback-core/tests/recording/allocations.rs"]
mod allocations;
#[path = "../../../rollback-signaling/tests/mutants/mod.rs"]
mod mutants;

use allocations::most_held;
use bytes::Bytes;
use mutants::{Mutator, PICKLES, Random};
use rollback_core::spectate::WatcherId;
use rollback_signaling::{AttemptId, Join, PROTOCOL_VERSION, SignalPayload, Text};

use super::*;
use crate::clock::Clock;
use crate::ice::PathPolicy;
use crate::ice_servers::IceServers;
use crate::own_addresses::OwnAddresses;
use crate::pair::{Action, ConnectionEvent, PairReport, Remote};
use crate::proxy::ProxyChoice;
use crate::route::Way;

const TEXTS: u64 = 100_000;

/// A client without sockets: what the server says goes to the mesh, and what the mesh decides comes out.
struct Client {
    signaling: SignalingClient,
    heard: mpsc::Receiver<SignalingEvent>,
    mesh: Mesh,
    _to_server: mpsc::Receiver<ClientMessage>,
}

impl Client {
    fn new() -> Self {
        let clock = Clock::start();
        let connection = || ConnectionSetup {
            clock,
            mailbox: Arc::new(Mailbox::new(clock, 1)),
            ice_servers: Arc::new(IceServers::new(&[], true, Arc::default()).unwrap()),
            path_policy: PathPolicy::All,
            interrupted_after: Duration::from_millis(800),
            told_after: Duration::from_secs(1),
            bind: OwnAddresses::new(Vec::new(), false),
        };
        let setup = MeshSetup {
            connection: connection(),
            watching: connection(),
            lobby: Arc::new(Lobby::new(clock)),
            conditions: LinkConditions::default(),
            relay: None,
            link: "ws://127.0.0.1:1/kitchen".to_owned(),
            connect_timeout: Duration::from_secs(600),
            seed: 1,
        };
        let join = Join {
            protocol_version: PROTOCOL_VERSION,
            room: "kitchen".parse().unwrap(),
            token: None,
            name: None,
            incarnation: 1,
            settings: Text::default(),
            watch: false,
        };
        let (to_server, outgoing) = mpsc::channel(16);
        let (incoming, heard) = mpsc::channel(16);
        let (_, from_mesh) = mpsc::channel(16);
        let link = setup.link.parse().unwrap();
        Self {
            signaling: SignalingClient::new(
                (link, ProxyChoice::Never, Arc::default()),
                join,
                1,
                (incoming, from_mesh),
                Arc::default(),
            ),
            heard,
            mesh: Mesh::new(setup, to_server),
            _to_server: outgoing,
        }
    }

    /// A member of a complete group of three, which has started its attempts.
    async fn playing(slot: u8) -> Self {
        let mut client = Self::new();
        assert!(client.hear(&joined(slot)).await);
        assert!(client.hear(READY).await);
        client.mesh.handle_timeout();
        client.decisions();
        client
    }

    /// A text of the server; `false` when it is refused and ends the connection.
    async fn hear(&mut self, text: &str) -> bool {
        let is_heard = self.signaling.hear(text).await.is_none();
        while let Ok(event) = self.heard.try_recv() {
            self.mesh.handle_signaling(event);
        }
        is_heard
    }

    /// What the pairs have decided since the last call.
    fn decisions(&mut self) -> Vec<(u8, Action)> {
        let mut decisions = Vec::new();
        for (peer, neighbour) in &mut self.mesh.members.peers {
            let pair = &mut neighbour.pair;
            let of_pair = std::iter::from_fn(|| pair.poll_action());
            decisions.extend(of_pair.map(|action| (peer.slot(), action)));
        }
        decisions
    }

    /// All that is known of the connection to a peer.
    fn pair(&self, slot: u8) -> String {
        format!("{:?}", self.mesh.members.peers[&PeerId::new(slot).unwrap()].pair)
    }

    fn room(&self) -> Option<Room> {
        self.mesh.lobby.wait(Duration::ZERO).unwrap_or(None)
    }
}

fn joined(slot: u8) -> String {
    format!(
        r#"{{"kind":"joined","slot":{slot},"token":"6d0c000102030405060708090a0b0c0d","members":[],"expected":3,"begins_with":2}}"#
    )
}

const READY: &str = r#"{"kind":"ready","session_id":"51d7c8e03f6a2b94","seed":"c0ffee0123456789","members":[
    {"slot":0,"incarnation":"000000000000000a","settings":"","connected":true},
    {"slot":1,"incarnation":"000000000000000b","settings":"","connected":true},
    {"slot":2,"incarnation":"000000000000000c","settings":"","connected":true}],"reserved_from":3}"#;

fn signal(from: u8, payload: &str) -> String {
    format!(r#"{{"kind":"signal","from":{from},"payload":{payload}}}"#)
}

const OFFER: &str = r#"{"kind":"offer","attempt":1,"sdp":"v=0\r\n"}"#;
const ANSWER: &str = r#"{"kind":"answer","attempt":1,"sdp":"v=0\r\n"}"#;
const CANDIDATE: &str = r#"{"kind":"candidate","attempt":1,"candidate":"{}"}"#;
const REQUEST: &str = r#"{"kind":"request_offer","replaces":1}"#;

/// Values that fit the fields of signals and of other messages.
fn fitting() -> Vec<(&'static str, String)> {
    let text = |value: &str| serde_json::to_string(value).unwrap();
    vec![
        ("attempt", "2".to_owned()),
        ("attempt", "3".to_owned()),
        ("attempt", "4294967295".to_owned()),
        ("replaces", "null".to_owned()),
        ("sdp", text(PICKLES[0])),
        ("sdp", text(&"v".repeat(16_384))),
        ("candidate", text(PICKLES[0])),
        ("payload", REQUEST.to_owned()),
        ("payload", OFFER.to_owned()),
        ("slot", "0".to_owned()),
        ("slot", "2".to_owned()),
        ("slot", "7".to_owned()),
        ("slot", "8".to_owned()),
        ("slot", "255".to_owned()),
        ("from", "1".to_owned()),
        ("from", "255".to_owned()),
        ("expected", "8".to_owned()),
        ("expected", "255".to_owned()),
        ("begins_with", "1".to_owned()),
        ("begins_with", "0".to_owned()),
        ("reserved_from", "2".to_owned()),
        ("reserved_from", "255".to_owned()),
        ("incarnation", text("00000000000000ff")),
        ("session_id", text("0000000000000000")),
        ("connected", "false".to_owned()),
        ("name", text(PICKLES[1])),
        ("members", "[]".to_owned()),
    ]
}

/// What a hostile member says passes the server, as far as that understands it, and reaches the client. `honest` and
/// `hostile` are the two others of the group.
async fn hear_a_hostile_member(slot: u8, honest: u8, hostile: u8) {
    let says = |payload: &str| format!(r#"{{"kind":"signal","to":{slot},"payload":{payload}}}"#);
    let originals = [OFFER, ANSWER, CANDIDATE, REQUEST].map(says).to_vec();
    let mutator = Mutator::new(originals, fitting());
    let mut client = Client::playing(slot).await;
    let (room, before) = (client.room(), client.pair(honest));
    let (mut passed, mut refused, mut actions) = (0, 0, 0);
    for number in 0..TEXTS {
        let text = mutator.mutant(&mut Random::new(number));
        let Ok(ClientMessage::Signal { payload, .. }) = ClientMessage::from_json(&text) else {
            refused += 1;
            continue;
        };
        passed += 1;
        let message = ServerMessage::Signal { from: hostile, payload };
        assert!(client.hear(&message.to_json().unwrap()).await, "text {number}");
        for (of, action) in client.decisions() {
            assert_eq!(of, hostile, "text {number}: {action:?}");
            actions += 1;
        }
        // Time passes for the hostile one only, so that what becomes of the other is nobody else's doing.
        let now = client.mesh.now();
        client.mesh.members.with_pair(hostile, |pair| pair.handle_timeout(now));
    }
    println!("{passed} passed, {refused} refused, {actions} actions");
    assert!(passed > 20_000 && refused > 20_000 && actions > 0);
    assert_eq!(client.pair(honest), before);
    assert_eq!(client.room(), room);
    finish_signaling(&mut client, slot, honest).await;
}

/// The client and the honest member still connect.
async fn finish_signaling(client: &mut Client, slot: u8, honest: u8) {
    let attempt = AttemptId::new(1);
    let answer = Action::Feed(attempt, Remote::Answer("v=0\r\n".to_owned()));
    let open = Action::Open { attempt, offer: Some("v=0\r\n".to_owned()) };
    let (text, expected) = if slot < honest { (ANSWER, answer) } else { (OFFER, open) };
    assert!(client.hear(&signal(honest, text)).await);
    assert_eq!(client.decisions(), [(honest, expected)]);
    let peer = PeerId::new(honest).unwrap();
    let now = client.mesh.now();
    client.mesh.members.handle_connection(now, peer, attempt, ConnectionEvent::Opened);
    assert_eq!(client.decisions(), [(honest, Action::Report(PairReport::Connected))]);
}

#[tokio::test]
async fn a_hundred_thousand_texts_of_a_hostile_member_change_nothing_between_the_others() {
    // The hostile member offers and the client answers, and the other way round.
    hear_a_hostile_member(1, 2, 0).await;
    hear_a_hostile_member(1, 0, 2).await;
}

#[tokio::test]
async fn a_hundred_thousand_texts_of_a_hostile_server_crash_nothing_and_take_no_memory() {
    let originals = vec![
        joined(1),
        READY.to_owned(),
        signal(0, OFFER),
        signal(2, ANSWER),
        signal(0, CANDIDATE),
        signal(2, REQUEST),
        r#"{"kind":"member_joined","member":{"slot":1,"incarnation":"00000000000000aa","settings":"","connected":true}}"#.to_owned(),
        r#"{"kind":"member_back","member":{"slot":0,"incarnation":"00000000000000aa","settings":"","connected":true}}"#.to_owned(),
        r#"{"kind":"member_away","slot":2}"#.to_owned(),
        r#"{"kind":"member_left","slot":2}"#.to_owned(),
        r#"{"kind":"error","code":"server_full","message":"no"}"#.to_owned(),
    ];
    let mutator = Mutator::new(originals, fitting());
    let mut client = Client::new();
    let (mut heard, mut refused, mut rooms) = (0, 0, 0);
    let mut room = None;
    for number in 0..TEXTS {
        let text = mutator.mutant(&mut Random::new(number));
        let was_heard = client.hear(&text).await;
        heard += u32::from(was_heard);
        refused += u32::from(!was_heard);
        let (held, decisions) = most_held(|| client.decisions());
        // One text decides little: at most to close a connection to each peer, say so, and open another.
        assert!(held < 64 * 1024 && decisions.len() <= 7 * 4, "text {number}: {decisions:?}");
        assert!(client.mesh.members.peers.len() <= 7);
        // Once a room is complete it stays as it was, whatever the server says.
        if room.is_some() {
            assert_eq!(client.room(), room, "text {number}");
        } else {
            room = client.room();
            rooms += u32::from(room.is_some());
        }
        if number % 100 == 0 {
            client.mesh.handle_timeout();
        }
        // Most texts that are refused end a real connection; some are followed by more, as if it had returned.
        if matches!(client.mesh.stage, Stage::Over) || !was_heard && number % 4 == 0 {
            (client, room) = (Client::new(), None);
        }
    }
    println!("{heard} heard, {refused} refused, {rooms} rooms");
    assert!(heard > 20_000 && refused > 20_000 && rooms > 100, "{heard} {refused} {rooms}");
}

/// Two of three have begun; a member for each of these slots is there.
fn ready(slots: &[u8], reserved_from: u8) -> String {
    let member = |slot: &u8| {
        format!(r#"{{"slot":{slot},"incarnation":"000000000000000a","connected":true}}"#)
    };
    let members: Vec<String> = slots.iter().map(member).collect();
    format!(
        r#"{{"kind":"ready","session_id":"51d7c8e03f6a2b94","seed":"c0ffee0123456789","members":[{}],"reserved_from":{reserved_from}}}"#,
        members.join(",")
    )
}

#[tokio::test]
async fn a_reserved_slot_is_nobodys_until_somebody_comes_late() {
    let slot = PeerId::new(2).unwrap();
    let mut client = Client::new();
    assert!(client.hear(&joined(0)).await);
    assert!(client.hear(&ready(&[0, 1], 2)).await);
    let room = client.room().unwrap();
    assert_eq!((room.members.len(), room.late), (3, [slot].into_iter().collect()));
    let has_left = |client: &Client| client.mesh.mailbox.stats(slot).has_left;
    assert!(has_left(&client), "nobody is there");
    // The server tells how things are once more: still nobody has come.
    assert!(client.hear(&ready(&[0, 1], 2)).await);
    client.mesh.handle_timeout();
    assert!(client.decisions().iter().all(|(of, _)| *of == 1));

    assert!(client.hear(r#"{"kind":"member_joined","member":{"slot":2,"incarnation":"000000000000000c","life":1,"connected":true}}"#).await);
    client.mesh.act();
    assert!(!has_left(&client));
    client.mesh.handle_timeout();
    assert!(matches!(client.decisions()[..], [(2, Action::Open { offer: None, .. })]));
    // One that was away when it came and went hears that nobody is to come any more.
    assert!(client.hear(&ready(&[0, 1], 3)).await);
    assert!(client.decisions().contains(&(2, Action::Report(PairReport::Left))));
}

#[tokio::test]
async fn a_room_whose_members_are_where_nobody_has_come_is_refused() {
    let mut client = Client::new();
    assert!(client.hear(&joined(0)).await);
    assert!(client.hear(&ready(&[0, 1, 2], 2)).await);
    assert!(matches!(client.mesh.stage, Stage::Over));
}

#[tokio::test]
async fn a_pickle_in_a_signal_is_handed_on_as_text() {
    let mut client = Client::playing(1).await;
    let sdp = Text::try_from(PICKLES[0].to_owned()).unwrap();
    let payload = SignalPayload::Offer { attempt: AttemptId::new(1), sdp };
    let message = ServerMessage::Signal { from: 0, payload };
    assert!(client.hear(&message.to_json().unwrap()).await);
    let offer = Some(PICKLES[0].to_owned());
    assert_eq!(client.decisions(), [(0, Action::Open { attempt: AttemptId::new(1), offer })]);
}

#[tokio::test]
async fn one_that_reaches_no_server_is_told_why_the_last_try_failed() {
    let mut client = Client::new();
    let reason = "the proxy refuses: 407".to_owned();
    client.mesh.handle_signaling(SignalingEvent::Lost { reason: reason.clone() });
    assert!(client.room().is_none(), "it is tried again");
    client.mesh.stage = Stage::Connecting { until: client.mesh.now() };
    client.mesh.handle_timeout();
    let failed = client.mesh.lobby.wait(Duration::ZERO);
    assert!(matches!(failed, Err(JoinError::Unreachable { reason: told, .. }) if told == reason));
}

#[tokio::test]
async fn the_application_hears_of_one_who_watches_and_floods() {
    let mut client = Client::playing(1).await;
    let place = PeerId::new(5).unwrap();
    let mailbox = Arc::clone(&client.mesh.watchers.setup.mailbox);
    while mailbox.shut_out_of(place).is_none() {
        mailbox.deliver(place, Way::Server, Bytes::from_static(b"flood"));
    }
    let happened = client.mesh.watchers.next().await;
    client.mesh.handle_watchers(happened);
    let why = mailbox.shut_out_of(place).unwrap();
    let told = TransportEvent::WatcherShutOut { watcher: WatcherId(5), why };
    let events = std::iter::from_fn(|| client.mesh.mailbox.poll_event());
    assert_eq!(events.filter(|event| *event == told).count(), 1);
}
