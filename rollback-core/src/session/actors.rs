//! The door that says who drives a player: a person or a policy.

use super::{InputError, Session};
use crate::journal::Entry;
use crate::{Actor, Game, PlayerHandle};

impl<G: Game> Session<G> {
    /// Has a local player be driven by another, a person or a policy, from its next input on. Who drives it is an item in the
    /// recording, at the frame of that input, and the flag [`InputFlags::POLICY`](crate::InputFlags::POLICY) says it of
    /// each input that a policy gives. Every player begins with a person.
    ///
    /// # Errors
    /// When the player is hosted elsewhere.
    pub fn set_actor(&mut self, player: PlayerHandle, actor: Actor) -> Result<(), InputError> {
        self.note(&Entry::Actor { player, actor });
        self.episode.local_inputs.set_actor(player, actor)
    }

    /// Who drives a player, as its host last said.
    #[must_use]
    pub fn actor(&self, player: PlayerHandle) -> Option<Actor> {
        self.episode.links.queue.actor(player)
    }
}
