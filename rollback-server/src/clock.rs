//! The time of day, which credentials end by. All else is measured from the start of the server.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 on a computer whose clock says an earlier time.
pub(crate) fn unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
