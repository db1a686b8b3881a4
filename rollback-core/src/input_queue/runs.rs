//! What runs of frames are made of, and what is made of them: the changes from one frame to the next.

use alloc::vec::Vec;

use super::{InputQueue, rows};
use crate::{Frame, InputFlags, Item, PeerId, PlayerHandle};

impl InputQueue {
    /// Takes a frame of `peer` that arrived: of each of its players, in order, `next` answers the input and the flags where
    /// they are not those of the frame `base`, or idle. Takes it as held, as [`arrived`](Self::arrived) does.
    #[inline]
    pub(crate) fn file<'a>(
        &mut self,
        peer: PeerId,
        (base, frame): (Option<Frame>, Frame),
        mut next: impl FnMut() -> (Option<&'a [u8]>, Option<InputFlags>),
        items: &[Item],
    ) {
        let Some(stream) = self.streams.get(peer.index()) else { return };
        let base = base.filter(|_| frame > stream.start);
        for player in &stream.players {
            let (input, flags) = next();
            match base {
                Some(base) => self.given.repeat(*player, base, frame),
                None => self.given.set_cell(*player, frame, &self.idle, InputFlags::NONE),
            }
            if let Some(input) = input {
                self.given.set_input(*player, frame, input);
            }
            if let Some(flags) = flags {
                self.given.set_flags(*player, frame, flags);
            }
        }
        self.arrived(peer, frame, items);
    }

    /// Compares each frame of `peer` up to its end with the one before it, if that was not done yet.
    pub(crate) fn note_changes(&mut self, peer: PeerId) {
        if let Some(stream) = self.streams.get_mut(peer.index()) {
            stream.note_changes(&self.given);
        }
    }

    /// Of which of the 64 frames from `from` on an input or flags of `peer` may not be those of the frame before it: bit `n` for
    /// frame `from + n`.
    pub(crate) fn changes_from(&self, peer: PeerId, from: Frame) -> u64 {
        self.stream(peer).map_or(u64::MAX, |stream| stream.changes_from(from))
    }

    /// Appends a player's input of `frame` where it differs from the one of `base`, or from idle. Answers whether it did, and
    /// whether the flags differ.
    #[inline]
    pub(crate) fn put_change(
        &self,
        player: PlayerHandle,
        base: Option<Frame>,
        frame: Frame,
        bytes: &mut Vec<u8>,
    ) -> (bool, bool) {
        let Some(base) = base else {
            let (input, flags) = self.changes(player, base, frame);
            bytes.extend_from_slice(input.unwrap_or_default());
            return (input.is_some(), flags.is_some());
        };
        self.given.put_change(player, base, frame, bytes)
    }

    /// A player's input of `frame` where it differs from the one of `base`, or from idle; and the same of its flags.
    #[inline(never)]
    pub(crate) fn changes(
        &self,
        player: PlayerHandle,
        base: Option<Frame>,
        frame: Frame,
    ) -> (Option<&[u8]>, Option<InputFlags>) {
        let (input, flags) = self.given.cell(player, frame);
        let (base, base_flags) = match base {
            Some(base) => self.given.cell(player, base),
            None => (self.idle.as_slice(), InputFlags::NONE),
        };
        let input = (!rows::are_equal(input, base)).then_some(input);
        (input, (flags != base_flags).then_some(flags))
    }
}
