//! Messages on their way into a stream: a queue with a limit that loses the oldest.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<VecDeque<Bytes>>,
    came: Notify,
}

impl Outbox {
    /// Adds one, in place of the oldest when too many wait: an old datagram is worth less than a new one.
    pub(super) fn push(&self, message: Bytes) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(message);
        drop(waiting);
        self.came.notify_one();
    }

    /// Waits until there are any, and takes all of them.
    pub(super) async fn take(&self) -> BytesMut {
        loop {
            let mut taken = BytesMut::new();
            for message in self.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                taken.extend_from_slice(&message);
            }
            if !taken.is_empty() {
                return taken;
            }
            self.came.notified().await;
        }
    }
}

/// Messages that may wait: half a second of a game at 60 frames, with what ICE and SCTP say beside it.
const WAITING_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_message_goes_when_too_many_wait() {
        let outbox = Outbox::default();
        for number in 0..=WAITING_MAX {
            outbox.push(Bytes::from(vec![u8::try_from(number).unwrap()]));
        }
        let taken = outbox.take().await;
        assert_eq!(taken.len(), WAITING_MAX);
        assert_eq!(taken.first(), Some(&1));
        assert_eq!(taken.last(), Some(&u8::try_from(WAITING_MAX).unwrap()));
    }
}
