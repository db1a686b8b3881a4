//! What a mailbox holds behind its lock: for each peer what waits in each direction, and what happened.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rollback_core::{PeerId, Timestamp};

use super::arrivals::Arrived;
use super::bulk_pace::{BulkPace, Delay};
use super::guard::Guard;
use super::send_rate::SendRate;
use super::{EVENTS, INCOMING_DATAGRAMS};
use crate::bulk::{BulkLink, Lane, is_message};
use crate::link_conditions::ConditionedLink;
use crate::path::Path;
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
    /// How fast bulk messages go.
    pub(super) bulk_pace: BulkPace,
    /// When the next of them may go, where one waits for that.
    pub(super) bulk_due: Option<Timestamp>,
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
    pub(super) incoming: VecDeque<(Timestamp, Way, Bytes)>,
    /// The way on which the datagram came that the game took last.
    pub(super) taken_from: Option<Way>,
    pub(super) conditions: Option<ConditionedLink<Arrived>>,
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
    /// What round trips were when bulk messages began to go, to whomever.
    pub(super) quiet: Option<Duration>,
    /// When it was told something by the game loop last: what one that comes back is, again and again.
    pub(super) told_at: Option<Timestamp>,
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

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let links = self.peers.iter().filter_map(|peer| peer.conditions.as_ref());
        links.filter_map(ConditionedLink::next_due).min()
    }

    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.next_due().into_iter().chain(self.alarm).chain(self.bulk_due).min()
    }

    /// The next bulk frame for a peer on a way. While a game plays, messages go as fast as that leaves its round trips alone.
    pub(super) fn poll_bulk(&mut self, now: Timestamp, to: PeerId, way: Way) -> Option<BytesMut> {
        let Self { peers, bulk_pace, bulk_due, .. } = self;
        let plays = peers.iter().any(|peer| peer.plays(now));
        let is_active = bulk_pace.is_active(now);
        if is_active && plays {
            let is_least = bulk_pace.is_least(now);
            let since = bulk_pace.since();
            let delays = peers.iter_mut().filter(|peer| peer.plays(now)).filter_map(|peer| {
                // One that came since then is as it was found.
                let found = || peer.telemetry.median_since(Timestamp::ZERO, 1);
                peer.quiet = peer.quiet.or_else(found);
                let peer_now = peer.telemetry.median_since(since.plus(peer.quiet?), SAMPLES_MIN);
                // The rest of it does not come from here.
                peer.quiet = if is_least { peer_now.max(peer.quiet) } else { peer.quiet };
                Some(Delay { quiet: peer.quiet?, now: peer_now })
            });
            bulk_pace.review(now, delays);
        }
        let next_at = if is_active && plays { bulk_pace.next_at(now) } else { now };
        let peer = peers.get_mut(to.index())?;
        let preferred = peer.way.unwrap_or(Way::WebRtc);
        let with_messages = next_at <= now;
        let frame = peer.bulk.poll_frame(way, preferred, with_messages);
        let frame = frame.or_else(|| peer.notices.poll_frame(way, preferred, with_messages));
        if !with_messages {
            *bulk_due = Some(next_at);
        }
        let frame = frame?;
        if is_message(&frame) && Lane::of(&frame) == Lane::Notices {
            peer.told_at = Some(now);
        }
        if !plays || !is_message(&frame) {
            return Some(frame);
        }
        if !is_active {
            bulk_pace.begin(now);
            for peer in peers {
                peer.quiet = peer.telemetry.median_since(Timestamp::ZERO, 1);
            }
        }
        bulk_pace.spend(now, frame.len());
        Some(frame)
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
            taken_from: None,
            conditions: None,
            bulk: BulkLink::new(Lane::Bulk, incarnation),
            notices: BulkLink::new(Lane::Notices, incarnation),
            way: None,
            webrtc_path: None,
            webrtc_heard_at: None,
            telemetry: Telemetry::default(),
            guard,
            send_rate: SendRate::default(),
            quiet: None,
            told_at: None,
            lost: None,
            stats: PeerStats::default(),
        }
    }

    /// Whether an attempt to reach it ended because of a certificate, since it was reached last.
    pub(super) fn certificate_is_refused(&self) -> bool {
        let before = self.lost.map_or(0, |lost| lost.certificates_refused);
        self.stats.certificates_refused > before
    }

    /// Whether datagrams go to it whose delay matters: one that comes back does not play yet, and the line to it may be full.
    fn plays(&self, now: Timestamp) -> bool {
        let comes_back = self.told_at.is_some_and(|at| now.since(at) < COMES_BACK);
        self.way.is_some() && self.send_rate.is_active(now) && !comes_back
    }

    /// Something came on a way.
    pub(super) const fn note_heard(&mut self, now: Timestamp, way: Way) {
        if matches!(way, Way::WebRtc) {
            self.webrtc_heard_at = Some(now);
        }
    }

    /// What the link conditions delay never arrives.
    pub(super) fn drop_delayed(&mut self) {
        if let Some(link) = &mut self.conditions {
            link.clear();
        }
    }

    pub(super) fn admit(&mut self, arrived_at: Timestamp, way: Way, datagram: Bytes) {
        if self.incoming.len() >= INCOMING_DATAGRAMS {
            self.incoming.pop_front();
            self.stats.datagrams_not_taken += 1;
        }
        self.incoming.push_back((arrived_at, way, datagram));
    }
}

/// Round trips that say what a rate does: what is late by chance is late once.
const SAMPLES_MIN: usize = 2;

/// One that comes back is told something several times a second.
const COMES_BACK: Duration = Duration::from_secs(1);
