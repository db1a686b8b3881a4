//! The client of the server's relay: keeps one WebSocket to it open while playing, and passes datagrams
//! and bulk frames between it and the mailboxes. Which of them take this way is not decided here.

mod presence;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, StreamExt};
use rollback_core::PeerId;
use rollback_signaling::{
    PROTOCOL_VERSION, RELAY_BYTES_PER_SECOND, RELAY_MESSAGE_BYTES_MAX, RELAY_MESSAGES_PER_SECOND,
    RelayAllowance, RelayJoin, RelayMessage, RoomName, Token, WATCHER_SLOTS,
};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

pub(crate) use self::presence::Hearing;
use self::presence::{Present, SLOTS_U8};
pub use self::trouble::RelayTrouble;
use self::trouble::{End, connect_error, refusal};
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
    /// This process.
    pub(crate) incarnation: u64,
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
    /// There is no socket for this member, for a reason that lasts.
    Refused(RelayTrouble),
}

/// The client's state between sockets.
pub(crate) struct RelayClient {
    setup: RelaySetup,
    token: Token,
    clock: Clock,
    members: Arc<Mailbox>,
    watchers: Arc<Mailbox>,
    events: mpsc::Sender<RelayEvent>,
    hearing: watch::Receiver<Hearing>,
    present: Present,
    backoff: Backoff,
    /// For troubles that last.
    slow_backoff: Backoff,
    /// What the mesh was told last.
    told: Option<RelayTrouble>,
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
        let slow_backoff = Backoff::new(REFUSED_FIRST, REFUSED_MAX, seed);
        let (present, told) = (Present::nobody(), None);
        Self {
            setup,
            token,
            clock,
            members,
            watchers,
            events,
            hearing,
            present,
            backoff,
            slow_backoff,
            told,
        }
    }

    /// Connects, and connects again after each loss, until `close` or until there is no hope.
    pub(crate) async fn run(mut self, close: CancellationToken) {
        loop {
            let end = tokio::select! {
                biased;
                () = close.cancelled() => End::Closed,
                end = self.connect_and_serve() => end,
            };
            self.leave_all();
            let _ = self.events.send(RelayEvent::Lost).await;
            if self.present.is_welcome() {
                self.backoff.reset();
                self.slow_backoff.reset();
                self.told = None;
            }
            let delay = match end {
                End::Closed => return,
                End::Lost(reason) => {
                    tracing::debug!(%reason, "the relay is lost");
                    self.backoff.next_delay()
                }
                End::Refused(trouble) => {
                    self.tell(trouble).await;
                    if trouble.is_final() {
                        return;
                    }
                    self.slow_backoff.next_delay()
                }
            };
            tokio::select! {
                () = close.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// Tells the mesh of a trouble, once.
    async fn tell(&mut self, trouble: RelayTrouble) {
        tracing::info!(%trouble, "the server relays nothing for this member");
        if self.told.replace(trouble) != Some(trouble) {
            let _ = self.events.send(RelayEvent::Refused(trouble)).await;
        }
    }

    /// Nobody can be reached without a socket.
    fn leave_all(&self) {
        for slot in 0..SLOTS_U8 {
            if self.present.leave(slot)
                && let Some((mailbox, peer)) = place(slot, (&self.members, &self.watchers))
            {
                mailbox.relay_closed(peer);
            }
        }
    }

    async fn connect_and_serve(&mut self) -> End {
        self.present = Present::nobody();
        let opening =
            open(&self.setup.url, (&self.setup.proxy, &self.setup.trust), RELAY_MESSAGE_BYTES_MAX);
        let mut socket = match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return connect_error(&error),
            Err(_) => return End::Lost(format!("no answer within {CONNECT_TIMEOUT:?}")),
        };
        let join = RelayJoin {
            protocol_version: PROTOCOL_VERSION,
            room: self.setup.room.clone(),
            token: self.token,
            incarnation: self.setup.incarnation,
        };
        let text = match join.to_json() {
            Ok(text) => text,
            Err(error) => return End::Lost(error.to_string()),
        };
        if let Err(end) = send(&mut socket, Message::text(text)).await {
            return end;
        }
        let (mut sink, mut stream) = socket.split();
        let mailboxes = (&*self.members, &*self.watchers);
        tokio::select! {
            end = read(&mut stream, &self.present, mailboxes, &self.events) => end,
            end = write(&mut sink, &self.present, mailboxes, &mut self.hearing, self.clock) => end,
        }
    }
}

/// Takes what comes until the socket ends.
async fn read(
    stream: &mut SplitStream<Socket>,
    present: &Present,
    mailboxes: (&Mailbox, &Mailbox),
    events: &mpsc::Sender<RelayEvent>,
) -> End {
    loop {
        let message = match timeout(SILENCE_MAX, stream.next()).await {
            Err(_) => return End::Lost("the server is silent".to_owned()),
            Ok(None | Some(Ok(Message::Close(_)))) => return End::Lost("closed".to_owned()),
            Ok(Some(Err(error))) => return End::Lost(error.to_string()),
            Ok(Some(Ok(Message::Text(text)))) => return refusal(&text, present.is_welcome()),
            Ok(Some(Ok(Message::Binary(message)))) => message,
            Ok(Some(Ok(_))) => continue,
        };
        let event = match RelayMessage::parse(&message) {
            Ok(message_parsed) => take(&message, message_parsed, present, mailboxes),
            Err(_) => return End::Refused(RelayTrouble::Foreign),
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return End::Closed;
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
        RelayMessage::Welcome { .. } => {
            present.welcome();
            None
        }
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
                    Err(_) => return End::Closed,
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

/// First delay before connecting again.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// Longest delay before connecting again: the relay may be needed at any moment.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// First delay before asking again one who refused for a reason that may end: a proxy that wants to be logged in to.
const REFUSED_FIRST: Duration = Duration::from_secs(4);

/// Longest such delay.
const REFUSED_MAX: Duration = Duration::from_secs(60);

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
}
