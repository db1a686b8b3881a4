//! Ends on the crate `webrtc` alone, used as directly as a game's thread can use it: each member has one thread that runs its
//! connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rollback_webrtc::DATAGRAM_BYTES_MAX;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit,
    RTCPeerConnectionIceEvent, SettingEngineBuilder,
};

use crate::ends::{End, PATIENCE};

/// A member: its connections and the channels on which it sends.
pub(crate) struct BareEnd {
    handle: Handle,
    /// By member; none for the own.
    channels: Vec<Option<Arc<dyn DataChannel>>>,
    arrived: mpsc::UnboundedReceiver<BytesMut>,
    _connections: Vec<Arc<dyn PeerConnection>>,
    /// Ends the thread.
    _stop: oneshot::Sender<()>,
}

/// What a connection calls: senders only, since a channel or a connection here would keep itself alive.
struct Callbacks {
    candidates: mpsc::UnboundedSender<RTCIceCandidateInit>,
    channels: mpsc::UnboundedSender<Arc<dyn DataChannel>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Callbacks {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            let _ = self.candidates.send(candidate);
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.channels.send(channel);
    }
}

/// One side of a connection while it opens.
struct Side {
    connection: Arc<dyn PeerConnection>,
    /// That for datagrams comes first.
    own: Vec<Arc<dyn DataChannel>>,
    candidates: mpsc::UnboundedReceiver<RTCIceCandidateInit>,
    channels: mpsc::UnboundedReceiver<Arc<dyn DataChannel>>,
}

impl Side {
    async fn new(offers: bool) -> Self {
        let ((to, candidates), (accepted, channels)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_handler(Arc::new(Callbacks { candidates: to, channels: accepted }))
            .with_udp_addrs(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
            .build()
            .await;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection.expect("a connection"));
        let init = RTCDataChannelInit {
            ordered: false,
            // As this transport has it.
            max_packet_life_time: Some(60),
            ..Default::default()
        };
        let own = connection.create_data_channel("datagrams", Some(init)).await.expect("a channel");
        let mut own = vec![own];
        if offers {
            // As ours for what is long, so that both have as many channels. Nothing passes it here.
            own.push(connection.create_data_channel("bulk", None).await.expect("a channel"));
        }
        Self { connection, own, candidates, channels }
    }

    /// Waits until all channels are open, meanwhile passing candidates on, and polls them for good.
    async fn open(
        &mut self,
        other: &Arc<dyn PeerConnection>,
        arrived: &mpsc::UnboundedSender<BytesMut>,
    ) {
        let (opened, mut is_open) = mpsc::unbounded_channel();
        for channel in &self.own {
            tokio::spawn(poll(Arc::clone(channel), arrived.clone(), Some(opened.clone())));
        }
        let mut left = CHANNELS;
        while left > 0 {
            tokio::select! {
                Some(candidate) = self.candidates.recv() => {
                    other.add_ice_candidate(candidate).await.expect("a candidate");
                }
                Some(channel) = self.channels.recv() => {
                    tokio::spawn(poll(channel, arrived.clone(), None));
                    left -= 1;
                }
                Some(()) = is_open.recv() => left -= 1,
            }
        }
    }
}

/// Takes what comes on a channel.
async fn poll(
    channel: Arc<dyn DataChannel>,
    arrived: mpsc::UnboundedSender<BytesMut>,
    opened: Option<mpsc::UnboundedSender<()>>,
) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen => {
                opened.as_ref().map(|opened| opened.send(()));
            }
            DataChannelEvent::OnMessage(message) => {
                let _ = arrived.send(message.data);
            }
            DataChannelEvent::OnClose => return,
            _ => {}
        }
    }
}

/// A thread that runs what it is given until the sender goes.
fn runtime() -> (Handle, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(stopped));
    (handle, stop)
}

/// Members that are all connected to each other.
pub(crate) fn mesh(members: usize) -> Vec<BareEnd> {
    let (mut ends, mut senders) = (Vec::new(), Vec::new());
    for _ in 0..members {
        let (handle, stop) = runtime();
        let (sender, arrived) = mpsc::unbounded_channel();
        let channels = (0..members).map(|_| None).collect();
        ends.push(BareEnd { handle, channels, arrived, _connections: Vec::new(), _stop: stop });
        senders.push(sender);
    }
    for (offering, answering) in
        (0..members).flat_map(|one| (0..one).map(move |other| (one, other)))
    {
        let on = |end: usize| ends[end].handle.clone();
        let (mut offerer, mut answerer) =
            (on(offering).block_on(Side::new(true)), on(answering).block_on(Side::new(false)));
        let (one, other) = (Arc::clone(&offerer.connection), Arc::clone(&answerer.connection));
        on(offering).block_on(async {
            let offer = one.create_offer(None).await.expect("an offer");
            one.set_local_description(offer.clone()).await.expect("the offer");
            other.set_remote_description(offer).await.expect("the offer");
            let answer = other.create_answer(None).await.expect("an answer");
            other.set_local_description(answer.clone()).await.expect("the answer");
            one.set_remote_description(answer).await.expect("the answer");
        });
        let opening = on(answering).spawn({
            let (one, arrived) = (Arc::clone(&one), senders[answering].clone());
            async move {
                answerer.open(&one, &arrived).await;
                answerer
            }
        });
        on(offering).block_on(async {
            let open = offerer.open(&other, &senders[offering]);
            tokio::time::timeout(PATIENCE, open).await.expect("open in time");
        });
        let answerer = on(offering).block_on(opening).expect("an open channel");
        for (end, to, side) in [(offering, answering, offerer), (answering, offering, answerer)] {
            ends[end].channels[to] = side.own.into_iter().next();
            ends[end]._connections.push(side.connection);
        }
    }
    ends
}

impl End for BareEnd {
    fn send(&mut self, to: usize, datagram: &[u8]) {
        if let Some(Some(channel)) = self.channels.get(to) {
            self.handle.block_on(channel.send(BytesMut::from(datagram))).expect("an open channel");
        }
    }

    fn receive(
        &mut self,
        datagram: &mut [u8; DATAGRAM_BYTES_MAX],
        timeout: Duration,
    ) -> Option<usize> {
        let arrived = &mut self.arrived;
        let next =
            self.handle.block_on(async { tokio::time::timeout(timeout, arrived.recv()).await });
        let bytes = next.ok().flatten()?;
        datagram.get_mut(..bytes.len())?.copy_from_slice(&bytes);
        Some(bytes.len())
    }
}

/// Of a connection: datagrams each way, and one for what is long.
const CHANNELS: usize = 3;
