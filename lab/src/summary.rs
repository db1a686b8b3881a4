//! What a process says of its match in the last line that it prints: the part of it that is judged.

use serde::Deserialize;

/// One peer's match.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Summary {
    /// Its slot.
    pub slot: u8,
    /// Which life of the slot.
    pub life: u8,
    /// The episodes whose end it saw.
    pub episodes: Vec<Episode>,
    /// How many times frames were taken back.
    pub rollbacks: u64,
    /// How many frames were stepped again.
    pub resimulated: u64,
    /// How many frames it did not step, since it was given a state of later.
    pub passed: u64,
    /// How many times a frame was due and had to wait.
    pub stalls: u64,
    /// When its first frame was, since it began to join.
    pub first_frame_ms: Option<u64>,
    /// The longest time between two frames.
    pub longest_stall_ms: u64,
    /// The least round trip of late to the farthest peer.
    pub rtt_ms: Option<u64>,
    /// The round trips to those that played, while nobody came back.
    pub round_trips: RoundTrips,
    /// The same while somebody did.
    pub round_trips_beside: RoundTrips,
    /// The ways that datagrams took, in order.
    pub paths: Vec<PathTaken>,
    /// How many times a lost connection was made anew.
    pub reconnections: u64,
    /// How many times the server was lost.
    pub server_losses: u64,
}

/// Round trips, of which half, and nine in ten, did not exceed a time.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct RoundTrips {
    /// How many.
    pub count: u32,
    /// The time in microseconds.
    pub p50_us: u64,
    /// Likewise.
    pub p90_us: u64,
}

/// How an episode went.
#[derive(Clone, Debug, Deserialize)]
pub struct Episode {
    /// Its number.
    pub episode: u32,
    /// How many frames were played.
    pub frames: u32,
    /// Why it ended.
    pub end: String,
}

/// A way that datagrams took.
#[derive(Clone, Debug, Deserialize)]
pub struct PathTaken {
    /// To which slot.
    pub peer: u8,
    /// Milliseconds since the process joined.
    pub at_ms: u64,
    /// The way.
    pub path: String,
}

impl Summary {
    /// What the last line of a process's output says, if that is a summary.
    #[must_use]
    pub fn of_output(output: &str) -> Option<Self> {
        serde_json::from_str(output.lines().last()?).ok()
    }
}
