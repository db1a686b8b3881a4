//! Keeps the outputs of steps until their frames are handed out.

use alloc::vec::Vec;

use super::Rollback;
use crate::{Chain, Frame, Game};

impl<G: Game> Rollback<G> {
    /// What stepping `frame` gave beside the new state.
    pub(crate) fn output(&self, frame: Frame) -> &[u8] {
        self.outputs.get(self.output_slot(frame)).map_or(&[], Vec::as_slice)
    }

    /// The chain of the outputs of the steps from `first` up to `end`, without empty ones, and of the game's end there.
    pub(crate) fn chain_of_outputs(&self, first: Frame, end: Frame) -> Chain {
        let mut chain = Chain::default();
        if self.ended_at() == Some(end) {
            chain = chain.link(b"ended");
        }
        if self.outputs.is_empty() {
            return chain;
        }
        for frame in first.until(end) {
            let output = self.output(frame);
            if !output.is_empty() {
                chain = chain.link(&frame.index().to_le_bytes()).link(output);
            }
        }
        chain
    }

    /// Puts what the last step gave into the ring.
    pub(super) fn keep_output(&mut self, frame: Frame) {
        self.outputs.resize(self.history, Vec::new());
        let slot = self.output_slot(frame);
        if let Some(slot) = self.outputs.get_mut(slot) {
            core::mem::swap(slot, &mut self.output);
        }
    }

    fn output_slot(&self, frame: Frame) -> usize {
        frame.index() as usize & (self.history - 1)
    }
}
