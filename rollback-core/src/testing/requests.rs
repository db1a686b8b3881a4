//! What a peer's application asks of its session in the middle of play.

use core::fmt::Debug;

use super::clock::TrueTime;
use super::node::Node;
use crate::{Actor, Game};

impl<G: Game<Error: Debug>> Node<G> {
    /// Takes another input delay for all local players.
    pub(crate) fn set_input_delay(&mut self, frames: u32) {
        for local in &self.players {
            // What is refused changes nothing: a delay that is too long, or a session that is over.
            let _ = self.session.set_input_delay(local.player, frames);
        }
    }

    /// Has a policy take over from a person for all local players, or a person from a policy.
    pub(crate) fn swap_actor(&mut self) {
        self.actor = match self.actor {
            Actor::Person => Actor::Policy,
            Actor::Policy => Actor::Person,
        };
        for local in &self.players {
            // They are all hosted here.
            let _ = self.session.set_actor(local.player, self.actor);
        }
    }

    /// Has all stand still. Answers whether that is new.
    pub(crate) fn pause(&mut self, now: TrueTime) -> bool {
        let is_new = self.session.pause();
        if is_new {
            self.pauses.own.push((now, None));
        }
        is_new
    }

    pub(crate) fn resume(&mut self, now: TrueTime) {
        // One that was not filed yet is said to nobody, though one before it may still be in force.
        let is_known = !self.session.has_waiting_pause();
        if self.session.resume() {
            match self.pauses.own.last_mut().filter(|_| is_known) {
                Some((_, resumed)) => *resumed = Some(now),
                None => _ = self.pauses.own.pop(),
            }
        }
    }
}
