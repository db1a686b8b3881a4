//! One WebRTC connection to one peer. The only folder that names the crates `webrtc` and `rtc`, and the home of the rules
//! that make their version 0.21.1 work: R1, R5 in `channels`, R2 in `flush_runtime`, R3 in `open_link`; R4 is in `pair`.

mod certificate_watch;
mod channels;
#[cfg(test)]
mod chromium;
mod ending;
mod flush_runtime;
mod open_link;
mod opening;
mod silence_watch;
mod troubles;
mod turn_watch;
mod watched_socket;

use std::sync::Arc;
use std::time::Duration;

use rollback_core::{PeerId, Timestamp};
use rollback_signaling::AttemptId;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use webrtc::data_channel::DataChannel;
use webrtc::error::Error;
use webrtc::peer_connection::{
    RTCIceCandidate, RTCIceCandidateInit, RTCIceCandidateType, RTCPeerConnectionState,
    RTCSessionDescription,
};

use self::channels::{carry_bulk, datagram_channel, drain, receive_datagrams, send_datagrams};
use self::open_link::{OpenLink, without_base};
pub(crate) use self::opening::Opening;
use self::silence_watch::SilenceWatch;
use self::troubles::{TURN_TROUBLES, report_turn};
use crate::clock::Clock;
use crate::ice::{PathPolicy, TurnTrouble};
use crate::ice_servers::IceServers;
use crate::mailbox::Mailbox;
use crate::own_addresses::OwnAddresses;
use crate::pair::{ConnectionEvent, Remote};
use crate::path::{CandidateKind, Path, PathEnd};
use crate::stats::CertificateOwner;

/// What all connections of a mesh have in common.
#[derive(Debug)]
pub(crate) struct ConnectionSetup {
    pub(crate) clock: Clock,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) ice_servers: Arc<IceServers>,
    pub(crate) path_policy: PathPolicy,
    /// How long nothing may come until a connection counts as interrupted.
    pub(crate) interrupted_after: Duration,
    /// How long a peer must not be reached until the application is told.
    pub(crate) told_after: Duration,
    /// What it binds.
    pub(crate) bind: OwnAddresses,
}

/// An event of one attempt to connect to one peer.
#[derive(Debug)]
pub(crate) struct AttemptEvent {
    pub(crate) peer: PeerId,
    pub(crate) attempt: AttemptId,
    pub(crate) event: ConnectionEvent,
}

/// It passes datagrams and bulk messages between the peer and the mailbox, and lives as long as [`run`](Self::run).
pub(crate) struct Connection {
    peer: PeerId,
    attempt: AttemptId,
    setup: Arc<ConnectionSetup>,
    events: mpsc::Sender<AttemptEvent>,
    link: OpenLink,
    callbacks: mpsc::Receiver<Callback>,
    turn_troubles: mpsc::Receiver<TurnTrouble>,
    /// Those that were reported.
    known_troubles: Vec<TurnTrouble>,
    /// Whether a TURN server will stop relaying.
    relay_ends: bool,
    /// Whose certificate is refused.
    refusals: mpsc::Receiver<CertificateOwner>,
    channels: JoinSet<()>,
    /// Of the task that sends datagrams.
    sending: Option<AbortHandle>,
    /// Told the tasks of the channels once all of them are open.
    is_open: watch::Sender<bool>,
    opened: mpsc::Sender<Opened>,
    openings: mpsc::Receiver<Opened>,
    progress: Progress,
    /// Whether a certificate was refused.
    is_refused: bool,
    /// Whether ICE says that nothing comes.
    path_is_silent: bool,
    /// For how many more looks a direct one must be well beside a relayed one before it is used.
    trial: Option<u32>,
    /// Once the connection is open.
    silence: Option<SilenceWatch>,
    bulk: Option<Arc<dyn DataChannel>>,
    /// Its bytes that were not acknowledged when it was looked last, and when their number fell.
    bulk_outstanding: usize,
    bulk_progressed_at: Option<Timestamp>,
}

/// What there is of the three channels; all three make the connection open.
#[derive(Debug, Default)]
struct Progress {
    own_datagrams: bool,
    their_datagrams: bool,
    bulk: bool,
    bulk_exists: bool,
    channels_accepted: usize,
    is_reported: bool,
}

impl Progress {
    const fn is_complete(&self) -> bool {
        self.own_datagrams && self.their_datagrams && self.bulk
    }
}

#[derive(Debug, Clone, Copy)]
enum Opened {
    OwnDatagrams,
    Bulk,
    /// Not a channel, but a probe that came back through one.
    Echo(u64),
}

/// What WebRTC tells, on its own task.
enum Callback {
    Candidate(String),
    State(RTCPeerConnectionState),
    Channel(Arc<dyn DataChannel>),
}

impl Connection {
    /// Builds a connection with the channels that this side creates.
    async fn build(
        peer: PeerId,
        attempt: AttemptId,
        opening: &Opening,
        setup: Arc<ConnectionSetup>,
        events: mpsc::Sender<AttemptEvent>,
    ) -> Result<Self, Error> {
        let (heard, callbacks) = mpsc::channel(CALLBACKS);
        let (opened, openings) = mpsc::channel(CHANNELS_MAX);
        let (troubles, turn_troubles) = mpsc::channel(TURN_TROUBLES);
        let (refused, refusals) = mpsc::channel(1);
        // On the heap while it lasts: it takes 20 KB, which the task would keep as long as it lives.
        let link = Box::pin(OpenLink::build(&setup, opening.is_direct(), heard, troubles, refused))
            .await?;
        let mut connection = Self {
            peer,
            attempt,
            setup,
            events,
            link,
            callbacks,
            turn_troubles,
            known_troubles: Vec::new(),
            relay_ends: false,
            refusals,
            channels: JoinSet::new(),
            sending: None,
            is_open: watch::Sender::new(false),
            opened,
            openings,
            progress: Progress::default(),
            is_refused: false,
            path_is_silent: false,
            trial: opening.is_direct().then_some(TRIAL_TICKS),
            silence: None,
            bulk: None,
            bulk_outstanding: 0,
            bulk_progressed_at: None,
        };
        let datagrams =
            connection.link.pc.create_data_channel(DATAGRAMS, Some(datagram_channel())).await?;
        let sending = connection.channels.spawn(send_datagrams(
            datagrams,
            peer,
            Arc::clone(&connection.setup.mailbox),
            connection.opened.clone(),
            connection.is_open.subscribe(),
        ));
        connection.sending = Some(sending);
        if opening.is_offer() {
            // Reliable and ordered, which is also what the accepting side sends by default, so that
            // one channel does for both directions.
            let bulk = connection.link.pc.create_data_channel(BULK, None).await?;
            connection.carry_bulk(bulk);
        }
        Ok(connection)
    }

    /// Runs a connection until it ends by itself or `remote` is closed.
    pub(crate) async fn run(
        peer: PeerId,
        attempt: AttemptId,
        opening: Opening,
        setup: Arc<ConnectionSetup>,
        remote: mpsc::Receiver<Remote>,
        events: mpsc::Sender<AttemptEvent>,
    ) {
        let mailbox = Arc::clone(&setup.mailbox);
        let is_hopeless =
            setup.path_policy == PathPolicy::RelayOnly && !setup.ice_servers.has_relay();
        if is_hopeless {
            report_turn(&mailbox, peer, TurnTrouble::Missing);
        }
        // The peer would learn this member's address.
        if opening.is_direct() && setup.path_policy == PathPolicy::RelayOnly {
            return;
        }
        match Self::build(peer, attempt, &opening, setup, events).await {
            Ok(mut connection) => {
                if let Err(error) = connection.serve(opening, remote).await {
                    tracing::debug!(?peer, ?attempt, %error, "the connection ended");
                }
                connection.close().await;
            }
            Err(error) => {
                tracing::warn!(?peer, ?attempt, %error, "a connection could not be built");
                mailbox.update(peer, |stats| stats.attempts += 1);
            }
        }
    }

    async fn serve(
        &mut self,
        opening: Opening,
        mut remote: mpsc::Receiver<Remote>,
    ) -> Result<(), Error> {
        self.setup.mailbox.update(self.peer, |stats| stats.attempts += 1);
        let marks_direct = matches!(opening, Opening::DirectOffer);
        let description = self.describe(opening.into_offer()).await?;
        let description = if marks_direct { opening::marked(&description) } else { description };
        self.tell(ConnectionEvent::Description(description)).await;
        let mut measure = interval(MEASURE_INTERVAL);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                said = remote.recv() => match said {
                    Some(Remote::Restart) => self.restart(None).await,
                    Some(Remote::Offer(offer)) => self.restart(Some(offer)).await,
                    Some(Remote::Retire) => {
                        self.retire(remote).await;
                        return Ok(());
                    }
                    Some(remote) => self.hear(remote).await?,
                    None => return Ok(()),
                },
                Some(callback) = self.callbacks.recv() => {
                    if !self.handle_callback(callback).await {
                        return Ok(());
                    }
                }
                Some(trouble) = self.turn_troubles.recv() => self.report_turn(trouble),
                Some(whose) = self.refusals.recv(), if !self.is_refused => {
                    self.report_refusal(whose);
                    // The handshake stands still now. Where the peer refuses, it is for the peer to end it.
                    if whose == CertificateOwner::Peer {
                        return Ok(());
                    }
                }
                Some(opened) = self.openings.recv() => self.note_opened(opened).await,
                // A channel never ends while its connection lives, unless the peer closes it.
                Some(_) = self.channels.join_next() => return Ok(()),
                _ = measure.tick(), if self.progress.is_complete() => if !self.look().await {
                    return Ok(());
                }
            }
        }
    }

    /// What is looked at twice a second; `false` when the connection is over.
    async fn look(&mut self) -> bool {
        if !self.progress.is_reported {
            self.trial = self.trial.map(|looks| looks.saturating_sub(1));
            self.report_when_open().await;
            return true;
        }
        self.measure().await;
        self.watch_silence().await;
        if self.setup.mailbox.is_worn(self.peer) {
            self.tell(ConnectionEvent::Worn).await;
        }
        if self.setup.path_policy == PathPolicy::All && self.is_relayed().await {
            self.tell(ConnectionEvent::Relayed).await;
        }
        !(self.relay_ends && self.is_better_anew().await)
    }

    /// Makes and sets the own description: an offer, or the answer to the peer's.
    async fn describe(&self, offer: Option<String>) -> Result<String, Error> {
        let pc = &self.link.pc;
        let description = match offer {
            None => pc.create_offer(None).await?,
            Some(offer) => {
                pc.set_remote_description(RTCSessionDescription::offer(offer)?).await?;
                pc.create_answer(None).await?
            }
        };
        let sdp = without_base(&description.sdp);
        pc.set_local_description(description).await?;
        Ok(sdp)
    }

    /// Lets ICE look for another path, by an own offer or as the peer's asks. What goes wrong is no end: the connection
    /// may recover, and its deadline comes.
    async fn restart(&self, offer: Option<String>) {
        let description = async {
            if offer.is_none() {
                self.link.pc.restart_ice().await?;
            }
            self.describe(offer).await
        };
        match description.await {
            Ok(description) => self.tell(ConnectionEvent::Description(description)).await,
            Err(error) => tracing::debug!(peer = ?self.peer, %error, "ICE is not restarted"),
        }
    }

    async fn hear(&self, remote: Remote) -> Result<(), Error> {
        let pc = &self.link.pc;
        match remote {
            Remote::Answer(sdp) => {
                pc.set_remote_description(RTCSessionDescription::answer(sdp)?).await
            }
            // These are no words of the peer about an attempt that opens.
            Remote::Offer(_) | Remote::Restart | Remote::Retire => Ok(()),
            Remote::Candidate(json) => {
                let Ok(candidate) = serde_json::from_str::<RTCIceCandidateInit>(&json) else {
                    self.setup.mailbox.note_violation(self.peer);
                    return Ok(());
                };
                // One that does not fit is no reason to end the attempt, and no offence: on a bad way those of several
                // restarts arrive at once, of which the last one counts.
                if pc.add_ice_candidate(candidate).await.is_err() {
                    self.setup.mailbox.update(self.peer, |stats| stats.stale_signals += 1);
                }
                Ok(())
            }
        }
    }

    /// `false` when the connection is over.
    async fn handle_callback(&mut self, callback: Callback) -> bool {
        match callback {
            Callback::Candidate(json) => self.tell(ConnectionEvent::Candidate(json)).await,
            Callback::State(RTCPeerConnectionState::Connected) => {
                self.path_is_silent = false;
                if let Some(silence) = &mut self.silence {
                    silence.handle_path(self.setup.clock.now());
                }
                self.tell_resumed().await;
            }
            // One that is only tried, and falls silent, has failed.
            Callback::State(RTCPeerConnectionState::Disconnected) if self.trial > Some(0) => {
                return false;
            }
            // While ICE restarts no path is chosen, and nothing can be sent.
            Callback::State(
                RTCPeerConnectionState::Disconnected | RTCPeerConnectionState::Connecting,
            ) if self.progress.is_reported => {
                self.path_is_silent = true;
                self.link.set_flushing(true);
                self.tell(ConnectionEvent::Interrupted).await;
            }
            Callback::State(RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed) => {
                return false;
            }
            Callback::State(_) => {}
            Callback::Channel(channel) => return self.accept(channel).await,
        }
        true
    }

    async fn accept(&mut self, channel: Arc<dyn DataChannel>) -> bool {
        let Ok(label) = channel.label().await else { return false };
        self.progress.channels_accepted += 1;
        if self.progress.channels_accepted > CHANNELS_MAX {
            return false;
        }
        match label.as_str() {
            DATAGRAMS if !self.progress.their_datagrams => {
                self.progress.their_datagrams = true;
                let mailbox = Arc::clone(&self.setup.mailbox);
                self.channels.spawn(receive_datagrams(channel, self.peer, mailbox));
                self.report_when_open().await;
            }
            BULK if !self.progress.bulk_exists => self.carry_bulk(channel),
            _ => {
                self.setup.mailbox.note_violation(self.peer);
                self.channels.spawn(drain(channel));
            }
        }
        true
    }

    fn carry_bulk(&mut self, channel: Arc<dyn DataChannel>) {
        self.progress.bulk_exists = true;
        self.bulk = Some(Arc::clone(&channel));
        let mailbox = Arc::clone(&self.setup.mailbox);
        let is_open = self.is_open.subscribe();
        self.channels.spawn(carry_bulk(channel, self.peer, mailbox, self.opened.clone(), is_open));
    }

    async fn note_opened(&mut self, opened: Opened) {
        match opened {
            Opened::OwnDatagrams => self.progress.own_datagrams = true,
            Opened::Bulk => self.progress.bulk = true,
            Opened::Echo(number) => return self.tell(ConnectionEvent::Echoed(number)).await,
        }
        self.report_when_open().await;
    }

    async fn report_when_open(&mut self) {
        let is_on_trial = self.trial > Some(0);
        if self.progress.is_complete() && !self.progress.is_reported && !is_on_trial {
            self.progress.is_reported = true;
            self.is_open.send_replace(true);
            self.setup.mailbox.webrtc_opened(self.peer);
            let now = self.setup.clock.now();
            self.silence = Some(SilenceWatch::new(now, self.setup.interrupted_after));
            self.tell(ConnectionEvent::Opened).await;
            self.measure().await;
        }
    }

    async fn tell_resumed(&self) {
        let is_silent = self.silence.as_ref().is_some_and(SilenceWatch::is_silent);
        if !is_silent && !self.path_is_silent {
            self.tell(ConnectionEvent::Resumed).await;
        }
    }

    /// Reads the path into the statistics, and looks whether it needs rule R2.
    async fn measure(&self) {
        let path = self.selected_path().await;
        let is_good = path.is_some_and(|path| !path.is_relayed_here()) && !self.path_is_silent;
        self.link.set_flushing(!is_good);
        self.setup.mailbox.found(self.peer, path);
    }

    async fn selected_path(&self) -> Option<Path> {
        // Not through the statistics: their candidate ids do not match in this version.
        let ice = self.link.pc.sctp().await?.transport().ice_transport();
        let pair = ice.get_selected_candidate_pair().await.ok()??;
        let end =
            |of: &RTCIceCandidate| Some(PathEnd::new(kind(of.typ)?, of.address.parse().ok()?));
        let (local, remote) = (end(pair.local())?, end(pair.remote())?);
        let turn = self.link.turn_transport(pair.local());
        Some(Path::WebRtc { local, remote, turn })
    }

    async fn is_relayed(&self) -> bool {
        !self.path_is_silent && self.selected_path().await.is_some_and(|path| path.is_relayed())
    }

    async fn tell(&self, event: ConnectionEvent) {
        let event = AttemptEvent { peer: self.peer, attempt: self.attempt, event };
        // When nobody listens the mesh is ending, and closes this connection too.
        let _ = self.events.send(event).await;
    }

    /// Whether datagrams go through a TURN server of one's own, and there are other servers or other credentials than
    /// this connection began with: then the next one lasts, and this one does not.
    async fn is_better_anew(&self) -> bool {
        self.selected_path().await.is_some_and(|path| path.is_relayed_here())
            && self.setup.ice_servers.now() != self.link.servers
    }
}

const fn kind(candidate: RTCIceCandidateType) -> Option<CandidateKind> {
    match candidate {
        RTCIceCandidateType::Host => Some(CandidateKind::Host),
        RTCIceCandidateType::Srflx => Some(CandidateKind::ServerReflexive),
        RTCIceCandidateType::Prflx => Some(CandidateKind::PeerReflexive),
        RTCIceCandidateType::Relay => Some(CandidateKind::Relay),
        _ => None,
    }
}

/// Labels of the channels.
const DATAGRAMS: &str = "datagrams";
const BULK: &str = "bulk";

/// Channels that a peer may open, bad ones included; it needs two.
const CHANNELS_MAX: usize = 8;

/// Callbacks that may wait: a computer with twenty addresses has some sixty candidates.
const CALLBACKS: usize = 128;

/// Looks for which a direct connection must be well beside a relayed one: three seconds.
const TRIAL_TICKS: u32 = 7;

/// How often the path is read.
const MEASURE_INTERVAL: Duration = Duration::from_millis(500);
