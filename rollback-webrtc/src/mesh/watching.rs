//! Watching, from both sides: a member answers those who watch through it; one who watches connects to two members.

use std::collections::BTreeMap;

use rollback_core::PeerId;
use rollback_core::spectate::WatcherId;
use rollback_signaling::{MEMBERS_MAX, Member, SignalPayload, Token, WATCHER_SLOTS, WATCHERS_MAX};

use super::{Joined, Mesh, Stage, room};
use crate::error::JoinError;
use crate::neighbours::Happened;
use crate::pair::{Pair, Role};
use crate::stats::TransportEvent;

/// The group that one watches, as the server tells it.
pub(super) struct Shown {
    pub(super) token: Token,
    pub(super) session_id: u64,
    pub(super) seed: u64,
    pub(super) members: Vec<Member>,
    pub(super) expected: u8,
}

impl Mesh {
    pub(super) fn handle_signal(&mut self, from: u8, payload: SignalPayload) {
        let now = self.now();
        let Some(place) = from.checked_sub(WATCHER_SLOTS) else {
            return self.members.with_pair(from, |pair| pair.handle_signal(now, payload));
        };
        let is_playing = matches!(self.stage, Stage::Playing { .. }) && self.watched.is_empty();
        let Some(place) = PeerId::new(place).filter(|_| is_playing && place < WATCHERS_MAX) else {
            return;
        };
        // Members are not told of those who came while they were away, and never ask to be watched.
        if !self.watchers.peers.contains_key(&place)
            && matches!(payload, SignalPayload::Offer { .. })
        {
            let pair = Pair::new(now, Role::Answerer, 0, self.seeds.next());
            self.watchers.insert(now, place, pair);
        }
        self.watchers.with_pair(place.slot(), |pair| pair.handle_signal(now, payload));
    }

    /// What the connections of those who watch did.
    pub(super) fn handle_watchers(&mut self, happened: Happened) {
        // Their own mailbox tells the application nothing.
        if let Happened::ShutOut(place) = happened
            && let Some(why) = self.watchers.setup.mailbox.shut_out_of(place)
        {
            let watcher = WatcherId(place.slot().into());
            self.mailbox.report(TransportEvent::WatcherShutOut { watcher, why });
        }
        let now = self.now();
        self.watchers.handle(now, happened);
    }

    /// Somebody new has a place: what was there belongs to somebody else.
    pub(super) fn handle_watcher(&mut self, place: u8, incarnation: u64) {
        let now = self.now();
        self.watchers.with_pair(place, |pair| pair.handle_peer_here(now, incarnation));
    }

    pub(super) fn handle_watching(&mut self, place: u8, shown: Shown) {
        let Shown { token, session_id, seed, members, expected } = shown;
        match &mut self.stage {
            Stage::Connecting { .. } => {}
            Stage::Playing { session_id: own, has_signaling } if *own == session_id => {
                if !std::mem::replace(has_signaling, true) {
                    self.mailbox.report(TransportEvent::SignalingRegained);
                }
                // The former place has ended, and its relay with it.
                self.restart_relay(token);
                self.resume_playing(&members, MEMBERS_MAX);
                self.watched = by_slot(members);
                return self.fill_watched(place);
            }
            Stage::Playing { .. } => {
                let reason = "it shows another session".to_owned();
                return self.handle_refused(JoinError::Protocol { reason });
            }
            Stage::Waiting { .. } | Stage::Over => return,
        }
        // One who watches has no slot; nothing that is sent says one.
        let first = members
            .first()
            .filter(|_| expected <= MEMBERS_MAX)
            .and_then(|member| PeerId::new(member.slot));
        let token_of_nobody = Token::from_bytes([0; 16]);
        let joined =
            |local| Joined { local, token: token_of_nobody, expected, begins_with: expected };
        let Some(room) = first.and_then(|first| room(joined(first), session_id, seed, &members))
        else {
            let reason = "its list of members makes no sense".to_owned();
            return self.fail(JoinError::Protocol { reason });
        };
        self.mailbox.set_conditions(&self.conditions, room.local);
        self.stage = Stage::Playing { session_id, has_signaling: true };
        self.watched = by_slot(members);
        self.start_relay(token);
        self.fill_watched(place);
        self.lobby.open(room);
    }

    /// A member of the group that is watched went away, or came back.
    pub(super) fn change_watched(&mut self, slot: u8, member: Option<Member>) {
        let is_watching = !self.watched.is_empty();
        match member {
            Some(member) if is_watching => drop(self.watched.insert(slot, member)),
            Some(_) => {}
            None => {
                if let Some(member) = self.watched.get_mut(&slot) {
                    member.connected = false;
                }
            }
        }
        if is_watching {
            self.fill_watched(slot);
        }
    }

    /// Connects to further members until there are enough, each spectator beginning with another one.
    fn fill_watched(&mut self, from: u8) {
        let now = self.now();
        let here: Vec<Member> = self.watched.values().filter(|m| m.connected).cloned().collect();
        let is_host = |member: &&Member| {
            PeerId::new(member.slot).is_some_and(|peer| self.members.peers.contains_key(&peer))
        };
        let wanted = HOSTS_WANTED.saturating_sub(here.iter().filter(is_host).count());
        let skipped = usize::from(from) % here.len().max(1);
        let others: Vec<&Member> = here
            .iter()
            .cycle()
            .skip(skipped)
            .take(here.len())
            .filter(|member| !is_host(member))
            .take(wanted)
            .collect();
        for member in others {
            let Some(peer) = PeerId::new(member.slot) else { continue };
            let seed = self.seeds.next();
            self.members.insert(now, peer, Pair::new(now, Role::Offerer, member.incarnation, seed));
        }
    }
}

fn by_slot(members: Vec<Member>) -> BTreeMap<u8, Member> {
    members.into_iter().map(|member| (member.slot, member)).collect()
}

/// To so many members one who watches is connected: when one is gone, the other is there already.
const HOSTS_WANTED: usize = 2;
