//! The doors for input delays: set, proposed for all, or following how late inputs come.

use super::episode::Episode;
use super::{InputError, Session};
use crate::journal::Entry;
use crate::{Game, Item, PlayerHandle};

impl<G: Game> Session<G> {
    /// The input delay of the local players with which nine inputs in ten would have reached every other member in
    /// time, as far as that can be told from how late theirs come: with clocks that run level, the way there is as long.
    #[must_use]
    pub fn recommended_input_delay(&self) -> Option<u32> {
        self.episode.links.recommended_input_delay()
    }

    /// Changes the input delay of a local player, without a stall or a lost input: a longer delay repeats the last input
    /// in the gap, a shorter one asks for no input for as many frames. The change is an item in the recording.
    ///
    /// # Errors
    /// When the player is hosted elsewhere, or the delay is longer than [`DELAY_MAX`](crate::DELAY_MAX).
    pub fn set_input_delay(&mut self, player: PlayerHandle, frames: u32) -> Result<(), InputError> {
        self.note(&Entry::InputDelay { player, frames });
        self.episode.local_inputs.set_delay(player, frames)
    }

    /// Has the input delay of the local players follow how late inputs come, within these limits in frames; `None` leaves
    /// it as it is. It grows at once and shrinks slowly.
    pub fn set_automatic_input_delay(&mut self, limits: Option<(u32, u32)>) {
        self.note(&Entry::AutomaticInputDelay(limits));
        let longest = u32::try_from(crate::DELAY_MAX).unwrap_or(u32::MAX);
        let limits = limits.map(|(min, max)| (min.min(longest), max.clamp(min, longest.max(min))));
        self.episode.local_inputs.set_automatic(limits);
    }

    /// Proposes one input delay for all players of all members, as experiments need that must be fair. Answers whether
    /// there was room for the proposal.
    pub fn propose_input_delay(&mut self, frames: u8) -> bool {
        self.note(&Entry::ProposeInputDelay(frames));
        usize::from(frames) <= crate::DELAY_MAX
            && self.episode.local_inputs.propose(Item::SharedDelay { frames })
    }

    /// The input delay of a player, as its host last said.
    #[must_use]
    pub fn input_delay(&self, player: PlayerHandle) -> Option<u32> {
        self.episode.links.queue.delay(player)
    }
}

impl<G: Game> Episode<G> {
    /// Takes the input delay that a member proposed for all, and follows the measured lateness where that is asked for.
    pub(super) fn adjust_input_delay(&mut self) {
        if let Some(frames) = self.ledger.shared_delay.take() {
            // What all agreed on is not given up again for what suits this peer.
            self.local_inputs.set_automatic(None);
            self.local_inputs.set_delay_of_all(frames.into());
        }
        let second = self.links.config.tick_rate_hz().into();
        if self.local_inputs.is_automatic() && self.rollback.current().is_multiple_of(second) {
            let recommended = self.links.recommended_input_delay();
            self.local_inputs.follow(recommended);
        }
    }
}
