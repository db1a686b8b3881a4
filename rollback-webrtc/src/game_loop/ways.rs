//! Before the first frame: the ways to the others must be good enough.

use rollback_core::{Game, PeerId, PeerSet, Timestamp};

use super::{GameLoop, LoopError};
use crate::datagram_transport::DatagramTransport;
use crate::health::{Unhealthy, Verdict};
use crate::telemetry::Proof;

impl<G: Game, T: DatagramTransport> GameLoop<G, T> {
    /// Those that have said hello, but to whom the way is not shown to be good enough to begin.
    pub(super) fn waits_for_ways(
        &mut self,
        now: Timestamp,
    ) -> Result<Option<PeerSet>, LoopError<G::Error>> {
        if self.health.is_over() || self.returns.has_begun() {
            return Ok(None);
        }
        let local = self.setup.ticket.local;
        let peers = PeerId::all(self.setup.ticket.roster.peer_count());
        let is_ready = |peer: &PeerId| *peer != local && self.session.facts_of(*peer).is_some();
        let ready: PeerSet = peers.filter(is_ready).collect();
        let awaited = self.setup.ticket.roster.peers().minus(self.setup.config.late_peers());
        let begins = awaited.without(local).minus(ready).is_empty();
        let within = self.setup.start_timeout;
        match self.health.judge(now, (ready, begins), within, &mut self.transport) {
            Verdict::Begin => Ok(None),
            Verdict::Wait(peers) => Ok(Some(peers)),
            Verdict::End(peer, why, within) => Err(LoopError::Unhealthy { peer, why, within }),
        }
    }

    /// Whose way does not work has no other excuse.
    pub(super) fn not_started(&self, peers: PeerSet) -> LoopError<G::Error> {
        let within = self.setup.start_timeout;
        let mut proofs = peers.iter().map(|peer| (peer, self.transport.proof(peer)));
        match proofs.find(|(_, proof)| *proof != Proof::Both) {
            Some((peer, proof)) => {
                LoopError::Unhealthy { peer, why: Unhealthy::NotProved(proof), within }
            }
            None => LoopError::NotStarted { peers, within },
        }
    }
}
