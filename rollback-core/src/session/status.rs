//! What can be read of a session: who is there, how it ended, and counters. Nothing here changes anything.

use core::fmt;
use core::time::Duration;

use super::{End, EndCause, Session, SessionCounters};
use crate::peer::LinkCounters;
use crate::{Facts, Game, PeerId, StateHash, View};

impl<G: Game> Session<G> {
    /// The members in force.
    #[must_use]
    pub fn view(&self) -> View {
        self.episode.links.membership.view()
    }

    /// Which peer this is.
    #[must_use]
    pub fn local(&self) -> PeerId {
        self.episode.links.local
    }

    /// How the episode ended, once it is over.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.episode.end()
    }

    /// Whether the episode is over and nobody needs this session any more, or it has stayed long enough.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.episode.is_finished(self.last_due)
    }

    /// The hash of the state after reset.
    #[must_use]
    pub fn start_hash(&self) -> StateHash {
        self.episode.links.start
    }

    /// The hash of the last state of an episode whose end all members that were present agree on.
    #[must_use]
    pub fn end_hash(&self) -> Option<StateHash> {
        let end = self.episode.end().filter(|_| self.episode.links.end_agreed)?;
        let (frame, hash) = self.episode.ledger.last_hash;
        (frame == end.frame && end.cause != EndCause::Desync).then_some(hash)
    }

    /// What a peer said of itself, once it has said hello.
    #[must_use]
    pub fn facts_of(&self, peer: PeerId) -> Option<&Facts> {
        if peer == self.episode.links.local {
            return Some(&self.episode.links.facts);
        }
        self.episode.links.link(peer)?.handshake.remote.as_ref().map(|remote| &remote.facts)
    }

    /// The least round trip to a peer of late, on the way that datagrams take.
    #[must_use]
    pub fn rtt(&self, peer: PeerId) -> Option<Duration> {
        self.episode.links.link(peer)?.clock.rtt()
    }

    /// How much the way of a peer's datagrams varies (RFC 3550 §6.4.1).
    #[must_use]
    pub fn jitter(&self, peer: PeerId) -> Option<Duration> {
        self.episode.links.link(peer).map(|link| link.clock.jitter())
    }

    /// How far ahead of the other members this peer runs, in thousandths of a frame.
    #[must_use]
    pub fn frame_advantage_millis(&self) -> i64 {
        self.pacer.advantage()
    }

    /// What passed between this peer and another.
    #[must_use]
    pub fn link_counters(&self, peer: PeerId) -> Option<LinkCounters> {
        self.episode.links.link(peer).map(|link| link.counters)
    }

    /// What the session has done so far.
    #[must_use]
    pub fn counters(&self) -> SessionCounters {
        let (passed, states_refused) = self.episode.handover_counts();
        SessionCounters {
            rollback: self.episode.rollback.counters(),
            guesses: self.episode.links.queue.guess_counters(),
            frames: self.episode.frames,
            stalls: self.stalls,
            strangers: self.episode.links.strangers(),
            events_lost: self.episode.links.events.lost(),
            passed,
            states_refused,
        }
    }
}

/// Where it stands: nothing of the game, which need not be `Debug`.
impl<G: Game> fmt::Debug for Session<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("local", &self.local())
            .field("view", &self.view())
            .field("current_frame", &self.current_frame())
            .field("confirmed", &self.confirmed())
            .field("stable", &self.stable())
            .field("agreed", &self.agreed())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}
