//! What is known of the others while there is a relay socket, and what they are told of being heard.

use std::sync::atomic::{AtomicBool, Ordering};

use rollback_signaling::{RelayMessage, WATCHER_SLOTS, WATCHERS_MAX};
use tokio::sync::Notify;

/// Who is heard over WebRTC, by slot; all are until the contrary is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hearing([bool; SLOTS]);

/// What the two halves of one socket have in common.
#[derive(Debug)]
pub(super) struct Present {
    is_welcome: AtomicBool,
    /// Who has a relay socket too.
    is_here: [AtomicBool; SLOTS],
    /// What the others were told of their being heard.
    told: [AtomicBool; SLOTS],
    pub(super) changed: Notify,
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
    pub(super) fn nobody() -> Self {
        Self {
            is_welcome: AtomicBool::new(false),
            is_here: [const { AtomicBool::new(false) }; SLOTS],
            told: [const { AtomicBool::new(true) }; SLOTS],
            changed: Notify::new(),
        }
    }

    /// The server has accepted the socket.
    pub(super) fn welcome(&self) {
        self.is_welcome.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_welcome(&self) -> bool {
        self.is_welcome.load(Ordering::Relaxed)
    }

    /// A slot has a relay socket too.
    pub(super) fn enter(&self, slot: u8) {
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
    pub(super) fn leave(&self, slot: u8) -> bool {
        let is_here = self.is_here.get(usize::from(slot));
        is_here.is_some_and(|is_here| is_here.swap(false, Ordering::Relaxed))
    }

    /// What somebody has to be told of being heard.
    pub(super) fn next_news(&self, hearing: &Hearing) -> Option<Vec<u8>> {
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
pub(super) const SLOTS_U8: u8 = WATCHER_SLOTS + WATCHERS_MAX;
const SLOTS: usize = SLOTS_U8 as usize;

#[cfg(test)]
mod tests {
    use super::*;

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
}
