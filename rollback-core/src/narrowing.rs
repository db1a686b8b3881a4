//! Finds the first bytes in which two states differ, by digests of smaller and smaller pages. Knows no game.

use alloc::vec::Vec;
use core::ops::Range;

use crate::Frame;
use crate::hash::short_hash;

/// The bytes of a state at one side, and how far both sides have narrowed down where the other's differ.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    bytes: Option<Vec<u8>>,
    /// For each level that was reached the first byte of its pages and what the other side has there.
    levels: Vec<(usize, Option<Theirs>)>,
}

/// Digests of consecutive pages of a state, from the byte `start` on. The pages of a level have one size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PageMessage {
    pub(crate) frame: Frame,
    /// The length of the whole state; none where it cannot be had as bytes.
    pub(crate) length: Option<u32>,
    pub(crate) level: u8,
    pub(crate) start: u32,
    pub(crate) digests: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Theirs {
    length: Option<u32>,
    digests: Vec<u32>,
}

/// What came of comparing two states by their pages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PageFinding {
    /// The other side has more to say.
    Open,
    /// One of them is not bytes, or they are equal.
    Nothing,
    /// These bytes are the first that differ.
    Differ(Range<usize>),
}

impl Pages {
    /// A state as bytes, where it can be had and is no longer than [`STATE_BYTES_MAX`].
    pub(crate) fn new(bytes: Option<Vec<u8>>) -> Self {
        let bytes = bytes.filter(|bytes| bytes.len() <= STATE_BYTES_MAX);
        Self { bytes, levels: alloc::vec![(0, None)] }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// Takes what the other side says, where it is of the level and place reached here; it is said again and again.
    pub(crate) fn handle(&mut self, message: &PageMessage) {
        let level = usize::from(message.level);
        let Some((start, theirs @ None)) = self.levels.get_mut(level) else { return };
        if u32::try_from(*start) != Ok(message.start) || message.digests.len() > PAGES_PER_LEVEL {
            return;
        }
        *theirs = Some(Theirs { length: message.length, digests: message.digests.clone() });
        if let (Some(page), Some(size)) = (self.first_page(level), PAGE_BYTES.get(level))
            && level + 1 < PAGE_BYTES.len()
            && let Some((start, _)) = self.levels.get(level)
        {
            let start = start + page * size;
            self.levels.push((start, None));
        }
    }

    /// What to tell the other side: of all levels reached, each in its turn.
    pub(crate) fn message(&self, frame: Frame, turn: usize) -> PageMessage {
        let level = turn % self.levels.len().max(1);
        let start = self.levels.get(level).map_or(0, |(start, _)| *start);
        let length = self.bytes.as_ref().and_then(|bytes| u32::try_from(bytes.len()).ok());
        PageMessage {
            frame,
            length,
            level: u8::try_from(level).unwrap_or(u8::MAX),
            start: u32::try_from(start).unwrap_or(u32::MAX),
            digests: self.digests(level),
        }
    }

    /// What is known by now.
    pub(crate) fn finding(&self) -> PageFinding {
        let (Some(_), Some((_, theirs))) = (&self.bytes, self.levels.first()) else {
            return PageFinding::Nothing;
        };
        let Some(theirs) = theirs else { return PageFinding::Open };
        if theirs.length.is_none() || self.first_page(0).is_none() {
            return PageFinding::Nothing;
        }
        match self.levels.len() == PAGE_BYTES.len() && self.heard() == PAGE_BYTES.len() {
            true => self.narrowest().map_or(PageFinding::Nothing, PageFinding::Differ),
            false => PageFinding::Open,
        }
    }

    /// The narrowest range that is known to hold the first difference.
    pub(crate) fn narrowest(&self) -> Option<Range<usize>> {
        let level = self.heard().checked_sub(1)?;
        let (start, theirs) = self.levels.get(level)?;
        let (size, theirs) = (PAGE_BYTES.get(level)?, theirs.as_ref()?);
        let first = self.first_page(level)?;
        let ours = self.digests(level);
        let count = ours.len().max(theirs.digests.len());
        // Of single bytes all that differ in a row are told; of pages only the first is looked into.
        let differs = |page: &usize| ours.get(*page) != theirs.digests.get(*page);
        let last = (first..count).take_while(differs).take(if *size == 1 { count } else { 1 });
        let length = self.bytes.as_ref().map_or(0, Vec::len);
        let length = length.max(theirs.length.and_then(|l| usize::try_from(l).ok()).unwrap_or(0));
        let end = start + last.last().map_or(first, |page| page + 1) * size;
        Some(start + first * size..end.min(length))
    }

    /// How many levels the other side was heard of.
    fn heard(&self) -> usize {
        self.levels.iter().filter(|(_, theirs)| theirs.is_some()).count()
    }

    /// The first page of a level that differs.
    fn first_page(&self, level: usize) -> Option<usize> {
        let theirs = self.levels.get(level)?.1.as_ref()?;
        theirs.length?;
        self.bytes.as_ref()?;
        let ours = self.digests(level);
        let count = ours.len().max(theirs.digests.len());
        (0..count).find(|page| ours.get(*page) != theirs.digests.get(*page))
    }

    /// The digests of the own pages of a level.
    fn digests(&self, level: usize) -> Vec<u32> {
        let (Some(bytes), Some((start, _)), Some(size)) =
            (&self.bytes, self.levels.get(level), PAGE_BYTES.get(level))
        else {
            return Vec::new();
        };
        let rest = bytes.get(*start..).unwrap_or_default();
        rest.chunks(*size).take(PAGES_PER_LEVEL).map(digest).collect()
    }
}

fn digest(page: &[u8]) -> u32 {
    short_hash(page, 0)
}

/// How many pages of a level one message compares.
pub(crate) const PAGES_PER_LEVEL: usize = 256;

/// The size of the pages of each level: each looks into one page of the level above.
const PAGE_BYTES: [usize; 3] = [1 << 16, 1 << 8, 1];

/// The longest state that is compared, dumped or sent as bytes: 16 MiB.
pub const STATE_BYTES_MAX: usize = PAGES_PER_LEVEL << 16;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// What both sides find, and how many messages each has sent.
    fn compare(one: Option<Vec<u8>>, other: Option<Vec<u8>>) -> (PageFinding, usize) {
        let mut sides = [Pages::new(one), Pages::new(other)];
        for turn in 0.. {
            let [one, other] = [0, 1].map(|side| sides[side].message(Frame::ZERO, turn));
            sides[0].handle(&other);
            sides[1].handle(&one);
            let [one, other] = [0, 1].map(|side| sides[side].finding());
            if one != PageFinding::Open && other != PageFinding::Open {
                assert_eq!(one, other);
                return (one, turn + 1);
            }
            assert!(turn < 20, "{sides:?}");
        }
        unreachable!()
    }

    fn flipped(length: usize, at: Range<usize>) -> (PageFinding, usize) {
        let state: Vec<u8> = (0..length).map(|index| index.to_le_bytes()[0]).collect();
        let mut other = state.clone();
        other[at].iter_mut().for_each(|byte| *byte ^= 0x10);
        compare(Some(state), Some(other))
    }

    #[test]
    fn the_first_bytes_that_differ_are_named_in_a_few_messages() {
        for (length, at) in [
            (1, 0..1),
            (100, 7..11),
            (300, 255..256),
            (300, 256..257),
            (70_000, 65_536..65_540),
            (STATE_BYTES_MAX, STATE_BYTES_MAX - 1..STATE_BYTES_MAX),
        ] {
            let (found, messages) = flipped(length, at.clone());
            assert_eq!(found, PageFinding::Differ(at));
            assert!(messages <= 6, "{messages}");
        }
    }

    #[test]
    fn a_state_that_is_longer_differs_where_the_other_ends() {
        for (one, other, at) in [(10, 12, 10..12), (256, 257, 256..257), (0, 3, 0..3)] {
            let found = compare(Some(vec![5; one]), Some(vec![5; other])).0;
            assert_eq!(found, PageFinding::Differ(at));
        }
        assert_eq!(
            compare(Some(vec![5; 1 << 16]), Some(vec![5; 3 << 16])).0,
            PageFinding::Differ(1 << 16..(1 << 16) + 256)
        );
    }

    #[test]
    fn what_is_equal_or_no_bytes_has_no_range() {
        assert_eq!(compare(Some(vec![1; 500]), Some(vec![1; 500])).0, PageFinding::Nothing);
        assert_eq!(compare(Some(vec![1; 500]), None).0, PageFinding::Nothing);
        assert_eq!(compare(None, None).0, PageFinding::Nothing);
        let too_long = Some(vec![0; STATE_BYTES_MAX + 1]);
        assert_eq!(compare(too_long, Some(vec![1])).0, PageFinding::Nothing);
    }

    #[test]
    fn what_was_heard_before_the_other_was_lost_is_a_wider_range() {
        let mut one = Pages::new(Some(vec![0; 1000]));
        let mut bytes = vec![0; 1000];
        bytes[300] = 1;
        one.handle(&Pages::new(Some(bytes)).message(Frame::ZERO, 0));
        assert_eq!((one.finding(), one.narrowest()), (PageFinding::Open, Some(0..1000)));
    }

    #[test]
    fn no_two_single_bytes_have_one_digest() {
        let mut digests: Vec<u32> = (0..=u8::MAX).map(|byte| digest(&[byte])).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 256);
    }

    #[test]
    fn what_is_not_of_this_place_is_passed_over() {
        let mut pages = Pages::new(Some(vec![0; 10]));
        let message = pages.message(Frame::ZERO, 0);
        pages.handle(&PageMessage { level: 1, ..message.clone() });
        pages.handle(&PageMessage { level: 200, ..message.clone() });
        pages.handle(&PageMessage { start: 5, ..message.clone() });
        pages.handle(&PageMessage { digests: vec![0; 257], ..message });
        assert_eq!(pages.finding(), PageFinding::Open);
    }
}
