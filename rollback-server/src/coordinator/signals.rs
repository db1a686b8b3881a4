//! What clients have for each other, passed on within their group.

use std::time::Duration;

use rollback_signaling::{ErrorCode, ServerMessage, SignalPayload, WATCHER_SLOTS, WATCHERS_MAX};

use super::Coordinator;
use crate::command::{ClientId, Effect};

impl Coordinator {
    pub(super) fn signal(
        &mut self,
        now: Duration,
        client: ClientId,
        to: u8,
        payload: SignalPayload,
        effects: &mut Vec<Effect>,
    ) {
        let Some(state) = self.clients.get_mut(&client) else { return };
        if !state.allowance.spend(now, payload_bytes(&payload)) {
            let explanation = "too many signals in a short time";
            self.refuse(now, client, ErrorCode::RateLimited, explanation, effects);
            return;
        }
        let place = state.place;
        let group = place.and_then(|place| self.groups.get(&place.group));
        let (Some(place), Some(group)) = (place, group.filter(|group| group.is_complete)) else {
            let explanation = "signals are for members of a complete group";
            self.refuse(now, client, ErrorCode::OutOfOrder, explanation, effects);
            return;
        };
        // Members may signal those who watch, of whom some may have gone; these signal members only.
        let is_watching = place.slot >= WATCHER_SLOTS;
        let is_watcher = (WATCHER_SLOTS..WATCHER_SLOTS + WATCHERS_MAX).contains(&to);
        let is_other = to < group.expected() && to != place.slot;
        if !is_other && (is_watching || !is_watcher) {
            let explanation = format!("slot {to} is no other member of the group");
            self.refuse(now, client, ErrorCode::UnknownMember, &explanation, effects);
            return;
        }
        match group.client_at(to) {
            Some(receiver) => {
                self.counters.signals += 1;
                let message = ServerMessage::Signal { from: place.slot, payload };
                effects.push(Effect::Send { client: receiver, message });
            }
            None => self.counters.signals_dropped += 1,
        }
    }
}

fn payload_bytes(payload: &SignalPayload) -> usize {
    match payload {
        SignalPayload::Offer { sdp, .. }
        | SignalPayload::Answer { sdp, .. }
        | SignalPayload::RestartOffer { sdp, .. }
        | SignalPayload::RestartAnswer { sdp, .. } => sdp.as_str().len(),
        SignalPayload::Candidate { candidate, .. } => candidate.as_str().len(),
        SignalPayload::RequestOffer { .. } | SignalPayload::RequestRestart { .. } => 0,
    }
}
