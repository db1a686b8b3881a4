//! What a pair and those around it say to each other.

use rollback_signaling::{AttemptId, SignalPayload};

/// Who starts attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The lower slot.
    Offerer,
    /// The higher slot.
    Answerer,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start a connection, as the offerer or with the peer's offer.
    Open { attempt: AttemptId, offer: Option<String> },
    /// Start a connection as the offerer, beside the open one, over direct ways only.
    TryDirect(AttemptId),
    /// Pass something to a connection.
    Feed(AttemptId, Remote),
    /// Close a connection.
    Close(AttemptId),
    /// Close a connection whose place another has taken, once the peer had the time to see it.
    Retire(AttemptId),
    /// Send this to the peer.
    Signal(SignalPayload),
    /// Tell the game.
    Report(PairReport),
}

/// What a connection is told: words of the peer about its attempt, and what the pair decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remote {
    Answer(String),
    /// An offer to restart ICE.
    Offer(String),
    /// Not of the peer: begin to restart ICE, with an offer.
    Restart,
    /// Not of the peer: another connection has taken this one's place.
    Retire,
    Candidate(String),
}

/// What the game should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PairReport {
    Connected,
    /// Nothing comes over the connection.
    Interrupted,
    /// Something comes again.
    Resumed,
    /// A probe came back through the connection.
    Echoed(u64),
    Disconnected,
    /// It is another process now.
    Renewed,
    ShutOut,
    Left,
}

/// What a connection says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectionEvent {
    /// The own session description is ready.
    Description(String),
    /// The own side may be reached here.
    Candidate(String),
    /// All channels are open.
    Opened,
    /// Nothing has come from the peer for a while.
    Interrupted,
    /// Something came again.
    Resumed,
    /// A probe came back.
    Echoed(u64),
    /// So much was lost on it that it will stand still before long.
    Worn,
    /// It passes a TURN server, though a direct way would be allowed.
    Relayed,
    /// It is over.
    Ended,
}

/// Signals of the peer that were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct UnusedSignals {
    /// All of them, with those of attempts that were over.
    pub(crate) stale: u64,
    /// Those of them that had been taken once: descriptions that came again, which no honest one sends twice.
    pub(crate) replayed: u64,
}

impl UnusedSignals {
    pub(super) fn count(&mut self, was_taken: bool) {
        self.stale += 1;
        self.replayed += u64::from(was_taken);
    }
}
