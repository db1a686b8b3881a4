//! The search for the first frame at which two members' states differ, and for the first leaf or bytes in it. Steps no game.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use crate::desync::{Disagreement, Report};
use crate::narrowing::{PageFinding, PageMessage, Pages};
use crate::resync::NUMBERS_APART;
use crate::rollback::STEP_LEAVES;
use crate::wire::{Digest, LEAVES_PER_MESSAGE};
use crate::{Frame, Leaves, PeerId, PeerSet};

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
    /// Up to where this peer knows all to agree; hashes of its states after that, and its reports, up to the one that differs.
    agreed: Frame,
    hashes: Vec<u32>,
    reports: Vec<Report>,
    /// What the other members have said.
    heard: Vec<(PeerId, Findings)>,
    pub(crate) leaves: Option<(Frame, Leaves)>,
    /// The same state as bytes, where it can be had.
    pub(crate) pages: Option<Pages>,
    their_leaves: Option<TheirLeaves>,
    /// Peers that know that all with whom they play agree on the frame in question: they play without the member whose report
    /// differs, or without this peer.
    settled: PeerSet,
    turn: usize,
}

/// What a member that searches knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Findings {
    /// Up to where it knows all to agree.
    pub(crate) agreed: Frame,
    /// Hashes of its states, from the one after `agreed` on.
    pub(crate) hashes: Vec<u32>,
    /// Its reports after `agreed`, by number, up to the one that differs from another's.
    pub(crate) reports: Vec<(u32, Digest)>,
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
    total: usize,
    digests: Vec<Option<u32>>,
}

impl Search {
    /// A search from the last report that all are known to agree on; `reports` come after that, with their frames.
    pub(crate) fn new(
        disagreement: Disagreement,
        (agreed, hashes): (Frame, Vec<u32>),
        reports: impl Iterator<Item = Report>,
    ) -> Self {
        Self {
            disagreement,
            agreed,
            hashes,
            reports: reports.collect(),
            heard: Vec::new(),
            leaves: None,
            pages: None,
            their_leaves: None,
            settled: PeerSet::EMPTY,
            turn: 0,
        }
    }

    /// What the others are told.
    pub(crate) fn findings(&self) -> Findings {
        let reports = self.reports.iter().map(|own| (own.number, own.digest)).collect();
        Findings { agreed: self.agreed, hashes: self.hashes.clone(), reports }
    }

    pub(crate) fn handle_findings(&mut self, from: PeerId, findings: Findings) {
        // Whoever searches has some.
        if findings.hashes.is_empty() {
            if findings.agreed >= self.disagreement.frame {
                self.settled.insert(from);
            }
            return;
        }
        // States may part again before one has heard the last of the search before.
        let (number, own) = (findings.last_number(), self.findings());
        let is_near = own.last_number().abs_diff(number) < NUMBERS_APART / 2;
        if is_near && number >= own.first_number() {
            self.heard.retain(|(peer, _)| *peer != from);
            self.heard.push((from, findings));
        }
    }

    pub(crate) fn handle_leaves(&mut self, message: &LeafMessage) {
        if self.first_bad() != Some(Some(message.frame)) {
            return;
        }
        let total = usize::from(message.total).min(crate::LEAVES_MAX);
        let fresh = || TheirLeaves { total, digests: alloc::vec![None; total] };
        let theirs = self.their_leaves.get_or_insert_with(fresh);
        if theirs.total == total {
            let slots = theirs.digests.iter_mut().skip(message.start.into());
            for (slot, digest) in slots.zip(&message.digests) {
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
        others.iter().all(|peer| self.heard_from(peer).is_some())
    }

    /// Whether one of `others` knows that all with whom it plays agree on the frame in question.
    pub(crate) fn is_settled_for_one(&self, others: PeerSet) -> bool {
        !self.settled.and(others).is_empty()
    }

    /// Whether all `others` but the one whose report differs know that; or that one, where it is the only one.
    pub(crate) fn is_settled_without(&self, others: PeerSet) -> bool {
        let rest = others.without(self.disagreement.peer);
        let needed = if rest.is_empty() { others } else { rest };
        needed.is_subset_of(self.settled)
    }

    /// Whether the reports of `others` are those of this peer, once all have said all of these.
    pub(crate) fn others_agree(&self, others: PeerSet) -> Option<bool> {
        let mut agree = Some(true);
        for peer in others.iter() {
            let theirs = self.heard_from(peer)?;
            for own in &self.reports {
                match theirs.agrees_on(own) {
                    Some(false) => return Some(false),
                    Some(true) => {}
                    None => agree = None,
                }
            }
        }
        agree
    }

    fn heard_from(&self, peer: PeerId) -> Option<&Findings> {
        self.heard.iter().find(|(from, _)| *from == peer).map(|(_, findings)| findings)
    }

    /// The frame up to which all agree, also those that have ended meanwhile: a member that heard more reports knows better. A later
    /// report may have taken the place of one before anybody had heard that of all members; once all `others` have said theirs, it is
    /// compared here.
    pub(crate) fn agreed(&self, others: PeerSet) -> Frame {
        // The last one is what differs. Nobody can agree on a frame that is no report's.
        let before = || self.reports.iter().filter(|own| own.frame < self.disagreement.frame);
        let is_report = |frame: &Frame| before().any(|own| own.frame == *frame);
        let known = self.heard.iter().map(|(_, theirs)| theirs.agreed).filter(is_report);
        let known = known.fold(self.agreed, Frame::max);
        if !self.has_heard_all(others) {
            return known;
        }
        let all_say = |own: &&Report| {
            let mut heard = others.iter().filter_map(|peer| self.heard_from(peer));
            heard.all(|theirs| theirs.reports.contains(&(own.number, own.digest)))
        };
        let unknown = before().filter(|own| own.frame > known);
        unknown.take_while(all_say).last().map_or(known, |own| own.frame)
    }

    /// Says from now on that all agree up to here.
    pub(crate) fn raise_agreed(&mut self, agreed: Frame) {
        let known = agreed.since(self.agreed) as usize;
        self.hashes.drain(..known.min(self.hashes.len()));
        self.agreed = self.agreed.max(agreed);
        self.reports.retain(|own| own.frame > agreed);
    }

    /// Whether the inputs are equal, as far as can be told: of reports of two frames, as one's game ended earlier, nothing can.
    pub(crate) fn inputs_are_equal(&self) -> bool {
        let (own, theirs) = (self.findings(), self.heard_from(self.disagreement.peer));
        let are_of_two_frames = theirs.is_some_and(|theirs| {
            theirs.last_number() == own.last_number() && theirs.end() != own.end()
        });
        self.disagreement.inputs_are_equal || are_of_two_frames
    }

    /// The first frame whose state differs, once the other side's hashes have come: `Some(None)` when none does.
    pub(crate) fn first_bad(&self) -> Option<Option<Frame>> {
        let (own, theirs) = (self.findings(), self.heard_from(self.disagreement.peer)?);
        let frames = own.agreed.max(theirs.agreed).next().until(own.end());
        let differs = |frame: &Frame| {
            own.hash_at(*frame)
                .zip(theirs.hash_at(*frame))
                .is_some_and(|(own, theirs)| own != theirs)
        };
        Some(frames.into_iter().find(differs))
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

    /// Of a state with leaves those tell more than its bytes.
    fn pages_to_compare(&self) -> Option<&Pages> {
        let (_, leaves) = self.leaves.as_ref()?;
        self.pages.as_ref().filter(|_| leaves.len() <= STEP_LEAVES)
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

impl Findings {
    /// The first frame of whose state it has no hash.
    pub(crate) fn end(&self) -> Frame {
        self.agreed.plus(u32::try_from(self.hashes.len()).unwrap_or(u32::MAX)).next()
    }

    fn hash_at(&self, frame: Frame) -> Option<u32> {
        let index = frame.index().checked_sub(self.agreed.next().index())?;
        self.hashes.get(index as usize).copied()
    }

    /// Whether it says the same of a report; `None` where it has not said what.
    fn agrees_on(&self, own: &Report) -> Option<bool> {
        let said = self.reports.iter().find(|(number, _)| *number == own.number);
        let is_equal = said.map(|(_, digest)| *digest == own.digest);
        is_equal.or_else(|| (self.agreed >= own.frame).then_some(true))
    }

    /// The number of the first report on which not all are known to agree.
    fn first_number(&self) -> u32 {
        self.reports.first().map_or(0, |(number, _)| *number)
    }

    /// The number of the report that differs.
    fn last_number(&self) -> u32 {
        self.reports.last().map_or(0, |(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
    }

    fn disagreement(frame: u32) -> Disagreement {
        Disagreement { peer: peer(1), frame: Frame::new(frame), inputs_are_equal: true }
    }

    fn report(number: u32, frame: u32, whole: u32) -> Report {
        Report::made_up(number, Frame::new(frame), Digest { inputs: 0, whole })
    }

    fn findings(agreed: u32, hashes: &[u32], reports: &[(u32, u32)]) -> Findings {
        let report = |(number, whole): &(u32, u32)| (*number, Digest { inputs: 0, whole: *whole });
        Findings {
            agreed: Frame::new(agreed),
            hashes: hashes.to_vec(),
            reports: reports.iter().map(report).collect(),
        }
    }

    fn leaf_message(frame: u32, digests: &[u32]) -> LeafMessage {
        LeafMessage { frame: Frame::new(frame), total: 2, start: 0, digests: digests.to_vec() }
    }

    #[test]
    fn the_search_names_the_first_frame_and_leaf() {
        let own = (Frame::new(10), alloc::vec![1, 2, 3]);
        let mut search = Search::new(disagreement(20), own, [report(2, 20, 7)].into_iter());
        assert_eq!(search.finding(), None);
        search.handle_leaves(&leaf_message(12, &[1, 2]));
        search.handle_findings(peer(1), findings(11, &[2, 9], &[(2, 8)]));
        assert_eq!(search.agreed(PeerSet::from_bits(2)), Frame::new(10));
        assert_eq!(search.first_bad(), Some(Some(Frame::new(13))));
        let mut leaves = Leaves::default();
        leaves.push("a", 1);
        leaves.push("b", 2);
        search.leaves = Some((Frame::new(13), leaves));
        assert_eq!(search.finding(), None, "those of another frame are of another search");
        search.handle_leaves(&leaf_message(13, &[1, 3]));
        let path = Some("b".to_string());
        assert_eq!(
            search.finding(),
            Some(DesyncFinding::First { frame: Frame::new(13), path, bytes: None })
        );
    }

    #[test]
    fn all_agree_on_a_report_that_nobody_heard_of_all_others() {
        let others = PeerSet::from_bits(0b110);
        let own = || [report(2, 20, 7), report(3, 30, 8), report(4, 40, 9)].into_iter();
        let agreed = |theirs: [&[(u32, u32)]; 2]| {
            let mut search = Search::new(disagreement(40), (Frame::new(10), alloc::vec![1]), own());
            for (slot, reports) in (1..).zip(theirs) {
                search.handle_findings(peer(slot), findings(10, &[1], reports));
            }
            search.agreed(others).index()
        };
        assert_eq!(agreed([&[(2, 7), (3, 8), (4, 0)], &[(2, 7), (3, 8), (4, 9)]]), 30);
        assert_eq!(agreed([&[(2, 7), (3, 0), (4, 0)], &[(2, 7), (3, 8), (4, 9)]]), 20);
        // Of the last one another has found that it differs.
        assert_eq!(agreed([&[(2, 7), (3, 8), (4, 0)], &[(2, 7), (3, 8)]]), 30);
        assert_eq!(agreed([&[(2, 7), (3, 8), (4, 0)], &[(2, 0)]]), 10);
        // One that knows that all agree on a report does not say it.
        let mut search = Search::new(disagreement(40), (Frame::new(10), alloc::vec![1]), own());
        search.handle_findings(peer(1), findings(20, &[1], &[(3, 8), (4, 0)]));
        search.handle_findings(peer(2), findings(10, &[1], &[(2, 7), (3, 8), (4, 9)]));
        assert_eq!(search.agreed(others), Frame::new(30));
        // What comes from a search that is over says nothing.
        assert_eq!(agreed([&[(2, 7), (3, 8), (4, 0)], &[(2, 7), (20, 8)]]), 10);
    }

    #[test]
    fn nobody_is_believed_that_all_agree_on_what_is_no_report_or_is_searched_for() {
        let own = || [report(2, 20, 7), report(3, 30, 8), report(4, 40, 9)].into_iter();
        let agreed = |theirs: u32| {
            let mut search = Search::new(disagreement(40), (Frame::new(10), alloc::vec![1]), own());
            search.handle_findings(peer(1), findings(theirs, &[1], &[(4, 0)]));
            search.agreed(PeerSet::from_bits(0b110)).index()
        };
        assert_eq!([9, 10, 20, 27, 30, 40, 50].map(agreed), [10, 10, 20, 10, 30, 10, 10]);
    }

    #[test]
    fn others_agree_once_all_have_said_the_same_of_every_report() {
        let others = PeerSet::from_bits(0b1100);
        let agree = |theirs: [&[(u32, u32)]; 2]| {
            let own = [report(2, 20, 7), report(3, 30, 8)].into_iter();
            let mut search = Search::new(disagreement(30), (Frame::new(10), alloc::vec![1]), own);
            search.handle_findings(peer(1), findings(10, &[1], &[(2, 0)]));
            for (slot, reports) in (2..).zip(theirs) {
                search.handle_findings(peer(slot), findings(10, &[1], reports));
            }
            search.others_agree(others)
        };
        assert_eq!(agree([&[(2, 7), (3, 8)], &[(2, 7), (3, 8), (4, 9)]]), Some(true));
        assert_eq!(agree([&[(2, 7)], &[(2, 7), (3, 8)]]), None);
        assert_eq!(agree([&[(2, 7)], &[(2, 7), (3, 0)]]), Some(false));
    }

    #[test]
    fn the_one_that_differs_cannot_say_alone_that_all_agree_without_this_peer() {
        let others = PeerSet::from_bits(0b110);
        let own = [report(2, 20, 7)].into_iter();
        let mut search = Search::new(disagreement(20), (Frame::new(10), alloc::vec![1]), own);
        search.handle_findings(peer(1), findings(20, &[], &[]));
        assert!(!search.is_settled_without(others));
        assert!(search.is_settled_without(PeerSet::from_bits(0b10)));
        search.handle_findings(peer(2), findings(20, &[], &[]));
        assert!(search.is_settled_without(others));
    }
}
