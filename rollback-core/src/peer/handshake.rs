//! Compares what two members say of themselves, field by field. Sends nothing.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::bytes::ByteReader;
use crate::wire::Hello;
use crate::{Facts, SessionConfig};

/// The two hellos of a link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake {
    pub(crate) remote: Option<Remote>,
}

/// What the remote said of itself.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) incarnation: u8,
    pub(crate) facts: Facts,
    /// All of it, until it is found to fit.
    hello: Option<Box<Hello>>,
}

impl Handshake {
    /// Takes the first hello of the remote's present life.
    pub(crate) fn handle_hello(&mut self, hello: Hello) {
        let (incarnation, facts) = (hello.incarnation, hello.facts.clone());
        self.remote = Some(Remote { incarnation, facts, hello: Some(Box::new(hello)) });
    }

    /// The fields in which the remote differs from `ours`, if there are any. Nothing while it has not said hello, and once it
    /// was found to fit.
    pub(crate) fn misfit(&self, ours: &Hello, config: &SessionConfig) -> Option<Mismatches> {
        mismatches(ours, self.remote.as_ref()?.hello.as_ref()?, config)
    }

    /// It fits: what is equal on both sides need not be kept.
    pub(crate) fn forget_hello(&mut self) {
        if let Some(remote) = &mut self.remote {
            remote.hello = None;
        }
    }
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

/// The fields in which two members differ: at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatches(Vec<Mismatch>);

impl Mismatches {
    /// Each field, in the order: wire version, configuration, roster, seed, facts, state after reset.
    pub fn iter(&self) -> impl Iterator<Item = &Mismatch> {
        self.0.iter()
    }
}

impl fmt::Display for Mismatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mismatch) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{mismatch}")?;
        }
        Ok(())
    }
}

/// The fields that must be equal and are not, if there are any.
fn mismatches(ours: &Hello, theirs: &Hello, config: &SessionConfig) -> Option<Mismatches> {
    let mut found = Differing::default();
    found.compare("wire version", ours.version.to_string(), theirs.version.to_string());
    found.compare_configs(config, &theirs.config);
    found.compare("roster", list(&ours.roster), list(&theirs.roster));
    found.compare("seed", ours.seed.to_string(), theirs.seed.to_string());
    found.compare_facts(&ours.facts.must_match, &theirs.facts.must_match);
    let (ours, theirs) = (ours.start.to_string(), theirs.start.to_string());
    found.compare("hash of the state after reset", ours, theirs);
    (!found.0.is_empty()).then_some(Mismatches(found.0))
}

#[derive(Default)]
struct Differing(Vec<Mismatch>);

impl Differing {
    fn compare(&mut self, field: &str, ours: String, theirs: String) {
        if ours != theirs {
            self.0.push(Mismatch { field: field.into(), ours, theirs });
        }
    }

    fn compare_configs(&mut self, config: &SessionConfig, theirs: &[u8]) {
        let mut reader = ByteReader::new(theirs);
        for (field, ours) in config.fields() {
            let theirs = reader.u16().and_then(|length| reader.take(length.into()));
            let shown = if LISTS.contains(&field) { list } else { number };
            self.compare(field, shown(&ours), shown(theirs.unwrap_or_default()));
        }
    }

    fn compare_facts(&mut self, ours: &[(String, String)], theirs: &[(String, String)]) {
        let value_in = |facts: &[(String, String)], name: &str| {
            let fact = facts.iter().find(|(other, _)| other == name);
            fact.map_or_else(|| "nothing".to_string(), |(_, value)| value.clone())
        };
        let is_new = |name: &str| ours.iter().all(|(known, _)| known != name);
        let added = theirs.iter().filter(|(name, _)| is_new(name));
        for (name, _) in ours.iter().chain(added) {
            self.compare(name, value_in(ours, name), value_in(theirs, name));
        }
    }
}

/// The fields of which each byte is a value: one for each player, or of an input.
const LISTS: [&str; 2] = ["input_delay_frames", "idle_input"];

/// A field's bytes for people: the number that they are, if they are as many as one has.
fn number(bytes: &[u8]) -> String {
    match *bytes {
        [one] => one.to_string(),
        [low, high] => u16::from_le_bytes([low, high]).to_string(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).to_string(),
        _ => list(bytes),
    }
}

fn list(bytes: &[u8]) -> String {
    if bytes.is_empty() { "nothing".into() } else { format!("{bytes:?}") }
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
        assert_eq!(mismatches(&ours, &ours, &config), None);

        let other = SessionConfig::builder().prediction_window_frames(9).build().unwrap();
        let fact = |value: &str| (String::from("env"), String::from(value));
        let facts = |value| Facts { must_match: alloc::vec![fact(value)], ..Facts::default() };
        let cases = [
            (Hello { version: 3, ..ours.clone() }, "wire version"),
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
            let found = mismatches(&ours, &theirs, &config).unwrap();
            assert_eq!(found.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), [field]);
        }
        let theirs = Hello { seed: 2, ..hello(&other) };
        let found = mismatches(&hello(&config), &theirs, &config).unwrap();
        let told = "prediction_window_frames: expected 8, got 9; seed: expected 1, got 2";
        assert_eq!(found.to_string(), told);
    }

    #[test]
    fn what_each_player_has_is_told_one_by_one_and_a_number_as_a_number() {
        let config = |delay, rate| {
            SessionConfig::builder().input_delay_frames(delay).tick_rate_hz(rate).build().unwrap()
        };
        let (ours, theirs) = (config(2, 60), config(0, 500));
        let other = Hello { roster: alloc::vec![1, 0], ..hello(&theirs) };
        let found = mismatches(&hello(&ours), &other, &ours).unwrap();
        let told = "tick_rate_hz: expected 60, got 500; input_delay_frames: expected [2, 2], got [0, 0]; \
                    roster: expected [0, 1], got [1, 0]";
        assert_eq!(found.to_string(), told);
    }
}
