//! Answers those who ask what there is and which ways lead to it, without becoming members. Nothing is kept of them.

use std::time::Duration;

use rollback_signaling::{ErrorCode, RoomName, ServerMessage};

use super::{Coordinator, check_first, error_text};
use crate::command::{ClientId, Effect};
use crate::ice::GUEST;

impl Coordinator {
    pub(super) fn examine(
        &mut self,
        (now, unix_secs): (Duration, u64),
        client: ClientId,
        (version, room): (u16, &RoomName),
        effects: &mut Vec<Effect>,
    ) {
        let Some(state) = self.clients.get(&client) else { return };
        if let Err((code, explanation)) = check_first(state, version, room) {
            return self.refuse(now, client, code, &explanation, effects);
        }
        if !self.examinations.spend(now, EXAMINATION_COST) {
            let explanation = "too many ask at once; ask again in some seconds";
            return self.refuse(now, client, ErrorCode::RateLimited, explanation, effects);
        }
        // A connection whose room is not known is ended before it can ask.
        let Some(size) = self.config.rooms.group_size(room) else { return };
        let playing = self.groups.values().filter(|group| group.is_complete && group.room == *room);
        let playing = u32::try_from(playing.count()).unwrap_or(u32::MAX);
        let waiting = self.waiting.get(room).and_then(|id| self.groups.get(id));
        let waiting = waiting.map_or(0, |group| group.members().len());
        if !self.config.ice.is_empty() {
            let who = format!("{GUEST}{}", client.number());
            effects.push(Effect::OfferIceServers { client, who, valid: CREDENTIALS_VALID });
        }
        let message = ServerMessage::Examined {
            version: error_text(env!("CARGO_PKG_VERSION")),
            unix_secs,
            expected: size.members(),
            begins_with: size.begins_with(),
            waiting: u8::try_from(waiting).unwrap_or(u8::MAX),
            playing,
            relay: self.config.relay,
        };
        effects.push(Effect::Send { client, message });
        effects.push(Effect::Close { client });
        self.clients.remove(&client);
        self.counters.examinations += 1;
    }
}

/// Sixteen units of the allowance that all who ask have together: 32 at once, and three a second.
const EXAMINATION_COST: usize = 15 * 1024;

/// How long the credentials for TURN servers are good for: an examination takes some seconds.
const CREDENTIALS_VALID: Duration = Duration::from_secs(60);
