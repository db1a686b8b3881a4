//! What a recording says before its first frame: what was agreed on, who played, and on what machines.

use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use crate::bytes::PutBytes;
use crate::recording::RecordingError;
use crate::recording::cursor::Cursor;
use crate::{PeerId, PlayerHandle, Roster, SessionConfig, StateHash};

/// What is known before the first frame, and equal on all members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordingHeader {
    /// The room's number for the match.
    pub session: u64,
    /// Which episode of the match, from 0.
    pub episode: u32,
    /// The seed that `reset` took.
    pub seed: u64,
    /// The configuration.
    pub config: SessionConfig,
    /// Who played where.
    pub roster: Roster,
    /// The pseudonym of who sat at each peer, in roster order.
    pub participants: Vec<String>,
    /// The facts that were equal on all members: the environment, its version, its spaces.
    pub must_match: Vec<(String, String)>,
    /// The facts that may differ (numeric libraries, CPU features), of each peer in roster order.
    pub may_differ: Vec<Vec<(String, String)>>,
    /// The hash of the state after `reset`.
    pub start_hash: StateHash,
}

impl RecordingHeader {
    /// The header as the body of its section.
    pub(super) fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        self.check()?;
        let mut bytes = Vec::new();
        bytes.put_u64(self.session);
        bytes.put_u32(self.episode);
        bytes.put_u64(self.seed);
        bytes.put(&self.start_hash.to_bytes());
        let players = self.roster.player_count();
        bytes.put_u8(u8::try_from(players).unwrap_or(u8::MAX));
        for player in PlayerHandle::all(players) {
            bytes.put_u8(self.roster.host(player).map_or(u8::MAX, PeerId::slot));
        }
        let config = self.config.encode();
        bytes.put_u16(u16::try_from(config.len()).unwrap_or(u16::MAX));
        bytes.put(&config);
        for name in &self.participants {
            put_text(&mut bytes, name);
        }
        put_facts(&mut bytes, &self.must_match);
        for facts in &self.may_differ {
            put_facts(&mut bytes, facts);
        }
        Ok(bytes)
    }

    pub(super) fn decode(mut body: Cursor<'_>) -> Result<Self, RecordingError> {
        let (session, episode, seed) = (body.u64()?, body.u32()?, body.u64()?);
        let start_hash = StateHash::from_bytes(body.array()?);
        let roster = take_roster(&mut body)?;
        let length = body.u16()?;
        let offset = body.offset();
        let config = SessionConfig::decode(body.take(length.into())?)
            .map_err(|source| RecordingError::Config { offset, source })?;
        let (expected, got) = (roster.player_count(), config.players());
        if expected != got {
            return Err(RecordingError::Players { offset, expected, got });
        }
        let peers = 0..roster.peer_count();
        let participants = peers.clone().map(|_| take_text(&mut body)).collect::<Result<_, _>>()?;
        let must_match = take_facts(&mut body)?;
        let may_differ = peers.map(|_| take_facts(&mut body)).collect::<Result<_, _>>()?;
        body.finish()?;
        Ok(Self {
            session,
            episode,
            seed,
            config,
            roster,
            participants,
            must_match,
            may_differ,
            start_hash,
        })
    }

    /// The first field that differs from the one of `other`, by its name.
    pub(super) fn first_difference(&self, other: &Self) -> Option<&'static str> {
        let fields = [
            ("session", self.session == other.session),
            ("episode", self.episode == other.episode),
            ("seed", self.seed == other.seed),
            ("config", self.config == other.config),
            ("roster", self.roster == other.roster),
            ("participants", self.participants == other.participants),
            ("must_match", self.must_match == other.must_match),
            ("may_differ", self.may_differ == other.may_differ),
            ("start_hash", self.start_hash == other.start_hash),
        ];
        fields.into_iter().find(|(_, equal)| !equal).map(|(name, _)| name)
    }

    fn check(&self) -> Result<(), HeaderError> {
        let (expected, got) = (self.roster.player_count(), self.config.players());
        if expected != got {
            return Err(HeaderError::Players { expected, got });
        }
        let expected = self.roster.peer_count();
        for (field, got) in
            [("participants", self.participants.len()), ("may_differ", self.may_differ.len())]
        {
            if expected != got {
                return Err(HeaderError::Peers { field, expected, got });
            }
        }
        for name in &self.participants {
            check_text("participants", name)?;
        }
        check_facts("must_match", &self.must_match)?;
        self.may_differ.iter().try_for_each(|facts| check_facts("may_differ", facts))
    }
}

/// Why a header cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The roster and the configuration have another number of players.
    #[error("config: expected {expected} players as in the roster, got {got}")]
    Players {
        /// The players of the roster.
        expected: usize,
        /// The players of the configuration.
        got: usize,
    },
    /// A list has not one entry for each peer.
    #[error("{field}: expected an entry for each of {expected} peers, got {got}")]
    Peers {
        /// The list.
        field: &'static str,
        /// The peers of the roster.
        expected: usize,
        /// The entries of the list.
        got: usize,
    },
    /// There are too many facts.
    #[error("{field}: expected at most {max} facts, got {got}")]
    Facts {
        /// The list.
        field: &'static str,
        /// The most there may be.
        max: usize,
        /// How many there are.
        got: usize,
    },
    /// A text is too long.
    #[error("{field}: expected a text of at most {max} bytes, got {got}")]
    Text {
        /// Where it stands.
        field: &'static str,
        /// The most bytes it may take.
        max: usize,
        /// How many it takes.
        got: usize,
    },
}

fn check_text(field: &'static str, text: &str) -> Result<(), HeaderError> {
    match text.len() {
        got if got > TEXT_BYTES_MAX => Err(HeaderError::Text { field, max: TEXT_BYTES_MAX, got }),
        _ => Ok(()),
    }
}

fn check_facts(field: &'static str, facts: &[(String, String)]) -> Result<(), HeaderError> {
    if facts.len() > FACTS_MAX {
        return Err(HeaderError::Facts { field, max: FACTS_MAX, got: facts.len() });
    }
    for (name, value) in facts {
        check_text(field, name)?;
        check_text(field, value)?;
    }
    Ok(())
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.put(text.as_bytes());
}

fn put_facts(bytes: &mut Vec<u8>, facts: &[(String, String)]) {
    bytes.put_u8(u8::try_from(facts.len()).unwrap_or(u8::MAX));
    for (name, value) in facts {
        put_text(bytes, name);
        put_text(bytes, value);
    }
}

fn take_roster(body: &mut Cursor<'_>) -> Result<Roster, RecordingError> {
    let count = body.u8()?;
    let offset = body.offset();
    let slots = body.take(count.into())?;
    let hosts = slots
        .iter()
        .map(|slot| PeerId::new(*slot).ok_or(RecordingError::Peer { offset, got: *slot }))
        .collect::<Result<Vec<_>, _>>()?;
    Roster::new(&hosts).map_err(|source| RecordingError::Roster { offset, source })
}

fn take_text(body: &mut Cursor<'_>) -> Result<String, RecordingError> {
    let length = body.u8()?;
    let offset = body.offset();
    let text = core::str::from_utf8(body.take(length.into())?);
    text.map(String::from).map_err(|_| RecordingError::Text { offset })
}

fn take_facts(body: &mut Cursor<'_>) -> Result<Vec<(String, String)>, RecordingError> {
    let count = body.u8()?;
    // Grown as the facts are read, so that a count without facts behind it costs nothing.
    let mut facts = Vec::new();
    for _ in 0..count {
        facts.push((take_text(body)?, take_text(body)?));
    }
    Ok(facts)
}

/// The longest text of a header: its length travels in one byte, in the handshake as here.
pub const TEXT_BYTES_MAX: usize = 255;

/// The most facts of one list: their count travels in one byte, in the handshake as here.
pub const FACTS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn header() -> RecordingHeader {
        let fact = |name: &str, value: &str| (String::from(name), String::from(value));
        RecordingHeader {
            session: 9,
            episode: 3,
            seed: u64::MAX,
            config: SessionConfig::builder().players(3).input_width(2).build().unwrap(),
            roster: Roster::new(&[0, 1, 1].map(|slot| PeerId::new(slot).unwrap())).unwrap(),
            participants: vec!["p-01".into(), "Zoë".into()],
            must_match: vec![fact("env", "kitchen")],
            may_differ: vec![vec![fact("numpy", "2.4.6")], vec![]],
            start_hash: StateHash::from_u128(77),
        }
    }

    fn decode(bytes: &[u8]) -> Result<RecordingHeader, RecordingError> {
        RecordingHeader::decode(Cursor::new(bytes, 100))
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        assert_eq!(decode(&header().encode().unwrap()), Ok(header()));
    }

    #[test]
    fn each_limit_is_checked_at_the_limit_and_one_past_it() {
        let text = |length| "x".repeat(length);
        let mut named = header();
        named.participants[0] = text(255);
        assert_eq!(decode(&named.encode().unwrap()), Ok(named.clone()));
        named.participants[0] = text(256);
        let too_long = |field| HeaderError::Text { field, max: 255, got: 256 };
        assert_eq!(named.encode(), Err(too_long("participants")));

        let mut facts = header();
        facts.must_match = vec![(text(1), text(255)); 255];
        assert_eq!(decode(&facts.encode().unwrap()), Ok(facts.clone()));
        facts.must_match.push((text(1), text(1)));
        let too_many = HeaderError::Facts { field: "must_match", max: 255, got: 256 };
        assert_eq!(facts.encode(), Err(too_many));
        facts.must_match = vec![(text(256), text(1))];
        assert_eq!(facts.encode(), Err(too_long("must_match")));
    }

    #[test]
    fn lists_must_have_an_entry_for_each_peer() {
        let mut other = header();
        other.may_differ.pop();
        let expected = HeaderError::Peers { field: "may_differ", expected: 2, got: 1 };
        assert_eq!(other.encode(), Err(expected));
        let mut other = header();
        other.roster = Roster::one_player_each(2).unwrap();
        assert_eq!(other.encode(), Err(HeaderError::Players { expected: 2, got: 3 }));
    }

    #[test]
    fn bad_fields_are_named_with_their_place() {
        let sound = header().encode().unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = sound.clone();
            bytes[at] = byte;
            decode(&bytes).unwrap_err()
        };
        assert_eq!(with(37, 8), RecordingError::Peer { offset: 137, got: 8 });
        assert!(matches!(with(37, 2), RecordingError::Roster { offset: 137, .. }));
        // The configuration begins behind its length; its third byte is the number of players.
        assert!(matches!(with(44, 0), RecordingError::Config { offset: 142, .. }));
        let text = sound.iter().position(|byte| *byte == b'p').unwrap();
        assert_eq!(with(text, 0xff), RecordingError::Text { offset: 100 + text });
        assert!(matches!(
            decode(&sound[..sound.len() - 1]),
            Err(RecordingError::BodyEnds { expected: 1, got: 0, .. })
        ));
        let longer = [&sound[..], &[0]].concat();
        let offset = 100 + sound.len();
        assert_eq!(decode(&longer), Err(RecordingError::Trailing { offset, got: 1 }));
    }

    #[test]
    fn the_first_field_that_differs_is_named() {
        let mut other = header();
        assert_eq!(header().first_difference(&other), None);
        other.start_hash = StateHash::default();
        assert_eq!(header().first_difference(&other), Some("start_hash"));
        other.seed = 1;
        assert_eq!(header().first_difference(&other), Some("seed"));
    }

    #[test]
    fn a_roster_of_another_size_than_the_configuration_is_refused() {
        let mut bytes = header().encode().unwrap();
        // One player fewer in the roster, and the configuration as it was.
        bytes[36] = 2;
        bytes.remove(38);
        assert!(matches!(decode(&bytes), Err(RecordingError::Players { expected: 2, got: 3, .. })));
    }
}
