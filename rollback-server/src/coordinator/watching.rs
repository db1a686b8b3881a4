//! Those who watch a group that plays: no members of it, and nothing waits for them.

use std::time::Duration;

use rollback_signaling::{ErrorCode, Join, ServerMessage, Token, WATCHER_SLOTS};

use super::{Coordinator, GroupId, Place, offers};
use crate::command::{ClientId, Effect};
use crate::group::Group;

impl Coordinator {
    /// Shows a client the newest complete group of its room.
    pub(super) fn watch(
        &mut self,
        now: Duration,
        client: ClientId,
        join: &Join,
        token: Token,
        effects: &mut Vec<Effect>,
    ) {
        let most = self.config.watchers_of(&join.room);
        if most == 0 {
            let explanation = "this room is not to be watched";
            return self.refuse(now, client, ErrorCode::WatchingForbidden, explanation, effects);
        }
        let is_played = |group: &Group| {
            let mut seats = group.seats();
            group.is_complete && group.room == join.room && seats.any(|(_, s)| s.client().is_some())
        };
        let newest = self.groups.iter_mut().rev().find(|(_, group)| is_played(group));
        let Some((id, group)) = newest else {
            let explanation = "nobody plays in this room now";
            return self.refuse(now, client, ErrorCode::NothingToWatch, explanation, effects);
        };
        if !group.agrees_with(&join.settings) {
            let explanation = "the settings differ from those of the members of this room";
            return self.refuse(now, client, ErrorCode::SettingsDiffer, explanation, effects);
        }
        let Some(place) = group.add_watcher(client, most) else {
            let limit = format!("{most} watch this room already");
            return self.refuse(now, client, ErrorCode::ServerFull, &limit, effects);
        };
        let shown = ServerMessage::Watching {
            place,
            token,
            session_id: group.session_id,
            seed: group.seed,
            members: group.members(),
            expected: group.expected(),
        };
        let message = ServerMessage::WatcherJoined { place, incarnation: join.incarnation };
        let members: Vec<ClientId> = group.seats().filter_map(|(_, seat)| seat.client()).collect();
        let place = Place { group: *id, slot: WATCHER_SLOTS + place };
        self.places.insert(token, place);
        self.seat_client(now, client, place, effects);
        effects.push(Effect::Send { client, message: shown });
        for client in members {
            effects.push(Effect::Send { client, message: message.clone() });
        }
    }

    /// One who watches goes.
    pub(super) fn stop_watching(&mut self, place: Place, effects: &mut Vec<Effect>) {
        let Some(group) = self.groups.get_mut(&place.group) else { return };
        let number = place.slot - WATCHER_SLOTS;
        if !group.remove_watcher(number) {
            return;
        }
        self.vacated.push(place);
        offers::end(&self.config, group, place.slot, effects);
        self.places.retain(|_, known| *known != place);
        let message = ServerMessage::WatcherLeft { place: number };
        for (_, seat) in group.seats() {
            if let Some(client) = seat.client() {
                effects.push(Effect::Send { client, message: message.clone() });
            }
        }
    }

    /// All members of a group have left: there is nothing to watch any more.
    pub(super) fn send_away(&mut self, id: GroupId, group: &Group, effects: &mut Vec<Effect>) {
        for place in self.places.values().filter(|place| place.group == id) {
            self.vacated.push(*place);
            offers::end(&self.config, group, place.slot, effects);
        }
        self.places.retain(|_, place| place.group != id);
        for client in group.watchers() {
            self.unseat(client);
            let code = ErrorCode::NothingToWatch;
            let message = super::error_text("all members have left");
            effects.push(Effect::Send { client, message: ServerMessage::Error { code, message } });
            effects.push(Effect::Close { client });
            self.clients.remove(&client);
        }
    }
}
