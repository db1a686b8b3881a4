//! The bytes of a journal. `docs/engine.md` says what one is for.
//!
//! A header, and then entries of one byte for the kind and their fields. Numbers that are mostly small are written as
//! LEB128; moments as what passed since the last one.

use alloc::string::String;
use alloc::vec::Vec;

use super::replay::JournalError;
use crate::bytes::{ByteReader, EndOfBytes, PutBytes};
use crate::{
    Actor, Costs, Facts, Frame, InputFlags, Outcome, PeerId, PlayerHandle, Roster, Same,
    SessionConfig, StateHash, Ticket, Timestamp,
};

/// A call into a session, or what the game or the predictor answered meanwhile. An answer of `None` is an error.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Entry<'a> {
    Input {
        player: PlayerHandle,
        flags: InputFlags,
        input: &'a [u8],
    },
    Hint {
        player: PlayerHandle,
        frame: Frame,
        input: &'a [u8],
    },
    Datagram {
        now: Timestamp,
        from: PeerId,
        bytes: &'a [u8],
    },
    Timeout {
        now: Timestamp,
    },
    Advance {
        now: Timestamp,
    },
    /// Something was there; nothing is written when nothing was.
    Poll {
        now: Timestamp,
        digest: u32,
    },
    StepBudget(u32),
    RunAhead(u32),
    InputDelay {
        player: PlayerHandle,
        frames: u32,
    },
    AutomaticInputDelay(Option<(u32, u32)>),
    ProposeInputDelay(u8),
    Actor {
        player: PlayerHandle,
        actor: Actor,
    },
    ProposeEnd(u16),
    Leave,
    Pause,
    Resume,
    Readmit {
        peer: PeerId,
        incarnation: u8,
    },
    Kick {
        peer: PeerId,
    },
    ReserveSlot {
        peer: PeerId,
    },

    /// The answer of a call to advance: what follows a call and its answers.
    Advanced {
        digest: u32,
    },
    Saved(bool),
    Loaded(bool),
    Stepped {
        row: u32,
        outcome: Option<Outcome>,
    },
    Output(Option<&'a [u8]>),
    Hashed(Option<StateHash>),
    Costs(Costs),
    Same(Same),
    Leaf {
        name: &'a [u8],
        digest: u32,
    },
    Leaves(bool),
    Guess(&'a [u8]),
    Exported(Option<&'a [u8]>),
}

impl<'a> Entry<'a> {
    /// Appends the entry. `last` is the moment of the last one.
    pub(crate) fn encode(&self, last: &mut Timestamp, bytes: &mut Vec<u8>) {
        let mut moment = |bytes: &mut Vec<u8>, kind, now: Timestamp| {
            bytes.put_u8(kind);
            put_number(bytes, now.as_micros().wrapping_sub(last.as_micros()));
            *last = now;
        };
        match self {
            Self::Input { player, flags, input } => {
                bytes.put(&[INPUT, player.slot(), flags.bits()]);
                put_bytes(bytes, input);
            }
            Self::Hint { player, frame, input } => {
                bytes.put(&[HINT, player.slot()]);
                bytes.put_u32(frame.index());
                put_bytes(bytes, input);
            }
            Self::Datagram { now, from, bytes: datagram } => {
                moment(bytes, DATAGRAM, *now);
                bytes.put_u8(from.slot());
                put_bytes(bytes, datagram);
            }
            Self::Timeout { now } => moment(bytes, TIMEOUT, *now),
            Self::Advance { now } => moment(bytes, ADVANCE, *now),
            Self::Poll { now, digest } => {
                moment(bytes, POLL, *now);
                bytes.put_u32(*digest);
            }
            Self::RunAhead(frames) => {
                bytes.put_u8(RUN_AHEAD);
                bytes.put_u32(*frames);
            }
            Self::StepBudget(frames) => {
                bytes.put_u8(STEP_BUDGET);
                bytes.put_u32(*frames);
            }
            Self::InputDelay { player, frames } => {
                bytes.put(&[INPUT_DELAY, player.slot()]);
                bytes.put_u32(*frames);
            }
            Self::AutomaticInputDelay(limits) => {
                bytes.put(&[AUTOMATIC_INPUT_DELAY, u8::from(limits.is_some())]);
                let (min, max) = limits.unwrap_or_default();
                bytes.put_u32(min);
                bytes.put_u32(max);
            }
            Self::ProposeInputDelay(frames) => bytes.put(&[PROPOSE_INPUT_DELAY, *frames]),
            Self::Actor { player, actor } => bytes.put(&[ACTOR, player.slot(), actor.code()]),
            Self::ProposeEnd(code) => {
                bytes.put_u8(PROPOSE_END);
                bytes.put_u16(*code);
            }
            Self::Leave => bytes.put_u8(LEAVE),
            Self::Pause => bytes.put_u8(PAUSE),
            Self::Resume => bytes.put_u8(RESUME),
            Self::Readmit { peer, incarnation } => bytes.put(&[READMIT, peer.slot(), *incarnation]),
            Self::Kick { peer } => bytes.put(&[KICK, peer.slot()]),
            Self::ReserveSlot { peer } => bytes.put(&[RESERVE_SLOT, peer.slot()]),
            Self::Advanced { digest } => {
                bytes.put_u8(ADVANCED);
                bytes.put_u32(*digest);
            }
            answer => answer.encode_answer(bytes),
        }
    }

    fn encode_answer(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Saved(is_done) => bytes.put(&[SAVED, u8::from(*is_done)]),
            Self::Loaded(is_done) => bytes.put(&[LOADED, u8::from(*is_done)]),
            Self::Stepped { row, outcome } => {
                let code = match outcome {
                    None => 0,
                    Some(Outcome::Running) => 1,
                    Some(Outcome::Ended) => 2,
                };
                bytes.put(&[STEPPED, code]);
                bytes.put_u32(*row);
            }
            Self::Output(output) => {
                bytes.put(&[OUTPUT, u8::from(output.is_some())]);
                put_bytes(bytes, output.unwrap_or_default());
            }
            Self::Hashed(hash) => {
                bytes.put(&[HASHED, u8::from(hash.is_some())]);
                bytes.put(&hash.unwrap_or_default().to_bytes());
            }
            Self::Costs(costs) => {
                bytes.put_u8(COSTS);
                put_number(bytes, costs.save_nanos);
                put_number(bytes, costs.step_nanos);
            }
            Self::Same(same) => {
                let code = match same {
                    Same::No => 0,
                    Same::Yes => 1,
                    Same::Unknown => 2,
                };
                bytes.put(&[SAME, code]);
            }
            Self::Exported(state) => {
                bytes.put(&[EXPORTED, u8::from(state.is_some())]);
                put_bytes(bytes, state.unwrap_or_default());
            }
            Self::Leaf { name, digest } => {
                bytes.put_u8(LEAF);
                put_bytes(bytes, name);
                bytes.put_u32(*digest);
            }
            Self::Leaves(is_done) => bytes.put(&[LEAVES, u8::from(*is_done)]),
            Self::Guess(guess) => {
                bytes.put_u8(GUESS);
                put_bytes(bytes, guess);
            }
            _ => {}
        }
    }

    /// Reads the next entry. `last` is the moment of the last one.
    pub(super) fn decode(
        reader: &mut ByteReader<'a>,
        last: &mut Timestamp,
    ) -> Result<Self, JournalError> {
        let kind = reader.u8()?;
        if matches!(kind, DATAGRAM..=POLL) {
            let passed = number(reader)?;
            *last = Timestamp::from_micros(last.as_micros().wrapping_add(passed));
        }
        let now = *last;
        Ok(match kind {
            INPUT => {
                let player = player(reader)?;
                let flags = InputFlags::from_bits(reader.u8()?);
                Self::Input { player, flags, input: bytes(reader)? }
            }
            HINT => {
                let (player, frame) = (player(reader)?, Frame::new(reader.u32()?));
                Self::Hint { player, frame, input: bytes(reader)? }
            }
            DATAGRAM => Self::Datagram { now, from: peer(reader)?, bytes: bytes(reader)? },
            TIMEOUT => Self::Timeout { now },
            ADVANCE => Self::Advance { now },
            POLL => Self::Poll { now, digest: reader.u32()? },
            RUN_AHEAD => Self::RunAhead(reader.u32()?),
            STEP_BUDGET => Self::StepBudget(reader.u32()?),
            INPUT_DELAY => Self::InputDelay { player: player(reader)?, frames: reader.u32()? },
            AUTOMATIC_INPUT_DELAY => {
                let is_on = reader.u8()? != 0;
                let limits = (reader.u32()?, reader.u32()?);
                Self::AutomaticInputDelay(is_on.then_some(limits))
            }
            PROPOSE_INPUT_DELAY => Self::ProposeInputDelay(reader.u8()?),
            ACTOR => {
                let player = player(reader)?;
                let actor = Actor::from_code(reader.u8()?).ok_or(JournalError::Malformed)?;
                Self::Actor { player, actor }
            }
            PROPOSE_END => Self::ProposeEnd(reader.u16()?),
            LEAVE => Self::Leave,
            PAUSE => Self::Pause,
            RESUME => Self::Resume,
            READMIT => Self::Readmit { peer: peer(reader)?, incarnation: reader.u8()? },
            KICK => Self::Kick { peer: peer(reader)? },
            RESERVE_SLOT => Self::ReserveSlot { peer: peer(reader)? },
            ADVANCED => Self::Advanced { digest: reader.u32()? },
            answer => Self::decode_answer(answer, reader)?,
        })
    }

    fn decode_answer(kind: u8, reader: &mut ByteReader<'a>) -> Result<Self, JournalError> {
        Ok(match kind {
            SAVED => Self::Saved(reader.u8()? != 0),
            LOADED => Self::Loaded(reader.u8()? != 0),
            STEPPED => {
                let outcome = match reader.u8()? {
                    0 => None,
                    1 => Some(Outcome::Running),
                    2 => Some(Outcome::Ended),
                    _ => return Err(JournalError::Malformed),
                };
                Self::Stepped { row: reader.u32()?, outcome }
            }
            OUTPUT => {
                let is_done = reader.u8()? != 0;
                let output = bytes(reader)?;
                Self::Output(is_done.then_some(output))
            }
            HASHED => {
                let is_done = reader.u8()? != 0;
                let hash = StateHash::from_bytes(reader.array()?);
                Self::Hashed(is_done.then_some(hash))
            }
            COSTS => {
                let (save_nanos, step_nanos) = (number(reader)?, number(reader)?);
                Self::Costs(Costs { save_nanos, step_nanos })
            }
            SAME => Self::Same(match reader.u8()? {
                0 => Same::No,
                1 => Same::Yes,
                2 => Same::Unknown,
                _ => return Err(JournalError::Malformed),
            }),
            LEAF => Self::Leaf { name: bytes(reader)?, digest: reader.u32()? },
            LEAVES => Self::Leaves(reader.u8()? != 0),
            GUESS => Self::Guess(bytes(reader)?),
            EXPORTED => {
                let is_written = reader.u8()? != 0;
                let state = bytes(reader)?;
                Self::Exported(is_written.then_some(state))
            }
            _ => return Err(JournalError::Malformed),
        })
    }
}

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

fn player(reader: &mut ByteReader<'_>) -> Result<PlayerHandle, JournalError> {
    PlayerHandle::new(reader.u8()?).ok_or(JournalError::Malformed)
}

fn peer(reader: &mut ByteReader<'_>) -> Result<PeerId, JournalError> {
    PeerId::new(reader.u8()?).ok_or(JournalError::Malformed)
}

fn put_bytes(bytes: &mut Vec<u8>, field: &[u8]) {
    put_number(bytes, field.len() as u64);
    bytes.put(field);
}

fn bytes<'a>(reader: &mut ByteReader<'a>) -> Result<&'a [u8], JournalError> {
    let length = usize::try_from(number(reader)?).unwrap_or(usize::MAX);
    Ok(reader.take(length)?)
}

/// Appends a number, 7 bits a byte, the low ones first.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        let [low, ..] = number.to_le_bytes();
        bytes.put_u8(low | 0x80);
        number >>= 7;
    }
    let [low, ..] = number.to_le_bytes();
    bytes.put_u8(low);
}

fn number(reader: &mut ByteReader<'_>) -> Result<u64, EndOfBytes> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = reader.u8()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Ok(number)
}

/// Says that this is a journal, and of which version.
const MAGIC: [u8; 4] = *b"RBJ\x01";

const INPUT: u8 = 1;
const HINT: u8 = 2;
const DATAGRAM: u8 = 3;
const TIMEOUT: u8 = 4;
const ADVANCE: u8 = 5;
const POLL: u8 = 6;
const STEP_BUDGET: u8 = 7;
const INPUT_DELAY: u8 = 8;
const AUTOMATIC_INPUT_DELAY: u8 = 9;
const PROPOSE_INPUT_DELAY: u8 = 10;
const ACTOR: u8 = 11;
const PROPOSE_END: u8 = 12;
const LEAVE: u8 = 13;
const PAUSE: u8 = 14;
const RESUME: u8 = 15;
const READMIT: u8 = 16;
const RUN_AHEAD: u8 = 17;
const KICK: u8 = 18;
const RESERVE_SLOT: u8 = 19;
const ADVANCED: u8 = 32;
const SAVED: u8 = 33;
const LOADED: u8 = 34;
const STEPPED: u8 = 35;
const OUTPUT: u8 = 36;
const HASHED: u8 = 37;
const COSTS: u8 = 38;
const SAME: u8 = 39;
const LEAF: u8 = 40;
const LEAVES: u8 = 41;
const GUESS: u8 = 42;
const EXPORTED: u8 = 43;
