//! Why a session cannot begin, and why a frame could not be advanced.

use thiserror::Error;

use crate::peer::Mismatches;
use crate::{GameError, PeerId, PlayerHandle};

/// Why a session cannot begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SessionError<E> {
    /// Configuration and roster name different numbers of players.
    #[error("the configuration has {expected} players, the roster {got}")]
    PlayerCount {
        /// By the configuration.
        expected: usize,
        /// By the roster.
        got: usize,
    },
    /// Configuration and game name different widths of an input.
    #[error("the game's inputs take {expected} bytes, the configuration's input_width is {got}")]
    InputWidth {
        /// By the game.
        expected: usize,
        /// By the configuration.
        got: usize,
    },
    /// The ticket's own peer is not in its roster.
    #[error("{peer} is not in the roster")]
    NotInRoster {
        /// The peer.
        peer: PeerId,
    },
    /// Nobody waits for this peer at the start: it comes as one that comes back, in life 1 of its slot.
    #[error("{peer} comes late: expected a ticket of incarnation 1 or more, for Session::rejoin")]
    ComesLate {
        /// The peer.
        peer: PeerId,
    },
    /// Fewer are awaited at the start than must be left.
    #[error("{got} peers are awaited at the start, expected {expected} or more")]
    TooFewAtStart {
        /// The least number of members.
        expected: usize,
        /// How many of the roster do not come late.
        got: usize,
    },
    /// The inputs of a peer's players do not fit a datagram twice.
    #[error("the inputs of {peer} take {got} bytes a frame, expected at most {max}")]
    TooManyBytes {
        /// The peer.
        peer: PeerId,
        /// What fits.
        max: usize,
        /// What they take.
        got: usize,
    },
    /// The facts do not fit the hello's datagram.
    #[error("the facts take {got} bytes, expected at most {max}: shorten them")]
    FactsTooLong {
        /// What fits.
        max: usize,
        /// What it takes.
        got: usize,
    },
    /// All are to take over the state of one after a desync, and the game cannot write and read its states.
    #[error("on_desync: expected a game that exports and imports its states")]
    NoExport,
    /// The game could not save or hash its first state.
    #[error(transparent)]
    Game(GameError<E>),
}

/// Why a frame could not be advanced.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AdvanceError<E> {
    /// The simulation failed with the inputs that the players gave.
    #[error(transparent)]
    Game(GameError<E>),
    /// The state of a frame is not what the members recorded, or agreed on before this peer's new life: its simulation is another one.
    #[error("the state of frame {frame} is not the recorded one")]
    OtherState {
        /// The frame.
        frame: crate::Frame,
    },
    /// The state that all take over cannot be read here, or is another one than it should be.
    #[error("the state of frame {frame}, which all take over, cannot be read here")]
    Unreadable {
        /// The frame.
        frame: crate::Frame,
    },
    /// No input was given for a local player.
    #[error("{player} has no input for this frame")]
    MissingInput {
        /// The player.
        player: PlayerHandle,
    },
    /// The members cannot play together.
    #[error("{peer} does not fit: {mismatches}")]
    Incompatible {
        /// The other peer.
        peer: PeerId,
        /// Everything that differs.
        mismatches: Mismatches,
    },
}
