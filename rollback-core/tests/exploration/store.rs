//! Keeps each value once and hands out numbers for them, so that states are small and equal ones are the same.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::marker::PhantomData;
use std::rc::Rc;

/// A map for small keys that nobody chooses with bad intent.
pub(crate) type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;

/// The number of a value in its [`Store`].
pub(crate) struct Id<T>(u32, PhantomData<T>);

/// Values by number.
pub(crate) struct Store<T> {
    values: Vec<Rc<T>>,
    ids: QuickMap<Rc<T>, Id<T>>,
}

impl<T: Eq + Hash> Store<T> {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), ids: QuickMap::default() }
    }

    /// The number of a value.
    pub(crate) fn id(&mut self, value: T) -> Id<T> {
        if let Some(id) = self.ids.get(&value) {
            return *id;
        }
        let (value, id) =
            (Rc::new(value), Id(u32::try_from(self.values.len()).unwrap(), PhantomData));
        self.values.push(Rc::clone(&value));
        self.ids.insert(value, id);
        id
    }

    /// The value of a number.
    pub(crate) fn get(&self, id: Id<T>) -> Rc<T> {
        Rc::clone(&self.values[id.0 as usize])
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Id<T> {}

impl<T> Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        self.0.hash(hasher);
    }
}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// Multiplies and rotates, which is enough for numbers and much quicker than what withstands an attack.
#[derive(Default)]
pub(crate) struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        // Tables look at the low bits, and multiplying makes the high ones good.
        self.0.rotate_left(26)
    }
}
