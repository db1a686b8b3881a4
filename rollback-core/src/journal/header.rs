//! How a journal begins: what its session was made of.

use alloc::string::String;
use alloc::vec::Vec;

use super::entry::{bytes, number, peer, put_bytes, put_number};
use super::replay::JournalError;
use crate::bytes::{ByteReader, PutBytes};
use crate::{Facts, PeerId, PlayerHandle, Roster, SessionConfig, StateHash, Ticket, Timestamp};

/// Appends what a session was made of.
pub(super) fn put_header(
    bytes: &mut Vec<u8>,
    config: &SessionConfig,
    ticket: &Ticket,
    facts: &Facts,
    (start, now): (StateHash, Timestamp),
) {
    bytes.put(&MAGIC);
    put_bytes(bytes, &config.encode());
    bytes.put_u64(ticket.session);
    bytes.put_u32(ticket.episode);
    bytes.put_u64(ticket.seed);
    let hosts = PlayerHandle::all(config.players()).filter_map(|p| ticket.roster.host(p));
    put_bytes(bytes, &hosts.map(PeerId::slot).collect::<Vec<_>>());
    bytes.put(&[ticket.local.slot(), ticket.incarnation]);
    for facts in [&facts.must_match, &facts.may_differ] {
        put_number(bytes, facts.len() as u64);
        for (name, value) in facts {
            put_bytes(bytes, name.as_bytes());
            put_bytes(bytes, value.as_bytes());
        }
    }
    bytes.put(&start.to_bytes());
    bytes.put_u64(now.as_micros());
}

/// What a session was made of.
pub(super) struct Header {
    pub(super) config: SessionConfig,
    pub(super) ticket: Ticket,
    pub(super) facts: Facts,
    pub(super) start: StateHash,
    pub(super) now: Timestamp,
}

impl Header {
    pub(super) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, JournalError> {
        if reader.array()? != MAGIC {
            return Err(JournalError::NoJournal);
        }
        let config = SessionConfig::decode(bytes(reader)?).map_err(|_| JournalError::Malformed)?;
        let (session, episode, seed) = (reader.u64()?, reader.u32()?, reader.u64()?);
        let hosts = bytes(reader)?.iter().map(|slot| PeerId::new(*slot));
        let hosts: Option<Vec<_>> = hosts.collect();
        let roster = hosts.and_then(|hosts| Roster::new(&hosts).ok());
        let roster = roster.ok_or(JournalError::Malformed)?;
        let (local, incarnation) = (peer(reader)?, reader.u8()?);
        let ticket = Ticket { session, episode, seed, roster, local, incarnation };
        let facts = Facts { must_match: pairs(reader)?, may_differ: pairs(reader)? };
        let start = StateHash::from_bytes(reader.array()?);
        let now = Timestamp::from_micros(reader.u64()?);
        Ok(Self { config, ticket, facts, start, now })
    }
}

fn pairs(reader: &mut ByteReader<'_>) -> Result<Vec<(String, String)>, JournalError> {
    let mut pairs = Vec::new();
    for _ in 0..number(reader)? {
        pairs.push((text(reader)?, text(reader)?));
    }
    Ok(pairs)
}

fn text(reader: &mut ByteReader<'_>) -> Result<String, JournalError> {
    let text = core::str::from_utf8(bytes(reader)?).map_err(|_| JournalError::Malformed)?;
    Ok(text.into())
}

/// Says that this is a journal, and of which version.
const MAGIC: [u8; 4] = *b"RBJ\x02";
