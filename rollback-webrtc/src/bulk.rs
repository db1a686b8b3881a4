//! Bulk messages to and from one peer: in order, exactly once, bounded, and across reconnections,
//! over channels each of which may end at any moment. Pure: it knows no channel and no clock.
//!
//! A WebRTC channel is reliable only while its connection lives, and has no limit to what a receiver
//! must hold. So each message has a number, the receiver acknowledges what its game has taken, the
//! sender keeps what is not acknowledged and has at most [`BULK_WINDOW`] such messages. A new
//! channel begins with a hello that says where each side stands. Frames, little-endian:
//!
//! | frame | bytes |
//! |---|---|
//! | hello | `1`, own incarnation u64, that of the peer as far as it is known or 0 u64, next number expected u64, number taken up to u64 |
//! | data | `2`, number u64, message |
//! | taken | `3`, number taken up to u64 |
//! | probe | `4`, number u64 |
//! | echo | `5`, number u64: the answer to a probe |
//!
//! There may be two channels at once, one on each [`Way`]. Each side sends on the one that it prefers and takes what
//! comes on either: on each channel numbers begin at or below the one that the receiver expects, and have no gaps but
//! over what it has taken, so that whatever is sent twice is known by its number.
//!
//! A channel carries two such lanes: the application's messages, and the *notices* of the game loops, whose first byte has
//! `16` added. Neither waits for the other to be taken. What a former process of a peer was told in notices, a new one is not.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use rollback_signaling::RELAY_BULK_WINDOW_BYTES;

use crate::route::Way;

/// Longest bulk message in bytes.
pub const BULK_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Bulk messages to one peer that may wait to be taken by its game: with the longest messages 1 MiB.
pub const BULK_WINDOW: usize = 64;

/// Both directions of bulk messages with one peer.
#[derive(Debug)]
pub(crate) struct BulkLink {
    lane: Lane,
    incarnation: u64,
    peer_incarnation: Option<u64>,
    outgoing: Outgoing,
    incoming: Incoming,
    webrtc: Channel,
    server: Channel,
    /// The number of the last probe that came back.
    echoed: Option<u64>,
}

/// Whose messages they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The application's.
    Bulk,
    /// The game loop's own.
    Notices,
}

/// A frame that no honest peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame is not one that an honest peer sends now")]
pub(crate) struct BulkViolation;

#[derive(Debug, Default)]
struct Outgoing {
    /// Not taken by the peer's game yet; the first has the number `taken`.
    kept: VecDeque<Bytes>,
    taken: u64,
}

#[derive(Debug, Default)]
struct Incoming {
    waiting: VecDeque<Bytes>,
    /// The next number expected.
    next: u64,
    /// Numbers below this were taken by the game.
    taken: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Channel {
    /// Which channel it is; an earlier one of the same way may still have a task.
    number: u64,
    is_open: bool,
    hello_sent: bool,
    /// The peer's process, as its hello on this channel said.
    peer: Option<u64>,
    /// The next number to send here.
    next: u64,
    /// What the peer was last told here of what was taken.
    told: u64,
    probe: Option<u64>,
    /// The last probe that was sent, and whether it is still to come back.
    probed: u64,
    is_probed: bool,
    /// A probe to answer.
    echo: Option<u64>,
}

impl BulkLink {
    /// Nothing sent, nothing received. `incarnation` is a random number of this process.
    pub(crate) fn new(lane: Lane, incarnation: u64) -> Self {
        Self {
            lane,
            incarnation,
            peer_incarnation: None,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            webrtc: Channel::default(),
            server: Channel::default(),
            echoed: None,
        }
    }

    /// A new channel with this number is open on a way; an earlier one there counts no more.
    pub(crate) fn channel_opened(&mut self, way: Way, number: u64) {
        *self.channel(way) = Channel { number, is_open: true, ..Channel::default() };
    }

    /// There is no channel on this way now.
    pub(crate) fn channel_closed(&mut self, way: Way) {
        let number = self.channel(way).number;
        *self.channel(way) = Channel { number, ..Channel::default() };
    }

    /// Whether this is the channel that counts now on its way.
    pub(crate) fn is_current(&self, way: Way, number: u64) -> bool {
        let channel = self.channel_on(way);
        channel.is_open && channel.number == number
    }

    /// The number of the newest channel on a way.
    pub(crate) const fn number(&self, way: Way) -> u64 {
        self.channel_on(way).number
    }

    /// Queues a message; `false` when the window is full.
    pub(crate) fn push(&mut self, message: &[u8]) -> bool {
        if self.outgoing.kept.len() >= BULK_WINDOW {
            return false;
        }
        self.outgoing.kept.push_back(Bytes::copy_from_slice(message));
        true
    }

    /// The next message received.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let message = self.incoming.waiting.pop_front()?;
        self.incoming.taken += 1;
        Some(message)
    }

    /// Whether a message waits to be taken.
    pub(crate) fn has_message(&self) -> bool {
        !self.incoming.waiting.is_empty()
    }

    /// Sends a number through the WebRTC channel, to get it back.
    pub(crate) fn probe(&mut self, number: u64) {
        self.webrtc.probe = Some(number);
    }

    /// Sends the last number once more: that it comes back shows that the channel works.
    pub(crate) fn ask(&mut self) {
        self.webrtc.probe = self.webrtc.probe.or(Some(self.webrtc.probed));
    }

    /// The number of a probe that came back since the last call.
    pub(crate) fn take_echo(&mut self) -> Option<u64> {
        self.echoed.take()
    }

    /// The next frame to send on a way, if there is something to send there now. Messages go on the
    /// `preferred` way, if there is a channel; not now without `with_messages`.
    pub(crate) fn poll_frame(
        &mut self,
        way: Way,
        preferred: Way,
        with_messages: bool,
    ) -> Option<BytesMut> {
        let is_carrier = self.carrier(preferred) == way;
        let (expected, taken) = (self.incoming.next, self.incoming.taken);
        let peer = self.peer_incarnation;
        let mark = self.lane.mark();
        let first_kept = self.outgoing.taken;
        let channel = self.channel(way);
        if !channel.is_open {
            return None;
        }
        if !channel.hello_sent {
            channel.hello_sent = true;
            channel.told = taken;
            return Some(self.hello(expected, taken));
        }
        if let Some(number) = channel.probe.take() {
            (channel.probed, channel.is_probed) = (number, true);
            return Some(numbered(PROBE | mark, number, &[]));
        }
        if let Some(number) = channel.echo.take() {
            return Some(numbered(ECHO | mark, number, &[]));
        }
        if !is_carrier || channel.peer.is_none() || channel.peer != peer {
            return None;
        }
        if channel.told < taken {
            channel.told = taken;
            return Some(numbered(TAKEN | mark, taken, &[]));
        }
        if !with_messages {
            return None;
        }
        let number = channel.next.max(first_kept);
        let index = usize::try_from(number - first_kept).ok()?;
        let message = self.outgoing.kept.get(index)?.clone();
        let under_way: usize = self.outgoing.kept.iter().take(index).map(Bytes::len).sum();
        let is_too_much = under_way > 0 && under_way + message.len() > RELAY_BULK_WINDOW_BYTES;
        if way == Way::Server && is_too_much {
            return None;
        }
        self.channel(way).next = number + 1;
        Some(numbered(DATA | mark, number, &message))
    }

    /// Takes a frame from the peer that came on a way.
    pub(crate) fn handle_frame(&mut self, way: Way, frame: &Bytes) -> Result<(), BulkViolation> {
        let (kind, body) = frame.split_first().ok_or(BulkViolation)?;
        let (number, rest) = split_u64(body)?;
        let sender = self.channel_on(way).peer;
        match (kind ^ self.lane.mark(), sender) {
            (HELLO, None) => self.handle_hello(way, number, rest),
            (PROBE, _) if rest.is_empty() => {
                self.channel(way).echo = Some(number);
                Ok(())
            }
            (ECHO, _) if rest.is_empty() => self.handle_echo(way, number),
            // Of a process that another has followed since.
            (DATA | TAKEN, Some(_)) if sender != self.peer_incarnation => Ok(()),
            (DATA, Some(_)) => self.handle_data(number, frame.slice_ref(rest)),
            (TAKEN, Some(_)) if rest.is_empty() => self.handle_taken(number),
            _ => Err(BulkViolation),
        }
    }

    fn hello(&self, expected: u64, taken: u64) -> BytesMut {
        let mut frame = numbered(HELLO | self.lane.mark(), self.incarnation, &[]);
        frame.put_u64_le(self.peer_incarnation.unwrap_or(0));
        frame.put_u64_le(expected);
        frame.put_u64_le(taken);
        frame
    }

    fn handle_hello(
        &mut self,
        way: Way,
        incarnation: u64,
        rest: &[u8],
    ) -> Result<(), BulkViolation> {
        let (knows, rest) = split_u64(rest)?;
        let (next, rest) = split_u64(rest)?;
        let (taken, rest) = split_u64(rest)?;
        if !rest.is_empty() {
            return Err(BulkViolation);
        }
        // What it says of another process, or of none, says nothing of this one.
        let (next, taken) = if knows == self.incarnation { (next, taken) } else { (0, 0) };
        if self.peer_incarnation == Some(incarnation) {
            self.handle_taken(taken)?;
            if next > self.outgoing.taken + self.outgoing.kept.len() as u64 {
                return Err(BulkViolation);
            }
            self.channel(way).next = next;
        } else {
            // Another process: it numbers from zero, and knows nothing of what the former one got
            // or sent.
            let former = self.peer_incarnation.replace(incarnation);
            if self.lane == Lane::Notices && former.is_some() {
                self.outgoing.kept.clear();
            }
            self.incoming = Incoming::default();
            self.outgoing.taken = 0;
            let channel = self.channel(way);
            channel.next = 0;
            channel.told = 0;
        }
        self.channel(way).peer = Some(incarnation);
        Ok(())
    }

    fn handle_echo(&mut self, way: Way, number: u64) -> Result<(), BulkViolation> {
        let channel = self.channel(way);
        if number > channel.probed {
            return Err(BulkViolation);
        }
        // That of a former probe comes too late to say anything.
        if number == channel.probed && std::mem::take(&mut channel.is_probed) {
            self.echoed = Some(number);
        }
        Ok(())
    }

    fn handle_data(&mut self, number: u64, message: Bytes) -> Result<(), BulkViolation> {
        if number < self.incoming.next {
            return Ok(());
        }
        let is_in_order = number == self.incoming.next;
        let fits = self.incoming.waiting.len() < BULK_WINDOW;
        if !is_in_order || !fits || message.len() > BULK_MESSAGE_BYTES_MAX {
            return Err(BulkViolation);
        }
        self.incoming.next += 1;
        self.incoming.waiting.push_back(message);
        Ok(())
    }

    fn handle_taken(&mut self, taken: u64) -> Result<(), BulkViolation> {
        // One that was overtaken by a later one on the other way.
        let Some(newly) = taken.checked_sub(self.outgoing.taken) else { return Ok(()) };
        let newly = usize::try_from(newly).map_err(|_| BulkViolation)?;
        if newly > self.outgoing.kept.len() {
            return Err(BulkViolation);
        }
        self.outgoing.kept.drain(..newly);
        self.outgoing.taken = taken;
        Ok(())
    }

    /// The way on which messages go: the preferred one, unless only the other has a channel that both
    /// sides have greeted on.
    fn carrier(&self, preferred: Way) -> Way {
        let is_ready = |way| {
            let channel = self.channel_on(way);
            channel.is_open && channel.peer.is_some() && channel.peer == self.peer_incarnation
        };
        let other = match preferred {
            Way::WebRtc => Way::Server,
            Way::Server => Way::WebRtc,
        };
        if !is_ready(preferred) && is_ready(other) { other } else { preferred }
    }

    const fn channel(&mut self, way: Way) -> &mut Channel {
        match way {
            Way::WebRtc => &mut self.webrtc,
            Way::Server => &mut self.server,
        }
    }

    const fn channel_on(&self, way: Way) -> &Channel {
        match way {
            Way::WebRtc => &self.webrtc,
            Way::Server => &self.server,
        }
    }
}

impl Lane {
    /// The lane of a frame.
    pub(crate) fn of(frame: &[u8]) -> Self {
        match frame.first() {
            Some(kind) if kind & NOTICES != 0 => Self::Notices,
            _ => Self::Bulk,
        }
    }

    const fn mark(self) -> u8 {
        match self {
            Self::Bulk => 0,
            Self::Notices => NOTICES,
        }
    }
}

/// Whether a frame carries a message.
pub(crate) fn is_message(frame: &[u8]) -> bool {
    frame.first().is_some_and(|kind| kind & !NOTICES == DATA)
}

fn numbered(kind: u8, number: u64, body: &[u8]) -> BytesMut {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + body.len());
    frame.put_u8(kind);
    frame.put_u64_le(number);
    frame.put_slice(body);
    frame
}

fn split_u64(bytes: &[u8]) -> Result<(u64, &[u8]), BulkViolation> {
    let (number, rest) = bytes.split_first_chunk().ok_or(BulkViolation)?;
    Ok((u64::from_le_bytes(*number), rest))
}

const HELLO: u8 = 1;
const DATA: u8 = 2;
const TAKEN: u8 = 3;
const PROBE: u8 = 4;
const ECHO: u8 = 5;
/// Added to these in the lane of notices.
const NOTICES: u8 = 16;

const HEADER_BYTES: usize = 9;

#[cfg(test)]
mod tests;
