//! The hello: who a member is and what it will play.

use alloc::string::String;
use alloc::vec::Vec;

use super::WireError;
use crate::bytes::{ByteReader, PutBytes};
use crate::{Facts, PeerId, PlayerHandle, SessionConfig, StateHash, Ticket};

/// What a member says of itself before the first frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    /// Whether the sender has the receiver's hello.
    pub(crate) heard: bool,
    pub(crate) incarnation: u8,
    pub(crate) seed: u64,
    pub(crate) start: StateHash,
    pub(crate) roster: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) facts: Facts,
}

impl Hello {
    /// What a member says at first.
    pub(crate) fn new(
        config: &SessionConfig,
        ticket: &Ticket,
        facts: Facts,
        start: StateHash,
    ) -> Self {
        let hosts = PlayerHandle::all(config.players()).filter_map(|p| ticket.roster.host(p));
        Self {
            version: super::WIRE_VERSION,
            heard: false,
            incarnation: ticket.incarnation,
            seed: ticket.seed,
            start,
            roster: hosts.map(PeerId::slot).collect(),
            config: config.encode(),
            facts,
        }
    }

    /// Writes the hello for a receiver whose own hello was heard, or not.
    pub(crate) fn encode(&self, heard: bool, bytes: &mut Vec<u8>) {
        bytes.put_u16(self.version);
        bytes.put_u8(u8::from(heard));
        bytes.put_u8(self.incarnation);
        bytes.put_u64(self.seed);
        bytes.put(&self.start.to_bytes());
        put_short(bytes, &self.roster);
        put_long(bytes, &self.config);
        put_facts(bytes, &self.facts.must_match);
        put_facts(bytes, &self.facts.may_differ);
    }

    /// Reads a hello. One of another version is read as far as its version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = ByteReader::new(bytes);
        let version = reader.u16()?;
        if version != super::WIRE_VERSION {
            return Ok(Self::of_version(version));
        }
        let hello = Self {
            version,
            heard: reader.u8()? != 0,
            incarnation: reader.u8()?,
            seed: reader.u64()?,
            start: StateHash::from_bytes(reader.array()?),
            roster: short(&mut reader)?.to_vec(),
            config: {
                let length = reader.u16()?;
                reader.take(length.into())?.to_vec()
            },
            facts: Facts { must_match: facts(&mut reader)?, may_differ: facts(&mut reader)? },
        };
        match reader.remaining() {
            0 => Ok(hello),
            got => Err(WireError::Trailing { got }),
        }
    }

    fn of_version(version: u16) -> Self {
        Self {
            version,
            heard: false,
            incarnation: 0,
            seed: 0,
            start: StateHash::default(),
            roster: Vec::new(),
            config: Vec::new(),
            facts: Facts::default(),
        }
    }
}

fn put_short(bytes: &mut Vec<u8>, field: &[u8]) {
    let field = field.get(..usize::from(u8::MAX)).unwrap_or(field);
    bytes.put_u8(u8::try_from(field.len()).unwrap_or(u8::MAX));
    bytes.put(field);
}

fn put_long(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.put_u16(u16::try_from(field.len()).unwrap_or(u16::MAX));
    bytes.put(field);
}

fn put_facts(bytes: &mut Vec<u8>, facts: &[(String, String)]) {
    let facts = facts.get(..usize::from(u8::MAX)).unwrap_or(facts);
    bytes.put_u8(u8::try_from(facts.len()).unwrap_or(u8::MAX));
    for (name, value) in facts {
        put_short(bytes, name.as_bytes());
        put_short(bytes, value.as_bytes());
    }
}

fn short<'a>(reader: &mut ByteReader<'a>) -> Result<&'a [u8], WireError> {
    let length = reader.u8()?;
    Ok(reader.take(length.into())?)
}

fn facts(reader: &mut ByteReader<'_>) -> Result<Vec<(String, String)>, WireError> {
    let count = reader.u8()?;
    let mut text = || Ok::<_, WireError>(String::from_utf8_lossy(short(reader)?).into_owned());
    (0..count).map(|_| Ok((text()?, text()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_read_as_it_was_written() {
        let fact = |name: &str, value: &str| (String::from(name), String::from(value));
        let hello = Hello {
            heard: true,
            incarnation: 1,
            seed: 42,
            start: StateHash::from_u128(9),
            roster: alloc::vec![0, 1, 1],
            config: alloc::vec![1, 2, 3],
            facts: Facts {
                must_match: alloc::vec![fact("env", "kitchen:make_env")],
                may_differ: alloc::vec![fact("numpy", "2.4.6"), fact("cpu", "AVX2")],
            },
            ..Hello::of_version(super::super::WIRE_VERSION)
        };
        let mut bytes = Vec::new();
        hello.encode(true, &mut bytes);
        assert_eq!(Hello::decode(&bytes), Ok(hello));
        assert!(Hello::decode(&bytes[..bytes.len() - 1]).is_err());
        bytes.push(0);
        assert_eq!(Hello::decode(&bytes), Err(WireError::Trailing { got: 1 }));
    }

    #[test]
    fn a_hello_of_another_version_tells_its_version() {
        assert_eq!(Hello::decode(&[9, 0, 77]).map(|hello| hello.version), Ok(9));
    }
}
