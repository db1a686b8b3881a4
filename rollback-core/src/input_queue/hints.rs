//! Takes the hints of players, where they are for a frame that may still be guessed.

use alloc::boxed::Box;

use super::InputQueue;
use crate::prediction::{HINT_FRAMES_MAX, Hints};
use crate::{Frame, PeerId, PlayerHandle};

impl InputQueue {
    /// Takes what a player of `peer` said that it will do, when it is for one of the next frames that are not held.
    pub(crate) fn take_hint(
        &mut self,
        peer: PeerId,
        player: PlayerHandle,
        frame: Frame,
        input: &[u8],
    ) -> bool {
        let end = self.end(peer);
        let is_ahead = frame >= end && frame.since(end) < HINT_FRAMES_MAX;
        let is_taken = is_ahead && self.accepts(peer, frame);
        if is_taken {
            self.hints_mut().set(player, frame, input);
        }
        is_taken
    }

    /// Whether hints of `peer` that begin at `first` are not older than those taken before.
    pub(crate) fn are_newest_hints(&mut self, peer: PeerId, first: Frame) -> bool {
        self.hints_mut().is_newest(peer, first)
    }

    /// What a player said that it will do.
    pub(crate) fn hint(&self, player: PlayerHandle, frame: Frame) -> Option<&[u8]> {
        self.hints.as_ref()?.get(player, frame)
    }

    pub(crate) fn has_hints(&self) -> bool {
        self.hints.is_some()
    }

    fn hints_mut(&mut self) -> &mut Hints {
        let (players, width) = (self.players, self.width);
        self.hints.get_or_insert_with(|| Box::new(Hints::new(players, width)))
    }
}
