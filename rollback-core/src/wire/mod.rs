//! The bytes of a datagram: kinds, tags and limits. Decides nothing.
//!
//! `docs/wire-format.md` shows a worked example.

mod control;
mod hello;
mod hints;
mod inputs;
mod run;

pub(crate) use control::{Claim, Control, Goodbye, LEAVES_PER_MESSAGE};
pub(crate) use hello::Hello;
pub(crate) use hints::{HintRun, put_hints};
pub(crate) use inputs::{
    CLOCK_UNKNOWN, Digest, DigestBlock, EXTRA_RUN_HEAD_BYTES_MAX, ExtraRun, Inputs, InputsHead,
    Want, finish_extra_run, finish_main_run, flags, mark_extra, put_wants, start_extra_run,
};
pub(crate) use run::{
    Applied, Base, ITEMS_PER_FRAME, apply_run, encode_frames, encode_run, fits, frame_bytes_max,
};

use alloc::vec::Vec;

use thiserror::Error;

use crate::bytes::{EndOfBytes, PutBytes};
use crate::hash::{keyed_hash, short_hash};
use crate::{Frame, ItemError, PeerId, Ticket};

/// What a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A member says who it is.
    Hello,
    /// Inputs, acknowledgements, clocks and digests: the one datagram of every frame.
    Inputs,
    /// What is rare: claims, goodbyes, the search for a desync.
    Control,
}

impl Kind {
    pub(crate) fn of(datagram: &[u8]) -> Option<Self> {
        match datagram.first()? & KIND_MASK {
            0 => Some(Self::Hello),
            1 => Some(Self::Inputs),
            2 => Some(Self::Control),
            _ => None,
        }
    }

    pub(crate) fn bits(self) -> u8 {
        match self {
            Self::Hello => 0,
            Self::Inputs => 1,
            Self::Control => 2,
        }
    }
}

/// The secret-free keys of one direction between two peers: a datagram of another match, episode, life, sender or
/// receiver does not pass, nor does a damaged one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkKeys {
    hello: u64,
    next_hello: u64,
    data: u64,
}

impl LinkKeys {
    /// The keys from one peer to another; `incarnation` is the sender's.
    pub(crate) fn new(
        ticket: &Ticket,
        config_digest: u64,
        (from, incarnation): (PeerId, u8),
        to: PeerId,
    ) -> Self {
        let mut bytes = Vec::with_capacity(32);
        bytes.put_u64(ticket.session);
        bytes.put_u8(from.slot());
        bytes.put_u8(to.slot());
        let link = keyed_hash(&bytes, 0);
        let hello = |episode: u32| keyed_hash(&episode.to_le_bytes(), link);
        let mut bytes = Vec::with_capacity(16);
        bytes.put_u64(config_digest);
        bytes.put_u16(WIRE_VERSION);
        bytes.put_u8(incarnation);
        Self {
            hello: hello(ticket.episode),
            next_hello: hello(ticket.episode.saturating_add(1)),
            data: keyed_hash(&bytes, hello(ticket.episode)),
        }
    }
}

/// What a tag binds beside the bytes: the whole numbers of which the datagram carries only the low bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bound {
    pub(crate) view: u8,
    pub(crate) first: Frame,
    pub(crate) ack: Frame,
    pub(crate) confirmed: Frame,
}

impl Bound {
    fn mixed_into(self, key: u64) -> u64 {
        let frames = u64::from(self.first.index()) | u64::from(self.ack.index()) << 32;
        let rest = u64::from(self.confirmed.index()) | u64::from(self.view) << 32;
        // Odd multipliers spread the numbers over the seed; XXH3 does the rest.
        key ^ frames.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ rest.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
    }
}

/// Starts a datagram: the kind, and room for the tag.
pub(crate) fn start(kind: Kind, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.put(&[kind.bits(), 0, 0, 0, 0]);
}

/// Writes the tag of a whole datagram.
pub(crate) fn seal(keys: &LinkKeys, bound: Bound, bytes: &mut [u8]) {
    let tag = tag(keys, bound, bytes).to_le_bytes();
    if let Some(slot) = bytes.get_mut(1..HEAD_BYTES) {
        slot.copy_from_slice(&tag);
    }
}

/// Whether the tag is that of these bytes.
pub(crate) fn is_sealed(keys: &LinkKeys, bound: Bound, bytes: &[u8]) -> bool {
    bytes.get(1..HEAD_BYTES).is_some_and(|got| got == tag(keys, bound, bytes).to_le_bytes())
}

/// Whether this is a hello of the episode after this one.
pub(crate) fn is_next_hello(keys: &LinkKeys, bytes: &[u8]) -> bool {
    let keys = LinkKeys { hello: keys.next_hello, ..*keys };
    Kind::of(bytes) == Some(Kind::Hello) && is_sealed(&keys, Bound::default(), bytes)
}

fn tag(keys: &LinkKeys, bound: Bound, bytes: &[u8]) -> u32 {
    let head = bytes.first().copied().unwrap_or_default();
    let key = match Kind::of(bytes) {
        Some(Kind::Hello) => keys.hello,
        _ => keys.data,
    };
    let key = bound.mixed_into(key).wrapping_add(u64::from(head) << 56);
    short_hash(bytes.get(HEAD_BYTES..).unwrap_or_default(), key)
}

/// Why a datagram with the right tag is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub(crate) enum WireError {
    #[error(transparent)]
    End(#[from] EndOfBytes),
    #[error(transparent)]
    Item(#[from] ItemError),
    #[error("{field}: the value {got} is out of range")]
    Range { field: &'static str, got: u32 },
    #[error("{got} bytes follow the last field")]
    Trailing { got: usize },
}

/// The version of everything sent between peers.
pub(crate) const WIRE_VERSION: u16 = 4;

/// The longest datagram: with the headers of IP, UDP, DTLS and SCTP it still fits the 1,280 bytes that every IPv6 path
/// carries whole.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 1_100;

/// The kind, the flags and the tag.
pub(crate) const HEAD_BYTES: usize = 5;

const KIND_MASK: u8 = 0b11;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Roster;

    fn keys(session: u64, episode: u32) -> LinkKeys {
        let [from, to] = [0, 1].map(|slot| PeerId::new(slot).unwrap());
        let roster = Roster::one_player_each(2).unwrap();
        let ticket = Ticket { session, episode, seed: 0, roster, local: from, incarnation: 0 };
        LinkKeys::new(&ticket, 7, (from, 0), to)
    }

    #[test]
    fn a_tag_binds_bytes_numbers_and_match() {
        let (ours, bound) = (keys(1, 0), Bound { first: Frame::new(300), ..Bound::default() });
        let mut bytes = Vec::new();
        start(Kind::Inputs, &mut bytes);
        bytes.put(&[1, 2, 3]);
        seal(&ours, bound, &mut bytes);
        assert!(is_sealed(&ours, bound, &bytes));
        assert!(!is_sealed(&ours, Bound { first: Frame::new(44), ..bound }, &bytes));
        assert!(!is_sealed(&ours, Bound { view: 1, ..bound }, &bytes));
        assert!(!is_sealed(&keys(2, 0), bound, &bytes));
        assert!(!is_sealed(&keys(1, 1), bound, &bytes));
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            assert!(!is_sealed(&ours, bound, &damaged), "byte {index}");
        }
    }

    #[test]
    fn a_hello_of_the_next_episode_is_known_as_such() {
        let mut bytes = Vec::new();
        start(Kind::Hello, &mut bytes);
        seal(&keys(1, 1), Bound::default(), &mut bytes);
        assert!(is_next_hello(&keys(1, 0), &bytes));
        assert!(!is_next_hello(&keys(1, 1), &bytes));
    }
}
