//! A peer connection of the library: how it is configured (rule R3), what it calls, and how it is closed for good.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::transport::RTCDtlsRole;
use tokio::sync::mpsc;
use webrtc::data_channel::DataChannel;
use webrtc::error::Error;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidate, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, SettingEngine, SettingEngineBuilder,
};
use webrtc::runtime::Runtime;

use super::certificate_watch::CertificateWatch;
use super::flush_runtime::FlushRuntime;
use super::turn_watch::{StandIn, TurnWatch};
use super::watched_socket::Watch;
use super::{Callback, ConnectionSetup};
use crate::ice::{PathPolicy, TurnTrouble};
use crate::ice_servers::CheckedServer;
use crate::ice_url::{IceUrlKind, TurnTransport};
use crate::stats::CertificateOwner;
use crate::turn_stream::{BestRelay, StreamServer, TurnStream};

/// A built connection, which closes itself even if its task panics on a hostile description.
pub(super) struct OpenLink {
    pub(super) pc: Arc<dyn PeerConnection>,
    runtime: Arc<FlushRuntime>,
    watch: Arc<Watch>,
    /// The servers that it has been given.
    pub(super) servers: Vec<CheckedServer>,
    /// Sockets in place of TURN servers, as long as the connection.
    _streams: Vec<TurnStream>,
    is_closed: bool,
}

impl OpenLink {
    pub(super) async fn build(
        setup: &ConnectionSetup,
        is_direct: bool,
        heard: mpsc::Sender<Callback>,
        troubles: mpsc::Sender<TurnTrouble>,
        refused: mpsc::Sender<CertificateOwner>,
    ) -> Result<Self, Error> {
        let best = Arc::new(BestRelay::default());
        let watch = Arc::new(Watch {
            turn: TurnWatch::new(troubles.clone(), Arc::clone(&best)),
            certificates: CertificateWatch::new(refused),
        });
        let servers = setup.ice_servers.now();
        let bind = setup.bind.now();
        let is_usable = |server: &&CheckedServer| !is_direct || server.url.kind == IceUrlKind::Stun;
        let usable: Vec<_> = servers.iter().filter(is_usable).cloned().collect();
        // Sockets in place of TURN servers are for those of their own family.
        let is_ipv4 = bind.iter().any(SocketAddr::is_ipv4);
        let (ice_servers, streams) =
            ice_servers(setup, &usable, is_ipv4, (&watch.turn, &best, &troubles));
        let policy = match setup.path_policy {
            PathPolicy::All => RTCIceTransportPolicy::All,
            PathPolicy::RelayOnly => RTCIceTransportPolicy::Relay,
        };
        let configuration = RTCConfigurationBuilder::default()
            .with_ice_servers(ice_servers)
            .with_ice_transport_policy(policy)
            .build();
        let runtime = Arc::new(FlushRuntime::new(Arc::clone(&watch)));
        let pc = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_setting_engine(settings(setup.path_policy, is_direct, setup.interrupted_after))
            .with_handler(Arc::new(Callbacks(heard)))
            .with_runtime(Arc::clone(&runtime) as Arc<dyn Runtime>)
            .with_udp_addrs(bind)
            .build()
            .await?;
        Ok(Self { pc: Arc::new(pc), runtime, watch, servers, _streams: streams, is_closed: false })
    }

    /// A TURN server was asked, and none has said anything.
    pub(super) fn turn_is_silent(&self) -> bool {
        self.watch.turn.is_silent()
    }

    /// How the TURN server is reached that gave this candidate.
    pub(super) fn turn_transport(&self, candidate: &RTCIceCandidate) -> Option<TurnTransport> {
        let given = SocketAddr::new(candidate.address.parse().ok()?, candidate.port);
        self.watch.turn.transport_of(given)
    }

    /// Whether each burst is followed by more passes of the connection's loop (rule R2).
    pub(super) fn set_flushing(&self, is_flushing: bool) {
        self.runtime.set_flushing(is_flushing);
    }

    pub(super) async fn close(mut self) {
        self.is_closed = true;
        self.runtime.set_flushing(false);
        // Closing twice, or after a failure, is an error that means nothing here.
        let _ = self.pc.close().await;
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        let handle = tokio::runtime::Handle::try_current();
        if let (false, Ok(handle)) = (self.is_closed, handle) {
            self.runtime.set_flushing(false);
            let pc = Arc::clone(&self.pc);
            handle.spawn(async move { pc.close().await.ok() });
        }
    }
}

/// The servers as the library takes them: those of TURN that are reached by a stream have a socket of this computer in
/// their place.
fn ice_servers(
    setup: &ConnectionSetup,
    servers: &[CheckedServer],
    is_ipv4: bool,
    (turn, best, troubles): (&TurnWatch, &Arc<BestRelay>, &mpsc::Sender<TurnTrouble>),
) -> (Vec<RTCIceServer>, Vec<TurnStream>) {
    let has =
        |transport| servers.iter().any(|server| server.url.kind == IceUrlKind::Turn(transport));
    let (has_udp, has_tcp) = (has(TurnTransport::Udp), has(TurnTransport::Tcp));
    let (mut ice_servers, mut streams) = (Vec::new(), Vec::new());
    for CheckedServer { url, username, credential } in servers {
        let given = |url| RTCIceServer {
            urls: vec![url],
            username: username.clone(),
            credential: credential.clone(),
        };
        let (transport, tls, rank) = match url.kind {
            IceUrlKind::Turn(transport @ TurnTransport::Tcp) => {
                (transport, None, u8::from(has_udp))
            }
            IceUrlKind::Turn(transport @ TurnTransport::Tls) => match setup.ice_servers.tls() {
                Ok(config) => (transport, Some(config), u8::from(has_udp) + u8::from(has_tcp)),
                Err(error) => {
                    tracing::warn!(%url, %error, "a TURN server cannot be reached by TLS");
                    let _ = troubles.try_send(TurnTrouble::Tls);
                    continue;
                }
            },
            IceUrlKind::Turn(TurnTransport::Udp) | IceUrlKind::Stun => {
                ice_servers.push(given(url.to_string()));
                continue;
            }
        };
        let server = StreamServer { host: url.host.clone(), port: url.port, tls, rank };
        match TurnStream::open(server, is_ipv4, Arc::clone(best), troubles.clone()) {
            Ok(stream) => {
                let address = stream.address();
                turn.add_stream(StandIn { address, transport, rank });
                ice_servers.push(given(format!("turn:{address}?transport=udp")));
                streams.push(stream);
            }
            Err(error) => tracing::warn!(%url, %error, "no local socket for a TURN server"),
        }
    }
    (ice_servers, streams)
}

fn settings(policy: PathPolicy, is_direct: bool, interrupted_after: Duration) -> SettingEngine {
    let interrupted_after = interrupted_after.clamp(INTERRUPTED_MIN, INTERRUPTED_MAX);
    // Well below half, so that one lost check is no interruption; it also measures the round trip.
    let keepalive = interrupted_after / 4;
    let relay_wait = match policy {
        // Direct ways get half a second's start; the default is two seconds.
        PathPolicy::All => Duration::from_millis(500),
        PathPolicy::RelayOnly => Duration::ZERO,
    };
    // Checks beside a connection in use must not take its room on a slow line, and are in no hurry.
    let (check_interval, checks) = match is_direct {
        true => (Duration::from_millis(200), 20),
        false => (Duration::from_millis(50), 60),
    };
    SettingEngineBuilder::new()
        .with_ice_timeouts(Some(interrupted_after), Some(ICE_FAILED), Some(keepalive))
        // By default a pair of candidates has 7 checks in 1.4 s, too little for a bad link.
        .with_ice_connection_attempts(Some(check_interval), Some(checks))
        .with_relay_acceptance_min_wait(Some(relay_wait))
        // Rule R3: the answerer is the DTLS server. By default it is the client, and its first
        // message can overtake ICE at the offerer, is dropped there, and costs 1.0 s.
        .with_answering_dtls_role(RTCDtlsRole::Server)
        // A refusal because of an old nonce costs one interval. By default that is half of what an address at a TURN
        // server lives, and so the second one in a row would be too late.
        .with_turn_allocation_refresh_interval_cap(TURN_REFRESH)
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
        let Ok(mut init) = event.candidate.to_json() else { return };
        init.candidate = without_base(&init.candidate);
        if let Ok(json) = serde_json::to_string(&init) {
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

/// A candidate, or a description with candidates, in which those at a TURN server do not say whose they are: for a member
/// that is reached through relays only, its own address is nobody's business. It is given for diagnostics, and may be
/// anything (RFC 8839 §5.1).
pub(super) fn without_base(text: &str) -> String {
    let hidden = |line: &str| {
        if !line.contains(" typ relay ") {
            return line.to_owned();
        }
        let (line, end) = line.strip_suffix('\r').map_or((line, ""), |line| (line, "\r"));
        let mut word_before = "";
        let words = line.split(' ').map(|word| match std::mem::replace(&mut word_before, word) {
            "raddr" => "0.0.0.0",
            "rport" => "0",
            _ => word,
        });
        words.collect::<Vec<_>>().join(" ") + end
    };
    text.split('\n').map(hidden).collect::<Vec<_>>().join("\n")
}

/// ICE says that a connection is interrupted when nothing has come for as long as is configured, within these limits.
const INTERRUPTED_MIN: Duration = Duration::from_millis(200);
const INTERRUPTED_MAX: Duration = Duration::from_secs(10);

/// And that it has failed after this much more.
const ICE_FAILED: Duration = Duration::from_secs(5);

/// How often an address at a TURN server is renewed at least; servers give them for ten minutes.
const TURN_REFRESH: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_at_a_relay_does_not_say_whose_it_is() {
        let relay =
            "candidate:1 1 udp 41885439 203.0.113.9 49160 typ relay raddr 192.168.1.4 rport 40001";
        let hidden = "candidate:1 1 udp 41885439 203.0.113.9 49160 typ relay raddr 0.0.0.0 rport 0";
        assert_eq!(without_base(relay), hidden);
        assert_eq!(without_base(&format!("{relay} ufrag x")), format!("{hidden} ufrag x"));
        let host = "candidate:2 1 udp 2130706431 192.168.1.4 40001 typ host";
        let description = |relay: &str| format!("v=0\r\na={host}\r\na={relay}\r\na=end\r\n");
        assert_eq!(without_base(&description(relay)), description(hidden));
    }
}
