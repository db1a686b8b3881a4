//! What a server is told at its start: its rooms and its limits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollback_signaling::{MEMBERS_MAX, RoomName, WATCHERS_MAX};

use crate::ice::IceOffer;

/// Everything that decides how a server behaves. [`ServerConfig::new`] gives sensible limits.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Which rooms there are.
    pub rooms: Rooms,
    /// Most WebSocket connections at once. One takes about 100 KB at most.
    pub connections_max: usize,
    /// Most groups at once, those included whose members are all away.
    pub groups_max: usize,
    /// How long a connection may take until it joins.
    pub join_timeout: Duration,
    /// How long a member may wait for its group to become complete.
    pub waiting_max: Duration,
    /// How long the slot of a member that lost its connection is kept while its group is waiting:
    /// the others wait with it.
    pub waiting_slot_hold: Duration,
    /// How long the slot of a member that lost its connection is kept in a complete group.
    pub playing_slot_hold: Duration,
    /// Most who may watch one group, at most [`WATCHERS_MAX`]; with 0 nobody may.
    pub watchers_max: u8,
    /// Whether members who have no better way to each other may send through the server.
    pub relay: bool,
    /// Rooms in which nobody may watch.
    pub unwatched: BTreeSet<RoomName>,
    /// The STUN and TURN servers that members are offered.
    pub ice: IceOffer,
}

/// Which rooms a server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rooms {
    /// These rooms with these group sizes and no others.
    Fixed(BTreeMap<RoomName, GroupSize>),
    /// Any room that someone names, all with this group size.
    Any(GroupSize),
}

/// How many members make a group complete: 1 to [`MEMBERS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupSize(u8);

/// A number that is no group size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a group of 1 to {MEMBERS_MAX} members, got {got}")]
pub struct GroupSizeError {
    /// The number.
    pub got: u8,
}

impl ServerConfig {
    /// These rooms, with limits for a server that a few hundred people use at once.
    #[must_use]
    pub const fn new(rooms: Rooms) -> Self {
        Self {
            rooms,
            connections_max: 4096,
            groups_max: 16_384,
            join_timeout: Duration::from_secs(10),
            waiting_max: Duration::from_secs(60 * 60),
            waiting_slot_hold: Duration::from_secs(15),
            playing_slot_hold: Duration::from_secs(10 * 60),
            watchers_max: WATCHERS_MAX,
            relay: true,
            unwatched: BTreeSet::new(),
            ice: IceOffer::none(),
        }
    }
}

impl ServerConfig {
    /// How many may watch a group of this room.
    #[must_use]
    pub fn watchers_of(&self, room: &RoomName) -> u8 {
        match self.unwatched.contains(room) {
            true => 0,
            false => self.watchers_max.min(WATCHERS_MAX),
        }
    }
}

impl Rooms {
    /// The group size of a room, if there is such a room.
    #[must_use]
    pub fn group_size(&self, room: &RoomName) -> Option<GroupSize> {
        match self {
            Self::Fixed(rooms) => rooms.get(room).copied(),
            Self::Any(size) => Some(*size),
        }
    }
}

impl GroupSize {
    /// The number of members.
    #[must_use]
    pub const fn members(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for GroupSize {
    type Error = GroupSizeError;

    fn try_from(members: u8) -> Result<Self, GroupSizeError> {
        match members {
            1..=MEMBERS_MAX => Ok(Self(members)),
            got => Err(GroupSizeError { got }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_1_to_8_members() {
        assert_eq!(GroupSize::try_from(0), Err(GroupSizeError { got: 0 }));
        assert_eq!(GroupSize::try_from(1).unwrap().members(), 1);
        assert_eq!(GroupSize::try_from(8).unwrap().members(), 8);
        assert_eq!(GroupSize::try_from(9), Err(GroupSizeError { got: 9 }));
    }
}
