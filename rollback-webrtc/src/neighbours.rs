//! Connections to some others: what their pairs decide is done here. Does not know the server, nor who the others are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rollback_core::{PeerId, Timestamp};
use rollback_signaling::{AttemptId, SignalPayload};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;

use crate::pair::{Action, ConnectionEvent, Pair, PairReport, Remote};
use crate::peer_connection::{AttemptEvent, Connection, ConnectionSetup, Opening};
use crate::reach::{Reach, ReachEvent};
use crate::route::{Route, RouteAction};
use crate::stats::TransportEvent;

/// All connections of one kind: to the other members, or to those who watch, each under a number of its own.
pub(crate) struct Neighbours {
    pub(crate) setup: Arc<ConnectionSetup>,
    pub(crate) peers: BTreeMap<PeerId, Neighbour>,
    events: mpsc::Receiver<AttemptEvent>,
    /// Cloned for each connection.
    events_sender: mpsc::Sender<AttemptEvent>,
    connections: JoinSet<()>,
    attempts: HashMap<Id, (PeerId, AttemptId)>,
    /// With whom there is the relay of the server, also of those who are no neighbours yet.
    relayed: BTreeSet<PeerId>,
}

/// One of them.
pub(crate) struct Neighbour {
    pub(crate) pair: Pair,
    route: Route,
    reach: Reach,
    /// To the connection that is open or opens, and to its successor; dropping one closes the connection.
    remotes: Vec<(AttemptId, mpsc::Sender<Remote>)>,
    /// To the one whose place was taken last.
    retiring: Option<mpsc::Sender<Remote>>,
}

/// What a connection, or its task, did.
pub(crate) enum Happened {
    Said(AttemptEvent),
    Ended(Id),
    /// A peer sent what no honest one sends.
    ShutOut(PeerId),
}

impl Neighbours {
    pub(crate) fn new(setup: ConnectionSetup) -> Self {
        let (events_sender, events) = mpsc::channel(ATTEMPT_EVENTS);
        Self {
            setup: Arc::new(setup),
            peers: BTreeMap::new(),
            events,
            events_sender,
            connections: JoinSet::new(),
            attempts: HashMap::new(),
            relayed: BTreeSet::new(),
        }
    }

    pub(crate) fn insert(&mut self, now: Timestamp, peer: PeerId, pair: Pair) {
        let mut route = Route::new(now);
        let reach = Reach::new(self.setup.told_after);
        if self.relayed.contains(&peer) {
            route.handle_server(now, true);
        }
        self.peers
            .insert(peer, Neighbour { pair, route, reach, remotes: Vec::new(), retiring: None });
    }

    pub(crate) fn pairs(&mut self) -> impl Iterator<Item = &mut Pair> {
        self.peers.values_mut().map(|neighbour| &mut neighbour.pair)
    }

    pub(crate) fn with_pair(&mut self, slot: u8, change: impl FnOnce(&mut Pair)) {
        let neighbour = PeerId::new(slot).and_then(|peer| self.peers.get_mut(&peer));
        if let Some(neighbour) = neighbour {
            change(&mut neighbour.pair);
        }
    }

    pub(crate) fn with_route(&mut self, peer: PeerId, change: impl FnOnce(&mut Route)) {
        if let Some(neighbour) = self.peers.get_mut(&peer) {
            change(&mut neighbour.route);
        }
    }

    /// Whether both sides have a relay socket.
    pub(crate) fn handle_server(&mut self, now: Timestamp, peer: PeerId, is_there: bool) {
        match is_there {
            true => self.relayed.insert(peer),
            false => self.relayed.remove(&peer),
        };
        self.with_route(peer, |route| route.handle_server(now, is_there));
    }

    /// The own relay socket is gone.
    pub(crate) fn handle_server_lost(&mut self, now: Timestamp) {
        for peer in std::mem::take(&mut self.relayed) {
            self.with_route(peer, |route| route.handle_server(now, false));
        }
    }

    /// Lets pairs and routes do what is due.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        for neighbour in self.peers.values_mut() {
            neighbour.pair.handle_timeout(now);
            neighbour.route.handle_timeout(now);
        }
    }

    /// Waits for what a connection does next.
    pub(crate) async fn next(&mut self) -> Happened {
        tokio::select! {
            Some(event) = self.events.recv() => Happened::Said(event),
            Some(ended) = self.connections.join_next_with_id() => {
                Happened::Ended(ended.map_or_else(|error| error.id(), |(task, ())| task))
            }
            peer = self.setup.mailbox.next_offender() => Happened::ShutOut(peer),
        }
    }

    pub(crate) fn handle(&mut self, now: Timestamp, happened: Happened) {
        match happened {
            Happened::ShutOut(peer) => self.with_pair(peer.slot(), Pair::handle_shut_out),
            Happened::Said(event) => {
                self.handle_connection(now, event.peer, event.attempt, event.event);
            }
            // A connection's task ended, well or with a panic.
            Happened::Ended(task) => {
                if let Some((peer, attempt)) = self.attempts.remove(&task) {
                    self.handle_connection(now, peer, attempt, ConnectionEvent::Ended);
                }
            }
        }
    }

    pub(crate) fn handle_connection(
        &mut self,
        now: Timestamp,
        peer: PeerId,
        attempt: AttemptId,
        event: ConnectionEvent,
    ) {
        self.with_pair(peer.slot(), |pair| pair.handle_connection(now, attempt, event));
    }

    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        let timeouts = |peer: &Neighbour| {
            [peer.pair.next_timeout(), peer.route.next_timeout(), peer.reach.next_timeout()]
        };
        self.peers.values().flat_map(timeouts).flatten().min()
    }

    /// Does what pairs and routes have decided; `signal` sends something to one of the others, and `hear` writes down
    /// whether it is heard over WebRTC.
    pub(crate) fn act(
        &mut self,
        now: Timestamp,
        mut signal: impl FnMut(PeerId, SignalPayload),
        mut hear: impl FnMut(PeerId, bool),
    ) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            while let Some(action) =
                self.peers.get_mut(&peer).and_then(|neighbour| neighbour.pair.poll_action())
            {
                self.perform(now, peer, action, &mut signal);
            }
            while let Some(action) =
                self.peers.get_mut(&peer).and_then(|neighbour| neighbour.route.poll_action())
            {
                match action {
                    RouteAction::Choose(way) => self.setup.mailbox.choose(peer, way),
                    RouteAction::Probe(number) => self.setup.mailbox.probe(peer, number),
                    RouteAction::Hear(is_heard) => hear(peer, is_heard),
                }
            }
            if let Some(neighbour) = self.peers.get_mut(&peer) {
                let is_over = neighbour.route.is_over();
                let told = neighbour.reach.update(now, is_over || neighbour.route.works());
                self.setup.mailbox.note_reach(peer, neighbour.reach.lost_at());
                if let Some(told) = told.filter(|_| !is_over) {
                    self.setup.mailbox.report(match told {
                        ReachEvent::Lost => TransportEvent::PeerReconnecting {
                            peer,
                            why: self.setup.mailbox.loss(peer),
                        },
                        ReachEvent::Regained(after) => {
                            TransportEvent::PeerReconnected { peer, after }
                        }
                    });
                }
                let unused = neighbour.pair.take_unused();
                if unused.stale > 0 {
                    self.setup.mailbox.note_unused(peer, unused);
                }
            }
        }
    }

    fn perform(
        &mut self,
        now: Timestamp,
        peer: PeerId,
        action: Action,
        signal: &mut impl FnMut(PeerId, SignalPayload),
    ) {
        match action {
            Action::Open { attempt, offer } => self.open(peer, attempt, Opening::of(offer)),
            Action::TryDirect(attempt) => self.open(peer, attempt, Opening::DirectOffer),
            Action::Feed(attempt, remote) => {
                let Some(neighbour) = self.peers.get(&peer) else { return };
                let sender = neighbour.remotes.iter().find(|(of, _)| *of == attempt);
                // More than a connection takes in time: without the rest it connects, or its deadline comes.
                if sender.is_some_and(|(_, sender)| sender.try_send(remote).is_err()) {
                    self.setup.mailbox.update(peer, |stats| stats.stale_signals += 1);
                }
            }
            Action::Close(attempt) => {
                let Some(neighbour) = self.peers.get_mut(&peer) else { return };
                neighbour.remotes.retain(|(of, _)| *of != attempt);
                if neighbour.remotes.is_empty() {
                    self.setup.mailbox.webrtc_closed(peer);
                }
            }
            Action::Retire(attempt) => {
                let Some(neighbour) = self.peers.get_mut(&peer) else { return };
                let retiring = neighbour.remotes.extract_if(.., |(of, _)| *of == attempt).next();
                neighbour.retiring = retiring.map(|(_, sender)| sender);
                if let Some(sender) = &neighbour.retiring {
                    // One that is too busy to hear it ends with the next.
                    let _ = sender.try_send(Remote::Retire);
                }
            }
            Action::Signal(payload) => signal(peer, payload),
            Action::Report(report) => self.note(now, peer, report),
        }
    }

    fn note(&mut self, now: Timestamp, peer: PeerId, report: PairReport) {
        self.with_route(peer, |route| match report {
            PairReport::Connected => route.handle_opened(now),
            PairReport::Interrupted => route.handle_silence(now),
            PairReport::Resumed => route.handle_resumed(now),
            PairReport::Echoed(number) => route.handle_echo(now, number),
            PairReport::Disconnected => route.handle_closed(now),
            PairReport::Renewed => route.handle_renewed(now),
            PairReport::ShutOut | PairReport::Left => route.handle_left(now),
        });
        if matches!(report, PairReport::Renewed | PairReport::ShutOut | PairReport::Left)
            && let Some(neighbour) = self.peers.get_mut(&peer)
        {
            neighbour.retiring = None;
        }
        if report == PairReport::Renewed {
            self.setup.mailbox.renewed(peer);
        }
        if report == PairReport::Left {
            self.setup.mailbox.choose(peer, None);
            self.setup.mailbox.update(peer, |stats| stats.has_left = true);
            self.setup.mailbox.report(TransportEvent::PeerLeft { peer });
        }
    }

    fn open(&mut self, peer: PeerId, attempt: AttemptId, opening: Opening) {
        let Some(neighbour) = self.peers.get_mut(&peer) else { return };
        let (sender, remote) = mpsc::channel(REMOTE_SIGNALS);
        neighbour.remotes.push((attempt, sender));
        let setup = Arc::clone(&self.setup);
        let events = self.events_sender.clone();
        // A task of its own, because a hostile description may make the WebRTC stack panic.
        let task =
            self.connections.spawn(Connection::run(peer, attempt, opening, setup, remote, events));
        // A new process of the peer counts anew, and the end of one of the former's is not the end of this.
        self.attempts.retain(|_, former| *former != (peer, attempt));
        self.attempts.insert(task.id(), (peer, attempt));
    }

    pub(crate) async fn close(&mut self) {
        self.peers.clear();
        let all_ended = async {
            loop {
                tokio::select! {
                    ended = self.connections.join_next() => if ended.is_none() { return },
                    // Nobody wants them now, but a connection waits until they are taken.
                    Some(_) = self.events.recv() => {}
                }
            }
        };
        if timeout(CLOSE_MAX, all_ended).await.is_err() {
            tracing::debug!("a connection did not close in time");
            self.connections.abort_all();
        }
    }
}

/// Events of all connections that may wait for the mesh; a connection waits when they are more.
const ATTEMPT_EVENTS: usize = 256;

/// Signals that may wait for one connection: its answer and some sixty candidates.
const REMOTE_SIGNALS: usize = 64;

/// How long closing all connections may take; it usually takes milliseconds.
const CLOSE_MAX: Duration = Duration::from_secs(1);
