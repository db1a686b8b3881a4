//! The game that every engine runs, and the inputs of its players: deterministic, cheap, of any size.
//! Knows nothing of frames that are predicted or rolled back.

use std::cell::Cell;

/// The most players a cell may have.
pub const PLAYERS_MAX: usize = 8;

/// A state of a chosen size whose step reads every input, follows a digest and rewrites one block of 64 bytes.
///
/// The digest depends on every block touched and every input used since the start, so two games that are equal
/// after n frames went through the same n states.
#[derive(Debug)]
pub struct Game {
    /// Word 0 counts the frames, word 1 is the digest, the rest is the world.
    words: Box<[u64]>,
    /// How often `step` was called, resimulation included.
    steps: u64,
    /// Bytes moved by `save_to` and `load_from`.
    copied_bytes: Cell<u64>,
    /// Bytes of states that an engine has hashed.
    hashed_bytes: Cell<u64>,
}

impl Game {
    /// A game of `state_bytes` bytes, a multiple of 64, before its first frame.
    #[must_use]
    pub fn new(state_bytes: usize) -> Self {
        assert!(state_bytes >= BLOCK_BYTES && state_bytes.is_multiple_of(BLOCK_BYTES));
        Self {
            words: vec![0; state_bytes / WORD_BYTES].into(),
            steps: 0,
            copied_bytes: Cell::new(0),
            hashed_bytes: Cell::new(0),
        }
    }

    /// A snapshot slot of the right size.
    #[must_use]
    pub fn empty_slot(&self) -> Box<[u64]> {
        vec![0; self.words.len()].into()
    }

    /// Simulates one frame from the inputs of all players, in their order.
    pub fn step(&mut self, inputs: impl IntoIterator<Item = u8>) {
        let mut digest = self.words[1];
        for input in inputs {
            digest = (digest ^ u64::from(input)).wrapping_mul(MULTIPLIER).rotate_left(23);
        }
        let blocks = self.words.len() / BLOCK_WORDS;
        let block = ((u128::from(digest) * blocks as u128) >> 64) as usize;
        let header_words = if block == 0 { 2 } else { 0 };
        let start = block * BLOCK_WORDS;
        for word in &mut self.words[start + header_words..start + BLOCK_WORDS] {
            *word = (*word ^ digest).wrapping_mul(MULTIPLIER);
            digest = digest.rotate_left(7) ^ *word;
        }
        self.words[0] += 1;
        self.words[1] = digest;
        self.steps += 1;
    }

    /// Copies the state into `slot`.
    pub fn save_to(&self, slot: &mut [u64]) {
        slot.copy_from_slice(&self.words);
        self.count_copy();
    }

    /// Takes the state of `slot`.
    pub fn load_from(&mut self, slot: &[u64]) {
        self.words.copy_from_slice(slot);
        self.count_copy();
    }

    /// The size of the state.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        self.words.len() * WORD_BYTES
    }

    /// The number of frames that led to this state.
    #[must_use]
    pub fn frame(&self) -> u64 {
        self.words[0]
    }

    /// How often `step` was called, resimulation included.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Bytes moved by saving and loading.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        self.copied_bytes.get()
    }

    /// Bytes of states that were hashed.
    #[must_use]
    pub fn hashed_bytes(&self) -> u64 {
        self.hashed_bytes.get()
    }

    /// Counts that a whole state was hashed.
    pub fn count_hash(&self) {
        self.hashed_bytes.set(self.hashed_bytes.get() + self.state_bytes() as u64);
    }

    /// Whether both are in the same state.
    #[must_use]
    pub fn same_state(&self, other: &Self) -> bool {
        self.words == other.words
    }

    fn count_copy(&self) {
        self.copied_bytes.set(self.copied_bytes.get() + self.state_bytes() as u64);
    }
}

/// What each player does in each frame: one byte that changes now and then to another value.
#[derive(Debug)]
pub struct Inputs {
    rows: Box<[[u8; PLAYERS_MAX]]>,
    /// From this frame on nobody changes anything.
    held_from: u64,
}

impl Inputs {
    /// The inputs that belong to `seed`; each changes once in `change_one_in` frames on average. They repeat after 4,096
    /// frames.
    ///
    /// From frame `held_from` on every player holds still: some frames later no engine can have a wrong guess
    /// left, so the newest state can be compared with a plain simulation.
    #[must_use]
    pub fn new(seed: u64, change_one_in: u64, held_from: u64) -> Self {
        let mut random = Random::new(seed);
        let mut row = [0; PLAYERS_MAX];
        let rows = (0..TRACE_FRAMES)
            .map(|_| {
                for input in &mut row {
                    let draw = random.next();
                    if draw.is_multiple_of(change_one_in) {
                        *input ^= ((draw >> 8) % 255 + 1) as u8;
                    }
                }
                row
            })
            .collect();
        Self { rows, held_from }
    }

    /// What `player` does in `frame`.
    #[must_use]
    pub fn of(&self, player: usize, frame: u64) -> u8 {
        self.row(frame)[player]
    }

    /// What all players do in `frame`.
    #[must_use]
    pub fn row(&self, frame: u64) -> &[u8; PLAYERS_MAX] {
        &self.rows[frame.min(self.held_from) as usize & (TRACE_FRAMES - 1)]
    }

    /// The game after `frames` frames of these inputs, simulated without any engine.
    #[must_use]
    pub fn plain_simulation(&self, players: usize, state_bytes: usize, frames: u64) -> Game {
        let mut game = Game::new(state_bytes);
        for frame in 0..frames {
            game.step(self.row(frame)[..players].iter().copied());
        }
        game
    }
}

/// Steele, Lea and Flood's SplitMix64: small, and good enough for inputs and losses.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

const WORD_BYTES: usize = 8;
const BLOCK_BYTES: usize = 64;
const BLOCK_WORDS: usize = BLOCK_BYTES / WORD_BYTES;
/// 32 KiB of inputs: longer than any engine looks back, small enough for the first cache.
const TRACE_FRAMES: usize = 4096;
/// The multiplier of Knuth's MMIX generator: odd, its bits well spread.
const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_different_input_gives_a_different_state_ever_after() {
        let mut a = Game::new(4096);
        let mut b = Game::new(4096);
        a.step([1, 2]);
        b.step([1, 3]);
        for _ in 0..100 {
            a.step([0, 0]);
            b.step([0, 0]);
            assert!(!a.same_state(&b));
        }
    }

    #[test]
    fn a_loaded_game_goes_on_as_the_saved_one_did() {
        let inputs = Inputs::new(7, 8, u64::MAX);
        let mut game = inputs.plain_simulation(2, 4096, 50);
        let mut slot = game.empty_slot();
        game.save_to(&mut slot);
        game.step([9, 9]);
        game.load_from(&slot);
        for frame in 50..80 {
            game.step(inputs.row(frame)[..2].iter().copied());
        }
        assert!(game.same_state(&inputs.plain_simulation(2, 4096, 80)));
        assert_eq!(game.copied_bytes(), 2 * 4096);
    }

    #[test]
    fn inputs_change_about_once_in_eight_frames_and_then_to_another_value() {
        let inputs = Inputs::new(1, 8, u64::MAX);
        let changes = (1..4096).filter(|&f| inputs.of(0, f) != inputs.of(0, f - 1)).count();
        assert!((430..600).contains(&changes), "{changes} changes in 4,095 frames");
    }
}
