//! The background's side of a peer's ways: which one is taken, what comes and goes on each.

use bytes::{Bytes, BytesMut};
use rollback_core::{PeerId, Timestamp};

use super::guard::Guard;
use super::state::{Peer, State};
use super::{Mailbox, OUTGOING_AGE_MAX};
use crate::bulk::Lane;
use crate::datagram_transport::DATAGRAM_BYTES_MAX;
use crate::ice::Path;
use crate::route::Way;
use crate::stats::{PeerStats, ShutOut, TransportEvent, WayCounters};
use crate::telemetry::{Arrival, Framed, LinkReport, number};

/// Something for the relay of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Relayed {
    /// A datagram to this peer.
    Datagram(PeerId, BytesMut),
    /// A bulk frame to this peer, for the channel with this number.
    Bulk(PeerId, u64, BytesMut),
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
        let datagram = match Framed::parse(message) {
            Some(Framed::Datagram(number, datagram)) if datagram.len() <= DATAGRAM_BYTES_MAX => {
                let arrival = peer.telemetry.handle_datagram(now, number);
                let counters = peer.counters(way);
                counters.datagrams_overtaken += u64::from(arrival == Arrival::Overtaken);
                counters.datagrams_duplicate += u64::from(arrival == Arrival::Duplicate);
                datagram
            }
            Some(Framed::Probe(probe)) => {
                peer.telemetry.handle_probe(now, probe);
                return;
            }
            Some(Framed::Datagram(..)) | None => {
                self.count_violation(&mut state, from);
                return;
            }
        };
        drop(state);
        self.deliver_datagram(from, way, datagram);
    }

    /// A datagram from a peer, which is not too long.
    pub(crate) fn deliver_datagram(&self, from: PeerId, way: Way, datagram: Bytes) {
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(peer) = state.peer(from) else { return };
        let bytes = datagram.len() as u64;
        peer.stats.datagrams_received += 1;
        peer.stats.bytes_received += bytes;
        let counters = peer.counters(way);
        counters.datagrams_received += 1;
        counters.bytes_received += bytes;
        if let Some(link) = &mut peer.conditions {
            if !link.offer(now, datagram) {
                peer.stats.datagrams_lost_by_conditions += 1;
                return;
            }
            drop(state);
            self.delayed.notify_one();
        } else {
            peer.admit(now, datagram);
            drop(state);
        }
        self.announce();
    }

    /// A frame from a peer's bulk channel with this number. Answers the number of a probe that it
    /// brought back.
    pub(crate) fn deliver_bulk(
        &self,
        from: PeerId,
        (way, channel): (Way, u64),
        frame: &Bytes,
    ) -> Option<u64> {
        let now = self.clock.now();
        let mut state = self.lock();
        if !self.judge(&mut state, from, |guard| guard.take_bulk(now, frame.len())) {
            return None;
        }
        let peer = state.peer(from).filter(|peer| peer.bulk.is_current(way, channel))?;
        let lane = match Lane::of(frame) {
            Lane::Bulk => &mut peer.bulk,
            Lane::Notices => &mut peer.notices,
        };
        let is_valid = lane.handle_frame(way, frame).is_ok();
        let echo = peer.bulk.take_echo();
        if !is_valid {
            self.count_violation(&mut state, from);
        }
        state.has_news = true;
        drop(state);
        self.wake_bulk(from);
        self.announce();
        echo
    }

    /// A peer sent what no honest one sends.
    pub(crate) fn note_violation(&self, from: PeerId) {
        self.count_violation(&mut self.lock(), from);
        self.announce();
    }

    fn count_violation(&self, state: &mut State, from: PeerId) {
        let Some(peer) = state.peer(from) else { return };
        peer.stats.violations += 1;
        let now = self.clock.now();
        self.judge(state, from, |guard| guard.take_violation(now));
    }

    /// Waits for the next peer that is shut out.
    pub(crate) async fn next_offender(&self) -> PeerId {
        loop {
            let offender = self.lock().offenders.pop_front();
            match offender {
                Some(peer) => return peer,
                None => self.offended.notified().await,
            }
        }
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
        state.offenders.push_back(from);
        state.push_event(TransportEvent::PeerShutOut { peer: from, why });
        tracing::warn!(peer = ?from, why = why.name(), "a peer is shut out");
        self.offended.notify_one();
        self.announce();
        false
    }

    /// The next datagram to send to a peer over its WebRTC connection, once there is one.
    pub(crate) async fn next_outgoing(&self, to: PeerId) -> BytesMut {
        loop {
            let datagram = {
                let mut state = self.lock();
                let peer = state.peer(to).filter(|peer| peer.way == Some(Way::WebRtc));
                peer.and_then(|peer| peer.pop_numbered(|_| true))
            };
            match (datagram, self.wakes.get(to.index())) {
                (Some(datagram), _) => return datagram,
                (None, Some(wakes)) => wakes.datagrams.notified().await,
                (None, None) => std::future::pending().await,
            }
        }
    }

    /// The next frame for a peer's WebRTC bulk channel with this number, once there is one.
    pub(crate) async fn next_bulk_frame(&self, to: PeerId, channel: Option<u64>) -> BytesMut {
        let Some(wakes) = self.wakes.get(to.index()) else { return std::future::pending().await };
        loop {
            {
                let mut state = self.lock();
                let current = |peer: &&mut Peer| {
                    channel.is_some_and(|channel| peer.bulk.is_current(Way::WebRtc, channel))
                };
                match state.peer(to).filter(current) {
                    Some(peer) => {
                        if let Some(frame) = peer.poll_bulk(Way::WebRtc) {
                            return frame;
                        }
                    }
                    None => {
                        // The wake was for the task of a newer channel.
                        wakes.bulk.notify_one();
                        break;
                    }
                }
            }
            wakes.bulk.notified().await;
        }
        std::future::pending().await
    }

    /// The next thing for the relay of the server: datagrams first, and bulk frames only if `with_bulk`. Peers take
    /// turns.
    pub(crate) fn poll_relayed(&self, now: Timestamp, with_bulk: bool) -> Option<Relayed> {
        let mut state = self.lock();
        let slots = u8::try_from(state.peers.len()).unwrap_or(u8::MAX);
        let first = state.relay_turn;
        let turns = (0..slots).map(|step| (first + step) % slots.max(1));
        let peers = turns.filter_map(PeerId::new).collect::<Vec<_>>();
        for to in &peers {
            let peer = state.peer(*to).filter(|peer| peer.way == Some(Way::Server));
            if let Some(datagram) = peer.and_then(|peer| peer.pop_fresh(now)) {
                state.relay_turn = (to.slot() + 1) % slots.max(1);
                return Some(Relayed::Datagram(*to, datagram));
            }
        }
        for to in peers.iter().filter(|_| with_bulk) {
            let Some(peer) = state.peer(*to) else { continue };
            if let Some(frame) = peer.poll_bulk(Way::Server) {
                let channel = peer.bulk.number(Way::Server);
                state.relay_turn = (to.slot() + 1) % slots.max(1);
                return Some(Relayed::Bulk(*to, channel, frame));
            }
        }
        None
    }

    /// Waits until there may be something for the relay.
    pub(crate) async fn wait_relayed(&self) {
        self.relayed.notified().await;
    }

    /// A datagram was handed to a way, or could not be.
    pub(crate) fn count_sent(&self, to: PeerId, way: Way, bytes: usize, was_sent: bool) {
        let mut state = self.lock();
        let Some(peer) = state.peer(to) else { return };
        if !was_sent {
            peer.stats.datagrams_not_sent += 1;
            return;
        }
        let bytes = bytes as u64;
        peer.stats.datagrams_sent += 1;
        peer.stats.bytes_sent += bytes;
        let counters = peer.counters(way);
        counters.datagrams_sent += 1;
        counters.bytes_sent += bytes;
    }

    /// Changes what is known about a peer.
    pub(crate) fn update(&self, peer: PeerId, change: impl FnOnce(&mut PeerStats)) {
        if let Some(peer) = self.lock().peer(peer) {
            change(&mut peer.stats);
        }
    }

    /// Datagrams to a peer take this way from now on. Where there was none, nothing older is sent.
    pub(crate) fn choose(&self, to: PeerId, way: Option<Way>) {
        let mut state = self.lock();
        let Some(peer) = state.peer(to) else { return };
        let former = std::mem::replace(&mut peer.way, way);
        peer.stats.is_connected = way.is_some();
        if former.is_none() {
            peer.outgoing.clear();
            peer.probe = None;
        }
        peer.stats.switches += u64::from(former.is_some() && way.is_some() && former != way);
        drop(state);
        match (former, way) {
            (None, Some(_)) => self.report(TransportEvent::PeerConnected { peer: to }),
            (Some(_), None) => self.report(TransportEvent::PeerDisconnected { peer: to }),
            _ => {}
        }
        self.report_path(to);
        self.wake_datagrams(to, way);
        self.wake_bulk(to);
    }

    /// The path of the WebRTC connection to a peer, and its round trip, as they are now.
    pub(crate) fn measured(
        &self,
        to: PeerId,
        path: Option<Path>,
        round_trip: Option<std::time::Duration>,
    ) {
        if let Some(peer) = self.lock().peer(to) {
            peer.webrtc_path = path.or(peer.webrtc_path);
            peer.webrtc_round_trip = round_trip.or(peer.webrtc_round_trip);
        }
        self.report_path(to);
    }

    /// A bulk channel to a peer is open on its WebRTC connection; it gets this number.
    pub(crate) fn bulk_opened(&self, to: PeerId) -> Option<u64> {
        self.lock().peer(to).map(|peer| {
            let number = peer.bulk.number(Way::WebRtc) + 1;
            peer.open_bulk(Way::WebRtc, number);
            number
        })
    }

    /// The WebRTC connection to a peer is gone.
    pub(crate) fn webrtc_closed(&self, to: PeerId) {
        if let Some(peer) = self.lock().peer(to) {
            peer.close_bulk(Way::WebRtc);
            peer.webrtc_path = None;
            peer.webrtc_round_trip = None;
        }
        self.wake_bulk(to);
    }

    /// Both sides have a relay socket; this is the number of these two.
    pub(crate) fn relay_opened(&self, to: PeerId, number: u64) {
        if let Some(peer) = self.lock().peer(to) {
            peer.open_bulk(Way::Server, number);
        }
        self.wake_bulk(to);
    }

    /// One of the two relay sockets is gone.
    pub(crate) fn relay_closed(&self, to: PeerId) {
        if let Some(peer) = self.lock().peer(to) {
            peer.close_bulk(Way::Server);
        }
        self.wake_bulk(to);
    }

    /// Another process of a peer is there.
    pub(crate) fn renewed(&self, peer: PeerId) {
        let now = self.clock.now();
        if let Some(peer) = self.lock().peer(peer) {
            peer.telemetry.handle_renewed();
            peer.guard.renew(now);
            peer.stats.shut_out = None;
        }
    }

    /// What was measured of the way to a peer.
    pub(crate) fn link_report(&self, peer: PeerId) -> LinkReport {
        self.lock().peer(peer).map(|peer| peer.telemetry.report()).unwrap_or_default()
    }

    /// Sends a number through the WebRTC connection to a peer, to get it back.
    pub(crate) fn probe(&self, to: PeerId, number: u64) {
        if let Some(peer) = self.lock().peer(to) {
            peer.bulk.probe(number);
        }
        self.wake_bulk(to);
    }

    pub(super) fn wake_datagrams(&self, to: PeerId, way: Option<Way>) {
        match (way, self.wakes.get(to.index())) {
            (Some(Way::Server), _) => self.relayed.notify_one(),
            (Some(Way::WebRtc), Some(wakes)) => wakes.datagrams.notify_one(),
            _ => {}
        }
    }

    /// Wakes the tasks of both ways: only they know whether there is something for them.
    pub(super) fn wake_bulk(&self, to: PeerId) {
        if let Some(wakes) = self.wakes.get(to.index()) {
            wakes.bulk.notify_one();
        }
        self.relayed.notify_one();
    }

    /// Writes down the path in use, and tells the game of a new one.
    fn report_path(&self, to: PeerId) {
        let mut state = self.lock();
        let Some(peer) = state.peer(to) else { return };
        let (path, round_trip) = match peer.way {
            Some(Way::WebRtc) => (peer.webrtc_path, peer.webrtc_round_trip),
            Some(Way::Server) => (Some(Path::Server), None),
            None => (None, None),
        };
        let is_new = path != peer.stats.path;
        peer.stats.path = path;
        peer.stats.round_trip = round_trip;
        drop(state);
        if let Some(path) = path.filter(|_| is_new) {
            self.report(TransportEvent::PathChosen { peer: to, path });
        }
    }
}

impl Peer {
    /// The next datagram that is not too old to be worth sending.
    fn pop_fresh(&mut self, now: Timestamp) -> Option<BytesMut> {
        self.pop_numbered(|given_at| now.since(given_at) <= OUTGOING_AGE_MAX)
    }

    /// The probe that is due, or the next datagram whose time is good enough, numbered now, so that one that is dropped here is not missed there.
    fn pop_numbered(&mut self, is_worth: impl Fn(Timestamp) -> bool) -> Option<BytesMut> {
        if let Some(probe) = self.probe.take() {
            return Some(probe);
        }
        loop {
            let (given_at, mut message) = self.outgoing.pop_front()?;
            if is_worth(given_at) {
                number(&mut message, || self.telemetry.take_number());
                return Some(message);
            }
            self.stats.datagrams_not_sent += 1;
        }
    }

    fn poll_bulk(&mut self, way: Way) -> Option<BytesMut> {
        let preferred = self.way.unwrap_or(Way::WebRtc);
        let frame = self.bulk.poll_frame(way, preferred);
        frame.or_else(|| self.notices.poll_frame(way, preferred))
    }

    fn open_bulk(&mut self, way: Way, number: u64) {
        self.bulk.channel_opened(way, number);
        self.notices.channel_opened(way, number);
    }

    fn close_bulk(&mut self, way: Way) {
        self.bulk.channel_closed(way);
        self.notices.channel_closed(way);
    }

    fn counters(&mut self, way: Way) -> &mut WayCounters {
        match (way, self.webrtc_path) {
            (Way::Server, _) => &mut self.stats.server_relay,
            (Way::WebRtc, Some(path)) if path.is_relayed() => &mut self.stats.turn,
            (Way::WebRtc, _) => &mut self.stats.direct,
        }
    }
}
