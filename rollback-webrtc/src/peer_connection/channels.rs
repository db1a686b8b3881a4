//! What passes through a connection's channels: datagrams each way on the channel of their sender, bulk frames both
//! ways on one. The home of rules R1 and R5.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rollback_core::PeerId;
use tokio::sync::{mpsc, watch};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};

use super::Opened;
use crate::mailbox::Mailbox;
use crate::route::Way;
use crate::telemetry::datagram_bytes;

/// **Rule R1: send only on channels you created.** In `rtc` 0.21.1 the side that *accepts* a channel
/// never applies the channel's reliability to its own stream: it sends reliable and ordered,
/// whatever was agreed, and one lost packet holds up all later ones for 0.7–1.1 s. So each peer
/// creates its own channel for datagrams and sends on that one only.
///
/// **Rule R5: no old datagrams, and nothing waits for them.** SCTP keeps a window even for messages that it never repeats:
/// during an outage they queue, and arrive after it, as old as the outage. With a lifetime they expire instead, and they must
/// expire before SCTP repeats them: one that was repeated and lost once more holds up all that `rtc` 0.21.1 would do about
/// other losses until its timer fires after a second, and then all that was lost meanwhile is sent in a window of one packet,
/// behind which the newest datagrams wait. So the lifetime is below the 50 ms and one round trip after which a lost datagram is
/// known to be missing, at 60 a second; with four times as many that holds from a round trip of 50 ms on. That nothing is
/// repeated wears the association out where much is lost: see `telemetry::wear`.
pub(super) fn datagram_channel() -> RTCDataChannelInit {
    let lifetime = Some(DATAGRAM_LIFETIME_MILLIS);
    RTCDataChannelInit { ordered: false, max_packet_life_time: lifetime, ..Default::default() }
}

/// Sends what the game queues, on the channel that this side created (R1), once the whole connection is open: until then
/// there may be another that does.
pub(super) async fn send_datagrams(
    channel: Arc<dyn DataChannel>,
    peer: PeerId,
    mailbox: Arc<Mailbox>,
    opened: mpsc::Sender<Opened>,
    mut connection: watch::Receiver<bool>,
) {
    let mut is_open = false;
    loop {
        tokio::select! {
            event = channel.poll() => match event {
                // The receiver outlives this task.
                Some(DataChannelEvent::OnOpen) => {
                    let _ = opened.send(Opened::OwnDatagrams).await;
                }
                Some(DataChannelEvent::OnMessage(_)) => {
                    mailbox.note_violation(peer);
                }
                Some(DataChannelEvent::OnClose) | None => return,
                Some(_) => {}
            },
            Ok(()) = connection.changed() => is_open = true,
            datagram = next_datagram(&*channel, peer, &mailbox), if is_open => {
                let bytes = datagram_bytes(&datagram);
                let was_sent = channel.send(datagram).await.is_ok();
                if let Some(bytes) = bytes {
                    mailbox.count_sent(peer, Way::WebRtc, bytes, was_sent);
                }
            }
        }
    }
}

/// R5, second half: `send` never fails and its queue has no limit, so what waits there is bounded here. While there is no
/// room, datagrams wait in the mailbox, where the oldest go first.
async fn next_datagram(channel: &dyn DataChannel, peer: PeerId, mailbox: &Mailbox) -> BytesMut {
    loop {
        mailbox.wait_outgoing(peer).await;
        // A channel that cannot say how much waits is closed, and its loop ends by itself.
        let outstanding = channel.outstanding_bytes().await.unwrap_or(usize::MAX);
        match mailbox.poll_outgoing(peer, outstanding) {
            Some(datagram) => return datagram,
            None => tokio::time::sleep(ROOM_INTERVAL).await,
        }
    }
}

/// Takes datagrams from the peer's channel. It never waits for anything else: a channel that is not
/// polled blocks all channels of its connection.
pub(super) async fn receive_datagrams(
    channel: Arc<dyn DataChannel>,
    peer: PeerId,
    mailbox: Arc<Mailbox>,
) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnMessage(message) => {
                mailbox.deliver(peer, Way::WebRtc, message.data.freeze());
            }
            DataChannelEvent::OnClose => return,
            _ => {}
        }
    }
}

/// Carries bulk frames both ways, once the whole connection is open: from then on the mailbox takes them from this channel,
/// and from no other.
pub(super) async fn carry_bulk(
    channel: Arc<dyn DataChannel>,
    peer: PeerId,
    mailbox: Arc<Mailbox>,
    opened: mpsc::Sender<Opened>,
    mut connection: watch::Receiver<bool>,
) {
    let mut number = None;
    // What the peer sends before, for which the connection is open already.
    let mut early = Vec::new();
    loop {
        tokio::select! {
            event = channel.poll() => match event {
                Some(DataChannelEvent::OnOpen) => {
                    let _ = opened.send(Opened::Bulk).await;
                }
                Some(DataChannelEvent::OnMessage(_)) if early.len() >= EARLY_FRAMES => return,
                Some(DataChannelEvent::OnMessage(message)) => early.push(message.data.freeze()),
                Some(DataChannelEvent::OnClose) | None => return,
                Some(_) => {}
            },
            Ok(()) = connection.changed() => number = mailbox.bulk_opened(peer),
            frame = mailbox.next_bulk_frame(peer, number), if number.is_some() => {
                // The window of bulk messages bounds what waits in the channel.
                if channel.send(frame).await.is_err() {
                    return;
                }
            }
        }
        let Some(number) = number else { continue };
        for frame in early.drain(..) {
            if let Some(echo) = mailbox.deliver_bulk(peer, (Way::WebRtc, number), &frame) {
                let _ = opened.send(Opened::Echo(echo)).await;
            }
        }
    }
}

/// Polls a channel that no honest peer opens, so that it blocks no other.
pub(super) async fn drain(channel: Arc<dyn DataChannel>) {
    while channel.poll().await.is_some() {}
}

/// Above the delay that a lost acknowledgement of SCTP can cause, and below the time after which a lost datagram is found to be
/// missing, or one with inputs is repeated anyway.
const DATAGRAM_LIFETIME_MILLIS: u16 = 60;

/// Bulk frames that may come before the connection is open on this side, too: within a round trip or a timer of SCTP.
const EARLY_FRAMES: usize = 256;

/// How often it is looked whether there is room again: well within a frame.
const ROOM_INTERVAL: Duration = Duration::from_millis(5);
