//! A transport for unit tests, connected to nobody.

use std::time::Duration;

use rollback_core::{PeerId, Timestamp};

use crate::datagram_transport::{DATAGRAM_BYTES_MAX, DatagramTransport, Received, SendOutcome};
use crate::error::SendError;
use crate::telemetry::LinkReport;

/// Carries nothing; it is asked how the ways are, and keeps what it was given for others.
#[derive(Debug, Default)]
pub(crate) struct Detached {
    /// Of the way to each peer.
    pub(crate) link: LinkReport,
    /// How often a way was to be measured again.
    pub(crate) checks: usize,
    /// So many notices more are taken.
    pub(crate) room: usize,
    /// Those that were.
    pub(crate) notices: Vec<Vec<u8>>,
}

impl DatagramTransport for Detached {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO
    }

    fn try_send(&mut self, _: PeerId, _: &[u8]) -> Result<SendOutcome, SendError> {
        Ok(SendOutcome::NotConnected)
    }

    fn try_receive(&mut self, _: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        None
    }

    fn wait(&mut self, _: Duration) -> bool {
        false
    }

    fn try_send_notice(&mut self, _: PeerId, notice: &[u8]) -> bool {
        let Some(room) = self.room.checked_sub(1) else { return false };
        self.room = room;
        self.notices.push(notice.to_vec());
        true
    }

    fn begin_check(&mut self, _: PeerId) {
        self.checks += 1;
    }

    fn link(&self, _: PeerId) -> Option<LinkReport> {
        Some(self.link.clone())
    }
}
