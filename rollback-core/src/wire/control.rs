//! The bytes of rare messages: claims, goodbyes, rates, the search for a desync and the dispute after it.

use alloc::vec::Vec;

use super::{Digest, WireError};
use crate::bytes::{ByteReader, PutBytes};
use crate::config::{REPORT_INTERVAL_MAX, REPORTS_PENDING_MAX};
use crate::held_rate::FULL_RATE;
use crate::narrowing::{PAGES_PER_LEVEL, PageMessage};
use crate::resync::{CHUNK_BYTES, Chunk, Decision, Vote, WINDOW_CHUNKS};
use crate::search::{Findings, LeafMessage};
use crate::{Frame, PeerId, PeerSet, StateHash};

/// One message of a control datagram. All are repeated until their purpose is seen to be met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    Claim(Claim),
    Goodbye(Goodbye),
    /// The receiver's goodbye was heard.
    GoodbyeHeard,
    /// The sender wants its slot again, and holds all inputs before this frame.
    Ready {
        frame: Frame,
    },
    /// What one that searches for a desync knows.
    DesyncFindings(Findings),
    DesyncLeaves(LeafMessage),
    /// The digests of a part of a state that is bytes.
    DesyncPages(PageMessage),
    /// What the sender says of a state in dispute.
    Vote(Vote),
    /// The parts of a state that the sender lacks.
    Wanted {
        number: u32,
        chunks: Vec<u16>,
    },
    Chunk(Chunk),
    /// The rate that the sender can hold, in thousandths of the tick rate.
    Rate {
        per_mille: u16,
    },
}

/// A proposal to go on without some members, and how much of their inputs the claimant holds. Members pass on what
/// they know, so that a claim arrives where its claimant's own path is broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Claim {
    pub(crate) claimant: PeerId,
    /// The number of the view that the proposal changes.
    pub(crate) base: u8,
    /// The members that would be left.
    pub(crate) members: PeerSet,
    /// Who of them comes back, in which life of its slot.
    pub(crate) joiner: Option<(PeerId, u8)>,
    /// Who would go since a member sent it away.
    pub(crate) kicked: PeerSet,
    /// Whether the sender has seen all of them claim, and is in that view.
    pub(crate) is_committed: bool,
    /// For each slot the first frame that the claimant does not hold.
    pub(crate) held: [Frame; crate::PEERS_MAX],
}

/// A member goes and says why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Goodbye {
    /// It left in order and has confirmed everything before this frame.
    Left { confirmed: Frame },
    /// Its simulation failed at this frame.
    GameFailed { frame: Frame },
}

impl Control {
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Claim(claim) => {
                let kind = match (claim.joiner, claim.is_committed) {
                    (None, false) => 1,
                    (None, true) => 7,
                    (Some(_), false) => 9,
                    (Some(_), true) => 10,
                };
                let kind = if claim.kicked.is_empty() { kind } else { kind | WITH_KICKED };
                bytes.put(&[kind, claim.claimant.slot(), claim.base, claim.members.bits()]);
                if let Some((joiner, incarnation)) = claim.joiner {
                    bytes.put(&[joiner.slot(), incarnation]);
                }
                if !claim.kicked.is_empty() {
                    bytes.put_u8(claim.kicked.bits());
                }
                for held in claim.held {
                    bytes.put_u32(held.index());
                }
            }
            Self::Goodbye(Goodbye::Left { confirmed }) => {
                bytes.put_u8(2);
                bytes.put_u32(confirmed.index());
            }
            Self::Goodbye(Goodbye::GameFailed { frame }) => {
                bytes.put_u8(3);
                bytes.put_u32(frame.index());
            }
            Self::GoodbyeHeard => bytes.put_u8(4),
            Self::Ready { frame } => {
                bytes.put_u8(8);
                bytes.put_u32(frame.index());
            }
            Self::Rate { per_mille } => {
                bytes.put_u8(15);
                bytes.put_u16(*per_mille);
            }
            Self::DesyncFindings(Findings { agreed, hashes, reports }) => {
                bytes.put_u8(5);
                bytes.put_u32(agreed.index());
                put_digests(bytes, hashes);
                for (number, digest) in reports {
                    bytes.put_u32(*number);
                    digest.encode(bytes);
                }
            }
            Self::DesyncLeaves(LeafMessage { frame, total, start, digests }) => {
                bytes.put_u8(6);
                bytes.put_u32(frame.index());
                bytes.put_u16(*total);
                bytes.put_u16(*start);
                put_digests(bytes, digests);
            }
            Self::DesyncPages(PageMessage { frame, length, level, start, digests }) => {
                bytes.put_u8(11);
                bytes.put_u32(frame.index());
                bytes.put_u32(length.unwrap_or(u32::MAX));
                bytes.put_u8(*level);
                bytes.put_u32(*start);
                put_digests(bytes, digests);
            }
            dispute => dispute.encode_dispute(bytes),
        }
    }

    /// What is said of a state in dispute.
    fn encode_dispute(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Vote(Vote { number, state, outputs, decision }) => {
                bytes.put_u8(12);
                bytes.put_u32(*number);
                bytes.put(&state.to_bytes());
                bytes.put_u64(*outputs);
                bytes.put_u8(decision.code());
            }
            Self::Wanted { number, chunks } => {
                bytes.put_u8(13);
                bytes.put_u32(*number);
                bytes.put_u8(u8::try_from(chunks.len()).unwrap_or(u8::MAX));
                for chunk in chunks {
                    bytes.put_u16(*chunk);
                }
            }
            Self::Chunk(Chunk { number, total, digest, index, bytes: part }) => {
                bytes.put_u8(14);
                bytes.put_u32(*number);
                bytes.put_u32(*total);
                bytes.put_u64(*digest);
                bytes.put_u16(*index);
                bytes.put(part);
            }
            _ => {}
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = ByteReader::new(bytes);
        let message = match reader.u8()? {
            kind @ (1 | 7 | 9 | 10 | 17 | 23 | 25 | 26) => Self::Claim(claim(&mut reader, kind)?),
            2 => Self::Goodbye(Goodbye::Left { confirmed: Frame::new(reader.u32()?) }),
            3 => Self::Goodbye(Goodbye::GameFailed { frame: Frame::new(reader.u32()?) }),
            4 => Self::GoodbyeHeard,
            5 => Self::DesyncFindings(findings(&mut reader)?),
            6 => Self::DesyncLeaves(LeafMessage {
                frame: Frame::new(reader.u32()?),
                total: reader.u16()?,
                start: reader.u16()?,
                digests: digests(&mut reader)?,
            }),
            8 => Self::Ready { frame: Frame::new(reader.u32()?) },
            11 => Self::DesyncPages(pages(&mut reader)?),
            12 => Self::Vote(vote(&mut reader)?),
            13 => wanted(&mut reader)?,
            14 => Self::Chunk(chunk(&mut reader)?),
            15 => match reader.u16()? {
                per_mille @ 1..=FULL_RATE => Self::Rate { per_mille },
                got => return Err(WireError::Range { field: "rate", got: got.into() }),
            },
            got => return Err(WireError::Range { field: "control message", got: got.into() }),
        };
        match reader.remaining() {
            0 => Ok(message),
            got => Err(WireError::Trailing { got }),
        }
    }
}

fn claim(reader: &mut ByteReader<'_>, kind: u8) -> Result<Claim, WireError> {
    let peer =
        |field, slot: u8| PeerId::new(slot).ok_or(WireError::Range { field, got: slot.into() });
    let [claimant, base, members] = reader.array()?;
    let claimant = peer("claimant", claimant)?;
    let joiner = match kind & !WITH_KICKED {
        9 | 10 => {
            let [joiner, incarnation] = reader.array()?;
            Some((peer("joiner", joiner)?, incarnation))
        }
        _ => None,
    };
    let kicked = if kind & WITH_KICKED == 0 { 0 } else { reader.u8()? };
    let is_committed = matches!(kind & !WITH_KICKED, 7 | 10);
    let mut held = [Frame::ZERO; crate::PEERS_MAX];
    for peer in PeerId::all(crate::PEERS_MAX) {
        if let Some(slot) = held.get_mut(peer.index()) {
            *slot = Frame::new(reader.u32()?);
        }
    }
    let (members, kicked) = (PeerSet::from_bits(members), PeerSet::from_bits(kicked));
    Ok(Claim { claimant, base, members, joiner, kicked, is_committed, held })
}

fn findings(reader: &mut ByteReader<'_>) -> Result<Findings, WireError> {
    let (agreed, hashes) = (Frame::new(reader.u32()?), digests(reader)?);
    let got = hashes.len();
    if got > REPORTS_PENDING_MAX * REPORT_INTERVAL_MAX {
        return Err(WireError::Range {
            field: "hashes",
            got: u32::try_from(got).unwrap_or(u32::MAX),
        });
    }
    let mut reports = Vec::new();
    while reader.remaining() > 0 {
        if reports.len() == REPORTS_PENDING_MAX {
            return Err(WireError::Range {
                field: "reports",
                got: u32::try_from(reader.remaining()).unwrap_or(u32::MAX),
            });
        }
        reports.push((reader.u32()?, Digest::decode(reader)?));
    }
    Ok(Findings { agreed, hashes, reports })
}

fn vote(reader: &mut ByteReader<'_>) -> Result<Vote, WireError> {
    let (number, state) = (reader.u32()?, StateHash::from_bytes(reader.array()?));
    let (outputs, decision) = (reader.u64()?, reader.u8()?);
    let decision = Decision::from_code(decision)
        .ok_or(WireError::Range { field: "decision", got: decision.into() })?;
    Ok(Vote { number, state, outputs, decision })
}

fn wanted(reader: &mut ByteReader<'_>) -> Result<Control, WireError> {
    let (number, count) = (reader.u32()?, reader.u8()?);
    if usize::from(count) > WINDOW_CHUNKS {
        return Err(WireError::Range { field: "parts wanted", got: count.into() });
    }
    let chunks = (0..count).map(|_| reader.u16()).collect::<Result<_, _>>()?;
    Ok(Control::Wanted { number, chunks })
}

fn chunk(reader: &mut ByteReader<'_>) -> Result<Chunk, WireError> {
    let (number, total) = (reader.u32()?, reader.u32()?);
    let (digest, index) = (reader.u64()?, reader.u16()?);
    let length = reader.remaining();
    if length == 0 || length > CHUNK_BYTES {
        let got = u32::try_from(length).unwrap_or(u32::MAX);
        return Err(WireError::Range { field: "bytes of a part", got });
    }
    let bytes = reader.take(length)?.to_vec();
    Ok(Chunk { number, total, digest, index, bytes })
}

fn pages(reader: &mut ByteReader<'_>) -> Result<PageMessage, WireError> {
    let (frame, length, level) = (Frame::new(reader.u32()?), reader.u32()?, reader.u8()?);
    let (start, digests) = (reader.u32()?, digests(reader)?);
    if digests.len() > PAGES_PER_LEVEL {
        let got = u32::try_from(digests.len()).unwrap_or(u32::MAX);
        return Err(WireError::Range { field: "pages", got });
    }
    let length = Some(length).filter(|length| *length != u32::MAX);
    Ok(PageMessage { frame, length, level, start, digests })
}

fn put_digests(bytes: &mut Vec<u8>, digests: &[u32]) {
    bytes.put_u16(u16::try_from(digests.len()).unwrap_or(u16::MAX));
    for digest in digests {
        bytes.put_u32(*digest);
    }
}

fn digests(reader: &mut ByteReader<'_>) -> Result<Vec<u32>, WireError> {
    let count = usize::from(reader.u16()?);
    let bytes = reader.take(count * 4)?;
    let digest = |chunk: &[u8]| chunk.try_into().map(u32::from_le_bytes).unwrap_or_default();
    Ok(bytes.chunks_exact(4).map(digest).collect())
}

/// In the kind of a claim: it says who goes since a member sent it away.
const WITH_KICKED: u8 = 16;

/// The most digests of one message: it must fit a datagram.
pub(crate) const LEAVES_PER_MESSAGE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_as_they_were_written_and_not_when_cut_short() {
        let (hashes, reports) = (alloc::vec![1, 2], alloc::vec![(3, Digest::default())]);
        for hashes in [hashes, Vec::new()] {
            let (agreed, reports) = (Frame::new(20), reports.clone());
            let message = Control::DesyncFindings(Findings { agreed, hashes, reports });
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(Control::decode(&bytes), Ok(message));
            assert!(Control::decode(&bytes[..bytes.len() - 1]).is_err());
        }
        let encoded = |hashes: usize, reports: usize| {
            let (hashes, reports) =
                (alloc::vec![7; hashes], alloc::vec![(3, Digest::default()); reports]);
            let mut bytes = Vec::new();
            let agreed = Frame::new(20);
            Control::DesyncFindings(Findings { agreed, hashes, reports }).encode(&mut bytes);
            bytes
        };
        let longest = encoded(REPORTS_PENDING_MAX * REPORT_INTERVAL_MAX, REPORTS_PENDING_MAX);
        assert!(Control::decode(&longest).is_ok());
        assert!(longest.len() + super::super::HEAD_BYTES <= super::super::DATAGRAM_BYTES_MAX);
        let too_long = [(241, 1), (1, 5)].map(|(hashes, reports)| encoded(hashes, reports));
        for bytes in too_long {
            assert!(matches!(Control::decode(&bytes), Err(WireError::Range { .. })));
        }
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let held = [3; crate::PEERS_MAX].map(Frame::new);
        let messages = [
            Control::Claim(Claim {
                claimant: PeerId::new(2).unwrap(),
                base: 1,
                members: PeerSet::first(3),
                joiner: None,
                kicked: PeerSet::EMPTY,
                is_committed: false,
                held,
            }),
            Control::Claim(Claim {
                claimant: PeerId::new(2).unwrap(),
                base: 4,
                members: PeerSet::first(3),
                joiner: Some((PeerId::new(1).unwrap(), 7)),
                kicked: PeerSet::EMPTY,
                is_committed: true,
                held,
            }),
            Control::Claim(Claim {
                claimant: PeerId::new(0).unwrap(),
                base: 0,
                members: PeerSet::first(1),
                joiner: None,
                kicked: PeerSet::from_bits(0b110),
                is_committed: true,
                held,
            }),
            Control::Goodbye(Goodbye::Left { confirmed: Frame::new(9) }),
            Control::Goodbye(Goodbye::GameFailed { frame: Frame::new(100) }),
            Control::GoodbyeHeard,
            Control::Ready { frame: Frame::new(77) },
            Control::Rate { per_mille: 700 },
            Control::DesyncLeaves(LeafMessage {
                frame: Frame::new(21),
                total: 300,
                start: 256,
                digests: alloc::vec![7; LEAVES_PER_MESSAGE],
            }),
            Control::DesyncPages(PageMessage {
                frame: Frame::new(21),
                length: Some(1 << 24),
                level: 2,
                start: 65_536,
                digests: alloc::vec![7; PAGES_PER_LEVEL],
            }),
            Control::DesyncPages(PageMessage {
                frame: Frame::new(21),
                length: None,
                level: 0,
                start: 0,
                digests: Vec::new(),
            }),
        ];
        let state = StateHash::from_u128(7);
        let vote = Vote { number: 3, state, outputs: 9, decision: Decision::Open };
        let messages = messages.into_iter().chain([
            Control::Vote(vote),
            Control::Vote(Vote { decision: Decision::End, ..vote }),
            Control::Wanted { number: 3, chunks: alloc::vec![9; WINDOW_CHUNKS] },
        ]);
        for message in messages {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert!(bytes.len() + super::super::HEAD_BYTES <= super::super::DATAGRAM_BYTES_MAX);
            assert_eq!(Control::decode(&bytes).as_ref(), Ok(&message));
            assert!(Control::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn a_rate_is_more_than_nothing_and_at_most_the_tick_rate() {
        let decoded = |per_mille: u16| {
            let mut bytes = Vec::new();
            Control::Rate { per_mille }.encode(&mut bytes);
            Control::decode(&bytes)
        };
        assert_eq!(decoded(1), Ok(Control::Rate { per_mille: 1 }));
        assert_eq!(decoded(1000), Ok(Control::Rate { per_mille: 1000 }));
        assert!(decoded(0).is_err());
        assert!(decoded(1001).is_err());
    }

    #[test]
    fn a_part_of_a_state_fits_a_datagram_and_is_bounded() {
        let chunk = |length| {
            let bytes = alloc::vec![7; length];
            Control::Chunk(Chunk { number: 3, total: 5000, digest: 1, index: 2, bytes })
        };
        let encoded = |length| {
            let mut bytes = Vec::new();
            chunk(length).encode(&mut bytes);
            bytes
        };
        let longest = encoded(CHUNK_BYTES);
        assert!(longest.len() + super::super::HEAD_BYTES <= super::super::DATAGRAM_BYTES_MAX);
        assert_eq!(Control::decode(&longest), Ok(chunk(CHUNK_BYTES)));
        assert!(Control::decode(&encoded(CHUNK_BYTES + 1)).is_err());
        assert!(Control::decode(&encoded(0)).is_err());
        let mut wanted = Vec::new();
        Control::Wanted { number: 1, chunks: alloc::vec![0; WINDOW_CHUNKS + 1] }
            .encode(&mut wanted);
        assert!(Control::decode(&wanted).is_err());
    }
}
