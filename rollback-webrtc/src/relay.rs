//! The client of the server's relay: keeps one WebSocket to it open while playing, and passes datagrams
//! and bulk frames between it and the mailboxes. Which of them take this way is not decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, StreamExt};
use rollback_core::PeerId;
use rollback_signaling::{
    ErrorCode, PROTOCOL_VERSION, RELAY_BYTES_PER_SECOND, RELAY_MESSAGE_BYTES_MAX,
    RELAY_MESSAGES_PER_SECOND, RelayAllowance, RelayJoin, RelayMessage, RoomName, ServerMessage,
    Token, WATCHER_SLOTS, WATCHERS_MAX,
};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::mailbox::{Mailbox, Relayed};
use crate::proxy::ProxyChoice;
use crate::route::Way;
use crate::telemetry::datagram_bytes;
use crate::tls::Trust;
use crate::websocket::open;

/// Where the relay is, and who asks for it.
#[derive(Debug, Clone)]
pub(crate) struct RelaySetup {
    pub(crate) url: String,
    pub(crate) room: RoomName,
    pub(crate) proxy: ProxyChoice,
    pub(crate) trust: Arc<Trust>,
}

/// What the mesh learns. Slots of those who watch begin at [`WATCHER_SLOTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayEvent {
    /// Both sides have a relay socket now.
    Here { slot: u8 },
    /// The other has none any more.
    Gone { slot: u8 },
    /// The other says whether it hears this side over WebRTC.
    Heard { slot: u8, is_heard: bool },
    /// The own socket is gone.
    Lost,
}

/// Who is heard over WebRTC, by slot; all are until the contrary is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hearing([bool; SLOTS]);

/// The client's state between sockets.
pub(crate) struct RelayClient {
    setup: RelaySetup,
    token: Token,
    clock: Clock,
    members: Arc<Mailbox>,
    watchers: Arc<Mailbox>,
    events: mpsc::Sender<RelayEvent>,
    hearing: watch::Receiver<Hearing>,
    backoff: Backoff,
}

/// What the two halves of one socket have in common.
#[derive(Debug)]
struct Present {
    /// Who has a relay socket too.
    is_here: [AtomicBool; SLOTS],
    /// What the others were told of their being heard.
    told: [AtomicBool; SLOTS],
    changed: Notify,
}

/// How a socket ended.
#[derive(Debug)]
enum End {
    Lost(String),
    /// The server will have none of this client.
    Refused(String),
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl RelayClient {
    pub(crate) fn new(
        (setup, token): (RelaySetup, Token),
        (members, watchers): (Arc<Mailbox>, Arc<Mailbox>),
        events: mpsc::Sender<RelayEvent>,
        hearing: watch::Receiver<Hearing>,
        (clock, seed): (Clock, u64),
    ) -> Self {
        let backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, seed);
        Self { setup, token, clock, members, watchers, events, hearing, backoff }
    }

    /// Connects, and connects again after each loss, until `close` or until the server refuses for good.
    pub(crate) async fn run(mut self, close: CancellationToken) {
        loop {
            let end = tokio::select! {
                () = close.cancelled() => return,
                end = self.connect_and_serve() => end,
            };
            match end {
                End::Refused(reason) => {
                    tracing::info!(%reason, "the server relays nothing for this member");
                    return;
                }
                End::Lost(reason) => tracing::debug!(%reason, "the relay is lost"),
            }
            let delay = self.backoff.next_delay();
            tokio::select! {
                () = close.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    async fn connect_and_serve(&mut self) -> End {
        let opening =
            open(&self.setup.url, (&self.setup.proxy, &self.setup.trust), RELAY_MESSAGE_BYTES_MAX);
        let mut socket = match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) if error.is_final() => return End::Refused(error.to_string()),
            Ok(Err(error)) => return End::Lost(error.to_string()),
            Err(_) => return End::Lost(format!("no answer within {CONNECT_TIMEOUT:?}")),
        };
        let join = RelayJoin {
            protocol_version: PROTOCOL_VERSION,
            room: self.setup.room.clone(),
            token: self.token,
        };
        let text = match join.to_json() {
            Ok(text) => text,
            Err(error) => return End::Refused(error.to_string()),
        };
        if let Err(end) = send(&mut socket, Message::text(text)).await {
            return end;
        }
        let (mut sink, mut stream) = socket.split();
        let present = Present::nobody();
        let end = tokio::select! {
            end = read(
                &mut stream,
                &present,
                (&self.members, &self.watchers),
                &self.events,
                &mut self.backoff,
            ) => end,
            end = write(
                &mut sink,
                &present,
                (&self.members, &self.watchers),
                &mut self.hearing,
                self.clock,
            ) => end,
        };
        for slot in 0..SLOTS_U8 {
            if present.leave(slot)
                && let Some((mailbox, peer)) = place(slot, (&self.members, &self.watchers))
            {
                mailbox.relay_closed(peer);
            }
        }
        let _ = self.events.send(RelayEvent::Lost).await;
        end
    }
}

/// Takes what comes until the socket ends.
async fn read(
    stream: &mut SplitStream<Socket>,
    present: &Present,
    mailboxes: (&Mailbox, &Mailbox),
    events: &mpsc::Sender<RelayEvent>,
    backoff: &mut Backoff,
) -> End {
    loop {
        let message = match timeout(SILENCE_MAX, stream.next()).await {
            Err(_) => return End::Lost("the server is silent".to_owned()),
            Ok(None | Some(Ok(Message::Close(_)))) => return End::Lost("closed".to_owned()),
            Ok(Some(Err(error))) => return End::Lost(error.to_string()),
            Ok(Some(Ok(Message::Text(text)))) => return refusal(&text),
            Ok(Some(Ok(Message::Binary(message)))) => message,
            Ok(Some(Ok(_))) => continue,
        };
        let event = match RelayMessage::parse(&message) {
            Ok(RelayMessage::Welcome { .. }) => {
                backoff.reset();
                None
            }
            Ok(message_parsed) => take(&message, message_parsed, present, mailboxes),
            Err(error) => return End::Refused(error.to_string()),
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return End::Refused("the mesh has ended".to_owned());
        }
    }
}

fn take(
    bytes: &Bytes,
    message: RelayMessage<'_>,
    present: &Present,
    mailboxes: (&Mailbox, &Mailbox),
) -> Option<RelayEvent> {
    match message {
        RelayMessage::Welcome { .. } => None,
        RelayMessage::Datagram { slot, datagram } => {
            let (mailbox, peer) = place(slot, mailboxes)?;
            mailbox.deliver(peer, Way::Server, bytes.slice_ref(datagram));
            None
        }
        RelayMessage::Bulk { slot, pairing, frame } => {
            let (mailbox, peer) = place(slot, mailboxes)?;
            mailbox.deliver_bulk(peer, (Way::Server, pairing), &bytes.slice_ref(frame));
            None
        }
        RelayMessage::Here { slot, pairing } => {
            let (mailbox, peer) = place(slot, mailboxes)?;
            mailbox.relay_opened(peer, pairing);
            present.enter(slot);
            Some(RelayEvent::Here { slot })
        }
        RelayMessage::Gone { slot } => {
            let (mailbox, peer) = place(slot, mailboxes)?;
            mailbox.relay_closed(peer);
            present.leave(slot);
            Some(RelayEvent::Gone { slot })
        }
        RelayMessage::Hearing { slot, is_heard } => Some(RelayEvent::Heard { slot, is_heard }),
    }
}

/// Sends what there is to send until the socket ends.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    present: &Present,
    (members, watchers): (&Mailbox, &Mailbox),
    hearing: &mut watch::Receiver<Hearing>,
    clock: Clock,
) -> End {
    let mut ping = interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let origin = clock.now();
    let mut allowance = RelayAllowance::new(
        Duration::ZERO,
        RELAY_MESSAGES_PER_SECOND / 2,
        RELAY_BYTES_PER_SECOND / 2,
    );
    let mut bulk_at = origin;
    loop {
        let now = clock.now();
        let with_bulk = now >= bulk_at;
        let news = *hearing.borrow_and_update();
        let relayed = || {
            let of_watchers = || Some((WATCHER_SLOTS, watchers.poll_relayed(now, with_bulk)?));
            members.poll_relayed(now, with_bulk).map(|it| (0, it)).or_else(of_watchers)
        };
        let message = if let Some(message) = present.next_news(&news) {
            message
        } else if let Some((first, relayed)) = relayed() {
            let mailbox = if first == 0 { members } else { watchers };
            match relayed {
                Relayed::Datagram(to, datagram) => {
                    let is_allowed = allowance.spend(now.since(origin), datagram.len());
                    if let Some(bytes) = datagram_bytes(&datagram) {
                        mailbox.count_sent(to, Way::Server, bytes, is_allowed);
                    }
                    if !is_allowed {
                        continue;
                    }
                    let slot = first + to.slot();
                    RelayMessage::Datagram { slot, datagram: &datagram }.to_bytes()
                }
                Relayed::Bulk(to, pairing, frame) => {
                    bulk_at = now.plus(bulk_time(frame.len()));
                    let slot = first + to.slot();
                    RelayMessage::Bulk { slot, pairing, frame: &frame }.to_bytes()
                }
            }
        } else {
            let until_bulk = bulk_at.since(now);
            let is_ping = tokio::select! {
                () = members.wait_relayed() => false,
                () = watchers.wait_relayed() => false,
                () = present.changed.notified() => false,
                changed = hearing.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return End::Refused("the mesh has ended".to_owned()),
                },
                () = tokio::time::sleep(until_bulk), if !with_bulk => false,
                _ = ping.tick() => true,
            };
            if is_ping && let Err(end) = send(sink, Message::Ping(Bytes::new())).await {
                return end;
            }
            continue;
        };
        if let Err(end) = send(sink, Message::Binary(message.into())).await {
            return end;
        }
    }
}

async fn send<S>(sink: &mut S, message: Message) -> Result<(), End>
where
    S: Sink<Message, Error = tokio_tungstenite::tungstenite::Error> + Unpin,
{
    match timeout(WRITE_TIMEOUT, sink.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::Lost(error.to_string())),
        Err(_) => Err(End::Lost("the server does not read".to_owned())),
    }
}

/// A text of the server is always a refusal.
fn refusal(text: &str) -> End {
    match ServerMessage::from_json(text) {
        Ok(ServerMessage::Error { code, message }) => {
            let is_passing = code.is_temporary() || code == ErrorCode::TimedOut;
            let reason = message.as_str().to_owned();
            if is_passing { End::Lost(reason) } else { End::Refused(reason) }
        }
        Ok(_) => End::Refused("it sends signals".to_owned()),
        Err(error) => End::Refused(error.to_string()),
    }
}

fn place<'mailbox>(
    slot: u8,
    (members, watchers): (&'mailbox Mailbox, &'mailbox Mailbox),
) -> Option<(&'mailbox Mailbox, PeerId)> {
    match slot.checked_sub(WATCHER_SLOTS) {
        None => Some((members, PeerId::new(slot)?)),
        Some(place) => Some((watchers, PeerId::new(place)?)),
    }
}

/// How long bulk frames pause after one of so many bytes.
fn bulk_time(bytes: usize) -> Duration {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    BULK_PAUSE + Duration::from_secs(1) * bytes / (RELAY_BYTES_PER_SECOND / 4)
}

impl Hearing {
    pub(crate) const fn all() -> Self {
        Self([true; SLOTS])
    }

    pub(crate) fn set(&mut self, slot: u8, is_heard: bool) {
        if let Some(known) = self.0.get_mut(usize::from(slot)) {
            *known = is_heard;
        }
    }
}

impl Present {
    fn nobody() -> Self {
        Self {
            is_here: [const { AtomicBool::new(false) }; SLOTS],
            told: [const { AtomicBool::new(true) }; SLOTS],
            changed: Notify::new(),
        }
    }

    fn enter(&self, slot: u8) {
        if let (Some(is_here), Some(told)) =
            (self.is_here.get(usize::from(slot)), self.told.get(usize::from(slot)))
        {
            is_here.store(true, Ordering::Relaxed);
            // A new socket of the other has been told nothing.
            told.store(true, Ordering::Relaxed);
            self.changed.notify_one();
        }
    }

    /// Says whether it was here.
    fn leave(&self, slot: u8) -> bool {
        let is_here = self.is_here.get(usize::from(slot));
        is_here.is_some_and(|is_here| is_here.swap(false, Ordering::Relaxed))
    }

    /// What somebody has to be told of being heard.
    fn next_news(&self, hearing: &Hearing) -> Option<Vec<u8>> {
        let slots = self.is_here.iter().zip(&self.told).zip(&hearing.0).zip(0..);
        for (((is_here, told), &is_heard), slot) in slots {
            if is_here.load(Ordering::Relaxed) && told.load(Ordering::Relaxed) != is_heard {
                told.store(is_heard, Ordering::Relaxed);
                return Some(RelayMessage::Hearing { slot, is_heard }.to_bytes());
            }
        }
        None
    }
}

/// Slots of members and of those who watch.
const SLOTS_U8: u8 = WATCHER_SLOTS + WATCHERS_MAX;
const SLOTS: usize = SLOTS_U8 as usize;

/// First delay before connecting again.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// Longest delay before connecting again: the relay may be needed at any moment.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How long one try to connect may take, DNS, proxy and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one message may take to go into the socket's buffer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the server is pinged, which keeps proxies and NATs from forgetting the socket.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// How long nothing may come, answers to pings included: two lost ones, and what TCP needs to repeat a
/// third.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// Least pause between two bulk frames; their rate is a quarter of what the server allows.
const BULK_PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_frames_keep_well_below_the_limits_of_the_server() {
        let longest = bulk_time(16 * 1024);
        // A quarter of the bytes, and of the messages.
        assert!(longest * RELAY_BYTES_PER_SECOND / 4 >= Duration::from_secs(16 * 1024));
        assert!(bulk_time(9) * RELAY_MESSAGES_PER_SECOND / 4 >= Duration::from_secs(1));
    }

    #[test]
    fn others_are_told_of_changes_only_and_a_new_socket_is_told_anew() {
        let present = Present::nobody();
        let mut hearing = Hearing::all();
        hearing.set(1, false);
        assert_eq!(present.next_news(&hearing), None, "nobody is there");
        present.enter(1);
        present.enter(9);
        let deaf = RelayMessage::Hearing { slot: 1, is_heard: false }.to_bytes();
        assert_eq!(present.next_news(&hearing), Some(deaf.clone()));
        assert_eq!(present.next_news(&hearing), None);
        present.enter(1);
        assert_eq!(present.next_news(&hearing), Some(deaf));
        hearing.set(1, true);
        let hears = RelayMessage::Hearing { slot: 1, is_heard: true }.to_bytes();
        assert_eq!(present.next_news(&hearing), Some(hears));
        assert!(present.leave(1) && !present.leave(1));
    }

    #[test]
    fn a_refusal_that_may_pass_is_no_end() {
        let refused =
            |code: &str| refusal(&format!(r#"{{"kind":"error","code":"{code}","message":"why"}}"#));
        for code in ["rate_limited", "server_full", "shutting_down", "timed_out"] {
            assert!(matches!(refused(code), End::Lost(_)), "{code}");
        }
        for code in ["replaced", "unknown_token", "bad_message", "unsupported_version"] {
            assert!(matches!(refused(code), End::Refused(_)), "{code}");
        }
        assert!(matches!(refusal("nonsense"), End::Refused(_)));
    }
}
