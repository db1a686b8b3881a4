//! What one peer may send. Whoever sends more than any honest one is shut out: for its datagrams nothing is done any more.

use std::time::Duration;

use rollback_core::Timestamp;
use rollback_signaling::RelayAllowance;

use crate::datagram_transport::DATAGRAM_BYTES_MAX;
use crate::stats::ShutOut;

/// The allowances of one peer. Each is one second's worth, and grows back.
#[derive(Debug)]
pub(super) struct Guard {
    datagrams_per_second: u32,
    datagrams: RelayAllowance,
    bulk: RelayAllowance,
    violations: RelayAllowance,
    shut_out: Option<ShutOut>,
}

impl Guard {
    /// Full allowances, among them one of so many datagrams of full length.
    pub(super) fn new(now: Timestamp, datagrams_per_second: u32) -> Self {
        let bytes = u32::try_from(DATAGRAM_BYTES_MAX).unwrap_or(u32::MAX);
        let bytes = datagrams_per_second.saturating_mul(bytes) / 2;
        let full = |messages, bytes| RelayAllowance::new(time(now), messages, bytes);
        Self {
            datagrams_per_second,
            datagrams: full(datagrams_per_second, bytes),
            bulk: full(BULK_FRAMES_PER_SECOND, BULK_BYTES_PER_SECOND),
            violations: full(VIOLATIONS_PER_SECOND, u32::MAX),
            shut_out: None,
        }
    }

    /// Another process of the peer is there, which has done nothing yet.
    pub(super) fn renew(&mut self, now: Timestamp) {
        *self = Self::new(now, self.datagrams_per_second);
    }

    /// Why the peer is shut out, if it is.
    pub(super) const fn reason(&self) -> Option<ShutOut> {
        self.shut_out
    }

    /// Shuts the peer out.
    pub(super) const fn shut_out(&mut self, why: ShutOut) {
        self.shut_out = Some(why);
    }

    /// A datagram or a probe came. Answers why that was too much.
    pub(super) fn take_datagram(&mut self, now: Timestamp, bytes: usize) -> Option<ShutOut> {
        (!self.datagrams.spend(time(now), bytes)).then_some(ShutOut::Flood)
    }

    /// A bulk frame came.
    pub(super) fn take_bulk(&mut self, now: Timestamp, bytes: usize) -> Option<ShutOut> {
        (!self.bulk.spend(time(now), bytes)).then_some(ShutOut::Flood)
    }

    /// Something came that no honest peer sends.
    pub(super) fn take_violation(&mut self, now: Timestamp) -> Option<ShutOut> {
        (!self.violations.spend(time(now), 0)).then_some(ShutOut::Malformed)
    }
}

fn time(now: Timestamp) -> Duration {
    Duration::from_micros(now.as_micros())
}

/// Bulk frames a second. An honest peer has at most a window of 64 messages under way, and SCTP carries no more than some ten
/// thousand frames a second; only frames that carry nothing come faster.
const BULK_FRAMES_PER_SECOND: u32 = 50_000;

/// Their bytes: more than a line of 1 Gbit/s carries.
const BULK_BYTES_PER_SECOND: u32 = 128 * 1024 * 1024;

/// Things that no honest peer sends. A few may be an error of ours, so that nobody is shut out for one.
const VIOLATIONS_PER_SECOND: u32 = 32;
