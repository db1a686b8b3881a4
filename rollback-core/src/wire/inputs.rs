//! The bytes of the datagram of every frame: inputs, acknowledgement, clock and sometimes more.

use alloc::vec::Vec;

use super::hints::{HINTS, HintRun};
use super::run::Run;
use super::{Kind, WireError};
use crate::bytes::{ByteReader, PutBytes};
use crate::{Frame, PeerId};

/// The fixed part of an inputs datagram. Frame numbers are whole here and cut short on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct InputsHead {
    /// Every frame of the receiver before this one is held.
    pub(crate) ack: Frame,
    /// The first frame of the sender's run.
    pub(crate) first: Frame,
    /// How many frames the run has.
    pub(crate) count: u8,
    /// When it was sent, on the sender's clock, in units of 128 µs.
    pub(crate) clock: u16,
    /// The sender's confirmed frame, where it cannot be told from the rest.
    pub(crate) confirmed: Option<Frame>,
    /// The frames after the first gap that are held, where there is one.
    pub(crate) held_beyond_gap: u32,
    /// Digests of a report.
    pub(crate) digest: Option<DigestBlock>,
}

/// The short digests of everything up to a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Digest {
    /// Of the inputs alone: to tell which of the two it is that differs.
    pub(crate) inputs: u16,
    /// Of the states, and of the inputs.
    pub(crate) whole: u32,
}

/// The digests of a report, and the sender's view of the clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DigestBlock {
    /// The number of the report modulo 128.
    pub(crate) report: u8,
    /// Whether the sender has seen the end agreed by all.
    pub(crate) end_agreed: bool,
    pub(crate) digest: Digest,
    /// The least time between the receiver's send clock and the sender's receive clock, in units of 128 µs.
    pub(crate) clock_min: u16,
}

/// The sender lacks frames of a third peer and asks for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Want {
    pub(crate) owner: PeerId,
    /// Every frame before this one is held.
    pub(crate) end: Frame,
}

/// A decoded inputs datagram.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) run: Run<'a>,
    wants: &'a [u8],
    extra: &'a [u8],
}

/// What follows the main run.
enum Extra<'a> {
    Run(ExtraRun<'a>),
    Hints(HintRun<'a>),
}

/// A run of a third peer, or of frames apart from the main run, and what is known of its owner.
#[derive(Debug)]
pub(crate) struct ExtraRun<'a> {
    pub(crate) owner: PeerId,
    pub(crate) confirmed: Frame,
    /// The owner's last report that the sender heard of, by its number modulo 128.
    pub(crate) report: Option<(u8, Digest)>,
    pub(crate) run: Run<'a>,
}

impl InputsHead {
    /// Writes the head; the kind and the tag's room are there already.
    pub(crate) fn encode(&self, long: bool, bytes: &mut Vec<u8>) {
        let ([ack, ack_high, ..], [first, first_high, ..]) =
            (self.ack.index().to_le_bytes(), self.first.index().to_le_bytes());
        let [clock, clock_high] = self.clock.to_le_bytes();
        match long {
            false => bytes.put(&[ack, first, self.count, clock, clock_high]),
            true => {
                bytes.put(&[ack, ack_high, first, first_high, self.count, clock, clock_high]);
            }
        }
        if let Some(confirmed) = self.confirmed {
            put_frame(bytes, confirmed, long);
            set_flag(bytes, FLAG_CONFIRMED);
        }
        if self.held_beyond_gap != 0 {
            bytes.put_u32(self.held_beyond_gap);
            set_flag(bytes, FLAG_GAP);
        }
        if let Some(digest) = self.digest {
            bytes.put_u8(digest.report & REPORT_MASK | u8::from(digest.end_agreed) << 7);
            digest.digest.encode(bytes);
            bytes.put_u16(digest.clock_min);
            set_flag(bytes, FLAG_DIGEST);
        }
    }

    /// Reads the head. `own_end` is where the receiver's own stream ends, `sender_end` the first frame of the sender
    /// that it lacks: cut numbers mean the whole ones that are near.
    pub(crate) fn decode(
        flags: u8,
        reader: &mut ByteReader<'_>,
        long: bool,
        (own_end, sender_end): (Frame, Frame),
    ) -> Result<Self, WireError> {
        // An acknowledgement lies at most a history behind the stream, so the middle of that is the best guess.
        let near_own = own_end.minus(if long { 1 << 14 } else { 1 << 6 });
        let ack = frame(reader, long, near_own)?;
        let first = frame(reader, long, sender_end)?;
        let (count, clock) = (reader.u8()?, reader.u16()?);
        let confirmed = match flags & FLAG_CONFIRMED {
            0 => None,
            _ => Some(frame(reader, long, near_own)?),
        };
        let held_beyond_gap = if flags & FLAG_GAP == 0 { 0 } else { reader.u32()? };
        let digest = if flags & FLAG_DIGEST == 0 { None } else { Some(digest(reader)?) };
        Ok(Self { ack, first, count, clock, confirmed, held_beyond_gap, digest })
    }
}

fn digest(reader: &mut ByteReader<'_>) -> Result<DigestBlock, WireError> {
    let report = reader.u8()?;
    Ok(DigestBlock {
        report: report & REPORT_MASK,
        end_agreed: report & !REPORT_MASK != 0,
        digest: Digest::decode(reader)?,
        clock_min: reader.u16()?,
    })
}

impl Digest {
    pub(super) fn encode(self, bytes: &mut Vec<u8>) {
        bytes.put_u16(self.inputs);
        bytes.put_u32(self.whole);
    }

    pub(super) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, WireError> {
        Ok(Self { inputs: reader.u16()?, whole: reader.u32()? })
    }
}

impl<'a> Inputs<'a> {
    /// Reads what follows the head; every length is checked here, so that nothing is applied of a broken datagram.
    pub(crate) fn decode(
        flags: u8,
        reader: &mut ByteReader<'a>,
        head: &InputsHead,
        players_of: impl Fn(PeerId) -> usize,
        (sender, width): (PeerId, usize),
    ) -> Result<Self, WireError> {
        let mut wants = [].as_slice();
        if flags & FLAG_WANTS != 0 {
            let count = reader.u8()?;
            wants = reader.take(usize::from(count) * WANT_BYTES)?;
            for want in wants.chunks_exact(WANT_BYTES) {
                self::want(&mut ByteReader::new(want))?;
            }
        }
        let has_meta = flags & FLAG_META != 0;
        let players = players_of(sender);
        let run = Run::decode(reader, head.first, head.count, players, width, has_meta)?;
        let extra = match flags & FLAG_RUNS {
            0 => [].as_slice(),
            _ => reader.rest(),
        };
        let inputs = Self { run, wants, extra };
        if inputs.has_extras() {
            for extra in inputs.extras(&players_of, width) {
                extra?;
            }
        }
        match reader.remaining() - extra.len() {
            0 => Ok(inputs),
            got => Err(WireError::Trailing { got }),
        }
    }

    /// Whether something follows the main run.
    pub(crate) fn has_extras(&self) -> bool {
        !self.extra.is_empty()
    }

    /// Whether the sender lacks frames of third peers.
    pub(crate) fn has_wants(&self) -> bool {
        !self.wants.is_empty()
    }

    /// What the sender lacks of third peers.
    pub(crate) fn wants(&self) -> impl Iterator<Item = Want> + '_ {
        self.wants.chunks_exact(WANT_BYTES).filter_map(|w| want(&mut ByteReader::new(w)).ok())
    }

    /// The runs beside the main one.
    pub(crate) fn extra_runs(
        &self,
        players_of: impl Fn(PeerId) -> usize,
        width: usize,
    ) -> impl Iterator<Item = Result<ExtraRun<'a>, WireError>> {
        self.extras(players_of, width).filter_map(|extra| match extra {
            Ok(Extra::Run(run)) => Some(Ok(run)),
            Ok(Extra::Hints(_)) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// What players will probably do.
    pub(crate) fn hints(
        &self,
        players_of: impl Fn(PeerId) -> usize,
        width: usize,
    ) -> impl Iterator<Item = HintRun<'a>> {
        self.extras(players_of, width).filter_map(|extra| match extra {
            Ok(Extra::Hints(hints)) => Some(hints),
            Ok(Extra::Run(_)) | Err(_) => None,
        })
    }

    fn extras(
        &self,
        players_of: impl Fn(PeerId) -> usize,
        width: usize,
    ) -> impl Iterator<Item = Result<Extra<'a>, WireError>> {
        let mut reader = ByteReader::new(self.extra);
        core::iter::from_fn(move || {
            (reader.remaining() > 0).then(|| extra(&mut reader, &players_of, width))
        })
        .fuse()
        .take(EXTRA_RUNS_MAX)
    }
}

fn want(reader: &mut ByteReader<'_>) -> Result<Want, WireError> {
    Ok(Want { owner: peer(reader)?, end: Frame::new(reader.u32()?) })
}

fn extra<'a>(
    reader: &mut ByteReader<'a>,
    players_of: impl Fn(PeerId) -> usize,
    width: usize,
) -> Result<Extra<'a>, WireError> {
    let first = reader.u8()?;
    let owner = peer_of(first & !HINTS)?;
    match first & HINTS {
        0 => extra_run(reader, owner, players_of(owner), width).map(Extra::Run),
        _ => HintRun::decode(reader, owner, players_of(owner), width).map(Extra::Hints),
    }
}

fn extra_run<'a>(
    reader: &mut ByteReader<'a>,
    owner: PeerId,
    players: usize,
    width: usize,
) -> Result<ExtraRun<'a>, WireError> {
    let (confirmed, first) = (Frame::new(reader.u32()?), Frame::new(reader.u32()?));
    let (count, bits) = (reader.u8()?, reader.u8()?);
    let report = match bits & EXTRA_REPORT {
        0 => None,
        _ => Some((reader.u8()? & REPORT_MASK, Digest::decode(reader)?)),
    };
    let has_meta = bits & EXTRA_META != 0;
    let run = Run::decode(reader, first, count, players, width, has_meta)?;
    Ok(ExtraRun { owner, confirmed, report, run })
}

fn peer(reader: &mut ByteReader<'_>) -> Result<PeerId, WireError> {
    peer_of(reader.u8()?)
}

fn peer_of(slot: u8) -> Result<PeerId, WireError> {
    PeerId::new(slot).ok_or(WireError::Range { field: "peer", got: slot.into() })
}

/// Appends the wants, of which there are some.
pub(crate) fn put_wants(bytes: &mut Vec<u8>, wants: impl Iterator<Item = Want>) {
    let count_at = bytes.len();
    bytes.put_u8(0);
    for want in wants {
        bytes.put_u8(want.owner.slot());
        bytes.put_u32(want.end.index());
        if let Some(count) = bytes.get_mut(count_at) {
            *count += 1;
        }
    }
    set_flag(bytes, FLAG_WANTS);
}

/// Appends the head of an extra run; [`finish_extra_run`] fills in what is known only after its body.
pub(crate) fn start_extra_run(
    bytes: &mut Vec<u8>,
    owner: PeerId,
    (confirmed, first): (Frame, Frame),
    report: Option<(u8, Digest)>,
) -> usize {
    let at = bytes.len();
    bytes.put_u8(owner.slot());
    bytes.put_u32(confirmed.index());
    bytes.put_u32(first.index());
    bytes.put(&[0, if report.is_some() { EXTRA_REPORT } else { 0 }]);
    if let Some((number, digest)) = report {
        bytes.put_u8(number & REPORT_MASK);
        digest.encode(bytes);
    }
    at
}

/// Fills in the count of frames and whether flags or items follow.
pub(crate) fn finish_extra_run(bytes: &mut [u8], at: usize, count: u8, has_meta: bool) {
    if let Some([count_slot, bits_slot]) = bytes.get_mut(at + 9..at + 11) {
        *count_slot = count;
        *bits_slot |= if has_meta { EXTRA_META } else { 0 };
    }
    mark_extra(bytes);
}

/// Says that something follows the main run.
pub(crate) fn mark_extra(bytes: &mut [u8]) {
    set_flag(bytes, FLAG_RUNS);
}

/// Fills in how many frames the main run has and whether flags or items follow.
pub(crate) fn finish_main_run(bytes: &mut [u8], long: bool, count: u8, has_meta: bool) {
    let at = super::HEAD_BYTES + if long { 4 } else { 2 };
    if let Some(slot) = bytes.get_mut(at) {
        *slot = count;
    }
    if has_meta {
        set_flag(bytes, FLAG_META);
    }
}

fn set_flag(bytes: &mut [u8], flag: u8) {
    if let Some(head) = bytes.first_mut() {
        *head |= flag;
    }
}

/// The flags of a datagram of this kind.
pub(crate) fn flags(datagram: &[u8]) -> u8 {
    debug_assert_eq!(Kind::of(datagram), Some(Kind::Inputs));
    datagram.first().copied().unwrap_or_default()
}

fn put_frame(bytes: &mut Vec<u8>, frame: Frame, long: bool) {
    let [low, high, ..] = frame.index().to_le_bytes();
    bytes.put_u8(low);
    if long {
        bytes.put_u8(high);
    }
}

fn frame(reader: &mut ByteReader<'_>, long: bool, near: Frame) -> Result<Frame, WireError> {
    let (low, range) = match long {
        true => (u32::from(reader.u16()?), 1_u32 << 16),
        false => (u32::from(reader.u8()?), 1 << 8),
    };
    let base = near.index();
    // The number with these low bits in [near - range/2, near + range/2).
    let ahead = low.wrapping_sub(base) & (range - 1);
    let behind = range - ahead;
    Ok(match ahead < range / 2 {
        true => near.plus(ahead),
        false if base >= behind => near.minus(behind),
        false => near.plus(ahead),
    })
}

/// The most that follows the main run: a run of each third peer, one of the newest own frame, and hints.
pub(crate) const EXTRA_RUNS_MAX: usize = 8;

/// The most bytes of an extra run before its mask.
pub(crate) const EXTRA_RUN_HEAD_BYTES_MAX: usize = 18;

/// Stands for a least clock difference that is not known yet.
pub(crate) const CLOCK_UNKNOWN: u16 = u16::MAX;

const EXTRA_META: u8 = 1;
const EXTRA_REPORT: u8 = 2;
const WANT_BYTES: usize = 5;
const REPORT_MASK: u8 = 0x7f;

const FLAG_CONFIRMED: u8 = 1 << 2;
const FLAG_GAP: u8 = 1 << 3;
const FLAG_DIGEST: u8 = 1 << 4;
const FLAG_WANTS: u8 = 1 << 5;
const FLAG_META: u8 = 1 << 6;
const FLAG_RUNS: u8 = 1 << 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_numbers_mean_the_nearest_whole_ones() {
        for near in [0, 1, 100, 127, 128, 129, 255, 256, 70_000] {
            for offset in -128_i64..128 {
                let Ok(whole) = u32::try_from(i64::from(near) + offset) else { continue };
                let mut bytes = Vec::new();
                put_frame(&mut bytes, Frame::new(whole), false);
                let read = frame(&mut ByteReader::new(&bytes), false, Frame::new(near));
                assert_eq!(read, Ok(Frame::new(whole)), "near {near}");
            }
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = InputsHead {
            ack: Frame::new(1000),
            first: Frame::new(1003),
            count: 4,
            clock: 77,
            confirmed: Some(Frame::new(999)),
            held_beyond_gap: 5,
            digest: Some(DigestBlock {
                report: 100,
                end_agreed: true,
                digest: Digest { inputs: 1, whole: 2 },
                clock_min: 3,
            }),
        };
        for long in [false, true] {
            let mut bytes = Vec::new();
            super::super::start(Kind::Inputs, &mut bytes);
            head.encode(long, &mut bytes);
            let mut reader = ByteReader::new(&bytes[super::super::HEAD_BYTES..]);
            let ends = (Frame::new(1005), Frame::new(1004));
            let read = InputsHead::decode(flags(&bytes), &mut reader, long, ends);
            assert_eq!(read, Ok(head));
        }
    }
}
