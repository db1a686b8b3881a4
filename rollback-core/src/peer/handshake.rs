//! Compares what two members say of themselves, field by field. Sends nothing.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use thiserror::Error;

use crate::SessionConfig;
use crate::bytes::ByteReader;
use crate::wire::Hello;

/// The two hellos of a link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake {
    pub(crate) remote: Option<Hello>,
    /// Whether the remote has our hello.
    pub(crate) is_heard: bool,
}

/// A field in which two members differ, so that they cannot play together.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{field}: expected {ours}, got {theirs}")]
pub struct Mismatch {
    /// The field, as the configuration or the facts name it.
    pub field: String,
    /// What this peer has.
    pub ours: String,
    /// What the other has.
    pub theirs: String,
}

/// The first field that must be equal and is not.
pub(crate) fn first_mismatch(
    ours: &Hello,
    theirs: &Hello,
    config: &SessionConfig,
) -> Option<Mismatch> {
    let differ = |field: &str, ours: String, theirs: String| {
        (ours != theirs).then(|| Mismatch { field: field.into(), ours, theirs })
    };
    differ("wire version", ours.version.to_string(), theirs.version.to_string())
        .or_else(|| config_mismatch(config, &theirs.config))
        .or_else(|| differ("roster", numbers(&ours.roster), numbers(&theirs.roster)))
        .or_else(|| differ("seed", ours.seed.to_string(), theirs.seed.to_string()))
        .or_else(|| fact_mismatch(&ours.facts.must_match, &theirs.facts.must_match))
        .or_else(|| {
            let (ours, theirs) = (ours.start.to_string(), theirs.start.to_string());
            differ("hash of the state after reset", ours, theirs)
        })
}

fn config_mismatch(config: &SessionConfig, theirs: &[u8]) -> Option<Mismatch> {
    let mut reader = ByteReader::new(theirs);
    for (field, ours) in config.fields() {
        let theirs = reader.u16().and_then(|length| reader.take(length.into()));
        let theirs = theirs.unwrap_or_default();
        if ours != theirs {
            let (ours, theirs) = (numbers(&ours), numbers(theirs));
            return Some(Mismatch { field: field.into(), ours, theirs });
        }
    }
    None
}

fn fact_mismatch(ours: &[(String, String)], theirs: &[(String, String)]) -> Option<Mismatch> {
    let value_in = |facts: &[(String, String)], name: &str| {
        let fact = facts.iter().find(|(other, _)| other == name);
        fact.map_or_else(|| "nothing".to_string(), |(_, value)| value.clone())
    };
    let names = ours.iter().chain(theirs).map(|(name, _)| name);
    names
        .map(|name| (name, value_in(ours, name), value_in(theirs, name)))
        .find(|(_, ours, theirs)| ours != theirs)
        .map(|(name, ours, theirs)| Mismatch { field: name.clone(), ours, theirs })
}

/// A field's bytes for people: a number where it is one, else a list.
fn numbers(bytes: &[u8]) -> String {
    match *bytes {
        [one] => one.to_string(),
        [low, high] => u16::from_le_bytes([low, high]).to_string(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).to_string(),
        _ => format!("{:?}", bytes.iter().collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Facts, StateHash};

    fn hello(config: &SessionConfig) -> Hello {
        Hello {
            version: 1,
            heard: false,
            incarnation: 0,
            seed: 1,
            start: StateHash::from_u128(1),
            roster: alloc::vec![0, 1],
            config: config.encode(),
            facts: Facts::default(),
        }
    }

    #[test]
    fn each_difference_is_named() {
        let config = SessionConfig::builder().build().unwrap();
        let ours = hello(&config);
        assert_eq!(first_mismatch(&ours, &ours, &config), None);

        let other = SessionConfig::builder().prediction_window_frames(9).build().unwrap();
        let fact = |value: &str| (String::from("env"), String::from(value));
        let facts = |value| Facts { must_match: alloc::vec![fact(value)], ..Facts::default() };
        let cases = [
            (Hello { version: 2, ..ours.clone() }, "wire version"),
            (Hello { config: other.encode(), ..ours.clone() }, "prediction_window_frames"),
            (Hello { roster: alloc::vec![1, 0], ..ours.clone() }, "roster"),
            (Hello { seed: 2, ..ours.clone() }, "seed"),
            (Hello { facts: facts("b"), ..ours.clone() }, "env"),
            (
                Hello { start: StateHash::from_u128(2), ..ours.clone() },
                "hash of the state after reset",
            ),
        ];
        for (theirs, field) in cases {
            let mismatch = first_mismatch(&ours, &theirs, &config).unwrap();
            assert_eq!(mismatch.field, field);
        }
        let mismatch = first_mismatch(&hello(&config), &hello(&other), &config).unwrap();
        assert_eq!(mismatch.to_string(), "prediction_window_frames: expected 8, got 9");
    }
}
