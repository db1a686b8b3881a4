//! Why a configuration is refused: a value out of range, or bytes that are no configuration.

use thiserror::Error;

use crate::PlayerHandle;
use crate::bytes::EndOfBytes;

/// Why a configuration is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field is out of range.
    #[error("{field}: expected {min} to {max}, got {got}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The least it may be.
        min: usize,
        /// The most it may be.
        max: usize,
        /// What was given.
        got: usize,
    },
    /// A delay was given to a player that does not exist.
    #[error("input_delay_frames_of: there is no {player}")]
    NoSuchPlayer {
        /// The player.
        player: PlayerHandle,
    },
    /// The idle input has another width than the inputs.
    #[error("idle_input: expected {expected} bytes, got {got}")]
    IdleWidth {
        /// The width of an input.
        expected: usize,
        /// The width given.
        got: usize,
    },
}

/// Why bytes are no configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ConfigDecodeError {
    /// The bytes end within a field.
    #[error(transparent)]
    End(#[from] EndOfBytes),
    /// A field has another width than it must.
    #[error("{field}: expected {expected} bytes, got {got}")]
    Width {
        /// The field.
        field: &'static str,
        /// The width it must have.
        expected: usize,
        /// The width found.
        got: usize,
    },
    /// A field is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The fields are in range, and yet these are not the bytes that they are written as.
    #[error("expected as many delays as players, an idle input, and nothing behind the last field")]
    NotAsEncoded,
}
