//! What is explored.

use std::fmt;

use rollback_core::PeerSet;

use crate::peer::Sabotage;

/// What is explored: how many peers, and how often each thing goes wrong at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) peers: usize,
    /// How many frames of inputs each peer has made.
    pub(crate) frames: u8,
    /// Peers whose frames everybody holds from the beginning.
    pub(crate) known: PeerSet,
    /// How many peers are gone from one moment to the next.
    pub(crate) crashes: u8,
    /// How many times a peer suspects one that is there.
    pub(crate) false_suspicions: u8,
    /// How many peers leave in order.
    pub(crate) leaves: u8,
    /// How many games fail.
    pub(crate) failures: u8,
    /// How many times a peer is sent away.
    pub(crate) kicks: u8,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Setting {
    /// So many peers, each with a frame that all hold, and nothing goes wrong.
    pub(crate) const fn peaceful(peers: usize) -> Self {
        Self {
            peers,
            frames: 1,
            known: PeerSet::from_bits(u8::MAX >> (8 - peers)),
            crashes: 0,
            false_suspicions: 0,
            leaves: 0,
            failures: 0,
            kicks: 0,
            sabotage: None,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peers, frames, known, .. } = self;
        write!(f, "{peers} peers, {frames} frames, known of {known:?}")?;
        let counts = [
            (self.crashes, "crashes"),
            (self.false_suspicions, "false suspicions"),
            (self.leaves, "leaves"),
            (self.failures, "failures"),
            (self.kicks, "kicks"),
        ];
        for (count, name) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {name}: {count}")?;
        }
        self.sabotage.map_or(Ok(()), |part| write!(f, ", without {part:?}"))
    }
}
