//! The doors for pauses: all stop at one agreed frame until whoever paused resumes, or is gone.

use super::Session;
use crate::journal::Entry;
use crate::{Game, PeerSet};

impl<G: Game> Session<G> {
    /// Pauses the episode for all. The pause is an item in the next frame that is filed; so many frames later as the
    /// prediction window is long, all stand still, at the same frame, and
    /// [`advance_frame`](Self::advance_frame) answers [`Stall::Paused`](crate::Stall::Paused). Members go on hearing each
    /// other, and one that goes meanwhile leaves or departs as ever. Frames are numbered as without the pause.
    ///
    /// Answers whether the pause is new: false also where no more proposals have room.
    pub fn pause(&mut self) -> bool {
        self.note(&Entry::Pause);
        self.episode.local_inputs.pause()
    }

    /// Ends this peer's own pause; play goes on when nobody else's is in force. Answers whether there was one to end.
    pub fn resume(&mut self) -> bool {
        self.note(&Entry::Resume);
        self.episode.local_inputs.resume()
    }

    /// Whose pauses are in force, as far as is known here; play may still go on up to the agreed frame.
    #[must_use]
    pub fn paused_by(&self) -> PeerSet {
        self.episode.links.queue.pauses().by()
    }
}
