//! Who sits at the players, by what is recorded: so all members know the same.

use rollback_core::{InputFlags, PeerSet, PlayerHandle, Roster};

use crate::episode_setup::EpisodeSetup;

/// Who is missing in the last stable frame.
#[derive(Debug)]
pub(super) struct Seats {
    /// The peers whose players were idle because nobody gave them inputs.
    idle: PeerSet,
    /// Those that come late, and of whom no frame has an input.
    late: PeerSet,
}

impl Seats {
    pub(super) fn new(setup: &EpisodeSetup) -> Self {
        let late = setup.config.late_peers().and(setup.ticket.roster.peers());
        Self { idle: PeerSet::EMPTY, late }
    }

    /// Takes the flags of a stable frame.
    pub(super) fn note(&mut self, flags: &[u8], roster: &Roster) {
        let players = PlayerHandle::all(flags.len()).zip(flags);
        let is_idle = |flags: u8| InputFlags::from_bits(flags).contains(InputFlags::IDLE_FILLED);
        let idle = players.filter(|(_, flags)| is_idle(**flags));
        self.idle = idle.filter_map(|(player, _)| roster.host(player)).collect();
        self.late = self.late.and(self.idle);
    }

    /// Those that were there and are gone.
    pub(super) const fn absent(&self) -> PeerSet {
        self.idle.minus(self.late)
    }

    /// Those that have not come yet.
    pub(super) const fn late(&self) -> PeerSet {
        self.late
    }
}
