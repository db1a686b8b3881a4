//! What an episode is started with, and which member hosts which player.

use std::path::PathBuf;
use std::time::Duration;

use rollback_core::{End, Facts, PeerId, Roster, RosterError, SessionConfig, Ticket};

use crate::lobby::Room;
use crate::returning::Standing;

/// What an episode is started with.
#[derive(Clone, Debug)]
pub struct EpisodeSetup {
    /// How it is played; equal on all members.
    pub config: SessionConfig,
    /// Who plays where, and with which seed.
    pub ticket: Ticket,
    /// What this member says of itself.
    pub facts: Facts,
    /// Where to record, if anywhere. The file must not exist yet.
    pub recording: Option<PathBuf>,
    /// The pseudonym of who sits at each peer, in roster order; for the recording.
    pub participants: Vec<String>,
    /// How many episodes of the match were completed before this one; for the recording.
    pub completed_episodes: u32,
    /// How long the other members may take to begin, from the first call to advance;
    /// [`START_TIMEOUT`] by default. For one that comes back: how long none of them may be heard.
    pub start_timeout: Duration,
    /// Whether the others play the episode already and this member comes back into it: it is given what was recorded so
    /// far, and let in.
    pub rejoins: bool,
}

/// Who hosts which player.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hosts {
    /// The first player is the first member's, the next one the next member's, and after the last member it is the
    /// first one's turn again.
    TakeTurns,
    /// The first players are the first member's, the next ones the next member's, each as many; where that does not
    /// come out even, the first members host one more.
    Neighbours,
    /// The host of each player.
    Given(Vec<PeerId>),
}

impl EpisodeSetup {
    /// The first episode of the match that a room makes, in which the members take turns in hosting players: with as
    /// many players as members, member `n` hosts player `n`. Nothing is recorded.
    ///
    /// # Errors
    /// When there are too few players for the members, or too many.
    pub fn of_room(room: &Room, config: SessionConfig) -> Result<Self, SetupError> {
        Self::of_room_hosted(room, config, &Hosts::TakeTurns)
    }

    /// The same with a rule for who hosts which player. All members must have the same one.
    ///
    /// # Errors
    /// When a member would host no player, when a host is none of the members, or when the rule and the configuration
    /// name different numbers of players.
    pub fn of_room_hosted(
        room: &Room,
        config: SessionConfig,
        hosts: &Hosts,
    ) -> Result<Self, SetupError> {
        let members: Vec<PeerId> = room.members.iter().map(|member| member.peer).collect();
        let hosts = hosts.of(&members, config.players())?;
        let names = room.members.iter().map(|member| member.name.clone());
        let ticket = Ticket {
            session: room.session_id,
            episode: 0,
            seed: room.seed,
            roster: Roster::new(&hosts)?,
            local: room.local,
            incarnation: room.life,
        };
        Ok(Self {
            config,
            // Drawn from the room's seed like that of every later episode.
            ticket: ticket.for_episode(room.seed, 0),
            facts: Facts::default(),
            recording: None,
            participants: names.map(Option::unwrap_or_default).collect(),
            completed_episodes: 0,
            start_timeout: START_TIMEOUT,
            rejoins: false,
        })
    }

    /// The same for the episode that the others are in, for a process that came back into the match.
    #[must_use]
    pub fn for_standing(&self, match_seed: u64, standing: Standing) -> Self {
        Self {
            ticket: self.ticket.for_episode(match_seed, standing.episode),
            completed_episodes: standing.completed_episodes,
            rejoins: standing.has_begun,
            recording: None,
            ..self.clone()
        }
    }

    /// The same for a later episode of the match, to be recorded elsewhere.
    #[must_use]
    pub fn for_episode(&self, match_seed: u64, episode: u32, last: Option<End>) -> Self {
        let completed = u32::from(last.is_some_and(|end| end.cause.is_completed()));
        Self {
            ticket: self.ticket.for_episode(match_seed, episode),
            completed_episodes: self.completed_episodes + completed,
            recording: None,
            rejoins: false,
            ..self.clone()
        }
    }
}

impl Hosts {
    /// The host of each of so many players.
    fn of(&self, members: &[PeerId], players: usize) -> Result<Vec<PeerId>, SetupError> {
        if players < members.len() {
            let (players, members) = (players, members.len());
            return Err(SetupError::TooFewPlayers { players, members });
        }
        let hosts: Vec<PeerId> = match self {
            Self::TakeTurns => members.iter().copied().cycle().take(players).collect(),
            Self::Neighbours => {
                let (each, more) = (players / members.len().max(1), players % members.len().max(1));
                let of_member = |(index, member): (usize, &PeerId)| {
                    std::iter::repeat_n(*member, each + usize::from(index < more))
                };
                members.iter().enumerate().flat_map(of_member).collect()
            }
            Self::Given(hosts) => hosts.clone(),
        };
        if hosts.len() != players {
            return Err(SetupError::PlayerCount { expected: players, got: hosts.len() });
        }
        if let Some(host) = hosts.iter().find(|host| !members.contains(host)) {
            return Err(SetupError::NoSuchMember { host: *host });
        }
        match members.iter().find(|member| !hosts.contains(member)) {
            Some(member) => Err(RosterError::NoPlayer { peer: *member }.into()),
            None => Ok(hosts),
        }
    }
}

/// Why a room and a configuration do not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Not every member can have a player.
    #[error("expected a player for each of the room's {members} members, got {players} players")]
    TooFewPlayers {
        /// By the configuration.
        players: usize,
        /// In the room.
        members: usize,
    },
    /// The configuration and the hosts name different numbers of players.
    #[error("the configuration has {expected} players, the hosts are those of {got}")]
    PlayerCount {
        /// By the configuration.
        expected: usize,
        /// By the hosts.
        got: usize,
    },
    /// A player's host is not in the room.
    #[error("{host} is to host a player and is not in the room")]
    NoSuchMember {
        /// The host.
        host: PeerId,
    },
    /// The members make no roster.
    #[error(transparent)]
    Roster(#[from] RosterError),
}

/// How long the other members may take to begin, unless the setup says otherwise. Connecting takes less than a second
/// on most networks, and up to twelve with the last attempt's patience on bad ones.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lobby::RoomMember;

    fn room(slots: &[u8]) -> Room {
        let peer = |slot: &u8| PeerId::new(*slot).unwrap();
        let member = |slot| RoomMember { peer: peer(slot), name: None, settings: String::new() };
        Room {
            local: peer(&slots[0]),
            members: slots.iter().map(member).collect(),
            session_id: 1,
            seed: 2,
            token: String::new(),
            life: 0,
        }
    }

    fn hosts(slots: &[u8], players: usize, rule: &Hosts) -> Result<Vec<u8>, SetupError> {
        let config = SessionConfig::builder().players(players).build().unwrap();
        let setup = EpisodeSetup::of_room_hosted(&room(slots), config, rule)?;
        let roster = setup.ticket.roster;
        let players = rollback_core::PlayerHandle::all(players);
        Ok(players.filter_map(|player| roster.host(player)).map(PeerId::slot).collect())
    }

    #[test]
    fn members_take_turns_or_host_neighbours() {
        assert_eq!(hosts(&[0, 1], 2, &Hosts::TakeTurns), Ok(vec![0, 1]));
        assert_eq!(hosts(&[0, 1, 2], 7, &Hosts::TakeTurns), Ok(vec![0, 1, 2, 0, 1, 2, 0]));
        assert_eq!(hosts(&[0, 1, 2], 7, &Hosts::Neighbours), Ok(vec![0, 0, 0, 1, 1, 2, 2]));
        assert_eq!(hosts(&[0, 1], 2, &Hosts::Neighbours), Ok(vec![0, 1]));
    }

    #[test]
    fn hosts_may_be_given_and_must_fit() {
        let given = |slots: &[u8]| {
            Hosts::Given(slots.iter().filter_map(|slot| PeerId::new(*slot)).collect())
        };
        assert_eq!(hosts(&[0, 1], 3, &given(&[1, 0, 0])), Ok(vec![1, 0, 0]));
        let count = SetupError::PlayerCount { expected: 3, got: 2 };
        assert_eq!(hosts(&[0, 1], 3, &given(&[1, 0])), Err(count));
        let host = PeerId::new(2).unwrap();
        assert_eq!(hosts(&[0, 1], 3, &given(&[1, 0, 2])), Err(SetupError::NoSuchMember { host }));
        let peer = PeerId::new(1).unwrap();
        let idle = SetupError::Roster(RosterError::NoPlayer { peer });
        assert_eq!(hosts(&[0, 1], 3, &given(&[0, 0, 0])), Err(idle));
    }

    #[test]
    fn a_room_with_more_members_than_players_or_with_a_gap_is_refused() {
        let few = SetupError::TooFewPlayers { players: 2, members: 3 };
        assert_eq!(hosts(&[0, 1, 2], 2, &Hosts::TakeTurns), Err(few));
        let peer = PeerId::new(1).unwrap();
        let gap = SetupError::Roster(RosterError::NoPlayer { peer });
        assert_eq!(hosts(&[0, 2], 2, &Hosts::TakeTurns), Err(gap));
    }
}
