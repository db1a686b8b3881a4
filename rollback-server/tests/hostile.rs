//! A hundred thousand texts of hostile clients beside honest ones, through the parser and the coordinator: nothing
//! panics, nothing grows, and the honest ones notice nothing.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its expectation does")]

#[path = "../../rollback-core/tests/recording/allocations.rs"]
mod allocations;
#[path = "../../rollback-signaling/tests/mutants/mod.rs"]
mod mutants;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use allocations::most_held;
use mutants::{Mutator, PICKLES, Random};
use rollback_server::{
    ClientId, Command, Coordinator, Counters, Effect, Entropy, GroupSize, Rooms, ServerConfig,
    Status,
};
use rollback_signaling::{ClientMessage, ServerMessage, SignalPayload, Token};

const TEXTS: u64 = 100_000;

/// Hostile connections at once.
const HOSTILE: usize = 30;

/// Groups at once.
const GROUPS_MAX: usize = 100;

/// The coordinator as the server calls it, with a clock and a counter in place of time and randomness.
struct Server {
    coordinator: Coordinator,
    now: Duration,
    drawn: u64,
    connected: u64,
    parsed: u64,
    refused: u64,
}

/// What a client is told.
type Told = Vec<ServerMessage>;

impl Server {
    fn new() -> Self {
        let config = ServerConfig {
            connections_max: HOSTILE + 10,
            groups_max: GROUPS_MAX,
            waiting_slot_hold: Duration::from_secs(1),
            playing_slot_hold: Duration::from_secs(1),
            ..ServerConfig::new(Rooms::Any(GroupSize::try_from(2).unwrap()))
        };
        let coordinator = Coordinator::new(config);
        Self { coordinator, now: Duration::ZERO, drawn: 0, connected: 0, parsed: 0, refused: 0 }
    }

    fn handle(&mut self, command: Command) -> Vec<Effect> {
        self.coordinator.handle(self.now, command)
    }

    fn connect(&mut self, room: &str) -> (ClientId, Vec<Effect>) {
        let client = ClientId::new(self.connected);
        self.connected += 1;
        (client, self.handle(Command::Connected { client, room: room.parse().unwrap() }))
    }

    /// A text of a client, through the door that all texts take.
    fn hear(&mut self, client: ClientId, text: &str) -> Vec<Effect> {
        let command = match ClientMessage::from_json(text) {
            Ok(message) => {
                self.parsed += 1;
                self.drawn += 1;
                let draw = || Ok::<_, Infallible>(entropy(self.drawn));
                Command::from_message(client, message, 0, draw).unwrap()
            }
            Err(error) => {
                self.refused += 1;
                Command::BadMessage { client, error: error.to_string() }
            }
        };
        self.handle(command)
    }

    /// Connects and joins.
    fn enter(&mut self, room: &str) -> (ClientId, Vec<Effect>) {
        let (client, effects) = self.connect(room);
        assert_eq!(effects, []);
        (client, self.hear(client, &join(room, None)))
    }

    /// How much there is, without what happened so far.
    fn load(&self) -> Status {
        Status { since_start: Counters::default(), ..self.coordinator.status() }
    }
}

fn entropy(drawn: u64) -> Entropy {
    let token = [[0x80; 8], drawn.to_be_bytes()].concat().try_into().unwrap();
    Entropy { token: Token::from_bytes(token), session_id: drawn, seed: drawn }
}

fn join(room: &str, token: Option<Token>) -> String {
    let token = token.map(|token| format!(r#","token":"{}""#, String::from(token)));
    let token = token.unwrap_or_default();
    format!(
        r#"{{"kind":"join","protocol_version":4,"room":"{room}","incarnation":"9b1f0c66d2a7e481","settings":"3f9a"{token}}}"#
    )
}

fn offer(to: u8) -> String {
    format!(
        r#"{{"kind":"signal","to":{to},"payload":{{"kind":"offer","attempt":1,"sdp":"v=0\r\n"}}}}"#
    )
}

fn told(effects: &[Effect], client: ClientId) -> Told {
    let of_client = |effect: &Effect| match effect {
        Effect::Send { client: to, message } if *to == client => Some(message.clone()),
        _ => None,
    };
    effects.iter().filter_map(of_client).collect()
}

fn token_of(told: &Told) -> Token {
    match told.first() {
        Some(ServerMessage::Joined { token, .. }) => *token,
        other => panic!("expected joined, got {other:?}"),
    }
}

fn ready_of(told: &Told) -> ServerMessage {
    let is_ready = |message: &&ServerMessage| matches!(message, ServerMessage::Ready { .. });
    told.iter().find(is_ready).unwrap_or_else(|| panic!("expected ready, got {told:?}")).clone()
}

/// Three honest members: two of a complete group, and one that waits for another.
struct Honest {
    first: ClientId,
    second: ClientId,
    waiting: ClientId,
    second_token: Token,
    waiting_token: Token,
    ready: ServerMessage,
}

impl Honest {
    fn enter(server: &mut Server) -> Self {
        let (first, _) = server.enter("kitchen");
        let (second, effects) = server.enter("kitchen");
        let (waiting, waits) = server.enter("hall");
        let second_told = told(&effects, second);
        Self {
            first,
            second,
            waiting,
            second_token: token_of(&second_told),
            waiting_token: token_of(&told(&waits, waiting)),
            ready: ready_of(&second_told),
        }
    }

    fn is(&self, client: ClientId) -> bool {
        [self.first, self.second, self.waiting].contains(&client)
    }

    /// The two members of the complete group reach each other, and nobody else.
    fn signal(&self, server: &mut Server) {
        for (from, to, own, other) in
            [(self.first, self.second, 0, 1), (self.second, self.first, 1, 0)]
        {
            let effects = server.hear(from, &offer(other));
            let [ServerMessage::Signal { from, payload }] = &told(&effects, to)[..] else {
                panic!("expected a signal, got {effects:?}");
            };
            assert_eq!((*from, effects.len()), (own, 1));
            assert!(matches!(payload, SignalPayload::Offer { .. }));
        }
    }
}

/// What hostile clients send: texts made from honest ones, which name rooms, slots and tokens that exist.
fn mutator(honest: &Honest) -> Mutator {
    let originals = vec![
        join("kitchen", None),
        join("mutants", None),
        join("hall", Some(honest.waiting_token)),
        offer(0),
        offer(1),
        r#"{"kind":"signal","to":1,"payload":{"kind":"answer","attempt":1,"sdp":"v=0"}}"#
            .to_owned(),
        r#"{"kind":"signal","to":0,"payload":{"kind":"candidate","attempt":1,"candidate":"{}"}}"#
            .to_owned(),
        r#"{"kind":"signal","to":1,"payload":{"kind":"request_offer","replaces":1}}"#.to_owned(),
        r#"{"kind":"leave"}"#.to_owned(),
        r#"{"kind":"examine","protocol_version":4,"room":"kitchen"}"#.to_owned(),
    ];
    let text = |value: &str| serde_json::to_string(value).unwrap();
    let fitting = vec![
        ("room", text("kitchen")),
        ("room", text("mutants")),
        ("room", text("hall")),
        ("token", text(&String::from(honest.waiting_token))),
        ("token", text(&String::from(Token::from_bytes([7; 16])))),
        ("token", "null".to_owned()),
        ("to", "0".to_owned()),
        ("to", "1".to_owned()),
        ("to", "2".to_owned()),
        ("to", "255".to_owned()),
        ("name", text(PICKLES[1])),
        ("settings", text(PICKLES[0])),
        ("settings", text("")),
        ("incarnation", text("0000000000000000")),
        ("protocol_version", "4".to_owned()),
        ("attempt", "4294967295".to_owned()),
        ("sdp", text(&"v".repeat(16_384))),
        ("candidate", text(PICKLES[0])),
        ("payload", r#"{"kind":"request_offer"}"#.to_owned()),
    ];
    Mutator::new(originals, fitting)
}

/// What came of the storm for hostile clients.
#[derive(Debug, Default)]
struct Outcome {
    joined: u64,
    signals: u64,
    refusals: BTreeMap<String, u64>,
}

/// Sends the texts over connections to the rooms of honest members and others; each is replaced when it is closed.
fn storm(server: &mut Server, honest: &Honest, mutator: &Mutator) -> Outcome {
    let mut outcome = Outcome::default();
    let mut open: Vec<ClientId> = Vec::new();
    for number in 0..TEXTS {
        let mut random = Random::new(number);
        server.now += Duration::from_millis(5);
        let mut effects = Vec::new();
        if open.len() < HOSTILE {
            // Not to the hall: whoever joins there is the one that the member there waits for.
            let room = random.pick(&["kitchen", "mutants", "mutants", "pantry"]);
            let (client, refused) = server.connect(room);
            effects.extend(refused);
            open.push(client);
            if random.below(4) > 0 {
                effects.extend(server.hear(client, &join(room, None)));
            }
        }
        let client = *random.pick(&open);
        if random.below(50) == 0 {
            open.retain(|other| *other != client);
            effects.extend(server.handle(Command::Disconnected { client }));
        }
        // A text on a connection that is closed already comes too late, and must do nothing.
        effects.extend(server.hear(client, &mutator.mutant(&mut random)));
        if number % 200 == 0 {
            effects.extend(server.handle(Command::Tick));
            honest.signal(server);
        }
        for effect in effects {
            match effect {
                Effect::Send { client, message } => {
                    assert!(!honest.is(client), "text {number}: an honest one is told {message:?}");
                    assert!(message.to_json().is_ok());
                    match message {
                        ServerMessage::Joined { .. } => outcome.joined += 1,
                        ServerMessage::Signal { .. } => outcome.signals += 1,
                        ServerMessage::Error { code, .. } => {
                            *outcome.refusals.entry(format!("{code:?}")).or_default() += 1;
                        }
                        _ => {}
                    }
                }
                Effect::OfferIceServers { .. } | Effect::EndIceServers { .. } => {
                    panic!("text {number}: there is nothing to offer")
                }
                Effect::Close { client } => {
                    assert!(!honest.is(client), "text {number}: an honest one is sent away");
                    open.retain(|other| *other != client);
                }
            }
        }
        let load = server.load();
        assert!(load.connections <= HOSTILE + 10 && load.groups <= GROUPS_MAX);
    }
    for client in open {
        let effects = server.handle(Command::Disconnected { client });
        let is_quiet =
            |effect: &Effect| !matches!(effect, Effect::Send { client, .. } if honest.is(*client));
        assert!(effects.iter().all(is_quiet));
    }
    outcome
}

#[test]
fn a_hundred_thousand_hostile_texts_change_nothing_for_honest_members() {
    let mut server = Server::new();
    let honest = Honest::enter(&mut server);
    let before = server.load();
    let mutator = mutator(&honest);
    let (held, outcome) = most_held(|| storm(&mut server, &honest, &mutator));
    println!("{} parsed, {} refused, {held} bytes, {outcome:?}", server.parsed, server.refused);
    assert!(server.parsed > 20_000 && server.refused > 20_000);
    assert!(outcome.joined > 10_000 && outcome.signals > 1_000, "{outcome:?}");
    assert!(outcome.refusals.len() >= 8, "{outcome:?}");
    // Forty connections and a hundred groups of two, and the longest text while it is read.
    assert!(held < 5 << 20, "{held} bytes");

    // What hostile members held is free again, and the rest is as it was.
    server.now += Duration::from_secs(30);
    let _ = server.handle(Command::Tick);
    assert_eq!(server.load(), before);

    // The honest ones go on: signals pass, the token is good, and the one that waited finds a partner.
    honest.signal(&mut server);
    let (back, _) = server.connect("kitchen");
    let effects = server.hear(back, &join("kitchen", Some(honest.second_token)));
    let told_back = told(&effects, back);
    assert!(matches!(told_back[0], ServerMessage::Joined { slot: 1, .. }));
    assert_eq!(ready_of(&told_back), honest.ready);
    Honest { second: back, ..honest }.signal(&mut server);

    let (partner, effects) = server.enter("hall");
    assert_eq!(ready_of(&told(&effects, partner)), ready_of(&told(&effects, honest.waiting)));
    let effects = server.hear(honest.waiting, &offer(1));
    assert_eq!(told(&effects, partner).len(), 1);
}
