//! Which peers have paused the episode, by the items in their streams, and at which frame all stop for it.

use alloc::boxed::Box;

use crate::{Frame, Item, PEERS_MAX, PeerId, PeerSet};

/// What the streams say of pauses. A pause changes no state: it only says which frames are not stepped yet, so it may be
/// taken as soon as it is heard, in whatever order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pauses {
    /// The last word of each; nothing until somebody pauses.
    last: Option<Box<[Option<Word>; PEERS_MAX]>>,
    /// The members that have an unanswered pause in force.
    by: PeerSet,
    /// Members whose streams have ended: their pauses hold nobody.
    gone: PeerSet,
    /// The members must play up to here for an end, or a member's leave, to be agreed: its own frame is looked at when it is
    /// stepped.
    needed: Frame,
}

/// At which frame something was said, and whether it is a pause. One frame may end a pause and begin another.
type Word = (Frame, bool);

impl Pauses {
    /// Takes an item of a peer's stream.
    pub(crate) fn note(&mut self, peer: PeerId, frame: Frame, item: Item) {
        let is_pause = match item {
            Item::Pause => true,
            Item::Resume => false,
            Item::End { .. } => {
                self.needed = self.needed.max(frame.next());
                return;
            }
            _ => return,
        };
        if let Some(last) = self.last.get_or_insert_default().get_mut(peer.index())
            && last.is_none_or(|(at, _)| at <= frame)
        {
            *last = Some((frame, is_pause));
        }
        self.update(peer);
    }

    /// Takes that a peer's stream ends at `frame`.
    pub(crate) fn note_closed(&mut self, peer: PeerId, frame: Frame) {
        self.gone.insert(peer);
        self.needed = self.needed.max(frame.next());
        self.update(peer);
    }

    /// Takes that a peer is back in its slot: what it said in its former life is over.
    pub(crate) fn note_reopened(&mut self, peer: PeerId) {
        self.gone.remove(peer);
        if let Some(last) = self.last.as_mut().and_then(|last| last.get_mut(peer.index())) {
            *last = None;
        }
        self.update(peer);
    }

    /// Who holds the others.
    pub(crate) fn by(&self) -> PeerSet {
        self.by
    }

    /// The first frame that is not stepped while somebody's pause is in force. With a window of `window` frames nobody
    /// can have stepped it before hearing of the pause, and so all stop there.
    pub(crate) fn stops_at(&self, window: u32) -> Option<Frame> {
        let paused = self.by.iter().filter_map(|peer| self.last_of(peer));
        let (paused, _) = paused.min()?;
        Some(paused.plus(window).max(self.needed))
    }

    /// Breaks the promise, for the simulator to notice.
    #[cfg(feature = "testing")]
    pub(crate) fn put_off(&mut self) {
        let words = self.last.iter_mut().flat_map(|last| last.iter_mut().flatten());
        for (frame, _) in words.filter(|(_, is_pause)| *is_pause) {
            *frame = Frame::MAX;
        }
    }

    fn last_of(&self, peer: PeerId) -> Option<Word> {
        *self.last.as_ref()?.get(peer.index())?
    }

    fn update(&mut self, peer: PeerId) {
        let is_open = self.last_of(peer).is_some_and(|(_, is_pause)| is_pause);
        match is_open && !self.gone.contains(peer) {
            true => _ = self.by.insert(peer),
            false => self.by.remove(peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
    }

    fn frame(index: u32) -> Frame {
        Frame::new(index)
    }

    #[test]
    fn all_stop_a_window_after_the_earliest_pause() {
        let mut pauses = Pauses::default();
        assert_eq!(pauses.stops_at(8), None);
        pauses.note(peer(1), frame(20), Item::Pause);
        pauses.note(peer(0), frame(15), Item::Pause);
        assert_eq!(pauses.stops_at(8), Some(frame(23)));
        assert_eq!(pauses.stops_at(0), Some(frame(15)), "in lockstep its own frame is not stepped");
        pauses.note(peer(0), frame(25), Item::Resume);
        assert_eq!((pauses.by().len(), pauses.stops_at(8)), (1, Some(frame(28))));
        pauses.note(peer(1), frame(25), Item::Resume);
        assert_eq!(pauses.stops_at(8), None);
    }

    #[test]
    fn the_order_in_which_they_are_heard_does_not_matter() {
        let mut pauses = Pauses::default();
        pauses.note(peer(1), frame(30), Item::Resume);
        pauses.note(peer(1), frame(20), Item::Pause);
        assert!(pauses.by().is_empty());
        pauses.note(peer(1), frame(40), Item::Pause);
        assert_eq!(pauses.stops_at(8), Some(frame(48)));
    }

    #[test]
    fn one_frame_may_end_a_pause_and_begin_another() {
        let mut pauses = Pauses::default();
        pauses.note(peer(0), frame(20), Item::Pause);
        pauses.note(peer(0), frame(30), Item::Resume);
        pauses.note(peer(0), frame(30), Item::Pause);
        assert_eq!(pauses.stops_at(8), Some(frame(38)));
        pauses.note(peer(0), frame(40), Item::Pause);
        pauses.note(peer(0), frame(40), Item::Resume);
        assert_eq!(pauses.stops_at(8), None);
    }

    #[test]
    fn one_that_is_gone_holds_nobody() {
        let mut pauses = Pauses::default();
        pauses.note(peer(0), frame(20), Item::Pause);
        pauses.note(peer(2), frame(20), Item::Pause);
        pauses.note_closed(peer(2), frame(24));
        assert_eq!(pauses.by().iter().collect::<Vec<_>>(), [peer(0)]);
        pauses.note_closed(peer(0), frame(24));
        pauses.note(peer(0), frame(22), Item::Pause);
        assert_eq!(pauses.stops_at(8), None);
    }

    #[test]
    fn an_end_in_a_pause_is_played_up_to() {
        let mut pauses = Pauses::default();
        pauses.note(peer(0), frame(20), Item::Pause);
        pauses.note(peer(1), frame(31), Item::End { code: 1 });
        assert_eq!(pauses.stops_at(8), Some(frame(32)));
        pauses.note_closed(peer(1), frame(33));
        assert_eq!(pauses.stops_at(8), Some(frame(34)));
    }
}
