//! The players of a simulated peer: what they press, and what they say that they will.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::simulation::InputSource;
use crate::{Game, HINT_FRAMES_MAX, InputFlags, PlayerHandle};

/// A local player, who holds a key for a while.
pub(super) struct Player {
    pub(super) player: PlayerHandle,
    pub(super) input: Vec<u8>,
}

impl<G: Game<Error: Debug>> Node<G> {
    pub(super) fn give_inputs(&mut self, source: &mut InputSource) -> Result<(), Violation> {
        for local in &mut self.players {
            source.next_input(local.player, &mut self.random, &mut local.input);
            let bits = if local.input.first().is_some_and(|first| first % 5 == 0) { 1 } else { 0 };
            let flags = InputFlags::from_bits(bits);
            let filed = self.session.set_local_input_bytes(local.player, &local.input, flags);
            match filed {
                Ok(Some(frame)) => {
                    let given = (local.input.clone(), self.actor.flags(flags));
                    if self.given.insert((local.player, frame), given).is_some() {
                        let detail = format!("{} was filed twice", local.player);
                        return Err(Violation::at(Oracle::Inputs, frame, detail));
                    }
                }
                Ok(None) => {}
                Err(error) => return Err(Violation::new(Oracle::Errors, format!("{error}"))),
            }
        }
        Ok(())
    }

    /// Says what the players will probably do: that they go on as they do, or anything.
    pub(super) fn give_hints(&mut self) -> Result<(), Violation> {
        let current = self.session.current_frame();
        for local in &self.players {
            let mut hint = local.input.clone();
            if self.hint_random.chance(300) {
                self.hint_random.fill(&mut hint);
            }
            let frame = current.plus(self.hint_random.below(HINT_FRAMES_MAX + 8));
            if let Err(error) = self.session.hint_input_bytes(local.player, frame, &hint) {
                return Err(Violation::new(Oracle::Errors, format!("{error}")));
            }
        }
        Ok(())
    }
}
