//! A dispute about a state: the members' votes, whose state is taken, and how it is sent in parts. Steps no game.

mod keyframe;

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

pub(crate) use self::keyframe::Keyframe;
use crate::hash::keyed_hash;
use crate::{
    OnDesync, PEERS_MAX, PeerId, PeerSet, ResyncFrom, STATE_BYTES_MAX, StateHash, Timestamp,
};

/// What a member says of the first state in dispute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vote {
    /// The number of the report that is in dispute.
    pub(crate) number: u32,
    /// The member's own state.
    pub(crate) state: StateHash,
    /// The chain of what the steps to it gave since the last agreed state.
    pub(crate) outputs: u64,
    pub(crate) decision: Decision,
}

impl Vote {
    /// Of one that has nothing to say.
    pub(crate) const NONE: Self =
        Self { number: 0, state: StateHash::from_u128(0), outputs: 0, decision: Decision::End };
}

/// What a member's application wants. It takes nothing back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    Open,
    Resync,
    End,
}

impl Decision {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Resync => 1,
            Self::End => 2,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Open,
            1 => Self::Resync,
            2 => Self::End,
            _ => return None,
        })
    }
}

/// A part of a state under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    pub(crate) number: u32,
    /// How many bytes there are in all, and their digest.
    pub(crate) total: u32,
    pub(crate) digest: u64,
    pub(crate) index: u16,
    pub(crate) bytes: Vec<u8>,
}

/// A dispute, from the end of the search until all have agreed on a state again.
#[derive(Debug)]
pub(crate) struct Resync {
    /// All agree on this report.
    pub(crate) agreed_number: u32,
    pub(crate) own: Vote,
    votes: [Option<Vote>; PEERS_MAX],
    /// What is handed out: the own state, or the one that was taken over.
    pub(crate) offer: Option<Vec<u8>>,
    /// Whether a state was taken over.
    pub(crate) is_adopted: bool,
    pub(crate) source: Option<PeerId>,
    incoming: Option<Incoming>,
    /// The source's state, once it has come whole.
    pub(crate) received: Option<Vec<u8>>,
    asked: VecDeque<(PeerId, u16)>,
    /// How many bytes may go now, and when that was reckoned.
    allowance: (u64, Timestamp),
}

#[derive(Debug)]
struct Incoming {
    total: u32,
    digest: u64,
    bytes: Vec<u8>,
    held: Vec<bool>,
    asked_at: Vec<Option<Timestamp>>,
    first_missing: usize,
}

/// What all are to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ruling {
    /// Not all have said what they want.
    Open,
    End,
    Take(PeerId),
}

impl Resync {
    pub(crate) fn new(
        agreed_number: u32,
        own: Vote,
        offer: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Self {
        Self {
            agreed_number,
            own,
            votes: [None; PEERS_MAX],
            offer,
            is_adopted: false,
            source: None,
            incoming: None,
            received: None,
            asked: VecDeque::new(),
            allowance: (0, now),
        }
    }

    /// Takes a member's vote. A later dispute about the same states replaces an earlier one.
    pub(crate) fn handle_vote(&mut self, from: PeerId, vote: Vote) {
        if vote.number < self.own.number || self.is_adopted && vote.number > self.own.number {
            return;
        }
        if vote.number > self.own.number {
            self.own.number = vote.number;
            self.votes = [None; PEERS_MAX];
            (self.incoming, self.received) = (None, None);
        }
        if let Some(slot) = self.votes.get_mut(from.index()) {
            *slot = Some(vote);
        }
    }

    /// What all are to do, as far as is known.
    pub(crate) fn ruling(&self, local: PeerId, voters: PeerSet, policy: OnDesync) -> Ruling {
        let mut votes = Vec::with_capacity(PEERS_MAX);
        for peer in voters.iter() {
            votes.extend(self.vote(local, peer).map(|vote| (peer, vote)));
        }
        let decides = |wanted| votes.iter().any(|(_, vote)| vote.decision == wanted);
        if decides(Decision::End) {
            return Ruling::End;
        }
        if decides(Decision::Open) || votes.len() < voters.len() {
            return Ruling::Open;
        }
        source_of(&votes, policy).map_or(Ruling::Open, Ruling::Take)
    }

    /// Who has not said what follows, as far as is known.
    pub(crate) fn undecided(&self, local: PeerId, voters: PeerSet) -> PeerSet {
        let is_open = |vote: Vote| vote.decision == Decision::Open;
        voters.iter().filter(|peer| self.vote(local, *peer).is_none_or(is_open)).collect()
    }

    fn vote(&self, local: PeerId, peer: PeerId) -> Option<Vote> {
        if peer == local {
            return Some(self.own);
        }
        let vote = self.votes.get(peer.index()).copied().flatten();
        vote.filter(|vote| vote.number == self.own.number)
    }

    /// The parts to ask the source for now.
    pub(crate) fn wanted(&mut self, now: Timestamp) -> Vec<u16> {
        if self.is_adopted || self.source.is_none() || self.received.is_some() {
            return Vec::new();
        }
        let Some(incoming) = &mut self.incoming else { return vec![0] };
        let mut wanted = Vec::new();
        let range = incoming.first_missing..incoming.held.len();
        for index in range.take(WINDOW_CHUNKS) {
            let (Some(false), Some(asked_at)) =
                (incoming.held.get(index), incoming.asked_at.get_mut(index))
            else {
                continue;
            };
            let is_due = asked_at.is_none_or(|at| now.micros_since(at) >= ASK_AGAIN_MICROS);
            if let (true, Ok(index)) = (is_due, u16::try_from(index)) {
                *asked_at = Some(now);
                wanted.push(index);
            }
        }
        wanted
    }

    /// Takes note of what another asks for. What is asked beyond the limit is asked again.
    pub(crate) fn handle_wanted(&mut self, from: PeerId, number: u32, wanted: &[u16]) {
        if number != self.own.number {
            return;
        }
        for index in wanted {
            let is_new = !self.asked.contains(&(from, *index));
            if is_new && self.asked.len() < PEERS_MAX * WINDOW_CHUNKS {
                self.asked.push_back((from, *index));
            }
        }
    }

    /// The parts that may go now.
    pub(crate) fn serve(&mut self, now: Timestamp) -> Vec<(PeerId, Chunk)> {
        let (allowed, since) = self.allowance;
        let earned = now.micros_since(since).saturating_mul(BYTES_PER_SECOND) / 1_000_000;
        let mut allowed = (allowed + earned).min(BURST_BYTES);
        let mut chunks = Vec::new();
        while allowed >= CHUNK_BYTES as u64
            && let Some((to, index)) = self.asked.pop_front()
        {
            if let Some(chunk) = self.chunk(index) {
                allowed -= CHUNK_BYTES as u64;
                chunks.push((to, chunk));
            }
        }
        self.allowance = (allowed, now);
        chunks
    }

    fn chunk(&self, index: u16) -> Option<Chunk> {
        let offer = self.offer.as_ref()?;
        let bytes = offer.chunks(CHUNK_BYTES).nth(index.into())?.to_vec();
        let total = u32::try_from(offer.len()).ok()?;
        Some(Chunk { number: self.own.number, total, digest: keyed_hash(offer, 0), index, bytes })
    }

    /// Takes a part. Answers the whole once it is there and is what its digest says.
    pub(crate) fn handle_chunk(&mut self, from: PeerId, chunk: &Chunk) -> Option<Vec<u8>> {
        let is_awaited = self.source == Some(from) && !self.is_adopted;
        let total = usize::try_from(chunk.total).unwrap_or(usize::MAX);
        if !is_awaited || chunk.number != self.own.number || total > TRANSFER_BYTES_MAX {
            return None;
        }
        let count = total.div_ceil(CHUNK_BYTES);
        let incoming = self.incoming.get_or_insert_with(|| Incoming {
            total: chunk.total,
            digest: chunk.digest,
            bytes: vec![0; total],
            held: vec![false; count],
            asked_at: vec![None; count],
            first_missing: 0,
        });
        if (incoming.total, incoming.digest) != (chunk.total, chunk.digest) {
            return None;
        }
        let index = usize::from(chunk.index);
        let slot = incoming.bytes.chunks_mut(CHUNK_BYTES).nth(index)?;
        let held = incoming.held.get_mut(index)?;
        if slot.len() != chunk.bytes.len() {
            return None;
        }
        slot.copy_from_slice(&chunk.bytes);
        *held = true;
        let is_held = |index: &usize| incoming.held.get(*index) == Some(&true);
        incoming.first_missing =
            (incoming.first_missing..count).find(|i| !is_held(i)).unwrap_or(count);
        if incoming.first_missing < count {
            return None;
        }
        let whole = self.incoming.take()?;
        // What is damaged is fetched anew.
        (keyed_hash(&whole.bytes, 0) == whole.digest).then_some(whole.bytes)
    }

    /// Waits for another's state; what came of the last one's is dropped.
    pub(crate) fn turn_to(&mut self, source: PeerId) {
        if self.source != Some(source) {
            self.source = Some(source);
            (self.incoming, self.received) = (None, None);
        }
    }
}

/// Whose state is taken, of members that all have said what theirs is.
fn source_of(votes: &[(PeerId, Vote)], policy: OnDesync) -> Option<PeerId> {
    let lowest = votes.first()?.0;
    let anchor = match policy {
        OnDesync::Resync(ResyncFrom::Peer(peer)) => {
            if votes.iter().any(|(voter, _)| *voter == peer) {
                return Some(peer);
            }
            lowest
        }
        OnDesync::Resync(ResyncFrom::Majority { anchor }) => anchor,
        OnDesync::End | OnDesync::Pause => lowest,
    };
    let said = |vote: &Vote| (vote.state, vote.outputs);
    let best = votes.iter().max_by_key(|(peer, vote)| {
        let group = || votes.iter().filter(|(_, other)| said(other) == said(vote));
        let has_anchor = group().any(|(member, _)| *member == anchor);
        (group().count(), has_anchor, core::cmp::Reverse(*peer))
    });
    best.map(|(peer, _)| *peer)
}

/// How many bytes of a state one datagram carries.
pub(crate) const CHUNK_BYTES: usize = 1024;

/// The most bytes that travel: a state as long as one may be, and as many bytes of outputs.
const TRANSFER_BYTES_MAX: usize = 2 * STATE_BYTES_MAX;

/// How many parts may be under way to one receiver.
pub(crate) const WINDOW_CHUNKS: usize = 64;

/// What a source sends at most: four megabits a second, to all receivers together.
const BYTES_PER_SECOND: u64 = 512 << 10;

/// What it may send at once.
const BURST_BYTES: u64 = 16 << 10;

/// After how long a part is asked for again: more than a round trip, less than one would notice in a large state.
const ASK_AGAIN_MICROS: u64 = 250_000;

/// How far the numbers of reports jump after a state was taken over: what is still under way of the reports before lies outside of
/// all that are compared.
pub(crate) const NUMBERS_APART: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
    }

    fn vote(state: u128) -> Vote {
        let state = StateHash::from_u128(state);
        Vote { number: 3, state, outputs: 0, decision: Decision::Resync }
    }

    fn sources(states: &[u128], policy: OnDesync) -> Option<u8> {
        let peers = PeerId::all(states.len());
        let votes: Vec<_> = peers.zip(states.iter().map(|state| vote(*state))).collect();
        source_of(&votes, policy).map(PeerId::slot)
    }

    #[test]
    fn the_majority_s_state_is_taken_from_its_lowest_member() {
        let anchored = |slot| OnDesync::Resync(ResyncFrom::Majority { anchor: peer(slot) });
        assert_eq!(sources(&[9, 1, 1], anchored(0)), Some(1));
        assert_eq!(sources(&[1, 9, 1], anchored(1)), Some(0));
        assert_eq!(sources(&[1, 2], anchored(1)), Some(1));
        assert_eq!(sources(&[1, 2, 2, 1], anchored(2)), Some(1), "the lowest of its group");
        assert_eq!(sources(&[1, 2], anchored(7)), Some(0), "the anchor is gone");
        assert_eq!(sources(&[1, 2, 2], OnDesync::Resync(ResyncFrom::Peer(peer(0)))), Some(0));
        assert_eq!(sources(&[1, 2, 2], OnDesync::Resync(ResyncFrom::Peer(peer(5)))), Some(1));
    }

    #[test]
    fn nothing_is_taken_before_all_want_it_and_one_who_ends_it_ends_it() {
        let voters: PeerSet = [peer(0), peer(1), peer(2)].into_iter().collect();
        let mut resync = Resync::new(2, vote(1), None, Timestamp::ZERO);
        let ruling = |resync: &Resync| resync.ruling(peer(0), voters, OnDesync::Pause);
        resync.handle_vote(peer(1), vote(1));
        assert_eq!(ruling(&resync), Ruling::Open);
        resync.handle_vote(peer(2), Vote { decision: Decision::Open, ..vote(1) });
        assert_eq!(ruling(&resync), Ruling::Open);
        resync.handle_vote(peer(2), Vote { number: 2, ..vote(1) });
        assert_eq!(ruling(&resync), Ruling::Open, "of an earlier dispute");
        resync.handle_vote(peer(2), vote(2));
        assert_eq!(ruling(&resync), Ruling::Take(peer(0)));
        resync.handle_vote(peer(1), Vote { decision: Decision::End, ..vote(1) });
        assert_eq!(ruling(&resync), Ruling::End);
        resync.handle_vote(peer(1), Vote { number: 19, ..vote(1) });
        assert_eq!((ruling(&resync), resync.own.number), (Ruling::Open, 19));
    }

    /// Carries a state over a path on which every `lost`th part is lost; answers it and how many parts went.
    fn carry(state: &[u8], lost: usize) -> (Vec<u8>, usize) {
        let mut source = Resync::new(2, vote(1), Some(state.to_vec()), Timestamp::ZERO);
        let mut receiver = Resync::new(2, vote(2), None, Timestamp::ZERO);
        receiver.turn_to(peer(0));
        let mut sent = 0;
        for tick in 1..10_000 {
            let now = Timestamp::from_millis(tick * 16);
            source.handle_wanted(peer(1), 3, &receiver.wanted(now));
            for (to, chunk) in source.serve(now) {
                assert_eq!(to, peer(1));
                sent += 1;
                let is_lost = sent % lost == 0;
                if let (false, Some(whole)) = (is_lost, receiver.handle_chunk(peer(0), &chunk)) {
                    let seconds = now.as_micros() / 1_000_000 + 1;
                    assert!(sent as u64 * 1024 <= seconds * BYTES_PER_SECOND + BURST_BYTES);
                    return (whole, sent);
                }
            }
        }
        panic!("it never came");
    }

    #[test]
    fn a_state_comes_whole_through_losses_and_no_faster_than_it_may() {
        for length in [1, 1023, 1024, 1025, 300_000] {
            let state: Vec<u8> = (0..length).map(|index: usize| index.to_le_bytes()[1]).collect();
            let (whole, sent) = carry(&state, 7);
            assert!(whole == state, "{length} bytes");
            assert!(sent <= length / 1024 * 5 / 4 + 4, "{sent} parts of {length} bytes");
        }
    }

    #[test]
    fn what_does_not_belong_to_it_is_dropped() {
        let source = Resync::new(2, vote(1), Some(vec![7; 3000]), Timestamp::ZERO);
        let chunk = source.chunk(1).unwrap();
        let mut receiver = Resync::new(2, vote(2), None, Timestamp::ZERO);
        assert_eq!(receiver.handle_chunk(peer(0), &chunk), None);
        assert!(receiver.incoming.is_none(), "nothing is awaited");
        receiver.turn_to(peer(0));
        let too_long = u32::try_from(TRANSFER_BYTES_MAX + 1).unwrap();
        for bad in [
            Chunk { number: 4, ..chunk.clone() },
            Chunk { total: too_long, ..chunk.clone() },
            Chunk { total: u32::MAX, ..chunk.clone() },
        ] {
            receiver.handle_chunk(peer(0), &bad);
            assert!(receiver.incoming.is_none(), "{bad:?}");
        }
        receiver.handle_chunk(peer(2), &chunk);
        assert!(receiver.incoming.is_none(), "another sent it");
        receiver.handle_chunk(peer(0), &chunk);
        for bad in [
            Chunk { index: 3, ..chunk.clone() },
            Chunk { digest: 1, ..chunk.clone() },
            Chunk { total: 4000, ..chunk.clone() },
            Chunk { index: 2, ..chunk.clone() },
            Chunk { bytes: vec![], index: 0, ..chunk.clone() },
        ] {
            assert_eq!(receiver.handle_chunk(peer(0), &bad), None);
            assert_eq!(receiver.incoming.as_ref().unwrap().first_missing, 0, "{bad:?}");
        }
        // Parts that fit, of another whole than its digest says, are fetched anew.
        let damaged = Chunk { bytes: vec![9; 1024], ..source.chunk(0).unwrap() };
        receiver.handle_chunk(peer(0), &damaged);
        assert_eq!(receiver.handle_chunk(peer(0), &source.chunk(2).unwrap()), None);
        assert!(receiver.incoming.is_none());
    }
}
