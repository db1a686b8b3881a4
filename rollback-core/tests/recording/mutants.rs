//! Recordings of many kinds, and what accidents and forgers make of them: each mutant is a number, and the same for ever.

use std::ops::Range;

use rollback_core::recording::{RecordedFrame, Recording, RecordingHeader};
use rollback_core::{
    Chain, End, EndCause, Frame, InputFlags, Item, PeerId, Roster, SessionConfig, StateHash,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::episode::{eventful, example, peer, record};

/// Random numbers from a seed (SplitMix64, Steele et al. 2014).
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` - 1; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// Recordings from which mutants are made: none, three, a hundred and four hundred frames; with and without items,
/// outputs and hashes; two bytes a frame and 512; cut, unfinished, and ended in every way there is.
pub(crate) fn bases() -> Vec<Vec<u8>> {
    let (header, frames, end) = eventful();
    let whole = record(&header, &frames, end);
    let (short_header, short_frames, short_end) = example();
    let nothing = End { frame: Frame::ZERO, cause: EndCause::Incompatible, by: Some(peer(1)) };
    let mut bases = vec![
        record(&header, &[], nothing),
        record(&short_header, &short_frames, short_end),
        whole[..whole.len() - 40].to_vec(),
        Recording::decode(&whole[..whole.len() - 1]).unwrap().as_bytes().to_vec(),
        whole,
        long(),
        wide(),
    ];
    for kind in 0..8 {
        let cause = EndCause::from_code(kind, u16::from(kind == 1) * 500).unwrap();
        let end = End { frame: Frame::new(61), cause, by: (kind % 3 == 0).then(|| peer(0)) };
        bases.push(record(&header, &frames[..61], end));
    }
    bases
}

/// Four hundred frames of four peers that change something now and then.
fn long() -> Vec<u8> {
    let config = SessionConfig::builder().players(4).build().unwrap();
    let roster = Roster::one_player_each(4).unwrap();
    let header = header(config, roster);
    let mut random = Random::new(1);
    let mut row = blank(4, 1);
    let frames: Vec<_> = (0..400)
        .map(|index| {
            row.frame = Frame::new(index);
            if random.below(3) == 0 {
                row.inputs[random.below(4)] = random.byte();
            }
            if random.below(20) == 0 {
                row.flags[random.below(4)] = InputFlags::FOCUSED.bits();
            }
            if random.below(5) == 0 {
                let length = random.below(12);
                row.output = random.bytes(length);
            }
            let is_left = random.below(100) == 0;
            row.items = is_left.then(|| (peer(3), Item::End { code: 7 })).into_iter().collect();
            row.state_hash =
                (index % 10 == 0).then(|| StateHash::from_u128(u128::from(random.next())));
            row.clone()
        })
        .collect();
    let end = End { frame: Frame::new(400), cause: EndCause::Departed, by: Some(peer(2)) };
    record(&header, &frames, end)
}

/// Sixty-four players with eight bytes each.
fn wide() -> Vec<u8> {
    let config = SessionConfig::builder().players(64).input_width(8).build().unwrap();
    let hosts: Vec<_> = (0..64).filter_map(|player| PeerId::new(player % 8)).collect();
    let header = header(config, Roster::new(&hosts).unwrap());
    let mut random = Random::new(2);
    let mut row = blank(64, 8);
    let frames: Vec<_> = (0..20)
        .map(|index| {
            row.frame = Frame::new(index);
            row.inputs[random.below(512)] = random.byte();
            row.clone()
        })
        .collect();
    let end = End { frame: Frame::new(20), cause: EndCause::Finished, by: None };
    record(&header, &frames, end)
}

fn header(config: SessionConfig, roster: Roster) -> RecordingHeader {
    let peers = roster.peer_count();
    RecordingHeader {
        session: 9,
        episode: 3,
        seed: 77,
        config,
        roster,
        participants: vec!["p".into(); peers],
        must_match: vec![],
        may_differ: vec![vec![]; peers],
        start_hash: StateHash::from_u128(5),
    }
}

fn blank(players: usize, width: usize) -> RecordedFrame {
    RecordedFrame {
        frame: Frame::ZERO,
        inputs: vec![0; players * width],
        flags: vec![0; players],
        items: vec![],
        output: vec![],
        state_hash: None,
        keyframe: None,
    }
}

/// What becomes of one of `bases`: some bytes are flipped, set, lost, doubled, put in or cut off, lengths become huge,
/// sections or other parts are lost, doubled or another recording's, or all of it is noise.
pub(crate) fn mutate(random: &mut Random, bases: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = bases[random.below(bases.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let rest = bytes.len() - at;
        let some = random.below(rest.min(80));
        match random.below(12) {
            0 if rest > 0 => bytes[at] ^= 1 << random.below(8),
            1 if rest > 0 => bytes[at] = random.byte(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + some)),
            4 => {
                let copy = bytes[at..at + some].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy).for_each(drop);
            }
            5 => {
                let new = random.bytes(some);
                bytes.splice(at..at, new).for_each(drop);
            }
            6 => {
                let huge = [[0xff; 4], [0, 0, 0, 0x80], [0, 0, 16, 0], [0, 0, 0, 0]];
                let huge = huge[random.below(4)];
                let len = rest.min(1 << random.below(3));
                bytes[at..at + len].copy_from_slice(&huge[4 - len..]);
            }
            7 => {
                let others = &bases[random.below(bases.len())];
                let (own, other) = (sections(&bytes), sections(others));
                let gone = own.get(random.below(own.len())).cloned().unwrap_or(0..0);
                let new = match random.below(3) {
                    0 => &[],
                    1 => &others[other[random.below(other.len())].clone()],
                    _ => &bytes.clone()[gone.clone()],
                };
                let gone = gone.start..[gone.start, gone.end][random.below(2)];
                bytes.splice(gone, new.iter().copied()).for_each(drop);
            }
            8 => {
                let other = &bases[random.below(bases.len())];
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            9 => bytes[at..at + some].fill(0),
            10 => bytes.extend(random.bytes(some)),
            11 if random.below(8) == 0 => {
                let opening = bytes[..bytes.len().min(8)].to_vec();
                let length = random.below(600);
                bytes = [opening, random.bytes(length)].concat();
            }
            _ => {}
        }
    }
    bytes
}

/// Where the sections are, as far as their lengths lead.
fn sections(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut sections, mut at) = (Vec::new(), 8);
    while let Some(length) = bytes.get(at + 2..at + 6) {
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
        let end = at + HEAD_BYTES + usize::try_from(length).unwrap();
        if end > bytes.len() {
            break;
        }
        sections.push(at..end);
        at = end;
    }
    sections
}

/// Puts the checksums of all sections right, as far as their lengths lead, so that what was changed is read.
pub(crate) fn seal(bytes: &mut [u8]) {
    let Some(opening) = bytes.get(..8) else { return };
    let (mut chain, mut at) = (Chain::default().link(opening), 8);
    while let Some((head, rest)) = bytes[at..].split_at_mut_checked(HEAD_BYTES) {
        let length = usize::try_from(u32::from_le_bytes([head[2], head[3], head[4], head[5]]));
        let body = rest.get(..length.unwrap()).unwrap_or(rest);
        head[10..18].copy_from_slice(&xxh3_64(body).to_le_bytes());
        head[18..26].copy_from_slice(&chain.to_u64().to_le_bytes());
        let check = Chain::from_u64(xxh3_64(&head[..26])).short();
        chain = chain.link(&head[..26]);
        head[26..30].copy_from_slice(&check.to_le_bytes());
        at += HEAD_BYTES + body.len();
    }
}

/// How long the head of a section is.
pub(crate) const HEAD_BYTES: usize = 30;

#[test]
fn a_sealed_recording_is_the_one_that_was_written() {
    for base in bases() {
        let mut bytes = Recording::decode(&base).unwrap().as_bytes().to_vec();
        let before = bytes.clone();
        seal(&mut bytes);
        assert_eq!(bytes, before);
    }
}
