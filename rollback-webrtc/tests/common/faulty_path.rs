//! A bad network for real WebRTC connections: a signaling server in front of the real one that gives
//! each member the address of a UDP relay instead of the other member's, and spoils what passes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rollback_signaling::{
    AttemptId, ClientMessage, ServerMessage, SignalPayload, Text, WATCHER_SLOTS,
};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Message, http};
use tokio_util::sync::CancellationToken;

/// What is done to the packets of all connections.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Of a hundred packets so many are lost.
    pub(crate) loss_percent: AtomicU32,
    /// Each packet arrives so much later.
    pub(crate) delay_ms: AtomicU32,
    /// And up to so much more, so that packets overtake each other.
    pub(crate) jitter_ms: AtomicU32,
    /// Nothing passes.
    pub(crate) is_cut: AtomicBool,
    /// Nothing passes to the lower slot.
    pub(crate) is_cut_to_lower: AtomicBool,
    /// What the channels say does not pass, while ICE and handshakes do.
    pub(crate) channels_are_mute: AtomicBool,
    /// The relay of the server is not to be reached, and its sockets break.
    pub(crate) relay_is_cut: AtomicBool,
    /// Each signal is followed by all that there were before it.
    pub(crate) signals_are_replayed: AtomicBool,
    /// Offers name another certificate than their sender's, which is the lower slot.
    pub(crate) offers_are_forged: AtomicBool,
    /// And answers.
    pub(crate) answers_are_forged: AtomicBool,
    /// Something in between answers whoever asks for the relay with 403.
    pub(crate) relay_is_forbidden: AtomicBool,
    /// What passes between addresses that were given before so many restarts of a connection is lost: that path is gone.
    pub(crate) paths_gone: AtomicU32,
    /// Restarts that were offered.
    pub(crate) restarts: AtomicU32,
    /// The DTLS server's long flight does not pass, in so many attempts.
    pub(crate) handshakes_to_spoil: AtomicU32,
    packets: AtomicU32,
    spoiled: Mutex<HashSet<Pairing>>,
}

/// The network. It ends when dropped.
pub(crate) struct FaultyPath {
    pub(crate) faults: Arc<Faults>,
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// An attempt to connect two members, the lower slot first.
type Pairing = (u8, u8, AttemptId);

/// The two ends of a relay as its members see them, and where the members really are.
struct Relay {
    stands_for_lower: UdpSocket,
    stands_for_higher: UdpSocket,
    lower: Mutex<Option<SocketAddr>>,
    higher: Mutex<Option<SocketAddr>>,
    pairing: Pairing,
    /// How many restarts there were before its addresses were given.
    generation: u32,
    faults: Arc<Faults>,
}

type Relays = Arc<tokio::sync::Mutex<HashMap<(Pairing, u32), Arc<Relay>>>>;

impl FaultyPath {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let faults = Arc::new(Faults::default());
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = serve(listener, server, Arc::clone(&faults));
        let stopped = stop.clone().cancelled_owned();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    () = stopped => {}
                }
            });
        });
        Self { faults, address, stop, thread: Some(thread) }
    }

    pub(crate) fn link(&self, room: &str) -> String {
        format!("ws://{}/{room}", self.address)
    }
}

impl Drop for FaultyPath {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, faults: Arc<Faults>) {
    let relays = Relays::default();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(pass_signals(stream, server, Arc::clone(&relays), Arc::clone(&faults)));
    }
}

async fn pass_signals(
    stream: TcpStream,
    server: SocketAddr,
    relays: Relays,
    faults: Arc<Faults>,
) -> Option<()> {
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let note_path = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        match path.ends_with("/relay") && faults.relay_is_forbidden.load(Ordering::Relaxed) {
            true => Err(http::Response::builder().status(403).body(None).unwrap()),
            false => Ok(response),
        }
    };
    let mut client = tokio_tungstenite::accept_hdr_async(stream, note_path).await.ok()?;
    let url = format!("ws://{server}{path}");
    if path.ends_with("/relay") {
        return pass_relayed(client, url, &faults).await;
    }
    let (mut upstream, _) =
        tokio_tungstenite::connect_async_with_config(url, None, true).await.ok()?;
    let (mut own_slot, mut signals) = (None, Vec::new());
    loop {
        tokio::select! {
            said = client.next() => match said?.ok()? {
                Message::Text(text) => {
                    let message = ClientMessage::from_json(&text).unwrap();
                    let message = redirect(message, own_slot, &relays, &faults).await;
                    let text = message.to_json().unwrap();
                    upstream.send(Message::text(text.clone())).await.ok()?;
                    if matches!(message, ClientMessage::Signal { .. }) {
                        signals.push(text);
                    }
                    if faults.signals_are_replayed.load(Ordering::Relaxed) {
                        for text in &signals {
                            upstream.send(Message::text(text.clone())).await.ok()?;
                        }
                    }
                }
                Message::Close(_) => return None,
                _ => {}
            },
            said = upstream.next() => match said?.ok()? {
                Message::Text(text) => {
                    match ServerMessage::from_json(&text) {
                        Ok(ServerMessage::Joined { slot, .. }) => own_slot = Some(slot),
                        Ok(ServerMessage::Watching { place, .. }) => {
                            own_slot = Some(WATCHER_SLOTS + place);
                        }
                        _ => {}
                    }
                    client.send(Message::Text(text)).await.ok()?;
                }
                Message::Close(_) => return None,
                _ => {}
            },
        }
    }
}

/// Passes the messages of a relay socket on, for as long as that is not cut.
async fn pass_relayed(
    mut client: WebSocketStream<TcpStream>,
    url: String,
    faults: &Faults,
) -> Option<()> {
    let (mut upstream, _) =
        tokio_tungstenite::connect_async_with_config(url, None, true).await.ok()?;
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while !faults.relay_is_cut.load(Ordering::Relaxed) {
        tokio::select! {
            said = client.next() => upstream.send(said?.ok()?).await.ok()?,
            said = upstream.next() => client.send(said?.ok()?).await.ok()?,
            _ = look.tick() => {}
        }
    }
    None
}

/// Puts the relay's address in place of each candidate's, also of those in a description.
async fn redirect(
    message: ClientMessage,
    own_slot: Option<u8>,
    relays: &Relays,
    faults: &Arc<Faults>,
) -> ClientMessage {
    let ClientMessage::Signal { to, payload } = message else { return message };
    let from = own_slot.unwrap();
    let place = |attempt| Place { from, to, attempt, relays, faults };
    let payload = match payload {
        SignalPayload::Offer { attempt, sdp }
            if faults.offers_are_forged.load(Ordering::Relaxed) =>
        {
            SignalPayload::Offer { attempt, sdp: forge(sdp.as_str()) }
        }
        SignalPayload::Answer { attempt, sdp }
            if faults.answers_are_forged.load(Ordering::Relaxed) =>
        {
            SignalPayload::Answer { attempt, sdp: forge(sdp.as_str()) }
        }
        SignalPayload::Candidate { attempt, candidate } => {
            let mut json: serde_json::Value = serde_json::from_str(candidate.as_str()).unwrap();
            let line = json["candidate"].as_str().unwrap();
            json["candidate"] = place(attempt).stand_in(line).await.into();
            let candidate = Text::try_from(json.to_string()).unwrap();
            SignalPayload::Candidate { attempt, candidate }
        }
        SignalPayload::RestartOffer { attempt, restart, sdp } => {
            faults.restarts.fetch_add(1, Ordering::Relaxed);
            let sdp = place(attempt).stand_in_all(sdp.as_str()).await;
            SignalPayload::RestartOffer { attempt, restart, sdp }
        }
        SignalPayload::RestartAnswer { attempt, restart, sdp } => {
            let sdp = place(attempt).stand_in_all(sdp.as_str()).await;
            SignalPayload::RestartAnswer { attempt, restart, sdp }
        }
        payload => payload,
    };
    ClientMessage::Signal { to, payload }
}

/// The description with the fingerprint of a certificate that nobody has.
fn forge<const BYTES_MAX: usize>(sdp: &str) -> Text<BYTES_MAX> {
    let line = |line: &str| match line.strip_prefix("a=fingerprint:sha-256 ") {
        Some(digits) => {
            let other = if digits.starts_with("00") { "FF" } else { "00" };
            format!("a=fingerprint:sha-256 {other}{}", &digits[2..])
        }
        None => line.to_owned(),
    };
    Text::try_from(sdp.split("\r\n").map(line).collect::<Vec<_>>().join("\r\n")).unwrap()
}

/// Whose candidates are replaced.
struct Place<'path> {
    from: u8,
    to: u8,
    attempt: AttemptId,
    relays: &'path Relays,
    faults: &'path Arc<Faults>,
}

impl Place<'_> {
    async fn stand_in_all<const BYTES_MAX: usize>(&self, sdp: &str) -> Text<BYTES_MAX> {
        let mut lines = Vec::new();
        for line in sdp.split("\r\n") {
            lines.push(match line.starts_with("a=candidate:") {
                true => self.stand_in(line).await,
                false => line.to_owned(),
            });
        }
        Text::try_from(lines.join("\r\n")).unwrap()
    }

    async fn stand_in(&self, candidate: &str) -> String {
        let Self { from, to, attempt, relays, faults } = *self;
        let pairing = (from.min(to), from.max(to), attempt);
        let generation = faults.restarts.load(Ordering::Relaxed);
        let relay = {
            let mut relays = relays.lock().await;
            match relays.entry((pairing, generation)) {
                Entry::Occupied(known) => Arc::clone(known.get()),
                Entry::Vacant(new) => {
                    let relay = Relay::open(pairing, generation, Arc::clone(faults)).await;
                    Arc::clone(new.insert(relay))
                }
            }
        };
        let mut words: Vec<String> = candidate.split(' ').map(str::to_owned).collect();
        let real = format!("{}:{}", words[4], words[5]).parse().unwrap();
        let (place, stand_in) = match from < to {
            true => (&relay.lower, &relay.stands_for_lower),
            false => (&relay.higher, &relay.stands_for_higher),
        };
        *place.lock().unwrap() = Some(real);
        words[5] = stand_in.local_addr().unwrap().port().to_string();
        words.join(" ")
    }
}

impl Relay {
    async fn open(pairing: Pairing, generation: u32, faults: Arc<Faults>) -> Arc<Self> {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let relay = Arc::new(Self {
            stands_for_lower: bind().await.unwrap(),
            stands_for_higher: bind().await.unwrap(),
            lower: Mutex::new(None),
            higher: Mutex::new(None),
            pairing,
            generation,
            faults,
        });
        tokio::spawn(Arc::clone(&relay).pass(true));
        tokio::spawn(Arc::clone(&relay).pass(false));
        relay
    }

    async fn pass(self: Arc<Self>, is_to_lower: bool) {
        let mut buffer = vec![0; 65_536];
        loop {
            let inlet = if is_to_lower { &self.stands_for_lower } else { &self.stands_for_higher };
            // Errors are a member's closed port.
            let Ok((len, _)) = inlet.recv_from(&mut buffer).await else { continue };
            let is_gone = self.generation < self.faults.paths_gone.load(Ordering::Relaxed);
            if is_gone || self.faults.swallow(self.pairing, is_to_lower, &buffer[..len]) {
                continue;
            }
            let packet = buffer[..len].to_vec();
            let delay = self.faults.delay();
            let relay = Arc::clone(&self);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let (outlet, place) = match is_to_lower {
                    true => (&relay.stands_for_higher, &relay.lower),
                    false => (&relay.stands_for_lower, &relay.higher),
                };
                let to = *place.lock().unwrap();
                if let Some(to) = to {
                    let _ = outlet.send_to(&packet, to).await;
                }
            });
        }
    }
}

impl Faults {
    /// A number below `bound`, which has nothing to do with those before: datagrams and acknowledgements take turns, and
    /// a sequence that is spread evenly hits one of the two more often. This is splitmix64 (Steele, Lea, Flood 2014).
    fn draw(&self, bound: u32) -> u32 {
        let number = u64::from(self.packets.fetch_add(1, Ordering::Relaxed)) + 1;
        let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((bits ^ (bits >> 31)) % u64::from(bound.max(1))).unwrap()
    }

    fn delay(&self) -> Duration {
        let jitter_micros = 1000 * self.jitter_ms.load(Ordering::Relaxed);
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed).into());
        delay + Duration::from_micros(self.draw(jitter_micros).into())
    }

    fn swallow(&self, pairing: Pairing, is_to_lower: bool, packet: &[u8]) -> bool {
        self.is_cut.load(Ordering::Relaxed)
            || (is_to_lower && self.is_cut_to_lower.load(Ordering::Relaxed))
            || (packet.first() == Some(&23) && self.channels_are_mute.load(Ordering::Relaxed))
            || self.draw(100) < self.loss_percent.load(Ordering::Relaxed)
            || (is_to_lower && self.spoils_handshake(pairing, packet))
    }

    /// Whether this is part of flight 4 (RFC 6347 §4.2.4) of a handshake that is to be spoiled: a
    /// handshake record of the server, who is the higher slot, other than `HelloVerifyRequest`.
    /// Repetitions do not pass either.
    fn spoils_handshake(&self, pairing: Pairing, packet: &[u8]) -> bool {
        let is_flight = packet.first() == Some(&22) && packet.get(13) != Some(&3);
        if !is_flight {
            return false;
        }
        let mut spoiled = self.spoiled.lock().unwrap();
        if !spoiled.contains(&pairing) && self.handshakes_to_spoil.load(Ordering::Relaxed) > 0 {
            self.handshakes_to_spoil.fetch_sub(1, Ordering::Relaxed);
            spoiled.insert(pairing);
        }
        spoiled.contains(&pairing)
    }
}
