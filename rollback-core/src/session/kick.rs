//! The doors for sending a peer away, and for opening its slot again.

use thiserror::Error;

use super::Session;
use super::episode::Phase;
use crate::journal::Entry;
use crate::{Game, OnDesync, PeerId};

impl<G: Game> Session<G> {
    /// Sends a peer away: proposes to go on without it at once, as if it had been silent for too long. When the members
    /// have agreed, idle is filled in for its players, [`Event::ViewChanged`](crate::Event::ViewChanged) names the cause, its own episode ends as
    /// [`Kicked`](crate::EndCause::Kicked), and its slot is closed: nobody comes back into it unless every member
    /// [keeps it](Self::reserve_slot). One that is being let in again is let in no more.
    ///
    /// Any member may; two who send each other away are both gone, and perhaps a quorum with them.
    ///
    /// # Errors
    /// When the peer is this one or not there, when too few would be left to go on, or when nothing is played; nothing has
    /// happened then.
    pub fn kick(&mut self, peer: PeerId) -> Result<(), KickError> {
        self.note(&Entry::Kick { peer });
        match self.episode.phase {
            Phase::Handshaking | Phase::Playing => self.episode.links.kick(peer),
            // Where all are to play on, they wait for every member's word.
            Phase::Searching { .. } | Phase::Disputed
                if self.episode.links.config.on_desync() != OnDesync::End =>
            {
                self.episode.links.kick(peer)
            }
            Phase::CatchingUp
            | Phase::Searching { .. }
            | Phase::Disputed
            | Phase::Failing { .. }
            | Phase::Over { .. } => Err(KickError::NotPlaying),
        }
    }

    /// Opens a slot again that was closed, since its peer was sent away or is [gone for good](crate::Silence::DepartForGood): from
    /// now on [`readmit`](Self::readmit) may expect it back. Every member must say so. Answers whether it was closed.
    pub fn reserve_slot(&mut self, peer: PeerId) -> bool {
        self.note(&Entry::ReserveSlot { peer });
        let closed = &mut self.episode.links.closed_slots;
        let was_closed = closed.contains(peer);
        closed.remove(peer);
        was_closed
    }
}

/// Why a peer cannot be sent away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum KickError {
    /// It is this peer, or none of the roster.
    #[error("{peer} is not another peer of the match")]
    NotAnother {
        /// The peer.
        peer: PeerId,
    },
    /// It is gone already.
    #[error("{peer} is not there")]
    NotAMember {
        /// The peer.
        peer: PeerId,
    },
    /// More than half of the members must stay, or half with the lowest slot.
    #[error("without {peer} too few are left to go on")]
    NoQuorum {
        /// The peer.
        peer: PeerId,
    },
    /// The episode is over or about to be, or this peer is not let in yet.
    #[error("nothing is played")]
    NotPlaying,
}
