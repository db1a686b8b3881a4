//! The coordinator without sockets: what each command makes of the rooms.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test ends where its expectation does"
)]

use std::time::Duration;

use rollback_server::{
    ClientId, Command, Coordinator, Effect, Entropy, GroupSize, Rooms, ServerConfig,
};
use rollback_signaling::{
    ErrorCode, Join, PROTOCOL_VERSION, ServerMessage, SignalPayload, Text, Token,
};

/// A coordinator, a clock and a counter instead of randomness.
struct Bench {
    coordinator: Coordinator,
    now: Duration,
    drawn: u8,
}

impl Bench {
    fn new(players: u8) -> Self {
        Self::with_config(ServerConfig::new(Rooms::Any(GroupSize::try_from(players).unwrap())))
    }

    fn with_config(config: ServerConfig) -> Self {
        Self { coordinator: Coordinator::new(config), now: Duration::ZERO, drawn: 0 }
    }

    fn run(&mut self, command: Command) -> Vec<Effect> {
        self.coordinator.handle(self.now, command)
    }

    fn connect(&mut self, client: u64, room: &str) -> Vec<Effect> {
        self.run(Command::Connected { client: ClientId::new(client), room: room.parse().unwrap() })
    }

    fn join_with(&mut self, client: u64, join: Join) -> Vec<Effect> {
        self.drawn = self.drawn.wrapping_add(1);
        let entropy = Entropy {
            token: Token::from_bytes([self.drawn; 16]),
            session_id: 1000 + u64::from(self.drawn),
            seed: 2000 + u64::from(self.drawn),
        };
        self.run(Command::Join { client: ClientId::new(client), join: Box::new(join), entropy })
    }

    /// Connects and joins.
    fn enter(&mut self, client: u64, room: &str) -> Vec<Effect> {
        assert_eq!(self.connect(client, room), []);
        self.join_with(client, join(room))
    }

    fn signal(&mut self, client: u64, to: u8) -> Vec<Effect> {
        let payload = Box::new(SignalPayload::RequestOffer { replaces: None });
        self.run(Command::Signal { client: ClientId::new(client), to, payload })
    }

    fn disconnect(&mut self, client: u64) -> Vec<Effect> {
        self.run(Command::Disconnected { client: ClientId::new(client) })
    }

    fn tick_after(&mut self, seconds: u64) -> Vec<Effect> {
        self.now += Duration::from_secs(seconds);
        self.run(Command::Tick)
    }
}

fn join(room: &str) -> Join {
    Join {
        protocol_version: PROTOCOL_VERSION,
        room: room.parse().unwrap(),
        token: None,
        name: None,
        incarnation: 1,
        settings: Text::default(),
        watch: false,
    }
}

fn returning(room: &str, token: Token) -> Join {
    Join { token: Some(token), incarnation: 2, ..join(room) }
}

fn sent_to(effects: &[Effect], client: u64) -> Vec<&ServerMessage> {
    let to_client = |effect| match effect {
        &Effect::Send { client: to, ref message } if to == ClientId::new(client) => Some(message),
        _ => None,
    };
    effects.iter().filter_map(to_client).collect()
}

/// The slot and token given to a client.
fn joined(effects: &[Effect], client: u64) -> (u8, Token) {
    match sent_to(effects, client)[0] {
        &ServerMessage::Joined { slot, token, .. } => (slot, token),
        other => panic!("expected joined, got {other:?}"),
    }
}

/// The session, seed and slots of a group that became ready.
fn ready(effects: &[Effect], client: u64) -> Option<(u64, u64, Vec<u8>)> {
    sent_to(effects, client).into_iter().find_map(|message| match message {
        ServerMessage::Ready { session_id, seed, members, .. } => {
            let slots = members.iter().map(|member| member.slot).collect();
            Some((*session_id, *seed, slots))
        }
        _ => None,
    })
}

/// The error with which a client was sent away.
fn refusal(effects: &[Effect], client: u64) -> Option<ErrorCode> {
    let close = Effect::Close { client: ClientId::new(client) };
    let error = sent_to(effects, client).into_iter().find_map(|message| match message {
        ServerMessage::Error { code, .. } => Some(*code),
        _ => None,
    });
    assert_eq!(error.is_some(), effects.contains(&close), "an error and a close go together");
    error
}

#[test]
fn arrivals_are_paired_in_order_and_the_next_ones_form_the_next_group() {
    let mut bench = Bench::new(2);
    assert_eq!(joined(&bench.enter(10, "kitchen"), 10).0, 0);
    let complete = bench.enter(11, "kitchen");
    assert_eq!(joined(&complete, 11).0, 1);
    let first = ready(&complete, 10).unwrap();
    assert_eq!(first.2, [0, 1]);
    assert_eq!(ready(&complete, 11).unwrap(), first);

    assert_eq!(joined(&bench.enter(12, "kitchen"), 12).0, 0);
    let second = ready(&bench.enter(13, "kitchen"), 12).unwrap();
    assert_ne!(second.0, first.0, "another group has another session");
    assert_ne!(second.1, first.1, "and another seed");
}

#[test]
fn rooms_do_not_mix() {
    let mut bench = Bench::new(2);
    let _ = bench.enter(1, "a");
    let effects = bench.enter(2, "b");
    assert_eq!(ready(&effects, 2), None);
    assert!(sent_to(&effects, 1).is_empty());
}

#[test]
fn members_waiting_see_who_comes() {
    let mut bench = Bench::new(3);
    let _ = bench.enter(1, "a");
    let effects = bench.enter(2, "a");
    assert!(matches!(
        sent_to(&effects, 1)[..],
        [ServerMessage::MemberJoined { member }] if member.slot == 1
    ));
    assert_eq!(bench.coordinator.status().rooms_waiting, 1);
}

#[test]
fn a_signal_reaches_the_named_member_of_the_own_group_only() {
    let mut bench = Bench::new(2);
    for client in 0..4 {
        let _ = bench.enter(client, "a");
    }
    let effects = bench.signal(0, 1);
    assert!(matches!(sent_to(&effects, 1)[..], [ServerMessage::Signal { from: 0, .. }]));
    assert_eq!(effects.len(), 1);
    assert_eq!(refusal(&bench.signal(2, 2), 2), Some(ErrorCode::UnknownMember));
}

#[test]
fn a_signal_to_oneself_or_before_the_group_is_complete_is_refused() {
    let mut bench = Bench::new(2);
    let _ = bench.connect(5, "a");
    assert_eq!(refusal(&bench.signal(5, 0), 5), Some(ErrorCode::OutOfOrder));
    let _ = bench.enter(6, "b");
    assert_eq!(refusal(&bench.signal(6, 1), 6), Some(ErrorCode::OutOfOrder));
    let _ = bench.enter(7, "c");
    let _ = bench.enter(8, "c");
    assert_eq!(refusal(&bench.signal(7, 0), 7), Some(ErrorCode::UnknownMember));
}

#[test]
fn a_member_returns_to_its_slot_with_its_token() {
    let mut bench = Bench::new(2);
    let (_, token) = joined(&bench.enter(1, "a"), 1);
    let session = ready(&bench.enter(2, "a"), 2).unwrap();
    let away = bench.disconnect(1);
    assert_eq!(sent_to(&away, 2), [&ServerMessage::MemberAway { slot: 0 }]);
    let _ = bench.signal(2, 0);
    assert_eq!(bench.coordinator.status().since_start.signals_dropped, 1);

    assert_eq!(bench.connect(3, "a"), []);
    let back = bench.join_with(3, returning("a", token));
    assert_eq!(joined(&back, 3), (0, token));
    assert_eq!(ready(&back, 3).unwrap(), session);
    assert!(matches!(
        sent_to(&back, 2)[..],
        [ServerMessage::MemberBack { member }] if member.slot == 0 && member.incarnation == 2
    ));
    assert_eq!(sent_to(&bench.signal(2, 0), 3).len(), 1);
}

#[test]
fn each_new_process_of_a_match_is_one_life_more() {
    let mut bench = Bench::new(2);
    let (_, token) = joined(&bench.enter(1, "a"), 1);
    let life_of = |effects: &[Effect]| {
        sent_to(effects, 2).into_iter().find_map(|message| match message {
            ServerMessage::MemberBack { member } => Some(member.life),
            _ => None,
        })
    };
    // Before the group is complete nobody has played yet.
    bench.disconnect(1);
    bench.connect(3, "a");
    bench.join_with(3, Join { incarnation: 7, ..returning("a", token) });
    bench.enter(2, "a");
    // One that lost its connection is the same process; all others are new.
    let mut client = 3;
    for (incarnation, life) in [(7, 0), (8, 1), (8, 1), (9, 2)] {
        bench.disconnect(client);
        client += 1;
        bench.connect(client, "a");
        let back = Join { incarnation, ..returning("a", token) };
        assert_eq!(life_of(&bench.join_with(client, back)), Some(life));
    }
    // One that did not hear that it was replaced does not replace the one that did it.
    for incarnation in [7, 8] {
        client += 1;
        bench.connect(client, "a");
        let effects = bench.join_with(client, Join { incarnation, ..returning("a", token) });
        assert_eq!(refusal(&effects, client), Some(ErrorCode::Replaced));
    }
    for number in 3..=256 {
        client += 1;
        bench.connect(client, "a");
        let back = Join { incarnation: 100 + number, ..returning("a", token) };
        let effects = bench.join_with(client, back);
        match number {
            256 => assert_eq!(refusal(&effects, client), Some(ErrorCode::UnknownToken)),
            _ => assert_eq!(life_of(&effects), u8::try_from(number).ok()),
        }
    }
}

#[test]
fn a_second_connection_with_the_same_token_replaces_the_first() {
    let mut bench = Bench::new(2);
    let (_, token) = joined(&bench.enter(1, "a"), 1);
    let _ = bench.enter(2, "a");
    let _ = bench.connect(3, "a");
    let effects = bench.join_with(3, returning("a", token));
    assert_eq!(refusal(&effects, 1), Some(ErrorCode::Replaced));
    assert_eq!(joined(&effects, 3).0, 0);
    assert_eq!(bench.disconnect(1), [], "the old connection's end is no absence");
    assert_eq!(sent_to(&bench.signal(2, 0), 3).len(), 1);
}

#[test]
fn unknown_tokens_and_tokens_of_another_room_are_refused() {
    let mut bench = Bench::new(2);
    let (_, token) = joined(&bench.enter(1, "a"), 1);
    let _ = bench.connect(2, "a");
    let effects = bench.join_with(2, returning("a", Token::from_bytes([99; 16])));
    assert_eq!(refusal(&effects, 2), Some(ErrorCode::UnknownToken));
    let _ = bench.connect(3, "b");
    let effects = bench.join_with(3, returning("b", token));
    assert_eq!(refusal(&effects, 3), Some(ErrorCode::UnknownToken));
}

#[test]
fn a_slot_is_freed_when_its_member_leaves_or_stays_away() {
    let mut bench = Bench::new(3);
    for client in 1..=3 {
        let _ = bench.enter(client, "a");
    }
    let left = bench.run(Command::Leave { client: ClientId::new(1) });
    assert!(left.contains(&Effect::Close { client: ClientId::new(1) }));
    assert_eq!(sent_to(&left, 2), [&ServerMessage::MemberLeft { slot: 0 }]);

    let _ = bench.disconnect(2);
    assert_eq!(bench.tick_after(599), []);
    let expired = bench.tick_after(1);
    assert_eq!(sent_to(&expired, 3), [&ServerMessage::MemberLeft { slot: 1 }]);

    let _ = bench.disconnect(3);
    let _ = bench.tick_after(600);
    assert_eq!(bench.coordinator.status().groups, 0);
    assert_eq!(bench.coordinator.status().members, 0);
}

#[test]
fn a_group_with_an_away_member_waits_for_it_or_for_the_next_arrival() {
    let mut bench = Bench::new(2);
    let (_, token) = joined(&bench.enter(1, "a"), 1);
    let _ = bench.disconnect(1);
    let alone = bench.enter(2, "a");
    assert_eq!(joined(&alone, 2).0, 1);
    assert_eq!(ready(&alone, 2), None, "nobody is paired with someone who is away");

    let effects = bench.enter(3, "a");
    assert_eq!(joined(&effects, 3).0, 0);
    assert!(ready(&effects, 2).is_some());
    let _ = bench.connect(4, "a");
    let too_late = bench.join_with(4, returning("a", token));
    assert_eq!(refusal(&too_late, 4), Some(ErrorCode::UnknownToken));
}

#[test]
fn a_waiting_member_that_returns_completes_the_group() {
    let mut bench = Bench::new(2);
    let (_, token) = joined(&bench.enter(1, "a"), 1);
    let _ = bench.disconnect(1);
    let _ = bench.enter(2, "a");
    let _ = bench.connect(3, "a");
    let effects = bench.join_with(3, returning("a", token));
    assert!(ready(&effects, 2).is_some());
    assert!(ready(&effects, 3).is_some());
}

#[test]
fn different_settings_are_refused() {
    let mut bench = Bench::new(2);
    let _ = bench.enter(1, "a");
    let _ = bench.connect(2, "a");
    let settings = Text::try_from("other".to_owned()).unwrap();
    let effects = bench.join_with(2, Join { settings, ..join("a") });
    assert_eq!(refusal(&effects, 2), Some(ErrorCode::SettingsDiffer));
    assert!(ready(&bench.enter(3, "a"), 1).is_some(), "the waiting member is not disturbed");
}

#[test]
fn a_wrong_version_a_wrong_room_and_a_second_join_are_refused() {
    let mut bench = Bench::new(3);
    let _ = bench.connect(1, "a");
    let effects = bench.join_with(1, Join { protocol_version: PROTOCOL_VERSION + 1, ..join("a") });
    assert_eq!(refusal(&effects, 1), Some(ErrorCode::UnsupportedVersion));
    let _ = bench.connect(2, "a");
    assert_eq!(refusal(&bench.join_with(2, join("b")), 2), Some(ErrorCode::WrongRoom));
    let _ = bench.enter(3, "a");
    assert_eq!(refusal(&bench.join_with(3, join("a")), 3), Some(ErrorCode::OutOfOrder));
}

#[test]
fn only_configured_rooms_exist_when_there_are_any() {
    let size = GroupSize::try_from(2).unwrap();
    let rooms = Rooms::Fixed([("kitchen".parse().unwrap(), size)].into());
    let mut bench = Bench::with_config(ServerConfig::new(rooms));
    assert_eq!(refusal(&bench.connect(1, "hall"), 1), Some(ErrorCode::UnknownRoom));
    assert_eq!(bench.connect(2, "kitchen"), []);
}

#[test]
fn connections_and_groups_have_limits() {
    let size = GroupSize::try_from(2).unwrap();
    let config =
        ServerConfig { connections_max: 3, groups_max: 2, ..ServerConfig::new(Rooms::Any(size)) };
    let mut bench = Bench::with_config(config);
    let _ = bench.enter(1, "a");
    let _ = bench.enter(2, "b");
    let _ = bench.connect(3, "c");
    assert_eq!(refusal(&bench.connect(4, "c"), 4), Some(ErrorCode::ServerFull));
    assert_eq!(refusal(&bench.join_with(3, join("c")), 3), Some(ErrorCode::ServerFull));
    assert!(ready(&bench.enter(5, "a"), 5).is_some(), "an existing group still takes members");
}

#[test]
fn a_flood_of_signals_is_ended() {
    let mut bench = Bench::new(2);
    let _ = bench.enter(1, "a");
    let _ = bench.enter(2, "a");
    let passed = (0..10_000).take_while(|_| refusal(&bench.signal(1, 1), 1).is_none()).count();
    assert_eq!(passed, 512);
    assert_eq!(bench.coordinator.status().connections, 1);
}

#[test]
fn whoever_does_not_join_or_waits_too_long_is_sent_away() {
    let mut bench = Bench::new(2);
    let _ = bench.connect(1, "a");
    assert_eq!(bench.tick_after(9), []);
    assert_eq!(refusal(&bench.tick_after(1), 1), Some(ErrorCode::TimedOut));
    let _ = bench.enter(2, "a");
    assert_eq!(bench.tick_after(3599), []);
    assert_eq!(refusal(&bench.tick_after(1), 2), Some(ErrorCode::TimedOut));
    let _ = bench.tick_after(15);
    assert_eq!(bench.coordinator.status().groups, 0);
    assert_eq!(bench.coordinator.status().rooms_waiting, 0);
}

#[test]
fn commands_of_unknown_connections_do_nothing() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.join_with(9, join("a")), []);
    assert_eq!(bench.signal(9, 0), []);
    assert_eq!(bench.disconnect(9), []);
    assert_eq!(bench.run(Command::Leave { client: ClientId::new(9) }), []);
    assert_eq!(bench.coordinator.status().groups, 0);
}

#[test]
fn a_shutdown_tells_everyone() {
    let mut bench = Bench::new(2);
    let _ = bench.enter(1, "a");
    let _ = bench.enter(2, "a");
    let effects = bench.run(Command::ShutDown);
    assert_eq!(refusal(&effects, 1), Some(ErrorCode::ShuttingDown));
    assert_eq!(refusal(&effects, 2), Some(ErrorCode::ShuttingDown));
    assert_eq!(bench.coordinator.status().connections, 0);
}

fn watch(room: &str) -> Join {
    Join { watch: true, incarnation: 9, ..join(room) }
}

/// The place, session and slots that a client is shown.
fn watching(effects: &[Effect], client: u64) -> Option<(u8, u64, Vec<u8>)> {
    sent_to(effects, client).into_iter().find_map(|message| match message {
        ServerMessage::Watching { place, session_id, members, .. } => {
            Some((*place, *session_id, members.iter().map(|member| member.slot).collect()))
        }
        _ => None,
    })
}

#[test]
fn whoever_watches_sees_the_newest_group_and_is_no_member() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.connect(20, "kitchen"), []);
    let early = bench.join_with(20, watch("kitchen"));
    assert_eq!(refusal(&early, 20), Some(ErrorCode::NothingToWatch));
    bench.enter(10, "kitchen");
    bench.enter(11, "kitchen");
    bench.enter(12, "kitchen");
    let second = ready(&bench.enter(13, "kitchen"), 12).unwrap();
    // One more waits for a group that is not complete.
    bench.enter(14, "kitchen");
    bench.connect(21, "kitchen");
    let shown = bench.join_with(21, watch("kitchen"));
    assert_eq!(watching(&shown, 21), Some((0, second.0, vec![0, 1])));
    let told = ServerMessage::WatcherJoined { place: 0, incarnation: 9 };
    assert_eq!((sent_to(&shown, 12), sent_to(&shown, 13)), (vec![&told], vec![&told]));
    assert!(sent_to(&shown, 10).is_empty() && sent_to(&shown, 14).is_empty());
    // The group that waits is completed by players.
    assert!(ready(&bench.enter(15, "kitchen"), 14).is_some());

    let offered = bench.signal(21, 1);
    assert!(matches!(sent_to(&offered, 13)[..], [ServerMessage::Signal { from: 8, .. }]));
    let answered = bench.signal(13, 8);
    assert!(matches!(sent_to(&answered, 21)[..], [ServerMessage::Signal { from: 1, .. }]));
    let away = bench.disconnect(12);
    assert_eq!(sent_to(&away, 21), [&ServerMessage::MemberAway { slot: 0 }]);
    let gone = bench.run(Command::Leave { client: ClientId::new(21) });
    assert_eq!(sent_to(&gone, 13), [&ServerMessage::WatcherLeft { place: 0 }]);
    assert_eq!(bench.coordinator.status().members, 6);
    // What a member says to one who has gone is nothing wrong.
    assert_eq!(refusal(&bench.signal(13, 8), 13), None);
    assert_eq!(refusal(&bench.signal(13, 16), 13), Some(ErrorCode::UnknownMember));
}

#[test]
fn only_so_many_watch_and_not_in_every_room_and_nobody_else_than_members_is_signalled() {
    let config = ServerConfig {
        watchers_max: 2,
        unwatched: ["quiet".parse().unwrap()].into(),
        ..ServerConfig::new(Rooms::Any(GroupSize::try_from(1).unwrap()))
    };
    let mut bench = Bench::with_config(config);
    bench.enter(1, "kitchen");
    bench.enter(2, "quiet");
    let enter = |bench: &mut Bench, client, join| {
        bench.connect(client, if client == 30 { "quiet" } else { "kitchen" });
        bench.join_with(client, join)
    };
    let quiet = enter(&mut bench, 30, watch("quiet"));
    assert_eq!(refusal(&quiet, 30), Some(ErrorCode::WatchingForbidden));
    let other = Join { settings: "other".to_owned().try_into().unwrap(), ..watch("kitchen") };
    let refused = enter(&mut bench, 31, other);
    assert_eq!(refusal(&refused, 31), Some(ErrorCode::SettingsDiffer));
    let places: Vec<_> = [20, 21]
        .map(|client| watching(&enter(&mut bench, client, watch("kitchen")), client).unwrap().0)
        .into();
    assert_eq!(places, [0, 1]);
    let full = enter(&mut bench, 22, watch("kitchen"));
    assert_eq!(refusal(&full, 22), Some(ErrorCode::ServerFull));
    bench.disconnect(20);
    let next = enter(&mut bench, 23, watch("kitchen"));
    assert_eq!(watching(&next, 23).unwrap().0, 0);
    assert_eq!(refusal(&bench.signal(23, 9), 23), Some(ErrorCode::UnknownMember));
    // With the last member the group goes, and whoever watches is told.
    let over = bench.run(Command::Leave { client: ClientId::new(1) });
    assert_eq!(refusal(&over, 21), Some(ErrorCode::NothingToWatch));
    assert_eq!(bench.coordinator.status().groups, 1);
}
