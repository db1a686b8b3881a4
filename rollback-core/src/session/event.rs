//! What happened, for the application to show or to write down.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::search::Desync;
use crate::{Frame, PeerId, PeerSet, View};

/// Something that happened in a session. Nothing depends on its being read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// All members have said hello and play begins.
    Started,
    /// A peer has been silent for a while.
    Interrupted {
        /// The peer.
        peer: PeerId,
        /// For how long.
        silent: Duration,
    },
    /// A peer is heard again.
    Resumed {
        /// The peer.
        peer: PeerId,
    },
    /// A departure is proposed; no frame becomes stable until it is agreed.
    DepartureProposed {
        /// The peers that would depart.
        peers: PeerSet,
    },
    /// The members have agreed to go on without some.
    ViewChanged {
        /// The view in force now.
        view: View,
        /// A peer that departed and the first frame that idle is filled in for it.
        departed: PeerId,
        /// That frame.
        cut: Frame,
        /// Why it departed: the same on all members.
        cause: DepartureCause,
    },
    /// A peer is back in its slot.
    Joined {
        /// The view in force now.
        view: View,
        /// The peer.
        peer: PeerId,
        /// The first frame of its new life; before it idle was filled in.
        from: Frame,
    },
    /// A peer cannot hold the tick rate, and all play at the rate that it can hold; at 100 nobody is waited for any more.
    PaceChanged {
        /// The slowest peer.
        peer: PeerId,
        /// At which rate all play, in percent of the tick rate, rounded down; not less than the
        /// [limit](crate::SessionConfig::pace_min_percent), whatever the peer can hold.
        percent: u8,
    },
    /// A peer has left in order.
    Left {
        /// The peer.
        peer: PeerId,
    },
    /// A peer's simulation failed; it goes.
    PeerGameFailed {
        /// The peer.
        peer: PeerId,
        /// The frame that could not be stepped there.
        frame: Frame,
    },
    /// The members' states differ.
    Desync(Desync),
    /// All have taken over a state after a desync, and play on from it. A game that its wrong state had ended before goes on at
    /// this frame: those between were stepped by the others.
    Resynced {
        /// Whose state.
        peer: PeerId,
        /// Its frame.
        frame: Frame,
    },
    /// This peer, which comes back, goes on from a state that it was given: the frames before it are recorded, and not stepped.
    StateTaken {
        /// The frame of the state.
        frame: Frame,
    },
    /// A state that this peer was given is not the one that was recorded; the frames before it are stepped.
    StateRefused {
        /// The frame of the state.
        frame: Frame,
    },
}

/// Why the members go on without a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DepartureCause {
    /// It was silent for too long, its simulation failed, or a new life of it began.
    Lost,
    /// A member sent it away.
    Kicked,
}

/// Events that wait to be read; the oldest go first when they are not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    waiting: VecDeque<Event>,
    lost: u64,
}

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        if self.waiting.len() == EVENTS_MAX {
            self.waiting.pop_front();
            self.lost += 1;
        }
        self.waiting.push_back(event);
    }

    /// The oldest. An event is large, so that to find none must not move one.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Event> {
        if self.waiting.is_empty() { None } else { self.pop_waiting() }
    }

    #[inline(never)]
    fn pop_waiting(&mut self) -> Option<Event> {
        let event = self.waiting.pop_front();
        if self.waiting.is_empty() {
            // There are few, and seldom: what holds them would be a twentieth of a session.
            self.waiting = VecDeque::new();
        }
        event
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

/// Far more than one frame can cause.
const EVENTS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_events_are_bounded() {
        let mut events = Events::default();
        for _ in 0..=EVENTS_MAX {
            events.push(Event::Started);
        }
        assert_eq!(events.lost(), 1);
        assert_eq!(core::iter::from_fn(|| events.pop()).count(), EVENTS_MAX);
    }
}
