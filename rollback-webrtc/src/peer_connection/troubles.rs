//! What goes wrong with TURN servers and certificates, and who is told.

use rollback_core::PeerId;

use super::Connection;
use crate::ice::TurnTrouble;
use crate::mailbox::Mailbox;
use crate::stats::{CertificateOwner, TransportEvent};

impl Connection {
    /// Says what is wrong with a TURN server, once for each connection.
    pub(super) fn report_turn(&mut self, trouble: TurnTrouble) {
        self.relay_ends |= matches!(trouble, TurnTrouble::NotRenewed { .. });
        if self.known_troubles.len() >= TURN_TROUBLES || self.known_troubles.contains(&trouble) {
            return;
        }
        self.known_troubles.push(trouble);
        report_turn(&self.setup.mailbox, self.peer, trouble);
    }

    /// Says that a certificate is not that of its description, once for each connection.
    pub(super) fn report_refusal(&mut self, whose: CertificateOwner) {
        if std::mem::replace(&mut self.is_refused, true) {
            return;
        }
        tracing::warn!(peer = ?self.peer, attempt = ?self.attempt, whose = whose.name(), "a certificate is refused");
        self.setup.mailbox.update(self.peer, |stats| stats.certificates_refused += 1);
        let event = TransportEvent::CertificateRefused { peer: self.peer, whose };
        self.setup.mailbox.report(event);
    }
}

pub(super) fn report_turn(mailbox: &Mailbox, peer: PeerId, trouble: TurnTrouble) {
    tracing::warn!(?peer, %trouble, "a TURN server is of no use");
    mailbox.update(peer, |stats| stats.turn_trouble = Some(trouble));
    mailbox.report(TransportEvent::TurnFailed { peer, trouble });
}

/// Troubles with TURN servers that may wait, and that are reported of one connection.
pub(super) const TURN_TROUBLES: usize = 8;
