//! What is known of each player beside its inputs: its input delay, and who drives it. Files nothing.

use super::InputQueue;
use crate::item::Item;
use crate::{Actor, Frame, PeerId, PlayerHandle};

impl InputQueue {
    /// The least input delay of a peer's players.
    #[inline]
    pub(crate) fn input_delay_of(&self, peer: PeerId) -> u32 {
        self.stream(peer).map_or(0, |stream| stream.delay)
    }

    /// The input delay of a player, as its host last said.
    pub(crate) fn delay(&self, player: PlayerHandle) -> Option<u32> {
        self.delays.get(player.index()).map(|(_, delay)| *delay)
    }

    /// Who drives a player, as its host last said.
    pub(crate) fn actor(&self, player: PlayerHandle) -> Option<Actor> {
        self.actors.get(player.index()).map(|(_, actor)| *actor)
    }

    /// Takes what an item says of its proposer's player, unless a later word is known.
    pub(super) fn note_of_player(&mut self, host: PeerId, frame: Frame, item: Item) {
        let is_host = |player: PlayerHandle| self.hosts.get(player.index()) == Some(&host);
        match item {
            Item::Delay { player, frames } if is_host(player) => {
                note_later(&mut self.delays, player, (frame, frames.into()));
                self.find_least_delay(host);
            }
            Item::Actor { player, actor } if is_host(player) => {
                note_later(&mut self.actors, player, (frame, actor));
            }
            _ => {}
        }
    }

    /// Finds the least input delay of a peer's players anew, which each datagram needs and which seldom change.
    pub(super) fn find_least_delay(&mut self, peer: PeerId) {
        let delays = self.players_of(peer).iter().filter_map(|player| self.delay(*player));
        let least = delays.min().unwrap_or_default();
        if let Some(stream) = self.streams.get_mut(peer.index()) {
            stream.delay = least;
        }
    }
}

/// Takes what is said of a player from a frame on, unless a later word is known.
fn note_later<T>(known: &mut [(Frame, T)], player: PlayerHandle, said: (Frame, T)) {
    if let Some(known) = known.get_mut(player.index()).filter(|known| known.0 <= said.0) {
        *known = said;
    }
}
