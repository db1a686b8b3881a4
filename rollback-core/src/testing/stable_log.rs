//! What a peer recorded: every stable frame, in order.

use alloc::vec::Vec;

use crate::recording::RecordedFrame;
use crate::{Chain, Frame, StableFrame, StateHash};

/// The stable frames that a peer handed out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StableLog {
    rows: Vec<RecordedFrame>,
}

impl StableLog {
    /// The frames, from the first one on.
    #[must_use]
    pub fn rows(&self) -> &[RecordedFrame] {
        &self.rows
    }

    /// A digest of every byte of the first `frames` frames.
    #[must_use]
    pub fn digest(&self, frames: usize) -> u64 {
        let link = |chain: Chain, row: &RecordedFrame| {
            let mut items = Vec::new();
            for (by, item) in &row.items {
                items.push(by.slot());
                item.encode(&mut items);
            }
            let hash = row.state_hash.map_or([0; 16], StateHash::to_bytes);
            let keyframe = row.keyframe.as_deref().unwrap_or_default();
            let fields = [&row.inputs, &row.flags, &items, &row.output, hash.as_slice()];
            // Nothing is linked for none, so that the digests of logs without any stay.
            let keyframe = (!keyframe.is_empty()).then_some(keyframe);
            fields.into_iter().chain(keyframe).fold(chain, |chain, field| chain.link(field))
        };
        self.rows.iter().take(frames).fold(Chain::default(), link).to_u64()
    }

    /// The first frame that is in both logs and is not the same in both.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<Frame> {
        let mut pairs = self.rows.iter().zip(&other.rows);
        pairs.find(|(ours, theirs)| ours != theirs).map(|(ours, _)| ours.frame)
    }

    /// Takes the next frame. Answers whether it is the next one.
    pub(crate) fn push(&mut self, frame: StableFrame<'_>) -> bool {
        let is_next = frame.frame.index() as usize == self.rows.len();
        self.rows.push(frame.into());
        is_next
    }
}
