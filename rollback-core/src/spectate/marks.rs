//! Digests of the first entries of a stream: two who hold it compare them to find how far they agree.

use alloc::vec::Vec;

use crate::hash::Chain;

/// A digest of all entries up to each: two streams with an equal mark are equal up to there.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(Vec<Chain>);

impl Marks {
    /// Takes the next entry of the stream.
    pub(super) fn push(&mut self, entry: &[u8]) {
        let last = self.0.last().copied().unwrap_or_default();
        self.0.push(last.link(entry));
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The digest of the first `count` entries; `None` when there are fewer.
    pub(super) fn at(&self, count: u32) -> Option<u64> {
        let chain = match count.checked_sub(1) {
            None => Some(Chain::default()),
            Some(last) => self.0.get(usize::try_from(last).ok()?).copied(),
        };
        chain.map(Chain::to_u64)
    }
}
