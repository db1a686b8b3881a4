//! Who is in which group: the server's whole logic as a pure state machine. It knows no socket, no
//! clock and no source of randomness; time, commands and random numbers come in, effects go out.

use std::collections::BTreeMap;
use std::time::Duration;

use rollback_signaling::{
    ErrorCode, Join, PROTOCOL_VERSION, RoomName, ServerMessage, Text, Token, WATCHER_SLOTS,
};

use crate::command::{ClientId, Command, Effect, Entropy};
use crate::config::ServerConfig;
use crate::group::{Group, Presence, Seat};
use crate::rate_limit::Allowance;
use crate::saved::{RestoreError, SavedGroups};

mod entering;
mod examining;
mod offers;
mod relaying;
mod signals;
mod watching;

/// Matches clients into groups and passes signals between the members of one group.
#[derive(Debug)]
pub struct Coordinator {
    config: ServerConfig,
    clients: BTreeMap<ClientId, Client>,
    groups: BTreeMap<GroupId, Group>,
    waiting: BTreeMap<RoomName, GroupId>,
    places: BTreeMap<Token, Place>,
    groups_founded: u64,
    counters: Counters,
    /// Of all together who only ask what there is.
    examinations: Allowance,
    /// Places that the last command ended.
    vacated: Vec<Place>,
    /// Whether a group that plays has changed since the groups were saved.
    is_changed: bool,
}

/// What happened since the start, and what there is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// Groups that became complete.
    pub groups_completed: u64,
    /// Members that returned with their token.
    pub returns: u64,
    /// Signals passed on.
    pub signals: u64,
    /// Signals dropped because their receiver was away or had left.
    pub signals_dropped: u64,
    /// Connections ended with an error.
    pub refusals: u64,
    /// Connections that only asked what there is, and were answered.
    pub examinations: u64,
}

/// How much of everything there is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Connections open.
    pub connections: usize,
    /// Rooms in which someone waits.
    pub rooms_waiting: usize,
    /// Groups, waiting ones included.
    pub groups: usize,
    /// Members with a slot, away ones included.
    pub members: usize,
    /// What happened since the start.
    pub since_start: Counters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct GroupId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    group: GroupId,
    slot: u8,
}

#[derive(Debug)]
struct Client {
    room: RoomName,
    connected_at: Duration,
    place: Option<Place>,
    /// When it got STUN and TURN servers last.
    offered_at: Option<Duration>,
    allowance: Allowance,
}

impl Coordinator {
    /// A server without clients.
    #[must_use]
    pub const fn new(config: ServerConfig) -> Self {
        Self {
            config,
            clients: BTreeMap::new(),
            groups: BTreeMap::new(),
            waiting: BTreeMap::new(),
            places: BTreeMap::new(),
            groups_founded: 0,
            counters: Counters {
                connections: 0,
                groups_completed: 0,
                returns: 0,
                signals: 0,
                signals_dropped: 0,
                refusals: 0,
                examinations: 0,
            },
            examinations: Allowance::full(Duration::ZERO),
            vacated: Vec::new(),
            is_changed: false,
        }
    }

    /// A server that goes on with the groups that played when another one ended. All their members are away since `now`,
    /// and return as after any loss.
    ///
    /// # Errors
    /// When these are no groups, or too many.
    pub fn restored(
        config: ServerConfig,
        saved: SavedGroups,
        now: Duration,
    ) -> Result<Self, RestoreError> {
        let (max, got) = (config.groups_max, saved.groups.len());
        if got > max {
            return Err(RestoreError::TooMany { max, got });
        }
        let mut coordinator = Self::new(config);
        for saved in saved.groups {
            let id = coordinator.next_group_id();
            let group = Group::restored(saved, now)?;
            for (slot, seat) in group.seats() {
                let place = Place { group: id, slot };
                if coordinator.places.insert(seat.token, place).is_some() {
                    return Err(RestoreError::Tokens);
                }
            }
            coordinator.groups.insert(id, group);
        }
        Ok(coordinator)
    }

    /// The groups that play, if they have changed since [`note_saved`](Self::note_saved).
    #[must_use]
    pub fn changed_groups(&self) -> Option<SavedGroups> {
        let played = self.groups.values().filter(|group| group.is_complete);
        self.is_changed.then(|| SavedGroups { groups: played.map(Group::saved).collect() })
    }

    /// The groups are saved as they are now.
    pub const fn note_saved(&mut self) {
        self.is_changed = false;
    }

    const fn next_group_id(&mut self) -> GroupId {
        let id = GroupId(self.groups_founded);
        self.groups_founded += 1;
        id
    }

    /// Takes one command at the time `now`, which is counted from any origin and never decreases.
    /// Commands of connections that are closed or unknown do nothing.
    #[must_use]
    pub fn handle(&mut self, now: Duration, command: Command) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.vacated.clear();
        match command {
            Command::Connected { client, room } => self.connect(now, client, room, &mut effects),
            Command::Join { client, join, entropy } => {
                self.join(now, client, *join, &entropy, &mut effects);
            }
            Command::Signal { client, to, payload } => {
                self.signal(now, client, to, *payload, &mut effects);
            }
            Command::Examine { client, protocol_version, room, unix_secs } => {
                self.examine((now, unix_secs), client, (protocol_version, &room), &mut effects);
            }
            Command::Leave { client } => self.leave(client, &mut effects),
            Command::BadMessage { client, error } => {
                self.refuse(now, client, ErrorCode::BadMessage, &error, &mut effects);
            }
            Command::Disconnected { client } => self.disconnect(now, client, &mut effects),
            Command::Tick => self.expire(now, &mut effects),
            Command::ShutDown => self.shut_down(now, &mut effects),
        }
        effects
    }

    /// How much of everything there is now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            connections: self.clients.len(),
            rooms_waiting: self.waiting.len(),
            groups: self.groups.len(),
            members: self.places.values().filter(|place| place.slot < WATCHER_SLOTS).count(),
            since_start: self.counters,
        }
    }

    fn connect(
        &mut self,
        now: Duration,
        client: ClientId,
        room: RoomName,
        effects: &mut Vec<Effect>,
    ) {
        let is_full = self.clients.len() >= self.config.connections_max;
        let is_known = self.config.rooms.group_size(&room).is_some();
        let allowance = Allowance::full(now);
        self.clients.insert(
            client,
            Client { room, connected_at: now, place: None, offered_at: None, allowance },
        );
        self.counters.connections += 1;
        if is_full {
            let limit = format!("the limit of {} connections", self.config.connections_max);
            self.refuse(now, client, ErrorCode::ServerFull, &limit, effects);
        } else if !is_known {
            let explanation = "this server has no room of that name";
            self.refuse(now, client, ErrorCode::UnknownRoom, explanation, effects);
        }
    }

    fn join(
        &mut self,
        now: Duration,
        client: ClientId,
        join: Join,
        entropy: &Entropy,
        effects: &mut Vec<Effect>,
    ) {
        let Some(state) = self.clients.get(&client) else { return };
        if let Err((code, explanation)) = check_first(state, join.protocol_version, &join.room) {
            self.refuse(now, client, code, &explanation, effects);
            return;
        }
        match join.token {
            _ if join.watch => self.watch(now, client, &join, entropy.token, effects),
            Some(token) => self.take_back(now, client, token, join, effects),
            None => self.enter(now, client, join, entropy, effects),
        }
    }

    fn take_back(
        &mut self,
        now: Duration,
        client: ClientId,
        token: Token,
        join: Join,
        effects: &mut Vec<Effect>,
    ) {
        let place = self.places.get(&token).copied();
        let in_room = |place: &Place| {
            self.groups.get(&place.group).is_some_and(|group| group.room == join.room)
        };
        let Some(place) = place.filter(in_room) else {
            let explanation = "this token is no member's of this room, or no longer";
            self.refuse(now, client, ErrorCode::UnknownToken, explanation, effects);
            return;
        };
        let Some(group) = self.groups.get_mut(&place.group) else { return };
        if !group.agrees_with(&join.settings) {
            let explanation = "the settings differ from those the member joined with";
            self.refuse(now, client, ErrorCode::SettingsDiffer, explanation, effects);
            return;
        }
        let (replaced, member) = match group.take_back(place.slot, client, join) {
            Ok(taken) => taken,
            Err((code, why)) => return self.refuse(now, client, code, why, effects),
        };
        self.is_changed |= group.is_complete;
        self.counters.returns += 1;
        if let Some(replaced) = replaced {
            self.unseat(replaced);
            let explanation = "another connection returned with this member's token";
            self.refuse(now, replaced, ErrorCode::Replaced, explanation, effects);
        }
        self.settle(now, client, place, token, effects);
        self.tell_others(place, &ServerMessage::MemberBack { member }, effects);
        self.welcome(now, client, place, effects);
    }

    fn settle(
        &mut self,
        now: Duration,
        client: ClientId,
        place: Place,
        token: Token,
        effects: &mut Vec<Effect>,
    ) {
        self.seat_client(now, client, place, effects);
        let Some(group) = self.groups.get(&place.group) else { return };
        let message = ServerMessage::Joined {
            slot: place.slot,
            token,
            members: group.members(),
            expected: group.expected(),
            begins_with: group.begins_with(),
        };
        effects.push(Effect::Send { client, message });
    }

    fn leave(&mut self, client: ClientId, effects: &mut Vec<Effect>) {
        let Some(state) = self.clients.remove(&client) else { return };
        if let Some(place) = state.place {
            self.vacate(place, effects);
        }
        effects.push(Effect::Close { client });
    }

    fn disconnect(&mut self, now: Duration, client: ClientId, effects: &mut Vec<Effect>) {
        let Some(state) = self.clients.remove(&client) else { return };
        let Some(place) = state.place else { return };
        if place.slot >= WATCHER_SLOTS {
            return self.stop_watching(place, effects);
        }
        let Some(group) = self.groups.get_mut(&place.group) else { return };
        let Some(seat) = group.seat_mut(place.slot) else { return };
        seat.presence = Presence::Away { since: now };
        if group.is_complete {
            self.tell_others(place, &ServerMessage::MemberAway { slot: place.slot }, effects);
        }
    }

    /// Ends a connection with an error. A member keeps its slot for a while, as after any loss.
    fn refuse(
        &mut self,
        now: Duration,
        client: ClientId,
        code: ErrorCode,
        explanation: &str,
        effects: &mut Vec<Effect>,
    ) {
        if !self.clients.contains_key(&client) {
            return;
        }
        self.counters.refusals += 1;
        let message = ServerMessage::Error { code, message: error_text(explanation) };
        effects.push(Effect::Send { client, message });
        effects.push(Effect::Close { client });
        self.disconnect(now, client, effects);
    }

    fn expire(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for (client, explanation) in self.overdue_clients(now) {
            self.refuse(now, client, ErrorCode::TimedOut, explanation, effects);
        }
        for place in self.overdue_places(now) {
            self.vacate(place, effects);
        }
        self.renew_offers(now, effects);
    }

    fn overdue_clients(&self, now: Duration) -> Vec<(ClientId, &'static str)> {
        let unjoined = self.clients.iter().filter_map(|(client, state)| {
            let waited = now.saturating_sub(state.connected_at);
            let is_late = state.place.is_none() && waited >= self.config.join_timeout;
            is_late.then_some((*client, "the client did not join in time"))
        });
        let groups = self.waiting.values().filter_map(|id| self.groups.get(id));
        let unmatched = groups.flat_map(Group::seats).filter_map(|(_, seat)| {
            let is_late = now.saturating_sub(seat.joined_at) >= self.config.waiting_max;
            is_late.then_some((seat.client()?, "nobody came in time"))
        });
        unjoined.chain(unmatched).collect()
    }

    fn overdue_places(&self, now: Duration) -> Vec<Place> {
        let mut places = Vec::new();
        for (id, group) in &self.groups {
            let hold = match group.is_complete {
                true => self.config.playing_slot_hold,
                false => self.config.waiting_slot_hold,
            };
            let is_overdue = |seat: &Seat| match seat.presence {
                Presence::Away { since } => now.saturating_sub(since) >= hold,
                Presence::Here(_) => false,
            };
            let overdue = group.seats().filter(|(_, seat)| is_overdue(seat));
            places.extend(overdue.map(|(slot, _)| Place { group: *id, slot }));
        }
        places
    }

    fn shut_down(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let clients: Vec<ClientId> = self.clients.keys().copied().collect();
        for client in clients {
            self.refuse(now, client, ErrorCode::ShuttingDown, "the server stops", effects);
        }
    }

    /// Frees a slot for good; the last one to go takes the group along.
    fn vacate(&mut self, place: Place, effects: &mut Vec<Effect>) {
        if place.slot >= WATCHER_SLOTS {
            return self.stop_watching(place, effects);
        }
        let Some(group) = self.groups.get_mut(&place.group) else { return };
        let Some(seat) = group.vacate(place.slot) else { return };
        self.is_changed |= group.is_complete;
        self.places.remove(&seat.token);
        self.vacated.push(place);
        offers::end(&self.config, group, place.slot, effects);
        if group.is_empty() {
            if self.waiting.get(&group.room) == Some(&place.group) {
                self.waiting.remove(&group.room);
            }
            if let Some(group) = self.groups.remove(&place.group) {
                self.send_away(place.group, &group, effects);
            }
            return;
        }
        self.tell_others(place, &ServerMessage::MemberLeft { slot: place.slot }, effects);
    }

    fn unseat(&mut self, client: ClientId) {
        if let Some(state) = self.clients.get_mut(&client) {
            state.place = None;
        }
    }

    fn tell_others(&self, place: Place, message: &ServerMessage, effects: &mut Vec<Effect>) {
        let Some(group) = self.groups.get(&place.group) else { return };
        for client in group.clients_except(place.slot).into_iter().chain(group.watchers()) {
            effects.push(Effect::Send { client, message: message.clone() });
        }
    }
}

/// Whether a first message is one for this server and this link.
fn check_first(state: &Client, version: u16, room: &RoomName) -> Result<(), (ErrorCode, String)> {
    if version != PROTOCOL_VERSION {
        let explanation = format!(
            "expected protocol version {PROTOCOL_VERSION}, got {version}; use the same release"
        );
        return Err((ErrorCode::UnsupportedVersion, explanation));
    }
    if *room != state.room {
        let explanation = format!("the link is for room {}, not {room}", state.room);
        return Err((ErrorCode::WrongRoom, explanation));
    }
    if state.place.is_some() {
        return Err((ErrorCode::OutOfOrder, "this client has joined already".to_owned()));
    }
    Ok(())
}

fn ready(group: &Group) -> ServerMessage {
    ServerMessage::Ready {
        session_id: group.session_id,
        seed: group.seed,
        members: group.members(),
        reserved_from: group.reserved_from(),
    }
}

/// An explanation as it fits in a message: shortened, without control characters.
fn error_text<const BYTES_MAX: usize>(explanation: &str) -> Text<BYTES_MAX> {
    let readable = explanation.chars().filter(|character| !character.is_control());
    let mut text = String::new();
    for character in readable {
        if text.len() + character.len_utf8() > BYTES_MAX {
            break;
        }
        text.push(character);
    }
    Text::try_from(text).unwrap_or_default()
}
