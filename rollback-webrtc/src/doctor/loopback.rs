//! Two ends of a WebRTC connection in this process, over one way only: what two members would have.

use std::sync::Arc;
use std::time::Duration;

use rollback_core::{PeerId, Timestamp};
use rollback_signaling::AttemptId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::finding::Trip;
use crate::clock::Clock;
use crate::datagram_transport::DATAGRAM_BYTES_MAX;
use crate::ice::{PathPolicy, TurnTrouble};
use crate::ice_servers::IceServers;
use crate::mailbox::Mailbox;
use crate::own_addresses::OwnAddresses;
use crate::pair::{ConnectionEvent, Remote};
use crate::peer_connection::{AttemptEvent, Connection, ConnectionSetup, Opening};
use crate::route::Way;
use crate::stats::TransportEvent;

/// Which way to try.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) clock: Clock,
    pub(super) servers: Arc<IceServers>,
    pub(super) policy: PathPolicy,
    pub(super) bind: OwnAddresses,
}

/// Why there is no connection.
pub(super) enum NoLoopback {
    /// A TURN server is the reason.
    Turn(TurnTrouble),
    /// No end found an address that it could be reached at.
    NoAddress,
    /// They have addresses, and nothing comes through.
    NothingComes,
    /// The ends of a connection cannot be told apart.
    Peers,
}

impl Attempt {
    /// Connects, and sends some datagrams from one end to the other. By rule R4 an attempt that nothing became of says
    /// little, so there is a second one, unless it is known why.
    pub(super) async fn run(&self) -> Result<Trip, NoLoopback> {
        match self.once().await {
            Err(NoLoopback::NothingComes) => self.once().await,
            other => other,
        }
    }

    async fn once(&self) -> Result<Trip, NoLoopback> {
        let (Some(first), Some(second)) = (PeerId::new(0), PeerId::new(1)) else {
            return Err(NoLoopback::Peers);
        };
        let (near, far) = (self.setup(), self.setup());
        let mut ends = Ends::new((first, second), (Arc::clone(&near), Arc::clone(&far)));
        let _waking = [near.mailbox.start_waking(), far.mailbox.start_waking()];
        let opened = timeout(OPEN_TIMEOUT, ends.open()).await.unwrap_or(false);
        let trip = match opened {
            true => Some(send(&near.mailbox, &far.mailbox, (first, second), self.clock).await),
            false => None,
        };
        let candidates = ends.candidates;
        // What is wrong with a TURN server may be known at the end only.
        ends.close().await;
        match trip {
            Some(trip) => Ok(trip),
            None => Err(match trouble(&[&near.mailbox, &far.mailbox]) {
                Some(trouble) => NoLoopback::Turn(trouble),
                None if candidates == 0 => NoLoopback::NoAddress,
                None => NoLoopback::NothingComes,
            }),
        }
    }

    fn setup(&self) -> Arc<ConnectionSetup> {
        Arc::new(ConnectionSetup {
            clock: self.clock,
            mailbox: Arc::new(Mailbox::new(self.clock, 0)),
            ice_servers: Arc::clone(&self.servers),
            path_policy: self.policy,
            interrupted_after: INTERRUPTED_AFTER,
            told_after: INTERRUPTED_AFTER,
            bind: self.bind.clone(),
        })
    }
}

/// Both ends while they connect. What each says to the other takes no network.
struct Ends {
    peers: (PeerId, PeerId),
    far: Arc<ConnectionSetup>,
    /// To the near end, and to the far one.
    remotes: (mpsc::Sender<Remote>, mpsc::Sender<Remote>),
    far_remote: Option<mpsc::Receiver<Remote>>,
    told: mpsc::Sender<AttemptEvent>,
    events: mpsc::Receiver<AttemptEvent>,
    tasks: JoinSet<()>,
    candidates: usize,
}

impl Ends {
    fn new(
        peers: (PeerId, PeerId),
        (near, far): (Arc<ConnectionSetup>, Arc<ConnectionSetup>),
    ) -> Self {
        let (told, events) = mpsc::channel(QUEUE);
        let (to_near, near_remote) = mpsc::channel(QUEUE);
        let (to_far, far_remote) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        tasks.spawn(Connection::run(
            peers.1,
            ATTEMPT,
            Opening::Offer,
            near,
            near_remote,
            told.clone(),
        ));
        let (remotes, far_remote) = ((to_near, to_far), Some(far_remote));
        Self { peers, far, remotes, far_remote, told, events, tasks, candidates: 0 }
    }

    /// `false` when an end is over before both are open.
    async fn open(&mut self) -> bool {
        let mut open = 0;
        loop {
            let event = tokio::select! {
                Some(event) = self.events.recv() => event,
                _ = self.tasks.join_next() => return false,
            };
            let is_near = event.peer == self.peers.1;
            match event.event {
                ConnectionEvent::Description(offer) if is_near => {
                    let Some(remote) = self.far_remote.take() else { continue };
                    let (far, told) = (Arc::clone(&self.far), self.told.clone());
                    let end = Connection::run(
                        self.peers.0,
                        ATTEMPT,
                        Opening::Answer(offer),
                        far,
                        remote,
                        told,
                    );
                    self.tasks.spawn(end);
                }
                ConnectionEvent::Description(answer) => {
                    let _ = self.remotes.0.try_send(Remote::Answer(answer));
                }
                ConnectionEvent::Candidate(candidate) => {
                    self.candidates += 1;
                    let other = if is_near { &self.remotes.1 } else { &self.remotes.0 };
                    let _ = other.try_send(Remote::Candidate(candidate));
                }
                ConnectionEvent::Opened => open += 1,
                _ => {}
            }
            if open == 2 {
                return true;
            }
        }
    }

    async fn close(self) {
        let Self { remotes, far_remote, mut tasks, mut events, .. } = self;
        drop((remotes, far_remote));
        let over = async { while tasks.join_next().await.is_some() {} };
        // Ends that have something to say yet must not wait for somebody to hear it.
        events.close();
        let _ = timeout(CLOSE_TIMEOUT, over).await;
    }
}

/// What is wrong with a TURN server. One that cannot be reached does not answer either, which says less.
fn trouble(mailboxes: &[&Mailbox]) -> Option<TurnTrouble> {
    let events = mailboxes.iter().flat_map(|mailbox| std::iter::from_fn(|| mailbox.poll_event()));
    let troubles = events.filter_map(|event| match event {
        TransportEvent::TurnFailed { trouble, .. } => Some(trouble),
        _ => None,
    });
    troubles.min_by_key(|trouble| *trouble == TurnTrouble::Silent)
}

/// Sends datagrams from the near end to the far one.
async fn send(
    near: &Mailbox,
    far: &Mailbox,
    (first, second): (PeerId, PeerId),
    clock: Clock,
) -> Trip {
    near.choose(second, Some(Way::WebRtc));
    far.choose(first, Some(Way::WebRtc));
    let mut every = interval(DATAGRAM_INTERVAL);
    let mut sent_at: Vec<Timestamp> = Vec::new();
    for number in 0..DATAGRAMS {
        every.tick().await;
        sent_at.push(clock.now());
        let _ = near.try_send(second, &[number; DATAGRAM_BYTES]);
    }
    sleep(LATEST).await;
    let mut delays = Vec::new();
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    while let Some(received) = far.try_receive(&mut buffer) {
        let sent = buffer.first().and_then(|number| sent_at.get(usize::from(*number)));
        delays.extend(sent.map(|sent| received.arrived_at.since(*sent)));
    }
    Trip::of(DATAGRAMS.into(), delays)
}

impl Trip {
    /// What became of so many datagrams, of which these came after so long.
    pub(super) fn of(sent: u32, mut delays: Vec<Duration>) -> Self {
        delays.sort_unstable();
        Self {
            sent,
            received: u32::try_from(delays.len()).unwrap_or(u32::MAX).min(sent),
            median: delays.get(delays.len() / 2).copied(),
            slowest: delays.last().copied(),
        }
    }
}

const ATTEMPT: AttemptId = AttemptId::new(1);

/// How long an attempt may take (rule R4).
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the ends may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

const INTERRUPTED_AFTER: Duration = Duration::from_secs(2);

/// Candidates and events that may wait.
const QUEUE: usize = 256;

/// What is sent to try a way: a second of a game at 50 frames a second.
pub(super) const DATAGRAMS: u8 = 50;
pub(super) const DATAGRAM_BYTES: usize = 64;
pub(super) const DATAGRAM_INTERVAL: Duration = Duration::from_millis(20);

/// How long after the last one was sent datagrams are waited for.
pub(super) const LATEST: Duration = Duration::from_millis(500);
