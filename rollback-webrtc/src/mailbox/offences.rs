//! What no honest peer sends is counted, and whoever sends too much of it, or too much of anything, is shut out.

use rollback_core::PeerId;

use super::Mailbox;
use super::guard::Guard;
use super::state::State;
use crate::pair::UnusedSignals;
use crate::stats::{ShutOut, TransportEvent};

impl Mailbox {
    /// A peer sent what no honest one sends.
    pub(crate) fn note_violation(&self, from: PeerId) {
        self.count_violation(&mut self.lock(), from);
        self.announce();
    }

    pub(super) fn count_violation(&self, state: &mut State, from: PeerId) {
        let Some(peer) = state.peer(from) else { return };
        peer.stats.violations += 1;
        let now = self.clock.now();
        self.judge(state, from, |guard| guard.take_violation(now));
    }

    /// Signals of a peer were not taken. Those that come again are told, once: they may be the work of somebody in between.
    pub(crate) fn note_unused(&self, from: PeerId, unused: UnusedSignals) {
        let mut state = self.lock();
        let Some(peer) = state.peer(from) else { return };
        let were_told = peer.stats.replayed_signals > 0;
        peer.stats.stale_signals += unused.stale;
        peer.stats.replayed_signals += unused.replayed;
        if unused.replayed > 0 && !were_told {
            state.push_event(TransportEvent::SignalsReplayed { peer: from });
            tracing::warn!(peer = ?from, "signals of a peer come again");
            self.announce();
        }
    }

    /// Waits for the next peer that is shut out, and still is: another process of it may be there already.
    pub(crate) async fn next_offender(&self) -> PeerId {
        loop {
            if let Some(peer) = self.take_offender() {
                return peer;
            }
            self.offended.notified().await;
        }
    }

    fn take_offender(&self) -> Option<PeerId> {
        let mut state = self.lock();
        while let Some(offender) = state.offenders.pop_front() {
            if state.peer(offender).is_some_and(|peer| peer.guard.reason().is_some()) {
                return Some(offender);
            }
        }
        None
    }

    /// Says whether something may be taken from a peer, and shuts it out for a reason.
    pub(super) fn judge(
        &self,
        state: &mut State,
        from: PeerId,
        find: impl FnOnce(&mut Guard) -> Option<ShutOut>,
    ) -> bool {
        let Some(peer) = state.peer(from) else { return false };
        if peer.guard.reason().is_some() {
            return false;
        }
        let Some(why) = find(&mut peer.guard) else { return true };
        peer.guard.shut_out(why);
        peer.stats.shut_out = Some(why);
        peer.incoming.clear();
        peer.drop_delayed();
        state.offenders.push_back(from);
        state.push_event(TransportEvent::PeerShutOut { peer: from, why });
        tracing::warn!(peer = ?from, why = why.name(), "a peer is shut out");
        self.offended.notify_one();
        self.announce();
        false
    }
}
