//! What several tests of recordings begin with.

use alloc::vec;

use super::RecordingHeader;
use crate::{Roster, SessionConfig, StateHash};

/// A match of two peers, a player each.
pub(crate) fn header() -> RecordingHeader {
    RecordingHeader {
        session: 1,
        episode: 0,
        seed: 5,
        config: SessionConfig::builder().build().unwrap(),
        roster: Roster::one_player_each(2).unwrap(),
        participants: vec!["a".into(), "b".into()],
        must_match: vec![],
        may_differ: vec![vec![], vec![]],
        start_hash: StateHash::default(),
    }
}
