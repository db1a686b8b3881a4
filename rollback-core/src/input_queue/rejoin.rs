//! What the queue does when a peer comes back: it opens the peer's stream again, and takes whole rows of the recording.

use super::InputQueue;
use super::guess::NOT_ALIKE;
use crate::session::StableFrame;
use crate::{Actor, Frame, InputFlags, Item, PeerId};

impl InputQueue {
    /// The first frame of a peer's present life in its slot.
    pub(crate) fn start(&self, peer: PeerId) -> Frame {
        self.stream(peer).map_or(Frame::ZERO, |stream| stream.start)
    }

    /// Files no local frame beyond `last`, or again any.
    pub(crate) fn set_limit(&mut self, last: Option<Frame>) {
        self.limit = last.unwrap_or(Frame::MAX);
    }

    /// The last local frame that may be filed while a peer's return is being agreed.
    pub(crate) fn limit(&self) -> Frame {
        self.limit
    }

    /// Takes up the stream of a peer that was gone: its inputs are those that it gives from `frame` on.
    pub(crate) fn reopen(&mut self, peer: PeerId, frame: Frame) {
        self.close(peer, frame);
        let floor = self.floor;
        if let Some(stream) = self.streams.get_mut(peer.index()) {
            stream.reopen(frame, floor);
        }
        self.missing_alike = NOT_ALIKE;
        self.pauses.note_reopened(peer);
        for player in self.streams.get(peer.index()).map_or(&[][..], |stream| &stream.players) {
            // Every life begins with a person.
            if let Some(actor) = self.actors.get_mut(player.index()) {
                *actor = (frame, Actor::Person);
            }
        }
        self.note_confirmed();
    }

    /// Takes all that was recorded of a frame, the next one of all peers. Answers whether there was room.
    pub(crate) fn take_row(&mut self, row: &StableFrame<'_>) -> bool {
        if row.frame > self.floor.plus(self.capacity() - 2) {
            return false;
        }
        for peer in PeerId::all(self.streams.len()) {
            self.take_frame_of(peer, row);
        }
        true
    }

    /// Puts all pauses off for ever, to see that it is noticed.
    #[cfg(feature = "testing")]
    pub(crate) fn put_pauses_off(&mut self) {
        self.pauses.put_off();
    }

    fn take_frame_of(&mut self, peer: PeerId, row: &StableFrame<'_>) {
        let frame = row.frame;
        // What all took over a state by is recorded, and in no stream.
        let is_in_stream = |item: &Item| !matches!(item, Item::Resync { .. });
        let items = row.items.iter().filter(|(by, _)| *by == peer).map(|(_, item)| *item);
        let items: alloc::vec::Vec<Item> = items.filter(is_in_stream).collect();
        if items.iter().any(|item| matches!(item, Item::Join { .. })) {
            self.reopen(peer, frame);
        }
        if self.closed(peer).is_some() {
            return;
        }
        let mut is_idle = items.is_empty();
        for index in 0..self.players_of(peer).len() {
            let Some(player) = self.players_of(peer).get(index).copied() else { return };
            let start = player.index() * self.width;
            let input = row.inputs.get(start..start + self.width).unwrap_or_default();
            let flags = row.flags.get(player.index()).copied().unwrap_or_default();
            let flags = InputFlags::from_bits(flags);
            is_idle &= flags.contains(InputFlags::IDLE_FILLED);
            self.write(player, frame, input, flags);
        }
        match is_idle {
            true => self.close(peer, frame),
            false => self.arrived(peer, frame, &items),
        }
    }
}
