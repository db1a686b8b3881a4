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
//! | hello | `1`, incarnation u64, next number expected u64, number taken up to u64 |
//! | data | `2`, number u64, message |
//! | taken | `3`, number taken up to u64 |
//!
//! A channel carries two such lanes: the application's messages, and the *notices* of the game loops, whose first byte has
//! `16` added. Neither waits for the other to be taken. What a former process of a peer was told in notices, a new one is not.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

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
    channel: Channel,
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
    /// The next number to send on this channel.
    next: u64,
}

#[derive(Debug, Default)]
struct Incoming {
    waiting: VecDeque<Bytes>,
    /// The next number expected.
    next: u64,
    /// Numbers below this were taken by the game.
    taken: u64,
    /// What the peer was last told of `taken`.
    told: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Channel {
    /// Which channel it is, counted from the start; an earlier one may still have a task.
    number: u64,
    is_open: bool,
    hello_sent: bool,
    hello_received: bool,
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
            channel: Channel::default(),
        }
    }

    /// A new channel is open; an earlier one counts no more. Returns the number of the new one.
    pub(crate) fn channel_opened(&mut self) -> u64 {
        let number = self.channel.number + 1;
        self.channel = Channel { number, is_open: true, ..Channel::default() };
        number
    }

    /// There is no channel now.
    pub(crate) fn channel_closed(&mut self) {
        self.channel = Channel { number: self.channel.number, ..Channel::default() };
    }

    /// Whether this is the channel that counts now.
    pub(crate) fn is_current(&self, number: u64) -> bool {
        self.channel.is_open && self.channel.number == number
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

    /// The next frame to send, if there is something to send now.
    pub(crate) fn poll_frame(&mut self) -> Option<BytesMut> {
        if !self.channel.is_open {
            return None;
        }
        if !self.channel.hello_sent {
            self.channel.hello_sent = true;
            self.incoming.told = self.incoming.taken;
            return Some(self.hello());
        }
        if !self.channel.hello_received {
            return None;
        }
        if self.incoming.told < self.incoming.taken {
            self.incoming.told = self.incoming.taken;
            return Some(self.numbered(TAKEN, self.incoming.taken, &[]));
        }
        let number = self.outgoing.next;
        let index = usize::try_from(number.checked_sub(self.outgoing.taken)?).ok()?;
        let message = self.outgoing.kept.get(index)?;
        let message = message.clone();
        self.outgoing.next += 1;
        Some(self.numbered(DATA, number, &message))
    }

    /// Takes a frame from the peer.
    pub(crate) fn handle_frame(&mut self, frame: &Bytes) -> Result<(), BulkViolation> {
        let (kind, body) = frame.split_first().ok_or(BulkViolation)?;
        let (number, rest) = split_u64(body)?;
        match (kind ^ self.lane.mark(), self.channel.hello_received) {
            (HELLO, false) => self.handle_hello(number, rest),
            (DATA, true) => self.handle_data(number, frame.slice_ref(rest)),
            (TAKEN, true) if rest.is_empty() => self.handle_taken(number),
            _ => Err(BulkViolation),
        }
    }

    fn hello(&self) -> BytesMut {
        let mut frame = self.numbered(HELLO, self.incarnation, &[]);
        frame.put_u64_le(self.incoming.next);
        frame.put_u64_le(self.incoming.taken);
        frame
    }

    fn handle_hello(&mut self, incarnation: u64, rest: &[u8]) -> Result<(), BulkViolation> {
        let (next, rest) = split_u64(rest)?;
        let (taken, rest) = split_u64(rest)?;
        if !rest.is_empty() {
            return Err(BulkViolation);
        }
        if self.peer_incarnation == Some(incarnation) {
            self.resume_at(next, taken)?;
        } else {
            // Another process: it numbers from zero, and knows nothing of what the former one got
            // or sent.
            let former = self.peer_incarnation.replace(incarnation);
            if self.lane == Lane::Notices && former.is_some() {
                self.outgoing.kept.clear();
            }
            self.incoming = Incoming::default();
            self.outgoing.taken = 0;
            self.outgoing.next = 0;
        }
        self.channel.hello_received = true;
        Ok(())
    }

    fn resume_at(&mut self, next: u64, taken: u64) -> Result<(), BulkViolation> {
        self.handle_taken(taken)?;
        let end = self.outgoing.taken + self.outgoing.kept.len() as u64;
        if next < self.outgoing.taken || next > end {
            return Err(BulkViolation);
        }
        self.outgoing.next = next;
        Ok(())
    }

    fn numbered(&self, kind: u8, number: u64, body: &[u8]) -> BytesMut {
        numbered(kind | self.lane.mark(), number, body)
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
        let newly = taken.checked_sub(self.outgoing.taken).ok_or(BulkViolation)?;
        let newly = usize::try_from(newly).map_err(|_| BulkViolation)?;
        if newly > self.outgoing.kept.len() {
            return Err(BulkViolation);
        }
        self.outgoing.kept.drain(..newly);
        self.outgoing.taken = taken;
        self.outgoing.next = self.outgoing.next.max(taken);
        Ok(())
    }
}

impl Lane {
    /// The lane of a frame.
    pub(crate) fn of(frame: &Bytes) -> Self {
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
/// Added to these in the lane of notices.
const NOTICES: u8 = 16;

const HEADER_BYTES: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    /// Two ends and the frames that the channel between them still holds.
    struct Pair {
        ends: [BulkLink; 2],
    }

    impl Pair {
        fn new() -> Self {
            let mut pair = Self { ends: [10, 20].map(bulk) };
            pair.reconnect();
            pair
        }

        fn reconnect(&mut self) {
            for end in &mut self.ends {
                end.channel_opened();
            }
        }

        /// Passes frames until there are none; the first `limit` only.
        fn pass(&mut self, limit: usize) {
            for _ in 0..limit {
                let [left, right] = &mut self.ends;
                let (frame, to) = match left.poll_frame() {
                    Some(frame) => (frame, right),
                    None => match right.poll_frame() {
                        Some(frame) => (frame, left),
                        None => return,
                    },
                };
                to.handle_frame(&frame.freeze()).unwrap();
            }
        }

        fn take_all(&mut self, end: usize) -> Vec<u8> {
            std::iter::from_fn(|| self.ends[end].pop()).map(|message| message[0]).collect()
        }
    }

    fn bulk(incarnation: u64) -> BulkLink {
        BulkLink::new(Lane::Bulk, incarnation)
    }

    fn frame_of(end: &mut BulkLink) -> Bytes {
        end.poll_frame().unwrap().freeze()
    }

    #[test]
    fn messages_arrive_in_order_both_ways() {
        let mut pair = Pair::new();
        for number in 0..10 {
            assert!(pair.ends[0].push(&[number]));
            assert!(pair.ends[1].push(&[100 + number]));
        }
        pair.pass(usize::MAX);
        assert_eq!(pair.take_all(1), (0..10).collect::<Vec<u8>>());
        assert_eq!(pair.take_all(0), (100..110).collect::<Vec<u8>>());
    }

    #[test]
    fn the_window_opens_again_when_the_game_takes_messages() {
        let mut pair = Pair::new();
        let pushed = (0..=255).take_while(|&number| pair.ends[0].push(&[number])).count();
        assert_eq!(pushed, BULK_WINDOW);
        pair.pass(usize::MAX);
        assert!(!pair.ends[0].push(&[0]), "received is not taken");
        assert!(pair.ends[1].pop().is_some());
        pair.pass(usize::MAX);
        assert!(pair.ends[0].push(&[0]));
        assert!(!pair.ends[0].push(&[0]));
    }

    #[test]
    fn a_channel_that_ends_anywhere_loses_and_repeats_nothing() {
        for cut in 0..40 {
            let mut pair = Pair::new();
            for number in 0..10 {
                assert!(pair.ends[0].push(&[number]));
            }
            pair.pass(cut);
            let mut taken: Vec<u8> = pair.ends[1].pop().iter().map(|first| first[0]).collect();
            // Whatever the ends have produced but not passed on is lost with the channel.
            let lost = pair.ends[0].poll_frame();
            pair.reconnect();
            pair.pass(usize::MAX);
            taken.extend(pair.take_all(1));
            assert_eq!(taken, (0..10).collect::<Vec<u8>>(), "cut at {cut}, lost {lost:?}");
        }
    }

    #[test]
    fn a_new_process_gets_what_was_not_taken_and_starts_its_own_numbers() {
        let mut pair = Pair::new();
        for number in 0..3 {
            assert!(pair.ends[0].push(&[number]));
            assert!(pair.ends[1].push(&[100 + number]));
        }
        pair.pass(usize::MAX);
        assert_eq!(pair.take_all(0), [100, 101, 102]);
        assert_eq!(pair.ends[1].pop().unwrap()[0], 0);
        pair.pass(usize::MAX);

        pair.ends[1] = bulk(21);
        assert!(pair.ends[1].push(&[200]));
        pair.reconnect();
        pair.pass(usize::MAX);
        assert_eq!(pair.take_all(1), [1, 2]);
        assert_eq!(pair.take_all(0), [200]);
    }

    #[test]
    fn what_a_former_process_was_told_in_notices_a_new_one_is_not() {
        let notices = |incarnation| BulkLink::new(Lane::Notices, incarnation);
        let mut pair = Pair { ends: [10, 20].map(notices) };
        // What is said before the first connection arrives.
        assert!(pair.ends[0].push(&[1]));
        pair.reconnect();
        pair.pass(usize::MAX);
        assert!(pair.ends[0].push(&[2]));
        pair.pass(usize::MAX);
        assert_eq!(pair.take_all(1), [1, 2]);
        assert!(pair.ends[0].push(&[3]));
        pair.ends[1] = notices(21);
        pair.reconnect();
        pair.pass(usize::MAX);
        assert!(pair.ends[0].push(&[4]));
        pair.pass(usize::MAX);
        assert_eq!(pair.take_all(1), [4]);
        let frame = numbered(HELLO | NOTICES, 5, &[0; 16]).freeze();
        assert_eq!((Lane::of(&frame), Lane::of(&Bytes::new())), (Lane::Notices, Lane::Bulk));
        pair.ends[0] = bulk(10);
        pair.reconnect();
        assert_eq!(pair.ends[0].handle_frame(&frame), Err(BulkViolation), "of another lane");
    }

    #[test]
    fn dishonest_frames_are_refused_and_change_nothing() {
        let mut pair = Pair::new();
        let mut other = bulk(30);
        other.channel_opened();
        let hello = frame_of(&mut other);
        let victim = &mut pair.ends[0];
        let data = |number, bytes: &[u8]| numbered(DATA, number, bytes).freeze();
        assert_eq!(victim.handle_frame(&data(0, b"x")), Err(BulkViolation), "before the hello");
        assert_eq!(victim.handle_frame(&hello), Ok(()));
        let too_long = vec![0; BULK_MESSAGE_BYTES_MAX + 1];
        let bad = [
            Bytes::new(),
            Bytes::from_static(&[DATA]),
            Bytes::from_static(&[9; 9]),
            hello.clone(),
            data(1, b"a gap"),
            data(0, &too_long),
            numbered(TAKEN, 1, &[]).freeze(),
            numbered(TAKEN, 0, b"tail").freeze(),
        ];
        for frame in bad {
            assert_eq!(victim.handle_frame(&frame), Err(BulkViolation), "{frame:?}");
        }
        assert_eq!(victim.handle_frame(&data(0, &too_long[1..])), Ok(()));
        assert_eq!(victim.pop().unwrap().len(), BULK_MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_peer_that_ignores_the_window_is_refused() {
        let mut pair = Pair::new();
        pair.pass(usize::MAX);
        let victim = &mut pair.ends[0];
        for number in 0..BULK_WINDOW as u64 {
            assert_eq!(victim.handle_frame(&numbered(DATA, number, b"x").freeze()), Ok(()));
        }
        let past = numbered(DATA, BULK_WINDOW as u64, b"x").freeze();
        assert_eq!(victim.handle_frame(&past), Err(BulkViolation));
    }
}
