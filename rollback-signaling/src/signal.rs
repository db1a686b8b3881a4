//! What two members say to each other to become connected. The server passes it on and does not look inside.

use serde::{Deserialize, Serialize};

use crate::Text;

/// Longest session description in bytes; data-channel-only ones have 0.5–2 KiB.
pub const SDP_BYTES_MAX: usize = 16 * 1024;

/// Longest ICE candidate in bytes, as JSON text; usual ones have 150–250.
pub const CANDIDATE_BYTES_MAX: usize = 2 * 1024;

/// One attempt to connect two members. The member with the lower slot counts its attempts for each
/// other member from 1; a higher number replaces a lower one, and signals of a replaced attempt are
/// dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(u32);

impl AttemptId {
    /// The attempt with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The attempt after this one. The count stops at its end, which 136 years of one attempt a
    /// second do not reach.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What one member says to another through the server, which does not look inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SignalPayload {
    /// A session description that starts an attempt; sent by the lower slot.
    Offer {
        /// The new attempt.
        attempt: AttemptId,
        /// The description (RFC 8866).
        sdp: Text<SDP_BYTES_MAX>,
    },
    /// The answer to an offer; sent by the higher slot.
    Answer {
        /// The offer's attempt.
        attempt: AttemptId,
        /// The description (RFC 8866).
        sdp: Text<SDP_BYTES_MAX>,
    },
    /// An address at which the sender may be reached.
    Candidate {
        /// The attempt it belongs to.
        attempt: AttemptId,
        /// An `RTCIceCandidateInit` as JSON text.
        candidate: Text<CANDIDATE_BYTES_MAX>,
    },
    /// A session description that gives an open connection new candidates, so that it finds another
    /// path (RFC 8839 §4.4.1.1.1); sent by the lower slot.
    RestartOffer {
        /// The connection's attempt.
        attempt: AttemptId,
        /// Which restart of the attempt it is, from 1.
        restart: u32,
        /// The description (RFC 8866).
        sdp: Text<SDP_BYTES_MAX>,
    },
    /// The answer to it; sent by the higher slot.
    RestartAnswer {
        /// The connection's attempt.
        attempt: AttemptId,
        /// The restart.
        restart: u32,
        /// The description (RFC 8866).
        sdp: Text<SDP_BYTES_MAX>,
    },
    /// The higher slot asks for a restart, because nothing comes over its connection.
    RequestRestart {
        /// The connection's attempt.
        attempt: AttemptId,
    },
    /// The higher slot asks for a new offer, because its connection is lost or never came.
    RequestOffer {
        /// The attempt that the sender has given up, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<AttemptId>,
    },
}
