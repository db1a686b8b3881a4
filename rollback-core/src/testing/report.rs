//! What a simulation that broke no promise has seen.

use alloc::vec::Vec;
use core::time::Duration;

use super::fault_counts::FaultCounts;
use super::stable_log::StableLog;
use crate::{DEPTHS, DesyncDump, End, Event, Frame, PeerId, SessionCounters};

/// A simulation that went well.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What each peer saw, in order.
    pub peers: Vec<PeerReport>,
    /// How often each fault struck.
    pub faults: FaultCounts,
    /// Rollbacks of all peers by how many frames they went back: index 0 for one frame, the last for all that went
    /// further.
    pub rollback_depths: [u64; DEPTHS],
    /// How far apart two peers were at most in stepping the same frame, in true time, from the third second after
    /// the last peer began; zero when there is no such frame.
    pub spread_max: Duration,
    /// How long it took, in true time.
    pub lasted: Duration,
}

/// What one peer saw.
#[derive(Clone, Debug)]
pub struct PeerReport {
    /// The peer.
    pub peer: PeerId,
    /// How the episode ended for it; `None` when it crashed before.
    pub end: Option<End>,
    /// Whether it crashed or left in order.
    pub is_gone: bool,
    /// Every frame that was stable for it.
    pub log: StableLog,
    /// What it told its application, in order.
    pub events: Vec<Event>,
    /// The error that advancing gave, when the game failed.
    pub error: Option<alloc::string::String>,
    /// What its session has done.
    pub counters: SessionCounters,
    /// How many steps failed under guessed inputs.
    pub failed_guesses: u64,
    /// How many datagrams it refused, by their tag or their form.
    pub refused: u64,
    /// When it first stepped each frame, in true time.
    pub stepped_at: Vec<Duration>,
    /// When a call to advance had to wait, in true time.
    pub stalled_at: Vec<Duration>,
    /// The frames at which it stood still in pauses that were agreed.
    pub stood_at: Vec<Frame>,
    /// Its side of a desync.
    pub dump: Option<DesyncDump>,
    /// Its session's journal, where it kept one.
    pub journal: Vec<u8>,
}

impl PeerReport {
    /// Whether it agreed with others to go on without a peer.
    #[must_use]
    pub fn saw_departure(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::ViewChanged { .. }))
    }

    /// The first event that `choose` makes something of.
    pub fn find_event<T>(&self, choose: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        self.events.iter().find_map(choose)
    }
}

impl Report {
    /// The report of a peer.
    #[must_use]
    pub fn peer(&self, slot: u8) -> Option<&PeerReport> {
        self.peers.get(usize::from(slot))
    }

    /// The peers that neither crashed nor left, nor were cut off from the others.
    pub fn survivors(&self) -> impl Iterator<Item = &PeerReport> {
        self.peers
            .iter()
            .filter(|peer| !peer.is_gone && peer.end.is_some_and(|end| end.cause.is_agreed()))
    }
}
