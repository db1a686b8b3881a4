//! Transports within one process, for tests and for playing alone: no socket, no thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rollback_core::{PeerId, Timestamp};
use rollback_signaling::MEMBERS_MAX;

use crate::clock::Clock;
use crate::datagram_transport::{DATAGRAM_BYTES_MAX, DatagramTransport, Received, SendOutcome};
use crate::error::SendError;
use crate::link_conditions::LinkConditions;
use crate::mailbox::Mailbox;
use crate::route::Way;
use crate::stats::PeerStats;

/// One end of a network within this process. All ends share one clock.
#[derive(Debug)]
pub struct LoopbackTransport {
    local: PeerId,
    mailboxes: Arc<[Mailbox]>,
}

impl LoopbackTransport {
    /// A network of `peers` ends, at most eight, the n-th of which is peer n. The conditions are
    /// those of each direction.
    #[must_use]
    pub fn network(peers: u8, conditions: &LinkConditions) -> Vec<Self> {
        let clock = Clock::start();
        let locals: Vec<PeerId> = (0..peers.min(MEMBERS_MAX)).filter_map(PeerId::new).collect();
        let mailbox = |local: &PeerId| {
            let mailbox = Mailbox::new(clock, u64::from(local.slot()));
            mailbox.set_conditions(conditions, *local);
            mailbox
        };
        let mailboxes: Arc<[Mailbox]> = locals.iter().map(mailbox).collect();
        let end = |local| Self { local, mailboxes: Arc::clone(&mailboxes) };
        locals.into_iter().map(end).collect()
    }

    /// Which peer this end is.
    #[must_use]
    pub const fn local(&self) -> PeerId {
        self.local
    }

    /// What was counted about a peer; only the counters of datagrams have a meaning here.
    #[must_use]
    pub fn stats(&self, peer: PeerId) -> PeerStats {
        self.mailbox().map(|mailbox| mailbox.stats(peer)).unwrap_or_default()
    }

    fn mailbox(&self) -> Option<&Mailbox> {
        self.mailboxes.get(self.local.index())
    }
}

impl DatagramTransport for LoopbackTransport {
    fn now(&self) -> Timestamp {
        self.mailbox().map_or(Timestamp::ZERO, Mailbox::now)
    }

    fn try_send(&mut self, to: PeerId, datagram: &[u8]) -> Result<SendOutcome, SendError> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(SendError::DatagramTooLong { got: datagram.len() });
        }
        let receiver = self.mailboxes.get(to.index()).filter(|_| to != self.local);
        let Some(receiver) = receiver else { return Ok(SendOutcome::NotConnected) };
        let Some(own) = self.mailbox() else { return Ok(SendOutcome::NotConnected) };
        let number = own.take_number(to);
        let bytes = Bytes::copy_from_slice(datagram);
        receiver.deliver_datagram(self.local, Way::WebRtc, number, bytes);
        own.count_sent(to, Way::WebRtc, datagram.len(), true);
        Ok(SendOutcome::Queued)
    }

    fn try_receive(&mut self, buffer: &mut [u8; DATAGRAM_BYTES_MAX]) -> Option<Received> {
        self.mailbox()?.try_receive(buffer)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        self.mailbox().is_some_and(|mailbox| mailbox.wait(timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_reaches_every_other() {
        let mut ends = LoopbackTransport::network(3, &LinkConditions::default());
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        for from in 0..3 {
            for to in 0..3 {
                let (sender, receiver) = (ends[from].local(), ends[to].local());
                let datagram = [sender.slot()];
                let outcome = ends[from].try_send(receiver, &datagram).unwrap();
                if from == to {
                    assert_eq!(outcome, SendOutcome::NotConnected);
                    continue;
                }
                assert_eq!(outcome, SendOutcome::Queued);
                assert!(ends[to].wait(Duration::ZERO));
                let received = ends[to].try_receive(&mut buffer).unwrap();
                assert_eq!((received.peer, &buffer[..received.len]), (sender, &datagram[..]));
            }
        }
    }

    #[test]
    fn the_conditions_lose_the_same_datagrams_each_time() {
        let survivors = || {
            let conditions = LinkConditions { loss_percent: 30.0, seed: 5, ..Default::default() };
            let mut ends = LoopbackTransport::network(2, &conditions);
            let mut buffer = [0; DATAGRAM_BYTES_MAX];
            let to = ends[1].local();
            let mut survived = |number| {
                ends[0].try_send(to, &[number]).unwrap();
                ends[1].try_receive(&mut buffer).is_some()
            };
            (0..100).filter(|&number| survived(number)).collect::<Vec<u8>>()
        };
        assert_eq!(survivors(), survivors());
        assert!((50..90).contains(&survivors().len()));
    }

    #[test]
    fn a_datagram_above_the_limit_is_refused() {
        let mut ends = LoopbackTransport::network(2, &LinkConditions::default());
        let to = ends[1].local();
        assert!(ends[0].try_send(to, &[0; DATAGRAM_BYTES_MAX]).is_ok());
        let refused = ends[0].try_send(to, &[0; DATAGRAM_BYTES_MAX + 1]);
        assert_eq!(refused, Err(SendError::DatagramTooLong { got: DATAGRAM_BYTES_MAX + 1 }));
    }
}
