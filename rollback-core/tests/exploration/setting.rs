//! What is explored.

use std::fmt;

use rollback_core::{PeerId, PeerSet};

/// What is explored: how many peers, and how often each thing goes wrong at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) peers: usize,
    /// How many frames of inputs each peer has made.
    pub(crate) frames: u8,
    /// Peers whose frames everybody holds from the beginning.
    pub(crate) known: PeerSet,
    /// How many frames of each of the others everybody holds.
    pub(crate) common: u8,
    /// Who begins a new life once it is gone.
    pub(crate) returner: Option<PeerId>,
    /// Whether it was never there before.
    pub(crate) is_late: bool,
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
    /// How many times it takes too long to let one in.
    pub(crate) delays: u8,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Setting {
    /// So many peers, each with a frame that all hold, and nothing goes wrong.
    pub(crate) const fn peaceful(peers: usize) -> Self {
        Self {
            peers,
            frames: 1,
            known: PeerSet::from_bits(u8::MAX >> (8 - peers)),
            common: 0,
            returner: None,
            is_late: false,
            crashes: 0,
            false_suspicions: 0,
            leaves: 0,
            failures: 0,
            kicks: 0,
            delays: 0,
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
            (self.delays, "delays"),
        ];
        for (count, name) in counts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {name}: {count}")?;
        }
        if let Some(returner) = self.returner {
            let first = if self.is_late { "late" } else { "again" };
            write!(f, ", {returner} comes {first}, {} frames common", self.common)?;
        }
        self.sabotage.map_or(Ok(()), |part| write!(f, ", without {part:?}"))
    }
}

/// A part of the agreement that is broken on purpose, to see that it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sabotage {
    /// What a departing peer still sends is taken.
    Freezing,
    /// Any number may go on.
    Quorum,
    /// Each cuts at what it holds itself, not at the longest claim.
    Cut,
    /// A view is committed before all inputs up to the cut are held.
    HoldsAll,
    /// One that leaves is taken out before it says that it has left.
    Retiring,
    /// One leaves while another may not be in its view yet.
    Leaving,
    /// What is heard of why one goes is not taken over.
    Reason,
    /// The end of a life that was to be let in does not end what is proposed with it; and the next.
    EndOfLife,
    /// One that waits does not see that the others have given up what it would be let in by.
    GivenUp,
    /// What only the one that is let in has committed holds for all.
    Alone,
}
