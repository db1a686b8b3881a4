//! What a member brings into a match: its place, which the room gives it, and facts about itself.

use alloc::string::String;
use alloc::vec::Vec;

use crate::hash::keyed_hash;
use crate::{PeerId, Roster};

/// What a room gives to each of its members: who plays where, and with which seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The room's number for this match; no two matches share one.
    pub session: u64,
    /// Which episode of the match, from 0.
    pub episode: u32,
    /// The seed that `reset` takes in this episode.
    pub seed: u64,
    /// Who plays where.
    pub roster: Roster,
    /// Which peer this computer is.
    pub local: PeerId,
    /// Which life of its slot this peer lives, from 0.
    pub incarnation: u8,
}

impl Ticket {
    /// The ticket for a later episode of the same match. Its seed is drawn from the match's seed and the number of
    /// the episode, so that no two episodes start alike.
    #[must_use]
    pub fn for_episode(&self, match_seed: u64, episode: u32) -> Self {
        // 31 bits: what the random generators of environments take, NumPy's legacy one among them.
        let seed = keyed_hash(&episode.to_le_bytes(), match_seed) >> 33;
        Self { episode, seed, ..self.clone() }
    }
}

/// What a member says of itself before play: what must be equal on all, and what may differ but is recorded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Facts that must be equal on all members: the environment, its version, its spaces.
    pub must_match: Vec<(String, String)>,
    /// Facts that may differ: versions of numeric libraries, CPU features.
    pub may_differ: Vec<(String, String)>,
}
