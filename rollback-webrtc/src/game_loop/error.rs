//! Why a frame could not be played.

use std::time::Duration;

use rollback_core::{AdvanceError, PeerId, PeerSet};

use crate::health::Unhealthy;
use crate::recording_file::RecordError;
use crate::returning::ReturnError;

/// Why a frame could not be played.
#[derive(Debug, thiserror::Error)]
pub enum LoopError<E> {
    /// The session could not advance.
    #[error(transparent)]
    Advance(#[from] AdvanceError<E>),
    /// Not all members have begun in time.
    #[error("{} did not begin within {within:?}", list(*peers))]
    NotStarted {
        /// The members from which nothing fitting has come.
        peers: PeerSet,
        /// The time that they had.
        within: Duration,
    },
    /// The way to a member does not work, or is worse than it may be.
    #[error("the way to {peer} is not good enough after {within:?}: {why}")]
    Unhealthy {
        /// The member.
        peer: PeerId,
        /// What is wrong.
        why: Unhealthy,
        /// How long it had to become good enough.
        within: Duration,
    },
    /// This member came back and cannot be let in.
    #[error(transparent)]
    Return(#[from] ReturnError),
    /// Another process has come back with this member's token.
    #[error("another process has this member's slot now")]
    Replaced,
    /// The episode could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

fn list(peers: PeerSet) -> String {
    peers.iter().map(|peer| peer.to_string()).collect::<Vec<_>>().join(", ")
}
