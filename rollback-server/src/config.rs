//! What a server is told at its start: its rooms and its limits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rollback_signaling::{MEMBERS_MAX, RoomName, WATCHERS_MAX};

use crate::ice::IceOffer;
use crate::tls::Certificate;

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
    /// The certificate with which it speaks TLS; without one, links begin with `ws:`.
    pub certificate: Option<Certificate>,
    /// The file in which the groups that play outlast the server, so that whoever is cut off after a restart can still
    /// return. It holds the members' secrets, and is readable for its owner only.
    pub state_file: Option<PathBuf>,
}

/// Which rooms a server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rooms {
    /// These rooms with these group sizes and no others.
    Fixed(BTreeMap<RoomName, GroupSize>),
    /// Any room that someone names, all with this group size.
    Any(GroupSize),
}

/// How many members a group has, 1 to [`MEMBERS_MAX`], and with how many of them it is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupSize {
    members: u8,
    begins_with: u8,
}

/// A number that is no group size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupSizeError {
    /// Of members.
    #[error("expected a group of 1 to {MEMBERS_MAX} members, got {got}")]
    Members {
        /// The number.
        got: u8,
    },
    /// Of those with whom it begins.
    #[error("expected a group of {members} to begin with 1 to {members} of them, got {got}")]
    BeginsWith {
        /// How many members the group has.
        members: u8,
        /// The number.
        got: u8,
    },
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
            certificate: None,
            state_file: None,
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
    /// The same group, complete when so many members are there; the others may come later.
    ///
    /// # Errors
    /// When it is none of them, or more than there are.
    pub const fn beginning_with(self, begins_with: u8) -> Result<Self, GroupSizeError> {
        let members = self.members;
        if begins_with < 1 || begins_with > members {
            return Err(GroupSizeError::BeginsWith { members, got: begins_with });
        }
        Ok(Self { members, begins_with })
    }

    /// The number of members.
    #[must_use]
    pub const fn members(self) -> u8 {
        self.members
    }

    /// With how many of them it is complete.
    #[must_use]
    pub const fn begins_with(self) -> u8 {
        self.begins_with
    }
}

impl fmt::Display for GroupSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} players", self.members)?;
        match self.begins_with < self.members {
            true => write!(formatter, ", who begin when {} are there", self.begins_with),
            false => Ok(()),
        }
    }
}

impl TryFrom<u8> for GroupSize {
    type Error = GroupSizeError;

    fn try_from(members: u8) -> Result<Self, GroupSizeError> {
        match members {
            1..=MEMBERS_MAX => Ok(Self { members, begins_with: members }),
            got => Err(GroupSizeError::Members { got }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_1_to_8_members() {
        assert_eq!(GroupSize::try_from(0), Err(GroupSizeError::Members { got: 0 }));
        assert_eq!(GroupSize::try_from(1).unwrap().members(), 1);
        assert_eq!(GroupSize::try_from(8).unwrap().members(), 8);
        assert_eq!(GroupSize::try_from(9), Err(GroupSizeError::Members { got: 9 }));
    }

    #[test]
    fn a_group_begins_with_one_of_its_members_or_more() {
        let three = GroupSize::try_from(3).unwrap();
        assert_eq!(three.beginning_with(3), Ok(three));
        assert_eq!(three.to_string(), "3 players");
        let begins = |with| three.beginning_with(with).map(GroupSize::begins_with);
        let refused = |got| Err(GroupSizeError::BeginsWith { members: 3, got });
        assert_eq!([0, 1, 2, 4].map(begins), [refused(0), Ok(1), Ok(2), refused(4)]);
        let text = three.beginning_with(2).unwrap().to_string();
        assert_eq!(text, "3 players, who begin when 2 are there");
    }
}
