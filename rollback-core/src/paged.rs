//! Bytes in pages, for the states of games. Copies share a page until one of them is written, so saving, hashing and
//! comparing cost only what has changed.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use zerocopy::transmute;

use crate::hash::hash_of_bytes;
use crate::{Same, StateHasher};

/// A state that is a run of bytes, such as the memory of an emulated machine, as the live state and as its snapshots.
///
/// A copy shares all pages. A page is copied when it is written for the first time after that, and hashed again only then.
/// So a frame that writes three pages of a thousand costs three pages, and a desync names the bytes:
///
/// ```
/// # use core::convert::Infallible;
/// # use rollback_core::{Game, Outcome, PagedBytes, Same, StateHasher, Step};
/// struct Machine { memory: PagedBytes }
///
/// impl Game for Machine {
///     type Input = u8;
///     type Snapshot = PagedBytes;
///     type Error = Infallible;
///     fn save(&self, slot: &mut PagedBytes) -> Result<(), Infallible> {
///         slot.clone_from(&self.memory);
///         Ok(())
///     }
///     fn load(&mut self, slot: &PagedBytes) -> Result<(), Infallible> {
///         self.memory.clone_from(slot);
///         Ok(())
///     }
///     fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Infallible> {
///         self.memory.write(0x2000, step.row()).expect("an address within the memory");
///         Ok(Outcome::Running)
///     }
///     fn hash(&self, slot: &PagedBytes, hasher: &mut StateHasher) -> Result<(), Infallible> {
///         slot.hash_into(hasher);
///         Ok(())
///     }
///     fn export(&self, slot: &PagedBytes, bytes: &mut Vec<u8>) -> Result<bool, Infallible> {
///         slot.chunks().for_each(|chunk| bytes.extend_from_slice(chunk));
///         Ok(true)
///     }
///     fn import(&self, bytes: &[u8], slot: &mut PagedBytes) -> Result<bool, Infallible> {
///         slot.assign(bytes);
///         Ok(bytes.len() == self.memory.len())
///     }
///     fn same(&self, one: &PagedBytes, other: &PagedBytes) -> Same { one.same(other) }
/// }
/// # let mut game = Machine { memory: PagedBytes::new(1 << 20) };
/// # let mut slot = PagedBytes::default();
/// # game.save(&mut slot)?;
/// # game.memory.write(0x2000, &[7])?;
/// # assert_eq!(game.same(&slot, &game.memory), Same::No);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Default)]
pub struct PagedBytes {
    pages: Vec<Arc<Page>>,
    len: usize,
}

/// So many bytes, and their hash once it was asked for. The last page of a state is filled up with zeros.
struct Page {
    bytes: [u8; PAGE_BYTES],
    /// The halves of the hash; where one is 0 it is not known.
    hash: [AtomicU64; 2],
}

/// Bytes were asked for that lie beyond the end.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("expected bytes within 0..{len}, got {range:?}")]
pub struct OutOfBytes {
    /// What was asked for.
    pub range: Range<usize>,
    /// How many bytes there are.
    pub len: usize,
}

impl PagedBytes {
    /// So many zeros, which take the room of one page until they are written.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let zeros = Arc::new(Page::new([0; PAGE_BYTES]));
        Self { pages: vec![zeros; len.div_ceil(PAGE_BYTES)], len }
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the bytes from `start` on into `bytes`.
    ///
    /// # Errors
    /// When they reach beyond the end; nothing is read then.
    pub fn read(&self, start: usize, bytes: &mut [u8]) -> Result<(), OutOfBytes> {
        self.check(start, bytes.len())?;
        let (mut at, mut rest) = (start, bytes);
        while let Some(page) = self.pages.get(at / PAGE_BYTES).filter(|_| !rest.is_empty()) {
            let from = page.bytes.get(at % PAGE_BYTES..).unwrap_or_default();
            let count = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(from.get(..count).unwrap_or_default());
            (at, rest) = (at + count, later);
        }
        Ok(())
    }

    /// Writes `bytes` from `start` on. A page that would not change is not touched.
    ///
    /// # Errors
    /// When they reach beyond the end; nothing is written then.
    pub fn write(&mut self, start: usize, bytes: &[u8]) -> Result<(), OutOfBytes> {
        self.check(start, bytes.len())?;
        let (mut at, mut rest) = (start, bytes);
        while let Some(page) = self.pages.get_mut(at / PAGE_BYTES).filter(|_| !rest.is_empty()) {
            let range = at % PAGE_BYTES..PAGE_BYTES.min(at % PAGE_BYTES + rest.len());
            let (now, later) = rest.split_at_checked(range.len()).unwrap_or_default();
            if page.bytes.get(range.clone()) != Some(now)
                && let Some(to) = page_mut(page).get_mut(range)
            {
                to.copy_from_slice(now);
            }
            (at, rest) = (at + now.len(), later);
        }
        Ok(())
    }

    /// Takes `bytes` for all that is here, whatever their number: for a game that keeps its live state elsewhere. Pages that are
    /// equal stay as they are, with their hashes.
    pub fn assign(&mut self, bytes: &[u8]) {
        if bytes.len() != self.len {
            *self = Self::new(bytes.len());
        }
        // As long as the state, so it fits.
        _ = self.write(0, bytes);
    }

    /// The bytes in order, page by page.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.pages.iter().enumerate().map(|(index, page)| {
            let end = PAGE_BYTES.min(self.len - index * PAGE_BYTES);
            page.bytes.get(..end).unwrap_or_default()
        })
    }

    /// Gives `hasher` the hashes of all pages, of which only those that changed are calculated.
    pub fn hash_into(&self, hasher: &mut StateHasher) {
        hasher.write_u64(self.len as u64);
        for page in &self.pages {
            hasher.write(&page.hash().to_le_bytes());
        }
    }

    /// Whether all bytes are the same, as [`Game::same`](crate::Game::same) tells it.
    #[must_use]
    pub fn same(&self, other: &Self) -> Same {
        match self == other {
            true => Same::Yes,
            false => Same::No,
        }
    }

    fn check(&self, start: usize, count: usize) -> Result<(), OutOfBytes> {
        let range = start..start.saturating_add(count);
        match range.end <= self.len {
            true => Ok(()),
            false => Err(OutOfBytes { range, len: self.len }),
        }
    }
}

impl Clone for PagedBytes {
    fn clone(&self) -> Self {
        Self { pages: self.pages.clone(), len: self.len }
    }

    /// Takes over the pages that are not shared already.
    fn clone_from(&mut self, source: &Self) {
        self.len = source.len;
        self.pages.truncate(source.pages.len());
        let shared = self.pages.len();
        for (page, source) in self.pages.iter_mut().zip(&source.pages) {
            if !Arc::ptr_eq(page, source) {
                *page = Arc::clone(source);
            }
        }
        self.pages.extend(source.pages.iter().skip(shared).cloned());
    }
}

/// Pages that are shared are not looked at.
impl PartialEq for PagedBytes {
    fn eq(&self, other: &Self) -> bool {
        let mut pages = self.pages.iter().zip(&other.pages);
        self.len == other.len
            && pages.all(|(one, other)| Arc::ptr_eq(one, other) || one.bytes == other.bytes)
    }
}

impl Eq for PagedBytes {}

impl fmt::Debug for PagedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PagedBytes").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Page {
    fn new(bytes: [u8; PAGE_BYTES]) -> Self {
        Self { bytes, hash: [AtomicU64::new(0), AtomicU64::new(0)] }
    }

    /// Whoever asks at the same time calculates the same, so the halves need not be written at once.
    fn hash(&self) -> u128 {
        let known = self.hash.each_ref().map(|half| half.load(Ordering::Relaxed));
        if !known.contains(&0) {
            return transmute!(known);
        }
        let hash = hash_of_bytes(&self.bytes);
        let halves: [u64; 2] = transmute!(hash);
        for (half, known) in self.hash.iter().zip(halves) {
            half.store(known, Ordering::Relaxed);
        }
        hash
    }
}

impl Clone for Page {
    fn clone(&self) -> Self {
        Self::new(self.bytes)
    }
}

/// The bytes of a page that no other state has, to be written.
fn page_mut(page: &mut Arc<Page>) -> &mut [u8; PAGE_BYTES] {
    let page = Arc::make_mut(page);
    for half in &mut page.hash {
        *half.get_mut() = 0;
    }
    &mut page.bytes
}

/// The bytes of a page.
pub const PAGE_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 3 * PAGE_BYTES + 100;

    fn hash(bytes: &PagedBytes) -> crate::StateHash {
        let mut hasher = StateHasher::new();
        bytes.hash_into(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn what_is_written_across_pages_is_read_again_and_copies_keep_what_they_had() {
        let mut live = PagedBytes::new(LEN);
        let before = live.clone();
        let written: Vec<u8> = (1..=250).cycle().take(PAGE_BYTES + 10).collect();
        live.write(PAGE_BYTES - 5, &written).unwrap();

        let mut read = vec![0; written.len()];
        live.read(PAGE_BYTES - 5, &mut read).unwrap();
        assert_eq!(read, written);
        before.read(PAGE_BYTES - 5, &mut read).unwrap();
        assert!(read.iter().all(|byte| *byte == 0));
        assert_eq!(live.chunks().map(<[u8]>::len).sum::<usize>(), LEN);
    }

    #[test]
    fn only_written_pages_are_copied() {
        let mut live = PagedBytes::new(LEN);
        let saved = live.clone();
        live.write(PAGE_BYTES, &[0, 0]).unwrap();
        live.write(2 * PAGE_BYTES, &[0, 1]).unwrap();
        let pages = live.pages.iter().zip(&saved.pages);
        let shared: Vec<_> = pages.map(|(live, saved)| Arc::ptr_eq(live, saved)).collect();
        assert_eq!(shared, [true, true, false, true]);
    }

    #[test]
    fn a_hash_depends_on_the_bytes_alone() {
        let mut live = PagedBytes::new(LEN);
        let zeros = hash(&live);
        live.write(LEN - 1, &[9]).unwrap();
        let nine = hash(&live);
        assert_ne!(nine, zeros);
        let mut other = PagedBytes::default();
        let mut bytes = vec![0; LEN];
        bytes[LEN - 1] = 9;
        other.assign(&bytes);
        assert_eq!((hash(&other), other.same(&live), other == live), (nine, Same::Yes, true));
        live.write(LEN - 1, &[0]).unwrap();
        assert_eq!((hash(&live), other.same(&live), other == live), (zeros, Same::No, false));
        assert_ne!(hash(&PagedBytes::new(LEN)), hash(&PagedBytes::new(LEN + 1)));
    }

    #[test]
    fn what_lies_beyond_the_end_is_refused() {
        let mut live = PagedBytes::new(10);
        let refused = OutOfBytes { range: 8..11, len: 10 };
        assert_eq!(live.write(8, &[1, 2, 3]), Err(refused.clone()));
        assert_eq!(live.read(8, &mut [0; 3]), Err(refused));
        assert!(live.read(usize::MAX, &mut [0]).is_err());
        assert_eq!(live.chunks().next(), Some([0; 10].as_slice()));
        assert!(PagedBytes::default().write(0, &[]).is_ok());
    }
}
