//! What runs of frames are made of, and what is made of them: the changes from one frame to the next.

use alloc::vec::Vec;

use super::stream::Stream;
use super::{InputQueue, rows};
use crate::bytes::PutBytes;
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
        let base = base.filter(|_| frame > stream.start).map(|base| self.rows.place(base));
        let place = self.rows.place(frame);
        let mut wrong = 0;
        for player in &stream.players {
            let (input, flags) = next();
            let last = base.map(|base| self.rows.cell(*player, base));
            let (last, last_flags) = last.unwrap_or((&self.idle, InputFlags::NONE));
            let flags = flags.unwrap_or(last_flags);
            if frame < self.stepped {
                let cell = (input.unwrap_or(last), flags);
                wrong += u64::from(!self.rows.means(*player, place, cell, self.equivalent));
            }
            match (input, base) {
                (None, Some(base)) => self.rows.copy_input(*player, (base, place)),
                (input, _) => self.rows.set_input(*player, place, input.unwrap_or(&self.idle)),
            }
            self.rows.set_flags(*player, place, flags);
        }
        if wrong > 0 {
            self.note_wrong_inputs(frame, wrong);
        }
        self.arrived(peer, frame, items);
    }

    /// Compares each frame of `peer` up to its end with the one before it, if that was not done yet.
    #[inline]
    pub(crate) fn note_changes(&mut self, peer: PeerId) {
        if let Some(stream) = self.streams.get_mut(peer.index()) {
            stream.note_changes(&self.rows, &self.idle);
        }
    }

    /// Whether no flags of `peer` change in the frames from `first` up to `end`, which were compared.
    pub(crate) fn has_same_flags(&self, peer: PeerId, first: Frame, end: Frame) -> bool {
        self.stream(peer).is_some_and(|stream| stream.has_same_flags(first, end))
    }

    /// Appends which inputs of `peer` in the `count` frames from `first` on are not those of the frame before, a bit for each
    /// player of each frame; and then those inputs. The frames were compared.
    pub(crate) fn put_changes(&self, peer: PeerId, first: Frame, count: u8, bytes: &mut Vec<u8>) {
        let Some(stream) = self.stream(peer) else { return };
        let bits = usize::from(count) * stream.players.len();
        let word = |at: usize| match bits - at {
            left @ ..64 => stream.changed_from(first, at) & ((1 << left) - 1),
            _ => stream.changed_from(first, at),
        };
        // Mostly one word says all, for which what `step_by` computes first would cost more than the rest.
        let mut at = 0;
        while at < bits {
            // The mask ends with a whole byte.
            let mask = word(at).to_le_bytes();
            match bits - at {
                ..=8 => bytes.put_u8(mask[0]),
                left => bytes.put(mask.get(..left.div_ceil(8)).unwrap_or(&mask)),
            }
            at += 64;
        }
        at = 0;
        while at < bits {
            self.put_changed(stream, (first, at), word(at), bytes);
            at += 64;
        }
    }

    /// Appends the inputs for which a bit is set in `changed`: all players of a frame in order, from the one with the number
    /// `at` on, counted from the first one of `first`.
    #[inline]
    fn put_changed(
        &self,
        stream: &Stream,
        (first, at): (Frame, usize),
        mut changed: u64,
        bytes: &mut Vec<u8>,
    ) {
        while changed != 0 {
            let cell = at + changed.trailing_zeros() as usize;
            let (offset, nth) = match stream.players.len() {
                1 => (cell, 0),
                players => (cell / players, cell % players),
            };
            let frame = first.plus(u32::try_from(offset).unwrap_or_default());
            if let Some(player) = stream.players.get(nth) {
                match self.width {
                    1 => bytes.put_u8(self.rows.first_byte(*player, self.rows.place(frame))),
                    _ => bytes.put(self.given(*player, frame)),
                }
            }
            changed &= changed - 1;
        }
    }

    /// A player's input of `frame` where it differs from the one of `base`, or from idle; and the same of its flags.
    #[inline(never)]
    pub(crate) fn changes(
        &self,
        player: PlayerHandle,
        base: Option<Frame>,
        frame: Frame,
    ) -> (Option<&[u8]>, Option<InputFlags>) {
        let (input, flags) = self.rows.cell(player, self.rows.place(frame));
        let base = base.map(|base| self.rows.cell(player, self.rows.place(base)));
        let (base, base_flags) = base.unwrap_or((&self.idle, InputFlags::NONE));
        let input = (!rows::are_equal(input, base)).then_some(input);
        (input, (flags != base_flags).then_some(flags))
    }
}
