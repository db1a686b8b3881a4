//! When a client gets STUN and TURN servers: before anything that makes it connect, and again long before the credentials
//! end.

use std::time::Duration;

use super::{Coordinator, Place};
use crate::command::{ClientId, Effect};

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
        if !self.config.ice.is_empty() {
            self.offer(now, client, place, effects);
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
        if let Some(state) = self.clients.get_mut(&client) {
            state.offered_at = Some(now);
            // The session is known to its members only, so nobody else can guess the name.
            let who = format!("{:016x}-{}", group.session_id, place.slot);
            let valid = self.config.ice.credentials_valid;
            effects.push(Effect::OfferIceServers { client, who, valid });
        }
    }
}
