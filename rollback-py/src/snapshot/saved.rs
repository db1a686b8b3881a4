//! What one snapshot holds: for every mutable object of the state, the object itself and what was in
//! it. It knows neither how it was filled nor how it is written back.

use std::collections::hash_map::Entry as Visit;

use pyo3::prelude::*;
use pyo3::types::PyList;
use rustc_hash::FxHashMap;

/// The most objects one state may consist of: beyond it the environment is no candidate for rollback.
pub(crate) const OBJECTS_MAX: usize = 4_000_000;

/// Marks an object that was visited and holds nothing of its own.
const NO_ENTRY: u32 = u32::MAX;

/// Which part of an object an entry holds, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// References: name, value, name, value …
    Fields,
    /// References, one for each slot; `None` where the slot is empty.
    Slots,
    /// References: key, value, key, value …
    Dict,
    OrderedDict,
    /// References, one for each element.
    List,
    Set,
    Deque,
    ObjectArray,
    /// One reference, or `None` for an empty cell.
    Cell,
    /// Bytes in C order; arrays that are contiguous are written back directly.
    Array,
    /// Bytes in C order, written back through numpy.
    StridedArray,
    /// Bytes in C order, for hashing only: the array that owns the memory is saved itself.
    ArrayView,
    ByteArray,
    /// One reference: the value that the object's own setter takes.
    RandomState,
    Coordinates,
    TypedArray,
    /// A copy made by `copy.deepcopy`: `start` is its place among the copies.
    Copied,
}

/// One part of one object.
pub(crate) struct Entry {
    pub(crate) object: Py<PyAny>,
    pub(crate) part: Part,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// The contents of a snapshot. Its buffers are kept when it is saved into again.
#[derive(Default)]
pub(crate) struct Saved {
    pub(crate) entries: Vec<Entry>,
    pub(crate) references: Vec<Option<Py<PyAny>>>,
    pub(crate) bytes: Vec<u8>,
    /// From the address of each visited object to its first entry. The addresses stay valid
    /// because the entries and the references keep the objects alive.
    visited: FxHashMap<usize, u32>,
    /// The objects that had to be copied, and their copies, in the same order.
    pub(crate) opaque: Vec<Py<PyAny>>,
    pub(crate) copies: Option<Py<PyList>>,
    /// Whether sets are filled again even where they hold the same: they are then alike on all computers.
    pub(crate) refills: bool,
}

impl Saved {
    /// What a received state is to be filled into.
    pub(crate) fn received() -> Self {
        Self { refills: true, ..Self::default() }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.references.clear();
        self.bytes.clear();
        self.visited.clear();
        self.opaque.clear();
        self.copies = None;
    }

    /// Notes a visit. `false` if the object was visited before.
    pub(crate) fn visit(&mut self, object: &Bound<'_, PyAny>) -> bool {
        match self.visited.entry(object.as_ptr() as usize) {
            Visit::Occupied(_) => false,
            Visit::Vacant(vacant) => {
                vacant.insert(NO_ENTRY);
                true
            }
        }
    }

    pub(crate) fn was_visited(&self, object: &Bound<'_, PyAny>) -> bool {
        self.visited.contains_key(&(object.as_ptr() as usize))
    }

    pub(crate) fn visited_count(&self) -> usize {
        self.visited.len()
    }

    /// Adds a part of an object whose references or bytes begin at `start`.
    pub(crate) fn add(&mut self, object: &Bound<'_, PyAny>, part: Part, start: usize, len: usize) {
        if let Some(first) = self.visited.get_mut(&(object.as_ptr() as usize))
            && *first == NO_ENTRY
        {
            *first = u32::try_from(self.entries.len()).unwrap_or(NO_ENTRY);
        }
        self.entries.push(Entry { object: object.clone().unbind(), part, start, len });
    }

    /// The parts of an object, in the order in which they were added.
    pub(crate) fn parts(&self, object: &Bound<'_, PyAny>) -> &[Entry] {
        let Some(&first) = self.visited.get(&(object.as_ptr() as usize)) else { return &[] };
        let Some(rest) = self.entries.get(first as usize..) else { return &[] };
        let count = rest.iter().take_while(|entry| entry.object.is(object)).count();
        rest.get(..count).unwrap_or(&[])
    }

    /// The references of an entry.
    pub(crate) fn references(&self, entry: &Entry) -> &[Option<Py<PyAny>>] {
        self.references.get(entry.start..entry.start + entry.len).unwrap_or(&[])
    }

    /// The bytes of an entry.
    pub(crate) fn bytes(&self, entry: &Entry) -> &[u8] {
        self.bytes.get(entry.start..entry.start + entry.len).unwrap_or(&[])
    }

    /// The place of an object's first part among the entries; `None` for an object that has none.
    pub(crate) fn first_entry(&self, object: &Py<PyAny>) -> Option<u32> {
        let first = self.visited.get(&(object.as_ptr() as usize)).copied();
        first.filter(|first| *first != NO_ENTRY)
    }
}
