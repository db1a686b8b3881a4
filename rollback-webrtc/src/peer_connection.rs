//! One WebRTC connection to one peer, from its first description to its end. The only file that
//! names the crates `webrtc` and `rtc`, and the home of the rules that make their version 0.21.1
//! work: R1, R2, R3 and R5 below, R4 in `pair`.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use rollback_core::PeerId;
use rollback_signaling::AttemptId;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::transport::RTCDtlsRole;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::error::Error;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidateInit, RTCIceCandidateType, RTCIceServer, RTCIceTransportPolicy,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription, SettingEngine,
    SettingEngineBuilder, StatsSelector,
};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

use crate::clock::Clock;
use crate::ice::{CandidateKind, IcePolicy, IceServer, Path};
use crate::mailbox::Mailbox;
use crate::pair::{ConnectionEvent, Remote};
use crate::stats::TransportEvent;

/// What all connections of a mesh have in common.
#[derive(Debug)]
pub(crate) struct ConnectionSetup {
    pub(crate) clock: Clock,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) ice_policy: IcePolicy,
    /// Addresses to bind, each with port 0.
    pub(crate) bind: Vec<SocketAddr>,
}

/// An event of one attempt to connect to one peer.
#[derive(Debug)]
pub(crate) struct AttemptEvent {
    pub(crate) peer: PeerId,
    pub(crate) attempt: AttemptId,
    pub(crate) event: ConnectionEvent,
}

/// One connection. It passes datagrams and bulk messages between the peer and the mailbox, and lives
/// as long as [`run`](Self::run).
pub(crate) struct Connection {
    peer: PeerId,
    attempt: AttemptId,
    setup: Arc<ConnectionSetup>,
    events: mpsc::Sender<AttemptEvent>,
    link: OpenLink,
    callbacks: mpsc::Receiver<Callback>,
    channels: JoinSet<()>,
    opened: mpsc::Sender<Opened>,
    openings: mpsc::Receiver<Opened>,
    progress: Progress,
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

#[derive(Debug, Clone, Copy)]
enum Opened {
    OwnDatagrams,
    Bulk,
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
        is_offerer: bool,
        setup: Arc<ConnectionSetup>,
        events: mpsc::Sender<AttemptEvent>,
    ) -> Result<Self, Error> {
        let (heard, callbacks) = mpsc::channel(CALLBACKS);
        let (opened, openings) = mpsc::channel(CHANNELS_MAX);
        let link = OpenLink::build(&setup, heard).await?;
        let mut connection = Self {
            peer,
            attempt,
            setup,
            events,
            link,
            callbacks,
            channels: JoinSet::new(),
            opened,
            openings,
            progress: Progress::default(),
        };
        let datagrams =
            connection.link.pc.create_data_channel(DATAGRAMS, Some(datagram_channel())).await?;
        connection.channels.spawn(send_datagrams(
            datagrams,
            peer,
            Arc::clone(&connection.setup.mailbox),
            connection.opened.clone(),
        ));
        if is_offerer {
            // Reliable and ordered, which is also what the accepting side sends by default, so that
            // one channel does for both directions.
            let bulk = connection.link.pc.create_data_channel(BULK, None).await?;
            connection.carry_bulk(bulk);
        }
        Ok(connection)
    }

    /// Runs a connection until it ends by itself or `remote` is closed. `offer` is the peer's, or
    /// `None` to make one.
    pub(crate) async fn run(
        peer: PeerId,
        attempt: AttemptId,
        offer: Option<String>,
        setup: Arc<ConnectionSetup>,
        remote: mpsc::Receiver<Remote>,
        events: mpsc::Sender<AttemptEvent>,
    ) {
        let mailbox = Arc::clone(&setup.mailbox);
        match Self::build(peer, attempt, offer.is_none(), setup, events).await {
            Ok(mut connection) => {
                if let Err(error) = connection.serve(offer, remote).await {
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
        offer: Option<String>,
        mut remote: mpsc::Receiver<Remote>,
    ) -> Result<(), Error> {
        self.setup.mailbox.update(self.peer, |stats| stats.attempts += 1);
        let description = self.describe(offer).await?;
        self.tell(ConnectionEvent::Description(description)).await;
        let mut measure = interval(MEASURE_INTERVAL);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                said = remote.recv() => match said {
                    Some(remote) => self.hear(remote).await?,
                    None => return Ok(()),
                },
                Some(callback) = self.callbacks.recv() => {
                    if !self.handle_callback(callback).await {
                        return Ok(());
                    }
                }
                Some(opened) = self.openings.recv() => self.note_opened(opened).await,
                // A channel never ends while its connection lives, unless the peer closes it.
                Some(_) = self.channels.join_next() => return Ok(()),
                _ = measure.tick(), if self.progress.is_reported => self.measure().await,
            }
        }
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
        let sdp = description.sdp.clone();
        pc.set_local_description(description).await?;
        Ok(sdp)
    }

    async fn hear(&self, remote: Remote) -> Result<(), Error> {
        let pc = &self.link.pc;
        match remote {
            Remote::Answer(sdp) => {
                pc.set_remote_description(RTCSessionDescription::answer(sdp)?).await
            }
            Remote::Candidate(json) => {
                let added = match serde_json::from_str::<RTCIceCandidateInit>(&json) {
                    Ok(candidate) => pc.add_ice_candidate(candidate).await.is_ok(),
                    Err(_) => false,
                };
                // One bad candidate of several is no reason to end the attempt.
                if !added {
                    self.setup.mailbox.update(self.peer, |stats| stats.violations += 1);
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
                self.tell(ConnectionEvent::Resumed).await;
            }
            Callback::State(RTCPeerConnectionState::Disconnected) => {
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
                self.setup.mailbox.update(self.peer, |stats| stats.violations += 1);
                self.channels.spawn(drain(channel));
            }
        }
        true
    }

    fn carry_bulk(&mut self, channel: Arc<dyn DataChannel>) {
        self.progress.bulk_exists = true;
        let mailbox = Arc::clone(&self.setup.mailbox);
        self.channels.spawn(carry_bulk(channel, self.peer, mailbox, self.opened.clone()));
    }

    async fn note_opened(&mut self, opened: Opened) {
        match opened {
            Opened::OwnDatagrams => self.progress.own_datagrams = true,
            Opened::Bulk => self.progress.bulk = true,
        }
        self.report_when_open().await;
    }

    async fn report_when_open(&mut self) {
        let progress = &mut self.progress;
        let is_open = progress.own_datagrams && progress.their_datagrams && progress.bulk;
        if is_open && !progress.is_reported {
            progress.is_reported = true;
            self.tell(ConnectionEvent::Opened).await;
            self.measure().await;
        }
    }

    /// Reads the path and the round trip into the statistics.
    async fn measure(&self) {
        let path = self.selected_path().await;
        let round_trip = self.round_trip().await;
        let mut is_new = false;
        self.setup.mailbox.update(self.peer, |stats| {
            is_new = path.is_some() && path != stats.path;
            stats.path = path.or(stats.path);
            stats.round_trip = round_trip.or(stats.round_trip);
        });
        if let Some(path) = path.filter(|_| is_new) {
            self.setup.mailbox.report(TransportEvent::PathChosen { peer: self.peer, path });
        }
    }

    async fn selected_path(&self) -> Option<Path> {
        // Not through the statistics: their candidate ids do not match in this version.
        let ice = self.link.pc.sctp().await?.transport().ice_transport();
        let pair = ice.get_selected_candidate_pair().await.ok()??;
        Some(Path { local: kind(pair.local().typ)?, remote: kind(pair.remote().typ)? })
    }

    async fn round_trip(&self) -> Option<Duration> {
        let now = self.setup.clock.instant();
        let report = self.link.pc.get_stats(now, StatsSelector::None).await;
        let selected = &report.transport()?.selected_candidate_pair_id;
        let pair = report.candidate_pairs().find(|pair| &pair.stats.id == selected)?;
        let measured = Duration::try_from_secs_f64(pair.current_round_trip_time).ok()?;
        (!measured.is_zero()).then_some(measured)
    }

    async fn tell(&self, event: ConnectionEvent) {
        let event = AttemptEvent { peer: self.peer, attempt: self.attempt, event };
        // When nobody listens the mesh is ending, and closes this connection too.
        let _ = self.events.send(event).await;
    }

    /// Ends the connection so that the peer sees it at once.
    async fn close(mut self) {
        // Tasks and callbacks hold channels, and a channel keeps its whole connection alive.
        self.channels.shutdown().await;
        self.callbacks.close();
        while self.callbacks.try_recv().is_ok() {}
        self.link.close().await;
    }
}

/// **Rule R1: send only on channels you created.** In `rtc` 0.21.1 the side that *accepts* a channel
/// never applies the channel's reliability to its own stream: it sends reliable and ordered,
/// whatever was agreed, and one lost packet holds up all later ones for 0.7–1.1 s. So each peer
/// creates its own channel for datagrams and sends on that one only.
///
/// **Rule R5: no old datagrams.** SCTP keeps a window even for messages that it never repeats: during
/// an outage they queue, and arrive after it, as old as the outage. With a lifetime they expire
/// instead. 60 ms is above the delay that a lost acknowledgement of SCTP can cause and below the
/// time after which a datagram with inputs is repeated anyway.
fn datagram_channel() -> RTCDataChannelInit {
    RTCDataChannelInit { ordered: false, max_packet_life_time: Some(60), ..Default::default() }
}

/// Sends what the game queues, on the channel that this side created (R1).
async fn send_datagrams(
    channel: Arc<dyn DataChannel>,
    peer: PeerId,
    mailbox: Arc<Mailbox>,
    opened: mpsc::Sender<Opened>,
) {
    let mut is_open = false;
    loop {
        tokio::select! {
            event = channel.poll() => match event {
                Some(DataChannelEvent::OnOpen) => {
                    is_open = true;
                    // The receiver outlives this task.
                    let _ = opened.send(Opened::OwnDatagrams).await;
                }
                Some(DataChannelEvent::OnMessage(_)) => {
                    mailbox.update(peer, |stats| stats.violations += 1);
                }
                Some(DataChannelEvent::OnClose) | None => return,
                Some(_) => {}
            },
            datagram = mailbox.next_outgoing(peer), if is_open => {
                let bytes = datagram.len();
                let was_sent = send_datagram(&*channel, datagram).await;
                mailbox.count_sent(peer, bytes, was_sent);
            }
        }
    }
}

/// R5, second half: `send` never fails and its queue has no limit, so what waits there is bounded
/// here.
async fn send_datagram(channel: &dyn DataChannel, datagram: BytesMut) -> bool {
    match channel.outstanding_bytes().await {
        Ok(outstanding) if outstanding <= OUTSTANDING_BYTES_MAX => {
            channel.send(datagram).await.is_ok()
        }
        _ => false,
    }
}

/// Takes datagrams from the peer's channel. It never waits for anything else: a channel that is not
/// polled blocks all channels of its connection.
async fn receive_datagrams(channel: Arc<dyn DataChannel>, peer: PeerId, mailbox: Arc<Mailbox>) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnMessage(message) => mailbox.deliver(peer, message.data.freeze()),
            DataChannelEvent::OnClose => return,
            _ => {}
        }
    }
}

/// Carries bulk frames both ways.
async fn carry_bulk(
    channel: Arc<dyn DataChannel>,
    peer: PeerId,
    mailbox: Arc<Mailbox>,
    opened: mpsc::Sender<Opened>,
) {
    let mut number = None;
    loop {
        tokio::select! {
            event = channel.poll() => match (event, number) {
                (Some(DataChannelEvent::OnOpen), None) => {
                    number = mailbox.bulk_opened(peer);
                    let _ = opened.send(Opened::Bulk).await;
                }
                (Some(DataChannelEvent::OnMessage(message)), Some(number)) => {
                    mailbox.deliver_bulk(peer, number, &message.data.freeze());
                }
                (Some(DataChannelEvent::OnClose) | None, _) => return,
                _ => {}
            },
            frame = mailbox.next_bulk_frame(peer, number), if number.is_some() => {
                // The window of bulk messages bounds what waits in the channel.
                if channel.send(frame).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Polls a channel that no honest peer opens, so that it blocks no other.
async fn drain(channel: Arc<dyn DataChannel>) {
    while channel.poll().await.is_some() {}
}

/// A built connection, which closes itself even if its task panics on a hostile description.
struct OpenLink {
    pc: Arc<dyn PeerConnection>,
    runtime: Arc<FlushRuntime>,
    is_closed: bool,
}

impl OpenLink {
    async fn build(setup: &ConnectionSetup, heard: mpsc::Sender<Callback>) -> Result<Self, Error> {
        let server = |server: &IceServer| RTCIceServer {
            urls: vec![server.url.clone()],
            username: server.username.clone(),
            credential: server.credential.clone(),
        };
        let policy = match setup.ice_policy {
            IcePolicy::All => RTCIceTransportPolicy::All,
            IcePolicy::RelayOnly => RTCIceTransportPolicy::Relay,
        };
        let configuration = RTCConfigurationBuilder::default()
            .with_ice_servers(setup.ice_servers.iter().map(server).collect())
            .with_ice_transport_policy(policy)
            .build();
        let runtime = Arc::new(FlushRuntime::default());
        let pc = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_setting_engine(settings(setup.ice_policy))
            .with_handler(Arc::new(Callbacks(heard)))
            .with_runtime(Arc::clone(&runtime) as Arc<dyn Runtime>)
            .with_udp_addrs(setup.bind.clone())
            .build()
            .await?;
        Ok(Self { pc: Arc::new(pc), runtime, is_closed: false })
    }

    async fn close(mut self) {
        self.is_closed = true;
        self.runtime.stop_flushing();
        // Closing twice, or after a failure, is an error that means nothing here.
        let _ = self.pc.close().await;
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        let handle = tokio::runtime::Handle::try_current();
        if let (false, Ok(handle)) = (self.is_closed, handle) {
            self.runtime.stop_flushing();
            let pc = Arc::clone(&self.pc);
            handle.spawn(async move { pc.close().await.ok() });
        }
    }
}

fn settings(policy: IcePolicy) -> SettingEngine {
    let relay_wait = match policy {
        // Direct ways get half a second's start; the default is two seconds.
        IcePolicy::All => Duration::from_millis(500),
        IcePolicy::RelayOnly => Duration::ZERO,
    };
    SettingEngineBuilder::new()
        .with_ice_timeouts(Some(ICE_DISCONNECTED), Some(ICE_FAILED), Some(ICE_KEEPALIVE))
        // By default a pair of candidates has 7 checks in 1.4 s, too little for a bad link.
        .with_ice_connection_attempts(Some(Duration::from_millis(50)), Some(60))
        .with_relay_acceptance_min_wait(Some(relay_wait))
        // Rule R3: the answerer is the DTLS server. By default it is the client, and its first
        // message can overtake ICE at the offerer, is dropped there, and costs 1.0 s.
        .with_answering_dtls_role(RTCDtlsRole::Server)
        // Otherwise building fails on a computer without a multicast route, such as one offline.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .build()
}

/// Passes callbacks on. It must hold no channel and no connection, which would keep each other alive,
/// and must not wait, because it runs on the connection's own task.
struct Callbacks(mpsc::Sender<Callback>);

impl Callbacks {
    fn pass(&self, callback: Callback) {
        // A full queue means that hundreds of candidates or channels came at once; whatever is lost
        // then, the attempt's deadline repairs.
        let _ = self.0.try_send(callback);
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Callbacks {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let json = event.candidate.to_json().ok();
        if let Some(json) = json.and_then(|init| serde_json::to_string(&init).ok()) {
            self.pass(Callback::Candidate(json));
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.pass(Callback::State(state));
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        self.pass(Callback::Channel(channel));
    }
}

/// **Rule R2: flush after each burst.** The connection's loop in `webrtc` 0.21.1 writes relayed packets
/// before the core has produced them and reads them after writing; then it sleeps until the next
/// *timer*. So relayed packets and parts of the handshake wait until something else wakes the loop:
/// up to 600 ms. With this runtime the first [`FLUSHES`] sleeps after each real one end at once, so
/// each burst is followed by that many more passes of the loop.
#[derive(Debug, Default)]
struct FlushRuntime {
    /// Sleeps answered at once since the last real one.
    flushed: AtomicU32,
    /// Closing waits with a sleep of this runtime too, and would not wait at all.
    is_stopped: AtomicBool,
}

impl FlushRuntime {
    fn stop_flushing(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }
}

impl Runtime for FlushRuntime {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let is_flush = duration > SHORT_SLEEP
            && !self.is_stopped.load(Ordering::Acquire)
            && self.flushed.fetch_add(1, Ordering::AcqRel) < FLUSHES;
        if !is_flush {
            self.flushed.store(0, Ordering::Release);
            return TokioRuntime.sleep(duration);
        }
        // Ready at the second poll, so that packets that are there already come first.
        let mut was_polled = false;
        Box::pin(std::future::poll_fn(move |context| {
            if was_polled {
                return Poll::Ready(());
            }
            was_polled = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }))
    }

    // All else is tokio's. `spawn_reactor` keeps its default, which spawns here: the connection then
    // runs on the thread of its mailbox and ends with it.

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        TokioRuntime.resolve_host(host)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.yield_now()
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

/// Passes of the connection's loop after each burst: with three, neither the handshake nor relayed
/// packets wait for a timer.
const FLUSHES: u32 = 3;

/// Sleeps no longer than this are left alone: they end soon anyway.
const SHORT_SLEEP: Duration = Duration::from_millis(1);

/// Bytes that may wait for acknowledgement on the channel of datagrams: the longest ones at 60 a second
/// for a round trip and SCTP's delayed acknowledgement of together one second.
const OUTSTANDING_BYTES_MAX: usize = 64 * 1024;

/// ICE says so when nothing has come for this long.
const ICE_DISCONNECTED: Duration = Duration::from_millis(1500);

/// And that the connection has failed after this much more.
const ICE_FAILED: Duration = Duration::from_secs(5);

/// How often ICE checks, which also measures the round trip; well below half of [`ICE_DISCONNECTED`].
const ICE_KEEPALIVE: Duration = Duration::from_millis(400);

/// How often the path and the round trip are read.
const MEASURE_INTERVAL: Duration = Duration::from_millis(500);
