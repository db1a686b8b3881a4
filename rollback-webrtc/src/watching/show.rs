//! What a member's game loop shows to those who watch.

use std::time::Duration;

use rollback_core::recording::RecordingHeader;
use rollback_core::spectate::{Feed, FeedLimits};
use rollback_core::{End, PeerId, StableFrame, Ticket, Timestamp};

use super::split;
use crate::datagram_transport::{DATAGRAM_BYTES_MAX, DatagramTransport};

/// One episode, shown from its first frame on to whoever comes.
pub(crate) struct Show {
    episode: u32,
    local: PeerId,
    /// What the members agreed on before the first frame is known.
    feed: Option<Feed>,
    finished_at: Option<Timestamp>,
    buffer: [u8; DATAGRAM_BYTES_MAX],
    bytes: Vec<u8>,
    datagram: Vec<u8>,
}

impl Show {
    pub(crate) fn new(ticket: &Ticket) -> Self {
        Self {
            episode: ticket.episode,
            local: ticket.local,
            feed: None,
            finished_at: None,
            buffer: [0; DATAGRAM_BYTES_MAX],
            bytes: Vec::new(),
            datagram: Vec::new(),
        }
    }

    pub(crate) fn begin(&mut self, header: &RecordingHeader) {
        // A header that is too long is not recorded either, and nobody can watch.
        self.feed = Feed::new(header, self.local, FeedLimits::default()).ok();
    }

    pub(crate) fn push(&mut self, frame: &StableFrame<'_>) {
        if let Some(feed) = &mut self.feed {
            feed.push(frame);
        }
    }

    pub(crate) fn finish(&mut self, now: Timestamp, end: End) {
        if let Some(feed) = self.feed.as_mut().filter(|_| self.finished_at.is_none()) {
            feed.finish(end);
            self.finished_at = Some(now);
        }
    }

    /// How many are fed from here.
    pub(crate) fn watchers(&self) -> usize {
        self.feed.as_ref().map_or(0, Feed::spectators)
    }

    /// Whether nobody lacks anything that is shown, or would take too long to get it.
    pub(crate) fn is_seen(&self, now: Timestamp) -> bool {
        let is_late = self.finished_at.is_some_and(|at| now.since(at) >= STAYS_FOR);
        self.feed.as_ref().is_none_or(|feed| feed.lagging() == 0) || is_late
    }

    /// Takes what those who watch have sent, and sends them what is due.
    pub(crate) fn serve(&mut self, now: Timestamp, transport: &mut impl DatagramTransport) {
        while let Some((from, length)) = transport.try_receive_from_watcher(&mut self.buffer) {
            let datagram = self.buffer.get(..length).unwrap_or_default();
            match (split(datagram), &mut self.feed) {
                (Some((episode, body)), Some(feed)) if episode == self.episode => {
                    feed.handle_datagram(now, from, body);
                }
                (Some((episode, _)), _) if episode != self.episode => {
                    // Whoever is wrong about the episode is told; what gets lost is asked again.
                    let _ = transport.try_send_to_watcher(from, &self.episode.to_le_bytes());
                }
                _ => {}
            }
        }
        let Some(feed) = &mut self.feed else { return };
        while let Some(to) = feed.poll_datagram(now, &mut self.bytes) {
            self.datagram.clear();
            self.datagram.extend_from_slice(&self.episode.to_le_bytes());
            self.datagram.extend_from_slice(&self.bytes);
            let _ = transport.try_send_to_watcher(to, &self.datagram);
        }
    }
}

/// After the end, a member stays so long for those who have not seen it.
const STAYS_FOR: Duration = Duration::from_secs(1);
