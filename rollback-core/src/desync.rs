//! Compares what the members say of their inputs and states, and finds the first frame at which states part.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::config::REPORTS_PENDING_MAX;
use crate::narrowing::{PageFinding, PageMessage, Pages};
use crate::wire::{Digest, LEAVES_PER_MESSAGE};
use crate::{Chain, Frame, Leaves, PEERS_MAX, PeerId, PeerSet, StateHash};

/// The twin chains, of inputs and of states, and the reports of all members.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    interval: u32,
    /// The frame of the next regular report.
    next: Frame,
    states: Chain,
    /// Own reports that are not agreed, and the last one that is.
    own: VecDeque<Report>,
    /// The reports of each peer that were heard ahead of their agreement, by number.
    theirs: Vec<[Option<(u32, Digest)>; HEARD_MAX]>,
    /// The number of the last report in which each peer is known to agree.
    agreed: [u32; PEERS_MAX],
    /// The first frame of each peer's present life.
    starts: [Frame; PEERS_MAX],
    /// Whether there are reports that were not compared yet.
    has_news: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    pub(crate) number: u32,
    pub(crate) frame: Frame,
    pub(crate) digest: Digest,
}

impl Report {
    /// The bits of the number that travel.
    pub(crate) fn number_on_wire(&self) -> u8 {
        (self.number & 0x7f) as u8
    }
}

/// Two members' reports differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Disagreement {
    pub(crate) peer: PeerId,
    pub(crate) frame: Frame,
    /// Whether the inputs are equal, so that the simulation is not deterministic.
    pub(crate) inputs_are_equal: bool,
}

impl Reports {
    /// No reports yet of so many peers; one is due every `interval` frames.
    pub(crate) fn new(interval: u32, peers: usize) -> Self {
        let start = Report { number: 0, frame: Frame::ZERO, digest: Digest::default() };
        Self {
            interval,
            next: Frame::ZERO.plus(interval),
            states: Chain::default(),
            own: {
                let mut own = VecDeque::with_capacity(REPORTS_PENDING_MAX + 2);
                own.push_back(start);
                own
            },
            theirs: vec![[None; HEARD_MAX]; peers],
            agreed: [0; PEERS_MAX],
            starts: [Frame::ZERO; PEERS_MAX],
            has_news: false,
        }
    }

    /// The frame of the next regular report.
    pub(crate) fn next_frame(&self) -> Frame {
        self.next
    }

    /// The last own report.
    pub(crate) fn last(&self) -> Report {
        let start = Report { number: 0, frame: Frame::ZERO, digest: Digest::default() };
        self.own.back().copied().unwrap_or(start)
    }

    /// The own report of this number, as far as it is kept; else the one that is next to it.
    pub(crate) fn nearest(&self, number: u32) -> Report {
        let near = self.own.iter().min_by_key(|own| own.number.abs_diff(number));
        near.copied().unwrap_or_else(|| self.last())
    }

    /// Adds an own report of the final state of `frame`, and of what the steps since the last report gave.
    pub(crate) fn push(
        &mut self,
        frame: Frame,
        (hash, outputs): (StateHash, Chain),
        inputs: Chain,
    ) -> Report {
        self.states = self.states.link(&hash.to_bytes()).link(&outputs.to_u64().to_le_bytes());
        let digest = Digest { inputs: inputs.short(), states: self.states.short() };
        let report = Report { number: self.last().number + 1, frame, digest };
        self.own.push_back(report);
        self.next = frame.plus(self.interval - frame.index() % self.interval);
        self.has_news = true;
        report
    }

    /// Forgets what was heard from a peer in a former life. In the new one it tells nothing of frames before `from`: it has
    /// compared their states with those that were recorded.
    pub(crate) fn begin_life(&mut self, peer: PeerId, from: Frame) {
        if let (Some(theirs), Some(start)) =
            (self.theirs.get_mut(peer.index()), self.starts.get_mut(peer.index()))
        {
            *theirs = [None; HEARD_MAX];
            *start = from;
            self.has_news = true;
        }
    }

    /// Takes a peer's report, of whose number 7 bits travelled.
    pub(crate) fn handle_report(&mut self, peer: PeerId, number: u8, digest: Digest) -> u32 {
        let last = self.last().number;
        let ahead = u32::from(number.wrapping_sub((last & 0x7f) as u8) & 0x7f);
        let number = if ahead < 64 { last + ahead } else { (last + ahead).saturating_sub(128) };
        let theirs = self.theirs.get_mut(peer.index());
        if let Some(slot) = theirs.and_then(|t| t.get_mut(number as usize % HEARD_MAX))
            && slot.is_none_or(|(kept, _)| kept <= number)
        {
            *slot = Some((number, digest));
            self.has_news = true;
        }
        number
    }

    /// Compares what was heard with what is known. Answers a disagreement, when there is one.
    pub(crate) fn compare(&mut self, members: PeerSet) -> Option<Disagreement> {
        if !core::mem::take(&mut self.has_news) {
            return None;
        }
        for peer in members.iter() {
            let Some(theirs) = self.theirs.get(peer.index()) else { continue };
            let Some(agreed) = self.agreed.get_mut(peer.index()) else { continue };
            let start = self.starts.get(peer.index()).copied().unwrap_or_default();
            for own in &self.own {
                if own.number <= *agreed {
                    continue;
                }
                if own.frame < start {
                    *agreed = own.number;
                    continue;
                }
                let heard = theirs.get(own.number as usize % HEARD_MAX).copied().flatten();
                match heard {
                    Some((number, digest)) if number == own.number && digest == own.digest => {
                        *agreed = number;
                    }
                    Some((number, digest)) if number == own.number => {
                        let inputs_are_equal = digest.inputs == own.digest.inputs;
                        return Some(Disagreement { peer, frame: own.frame, inputs_are_equal });
                    }
                    _ => {}
                }
            }
        }
        None
    }

    /// The frame up to which all `others` agree with this peer.
    pub(crate) fn agreed_frame(&mut self, others: PeerSet) -> Frame {
        let numbers = others.iter().filter_map(|peer| self.agreed.get(peer.index())).copied();
        let number = numbers.min().unwrap_or(self.last().number);
        while self.own.len() > 1 && self.own.get(1).is_some_and(|own| own.number <= number) {
            self.own.pop_front();
        }
        self.own.front().map_or(Frame::ZERO, |own| own.frame)
    }
}

/// A desync, as well as it could be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desync {
    /// The member whose report differs.
    pub peer: PeerId,
    /// Every state up to this frame is equal on all members.
    pub agreed: Frame,
    /// The frame of the report that differs.
    pub reported: Frame,
    /// Whether the inputs are equal. If so the simulation is not deterministic; if not, the engine is at fault.
    pub inputs_are_equal: bool,
    /// What the search found.
    pub finding: DesyncFinding,
}

/// What the search for the first bad frame found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DesyncFinding {
    /// The other peer was not heard of again.
    NoAnswer,
    /// Stepping the frames again gave equal states: the divergence is not reproducible on replay.
    NotReproducible,
    /// The first state that differs is that of `frame`, and in it the leaf `path`, where the game names leaves,
    /// or the first differing bytes.
    First {
        /// The first frame whose state differs; the step before it is the one that went apart.
        frame: Frame,
        /// The first differing leaf.
        path: Option<String>,
        /// The first bytes of the state that differ, where the game names no leaves and writes its states as bytes: exact,
        /// up to 256 of them, unless the other peer was lost meanwhile.
        bytes: Option<Range<usize>>,
    },
}

/// The search: both sides step again from the last agreed state, compare the hash of every frame, then the leaves of
/// the first state that differs.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) disagreement: Disagreement,
    pub(crate) agreed: Frame,
    /// Own hashes, from the state after `agreed` on.
    pub(crate) hashes: Vec<u32>,
    /// The members that have said how far they know all to agree.
    heard: PeerSet,
    agreed_by_others: Frame,
    theirs: Option<(Frame, Vec<u32>)>,
    pub(crate) leaves: Option<(Frame, Leaves)>,
    /// The same state as bytes, where it can be had.
    pub(crate) pages: Option<Pages>,
    their_leaves: Option<TheirLeaves>,
    turn: usize,
}

/// Some digests of a state's leaves, from `start` on; `total` in all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LeafMessage {
    pub(crate) frame: Frame,
    pub(crate) total: u16,
    pub(crate) start: u16,
    pub(crate) digests: Vec<u32>,
}

#[derive(Clone, Debug)]
struct TheirLeaves {
    frame: Frame,
    total: usize,
    digests: Vec<Option<u32>>,
}

impl Search {
    pub(crate) fn new(disagreement: Disagreement, agreed: Frame, hashes: Vec<u32>) -> Self {
        Self {
            disagreement,
            agreed,
            hashes,
            heard: PeerSet::EMPTY,
            agreed_by_others: Frame::ZERO,
            theirs: None,
            leaves: None,
            pages: None,
            their_leaves: None,
            turn: 0,
        }
    }

    pub(crate) fn handle_hashes(&mut self, from: PeerId, agreed: Frame, hashes: Vec<u32>) {
        self.heard.insert(from);
        self.agreed_by_others = self.agreed_by_others.max(agreed);
        if from == self.disagreement.peer {
            self.theirs = Some((agreed, hashes));
        }
    }

    pub(crate) fn handle_leaves(&mut self, frame: Frame, total: u16, start: u16, digests: &[u32]) {
        let total = usize::from(total).min(crate::LEAVES_MAX);
        let fresh = || TheirLeaves { frame, total, digests: alloc::vec![None; total] };
        let theirs = self.their_leaves.get_or_insert_with(fresh);
        if theirs.frame == frame && theirs.total == total {
            let slots = theirs.digests.iter_mut().skip(start.into());
            for (slot, digest) in slots.zip(digests) {
                *slot = Some(*digest);
            }
        }
    }

    pub(crate) fn handle_pages(&mut self, message: &PageMessage) {
        if let (Some(pages), Some((frame, _))) = (&mut self.pages, &self.leaves)
            && *frame == message.frame
        {
            pages.handle(message);
        }
    }

    /// Whether all `others` have said how far they know all to agree, so that all end at one frame.
    pub(crate) fn has_heard_all(&self, others: PeerSet) -> bool {
        others.is_subset_of(self.heard)
    }

    /// The frame up to which all members agree: whoever heard more reports knows better.
    pub(crate) fn agreed(&self) -> Frame {
        self.agreed.max(self.agreed_by_others.min(self.disagreement.frame))
    }

    /// The first frame whose state differs, once the other side's hashes have come: `Some(None)` when none does.
    pub(crate) fn first_bad(&self) -> Option<Option<Frame>> {
        let (agreed, theirs) = self.theirs.as_ref()?;
        let hash_at = |from: Frame, hashes: &[u32], frame: Frame| {
            let index = frame.index().checked_sub(from.index() + 1)?;
            hashes.get(index as usize).copied()
        };
        let from = self.agreed.max(*agreed).next();
        let end = self.agreed.plus(u32::try_from(self.hashes.len()).unwrap_or(u32::MAX)).next();
        let differs = |frame: &Frame| {
            let own = hash_at(self.agreed, &self.hashes, *frame);
            let other = hash_at(*agreed, theirs, *frame);
            own.zip(other).is_some_and(|(own, other)| own != other)
        };
        Some(from.until(end).find(differs))
    }

    /// A part of the own leaves: all parts in turn, one each time, so that a search floods nobody.
    pub(crate) fn leaf_message(&self) -> Option<LeafMessage> {
        let (frame, leaves) = self.leaves.as_ref()?;
        let parts = leaves.len().div_ceil(LEAVES_PER_MESSAGE).max(1);
        let start = self.turn % parts * LEAVES_PER_MESSAGE;
        Some(LeafMessage {
            frame: *frame,
            total: u16::try_from(leaves.len()).unwrap_or(u16::MAX),
            start: u16::try_from(start).unwrap_or(u16::MAX),
            digests: leaves.digests().skip(start).take(LEAVES_PER_MESSAGE).collect(),
        })
    }

    /// A part of what the state is as bytes, where it has no leaves.
    pub(crate) fn page_message(&self) -> Option<PageMessage> {
        let ((frame, _), pages) = (self.leaves.as_ref()?, self.pages_to_compare()?);
        Some(pages.message(*frame, self.turn))
    }

    /// The first state that differs as it came here, where it can be had as bytes.
    pub(crate) fn replayed(&self) -> Option<(Frame, &[u8])> {
        let (frame, _) = self.leaves.as_ref()?;
        Some((*frame, self.pages.as_ref()?.bytes()?))
    }

    /// Of a state with leaves those tell more than its bytes; one leaf is the output of the step.
    fn pages_to_compare(&self) -> Option<&Pages> {
        let (_, leaves) = self.leaves.as_ref()?;
        self.pages.as_ref().filter(|_| leaves.len() <= 1)
    }

    /// Goes on to the next part of the leaves.
    pub(crate) fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// What is known when no more is waited for.
    pub(crate) fn late_finding(&self) -> DesyncFinding {
        match self.first_bad() {
            Some(Some(frame)) => {
                let bytes = self.pages_to_compare().and_then(Pages::narrowest);
                DesyncFinding::First { frame, path: None, bytes }
            }
            Some(None) => DesyncFinding::NotReproducible,
            None => DesyncFinding::NoAnswer,
        }
    }

    /// What was found, once all is known.
    pub(crate) fn finding(&self) -> Option<DesyncFinding> {
        let Some(frame) = self.first_bad()? else { return Some(DesyncFinding::NotReproducible) };
        let theirs = self.their_leaves.as_ref()?;
        let (_, ours) = self.leaves.as_ref()?;
        if theirs.digests.iter().any(Option::is_none) {
            return None;
        }
        match self.pages_to_compare().map_or(PageFinding::Nothing, Pages::finding) {
            PageFinding::Open => return None,
            PageFinding::Differ(bytes) => {
                return Some(DesyncFinding::First { frame, path: None, bytes: Some(bytes) });
            }
            PageFinding::Nothing => {}
        }
        let mut pairs = ours.digests().zip(theirs.digests.iter().flatten());
        let differing = pairs.position(|(ours, theirs)| ours != *theirs);
        // A state with more leaves than the other's parts from it where the shorter one ends.
        let index = differing.unwrap_or(ours.len().min(theirs.total));
        let path = ours.name(index).map(ToString::to_string);
        Some(DesyncFinding::First { frame, path, bytes: None })
    }
}

/// How many reports of a peer are kept that this one has not reached.
const HEARD_MAX: usize = 2 * REPORTS_PENDING_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
    }

    fn hash(value: u128) -> StateHash {
        StateHash::from_u128(value)
    }

    #[test]
    fn reports_are_agreed_when_every_member_has_said_the_same() {
        let others: PeerSet = [peer(1), peer(2)].into_iter().collect();
        let mut reports = Reports::new(10, 3);
        assert_eq!(reports.next_frame(), Frame::new(10));
        let report = reports.push(Frame::new(10), (hash(1), Chain::default()), Chain::default());
        reports.handle_report(peer(1), 1, report.digest);
        assert_eq!(reports.compare(others), None);
        assert_eq!(reports.agreed_frame(others), Frame::ZERO);
        reports.handle_report(peer(2), 1, report.digest);
        assert_eq!(reports.compare(others), None);
        assert_eq!(reports.agreed_frame(others), Frame::new(10));
        assert_eq!(reports.next_frame(), Frame::new(20));
    }

    #[test]
    fn a_report_heard_early_is_compared_when_its_frame_is_reached() {
        let others: PeerSet = [peer(1)].into_iter().collect();
        let mut reports = Reports::new(10, 2);
        reports.handle_report(peer(1), 1, Digest { inputs: 0, states: 5 });
        assert_eq!(reports.compare(others), None);
        reports.push(Frame::new(10), (hash(1), Chain::default()), Chain::default());
        let disagreement = reports.compare(others).unwrap();
        assert_eq!((disagreement.peer, disagreement.frame), (peer(1), Frame::new(10)));
    }

    #[test]
    fn numbers_of_reports_wrap() {
        let others: PeerSet = [peer(1)].into_iter().collect();
        let mut reports = Reports::new(1, 2);
        for number in 1..400_u32 {
            let report = reports.push(
                Frame::new(number),
                (hash(number.into()), Chain::default()),
                Chain::default(),
            );
            assert_eq!(reports.handle_report(peer(1), (number % 128) as u8, report.digest), number);
            assert_eq!(reports.compare(others), None);
            assert_eq!(reports.agreed_frame(others), Frame::new(number));
        }
    }

    #[test]
    fn the_search_names_the_first_frame_and_leaf() {
        let disagreement =
            Disagreement { peer: peer(1), frame: Frame::new(20), inputs_are_equal: true };
        let mut search = Search::new(disagreement, Frame::new(10), alloc::vec![1, 2, 3]);
        assert_eq!(search.finding(), None);
        search.handle_hashes(peer(1), Frame::new(11), alloc::vec![2, 9]);
        assert_eq!(search.agreed(), Frame::new(11));
        assert_eq!(search.first_bad(), Some(Some(Frame::new(13))));
        let mut leaves = Leaves::default();
        leaves.push("a", 1);
        leaves.push("b", 2);
        search.leaves = Some((Frame::new(13), leaves));
        search.handle_leaves(Frame::new(13), 2, 0, &[1, 3]);
        let path = Some("b".to_string());
        assert_eq!(
            search.finding(),
            Some(DesyncFinding::First { frame: Frame::new(13), path, bytes: None })
        );
    }
}
