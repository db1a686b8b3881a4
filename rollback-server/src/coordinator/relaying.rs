//! Who may use the relay: the members of complete groups and those who watch them, as long as their slots are theirs.

use rollback_signaling::{ErrorCode, RelayJoin};

use super::{Coordinator, Place};
use crate::relay::{Refusal, Seat};

impl Coordinator {
    /// Whose token it is, and of how many members the group is. One that lost its connection to the server has its
    /// slot still; a former process of a member has it no more.
    ///
    /// # Errors
    /// [`Refusal`], as the client is to be told.
    pub(crate) fn relay_seat(&self, join: &RelayJoin) -> Result<(Seat, u8), Refusal> {
        let place = self.places.get(&join.token).ok_or(NO_MEMBER)?;
        let group = self.groups.get(&place.group).ok_or(NO_MEMBER)?;
        if !group.is_complete || group.room != join.room {
            return Err(NO_MEMBER);
        }
        // Those who watch get another token with each place.
        match group.incarnation_at(place.slot) {
            Some(present) if present != join.incarnation => Err(FORMER),
            _ => Ok((seat(*place), group.expected())),
        }
    }

    /// Whose slots the last command ended.
    pub(crate) fn vacated(&self) -> impl Iterator<Item = Seat> {
        self.vacated.iter().copied().map(seat)
    }
}

const fn seat(place: Place) -> Seat {
    Seat { group: place.group.0, slot: place.slot }
}

const NO_MEMBER: Refusal = Refusal {
    code: ErrorCode::UnknownToken,
    explanation: "this token is no member's of a complete group of this room",
};

const FORMER: Refusal = Refusal {
    code: ErrorCode::Replaced,
    explanation: "another process has this member's slot now",
};
