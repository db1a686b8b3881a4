//! What an episode is started with, and which member hosts which player.

use std::path::PathBuf;
use std::time::Duration;

use rollback_core::{End, Facts, PeerId, PeerSet, Roster, RosterError, SessionConfig, Ticket};

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
    /// The pseudonym of who sits at each peer, in roster order; for the recording. Those of [`late`](Self::late) peers
    /// need not be known here: each says its own when the episode begins.
    pub participants: Vec<String>,
    /// The peers that may come late into the match ([`Room::late`]), whether they have come by now or not: for whom an
    /// episode does not wait, its configuration says.
    pub late: PeerSet,
    /// How many episodes of the match were completed before this one; for the recording.
    pub completed_episodes: u32,
    /// How long the other members may take to begin, from the first call to advance;
    /// [`START_TIMEOUT`] by default. For one that comes back: how long none of them may be heard.
    pub start_timeout: Duration,
    /// Whether this member comes back into the episode, which the others play already, or comes late into it: it is given
    /// what was recorded so far, and let in.
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
    /// many players as members, member `n` hosts player `n`. Nothing is recorded, and nobody waits for those who
    /// [may come late](Room::late).
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
            config: config.with_late_peers(room.late),
            // Drawn from the room's seed like that of every later episode.
            ticket: ticket.for_episode(room.seed, 0),
            facts: Facts::default(),
            recording: None,
            participants: names.map(Option::unwrap_or_default).collect(),
            late: room.late,
            completed_episodes: 0,
            start_timeout: START_TIMEOUT,
            rejoins: false,
        })
    }

    /// The same for the episode that the others are in, for a process that came late or back into the match.
    #[must_use]
    pub fn for_standing(&self, match_seed: u64, standing: Standing) -> Self {
        Self {
            config: self.config.clone().with_late_peers(standing.late),
            ticket: self.ticket.for_episode(match_seed, standing.episode),
            completed_episodes: standing.completed_episodes,
            rejoins: standing.has_begun || standing.late.contains(self.ticket.local),
            recording: None,
            ..self.clone()
        }
    }

    /// The same for a later episode of the match, to be recorded elsewhere; `late` are those who had not come by the end of
    /// the last one ([`GameLoop::late`](crate::GameLoop::late)), so that all members know the same.
    #[must_use]
    pub fn for_episode(
        &self,
        match_seed: u64,
        episode: u32,
        last: Option<End>,
        late: PeerSet,
    ) -> Self {
        let completed = u32::from(last.is_some_and(|end| end.cause.is_completed()));
        Self {
            config: self.config.clone().with_late_peers(late),
            ticket: self.ticket.for_episode(match_seed, episode),
            completed_episodes: self.completed_episodes + completed,
            recording: None,
            // One that was not let in before the last one ended comes into this one.
            rejoins: late.contains(self.ticket.local),
            ..self.clone()
        }
    }

    /// What this member says of itself: also its name, where the others may not have heard it from the server.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = self.facts.clone();
        let local = self.ticket.local;
        if let Some(name) =
            self.participants.get(local.index()).filter(|_| self.late.contains(local))
        {
            facts.may_differ.push((PARTICIPANT.to_owned(), name.clone()));
        }
        facts
    }

    /// Who sits at each peer, from what each has said of itself: of those who may come late nothing else is known alike by
    /// all members.
    pub(crate) fn participants(&self, facts: &[Facts]) -> Vec<String> {
        let named = PeerId::all(self.participants.len()).zip(&self.participants);
        let said = |peer: PeerId| {
            let said = facts.get(peer.index())?.may_differ.iter();
            said.rev().find(|(name, _)| name == PARTICIPANT).map(|(_, who)| who.clone())
        };
        let who = |(peer, name): (PeerId, &String)| match self.late.contains(peer) {
            true => said(peer).unwrap_or_default(),
            false => name.clone(),
        };
        named.map(who).collect()
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

/// The fact with which one that may come late says its name.
const PARTICIPANT: &str = "participant";

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
            late: PeerSet::EMPTY,
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
    fn a_match_waits_for_those_who_may_come_late_once_they_have_come() {
        let peer = |slot| PeerId::new(slot).unwrap();
        let late: PeerSet = [peer(1), peer(2)].into_iter().collect();
        let config = SessionConfig::builder().players(3).build().unwrap();
        let of = |slots: &[u8]| {
            let room = Room { late, life: u8::from(slots[0] > 0), ..room(slots) };
            let sorted = (0..3).map(|slot| RoomMember {
                peer: peer(slot),
                name: Some(format!("p{slot}")),
                settings: String::new(),
            });
            EpisodeSetup::of_room(&Room { members: sorted.collect(), ..room }, config.clone())
        };
        let first = of(&[0, 1, 2]).unwrap();
        assert_eq!((first.config.late_peers(), first.rejoins), (late, false));
        // One has come by the end of the first episode, and begins the second with the others.
        let still = late.without(peer(1));
        let second = first.for_episode(2, 1, None, still);
        assert_eq!((second.config.late_peers(), second.rejoins), (still, false));
        assert_eq!(second.late, late);
        let outside = of(&[2, 0, 1]).unwrap();
        assert!(outside.for_episode(2, 1, None, still).rejoins);
        // Who waits for an episode to begin does not wait for one that is outside.
        let standing =
            Standing { episode: 1, completed_episodes: 1, has_begun: false, late: still };
        let entering = outside.for_standing(2, standing);
        assert_eq!((entering.config.late_peers(), entering.rejoins), (still, true));
        assert!(!of(&[1, 0, 2]).unwrap().for_standing(2, standing).rejoins);
    }

    #[test]
    fn who_may_come_late_says_its_own_name() {
        let peer = |slot| PeerId::new(slot).unwrap();
        let setup = |slot: u8| {
            let room = Room { late: [peer(2)].into_iter().collect(), ..room(&[0, 1, 2]) };
            let config = SessionConfig::builder().players(3).build().unwrap();
            let mut setup = EpisodeSetup::of_room(&room, config).unwrap();
            setup.ticket.local = peer(slot);
            // Only the server's word on those who were there when it began is the same for all.
            setup.participants = vec!["a".into(), "b".into(), format!("c{slot}")];
            setup.facts.may_differ = vec![("participant".into(), "x".into())];
            setup
        };
        let said: Vec<Facts> = (0..3).map(|slot| setup(slot).facts()).collect();
        for slot in 0..3 {
            assert_eq!(setup(slot).participants(&said), ["a", "b", "c2"]);
            assert_eq!(setup(slot).participants(&said[..2]), ["a", "b", ""]);
        }
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
