//! What is kept of the groups that play over a restart of the server: who has which slot, by which token, in which life.
//! Knows no file.

use rollback_signaling::{Join, MEMBERS_MAX, RoomName, SETTINGS_BYTES_MAX, Text, Token};
use serde::{Deserialize, Serialize};

/// The groups that play, oldest first. Who only waits joins anew.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedGroups {
    pub(crate) groups: Vec<SavedGroup>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedGroup {
    pub(crate) room: RoomName,
    pub(crate) session_id: u64,
    pub(crate) seed: u64,
    pub(crate) settings: Text<SETTINGS_BYTES_MAX>,
    pub(crate) begins_with: u8,
    pub(crate) reserved_from: u8,
    /// By slot; none where a member has left, or has not come yet.
    pub(crate) seats: Vec<Option<SavedSeat>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedSeat {
    pub(crate) token: Token,
    pub(crate) former: Vec<u64>,
    pub(crate) is_late: bool,
    pub(crate) join: Join,
}

/// Why no server goes on with these groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A group has no members, too many, or numbers that do not fit each other.
    #[error("expected groups of 1 to {MEMBERS_MAX} members")]
    Group,
    /// Two members have one token.
    #[error("expected each token once")]
    Tokens,
    /// There are more groups than this server takes.
    #[error("expected at most {max} groups, got {got}")]
    TooMany {
        /// The limit.
        max: usize,
        /// How many there are.
        got: usize,
    },
}
