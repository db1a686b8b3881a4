//! Newcomers: into the group that waits in their room, late into one that is played, or as the first of the next one.

use std::time::Duration;

use rollback_signaling::{ErrorCode, Join, RoomName, ServerMessage};

use super::{Coordinator, GroupId, Place, ready};
use crate::command::{ClientId, Effect, Entropy};
use crate::group::{Group, Seat};

impl Coordinator {
    pub(super) fn enter(
        &mut self,
        now: Duration,
        client: ClientId,
        join: Join,
        entropy: &Entropy,
        effects: &mut Vec<Effect>,
    ) {
        let there_is = self.waiting.get(&join.room).copied();
        let there_is = there_is.or_else(|| self.group_with_reserved_slot(&join.room));
        let Some(id) = there_is.or_else(|| self.found_group(&join, entropy)) else {
            let limit = format!("the limit of {} groups", self.config.groups_max);
            self.refuse(now, client, ErrorCode::ServerFull, &limit, effects);
            return;
        };
        let Some(group) = self.groups.get_mut(&id) else { return };
        if !group.agrees_with(&join.settings) {
            let explanation = "the settings differ from those of the members of this room";
            self.refuse(now, client, ErrorCode::SettingsDiffer, explanation, effects);
            return;
        }
        let Some(slot) = group.slot_for_newcomer() else { return };
        let place = Place { group: id, slot };
        let is_late = group.is_complete;
        self.is_changed |= is_late;
        let seat = Seat::taken(now, client, join, entropy.token, is_late);
        let member = seat.member(slot);
        if let Some(gone) = group.seat(slot, seat) {
            self.places.remove(&gone.token);
            self.tell_others(place, &ServerMessage::MemberLeft { slot }, effects);
        }
        self.places.insert(entropy.token, place);
        self.settle(now, client, place, entropy.token, effects);
        self.tell_others(place, &ServerMessage::MemberJoined { member }, effects);
        self.welcome(now, client, place, effects);
    }

    /// The oldest group of a room that is played and has a slot for one who comes late.
    fn group_with_reserved_slot(&self, room: &RoomName) -> Option<GroupId> {
        let size = self.config.rooms.group_size(room)?;
        if size.begins_with() == size.members() {
            return None;
        }
        let is_it = |group: &Group| group.room == *room && group.takes_late();
        self.groups.iter().find(|(_, group)| is_it(group)).map(|(id, _)| *id)
    }

    fn found_group(&mut self, join: &Join, entropy: &Entropy) -> Option<GroupId> {
        let size = self.config.rooms.group_size(&join.room)?;
        if self.groups.len() >= self.config.groups_max {
            return None;
        }
        let id = self.next_group_id();
        self.groups.insert(id, Group::found(size, join, entropy));
        self.waiting.insert(join.room.clone(), id);
        Some(id)
    }

    /// Tells a client that has a slot how its group is, once that is complete.
    pub(super) fn welcome(
        &mut self,
        now: Duration,
        client: ClientId,
        place: Place,
        effects: &mut Vec<Effect>,
    ) {
        match self.groups.get(&place.group) {
            Some(group) if group.is_complete => {
                effects.push(Effect::Send { client, message: ready(group) });
            }
            _ => self.complete_if_full(now, place.group, effects),
        }
    }

    fn complete_if_full(&mut self, now: Duration, id: GroupId, effects: &mut Vec<Effect>) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if group.is_complete || !group.is_full() {
            return;
        }
        group.is_complete = true;
        self.is_changed = true;
        self.waiting.remove(&group.room);
        self.counters.groups_completed += 1;
        let message = ready(group);
        let clients: Vec<ClientId> = group.seats().filter_map(|(_, seat)| seat.client()).collect();
        self.offer_to_all(now, id, effects);
        let send = |client| Effect::Send { client, message: message.clone() };
        effects.extend(clients.into_iter().map(send));
    }
}
