//! Play that goes on alone after a peer was cut off from the others. It holds no session, so nothing of it is sent, stable or recorded.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use thiserror::Error;

use super::{EndCause, InputError, Session};
use crate::game::StepRow;
use crate::{Frame, Game, Input, InputFlags, InputStatus, Outcome, PlayerHandle, Step};

/// A game that one peer plays on alone, after it was cut off from the others and the episode is over for it. Made by
/// [`Session::branch`].
///
/// The others may have gone on without it: what is played here never happened for them. So it is in no recording, no frame of
/// it is stable or even [final](Step::is_final), and nobody can come back from it into the episode. It keeps no time either: call
/// [`advance_frame`](Self::advance_frame) as often as a frame lasts.
pub struct Branch<G: Game> {
    began: Frame,
    frame: Frame,
    /// Frames before this one were shown already, ahead of their time.
    known_up_to: Frame,
    width: usize,
    inputs: Vec<u8>,
    flags: Vec<u8>,
    statuses: Vec<InputStatus>,
    outcome: Outcome,
    game: PhantomData<fn(&mut G)>,
}

impl<G: Game> Session<G> {
    /// Goes on alone from where the game stands, for as long as the application likes: the players of the others are idle. Only once the
    /// episode has ended [`Partitioned`](EndCause::Partitioned); the session goes on lingering as it would. The game stands on guesses of
    /// what the others did last, and one of them may be known to be wrong and not corrected yet: the branch begins from it all the same.
    ///
    /// # Errors
    /// When the episode is not over, or ended for another reason, or where the game is in no known state.
    pub fn branch(&self) -> Result<Branch<G>, BranchError> {
        let cause = self.end().ok_or(BranchError::NotOver)?.cause;
        if cause != EndCause::Partitioned {
            return Err(BranchError::NotCutOff { cause });
        }
        let began = self.episode.rollback.live_frame().ok_or(BranchError::NoState)?;
        let config = &self.episode.links.config;
        // That the others do nothing is a guess: so no step of it is taken for one that counts.
        let mut statuses = vec![InputStatus::Predicted; config.players()];
        let mut flags = vec![InputFlags::NONE.bits(); config.players()];
        for (player, actor) in self.episode.local_inputs.actors() {
            let at = player.index();
            if let (Some(status), Some(flags)) = (statuses.get_mut(at), flags.get_mut(at)) {
                *status = InputStatus::Given;
                *flags = actor.flags(InputFlags::NONE).bits();
            }
        }
        Ok(Branch {
            began,
            frame: began,
            known_up_to: self.episode.rollback.known_up_to(),
            width: config.input_width(),
            inputs: config.idle_input().repeat(config.players()),
            flags,
            statuses,
            outcome: Outcome::Running,
            game: PhantomData,
        })
    }
}

impl<G: Game> Branch<G> {
    /// The frame at which it left the episode.
    #[must_use]
    pub fn began(&self) -> Frame {
        self.began
    }

    /// The next frame to step.
    #[must_use]
    pub fn current_frame(&self) -> Frame {
        self.frame
    }

    /// What a local player does from the next frame on, until something else is said; idle before. Whoever gave its inputs as the episode
    /// ended, a person or a policy, gives these.
    ///
    /// # Errors
    /// When the player is hosted elsewhere.
    pub fn set_local_input(
        &mut self,
        player: PlayerHandle,
        input: &G::Input,
    ) -> Result<(), InputError> {
        let at = player.index();
        if self.statuses.get(at) != Some(&InputStatus::Given) {
            return Err(InputError::NotLocal { player });
        }
        let place = at * self.width..(at + 1) * self.width;
        if let Some(bytes) = self.inputs.get_mut(place) {
            input.write(bytes);
        }
        Ok(())
    }

    /// Steps one frame of the game that the session played, without input delay. Once the simulation has ended, nothing is
    /// stepped any more.
    ///
    /// # Errors
    /// When the game cannot be stepped.
    pub fn advance_frame(&mut self, game: &mut G) -> Result<Outcome, G::Error> {
        if self.outcome == Outcome::Running {
            let row =
                StepRow { inputs: &self.inputs, flags: &self.flags, statuses: &self.statuses };
            let is_known = self.frame < self.known_up_to;
            self.outcome = game.step(&Step::new(self.frame, self.width, row, is_known))?;
            self.frame = self.frame.next();
        }
        Ok(self.outcome)
    }
}

impl<G: Game> fmt::Debug for Branch<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Branch")
            .field("began", &self.began)
            .field("frame", &self.frame)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// Why nobody can go on alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum BranchError {
    /// The episode goes on.
    #[error("expected an episode that is over")]
    NotOver,
    /// The episode ended for another reason than that this peer was cut off.
    #[error("expected an episode that ended partitioned, got {cause:?}")]
    NotCutOff {
        /// Why it ended.
        cause: EndCause,
    },
    /// The simulation has ended, the last guess could not be stepped, or a desync was searched for or not settled yet.
    #[error("the game is in no state to go on from")]
    NoState,
}
