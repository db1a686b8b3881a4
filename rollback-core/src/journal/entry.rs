//! The bytes of a journal: every kind of entry with its number and its fields, once. `docs/engine.md` says what a journal is for.
//!
//! After the header come entries of one byte for the kind and their fields. Numbers that are mostly small are written as
//! LEB128; moments as what passed since the last one.

use alloc::vec::Vec;

use super::replay::JournalError;
use crate::bytes::{ByteReader, EndOfBytes, PutBytes};
use crate::{
    Actor, Costs, Frame, InputFlags, Item, Outcome, PeerId, PlayerHandle, Same, StateHash,
    Timestamp,
};

/// Makes of one table: the entries, how they are written and read in the order of their fields, and the session's function
/// that a call came through.
macro_rules! entries {
    (
        $(#[$of_all:meta])*
        enum $entry:ident<$life:lifetime> {
            $(
                $(#[$doc:meta])*
                $code:literal $kind:ident $({ $($field:ident: $type:ty),* })? $(($value:ident: $of:ty))?
                $(=> $door:literal)?;
            )*
        }
    ) => {
        $(#[$of_all])*
        pub(crate) enum $entry<$life> {
            $($(#[$doc])* $kind $({ $($field: $type),* })? $(($of))?,)*
        }

        impl<$life> $entry<$life> {
            /// Appends the entry. `last` is the moment of the last one.
            pub(crate) fn encode(&self, last: &mut Timestamp, bytes: &mut Vec<u8>) {
                match self {
                    $(Self::$kind $({ $($field),* })? $(($value))? => {
                        bytes.put_u8($code);
                        $($($field.write(bytes, last);)*)?
                        $($value.write(bytes, last);)?
                    })*
                }
            }

            /// Reads the next entry. `last` is the moment of the last one.
            pub(super) fn decode(
                reader: &mut ByteReader<$life>,
                last: &mut Timestamp,
            ) -> Result<Self, JournalError> {
                Ok(match reader.u8()? {
                    $($code => Self::$kind
                        $({ $($field: Field::read(reader, last)?),* })?
                        $((<$of>::read(reader, last)?))?,)*
                    _ => return Err(JournalError::Malformed),
                })
            }

            /// The session's function that was called.
            pub(super) fn door(&self) -> &'static str {
                match self {
                    $(Self::$kind { .. } => entries!(@door $($door)?),)*
                }
            }
        }
    };
    (@door $door:literal) => { $door };
    (@door) => { "an answer without its call" };
}

entries! {
    /// A call into a session, or what the game or the predictor answered meanwhile. An answer of `None` is an error.
    #[derive(Clone, PartialEq, Debug)]
    enum Entry<'a> {
        1 Input { player: PlayerHandle, flags: InputFlags, input: &'a [u8] } => "set_local_input";
        2 Hint { player: PlayerHandle, frame: Frame, input: &'a [u8] } => "hint_input";
        3 Datagram { now: Timestamp, from: PeerId, bytes: &'a [u8] } => "handle_datagram";
        4 Timeout { now: Timestamp } => "handle_timeout";
        5 Advance { now: Timestamp } => "advance_frame";
        /// Something was there; nothing is written when nothing was.
        6 Poll { now: Timestamp, digest: u32 } => "poll_output";
        7 StepBudget(frames: u32) => "with_step_budget";
        8 InputDelay { player: PlayerHandle, frames: u32 } => "set_input_delay";
        9 AutomaticInputDelay(limits: Option<(u32, u32)>) => "set_automatic_input_delay";
        10 ProposeInputDelay(frames: u8) => "propose_input_delay";
        11 Actor { player: PlayerHandle, actor: Actor } => "set_actor";
        12 ProposeEnd(code: u16) => "propose_end";
        13 Leave => "leave";
        14 Pause => "pause";
        15 Resume => "resume";
        16 Readmit { peer: PeerId, incarnation: u8 } => "readmit";
        17 RunAhead(frames: u32) => "with_run_ahead";
        18 Kick { peer: PeerId } => "kick";
        19 ReserveSlot { peer: PeerId } => "reserve_slot";
        /// The session is one of a peer that comes back; before all else.
        20 Rejoin => "rejoin";
        /// A frame of the recording.
        21 Backfill {
            has_output: bool,
            frame: Frame,
            inputs: &'a [u8],
            flags: &'a [u8],
            items: Vec<(PeerId, Item)>,
            output: &'a [u8],
            state_hash: Option<StateHash>,
            keyframe: Option<&'a [u8]>
        } => "backfill";
        22 Resync => "resync";
        23 InterruptedAfter { micros: u64 } => "with_interrupted_after";
        /// The agreed state is to be written out.
        24 RequestState => "request_state";
        /// A state to go on from, and the hash that was recorded of it.
        25 OfferState { frame: Frame, recorded: StateHash, bytes: &'a [u8] } => "offer_state";
        26 EndDisputed => "end_disputed";

        /// The answer of a call to advance: what follows a call and its answers.
        32 Advanced { digest: u32 };
        33 Saved(is_done: bool);
        34 Loaded(is_done: bool);
        35 Stepped { outcome: Option<Outcome>, row: u32 };
        36 Output(output: Option<&'a [u8]>);
        37 Hashed(hash: Option<StateHash>);
        38 Costs(costs: Costs);
        39 Same(same: Same);
        40 Leaf { name: &'a [u8], digest: u32 };
        41 Leaves(is_done: bool);
        42 Guess(guess: &'a [u8]);
        43 Exported(state: Option<&'a [u8]>);
        44 Imported(is_read: bool);
    }
}

/// How a field of an entry is written and read.
trait Field<'a>: Sized {
    fn write(&self, bytes: &mut Vec<u8>, last: &mut Timestamp);

    fn read(reader: &mut ByteReader<'a>, last: &mut Timestamp) -> Result<Self, JournalError>;
}

/// Fields that do not depend on what came before: how each is appended to bytes, and how it is read.
macro_rules! fields {
    ($($type:ty: |$field:ident, $bytes:ident| $put:expr, |$reader:ident| $take:expr;)*) => {$(
        impl<'a> Field<'a> for $type {
            fn write(&self, $bytes: &mut Vec<u8>, _: &mut Timestamp) {
                let $field = self;
                $put;
            }

            fn read($reader: &mut ByteReader<'a>, _: &mut Timestamp) -> Result<Self, JournalError> {
                Ok($take)
            }
        }
    )*};
}

fields! {
    bool: |is, bytes| bytes.put_u8(u8::from(*is)), |reader| reader.u8()? != 0;
    u8: |number, bytes| bytes.put_u8(*number), |reader| reader.u8()?;
    u16: |number, bytes| bytes.put_u16(*number), |reader| reader.u16()?;
    u32: |number, bytes| bytes.put_u32(*number), |reader| reader.u32()?;
    u64: |micros, bytes| put_number(bytes, *micros), |reader| number(reader)?;
    &'a [u8]: |field, bytes| put_bytes(bytes, field), |reader| bytes(reader)?;
    Frame: |frame, bytes| bytes.put_u32(frame.index()), |reader| Self::new(reader.u32()?);
    PeerId: |peer, bytes| bytes.put_u8(peer.slot()), |reader| peer(reader)?;
    PlayerHandle: |player, bytes| bytes.put_u8(player.slot()),
        |reader| Self::new(reader.u8()?).ok_or(JournalError::Malformed)?;
    InputFlags: |flags, bytes| bytes.put_u8(flags.bits()), |reader| Self::from_bits(reader.u8()?);
    Actor: |actor, bytes| bytes.put_u8(actor.code()),
        |reader| Self::from_code(reader.u8()?).ok_or(JournalError::Malformed)?;
    StateHash: |hash, bytes| bytes.put(&hash.to_bytes()),
        |reader| Self::from_bytes(reader.array()?);
    Costs: |costs, bytes| {
        put_number(bytes, costs.save_nanos);
        put_number(bytes, costs.step_nanos)
    }, |reader| Self { save_nanos: number(reader)?, step_nanos: number(reader)? };
    Option<Outcome>: |outcome, bytes| bytes.put_u8(match outcome {
        None => 0,
        Some(Outcome::Running) => 1,
        Some(Outcome::Ended) => 2,
    }), |reader| match reader.u8()? {
        0 => None,
        1 => Some(Outcome::Running),
        2 => Some(Outcome::Ended),
        _ => return Err(JournalError::Malformed),
    };
    Same: |same, bytes| bytes.put_u8(match same {
        Same::No => 0,
        Same::Yes => 1,
        Same::Unknown => 2,
    }), |reader| match reader.u8()? {
        0 => Self::No,
        1 => Self::Yes,
        2 => Self::Unknown,
        _ => return Err(JournalError::Malformed),
    };
    Vec<(PeerId, Item)>: |items, bytes| put_items(bytes, items), |reader| items(bytes(reader)?)?;
}

/// A moment is written as what passed since the last one.
impl Field<'_> for Timestamp {
    fn write(&self, bytes: &mut Vec<u8>, last: &mut Timestamp) {
        put_number(bytes, self.as_micros().wrapping_sub(last.as_micros()));
        *last = *self;
    }

    fn read(reader: &mut ByteReader<'_>, last: &mut Timestamp) -> Result<Self, JournalError> {
        *last = Self::from_micros(last.as_micros().wrapping_add(number(reader)?));
        Ok(*last)
    }
}

impl<'a, A: Field<'a>, B: Field<'a>> Field<'a> for (A, B) {
    fn write(&self, bytes: &mut Vec<u8>, last: &mut Timestamp) {
        self.0.write(bytes, last);
        self.1.write(bytes, last);
    }

    fn read(reader: &mut ByteReader<'a>, last: &mut Timestamp) -> Result<Self, JournalError> {
        Ok((A::read(reader, last)?, B::read(reader, last)?))
    }
}

/// What is absent has the room of an empty one.
impl<'a, T: Field<'a> + Copy + Default> Field<'a> for Option<T> {
    fn write(&self, bytes: &mut Vec<u8>, last: &mut Timestamp) {
        self.is_some().write(bytes, last);
        self.unwrap_or_default().write(bytes, last);
    }

    fn read(reader: &mut ByteReader<'a>, last: &mut Timestamp) -> Result<Self, JournalError> {
        let is_there = bool::read(reader, last)?;
        let field = T::read(reader, last)?;
        Ok(is_there.then_some(field))
    }
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
