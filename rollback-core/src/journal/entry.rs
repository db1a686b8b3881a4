//! The bytes of a journal. `docs/engine.md` says what one is for.
//!
//! After the header come entries of one byte for the kind and their fields. Numbers that are mostly small are written as
//! LEB128; moments as what passed since the last one.

use alloc::vec::Vec;

use super::replay::JournalError;
use crate::bytes::{ByteReader, EndOfBytes, PutBytes};
use crate::{
    Actor, Costs, Frame, InputFlags, Item, Outcome, PeerId, PlayerHandle, Same, StableFrame,
    StateHash, Timestamp,
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
    InterruptedAfter {
        micros: u64,
    },
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
    /// What follows a desync: a resync, or the end.
    Decide {
        resyncs: bool,
    },
    Readmit {
        peer: PeerId,
        incarnation: u8,
    },
    /// The session is one of a peer that comes back; before all else.
    Rejoin,
    /// A frame of the recording.
    Backfill {
        /// Without its items.
        row: StableFrame<'a>,
        items: Vec<(PeerId, Item)>,
        has_output: bool,
    },
    /// The agreed state is to be written out.
    RequestState,
    /// A state to go on from, and the hash that was recorded of it.
    OfferState {
        frame: Frame,
        recorded: StateHash,
        bytes: &'a [u8],
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
    Imported(bool),
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
            Self::InterruptedAfter { micros } => {
                bytes.put_u8(INTERRUPTED_AFTER);
                put_number(bytes, *micros);
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
            Self::Decide { resyncs } => bytes.put(&[DECIDE, u8::from(*resyncs)]),
            Self::Advanced { digest } => {
                bytes.put_u8(ADVANCED);
                bytes.put_u32(*digest);
            }
            other => other.encode_of_members(bytes),
        }
    }

    fn encode_of_members(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Readmit { peer, incarnation } => bytes.put(&[READMIT, peer.slot(), *incarnation]),
            Self::Rejoin => bytes.put_u8(REJOIN),
            Self::Backfill { row, items, has_output } => {
                let StableFrame { frame, inputs, flags, output, state_hash, keyframe, .. } = *row;
                let has = [*has_output, state_hash.is_some(), keyframe.is_some()];
                bytes.put_u8(BACKFILL);
                bytes.put(&has.map(u8::from));
                bytes.put_u32(frame.index());
                put_bytes(bytes, inputs);
                put_bytes(bytes, flags);
                put_items(bytes, items);
                put_bytes(bytes, output);
                bytes.put(&state_hash.unwrap_or_default().to_bytes());
                put_bytes(bytes, keyframe.unwrap_or_default());
            }
            Self::RequestState => bytes.put_u8(REQUEST_STATE),
            Self::OfferState { frame, recorded, bytes: state } => {
                bytes.put_u8(OFFER_STATE);
                bytes.put_u32(frame.index());
                bytes.put(&recorded.to_bytes());
                put_bytes(bytes, state);
            }
            Self::Kick { peer } => bytes.put(&[KICK, peer.slot()]),
            Self::ReserveSlot { peer } => bytes.put(&[RESERVE_SLOT, peer.slot()]),
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
            Self::Imported(is_read) => bytes.put(&[IMPORTED, u8::from(*is_read)]),
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
            INTERRUPTED_AFTER => Self::InterruptedAfter { micros: number(reader)? },
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
            DECIDE => Self::Decide { resyncs: reader.u8()? != 0 },
            READMIT => Self::Readmit { peer: peer(reader)?, incarnation: reader.u8()? },
            REJOIN => Self::Rejoin,
            BACKFILL => Self::decode_backfill(reader)?,
            REQUEST_STATE => Self::RequestState,
            OFFER_STATE => {
                let frame = Frame::new(reader.u32()?);
                let recorded = StateHash::from_bytes(reader.array()?);
                Self::OfferState { frame, recorded, bytes: bytes(reader)? }
            }
            KICK => Self::Kick { peer: peer(reader)? },
            RESERVE_SLOT => Self::ReserveSlot { peer: peer(reader)? },
            ADVANCED => Self::Advanced { digest: reader.u32()? },
            answer => Self::decode_answer(answer, reader)?,
        })
    }

    fn decode_backfill(reader: &mut ByteReader<'a>) -> Result<Self, JournalError> {
        let [has_output, is_hashed, has_keyframe] = reader.array()?.map(|byte: u8| byte != 0);
        let frame = Frame::new(reader.u32()?);
        let (inputs, flags) = (bytes(reader)?, bytes(reader)?);
        let items = items(bytes(reader)?)?;
        let (output, hash) = (bytes(reader)?, StateHash::from_bytes(reader.array()?));
        let state = bytes(reader)?;
        let row = StableFrame {
            frame,
            inputs,
            flags,
            items: &[],
            output,
            state_hash: is_hashed.then_some(hash),
            keyframe: has_keyframe.then_some(state),
        };
        Ok(Self::Backfill { row, items, has_output })
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
            IMPORTED => Self::Imported(reader.u8()? != 0),
            EXPORTED => {
                let is_written = reader.u8()? != 0;
                let state = bytes(reader)?;
                Self::Exported(is_written.then_some(state))
            }
            _ => return Err(JournalError::Malformed),
        })
    }
}

fn player(reader: &mut ByteReader<'_>) -> Result<PlayerHandle, JournalError> {
    PlayerHandle::new(reader.u8()?).ok_or(JournalError::Malformed)
}

pub(super) fn peer(reader: &mut ByteReader<'_>) -> Result<PeerId, JournalError> {
    PeerId::new(reader.u8()?).ok_or(JournalError::Malformed)
}

fn put_items(bytes: &mut Vec<u8>, items: &[(PeerId, Item)]) {
    let mut all = Vec::new();
    for (by, item) in items {
        all.put_u8(by.slot());
        item.encode(&mut all);
    }
    put_bytes(bytes, &all);
}

fn items(bytes: &[u8]) -> Result<Vec<(PeerId, Item)>, JournalError> {
    let mut reader = ByteReader::new(bytes);
    let mut items = Vec::new();
    while reader.remaining() > 0 {
        let by = peer(&mut reader)?;
        items.push((by, Item::decode(&mut reader).map_err(|_| JournalError::Malformed)?));
    }
    Ok(items)
}

pub(super) fn put_bytes(bytes: &mut Vec<u8>, field: &[u8]) {
    put_number(bytes, field.len() as u64);
    bytes.put(field);
}

pub(super) fn bytes<'a>(reader: &mut ByteReader<'a>) -> Result<&'a [u8], JournalError> {
    let length = usize::try_from(number(reader)?).unwrap_or(usize::MAX);
    Ok(reader.take(length)?)
}

/// Appends a number, 7 bits a byte, the low ones first.
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        let [low, ..] = number.to_le_bytes();
        bytes.put_u8(low | 0x80);
        number >>= 7;
    }
    let [low, ..] = number.to_le_bytes();
    bytes.put_u8(low);
}

pub(super) fn number(reader: &mut ByteReader<'_>) -> Result<u64, EndOfBytes> {
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
const REJOIN: u8 = 20;
const BACKFILL: u8 = 21;
const DECIDE: u8 = 22;
const INTERRUPTED_AFTER: u8 = 23;
const REQUEST_STATE: u8 = 24;
const OFFER_STATE: u8 = 25;
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
const IMPORTED: u8 = 44;
