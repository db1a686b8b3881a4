//! The errors of a game, each with the frame at which it failed.

use thiserror::Error;

use crate::Frame;

/// The simulation failed, and what it was doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum GameError<E> {
    /// A state could not be saved.
    #[error("the game could not save the state of frame {frame}")]
    Save {
        /// The frame of the state.
        frame: Frame,
        /// The game's own error.
        source: E,
    },
    /// A state could not be loaded.
    #[error("the game could not load the state of frame {frame}")]
    Load {
        /// The frame of the state.
        frame: Frame,
        /// The game's own error.
        source: E,
    },
    /// A frame could not be stepped with the inputs that the players gave.
    #[error("the game could not step frame {frame}")]
    Step {
        /// The frame.
        frame: Frame,
        /// The game's own error.
        source: E,
    },
    /// A state could not be hashed.
    #[error("the game could not hash the state of frame {frame}")]
    Hash {
        /// The frame of the state.
        frame: Frame,
        /// The game's own error.
        source: E,
    },
}

impl<E> GameError<E> {
    /// The frame at which it happened.
    pub fn frame(&self) -> Frame {
        match self {
            Self::Save { frame, .. }
            | Self::Load { frame, .. }
            | Self::Step { frame, .. }
            | Self::Hash { frame, .. } => *frame,
        }
    }

    /// The game's own error.
    pub fn into_source(self) -> E {
        match self {
            Self::Save { source, .. }
            | Self::Load { source, .. }
            | Self::Step { source, .. }
            | Self::Hash { source, .. } => source,
        }
    }
}
