//! What game loops say to each other so that one can come back. Little-endian; the first byte says which.

use rollback_core::PeerSet;

/// One notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice<'a> {
    /// One that came back asks which episode is played.
    Ask {
        /// Which life of its slot it lives.
        life: u8,
    },
    /// The answer.
    Answer {
        /// The life of the one that asked.
        life: u8,
        /// The episode.
        episode: u32,
        /// How many episodes were completed before it.
        completed: u32,
        /// How far it is.
        stage: Stage,
        /// Those who come late and had not come when it began.
        late: PeerSet,
    },
    /// It asks for the stable log of the episode from a byte on, and whatever comes to it later.
    Send {
        /// The episode.
        episode: u32,
        /// How many bytes it has.
        offset: u32,
    },
    /// A piece of the log. Empty ones say that there is nothing new.
    Piece {
        /// The episode.
        episode: u32,
        /// Where the piece begins.
        offset: u32,
        /// How many frames the whole log has now.
        frames: u32,
        /// The piece.
        bytes: &'a [u8],
    },
    /// It needs no more pieces.
    Stop {
        /// The episode.
        episode: u32,
    },
    /// It has stepped what there is, and is to be let in.
    Ready {
        /// Which life of its slot it lives.
        life: u8,
        /// The episode.
        episode: u32,
    },
    /// It cannot be let in.
    Refused {
        /// The episode.
        episode: u32,
        /// Why.
        reason: Refusal,
    },
    /// It asks for a state on which all agree, so that it need not step what was played before.
    SendState {
        /// The episode.
        episode: u32,
    },
    /// A piece of a state; of none, where there is none.
    State {
        /// The episode.
        episode: u32,
        /// Its frame.
        frame: u32,
        /// How many bytes it has in all.
        total: u32,
        /// Where the piece begins.
        offset: u32,
        /// The piece.
        bytes: &'a [u8],
    },
}

/// How far an episode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// The members wait for each other, and have not heard of the one that asks.
    NotBegun,
    /// It is played, and whoever comes back may be let in.
    Begun,
    /// It is played, and nobody is let in: it ends when a member is lost.
    Closed,
}

/// Why one is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The episode is over.
    Over,
    /// Its log is longer than is kept.
    TooLong,
}

impl<'a> Notice<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |kind: u8, small: &[u8], numbers: &[u32]| {
            bytes.push(kind);
            bytes.extend_from_slice(small);
            numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        };
        match *self {
            Self::Ask { life } => put(1, &[life], &[]),
            Self::Answer { life, episode, completed, stage, late } => {
                put(2, &[life, stage as u8, late.bits()], &[episode, completed]);
            }
            Self::Send { episode, offset } => put(3, &[], &[episode, offset]),
            Self::Piece { episode, offset, frames, bytes: piece } => {
                put(4, &[], &[episode, offset, frames]);
                bytes.extend_from_slice(piece);
            }
            Self::Stop { episode } => put(5, &[], &[episode]),
            Self::Ready { life, episode } => put(6, &[life], &[episode]),
            Self::Refused { episode, reason } => put(7, &[reason as u8], &[episode]),
            Self::SendState { episode } => put(8, &[], &[episode]),
            Self::State { episode, frame, total, offset, bytes: piece } => {
                put(9, &[], &[episode, frame, total, offset]);
                bytes.extend_from_slice(piece);
            }
        }
        bytes
    }

    /// The notice of these bytes; `None` for what is none.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let mut reader = Reader(rest);
        let notice = match *kind {
            1 => Self::Ask { life: reader.u8()? },
            2 => {
                let life = reader.u8()?;
                let stage = match reader.u8()? {
                    0 => Stage::NotBegun,
                    1 => Stage::Begun,
                    2 => Stage::Closed,
                    _ => return None,
                };
                let late = PeerSet::from_bits(reader.u8()?);
                let (episode, completed) = (reader.u32()?, reader.u32()?);
                Self::Answer { life, stage, late, episode, completed }
            }
            3 => Self::Send { episode: reader.u32()?, offset: reader.u32()? },
            4 => {
                let (episode, offset) = (reader.u32()?, reader.u32()?);
                let frames = reader.u32()?;
                Self::Piece { episode, offset, frames, bytes: std::mem::take(&mut reader.0) }
            }
            5 => Self::Stop { episode: reader.u32()? },
            6 => Self::Ready { life: reader.u8()?, episode: reader.u32()? },
            7 => {
                let reason = match reader.u8()? {
                    0 => Refusal::Over,
                    1 => Refusal::TooLong,
                    _ => return None,
                };
                Self::Refused { reason, episode: reader.u32()? }
            }
            8 => Self::SendState { episode: reader.u32()? },
            9 => {
                let (episode, frame) = (reader.u32()?, reader.u32()?);
                let (total, offset) = (reader.u32()?, reader.u32()?);
                let bytes = std::mem::take(&mut reader.0);
                Self::State { episode, frame, total, offset, bytes }
            }
            _ => return None,
        };
        reader.0.is_empty().then_some(notice)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }
}

#[cfg(test)]
/// What a piece of the log has before its bytes.
pub(crate) const PIECE_HEAD_BYTES: usize = 13;

#[cfg(test)]
/// What a piece of a state has before its bytes.
pub(crate) const STATE_HEAD_BYTES: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_survive_their_bytes_and_nothing_else_is_one() {
        let notices = [
            Notice::Ask { life: 3 },
            Notice::Answer {
                life: 1,
                episode: 2,
                completed: 1,
                stage: Stage::Closed,
                late: PeerSet::from_bits(0b110),
            },
            Notice::Send { episode: 2, offset: 70_000 },
            Notice::Piece { episode: 2, offset: 9, frames: 500, bytes: b"rows" },
            Notice::Piece { episode: 2, offset: 9, frames: 500, bytes: b"" },
            Notice::Stop { episode: u32::MAX },
            Notice::Ready { life: 255, episode: 0 },
            Notice::Refused { episode: 4, reason: Refusal::TooLong },
            Notice::SendState { episode: 4 },
            Notice::State { episode: 4, frame: 900, total: 70_000, offset: 16_000, bytes: b"x" },
            Notice::State { episode: 4, frame: 0, total: 0, offset: 0, bytes: b"" },
        ];
        for notice in notices {
            let bytes = notice.encode();
            assert_eq!(Notice::decode(&bytes), Some(notice));
            let is_piece = matches!(notice, Notice::Piece { .. } | Notice::State { .. });
            assert_eq!(Notice::decode(&[&bytes[..], &[0]].concat()).is_some(), is_piece);
            for end in 0..bytes.len().min(PIECE_HEAD_BYTES) {
                assert_eq!(Notice::decode(&bytes[..end]), None, "{notice:?} cut at {end}");
            }
        }
        for bytes in [
            &[0][..],
            &[8, 0],
            &[10, 0, 0, 0, 0],
            &[2, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[7, 2, 0, 0, 0, 0],
        ] {
            assert_eq!(Notice::decode(bytes), None, "{bytes:?}");
        }
    }
}
