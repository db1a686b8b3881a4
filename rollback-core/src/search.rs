//! Finds the first frame at which the states of two members part, and what of it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use crate::desync::Disagreement;
use crate::narrowing::{PageFinding, PageMessage, Pages};
use crate::wire::LEAVES_PER_MESSAGE;
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
    /// Some member knows that all it plays with agree on what is searched: it plays without the one whose report differs.
    pub(crate) is_settled: bool,
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
            is_settled: false,
            turn: 0,
        }
    }

    pub(crate) fn handle_hashes(&mut self, from: PeerId, agreed: Frame, hashes: Vec<u32>) {
        // Whoever searches has some.
        if hashes.is_empty() {
            self.is_settled |= agreed >= self.disagreement.frame;
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
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
