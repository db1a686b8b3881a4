//! The door for hints: what a local player will probably do. `input_queue/hints.rs` takes them.

use super::{InputError, Session};
use crate::journal::Entry;
use crate::{Frame, Game, Input, PlayerHandle};

impl<G: Game> Session<G> {
    /// Says what a local player will probably do in a frame to come: a guess for the others, and nothing more. Right, it
    /// saves them a rollback; wrong, it costs what any wrong guess costs. A policy that plans ahead can give its plan.
    ///
    /// A hint is sent along until its frame has its input, and a later one for the same frame replaces it. Answers whether
    /// it was taken: for one of the next [`HINT_FRAMES_MAX`](crate::HINT_FRAMES_MAX) frames that have no input.
    ///
    /// # Errors
    /// When the player is hosted elsewhere.
    pub fn hint_input(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        input: &G::Input,
    ) -> Result<bool, InputError> {
        let mut bytes = core::mem::take(&mut self.input);
        input.write(&mut bytes);
        let taken = self.hint_input_bytes(player, frame, &bytes);
        self.input = bytes;
        taken
    }

    /// The same for an input that is bytes already.
    ///
    /// # Errors
    /// When the player is hosted elsewhere or the bytes have another width than the configuration says.
    pub fn hint_input_bytes(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        input: &[u8],
    ) -> Result<bool, InputError> {
        self.note(&Entry::Hint { player, frame, input });
        self.episode.local_inputs.hint(&mut self.episode.links.queue, frame, player, input)
    }
}
