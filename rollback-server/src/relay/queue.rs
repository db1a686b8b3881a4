//! What waits for one relay socket to be written. Each sender has a share of its own, so that none can take the room,
//! or the turn, of another.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use rollback_signaling::{RelayMessage, WATCHER_SLOTS};

/// Messages in the form in which they are sent.
#[derive(Debug)]
pub(super) struct Queue {
    welcome: Option<Vec<u8>>,
    /// By the slot of the other end.
    shares: BTreeMap<u8, Share>,
    /// Whose datagram, and whose bulk frame, was sent last.
    turns: [u8; 2],
    expired: u64,
}

/// What is there of one other slot.
#[derive(Debug, Default)]
struct Share {
    /// Whether it has a socket, and whether it hears the receiver. These are states: only the last is of interest.
    presence: Option<Vec<u8>>,
    hearing: Option<Vec<u8>>,
    /// The newest ones, and since when they wait.
    datagrams: VecDeque<(Duration, Vec<u8>)>,
    /// Of these none may be lost while the pair of sockets is the same.
    bulk: VecDeque<Vec<u8>>,
    bulk_bytes: usize,
}

/// There is no room for more bulk frames of this sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueFull;

impl Queue {
    /// A queue for the socket of a slot, with the welcome in it.
    pub(super) fn new(slot: u8) -> Self {
        let welcome = Some(RelayMessage::Welcome { slot }.to_bytes());
        Self { welcome, shares: BTreeMap::new(), turns: [0; 2], expired: 0 }
    }

    /// The receiver is to know whether a slot has a socket. What the slot's former socket had sent, but for datagrams,
    /// counts no more.
    pub(super) fn set_presence(&mut self, slot: u8, message: &RelayMessage<'_>) {
        let datagrams = self.shares.remove(&slot).unwrap_or_default().datagrams;
        let presence = Some(message.to_bytes());
        self.shares.insert(slot, Share { presence, datagrams, ..Share::default() });
    }

    /// The receiver is to know whether a slot hears it.
    pub(super) fn set_hearing(&mut self, slot: u8, is_heard: bool) {
        let message = RelayMessage::Hearing { slot, is_heard };
        self.shares.entry(slot).or_default().hearing = Some(message.to_bytes());
    }

    /// Queues a datagram of a slot, in place of its oldest one if there is no room; says whether that was so.
    pub(super) fn push_datagram(&mut self, now: Duration, slot: u8, datagram: Vec<u8>) -> bool {
        let share = self.shares.entry(slot).or_default();
        let is_full = share.datagrams.len() >= datagrams_max(slot);
        if is_full {
            share.datagrams.pop_front();
        }
        share.datagrams.push_back((now, datagram));
        is_full
    }

    /// Queues a bulk frame of a slot.
    pub(super) fn push_bulk(&mut self, slot: u8, frame: Vec<u8>) -> Result<(), QueueFull> {
        let share = self.shares.entry(slot).or_default();
        let bytes = share.bulk_bytes + frame.len();
        if bytes > bulk_bytes_max(slot) || share.bulk.len() >= BULK_FRAMES_MAX {
            return Err(QueueFull);
        }
        share.bulk_bytes = bytes;
        share.bulk.push_back(frame);
        Ok(())
    }

    /// The next message: states, then datagrams, which are worth nothing later, then bulk frames. Slots take turns.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Vec<u8>> {
        let states = |share: &mut Share| share.presence.take().or_else(|| share.hearing.take());
        if let Some(message) =
            self.welcome.take().or_else(|| self.shares.values_mut().find_map(states))
        {
            return Some(message);
        }
        for share in self.shares.values_mut() {
            self.expired += share.expire(now);
        }
        let [of_datagrams, of_bulk] = &mut self.turns;
        if let Some(share) =
            whose_turn(&mut self.shares, of_datagrams, |it| !it.datagrams.is_empty())
        {
            return share.datagrams.pop_front().map(|(_, datagram)| datagram);
        }
        whose_turn(&mut self.shares, of_bulk, |it| !it.bulk.is_empty())?.pop_bulk()
    }

    /// Datagrams that became too old since the last call.
    pub(super) fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired)
    }
}

impl Share {
    /// Drops the datagrams that wait for too long, and says how many.
    fn expire(&mut self, now: Duration) -> u64 {
        let is_fresh =
            |(queued_at, _): &(Duration, _)| now.saturating_sub(*queued_at) <= DATAGRAM_AGE_MAX;
        let expired = self.datagrams.iter().position(is_fresh).unwrap_or(self.datagrams.len());
        self.datagrams.drain(..expired);
        expired as u64
    }

    fn pop_bulk(&mut self) -> Option<Vec<u8>> {
        let frame = self.bulk.pop_front()?;
        self.bulk_bytes -= frame.len();
        Some(frame)
    }
}

/// The share of the first slot after `last` that has something, and it is the last one now.
fn whose_turn<'shares>(
    shares: &'shares mut BTreeMap<u8, Share>,
    last: &mut u8,
    has_some: impl Fn(&Share) -> bool,
) -> Option<&'shares mut Share> {
    let mut in_turn = shares.range((Excluded(*last), Unbounded)).chain(shares.range(..=*last));
    *last = *in_turn.find(|(_, share)| has_some(share))?.0;
    shares.get_mut(last)
}

/// Datagrams of one sender that wait for one receiver: a quarter of a second at 60 a second. Those who watch send few.
pub(super) const fn datagrams_max(sender: u8) -> usize {
    if sender < WATCHER_SLOTS { 16 } else { 8 }
}

/// Bytes of bulk frames of one sender that wait for one receiver: of a member twice what an honest one has under way in both lanes.
pub(super) const fn bulk_bytes_max(sender: u8) -> usize {
    if sender < WATCHER_SLOTS { 256 * 1024 } else { 32 * 1024 }
}

/// Bulk frames of one sender that wait for one receiver; short ones count too.
pub(super) const BULK_FRAMES_MAX: usize = 2048;

/// How long a datagram may wait. A receiver that reads again after an outage gets nothing of before it (rule R5).
pub(super) const DATAGRAM_AGE_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    /// A queue whose welcome is sent.
    fn queue() -> Queue {
        let mut queue = Queue::new(0);
        assert_eq!(queue.pop(START), Some(RelayMessage::Welcome { slot: 0 }.to_bytes()));
        queue
    }

    fn popped(queue: &mut Queue) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| queue.pop(START)).collect()
    }

    #[test]
    fn the_oldest_datagram_of_a_sender_goes_first_when_it_has_no_room_and_none_of_another() {
        let mut queue = queue();
        queue.push_datagram(START, 2, vec![200]);
        let dropped =
            (0..=16).filter(|number| queue.push_datagram(START, 1, vec![*number])).count();
        assert_eq!((dropped, datagrams_max(1)), (1, 16));
        assert_eq!(queue.pop(START), Some(vec![1]));
        assert_eq!(queue.pop(START), Some(vec![200]), "senders take turns");
        assert_eq!(queue.pop(START), Some(vec![2]));
        let watched = (0..=8).filter(|number| queue.push_datagram(START, 9, vec![*number])).count();
        assert_eq!((watched, datagrams_max(9)), (1, 8));
    }

    #[test]
    fn a_datagram_that_waits_for_too_long_is_dropped_and_counted() {
        let mut queue = queue();
        queue.push_datagram(START, 1, vec![1]);
        queue.push_datagram(START + Duration::from_millis(1), 1, vec![2]);
        queue.push_datagram(START, 2, vec![3]);
        assert_eq!(queue.pop(DATAGRAM_AGE_MAX + Duration::from_millis(1)), Some(vec![2]));
        assert_eq!((queue.take_expired(), queue.take_expired()), (2, 0));
    }

    #[test]
    fn states_overtake_datagrams_these_overtake_bulk_frames_and_those_keep_their_order() {
        let mut queue = queue();
        for number in 0..3 {
            queue.push_bulk(1, vec![number]).unwrap();
        }
        queue.push_bulk(2, vec![20]).unwrap();
        queue.push_datagram(START, 1, vec![9]);
        queue.set_hearing(3, true);
        let hearing = RelayMessage::Hearing { slot: 3, is_heard: true }.to_bytes();
        let sent = [hearing, vec![9], vec![0], vec![20], vec![1], vec![2]];
        assert_eq!(popped(&mut queue), sent);
    }

    #[test]
    fn of_states_only_the_last_is_sent_and_a_new_socket_has_sent_no_bulk_frames() {
        let mut queue = queue();
        let here = |pairing| RelayMessage::Here { slot: 1, pairing };
        for pairing in 0..1000 {
            queue.set_presence(1, &RelayMessage::Gone { slot: 1 });
            queue.set_presence(1, &here(pairing));
            queue.set_hearing(1, false);
        }
        queue.push_bulk(1, vec![1]).unwrap();
        queue.push_datagram(START, 1, vec![2]);
        queue.set_presence(1, &here(1000));
        assert_eq!(popped(&mut queue), [here(1000).to_bytes(), vec![2]]);
    }

    #[test]
    fn bulk_of_a_sender_has_a_limit_in_bytes_and_in_frames_and_room_comes_back() {
        let mut queue = queue();
        for _ in 0..bulk_bytes_max(1) / 1024 {
            queue.push_bulk(1, vec![0; 1024]).unwrap();
        }
        assert_eq!(queue.push_bulk(1, vec![0]), Err(QueueFull));
        assert_eq!(queue.push_bulk(2, vec![0]), Ok(()), "another one has its own room");
        queue.pop(START);
        assert_eq!(queue.push_bulk(1, vec![0]), Ok(()));
        for _ in 0..BULK_FRAMES_MAX {
            queue.push_bulk(3, vec![0]).unwrap();
        }
        assert_eq!(queue.push_bulk(3, vec![0]), Err(QueueFull));
    }
}
