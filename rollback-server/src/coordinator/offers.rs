//! When a client gets STUN and TURN servers, once its group is complete: before anything that makes it connect, and again long before the credentials
//! end.

use std::time::Duration;

use super::{Coordinator, GroupId, Place};
use crate::command::{ClientId, Effect};
use crate::config::ServerConfig;
use crate::group::Group;

impl Coordinator {
    /// The client has a place from now on.
    pub(super) fn seat_client(
        &mut self,
        now: Duration,
        client: ClientId,
        place: Place,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(state) = self.clients.get_mut(&client) {
            state.place = Some(place);
        }
        // One that only waits connects to nobody yet.
        if self.groups.get(&place.group).is_some_and(|group| group.is_complete) {
            self.offer(now, client, place, effects);
        }
    }

    /// The group is complete: its members connect from now on.
    pub(super) fn offer_to_all(&mut self, now: Duration, id: GroupId, effects: &mut Vec<Effect>) {
        let Some(group) = self.groups.get(&id) else { return };
        let seated = group.seats().filter_map(|(slot, seat)| Some((slot, seat.client()?)));
        for (slot, client) in seated.collect::<Vec<_>>() {
            self.offer(now, client, Place { group: id, slot }, effects);
        }
    }

    /// Offers them anew to all for whom it is time.
    pub(super) fn renew_offers(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let interval = self.config.ice.renewed_after();
        let due: Vec<(ClientId, Place)> = { self.clients.iter() }
            .filter(|(_, state)| {
                state.offered_at.is_some_and(|at| now.saturating_sub(at) >= interval)
            })
            .filter_map(|(client, state)| Some((*client, state.place?)))
            .collect();
        for (client, place) in due {
            self.offer(now, client, place, effects);
        }
    }

    fn offer(&mut self, now: Duration, client: ClientId, place: Place, effects: &mut Vec<Effect>) {
        let Some(group) = self.groups.get(&place.group) else { return };
        if self.config.ice.is_empty() {
            return;
        }
        if let Some(state) = self.clients.get_mut(&client) {
            state.offered_at = Some(now);
            let (who, valid) = (who(group, place.slot), self.config.ice.credentials_valid);
            effects.push(Effect::OfferIceServers { client, who, valid });
        }
    }
}

/// A place has ended, and with it what its client was offered.
pub(super) fn end(config: &ServerConfig, group: &Group, slot: u8, effects: &mut Vec<Effect>) {
    if group.is_complete && !config.ice.is_empty() {
        effects.push(Effect::EndIceServers { who: who(group, slot) });
    }
}

/// The name of one that has a place. The session is known to its members only, so nobody else can guess it.
fn who(group: &Group, slot: u8) -> String {
    format!("{:016x}-{slot}", group.session_id)
}
