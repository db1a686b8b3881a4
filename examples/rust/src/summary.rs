//! What a match was like from one computer, as one line of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rollback_core::{EndCause, PeerId, PeerSet, Timestamp};
use rollback_webrtc::{Room, Transport, TransportEvent};
use serde::{Deserialize, Serialize};

/// What passed so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// This computer's slot.
    pub slot: u8,
    /// Which life of the slot this process is, from 0.
    pub life: u8,
    /// The episodes that this process has seen the end of.
    pub episodes: Vec<EpisodeSummary>,
    /// How many times frames were taken back.
    pub rollbacks: u64,
    /// How many frames were stepped again.
    pub resimulated: u64,
    /// How many frames that were played before it came back it did not step, since it was given a state of later.
    pub passed: u64,
    /// How many times a frame was due and had to wait.
    pub stalls: u64,
    /// When the first frame was stepped, in milliseconds since this process began to join.
    pub first_frame_ms: Option<u64>,
    /// The longest time between two frames, in milliseconds.
    pub longest_stall_ms: u64,
    /// The least round trip of late to the farthest peer, in milliseconds.
    pub rtt_ms: Option<u64>,
    /// The round trips to those that played with this computer, while nobody came back.
    pub round_trips: RoundTrips,
    /// The same while somebody that had been given up was there again, and took what was played meanwhile.
    pub round_trips_beside: RoundTrips,
    /// The ways that datagrams took to each of the others, in order.
    pub paths: Vec<PathTaken>,
    /// How many times a lost connection was made anew.
    pub reconnections: u64,
    /// How many times the server was lost.
    pub server_losses: u64,
}

/// How one episode went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EpisodeSummary {
    /// Its number in the match, from 0.
    pub episode: u32,
    /// How many frames were played.
    pub frames: u32,
    /// Why it ended.
    pub end: String,
    /// Where it is recorded.
    pub recording: PathBuf,
}

/// A way that datagrams took from some time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathTaken {
    /// The slot of the peer at its end.
    pub peer: u8,
    /// Milliseconds since the process joined.
    pub at_ms: u64,
    /// The way.
    pub path: String,
}

/// Round trips: how many were measured, and what half of them, and nine in ten, did not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrips {
    /// How many.
    pub count: u32,
    /// In microseconds, to a tenth of a millisecond.
    pub p50_us: u64,
    /// Likewise.
    pub p90_us: u64,
}

/// How often each round trip was measured, in tenths of a millisecond.
#[derive(Clone, Debug, Default)]
struct Measured(BTreeMap<u64, u32>);

impl Measured {
    fn summary(&self) -> RoundTrips {
        let count = self.0.values().sum();
        let percentile = |percent: u32| {
            let mut seen = 0;
            let reached = self.0.iter().find(|(_, times)| {
                seen += **times;
                u64::from(seen) * 100 >= u64::from(count) * u64::from(percent)
            });
            reached.map_or(0, |(tenths, _)| tenths * 100)
        };
        RoundTrips { count, p50_us: percentile(50), p90_us: percentile(90) }
    }
}

/// Keeps a summary while the match goes on.
#[derive(Debug, Default)]
pub struct Observer {
    summary: Summary,
    met: BTreeSet<PeerId>,
    last_frame_at: Option<Timestamp>,
    /// How many round trips to each peer were measured.
    measured: BTreeMap<PeerId, u32>,
    alone: Measured,
    beside: Measured,
}

impl Observer {
    /// The summary of a match that has not begun.
    #[must_use]
    pub fn new(room: &Room) -> Self {
        let summary = Summary { slot: room.local.slot(), life: room.life, ..Summary::default() };
        Self { summary, ..Self::default() }
    }

    /// Play has gone on by a frame.
    pub fn frame(&mut self, now: Timestamp) {
        self.summary.first_frame_ms.get_or_insert(millis(now.since(Timestamp::ZERO)));
        if let Some(last) = self.last_frame_at.replace(now) {
            let stall = millis(now.since(last));
            self.summary.longest_stall_ms = self.summary.longest_stall_ms.max(stall);
        }
    }

    /// Between two episodes nobody waits for a frame.
    pub fn rest(&mut self) {
        self.last_frame_at = None;
    }

    /// Takes what has happened to the connections.
    pub fn look_at(&mut self, transport: &Transport) {
        while let Some(event) = transport.poll_event() {
            // For whoever looks into a run.
            eprintln!("{} ms: {event:?}", millis(transport.now().since(Timestamp::ZERO)));
            match event {
                TransportEvent::PeerConnected { peer } if !self.met.insert(peer) => {
                    self.summary.reconnections += 1;
                }
                TransportEvent::PathChosen { peer, path } => {
                    let at_ms = millis(transport.now().since(Timestamp::ZERO));
                    let path = path.to_string();
                    self.summary.paths.push(PathTaken { peer: peer.slot(), at_ms, path });
                }
                TransportEvent::SignalingLost => self.summary.server_losses += 1,
                _ => {}
            }
        }
    }

    /// Takes the round trips to those that play.
    pub fn measure(&mut self, transport: &Transport, members: PeerSet) {
        let peers = PeerSet::first(transport.room().members.len());
        let is_there = |peer: &PeerId| transport.stats(*peer).is_connected;
        let is_coming =
            peers.iter().filter(|peer| !members.contains(*peer)).any(|peer| is_there(&peer));
        let measured = if is_coming { &mut self.beside } else { &mut self.alone };
        for peer in members.without(transport.room().local).iter() {
            let link = transport.link_report(peer);
            let Some(last) = link.round_trip_last else { continue };
            if self.measured.insert(peer, link.round_trips) != Some(link.round_trips) {
                let tenths = u64::try_from(last.as_micros() / 100).unwrap_or(u64::MAX);
                *measured.0.entry(tenths).or_default() += 1;
            }
        }
    }

    /// The summary, to be added to.
    pub const fn summary(&mut self) -> &mut Summary {
        &mut self.summary
    }

    /// The summary, when all is over.
    #[must_use]
    pub fn finish(self) -> Summary {
        let (round_trips, round_trips_beside) = (self.alone.summary(), self.beside.summary());
        Summary { round_trips, round_trips_beside, ..self.summary }
    }
}

/// The word for why an episode ended.
#[must_use]
pub const fn name_of(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Finished => "finished",
        EndCause::Named(_) => "named",
        EndCause::Left => "left",
        EndCause::Departed => "departed",
        EndCause::Desync => "desync",
        EndCause::Partitioned => "partitioned",
        EndCause::GameFailed => "game_failed",
        EndCause::Incompatible => "incompatible",
        EndCause::Kicked => "kicked",
    }
}

/// Whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
