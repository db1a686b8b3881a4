//! Knows who plays and where: players, peers, the roster and the view. Does not know how a view is agreed.

use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

/// A computer of the match, by its slot: 0 to 7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerId(u8);

impl PeerId {
    /// The peer of this slot; `None` for [`PEERS_MAX`] or more.
    #[must_use]
    pub const fn new(slot: u8) -> Option<Self> {
        if (slot as usize) < PEERS_MAX { Some(Self(slot)) } else { None }
    }

    /// The slot as an index: 0 to 7.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot as it is written on the wire.
    #[must_use]
    pub const fn slot(self) -> u8 {
        self.0
    }

    /// Every peer of a match of `peers` peers, in order.
    pub fn all(peers: usize) -> impl Iterator<Item = Self> + Clone {
        (0..u8::try_from(peers.min(PEERS_MAX)).unwrap_or(u8::MAX)).map(Self)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}

/// A player's slot in the simulation (an environment calls it *agent*): 0 to 63.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PlayerHandle(u8);

impl PlayerHandle {
    /// The player of this slot; `None` for [`PLAYERS_MAX`] or more.
    #[must_use]
    pub const fn new(slot: u8) -> Option<Self> {
        if (slot as usize) < PLAYERS_MAX { Some(Self(slot)) } else { None }
    }

    /// The slot as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot as it is written on the wire.
    #[must_use]
    pub const fn slot(self) -> u8 {
        self.0
    }

    /// Every player of a simulation of `players` players, in order.
    pub fn all(players: usize) -> impl Iterator<Item = Self> + Clone {
        (0..u8::try_from(players.min(PLAYERS_MAX)).unwrap_or(u8::MAX)).map(Self)
    }
}

impl fmt::Display for PlayerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "player {}", self.0)
    }
}

/// A set of peers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PeerSet(u8);

impl PeerSet {
    /// No peer.
    pub const EMPTY: Self = Self(0);

    /// The first `peers` peers.
    #[must_use]
    pub fn first(peers: usize) -> Self {
        PeerId::all(peers).collect()
    }

    /// One peer.
    pub(crate) const fn only(peer: PeerId) -> Self {
        Self(1 << peer.0)
    }

    /// The set as it is written on the wire: bit `n` for slot `n`.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Whether `peer` is in the set.
    #[must_use]
    pub const fn contains(self, peer: PeerId) -> bool {
        self.0 & (1 << peer.0) != 0
    }

    /// Puts `peer` in; says whether it was new.
    pub fn insert(&mut self, peer: PeerId) -> bool {
        let new = !self.contains(peer);
        self.0 |= 1 << peer.0;
        new
    }

    /// Takes `peer` out.
    pub fn remove(&mut self, peer: PeerId) {
        self.0 &= !(1 << peer.0);
    }

    /// Takes `peer` out; says whether it was in.
    pub(crate) fn take(&mut self, peer: PeerId) -> bool {
        let was_in = self.contains(peer);
        self.remove(peer);
        was_in
    }

    /// The set without `peer`.
    #[must_use]
    pub const fn without(self, peer: PeerId) -> Self {
        Self(self.0 & !(1 << peer.0))
    }

    /// The peers of this set that are not in `other`.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The peers of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The peers of either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// How many peers there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every peer of this set is in `other`.
    #[must_use]
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The lowest peer.
    #[must_use]
    pub fn lowest(self) -> Option<PeerId> {
        self.iter().next()
    }

    /// The peers in order.
    pub fn iter(self) -> impl Iterator<Item = PeerId> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let slot = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            u8::try_from(slot).ok().and_then(PeerId::new)
        })
    }
}

impl FromIterator<PeerId> for PeerSet {
    fn from_iter<T: IntoIterator<Item = PeerId>>(peers: T) -> Self {
        let mut set = Self::EMPTY;
        for peer in peers {
            set.insert(peer);
        }
        set
    }
}

impl fmt::Debug for PeerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(PeerId::slot)).finish()
    }
}

/// Who plays and where: the peer that hosts each player. It does not change in a match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roster {
    hosts: Vec<PeerId>,
    peers: usize,
}

impl Roster {
    /// The roster in which `hosts[player]` hosts that player.
    ///
    /// # Errors
    /// When there is no player or more than [`PLAYERS_MAX`], or when a peer below the highest one hosts none.
    pub fn new(hosts: &[PeerId]) -> Result<Self, RosterError> {
        if hosts.is_empty() || hosts.len() > PLAYERS_MAX {
            return Err(RosterError::PlayerCount { got: hosts.len() });
        }
        let members: PeerSet = hosts.iter().copied().collect();
        let peers = hosts.iter().map(|peer| peer.index() + 1).max().unwrap_or(0);
        match PeerId::all(peers).find(|peer| !members.contains(*peer)) {
            Some(peer) => Err(RosterError::NoPlayer { peer }),
            None => Ok(Self { hosts: hosts.to_vec(), peers }),
        }
    }

    /// `peers` peers that host one player each, in order.
    ///
    /// # Errors
    /// When `peers` is not between 1 and [`PEERS_MAX`].
    pub fn one_player_each(peers: usize) -> Result<Self, RosterError> {
        if peers == 0 || peers > PEERS_MAX {
            return Err(RosterError::PeerCount { got: peers });
        }
        Ok(Self { hosts: PeerId::all(peers).collect(), peers })
    }

    /// How many players the simulation has.
    #[must_use]
    pub fn player_count(&self) -> usize {
        self.hosts.len()
    }

    /// How many peers the match has.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.peers
    }

    /// The peer that hosts `player`; `None` for a player that is not of this roster.
    #[must_use]
    pub fn host(&self, player: PlayerHandle) -> Option<PeerId> {
        self.hosts.get(player.index()).copied()
    }

    /// The players that `peer` hosts, in order.
    pub fn players_of(&self, peer: PeerId) -> impl Iterator<Item = PlayerHandle> + '_ {
        PlayerHandle::all(self.hosts.len()).filter(move |player| self.host(*player) == Some(peer))
    }

    /// Every peer of the roster.
    #[must_use]
    pub fn peers(&self) -> PeerSet {
        PeerSet::first(self.peers)
    }
}

/// The members in force. It changes only by agreement, and each change counts `number` up by one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct View {
    /// How many changes led here.
    pub number: u8,
    /// The members.
    pub members: PeerSet,
}

impl View {
    /// The view at the start of an episode.
    #[must_use]
    pub const fn initial(members: PeerSet) -> Self {
        Self { number: 0, members }
    }

    /// Whether `survivors` may go on without the rest: a majority, or exactly half with the anchor, the lowest member.
    #[must_use]
    pub fn has_quorum(&self, survivors: PeerSet) -> bool {
        let present = survivors.and(self.members);
        let twice = present.len() * 2;
        let anchor = self.members.lowest();
        twice > self.members.len()
            || (twice == self.members.len() && anchor.is_some_and(|peer| present.contains(peer)))
    }
}

/// Why a roster is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RosterError {
    /// The number of peers is out of range.
    #[error("expected 1 to 8 peers, got {got}")]
    PeerCount {
        /// What was asked for.
        got: usize,
    },
    /// The number of players is out of range.
    #[error("expected 1 to 64 players, got {got}")]
    PlayerCount {
        /// What was asked for.
        got: usize,
    },
    /// A member must host a player.
    #[error("{peer} hosts no player: expected every peer up to the highest to host one")]
    NoPlayer {
        /// The peer without a player.
        peer: PeerId,
    },
}

/// The most peers of a match: a full mesh of eight sends 56 datagrams a frame, and a set of them fits a byte.
pub const PEERS_MAX: usize = 8;

/// The most players of a simulation.
pub const PLAYERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(slots: &[u8]) -> PeerSet {
        slots.iter().filter_map(|slot| PeerId::new(*slot)).collect()
    }

    #[test]
    fn a_set_gives_its_peers_in_order() {
        let set = peers(&[7, 0, 3]);
        assert_eq!(set.iter().map(PeerId::slot).collect::<Vec<_>>(), [0, 3, 7]);
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn half_a_view_goes_on_only_with_its_anchor() {
        let view = View::initial(peers(&[0, 1, 2, 3]));
        assert!(view.has_quorum(peers(&[0, 3])));
        assert!(!view.has_quorum(peers(&[1, 2])));
        assert!(view.has_quorum(peers(&[1, 2, 3])));
        assert!(!view.has_quorum(peers(&[0])));
    }

    #[test]
    fn a_peer_without_a_player_is_refused() {
        let [a, c] = [0, 2].map(|slot| PeerId::new(slot).unwrap());
        assert_eq!(
            Roster::new(&[a, c]),
            Err(RosterError::NoPlayer { peer: PeerId::new(1).unwrap() })
        );
        assert_eq!(Roster::new(&[]), Err(RosterError::PlayerCount { got: 0 }));
        assert_eq!(Roster::one_player_each(9), Err(RosterError::PeerCount { got: 9 }));
        assert!(Roster::one_player_each(8).is_ok());
    }
}
