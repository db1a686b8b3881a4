//! What waits for one relay socket to be written: bounded, datagrams first.

use std::collections::VecDeque;

use rollback_signaling::RelayMessage;

/// Messages in the form in which they are sent.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The newest ones.
    datagrams: VecDeque<Vec<u8>>,
    /// Bulk frames and notices, of which none may be lost, in their order.
    reliable: VecDeque<Vec<u8>>,
    reliable_bytes: usize,
}

/// There is no room for more bulk frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueFull;

impl Queue {
    /// Queues a datagram, in place of the oldest one if there is no room; says whether that was so.
    pub(super) fn push_datagram(&mut self, datagram: Vec<u8>) -> bool {
        let is_full = self.datagrams.len() >= DATAGRAMS_MAX;
        if is_full {
            self.datagrams.pop_front();
        }
        self.datagrams.push_back(datagram);
        is_full
    }

    /// Queues something that must not be lost.
    pub(super) fn push_bulk(&mut self, message: Vec<u8>) -> Result<(), QueueFull> {
        let bytes = self.reliable_bytes + message.len();
        if bytes > BULK_BYTES_MAX || self.reliable.len() >= BULK_MESSAGES_MAX {
            return Err(QueueFull);
        }
        self.reliable_bytes = bytes;
        self.reliable.push_back(message);
        Ok(())
    }

    /// Queues what the server itself has to say. Sockets come and go slowly, so this needs no limit of
    /// its own; one that does not read is ended in time.
    pub(super) fn push_notice(&mut self, notice: &RelayMessage<'_>) {
        let notice = notice.to_bytes();
        self.reliable_bytes += notice.len();
        self.reliable.push_back(notice);
    }

    /// The next message. Datagrams first: they are worth nothing later.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        self.datagrams.pop_front().or_else(|| {
            let message = self.reliable.pop_front()?;
            self.reliable_bytes -= message.len();
            Some(message)
        })
    }
}

/// Datagrams that wait for one receiver: a tenth of a second of seven others at 60 a second and a half more.
pub(super) const DATAGRAMS_MAX: usize = 64;

/// Bytes of bulk frames that wait for one receiver: twice what seven others may have under way in both
/// lanes.
pub(super) const BULK_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bulk frames that wait for one receiver; short ones count too.
pub(super) const BULK_MESSAGES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_datagram_goes_first_when_there_is_no_room() {
        let mut queue = Queue::default();
        let dropped = (0..=64).filter(|number| queue.push_datagram(vec![*number])).count();
        assert_eq!((dropped, DATAGRAMS_MAX), (1, 64));
        assert_eq!(queue.pop(), Some(vec![1]));
    }

    #[test]
    fn datagrams_overtake_bulk_frames_and_these_keep_their_order() {
        let mut queue = Queue::default();
        for number in 0..3 {
            queue.push_bulk(vec![number]).unwrap();
        }
        queue.push_datagram(vec![9]);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).flatten().collect();
        assert_eq!(order, [9, 0, 1, 2]);
    }

    #[test]
    fn bulk_has_a_limit_in_bytes_and_in_messages_and_room_comes_back() {
        let mut queue = Queue::default();
        for _ in 0..BULK_BYTES_MAX / 1024 {
            queue.push_bulk(vec![0; 1024]).unwrap();
        }
        assert_eq!(queue.push_bulk(vec![0]), Err(QueueFull));
        queue.pop();
        assert_eq!(queue.push_bulk(vec![0]), Ok(()));
        let mut queue = Queue::default();
        for _ in 0..BULK_MESSAGES_MAX {
            queue.push_bulk(vec![0]).unwrap();
        }
        assert_eq!(queue.push_bulk(vec![0]), Err(QueueFull));
    }
}
