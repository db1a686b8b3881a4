//! The background's side of a peer's ways: which one is taken, what comes and goes on each.

use bytes::{Bytes, BytesMut};
use rollback_core::{PeerId, Timestamp};

use super::state::{Lost, Peer};
use super::{Mailbox, OUTGOING_AGE_MAX};
use crate::bulk::Lane;
use crate::path::Path;
use crate::route::Way;
use crate::stats::{InputsPassed, Loss, PeerStats, TransportEvent, WayCounters};
use crate::telemetry::{LinkReport, Proof, frame_probe, number};

/// Something for the relay of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Relayed {
    /// A datagram to this peer.
    Datagram(PeerId, BytesMut),
    /// A bulk frame to this peer, for the channel with this number.
    Bulk(PeerId, u64, BytesMut),
}

impl Mailbox {
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
        peer.note_heard(now, way);
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

    /// Waits until there is a datagram to send to a peer over its WebRTC connection.
    pub(crate) async fn wait_outgoing(&self, to: PeerId) {
        let Some(wakes) = self.wakes.get(to.index()) else { return std::future::pending().await };
        loop {
            {
                let mut state = self.lock();
                if state.peer(to).is_some_and(|peer| peer.has_outgoing(Way::WebRtc)) {
                    return;
                }
            }
            wakes.datagrams.notified().await;
        }
    }

    /// The next datagram to send to a peer over its WebRTC connection, on which so many bytes are outstanding; `None`
    /// when that is too much, or all that waited is too old now.
    pub(crate) fn poll_outgoing(&self, to: PeerId, outstanding: usize) -> Option<BytesMut> {
        let now = self.clock.now();
        let mut state = self.lock();
        let peer = state.peer(to).filter(|peer| peer.way == Some(Way::WebRtc))?;
        let (round_trip, loss) = (peer.telemetry.round_trip(), peer.telemetry.loss_out());
        let has_room = outstanding <= peer.send_rate.limit(round_trip, loss);
        peer.telemetry.note_outstanding(outstanding);
        if !has_room {
            peer.drop_old(now);
            return None;
        }
        peer.pop_fresh(now)
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
                if state.peer(to).filter(current).is_none() {
                    // The wake was for the task of a newer channel.
                    wakes.bulk.notify_one();
                    break;
                }
                if let Some(frame) = self.poll_bulk(&mut state, to, Way::WebRtc) {
                    return frame;
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
            if let Some(frame) = self.poll_bulk(&mut state, *to, Way::Server) {
                let channel = state.peer(*to)?.bulk.number(Way::Server);
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
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(peer) = state.peer(to) else { return };
        let former = std::mem::replace(&mut peer.way, way);
        peer.stats.is_connected = way.is_some();
        if former.is_none() || way.is_none() {
            peer.outgoing.clear();
            peer.probe = None;
        }
        // The other side may have found the way sooner, and asked already.
        if way.is_none() {
            peer.answer = None;
        }
        if former.is_none() && way.is_some() {
            peer.probe = peer.telemetry.begin_check(now).map(frame_probe);
        }
        peer.stats.switches += u64::from(former.is_some() && way.is_some() && former != way);
        drop(state);
        match (former, way) {
            (None, Some(_)) => self.report(TransportEvent::PeerConnected { peer: to }),
            (Some(_), None) => self.report(TransportEvent::PeerDisconnected { peer: to }),
            _ => {}
        }
        self.report_path(to);
        self.wake_datagrams(way);
        self.wake_bulk(to);
    }

    /// The path of the WebRTC connection to a peer as it is now.
    pub(crate) fn found(&self, to: PeerId, path: Option<Path>) {
        if let Some(peer) = self.lock().peer(to) {
            peer.webrtc_path = path.or(peer.webrtc_path);
        }
        self.report_path(to);
    }

    /// A WebRTC connection to a peer is open, and its association is not worn.
    pub(crate) fn webrtc_opened(&self, to: PeerId) {
        if let Some(peer) = self.lock().peer(to) {
            peer.telemetry.handle_association();
        }
    }

    /// The bulk channel of the WebRTC connection that is open gets this number, and those before it count no more.
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
            // As where there are none: nothing comes over the connection of the former process any more.
            peer.drop_delayed();
            peer.guard.renew(now);
            peer.stats.shut_out = None;
            // Where it comes late, nobody was there before.
            peer.stats.has_left = false;
        }
    }

    /// Has both directions of the way to a peer shown anew.
    pub(crate) fn begin_check(&self, to: PeerId) {
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(peer) = state.peer(to).filter(|peer| peer.way.is_some()) else { return };
        if let Some(probe) = peer.telemetry.begin_check(now) {
            peer.probe = Some(frame_probe(probe));
        }
        let way = peer.way;
        drop(state);
        self.wake_datagrams(way);
    }

    /// Since when a peer is not reached, if it is not.
    pub(crate) fn note_reach(&self, peer: PeerId, lost_at: Option<Timestamp>) {
        if let Some(peer) = self.lock().peer(peer) {
            let PeerStats { attempts, certificates_refused, .. } = peer.stats;
            let lost = |at| Lost { at, attempts, certificates_refused };
            peer.lost =
                lost_at.map(|at| peer.lost.filter(|lost| lost.at == at).unwrap_or(lost(at)));
        }
    }

    /// Why nothing is heard of a peer, as far as it is known here.
    pub(crate) fn loss(&self, peer: PeerId) -> Loss {
        let mut state = self.lock();
        let Some(peer) = state.peer(peer) else { return Loss::Silent };
        match (peer.guard.reason(), peer.lost) {
            (Some(why), _) => Loss::ShutOut(why),
            _ if peer.stats.has_left => Loss::Left,
            (None, Some(_)) if peer.certificate_is_refused() => Loss::CertificateRefused,
            (None, Some(lost)) if peer.stats.attempts > lost.attempts => Loss::IceFailed,
            (None, Some(_)) => Loss::ReconnectionTimeout,
            (None, None) => Loss::Silent,
        }
    }

    /// What the last check of the way to a peer has shown.
    pub(crate) fn proof(&self, peer: PeerId) -> Proof {
        let mut state = self.lock();
        let peer = state.peer(peer);
        peer.map_or(Proof::NotConnected, |peer| match (peer.telemetry.proof(), peer.way) {
            (Proof::Both, _) => Proof::Both,
            (_, None) if peer.certificate_is_refused() => Proof::CertificateRefused,
            (_, None) => Proof::NotConnected,
            (proof, Some(_)) => proof,
        })
    }

    /// What was measured of the way to a peer.
    pub(crate) fn link_report(&self, peer: PeerId) -> LinkReport {
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(peer) = state.peer(peer) else { return LinkReport::default() };
        let waiting = peer.outgoing.front();
        let queue_age = waiting.map(|(given_at, _)| now.since(*given_at)).unwrap_or_default();
        LinkReport { queue_age, ..peer.telemetry.report() }
    }

    /// Sends a number through the WebRTC connection to a peer, to get it back.
    pub(crate) fn probe(&self, to: PeerId, number: u64) {
        if let Some(peer) = self.lock().peer(to) {
            peer.bulk.probe(number);
        }
        self.wake_bulk(to);
    }

    /// Asks a peer for a sign of life through its WebRTC connection.
    pub(crate) fn ask(&self, peer: PeerId) {
        if let Some(peer) = self.lock().peer(peer) {
            peer.bulk.ask();
        }
        self.wake_bulk(peer);
    }

    /// Whether so much was lost on the WebRTC connection to a peer that it is better replaced. What the link conditions lose
    /// has arrived there.
    pub(crate) fn is_worn(&self, peer: PeerId) -> bool {
        let is_worn = |peer: &mut Peer| peer.conditions.is_none() && peer.telemetry.is_worn();
        self.lock().peer(peer).is_some_and(is_worn)
    }

    /// When something came through a channel of the WebRTC connection to a peer last.
    pub(crate) fn webrtc_heard_at(&self, peer: PeerId) -> Option<Timestamp> {
        self.lock().peer(peer)?.webrtc_heard_at
    }

    pub(super) fn wake_datagrams(&self, way: Option<Way>) {
        match way {
            Some(Way::Server) => self.relayed.notify_one(),
            Some(Way::WebRtc) => self.outgoing.notify_one(),
            None => {}
        }
    }

    /// Wakes the tasks of both ways: only they know whether there is something for them.
    pub(super) fn wake_bulk(&self, to: PeerId) {
        if let Some(wakes) = self.wakes.get(to.index()) {
            wakes.bulk.notify_one();
        }
        self.relayed.notify_one();
    }

    /// Counts inputs with the ways that they took.
    pub(crate) fn note_inputs(&self, of: PeerId, inputs: InputsPassed) {
        let mut state = self.lock();
        let Some(peer) = state.peer(of) else { return };
        if let Some(way) = peer.taken_from {
            let counted = &mut peer.counters(way).inputs;
            counted.received += inputs.received;
            counted.duplicate += inputs.duplicate;
            counted.late += inputs.late;
        }
        if let Some(way) = peer.way {
            peer.counters(way).inputs.sent += inputs.sent;
        }
    }

    /// Writes down the path in use, and tells the game of a new one.
    fn report_path(&self, to: PeerId) {
        let mut state = self.lock();
        let Some(peer) = state.peer(to) else { return };
        let path = match peer.way {
            Some(Way::WebRtc) => peer.webrtc_path,
            Some(Way::Server) => Some(Path::Server),
            None => None,
        };
        let is_new = path != peer.stats.path;
        peer.stats.path = path;
        drop(state);
        if let Some(path) = path.filter(|_| is_new) {
            self.report(TransportEvent::PathChosen { peer: to, path });
        }
    }
}

impl Peer {
    /// The probe that is due, or the next datagram that is not too old to be worth sending, numbered now, so that one that is
    /// dropped here is not missed there.
    fn pop_fresh(&mut self, now: Timestamp) -> Option<BytesMut> {
        if let Some(probe) = self.answer.take().or_else(|| self.probe.take()) {
            return Some(probe);
        }
        self.drop_old(now);
        let (_, mut message) = self.outgoing.pop_front()?;
        number(&mut message, || self.telemetry.take_number());
        Some(message)
    }

    /// Whether there is a datagram or a probe to send on this way.
    pub(super) fn has_outgoing(&self, way: Way) -> bool {
        let has_probe = self.answer.is_some() || self.probe.is_some();
        self.way == Some(way) && (has_probe || !self.outgoing.is_empty())
    }

    /// Drops the datagrams that are too old to be worth sending.
    pub(super) fn drop_old(&mut self, now: Timestamp) {
        let is_old =
            |(given_at, _): &(Timestamp, BytesMut)| now.since(*given_at) > OUTGOING_AGE_MAX;
        while self.outgoing.front().is_some_and(is_old) {
            self.outgoing.pop_front();
            self.stats.datagrams_not_sent += 1;
        }
    }

    fn open_bulk(&mut self, way: Way, number: u64) {
        self.bulk.channel_opened(way, number);
        self.notices.channel_opened(way, number);
    }

    fn close_bulk(&mut self, way: Way) {
        self.bulk.channel_closed(way);
        self.notices.channel_closed(way);
    }

    pub(super) fn counters(&mut self, way: Way) -> &mut WayCounters {
        match (way, self.webrtc_path) {
            (Way::Server, _) => &mut self.stats.server_relay,
            (Way::WebRtc, Some(path)) if path.is_relayed() => &mut self.stats.turn,
            (Way::WebRtc, _) => &mut self.stats.direct,
        }
    }
}
