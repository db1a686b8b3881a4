//! What makes a small game a heavy one: bytes in its state that nothing makes shorter, and steps that take their time. For
//! trying out what that does on a network.

use std::time::Duration;

use rollback_core::StateHasher;

/// The ballast of a state. There is none by default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ballast {
    words: Vec<u64>,
    /// How long a step takes.
    step: Duration,
}

impl Ballast {
    /// So many bytes, in whole words of eight, and steps of at least this length.
    #[must_use]
    pub fn new(bytes: usize, step: Duration) -> Self {
        Self { words: (0..bytes / WORD_BYTES).map(|place| mixed(place as u64)).collect(), step }
    }

    /// Changes some of it, which may be any, and takes the time.
    pub(crate) fn step(&mut self, frame: u32) {
        let length = self.words.len().max(1);
        let first = frame as usize * CHANGED % length;
        for word in self.words.iter_mut().skip(first).take(CHANGED) {
            *word = mixed(*word ^ u64::from(frame));
        }
        if !self.step.is_zero() {
            std::thread::sleep(self.step);
        }
    }

    pub(crate) fn hash(&self, hasher: &mut StateHasher) {
        hasher.write_u64s(&self.words);
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
    }

    /// Takes the place of what another computer wrote, if that is as long.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> bool {
        let (words, rest) = bytes.as_chunks();
        let is_as_long = rest.is_empty() && words.len() == self.words.len();
        if is_as_long {
            self.words.clear();
            self.words.extend(words.iter().copied().map(u64::from_le_bytes));
        }
        is_as_long
    }
}

/// The finaliser of SplitMix64.
const fn mixed(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

const WORD_BYTES: usize = 8;

/// How many words a frame changes.
const CHANGED: usize = 64;
