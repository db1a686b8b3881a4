//! The hashes (XXH3) of states, inputs and chains. Does not know when something is hashed.

use core::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed, xxh3_128};
use zerocopy::IntoBytes;

/// The hash of one state: the 128-bit XXH3 of what the game wrote into a [`StateHasher`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StateHash([u8; 16]);

impl StateHash {
    /// The hash with this value, for a game that has its own 128-bit hash.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(value.to_le_bytes())
    }

    /// The hash as a number.
    #[must_use]
    pub const fn to_u128(self) -> u128 {
        u128::from_le_bytes(self.0)
    }

    /// The hash as it is recorded, low byte first.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The hash from its recorded bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.to_u128())
    }
}

/// Takes a state field by field, each as its little-endian bytes.
///
/// Lengths are not written by themselves: a game whose fields vary in length writes the length first.
pub struct StateHasher {
    hasher: Xxh3,
    replaced: Option<StateHash>,
}

impl StateHasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { hasher: Xxh3::new(), replaced: None }
    }

    /// Forgets what was written, so that the hasher can be used again.
    pub fn reset(&mut self) {
        self.hasher.reset();
        self.replaced = None;
    }

    /// Takes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Takes a hash that the game computed itself in place of everything written here.
    pub fn replace(&mut self, hash: StateHash) {
        self.replaced = Some(hash);
    }

    /// The hash of all that was written.
    #[must_use]
    pub fn finish(&self) -> StateHash {
        self.replaced.unwrap_or_else(|| StateHash::from_u128(self.hasher.digest128()))
    }
}

impl Default for StateHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StateHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateHasher").field(&self.finish()).finish()
    }
}

macro_rules! write_numbers {
    ($($number:ty: $one:ident, $many:ident;)*) => {
        impl StateHasher {
            $(
                #[doc = concat!("Takes one `", stringify!($number), "`.")]
                pub fn $one(&mut self, value: $number) {
                    self.write(&value.to_le_bytes());
                }

                #[doc = concat!("Takes several `", stringify!($number), "`, without their count.")]
                pub fn $many(&mut self, values: &[$number]) {
                    if cfg!(target_endian = "little") {
                        self.write(values.as_bytes());
                    } else {
                        values.iter().for_each(|value| self.$one(*value));
                    }
                }
            )*
        }
    };
}

write_numbers! {
    u16: write_u16, write_u16s;
    u32: write_u32, write_u32s;
    u64: write_u64, write_u64s;
    i16: write_i16, write_i16s;
    i32: write_i32, write_i32s;
    i64: write_i64, write_i64s;
    f32: write_f32, write_f32s;
    f64: write_f64, write_f64s;
}

/// A digest of everything up to a frame: each link takes the last one in as its seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Chain(u64);

impl Chain {
    /// The chain after one more link.
    #[must_use]
    pub fn link(self, bytes: &[u8]) -> Self {
        Self(xxh3_64_with_seed(bytes, self.0 ^ CHAIN_SEED))
    }

    /// The digest as a number.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The chain that stands at this digest.
    #[must_use]
    pub const fn from_u64(digest: u64) -> Self {
        Self(digest)
    }

    /// The half of the digest that a datagram carries.
    #[must_use]
    pub const fn short(self) -> u32 {
        let [a, b, c, d, ..] = (self.0 ^ (self.0 >> 32)).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

/// Hashes bytes under a seed: for tags, keys and configuration digests.
#[must_use]
pub(crate) fn keyed_hash(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// Half of such a hash: for tags, and for digests that only tell parts from each other.
#[must_use]
pub(crate) fn short_hash(bytes: &[u8], seed: u64) -> u32 {
    let [a, b, c, d, ..] = keyed_hash(bytes, seed).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The 128-bit XXH3 of bytes.
#[must_use]
pub(crate) fn hash_of_bytes(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// Keeps an all-zero chain from being XXH3's own default seed.
const CHAIN_SEED: u64 = 0x726f_6c6c_6261_636b;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hashed_as_their_little_endian_bytes() {
        let mut numbers = StateHasher::new();
        numbers.write_i32s(&[1, -2]);
        let mut bytes = StateHasher::new();
        bytes.write(&[1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]);
        assert_eq!(numbers.finish(), bytes.finish());
    }

    #[test]
    fn a_chain_depends_on_every_link_and_their_order() {
        let one = Chain::default().link(b"a").link(b"b");
        let other = Chain::default().link(b"b").link(b"a");
        assert_ne!(one, other);
        assert_ne!(Chain::default().link(b""), Chain::default());
    }
}
