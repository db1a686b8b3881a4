//! How long a peer has heard nothing of each other one, in true time. Does not know why.

use core::time::Duration;

use super::clock::TrueTime;
use crate::{PEERS_MAX, PeerId};

/// What one peer has heard of the others, and sent to them.
pub(crate) struct Silence {
    heard_at: [TrueTime; PEERS_MAX],
    sent_at: [TrueTime; PEERS_MAX],
    longest: [Duration; PEERS_MAX],
}

impl Silence {
    pub(crate) fn new(starts: TrueTime) -> Self {
        Self {
            heard_at: [starts; PEERS_MAX],
            sent_at: [starts; PEERS_MAX],
            longest: [Duration::ZERO; PEERS_MAX],
        }
    }

    /// The longest silence of a peer, between two datagrams or until its departure was proposed.
    pub(crate) fn longest(&self, peer: PeerId) -> Duration {
        self.longest.get(peer.index()).copied().unwrap_or_default()
    }

    /// The same, or the silence that lasts `until` then.
    pub(crate) fn longest_until(&self, until: TrueTime, peer: PeerId) -> Duration {
        let heard_at = self.heard_at.get(peer.index());
        let open = heard_at.map_or(Duration::ZERO, |at| until.since(*at));
        self.longest(peer).max(open)
    }

    /// When something was last sent to a peer.
    pub(crate) fn sent_at(&self, peer: PeerId) -> TrueTime {
        self.sent_at.get(peer.index()).copied().unwrap_or_default()
    }

    pub(super) fn note_sent(&mut self, now: TrueTime, to: PeerId) {
        if let Some(at) = self.sent_at.get_mut(to.index()) {
            *at = now;
        }
    }

    pub(super) fn note_heard(&mut self, now: TrueTime, from: PeerId) {
        self.note_given_up(now, from);
        if let Some(at) = self.heard_at.get_mut(from.index()) {
            *at = now;
        }
    }

    /// Counts the silence of a peer that is to depart.
    pub(super) fn note_given_up(&mut self, now: TrueTime, peer: PeerId) {
        let longest = self.longest_until(now, peer);
        if let Some(known) = self.longest.get_mut(peer.index()) {
            *known = longest;
        }
    }
}
