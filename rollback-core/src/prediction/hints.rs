//! The hints of players: what they said they will probably do. A hint is only a guess; the input replaces it.

use alloc::vec;
use alloc::vec::Vec;

use crate::{Frame, PEERS_MAX, PeerId, PlayerHandle};

/// The hints for the frames ahead, in rings of a fixed size.
#[derive(Clone)]
pub(crate) struct Hints {
    width: usize,
    players: usize,
    inputs: Vec<u8>,
    /// For which frame each hint is; [`Frame::MAX`] where there is none.
    frames: Vec<Frame>,
    /// The first frame of each peer's newest hints that were taken.
    newest: [Frame; PEERS_MAX],
}

impl Hints {
    pub(crate) fn new(players: usize, width: usize) -> Self {
        let cells = players * HINT_FRAMES;
        Self {
            width,
            players,
            inputs: vec![0; cells * width],
            frames: vec![Frame::MAX; cells],
            newest: [Frame::ZERO; PEERS_MAX],
        }
    }

    /// Whether hints of `peer` that begin at `first` are not older than those taken before.
    pub(crate) fn is_newest(&mut self, peer: PeerId, first: Frame) -> bool {
        let Some(newest) = self.newest.get_mut(peer.index()) else { return false };
        *newest = first.max(*newest);
        *newest == first
    }

    /// Takes a hint in place of the one that has its place in the ring.
    pub(crate) fn set(&mut self, player: PlayerHandle, frame: Frame, input: &[u8]) {
        let cell = self.cell(player, frame);
        let bytes = cell * self.width..(cell + 1) * self.width;
        if let (Some(slot), Some(at)) = (self.inputs.get_mut(bytes), self.frames.get_mut(cell))
            && slot.len() == input.len()
        {
            slot.copy_from_slice(input);
            *at = frame;
        }
    }

    /// The hint for a player and a frame.
    pub(crate) fn get(&self, player: PlayerHandle, frame: Frame) -> Option<&[u8]> {
        let cell = self.cell(player, frame);
        let is_for_frame = self.frames.get(cell) == Some(&frame);
        self.inputs.get(cell * self.width..(cell + 1) * self.width).filter(|_| is_for_frame)
    }

    fn cell(&self, player: PlayerHandle, frame: Frame) -> usize {
        frame.index() as usize % HINT_FRAMES * self.players + player.index()
    }
}

/// How many frames ahead of the inputs given a hint may be: half a second at 60 Hz, four times the usual window.
pub const HINT_FRAMES_MAX: u32 = 32;
const HINT_FRAMES: usize = HINT_FRAMES_MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_holds_for_its_frame_only() {
        let mut hints = Hints::new(2, 1);
        let player = PlayerHandle::new(1).unwrap();
        assert_eq!(hints.get(player, Frame::new(3)), None);
        hints.set(player, Frame::new(3), &[7]);
        assert_eq!(hints.get(player, Frame::new(3)), Some([7].as_slice()));
        assert_eq!(hints.get(PlayerHandle::new(0).unwrap(), Frame::new(3)), None);
        let later = Frame::new(3 + HINT_FRAMES_MAX);
        assert_eq!(hints.get(player, later), None);
        hints.set(player, later, &[8]);
        assert_eq!(hints.get(player, Frame::new(3)), None);
        assert_eq!(hints.get(player, later), Some([8].as_slice()));
    }

    #[test]
    fn hints_that_were_overtaken_are_known() {
        let mut hints = Hints::new(1, 1);
        let peer = PeerId::new(0).unwrap();
        assert!(hints.is_newest(peer, Frame::new(5)));
        assert!(!hints.is_newest(peer, Frame::new(4)));
        assert!(hints.is_newest(peer, Frame::new(5)));
    }
}
