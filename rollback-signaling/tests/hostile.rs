//! Texts of hostile clients and servers: each is refused, or is a message within its limits.
#![expect(clippy::unwrap_used, reason = "a test ends where its expectation does")]

#[path = "../../rollback-core/tests/recording/allocations.rs"]
mod allocations;
mod mutants;

use std::fmt::Debug;

use allocations::most_held;
use mutants::{Mutator, PICKLES, Random};
use rollback_signaling::{ClientMessage, MESSAGE_BYTES_MAX, MessageError, ServerMessage};

const MUTANTS: usize = 100_000;

/// Honest messages of a client.
const FROM_CLIENTS: [&str; 8] = [
    r#"{"kind":"join","protocol_version":4,"room":"kitchen","incarnation":"9b1f0c66d2a7e481","settings":"3f9a"}"#,
    r#"{"kind":"join","protocol_version":4,"room":"kitchen","token":"6d0c000102030405060708090a0b0c0d","name":"Ada","incarnation":"02c4417b90e5aa13","settings":""}"#,
    r#"{"kind":"signal","to":1,"payload":{"kind":"offer","attempt":1,"sdp":"v=0\r\n"}}"#,
    r#"{"kind":"signal","to":0,"payload":{"kind":"answer","attempt":1,"sdp":"v=0\r\n"}}"#,
    r#"{"kind":"signal","to":1,"payload":{"kind":"candidate","attempt":1,"candidate":"{\"candidate\":\"candidate:1\"}"}}"#,
    r#"{"kind":"signal","to":1,"payload":{"kind":"request_offer","replaces":1}}"#,
    r#"{"kind":"leave"}"#,
    r#"{"kind":"examine","protocol_version":4,"room":"kitchen"}"#,
];

/// Honest messages of a server.
const FROM_SERVERS: [&str; 9] = [
    r#"{"kind":"joined","slot":0,"token":"6d0c000102030405060708090a0b0c0d","members":[{"slot":0,"incarnation":"9b1f0c66d2a7e481","settings":"3f9a","connected":true}],"expected":3,"begins_with":2}"#,
    r#"{"kind":"member_joined","member":{"slot":1,"name":"Ada","incarnation":"02c4417b90e5aa13","settings":"3f9a","connected":true}}"#,
    r#"{"kind":"ready","session_id":"51d7c8e03f6a2b94","seed":"c0ffee0123456789","members":[],"reserved_from":2}"#,
    r#"{"kind":"signal","from":0,"payload":{"kind":"offer","attempt":1,"sdp":"v=0\r\n"}}"#,
    r#"{"kind":"member_away","slot":1}"#,
    r#"{"kind":"member_back","member":{"slot":1,"incarnation":"02c4417b90e5aa13","settings":"","connected":true}}"#,
    r#"{"kind":"member_left","slot":1}"#,
    r#"{"kind":"error","code":"unknown_room","message":"no"}"#,
    r#"{"kind":"examined","version":"0.1.0","unix_secs":1,"expected":3,"begins_with":2,"waiting":0,"playing":0,"relay":true}"#,
];

/// Parses a hundred thousand mutants; how many were messages.
fn parse_mutants<M: Debug + PartialEq>(
    originals: &[&str],
    parse: impl Fn(&str) -> Result<M, MessageError>,
    write: impl Fn(&M) -> Result<String, MessageError>,
) -> usize {
    let fitting = [
        ("room", "\"hall\""),
        ("incarnation", "\"ffffffffffffffff\""),
        ("token", "\"00000000000000000000000000000000\""),
        ("name", "null"),
        ("to", "255"),
        ("from", "7"),
        ("slot", "0"),
        ("attempt", "4294967295"),
        ("payload", r#"{"kind":"request_offer"}"#),
        ("members", "[]"),
        ("begins_with", "1"),
        ("reserved_from", "255"),
        ("connected", "false"),
    ];
    let originals = originals.iter().map(|text| (*text).to_owned()).collect();
    let fitting = fitting.map(|(field, value)| (field, value.to_owned())).to_vec();
    let mutator = Mutator::new(originals, fitting);
    let mut parsed = 0;
    for number in 0..MUTANTS {
        let text = mutator.mutant(&mut Random::new(number as u64));
        let (held, message) = most_held(|| parse(&text));
        // A value of two bytes may take sixty while its kind is not known yet: 4 MiB for the longest text.
        assert!(held <= 64 * text.len() + 4096, "mutant {number} of {} bytes: {held}", text.len());
        match message {
            Ok(message) => {
                parsed += 1;
                assert!(text.len() <= MESSAGE_BYTES_MAX);
                let again = write(&message).unwrap();
                assert_eq!(parse(&again).unwrap(), message, "mutant {number}: {text}");
            }
            Err(error) => assert!(error.to_string().starts_with("expected a "), "{error}"),
        }
    }
    println!("{parsed} parsed, {} refused", MUTANTS - parsed);
    parsed
}

#[test]
fn a_hundred_thousand_texts_of_clients_are_refused_or_messages() {
    let parsed = parse_mutants(&FROM_CLIENTS, ClientMessage::from_json, ClientMessage::to_json);
    assert!((20_000..80_000).contains(&parsed), "{parsed}");
}

#[test]
fn a_hundred_thousand_texts_of_servers_are_refused_or_messages() {
    let parsed = parse_mutants(&FROM_SERVERS, ServerMessage::from_json, ServerMessage::to_json);
    assert!((20_000..80_000).contains(&parsed), "{parsed}");
}

#[test]
fn a_pickle_in_a_field_is_refused_or_text_like_any_other() {
    let join = serde_json::from_str::<serde_json::Value>(FROM_CLIENTS[1]).unwrap();
    let with = |field: &str, text: &str| {
        let mut join = join.clone();
        join[field] = text.into();
        ClientMessage::from_json(&join.to_string())
    };
    for pickle in PICKLES {
        for field in ["room", "token", "incarnation", "protocol_version"] {
            assert!(with(field, pickle).is_err(), "{field}: {pickle:?}");
        }
    }
    let [text, base64, bytes] = PICKLES;
    for (field, pickle) in [("name", text), ("name", bytes), ("settings", bytes)] {
        assert!(with(field, pickle).is_err(), "{field} with control characters");
    }
    let joined = |field, pickle| match with(field, pickle) {
        Ok(ClientMessage::Join(join)) => join,
        other => panic!("expected a join, got {other:?}"),
    };
    assert_eq!(joined("name", base64).name.unwrap().as_str(), base64);
    assert_eq!(joined("settings", text).settings.as_str(), text);
    assert_eq!(joined("settings", base64).settings.as_str(), base64);
}
