//! What a session hands out: datagrams to send, events to show, and frames that are stable.

use crate::session::Event;
use crate::{Frame, Item, PeerId, StateHash};

/// Something to do for the driver of a session.
#[derive(Debug)]
pub enum Output<'a> {
    /// Send these bytes to a peer. They may get lost; all that matters is sent again.
    Datagram {
        /// The receiver.
        to: PeerId,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Something happened.
    Event(Event),
    /// A frame has become stable. Frames come in order, each once.
    Stable(StableFrame<'a>),
}

/// A frame that nothing can retract: what every member records of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StableFrame<'a> {
    /// The frame.
    pub frame: Frame,
    /// The input bytes of all players, one after the other.
    pub inputs: &'a [u8],
    /// The flags of each player's input.
    pub flags: &'a [u8],
    /// The items in force from this frame, in the order of their proposers.
    pub items: &'a [(PeerId, Item)],
    /// What stepping the frame gave beside the new state.
    pub output: &'a [u8],
    /// The hash of the state before the frame was stepped, at frames that are reported.
    pub state_hash: Option<StateHash>,
    /// The state before the frame as bytes, where all took over that of one: then an [`Item::Resync`] says whose.
    pub keyframe: Option<&'a [u8]>,
}

/// What came of a call to advance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advance {
    /// A frame was stepped.
    Stepped {
        /// The frame.
        frame: Frame,
        /// How many frames a rollback went back before that; 0 without one.
        rolled_back: u32,
    },
    /// The episode has ended as far as is known here; the ended state is held until all agree.
    Held {
        /// The frame that passed.
        frame: Frame,
        /// How many frames a rollback went back before that; 0 without one.
        rolled_back: u32,
    },
    /// Nothing was stepped: the session waits.
    Stalled(Stall),
    /// The episode is over and all that were present agree. The session goes on answering the others until
    /// `is_finished`.
    Ended(End),
}

/// What a session waits for. Waiting is a status, not an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stall {
    /// Members have not said hello.
    Handshaking(crate::PeerSet),
    /// Inputs of these peers are missing and the prediction window is used up.
    WaitingForInput(crate::PeerSet),
    /// This peer has not acknowledged or agreed for so long that the history is full.
    WaitingForAck(PeerId),
    /// The history is full of stable frames that the driver has not taken with `poll_output`.
    WaitingForDriver,
    /// A rollback goes on in the next call, since the step budget of this one is used up. The game is not at the current
    /// frame, so that there is nothing to show.
    Resimulating {
        /// How many frames are left.
        left: u32,
    },
    /// These members have paused the episode; all stand still at the same frame.
    Paused {
        /// Who has not resumed yet.
        by: crate::PeerSet,
    },
    /// This peer comes back into its slot, and has stepped all that it was given of what was recorded.
    CatchingUp,
    /// These peers are being let in again; that takes longer than usual.
    Admitting(crate::PeerSet),
    /// All frames are played; the members agree on the end.
    Closing,
    /// The members' states differ; the first bad frame is being searched for.
    SearchingDesync,
    /// The members' states differ; these have not said what follows.
    Disputed(crate::PeerSet),
    /// The state of this peer is on its way.
    Resyncing(PeerId),
}

/// How an episode ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// How many frames were played: the first frame that is not part of the episode.
    pub frame: Frame,
    /// Why.
    pub cause: EndCause,
    /// Whose doing it was, where it was someone's.
    pub by: Option<PeerId>,
}

/// Why an episode ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndCause {
    /// The simulation ended.
    Finished,
    /// A member ended it, with the application's own number for the reason.
    Named(u16),
    /// A member left in order and too few were left.
    Left,
    /// A member was lost and too few were left.
    Departed,
    /// The members' states differ; the episode ends where they last agreed. The game stands some frames beyond that, for those
    /// who play and for those who watch.
    Desync,
    /// This peer cannot reach enough of the others. Not agreed: the others may have gone on.
    Partitioned,
    /// The simulation failed on this peer. Not agreed: the others may have gone on.
    GameFailed,
    /// The members cannot play together; no frame was played.
    Incompatible,
    /// A member sent this peer away. Not agreed: the others have gone on.
    Kicked,
}

impl EndCause {
    /// Whether all members that were present record the same end.
    #[must_use]
    pub fn is_agreed(self) -> bool {
        !matches!(self, Self::Partitioned | Self::GameFailed | Self::Incompatible | Self::Kicked)
    }

    /// Whether the episode was played to an end that the game or the application meant.
    #[must_use]
    pub fn is_completed(self) -> bool {
        matches!(self, Self::Finished | Self::Named(_))
    }

    /// The cause as it is recorded.
    #[must_use]
    pub fn code(self) -> (u8, u16) {
        match self {
            Self::Finished => (0, 0),
            Self::Named(code) => (1, code),
            Self::Left => (2, 0),
            Self::Departed => (3, 0),
            Self::Desync => (4, 0),
            Self::Partitioned => (5, 0),
            Self::GameFailed => (6, 0),
            Self::Incompatible => (7, 0),
            Self::Kicked => (8, 0),
        }
    }

    /// The cause from its recorded form; `None` when there is none with this number.
    #[must_use]
    pub fn from_code(kind: u8, code: u16) -> Option<Self> {
        Some(match kind {
            0 => Self::Finished,
            1 => Self::Named(code),
            2 => Self::Left,
            3 => Self::Departed,
            4 => Self::Desync,
            5 => Self::Partitioned,
            6 => Self::GameFailed,
            7 => Self::Incompatible,
            8 => Self::Kicked,
            _ => return None,
        })
    }
}
