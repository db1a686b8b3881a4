//! One group: the members matched together, who sits where, and whether all are there.

use std::time::Duration;

use rollback_signaling::{
    ErrorCode, Join, MEMBERS_MAX, Member, RoomName, SETTINGS_BYTES_MAX, Text, Token, WATCHER_SLOTS,
};

use crate::command::{ClientId, Entropy};
use crate::config::GroupSize;
use crate::saved::{RestoreError, SavedGroup, SavedSeat};

/// The members matched together in a room. It is *waiting* until each of the slots with which it begins has a connected
/// member, and *complete* ever after. The other slots are reserved for those who come late, each for one of them.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) room: RoomName,
    pub(crate) session_id: u64,
    pub(crate) seed: u64,
    pub(crate) is_complete: bool,
    settings: Text<SETTINGS_BYTES_MAX>,
    seats: Vec<Option<Seat>>,
    begins_with: u8,
    /// The first slot that nobody has had yet of those for whom nobody waits.
    reserved_from: u8,
    /// Those who watch, by their place, and which place to give next.
    watchers: Vec<Option<ClientId>>,
    next_place: usize,
}

/// One member of a group.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) token: Token,
    pub(crate) presence: Presence,
    pub(crate) joined_at: Duration,
    /// The processes of this member, since the group was complete, that were before the present one.
    former: Vec<u64>,
    /// It came late: nobody lived the first life of the slot.
    is_late: bool,
    join: Join,
}

/// Whether a member has a connection to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Here(ClientId),
    Away { since: Duration },
}

impl Group {
    /// A group without members, whose settings are those of the member that founds it.
    pub(crate) fn found(size: GroupSize, join: &Join, entropy: &Entropy) -> Self {
        Self {
            room: join.room.clone(),
            session_id: entropy.session_id,
            seed: entropy.seed,
            is_complete: false,
            settings: join.settings.clone(),
            seats: (0..size.members()).map(|_| None).collect(),
            begins_with: size.begins_with(),
            reserved_from: size.begins_with(),
            watchers: Vec::new(),
            next_place: 0,
        }
    }

    /// What is kept of it over a restart of the server.
    pub(crate) fn saved(&self) -> SavedGroup {
        SavedGroup {
            room: self.room.clone(),
            session_id: self.session_id,
            seed: self.seed,
            settings: self.settings.clone(),
            begins_with: self.begins_with,
            reserved_from: self.reserved_from,
            seats: self.seats.iter().map(|seat| seat.as_ref().map(Seat::saved)).collect(),
        }
    }

    /// A group that played when the server ended: all its members are away since `now`.
    ///
    /// # Errors
    /// When there is no such group.
    pub(crate) fn restored(saved: SavedGroup, now: Duration) -> Result<Self, RestoreError> {
        let slots = saved.seats.len();
        let begins = usize::from(saved.begins_with);
        let is_sound = (1..=usize::from(MEMBERS_MAX)).contains(&slots)
            && (1..=slots).contains(&begins)
            && (begins..=slots).contains(&saved.reserved_from.into())
            && saved.seats.iter().any(Option::is_some);
        let seats: Vec<_> =
            saved.seats.into_iter().map(|seat| Some(Seat::restored(seat?, now))).collect();
        if !is_sound || seats.iter().flatten().any(|seat| seat.lives() > LIVES_MAX) {
            return Err(RestoreError::Group);
        }
        Ok(Self {
            room: saved.room,
            session_id: saved.session_id,
            seed: saved.seed,
            is_complete: true,
            settings: saved.settings,
            seats,
            begins_with: saved.begins_with,
            reserved_from: saved.reserved_from,
            watchers: Vec::new(),
            next_place: 0,
        })
    }

    /// How many slots there are.
    pub(crate) fn expected(&self) -> u8 {
        u8::try_from(self.seats.len()).unwrap_or(u8::MAX)
    }

    /// Members that make the group complete.
    pub(crate) const fn begins_with(&self) -> u8 {
        self.begins_with
    }

    /// The slots from this one on have had no member yet.
    pub(crate) const fn reserved_from(&self) -> u8 {
        self.reserved_from
    }

    /// Whether somebody who comes late may have a slot, and finds somebody.
    pub(crate) fn takes_late(&self) -> bool {
        let is_played = self.is_complete && self.seats().any(|(_, seat)| seat.client().is_some());
        is_played && self.reserved_from < self.expected()
    }

    /// The slots of those who are waited for.
    fn first_seats(&self) -> impl Iterator<Item = &Option<Seat>> {
        self.seats.iter().take(self.begins_with.into())
    }

    /// Whether a member with these settings may sit here.
    pub(crate) fn agrees_with(&self, settings: &Text<SETTINGS_BYTES_MAX>) -> bool {
        self.settings == *settings
    }

    /// The slot for a newcomer. Of a waiting group: the first free one, else that of the member away for longest. Of one
    /// that is played: a reserved one, which is one member's only, as whoever leaves it has been in the match.
    pub(crate) fn slot_for_newcomer(&mut self) -> Option<u8> {
        if self.is_complete {
            let slot = self.takes_late().then_some(self.reserved_from)?;
            self.reserved_from += 1;
            return Some(slot);
        }
        let free = self.first_seats().position(Option::is_none);
        let away = || {
            let away_since = |(index, seat): (usize, &Option<Seat>)| match seat.as_ref()?.presence {
                Presence::Away { since } => Some((since, index)),
                Presence::Here(_) => None,
            };
            self.first_seats().enumerate().filter_map(away_since).min().map(|(_, index)| index)
        };
        free.or_else(away).and_then(|index| u8::try_from(index).ok())
    }

    /// Seats a member and returns whoever sat there before.
    pub(crate) fn seat(&mut self, slot: u8, seat: Seat) -> Option<Seat> {
        self.seats.get_mut(usize::from(slot))?.replace(seat)
    }

    /// The member of a slot returns, perhaps as a new process. Answers the connection that it had, and the member as it is
    /// now.
    ///
    /// # Errors
    /// When another process has taken the slot since, or when there is no number left for one life more.
    pub(crate) fn take_back(
        &mut self,
        slot: u8,
        client: ClientId,
        join: Join,
    ) -> Result<(Option<ClientId>, Member), (ErrorCode, &'static str)> {
        let is_complete = self.is_complete;
        let left = (ErrorCode::UnknownToken, "this member has left");
        let seat = self.seat_mut(slot).ok_or(left)?;
        // One that lost its connection before it heard that would take the slot back, and be taken it again.
        if seat.former.contains(&join.incarnation) {
            return Err((ErrorCode::Replaced, "another process has this member's slot now"));
        }
        if is_complete && join.incarnation != seat.join.incarnation {
            if seat.lives() >= LIVES_MAX {
                return Err((ErrorCode::UnknownToken, "this member has come back too often"));
            }
            seat.former.push(seat.join.incarnation);
        }
        let replaced = seat.client();
        seat.presence = Presence::Here(client);
        seat.join = join;
        Ok((replaced, seat.member(slot)))
    }

    /// The present process of a member.
    pub(crate) fn incarnation_at(&self, slot: u8) -> Option<u64> {
        Some(self.seats.get(usize::from(slot))?.as_ref()?.join.incarnation)
    }

    /// Frees a slot.
    pub(crate) fn vacate(&mut self, slot: u8) -> Option<Seat> {
        self.seats.get_mut(usize::from(slot))?.take()
    }

    /// The member of a slot.
    pub(crate) fn seat_mut(&mut self, slot: u8) -> Option<&mut Seat> {
        self.seats.get_mut(usize::from(slot))?.as_mut()
    }

    /// All members with their slots.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (u8, &Seat)> {
        (0u8..).zip(&self.seats).filter_map(|(slot, seat)| Some((slot, seat.as_ref()?)))
    }

    /// Gives one who watches a place, where fewer than `most` watch. Places are used again as late as may be, since
    /// members may have a connection to whoever had it before.
    pub(crate) fn add_watcher(&mut self, client: ClientId, most: u8) -> Option<u8> {
        let most = usize::from(most);
        if self.watchers.iter().flatten().count() >= most {
            return None;
        }
        self.watchers.resize(self.watchers.len().max(most), None);
        let places = (0..self.watchers.len()).map(|step| (self.next_place + step) % most);
        let place = { places }.find(|place| self.watchers.get(*place) == Some(&None))?;
        *self.watchers.get_mut(place)? = Some(client);
        self.next_place = (place + 1) % most;
        u8::try_from(place).ok()
    }

    /// Somebody watches no more. Answers whether it did.
    pub(crate) fn remove_watcher(&mut self, place: u8) -> bool {
        let watcher = self.watchers.get_mut(usize::from(place)).and_then(Option::take);
        watcher.is_some()
    }

    /// The connections of all who watch.
    pub(crate) fn watchers(&self) -> impl Iterator<Item = ClientId> {
        self.watchers.iter().flatten().copied()
    }

    /// The connection of a member or of one who watches, if it has one.
    pub(crate) fn client_at(&self, slot: u8) -> Option<ClientId> {
        if let Some(place) = slot.checked_sub(WATCHER_SLOTS) {
            return self.watchers.get(usize::from(place)).copied().flatten();
        }
        self.seats.get(usize::from(slot))?.as_ref()?.client()
    }

    /// Members with a connection, other than the one at `slot`.
    pub(crate) fn clients_except(&self, slot: u8) -> Vec<ClientId> {
        let others = self.seats().filter(|(other, _)| *other != slot);
        others.filter_map(|(_, seat)| seat.client()).collect()
    }

    /// Whether each of the slots with which it begins has a connected member.
    pub(crate) fn is_full(&self) -> bool {
        self.first_seats().all(|seat| seat.as_ref().is_some_and(|seat| seat.client().is_some()))
    }

    /// Whether nobody has a slot.
    pub(crate) fn is_empty(&self) -> bool {
        self.seats.iter().all(Option::is_none)
    }

    /// All members as the messages say it.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.seats().map(|(slot, seat)| seat.member(slot)).collect()
    }
}

impl Seat {
    /// A member that is here; in the second life of its slot if it came late.
    pub(crate) fn taken(
        now: Duration,
        client: ClientId,
        join: Join,
        token: Token,
        is_late: bool,
    ) -> Self {
        let presence = Presence::Here(client);
        Self { token, presence, joined_at: now, former: Vec::new(), is_late, join }
    }

    fn saved(&self) -> SavedSeat {
        let (token, former) = (self.token, self.former.clone());
        SavedSeat { token, former, is_late: self.is_late, join: self.join.clone() }
    }

    fn restored(saved: SavedSeat, now: Duration) -> Self {
        let SavedSeat { token, former, is_late, join } = saved;
        let presence = Presence::Away { since: now };
        Self { token, presence, joined_at: now, former, is_late, join }
    }

    /// How many lives of the slot were before the present one.
    fn lives(&self) -> usize {
        self.former.len() + usize::from(self.is_late)
    }

    /// The member's connection, if it has one.
    pub(crate) const fn client(&self) -> Option<ClientId> {
        match self.presence {
            Presence::Here(client) => Some(client),
            Presence::Away { .. } => None,
        }
    }

    /// The member as the messages say it.
    pub(crate) fn member(&self, slot: u8) -> Member {
        Member {
            slot,
            name: self.join.name.clone(),
            incarnation: self.join.incarnation,
            settings: self.join.settings.clone(),
            // Nobody takes a seat more often than this counts.
            life: u8::try_from(self.lives()).unwrap_or(u8::MAX),
            connected: self.client().is_some(),
        }
    }
}

/// How often a member may come back: the engine counts its lives in a byte.
const LIVES_MAX: usize = u8::MAX as usize;
