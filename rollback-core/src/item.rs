//! Items: agreed changes that travel in a peer's input stream. Does not apply them.

use alloc::vec::Vec;

use crate::bytes::{ByteReader, EndOfBytes, PutBytes};
use crate::{Actor, DELAY_MAX, Frame, PlayerHandle};
use thiserror::Error;

/// An agreed change, proposed by the peer in whose stream it travels and in force from the frame it stands at.
///
/// No peer can confirm that frame without it, so all apply it at the same frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// The proposer leaves: its inputs end before this frame, and idle is filled in from here on.
    Leave,
    /// The episode ends before this frame, for a reason that the application names.
    End {
        /// The application's own number for the reason.
        code: u16,
    },
    /// The proposer files the inputs of its player so many frames ahead from this frame on.
    Delay {
        /// The player.
        player: PlayerHandle,
        /// The input delay, at most [`DELAY_MAX`].
        frames: u8,
    },
    /// Every member is asked to take this input delay for its players; each then says so by a `Delay` of its own.
    SharedDelay {
        /// The input delay, at most [`DELAY_MAX`].
        frames: u8,
    },
    /// The proposer pauses the episode: no member steps the frame that comes the prediction window later, nor any
    /// after it, until it hears that the proposer resumes or is gone.
    Pause,
    /// The proposer's pause is over. One frame may end a pause and begin the next, in this order.
    Resume,
    /// From this frame on another drives a player of the proposer.
    Actor {
        /// The player.
        player: PlayerHandle,
        /// Who drives it.
        actor: Actor,
    },
    /// The proposer is back in its slot: this is the first frame of its new life, and before it idle was filled in.
    Join {
        /// Which life of the slot begins.
        incarnation: u8,
    },
    /// The states of the members differed, and from this frame on all have the proposer's. It stands in no stream: the members
    /// agreed on it when the frame was played already.
    Resync {
        /// How often it was tried: more than once when members were lost meanwhile.
        attempts: u8,
    },
}

impl Item {
    /// Appends the item as it is sent and recorded.
    pub(crate) fn encode(self, bytes: &mut Vec<u8>) {
        let (kind, argument) = match self {
            Self::Leave => (1, 0),
            Self::End { code } => (2, code),
            Self::Join { incarnation } => (3, u16::from(incarnation)),
            Self::Resync { attempts } => (9, u16::from(attempts)),
            Self::Delay { player, frames } => (4, u16::from_le_bytes([frames, player.slot()])),
            Self::SharedDelay { frames } => (5, u16::from(frames)),
            Self::Pause => (6, 0),
            Self::Resume => (7, 0),
            Self::Actor { player, actor } => (8, u16::from_le_bytes([actor.code(), player.slot()])),
        };
        bytes.put_u8(kind);
        bytes.put_u16(argument);
    }

    /// Reads one item.
    ///
    /// # Errors
    /// When the bytes end, or mean no item.
    pub(crate) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, ItemError> {
        let kind = reader.u8()?;
        let argument = reader.u16()?;
        let [low, high] = argument.to_le_bytes();
        let is_delay = usize::from(low) <= DELAY_MAX;
        match (kind, high, PlayerHandle::new(high)) {
            (1, ..) if argument == 0 => Ok(Self::Leave),
            (2, ..) => Ok(Self::End { code: argument }),
            (3, 0, _) => Ok(Self::Join { incarnation: low }),
            (4, _, Some(player)) if is_delay => Ok(Self::Delay { player, frames: low }),
            (5, 0, _) if is_delay => Ok(Self::SharedDelay { frames: low }),
            (6, ..) if argument == 0 => Ok(Self::Pause),
            (7, ..) if argument == 0 => Ok(Self::Resume),
            (8, _, Some(player)) => match Actor::from_code(low) {
                Some(actor) => Ok(Self::Actor { player, actor }),
                None => Err(ItemError::Argument { kind, got: argument }),
            },
            (9, 0, _) => Ok(Self::Resync { attempts: low }),
            (1..=9, ..) => Err(ItemError::Argument { kind, got: argument }),
            _ => Err(ItemError::Kind { got: kind }),
        }
    }
}

/// An item at the frame from which it is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemAt {
    /// The frame.
    pub frame: Frame,
    /// The change.
    pub item: Item,
}

/// Why bytes are no item.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The bytes end too early.
    #[error(transparent)]
    End(#[from] EndOfBytes),
    /// No item has this number.
    #[error("expected an item of kind 1 to 9, got {got}")]
    Kind {
        /// The number found.
        got: u8,
    },
    /// An argument is out of range.
    #[error("an item of kind {kind} cannot have the argument {got}")]
    Argument {
        /// The kind of the item.
        kind: u8,
        /// The argument found.
        got: u16,
    },
}

/// How many bytes an item takes.
pub(crate) const ITEM_BYTES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_read_as_it_was_written() {
        let player = PlayerHandle::new(3).unwrap();
        for item in [
            Item::Leave,
            Item::End { code: 515 },
            Item::Join { incarnation: 2 },
            Item::Resync { attempts: 1 },
            Item::Delay { player, frames: 30 },
            Item::SharedDelay { frames: 0 },
            Item::Pause,
            Item::Resume,
            Item::Actor { player, actor: Actor::Policy },
        ] {
            let mut bytes = Vec::new();
            item.encode(&mut bytes);
            assert_eq!(bytes.len(), ITEM_BYTES);
            assert_eq!(Item::decode(&mut ByteReader::new(&bytes)), Ok(item));
        }
    }

    #[test]
    fn unknown_items_are_refused() {
        let read = |bytes: &[u8]| Item::decode(&mut ByteReader::new(bytes));
        assert_eq!(read(&[10, 0, 0]), Err(ItemError::Kind { got: 10 }));
        assert_eq!(read(&[3, 0, 1]), Err(ItemError::Argument { kind: 3, got: 256 }));
        assert_eq!(read(&[4, 31, 0]), Err(ItemError::Argument { kind: 4, got: 31 }));
        assert_eq!(read(&[4, 0, 64]), Err(ItemError::Argument { kind: 4, got: 64 << 8 }));
        assert_eq!(read(&[8, 2, 0]), Err(ItemError::Argument { kind: 8, got: 2 }));
        assert_eq!(read(&[6, 1, 0]), Err(ItemError::Argument { kind: 6, got: 1 }));
        assert_eq!(read(&[7, 0, 1]), Err(ItemError::Argument { kind: 7, got: 256 }));
        assert_eq!(read(&[5, 2, 1]), Err(ItemError::Argument { kind: 5, got: 258 }));
        assert!(matches!(read(&[1, 0]), Err(ItemError::End(_))));
    }
}
