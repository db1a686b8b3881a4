//! Changes from one frame to the next, as runs are made of them: read out of the queue, and filed into it.

use alloc::vec::Vec;

use super::rows::Place;
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
        next: impl FnMut() -> (Option<&'a [u8]>, Option<InputFlags>),
        items: &[Item],
    ) {
        self.rows.make(frame);
        let base = base.filter(|_| frame > self.start(peer));
        let base = base.map_or(self.rows.idle(), |base| self.rows.place(base));
        self.change(peer, (base, frame), next);
        self.arrived(peer, frame, items);
    }

    /// Fills idle in for the players of a peer that is gone.
    pub(super) fn fill_idle(&mut self, peer: PeerId, frame: Frame) {
        self.rows.make(frame);
        let base = self.rows.idle();
        self.change(peer, (base, frame), || (None, Some(InputFlags::IDLE_FILLED)));
    }

    /// Writes what `next` answers of each player of a peer, and else what is in the row `base`.
    #[inline]
    fn change<'a>(
        &mut self,
        peer: PeerId,
        (base, frame): (Place, Frame),
        mut next: impl FnMut() -> (Option<&'a [u8]>, Option<InputFlags>),
    ) {
        let Some(stream) = self.streams.get(peer.index()) else { return };
        let (cells, mut wrong) = ((base, self.rows.place(frame)), 0);
        for player in &stream.players {
            let is_as_it_was = self.rows.change_cell(*player, cells, next(), self.equivalent);
            wrong += u64::from(!is_as_it_was);
        }
        if wrong > 0 && frame < self.stepped {
            self.note_wrong_inputs(frame, wrong);
        }
    }

    /// Compares each frame of `peer` up to its end with the one before it, if that was not done yet.
    #[inline]
    pub(crate) fn note_changes(&mut self, peer: PeerId) {
        if let Some(stream) = self.streams.get_mut(peer.index()) {
            stream.note_changes(&self.rows);
        }
    }

    /// Whether no flags of `peer` change in the frames from `first` up to `end`, which were compared.
    pub(crate) fn has_same_flags(&self, peer: PeerId, first: Frame, end: Frame) -> bool {
        self.stream(peer).is_some_and(|stream| stream.has_same_flags(first, end))
    }

    /// How many bytes [`put_changes`](Self::put_changes) appends.
    #[inline(never)]
    pub(crate) fn bytes_of_changes(&self, peer: PeerId, first: Frame, count: u8) -> usize {
        let Some(stream) = self.stream(peer) else { return 0 };
        let bits = usize::from(count) * stream.players.len();
        let words = (0..bits).step_by(64).map(|at| changed_word(stream, first, (at, bits)));
        let changed: u32 = words.map(u64::count_ones).sum();
        bits.div_ceil(8) + changed as usize * self.width
    }

    /// Appends which inputs of `peer` in the `count` frames from `first` on are not those of the frame before, a bit for each
    /// player of each frame; and then those inputs. The frames were compared.
    pub(crate) fn put_changes(&self, peer: PeerId, first: Frame, count: u8, bytes: &mut Vec<u8>) {
        let Some(stream) = self.stream(peer) else { return };
        let bits = usize::from(count) * stream.players.len();
        // Mostly one word says all, for which what `step_by` computes first would cost more than the rest.
        let (mask_at, mut at) = (bytes.len(), 0);
        while at < bits {
            // The mask ends with a whole byte.
            let mask = changed_word(stream, first, (at, bits)).to_le_bytes();
            match bits - at {
                ..=8 => bytes.put_u8(mask[0]),
                left => bytes.put(mask.get(..left.div_ceil(8)).unwrap_or(&mask)),
            }
            at += 64;
        }
        for byte in 0..bits.div_ceil(8) {
            let changed = bytes.get(mask_at + byte).copied().unwrap_or_default();
            self.put_changed(stream, (first, byte * 8), changed, bytes);
        }
    }

    /// Appends the inputs for which a bit is set in `changed`: all players of a frame in order, from the one with the number
    /// `at` on, counted from the first one of `first`.
    #[inline]
    fn put_changed(
        &self,
        stream: &Stream,
        (first, at): (Frame, usize),
        mut changed: u8,
        bytes: &mut Vec<u8>,
    ) {
        while changed != 0 {
            let cell = at + changed.trailing_zeros() as usize;
            let (offset, nth) = match stream.players.len() {
                1 => (cell, 0),
                players => (cell / players, cell % players),
            };
            let place = self.rows.place_after(first, offset);
            if let Some(player) = stream.players.get(nth) {
                match self.width {
                    1 => bytes.put_u8(self.rows.first_byte(*player, place)),
                    _ => bytes.put(self.rows.input(*player, place)),
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
        let base = base.map_or(self.rows.idle(), |base| self.rows.place(base));
        let (base, base_flags) = self.rows.cell(player, base);
        let input = (!rows::are_equal(input, base)).then_some(input);
        (input, (flags != base_flags).then_some(flags))
    }
}

/// Which of the inputs from `first` on are changed, from the bit `at` on and before the bit `end`.
#[inline]
fn changed_word(stream: &Stream, first: Frame, (at, end): (usize, usize)) -> u64 {
    match end - at {
        left @ ..64 => stream.changed_from(first, at) & ((1 << left) - 1),
        _ => stream.changed_from(first, at),
    }
}
