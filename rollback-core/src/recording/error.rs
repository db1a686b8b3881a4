//! What can be wrong with a recording, and where.

use thiserror::Error;

use crate::config::ConfigDecodeError;
use crate::{Frame, ItemError, RosterError};

/// Why bytes are no sound recording. Every variant says where in the file, in bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The file does not begin as a recording does.
    #[error("byte 0: this is no recording")]
    Magic,
    /// The file has another version of the format.
    #[error("byte 6: expected version {expected} of the format, got {got}")]
    Version {
        /// The version that can be read.
        expected: u16,
        /// The version found.
        got: u16,
    },
    /// The file ends before its header does.
    #[error("byte {got}: the file ends within its header")]
    HeaderEnds {
        /// How long the file is.
        got: usize,
    },
    /// The first section is not a header.
    #[error("byte {offset}: expected the header")]
    NoHeader {
        /// Where.
        offset: usize,
    },
    /// The head of a section is damaged.
    #[error("byte {offset}: the head of this section is damaged")]
    Head {
        /// Where the section begins.
        offset: usize,
    },
    /// A section is of a kind that cannot stand here.
    #[error("byte {offset}: expected a block or the end record, got a section of kind {got}")]
    Kind {
        /// Where the section begins.
        offset: usize,
        /// The kind found.
        got: u8,
    },
    /// A section does not follow what stands before it: something was cut out, or it is from another file.
    #[error("byte {offset}: expected the digest {expected:016x} of all before, got {got:016x}")]
    Chain {
        /// Where the section begins.
        offset: usize,
        /// The digest of all before.
        expected: u64,
        /// The digest that the section expects.
        got: u64,
    },
    /// The body of a section is damaged.
    #[error("byte {offset}: the section from frame {first} on is damaged")]
    Checksum {
        /// Where the section begins.
        offset: usize,
        /// The first frame of the section.
        first: Frame,
    },
    /// A section does not go on where the last one ended.
    #[error("byte {offset}: expected frame {expected}, got {got}")]
    First {
        /// Where the section begins.
        offset: usize,
        /// The frame that comes next.
        expected: Frame,
        /// The frame found.
        got: Frame,
    },
    /// A section's frames are not cut as they must be.
    #[error("byte {offset}: a section cannot have {count} frames from frame {first} on")]
    Block {
        /// Where the section begins.
        offset: usize,
        /// Its first frame.
        first: Frame,
        /// Its number of frames.
        count: u8,
    },
    /// A section ends within a field.
    #[error("byte {offset}: expected {expected} more bytes of this section, got {got}")]
    BodyEnds {
        /// Where the field begins.
        offset: usize,
        /// What the field needs.
        expected: usize,
        /// What was left.
        got: usize,
    },
    /// Bytes are left behind the last field of a section, or behind the end record.
    #[error("byte {offset}: expected no more bytes here, got {got}")]
    Trailing {
        /// Where they begin.
        offset: usize,
        /// How many there are.
        got: usize,
    },
    /// A text is not UTF-8.
    #[error("byte {offset}: expected UTF-8")]
    Text {
        /// Where the text begins.
        offset: usize,
    },
    /// The configuration is refused.
    #[error("byte {offset}: the configuration cannot be read")]
    Config {
        /// Where the configuration begins.
        offset: usize,
        /// Why.
        source: ConfigDecodeError,
    },
    /// The roster is refused.
    #[error("byte {offset}: the roster cannot be read")]
    Roster {
        /// Where the hosts begin.
        offset: usize,
        /// Why.
        source: RosterError,
    },
    /// The roster and the configuration have another number of players.
    #[error("byte {offset}: expected {expected} players as in the roster, got {got}")]
    Players {
        /// Where the configuration begins.
        offset: usize,
        /// The players of the roster.
        expected: usize,
        /// The players of the configuration.
        got: usize,
    },
    /// A peer is none of the roster, or stands out of order.
    #[error("byte {offset}: there can be no peer {got} here")]
    Peer {
        /// Where.
        offset: usize,
        /// The slot found.
        got: u8,
    },
    /// A row's marks have no meaning.
    #[error("byte {offset}: a row cannot have the marks {got:#010b}")]
    Marks {
        /// Where the row begins.
        offset: usize,
        /// The marks found.
        got: u8,
    },
    /// A mask names no player, or one that does not exist.
    #[error("byte {offset}: this mask names nobody or a player that does not exist")]
    Mask {
        /// Where the mask begins.
        offset: usize,
    },
    /// A value is written although it did not change.
    #[error("byte {offset}: a value is given that did not change")]
    Unchanged {
        /// Where the value begins.
        offset: usize,
    },
    /// A frame has no items, or too many, where it should have some.
    #[error("byte {offset}: expected 1 to {max} items, got {got}")]
    Items {
        /// Where their count is.
        offset: usize,
        /// The most there may be.
        max: usize,
        /// The count found.
        got: usize,
    },
    /// An item is refused.
    #[error("byte {offset}: the item cannot be read")]
    Item {
        /// Where the item begins.
        offset: usize,
        /// Why.
        source: ItemError,
    },
    /// An output is too long.
    #[error("byte {offset}: expected an output of at most {max} bytes, got {got}")]
    Output {
        /// Where its length is.
        offset: usize,
        /// The most bytes it may take.
        max: usize,
        /// The length found.
        got: usize,
    },
    /// There is no cause of an end with this number.
    #[error("byte {offset}: there is no cause {kind} of an end with the argument {code}")]
    Cause {
        /// Where.
        offset: usize,
        /// The kind of the cause.
        kind: u8,
        /// Its argument.
        code: u16,
    },
}
