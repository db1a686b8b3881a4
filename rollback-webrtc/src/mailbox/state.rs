//! What a mailbox holds behind its lock: for each peer what waits in each direction, and what happened.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use rollback_core::{PeerId, Timestamp};

use super::guard::Guard;
use super::send_rate::SendRate;
use super::{EVENTS, INCOMING_DATAGRAMS};
use crate::bulk::{BulkLink, Lane};
use crate::ice::Path;
use crate::link_conditions::ConditionedLink;
use crate::route::Way;
use crate::stats::{PeerStats, TransportEvent};
use crate::telemetry::Telemetry;

#[derive(Debug)]
pub(super) struct State {
    pub(super) peers: Vec<Peer>,
    pub(super) events: VecDeque<TransportEvent>,
    pub(super) events_dropped: u64,
    /// Whether an event or a bulk message came since somebody last waited.
    pub(super) has_news: bool,
    /// When the first of the waiting tasks gives up.
    pub(super) alarm: Option<Timestamp>,
    /// Whether another process took this member's slot.
    pub(super) is_replaced: bool,
    pub(super) is_closed: bool,
    /// Whose turn it is on the relay.
    pub(super) relay_turn: u8,
    /// Those that were shut out, for the mesh.
    pub(super) offenders: VecDeque<PeerId>,
}

#[derive(Debug)]
pub(super) struct Peer {
    /// With the time at which each was given.
    pub(super) outgoing: VecDeque<(Timestamp, BytesMut)>,
    /// The probe to send before them.
    pub(super) probe: Option<BytesMut>,
    /// The answer to one of the peer's, which goes before that.
    pub(super) answer: Option<BytesMut>,
    pub(super) incoming: VecDeque<(Timestamp, Bytes)>,
    pub(super) conditions: Option<ConditionedLink>,
    pub(super) bulk: BulkLink,
    pub(super) notices: BulkLink,
    /// The way that datagrams take, if there is one.
    pub(super) way: Option<Way>,
    /// What is known of the WebRTC connection, whether it is in use or not.
    pub(super) webrtc_path: Option<Path>,
    /// When something came through a channel of the WebRTC connection last.
    pub(super) webrtc_heard_at: Option<Timestamp>,
    pub(super) telemetry: Telemetry,
    pub(super) guard: Guard,
    pub(super) send_rate: SendRate,
    /// Of one that is not reached over any way.
    pub(super) lost: Option<Lost>,
    pub(super) stats: PeerStats,
}

/// Since when a peer is not reached, and what had been counted of it by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    pub(super) at: Timestamp,
    pub(super) attempts: u64,
    pub(super) certificates_refused: u64,
}

impl State {
    pub(super) fn peer(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(peer.index())
    }

    pub(super) fn push_event(&mut self, event: TransportEvent) {
        if self.events.len() >= EVENTS {
            self.events.pop_front();
            self.events_dropped += 1;
        }
        self.events.push_back(event);
        self.has_news = true;
    }

    pub(super) fn admit_due(&mut self, now: Timestamp) {
        for peer in &mut self.peers {
            while let Some((due, datagram)) =
                peer.conditions.as_mut().and_then(|link| link.take_due(now))
            {
                peer.admit(due, datagram);
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let links = self.peers.iter().filter_map(|peer| peer.conditions.as_ref());
        links.filter_map(ConditionedLink::next_due).min()
    }

    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.next_due().into_iter().chain(self.alarm).min()
    }

    pub(super) fn has_datagram(&self) -> bool {
        self.peers.iter().any(|peer| !peer.incoming.is_empty())
    }
}

impl Peer {
    pub(super) fn new(incarnation: u64, guard: Guard) -> Self {
        Self {
            outgoing: VecDeque::new(),
            probe: None,
            answer: None,
            incoming: VecDeque::new(),
            conditions: None,
            bulk: BulkLink::new(Lane::Bulk, incarnation),
            notices: BulkLink::new(Lane::Notices, incarnation),
            way: None,
            webrtc_path: None,
            webrtc_heard_at: None,
            telemetry: Telemetry::default(),
            guard,
            send_rate: SendRate::default(),
            lost: None,
            stats: PeerStats::default(),
        }
    }

    /// Whether an attempt to reach it ended because of a certificate, since it was reached last.
    pub(super) fn certificate_is_refused(&self) -> bool {
        let before = self.lost.map_or(0, |lost| lost.certificates_refused);
        self.stats.certificates_refused > before
    }

    /// Something came on a way.
    pub(super) const fn note_heard(&mut self, now: Timestamp, way: Way) {
        if matches!(way, Way::WebRtc) {
            self.webrtc_heard_at = Some(now);
        }
    }

    pub(super) fn admit(&mut self, arrived_at: Timestamp, datagram: Bytes) {
        if self.incoming.len() >= INCOMING_DATAGRAMS {
            self.incoming.pop_front();
            self.stats.datagrams_not_taken += 1;
        }
        self.incoming.push_back((arrived_at, datagram));
    }
}
