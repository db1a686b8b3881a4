//! When members are offered STUN and TURN servers.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

use std::time::Duration;

use rollback_server::{
    ClientId, Command, Coordinator, Effect, Entropy, GroupSize, IceOffer, Rooms, ServerConfig,
};
use rollback_signaling::{Join, PROTOCOL_VERSION, ServerMessage, Text, Token};

fn coordinator(ice: IceOffer) -> Coordinator {
    coordinator_of(1, ice)
}

fn coordinator_of(members: u8, ice: IceOffer) -> Coordinator {
    let rooms = Rooms::Any(GroupSize::try_from(members).unwrap());
    Coordinator::new(ServerConfig { ice, ..ServerConfig::new(rooms) })
}

fn enter(server: &mut Coordinator, at: Duration, client: u64, watch: bool) -> Vec<Effect> {
    let entered = client;
    let (client, room) = (ClientId::new(client), "kitchen".parse().unwrap());
    let _ = server.handle(at, Command::Connected { client, room });
    let join = Join {
        protocol_version: PROTOCOL_VERSION,
        room: "kitchen".parse().unwrap(),
        token: None,
        name: None,
        incarnation: 7,
        settings: Text::default(),
        watch,
    };
    let token = Token::from_bytes([u8::try_from(entered).unwrap(); 16]);
    let entropy = Entropy { token, session_id: 0xfeed, seed: 3 };
    server.handle(at, Command::Join { client, join: Box::new(join), entropy })
}

fn offers(effects: &[Effect]) -> Vec<(ClientId, &str)> {
    let offer = |effect| match effect {
        &Effect::OfferIceServers { client, ref who, .. } => Some((client, who.as_str())),
        _ => None,
    };
    effects.iter().filter_map(offer).collect()
}

fn stun() -> IceOffer {
    IceOffer { stun_urls: vec!["stun:s".to_owned()], ..IceOffer::none() }
}

#[test]
fn servers_are_offered_before_anything_that_makes_a_client_connect() {
    let mut server = coordinator(stun());
    let joined = enter(&mut server, Duration::ZERO, 1, false);
    assert_eq!(offers(&joined), [(ClientId::new(1), "000000000000feed-0")]);
    let is_offer = |effect: &&Effect| matches!(effect, Effect::OfferIceServers { .. });
    let next = joined.iter().skip_while(|effect| !is_offer(effect)).nth(1);
    assert!(matches!(next, Some(Effect::Send { message: ServerMessage::Ready { .. }, .. })));
    let watching = enter(&mut server, Duration::ZERO, 2, true);
    assert_eq!(offers(&watching), [(ClientId::new(2), "000000000000feed-8")]);
    assert!(matches!(
        watching.get(1),
        Some(Effect::Send { message: ServerMessage::Watching { .. }, .. })
    ));
}

#[test]
fn one_that_waits_is_offered_nothing_and_whoever_leaves_loses_what_it_was_offered() {
    let mut server = coordinator_of(2, stun());
    assert_eq!(offers(&enter(&mut server, Duration::ZERO, 1, false)), []);
    let complete = enter(&mut server, Duration::ZERO, 2, false);
    let [first, second] = [1, 2].map(ClientId::new);
    let expected = [(first, "000000000000feed-0"), (second, "000000000000feed-1")];
    assert_eq!(offers(&complete), expected);
    enter(&mut server, Duration::ZERO, 3, true);
    let mut ended = |client, is_lost| {
        let client = ClientId::new(client);
        let command = match is_lost {
            true => Command::Disconnected { client },
            false => Command::Leave { client },
        };
        let effects = server.handle(Duration::ZERO, command);
        let ends = effects.into_iter().filter_map(|effect| match effect {
            Effect::EndIceServers { who } => Some(who),
            _ => None,
        });
        ends.collect::<Vec<_>>()
    };
    assert_eq!(ended(1, false), ["000000000000feed-0"]);
    assert_eq!(ended(2, true), [] as [&str; 0], "it may come back");
    assert_eq!(ended(3, true), ["000000000000feed-8"]);
}

#[test]
fn they_are_offered_again_after_half_of_their_time() {
    let mut server = coordinator(stun());
    enter(&mut server, Duration::ZERO, 1, false);
    let half = stun().credentials_valid / 2;
    let early = server.handle(half - Duration::from_secs(1), Command::Tick);
    assert_eq!(offers(&early), []);
    enter(&mut server, half - Duration::from_secs(1), 2, true);
    assert_eq!(offers(&server.handle(half, Command::Tick)).len(), 1);
    assert_eq!(offers(&server.handle(half + Duration::from_secs(1), Command::Tick)).len(), 0);
    assert_eq!(offers(&server.handle(half * 2, Command::Tick)).len(), 2);
    let _ = server.handle(half * 2, Command::Leave { client: ClientId::new(1) });
    assert_eq!(offers(&server.handle(half * 9, Command::Tick)), []);
}

#[test]
fn nothing_is_offered_where_there_is_nothing() {
    let mut server = coordinator(IceOffer::none());
    assert_eq!(offers(&enter(&mut server, Duration::ZERO, 1, false)), []);
    assert_eq!(offers(&server.handle(Duration::from_secs(1_000_000), Command::Tick)), []);
}
