//! The setting for what follows a desync, and its bytes. `session/resyncing.rs` carries it out.

use crate::PeerId;

/// What follows when the members' states differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnDesync {
    /// The episode ends where all last agreed.
    #[default]
    End,
    /// All stand still until every application has said what follows, with
    /// [`Session::resync`](crate::Session::resync) or [`Session::end_disputed`](crate::Session::end_disputed).
    Pause,
    /// All take over the state of one, and play on. The game must write and read its states as bytes.
    Resync(ResyncFrom),
}

/// Whose state all take over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResyncFrom {
    /// This peer's; the majority's when it is gone.
    Peer(PeerId),
    /// That of the largest group whose states are equal; of groups as large as each other the one with this peer, or else the one
    /// with the lowest slot.
    Majority {
        /// Whose group counts where groups are equally large.
        anchor: PeerId,
    },
}

impl OnDesync {
    /// The policy as it is compared and recorded; nothing for the default.
    pub(super) fn encode(self) -> alloc::vec::Vec<u8> {
        match self {
            Self::End => alloc::vec![],
            Self::Pause => alloc::vec![1, 0],
            Self::Resync(ResyncFrom::Peer(peer)) => alloc::vec![2, peer.slot()],
            Self::Resync(ResyncFrom::Majority { anchor }) => alloc::vec![3, anchor.slot()],
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(match *bytes {
            [] => Self::End,
            [1, 0] => Self::Pause,
            [2, slot] => Self::Resync(ResyncFrom::Peer(PeerId::new(slot)?)),
            [3, slot] => Self::Resync(ResyncFrom::Majority { anchor: PeerId::new(slot)? }),
            _ => return None,
        })
    }
}
