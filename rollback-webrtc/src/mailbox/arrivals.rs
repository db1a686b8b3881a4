//! What comes from a peer besides bulk: datagrams and probes, taken at once, or when the link conditions let them arrive.

use std::sync::MutexGuard;

use bytes::Bytes;
use rollback_core::{PeerId, Timestamp};

use super::Mailbox;
use super::state::State;
use crate::datagram_transport::DATAGRAM_BYTES_MAX;
use crate::link_conditions::Kind;
use crate::route::Way;
use crate::stats::TransportEvent;
use crate::telemetry::{Arrival, Framed, Probe, frame_probe};

/// A datagram or a probe, and the way that it came on.
#[derive(Debug)]
pub(super) struct Arrived {
    way: Way,
    framed: Framed,
}

impl Mailbox {
    /// A message from a peer's way for datagrams.
    pub(crate) fn deliver(&self, from: PeerId, way: Way, message: Bytes) {
        let now = self.clock.now();
        let bytes = message.len();
        let mut state = self.lock();
        if !self.judge(&mut state, from, |guard| guard.take_datagram(now, bytes)) {
            return;
        }
        let Some(peer) = state.peer(from) else { return };
        peer.note_heard(now, way);
        match Framed::parse(message) {
            Some(Framed::Datagram(_, datagram)) if datagram.len() > DATAGRAM_BYTES_MAX => {
                self.count_violation(&mut state, from);
            }
            Some(framed) => self.arrive(state, now, from, Arrived { way, framed }),
            None => self.count_violation(&mut state, from),
        }
    }

    /// A datagram from a peer of this process, which is not too long.
    pub(crate) fn deliver_datagram(&self, from: PeerId, way: Way, number: u16, datagram: Bytes) {
        let now = self.clock.now();
        let framed = Framed::Datagram(number, datagram);
        self.arrive(self.lock(), now, from, Arrived { way, framed });
    }

    /// Takes what is due by now of what the link conditions delay.
    pub(super) fn admit_due(&self, state: &mut State, now: Timestamp) {
        for from in (0..).map_while(PeerId::new).take(state.peers.len()) {
            let due = |state: &mut State| state.peer(from)?.conditions.as_mut()?.take_due(now);
            while let Some((at, arrived)) = due(state) {
                self.admit(state, at, from, arrived);
            }
        }
    }

    fn arrive(
        &self,
        mut state: MutexGuard<'_, State>,
        now: Timestamp,
        from: PeerId,
        arrived: Arrived,
    ) {
        let Some(peer) = state.peer(from) else { return };
        let kind = match &arrived.framed {
            Framed::Datagram(_, datagram) => {
                let bytes = datagram.len() as u64;
                peer.stats.datagrams_received += 1;
                peer.stats.bytes_received += bytes;
                let counters = peer.counters(arrived.way);
                counters.datagrams_received += 1;
                counters.bytes_received += bytes;
                Kind::Datagram
            }
            Framed::Probe(_) => Kind::Probe,
        };
        if let Some(link) = &mut peer.conditions {
            if !link.offer(now, kind, arrived) {
                peer.stats.datagrams_lost_by_conditions += u64::from(kind == Kind::Datagram);
                return;
            }
            self.delayed.notify_one();
        } else {
            self.admit(&mut state, now, from, arrived);
            if kind == Kind::Probe {
                return;
            }
        }
        drop(state);
        self.announce();
    }

    fn admit(&self, state: &mut State, at: Timestamp, from: PeerId, arrived: Arrived) {
        match arrived.framed {
            Framed::Probe(probe) => self.admit_probe(state, at, from, probe),
            Framed::Datagram(number, datagram) => {
                let Some(peer) = state.peer(from) else { return };
                let arrival = peer.telemetry.handle_datagram(at, number);
                let counters = peer.counters(arrived.way);
                counters.datagrams_overtaken += u64::from(arrival == Arrival::Overtaken);
                counters.datagrams_duplicate += u64::from(arrival == Arrival::Duplicate);
                peer.admit(at, arrived.way, datagram);
            }
        }
    }

    fn admit_probe(&self, state: &mut State, at: Timestamp, from: PeerId, probe: Probe) {
        let Some(peer) = state.peer(from) else { return };
        let (next, round_trip) = peer.telemetry.handle_probe(at, probe);
        match next {
            Some(answer) if answer.echo.is_some() => peer.answer = Some(frame_probe(answer)),
            Some(question) => peer.probe = Some(frame_probe(question)),
            None => {}
        }
        self.wake_datagrams(peer.way);
        if let Some(round_trip) = round_trip {
            state.push_event(TransportEvent::PeerProved { peer: from, round_trip });
            self.announce();
        }
    }
}
