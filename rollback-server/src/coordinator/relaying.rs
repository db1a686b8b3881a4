//! Who may use the relay: the members of complete groups and those who watch them, as long as their slots are theirs.

use rollback_signaling::{RoomName, Token};

use super::{Coordinator, Place};
use crate::relay::Seat;

impl Coordinator {
    /// Whose token it is, and of how many members the group is. One that lost its connection to the server has its
    /// slot still.
    pub(crate) fn relay_seat(&self, room: &RoomName, token: Token) -> Option<(Seat, u8)> {
        let place = self.places.get(&token)?;
        let group = self.groups.get(&place.group)?;
        (group.is_complete && group.room == *room).then(|| (seat(*place), group.expected()))
    }

    /// Whose slots the last command ended.
    pub(crate) fn vacated(&self) -> impl Iterator<Item = Seat> {
        self.vacated.iter().copied().map(seat)
    }
}

const fn seat(place: Place) -> Seat {
    Seat { group: place.group.0, slot: place.slot }
}
