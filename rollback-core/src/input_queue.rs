//! Knows every player's inputs of the frames still in play: what was given, and what was used in its place.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::game::StepRow;
use crate::item::{Item, ItemAt};
use crate::prediction::{HINT_FRAMES_MAX, Hints};
use crate::{
    Frame, InputFlags, InputStatus, PeerId, PlayerHandle, Predictor, Roster, SessionConfig,
};

/// Rings of inputs, one row a frame. A peer's frame holds the inputs of all its players and arrives whole.
pub(crate) struct InputQueue {
    width: usize,
    players: usize,
    capacity: usize,
    idle: Vec<u8>,
    given: Vec<u8>,
    given_flags: Vec<u8>,
    used: Vec<u8>,
    used_flags: Vec<u8>,
    statuses: Vec<InputStatus>,
    guess: Vec<u8>,
    /// Whether an input given means the same as one used; asked only where their bytes differ.
    equivalent: fn(&[u8], &[u8]) -> bool,
    /// What players said that they will do; nothing until one does.
    hints: Option<Hints>,
    guesses: GuessCounters,
    /// Every frame that was stepped with a guess is before this one.
    guessed: Frame,
    streams: Vec<Stream>,
    hosts: Vec<PeerId>,
    /// The input delay of each player, and the frame from which it is in force.
    delays: Vec<(Frame, u32)>,
    items: Vec<(PeerId, ItemAt)>,
    floor: Frame,
    simulated: Frame,
    first_incorrect: Option<Frame>,
}

/// How often inputs were guessed, and how often wrongly. A guess counts when its input arrives, as it was when the frame
/// was last stepped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GuessCounters {
    /// Inputs that arrived after their frame was stepped with a guess.
    pub guesses: u64,
    /// Those that were not what was guessed.
    pub mispredictions: u64,
}

/// What is held of one peer's inputs.
struct Stream {
    players: Vec<PlayerHandle>,
    /// Every frame before this one is held.
    end: Frame,
    /// One past the newest frame held.
    newest: Frame,
    /// Frames from `end` on that are held out of order, by ring slot.
    ahead: Vec<u64>,
    /// From this frame on idle is filled in.
    closed: Option<Frame>,
}

impl InputQueue {
    pub(crate) fn new(config: &SessionConfig, roster: &Roster) -> Self {
        let (width, players) = (config.input_width(), config.players());
        let capacity = config.history_frames();
        let stream = |peer| Stream {
            players: roster.players_of(peer).collect(),
            end: Frame::ZERO,
            newest: Frame::ZERO,
            ahead: vec![0; capacity.div_ceil(64)],
            closed: None,
        };
        Self {
            width,
            players,
            capacity,
            idle: config.idle_input().to_vec(),
            given: vec![0; capacity * players * width],
            given_flags: vec![0; capacity * players],
            used: vec![0; capacity * players * width],
            used_flags: vec![0; capacity * players],
            statuses: vec![InputStatus::Given; players],
            guess: vec![0; width],
            equivalent: |_, _| false,
            hints: None,
            guesses: GuessCounters::default(),
            guessed: Frame::ZERO,
            streams: roster.peers().iter().map(stream).collect(),
            hosts: PlayerHandle::all(players).filter_map(|player| roster.host(player)).collect(),
            delays: PlayerHandle::all(players)
                .map(|player| (Frame::ZERO, config.input_delay_frames(player)))
                .collect(),
            items: Vec::with_capacity(ITEMS_USUAL),
            floor: Frame::ZERO,
            simulated: Frame::ZERO,
            first_incorrect: None,
        }
    }

    /// Takes inputs for the same that `equivalent` says mean the same: one given, and one used in its place.
    pub(crate) fn set_equivalence(&mut self, equivalent: fn(&[u8], &[u8]) -> bool) {
        self.equivalent = equivalent;
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// How many frames the rings hold.
    pub(crate) fn capacity(&self) -> u32 {
        u32::try_from(self.capacity).unwrap_or(u32::MAX)
    }

    /// The players of a peer, in order.
    pub(crate) fn players_of(&self, peer: PeerId) -> &[PlayerHandle] {
        self.streams.get(peer.index()).map_or(&[], |stream| &stream.players)
    }

    /// The least input delay of a peer's players.
    pub(crate) fn input_delay_of(&self, peer: PeerId) -> u32 {
        let delays = self.players_of(peer).iter().filter_map(|player| self.delay(*player));
        delays.min().unwrap_or_default()
    }

    /// The input delay of a player, as its host last said.
    pub(crate) fn delay(&self, player: PlayerHandle) -> Option<u32> {
        self.delays.get(player.index()).map(|(_, delay)| *delay)
    }

    /// Takes a delay that its player's host has said, unless a later one is known.
    fn note_delay(&mut self, host: PeerId, player: PlayerHandle, delay: (Frame, u32)) {
        let is_host = self.hosts.get(player.index()) == Some(&host);
        if let Some(known) = self.delays.get_mut(player.index()).filter(|_| is_host)
            && known.0 <= delay.0
        {
            *known = delay;
        }
    }

    /// The first frame of `peer` that is not held.
    pub(crate) fn end(&self, peer: PeerId) -> Frame {
        self.stream(peer).map_or(Frame::ZERO, |stream| stream.end)
    }

    /// From which frame on idle is filled in for `peer`.
    pub(crate) fn closed(&self, peer: PeerId) -> Option<Frame> {
        self.stream(peer).and_then(|stream| stream.closed)
    }

    /// Whether the peer's frame is held.
    pub(crate) fn has(&self, peer: PeerId, frame: Frame) -> bool {
        self.stream(peer).is_some_and(|stream| stream.has(frame, self.capacity))
    }

    /// The frames after the first gap that are held: bit `n` for frame `end + 1 + n`.
    pub(crate) fn held_beyond_gap(&self, peer: PeerId) -> u32 {
        let Some(stream) = self.stream(peer).filter(|stream| stream.newest > stream.end) else {
            return 0;
        };
        let first = stream.end.next();
        (0..32)
            .filter(|bit| stream.has(first.plus(*bit), self.capacity))
            .fold(0, |mask, bit| mask | 1 << bit)
    }

    /// The first frame of which some player's input is not held.
    pub(crate) fn confirmed_end(&self) -> Frame {
        self.streams.iter().map(Stream::complete_end).min().unwrap_or(Frame::MAX)
    }

    /// The earliest frame that was stepped with an input that turned out wrong.
    pub(crate) fn first_incorrect(&self) -> Option<Frame> {
        self.first_incorrect
    }

    /// Says that every frame before `end` was last stepped with what [`gather`](Self::gather) gave.
    pub(crate) fn set_simulated(&mut self, end: Frame) {
        self.simulated = end;
        if self.first_incorrect.is_some_and(|frame| frame >= end) {
            self.first_incorrect = None;
        }
    }

    /// The first frame that was not stepped yet.
    pub(crate) fn simulated(&self) -> Frame {
        self.simulated
    }

    /// Says that the wrong frames are about to be stepped again.
    pub(crate) fn clear_incorrect(&mut self) {
        self.first_incorrect = None;
    }

    /// Frames before `floor` are needed no more, so that as many new ones may come.
    pub(crate) fn set_floor(&mut self, floor: Frame) {
        self.floor = self.floor.max(floor);
        let keep = self.floor;
        self.items.retain(|(_, at)| at.frame >= keep);
    }

    /// The last frame for which there is room.
    pub(crate) fn last_room(&self) -> Frame {
        self.floor.plus(self.capacity() - 2)
    }

    pub(crate) fn floor(&self) -> Frame {
        self.floor
    }

    /// Whether a frame of `peer` is new and there is room for it.
    pub(crate) fn accepts(&self, peer: PeerId, frame: Frame) -> bool {
        // The row before the floor stays: changes of the frame at the floor are counted from it.
        frame < self.floor.plus(self.capacity() - 1)
            && self.stream(peer).is_some_and(|stream| {
                stream.closed.is_none_or(|closed| frame < closed)
                    && !stream.has(frame, self.capacity)
            })
    }

    /// Writes one player's input into its row. It counts when [`arrived`](Self::arrived) is called for its peer.
    pub(crate) fn write(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        input: &[u8],
        flags: InputFlags,
    ) {
        let (bytes, cell) = (self.bytes_of(player, frame), self.cell_of(player, frame));
        if let Some(slot) = self.given.get_mut(bytes) {
            slot.copy_from_slice(input);
        }
        if let Some(slot) = self.given_flags.get_mut(cell) {
            *slot = flags.bits();
        }
    }

    /// Writes the flags beside an input.
    pub(crate) fn write_flags(&mut self, player: PlayerHandle, frame: Frame, flags: InputFlags) {
        let cell = self.cell_of(player, frame);
        if let Some(slot) = self.given_flags.get_mut(cell) {
            *slot = flags.bits();
        }
    }

    /// Writes the same input as in the frame `base`, or the idle one.
    pub(crate) fn copy(&mut self, player: PlayerHandle, base: Option<Frame>, frame: Frame) {
        let to = self.bytes_of(player, frame);
        match base.map(|base| self.bytes_of(player, base)) {
            Some(from) => self.given.copy_within(from, to.start),
            None => {
                if let Some(slot) = self.given.get_mut(to) {
                    slot.copy_from_slice(&self.idle);
                }
            }
        }
    }

    /// Whether a player's input in `frame` differs from the one in `base`, or from idle.
    pub(crate) fn differs_from(
        &self,
        player: PlayerHandle,
        base: Option<Frame>,
        frame: Frame,
    ) -> bool {
        let base = base.map_or(self.idle.as_slice(), |base| self.given(player, base));
        self.given(player, frame) != base
    }

    /// Whether the flags beside a player's input in `frame` differ from those in `base`, or from none.
    pub(crate) fn flags_differ_from(
        &self,
        player: PlayerHandle,
        base: Option<Frame>,
        frame: Frame,
    ) -> bool {
        let base = base.map_or(InputFlags::NONE, |base| self.given_flags(player, base));
        self.given_flags(player, frame) != base
    }

    /// Takes the peer's frame as held, with its items, and compares it with what was used in its place.
    pub(crate) fn arrived(&mut self, peer: PeerId, frame: Frame, items: &[Item]) {
        let capacity = self.capacity;
        let Some(stream) = self.streams.get_mut(peer.index()) else { return };
        stream.insert(frame, capacity);
        // Bounded by what the history holds: each peer's frame arrives once, with few items.
        self.items.extend(items.iter().map(|item| (peer, ItemAt { frame, item: *item })));
        for item in items {
            if let Item::Delay { player, frames } = *item {
                self.note_delay(peer, player, (frame, frames.into()));
            }
        }
        if items.contains(&Item::Leave) {
            self.close(peer, frame);
        } else if frame < self.simulated {
            let wrong = self.wrong_players(peer, frame);
            // A frame that passes without a step, as after the end, is guessed for nobody.
            if frame < self.guessed {
                self.guesses.guesses += self.players_of(peer).len() as u64;
                self.guesses.mispredictions += wrong as u64;
            }
            if wrong > 0 {
                self.note_incorrect(frame);
            }
        }
    }

    /// Takes what a player of `peer` said that it will do, when it is for one of the next frames that are not held.
    pub(crate) fn take_hint(
        &mut self,
        peer: PeerId,
        player: PlayerHandle,
        frame: Frame,
        input: &[u8],
    ) -> bool {
        let end = self.end(peer);
        let is_ahead = frame >= end && frame.since(end) < HINT_FRAMES_MAX;
        let is_taken = is_ahead && self.accepts(peer, frame);
        if is_taken {
            self.hints_mut().set(player, frame, input);
        }
        is_taken
    }

    /// Whether hints of `peer` that begin at `first` are not older than those taken before.
    pub(crate) fn are_newest_hints(&mut self, peer: PeerId, first: Frame) -> bool {
        self.hints_mut().is_newest(peer, first)
    }

    /// What a player said that it will do.
    pub(crate) fn hint(&self, player: PlayerHandle, frame: Frame) -> Option<&[u8]> {
        self.hints.as_ref()?.get(player, frame)
    }

    pub(crate) fn has_hints(&self) -> bool {
        self.hints.is_some()
    }

    fn hints_mut(&mut self) -> &mut Hints {
        let (players, width) = (self.players, self.width);
        self.hints.get_or_insert_with(|| Hints::new(players, width))
    }

    pub(crate) fn guess_counters(&self) -> GuessCounters {
        self.guesses
    }

    /// From `frame` on, idle is filled in for `peer`.
    pub(crate) fn close(&mut self, peer: PeerId, frame: Frame) {
        let Some(stream) = self.streams.get_mut(peer.index()) else { return };
        // A peer that left may be agreed to have departed later: what follows is idle already, and was stepped so.
        if stream.closed.is_some_and(|closed| closed <= frame) {
            return;
        }
        stream.closed = Some(frame);
        for frame in frame.until(self.simulated) {
            self.fill_idle(peer, frame);
            if self.wrong_players(peer, frame) > 0 {
                self.note_incorrect(frame);
                break;
            }
        }
    }

    /// The items in force from `frame`, in the order of their proposers.
    pub(crate) fn items_at(&self, frame: Frame) -> impl Iterator<Item = (PeerId, Item)> + '_ {
        PeerId::all(self.streams.len())
            .flat_map(move |peer| self.items_of(peer, frame).map(move |item| (peer, item)))
    }

    /// The items that `peer` proposed for `frame`.
    pub(crate) fn items_of(&self, peer: PeerId, frame: Frame) -> impl Iterator<Item = Item> + '_ {
        self.items
            .iter()
            .filter(move |(by, at)| *by == peer && at.frame == frame)
            .map(|(_, at)| at.item)
    }

    pub(crate) fn has_items(&self) -> bool {
        !self.items.is_empty()
    }

    /// The input bytes that `player` gave for `frame`.
    pub(crate) fn given(&self, player: PlayerHandle, frame: Frame) -> &[u8] {
        self.given.get(self.bytes_of(player, frame)).unwrap_or_default()
    }

    /// The flags that `player` gave for `frame`.
    pub(crate) fn given_flags(&self, player: PlayerHandle, frame: Frame) -> InputFlags {
        let flags = self.given_flags.get(self.cell_of(player, frame)).copied();
        InputFlags::from_bits(flags.unwrap_or_default())
    }

    /// The inputs and flags of all players for a confirmed frame.
    pub(crate) fn confirmed_row(&mut self, frame: Frame) -> StepRow<'_> {
        self.statuses.fill(InputStatus::Given);
        self.fill_closed(frame);
        let (inputs, flags) = self.row_ranges(frame);
        StepRow {
            inputs: self.given.get(inputs).unwrap_or_default(),
            flags: self.given_flags.get(flags).unwrap_or_default(),
            statuses: &self.statuses,
        }
    }

    /// The inputs to step `frame` with, guessed where they are not held. What is guessed is remembered.
    pub(crate) fn gather(&mut self, frame: Frame, predictor: &mut dyn Predictor) -> StepRow<'_> {
        if frame < self.confirmed_end() {
            return self.confirmed_row(frame);
        }
        self.statuses.fill(InputStatus::Given);
        self.fill_closed(frame);
        self.guessed = self.guessed.max(frame.next());
        let (inputs, flags) = self.row_ranges(frame);
        if let (Some(used), Some(given)) =
            (self.used.get_mut(inputs.clone()), self.given.get(inputs.clone()))
        {
            used.copy_from_slice(given);
        }
        if let (Some(used), Some(given)) =
            (self.used_flags.get_mut(flags.clone()), self.given_flags.get(flags.clone()))
        {
            used.copy_from_slice(given);
        }
        for slot in 0..self.players {
            self.guess_player(slot, frame, predictor);
        }
        StepRow {
            inputs: self.used.get(inputs).unwrap_or_default(),
            flags: self.used_flags.get(flags).unwrap_or_default(),
            statuses: &self.statuses,
        }
    }

    /// The first frame from `first` on from which every input up to `end` is what was used: given so, or guessed so
    /// again. All these frames were stepped with guesses, or are held as they were used.
    pub(crate) fn unchanged_from(
        &mut self,
        first: Frame,
        end: Frame,
        predictor: &mut dyn Predictor,
    ) -> Frame {
        let mut from = end;
        while from > first && self.is_unchanged(from.minus(1), predictor) {
            from = from.minus(1);
        }
        from
    }

    fn is_unchanged(&mut self, frame: Frame, predictor: &mut dyn Predictor) -> bool {
        self.fill_closed(frame);
        (0..self.players).all(|slot| {
            let player = u8::try_from(slot).ok().and_then(PlayerHandle::new);
            let Some(player) = player else { return false };
            if self.is_held(player, frame) {
                return self.is_as_used(player, frame);
            }
            let (guess, flags) = self.guess(player, frame, predictor);
            let is_same = self.means_what_was_used(player, frame, (&guess, flags));
            self.guess = guess;
            is_same
        })
    }

    /// What `frame` was stepped with, where that was a guess.
    fn used(&self, player: PlayerHandle, frame: Frame) -> (&[u8], InputFlags) {
        let (bytes, cell) = (self.bytes_of(player, frame), self.cell_of(player, frame));
        let flags = self.used_flags.get(cell).copied().unwrap_or_default();
        (self.used.get(bytes).unwrap_or_default(), InputFlags::from_bits(flags))
    }

    /// Whether a player's input of `frame` was given or is filled in.
    fn is_held(&self, player: PlayerHandle, frame: Frame) -> bool {
        let host = self.hosts.get(player.index());
        let stream = host.and_then(|host| self.stream(*host));
        stream.is_some_and(|stream| {
            stream.has(frame, self.capacity) || stream.closed.is_some_and(|end| frame >= end)
        })
    }

    fn guess_player(&mut self, slot: usize, frame: Frame, predictor: &mut dyn Predictor) {
        let player = u8::try_from(slot).ok().and_then(PlayerHandle::new);
        let Some(player) = player.filter(|player| !self.is_held(*player, frame)) else { return };
        let (guess, flags) = self.guess(player, frame, predictor);
        let (bytes, cell) = (self.bytes_of(player, frame), self.cell_of(player, frame));
        if let Some(used) = self.used.get_mut(bytes) {
            used.copy_from_slice(&guess);
        }
        if let Some(used) = self.used_flags.get_mut(cell) {
            *used = flags.bits();
        }
        if let Some(status) = self.statuses.get_mut(slot) {
            *status = InputStatus::Predicted;
        }
        self.guess = guess;
    }

    /// A guess, in the scratch that [`guess`](Self::guess) takes and the caller puts back.
    fn guess(
        &mut self,
        player: PlayerHandle,
        frame: Frame,
        predictor: &mut dyn Predictor,
    ) -> (Vec<u8>, InputFlags) {
        let mut guess = core::mem::take(&mut self.guess);
        guess.copy_from_slice(&self.idle);
        let history = InputHistory { queue: self };
        match self.hint(player, frame) {
            Some(hint) => guess.copy_from_slice(hint),
            None => predictor.predict(player, frame, &history, &mut guess),
        }
        let flags = history
            .last_before(player, frame)
            .map_or(InputFlags::NONE, |(last, _)| self.given_flags(player, last));
        (guess, flags)
    }

    /// Fills idle in for every player whose peer has left by `frame`.
    fn fill_closed(&mut self, frame: Frame) {
        for peer in PeerId::all(self.streams.len()) {
            if self.closed(peer).is_some_and(|closed| frame >= closed) {
                self.fill_idle(peer, frame);
                let Some(stream) = self.streams.get(peer.index()) else { return };
                for player in &stream.players {
                    if let Some(status) = self.statuses.get_mut(player.index()) {
                        *status = InputStatus::Idle;
                    }
                }
            }
        }
    }

    fn fill_idle(&mut self, peer: PeerId, frame: Frame) {
        let idle = core::mem::take(&mut self.idle);
        for index in 0..self.players_of(peer).len() {
            if let Some(player) = self.players_of(peer).get(index).copied() {
                self.write(player, frame, &idle, InputFlags::IDLE_FILLED);
            }
        }
        self.idle = idle;
    }

    /// For how many of a peer's players what is now given for `frame` differs from what it was stepped with.
    fn wrong_players(&self, peer: PeerId, frame: Frame) -> usize {
        let players = self.players_of(peer).iter();
        players.filter(|player| !self.is_as_used(**player, frame)).count()
    }

    /// Whether what is now given for `frame` means what it was stepped with.
    fn is_as_used(&self, player: PlayerHandle, frame: Frame) -> bool {
        let given = (self.given(player, frame), self.given_flags(player, frame));
        self.means_what_was_used(player, frame, given)
    }

    fn means_what_was_used(
        &self,
        player: PlayerHandle,
        frame: Frame,
        (input, flags): (&[u8], InputFlags),
    ) -> bool {
        let (used, used_flags) = self.used(player, frame);
        flags == used_flags && (input == used || (self.equivalent)(input, used))
    }

    fn note_incorrect(&mut self, frame: Frame) {
        self.first_incorrect = Some(self.first_incorrect.map_or(frame, |first| first.min(frame)));
    }

    fn stream(&self, peer: PeerId) -> Option<&Stream> {
        self.streams.get(peer.index())
    }

    fn slot(&self, frame: Frame) -> usize {
        frame.index() as usize & (self.capacity - 1)
    }

    fn cell_of(&self, player: PlayerHandle, frame: Frame) -> usize {
        self.slot(frame) * self.players + player.index()
    }

    fn bytes_of(&self, player: PlayerHandle, frame: Frame) -> core::ops::Range<usize> {
        let start = self.cell_of(player, frame) * self.width;
        start..start + self.width
    }

    fn row_ranges(&self, frame: Frame) -> (core::ops::Range<usize>, core::ops::Range<usize>) {
        let start = self.slot(frame) * self.players;
        let end = start + self.players;
        (start * self.width..end * self.width, start..end)
    }
}

impl Stream {
    fn has(&self, frame: Frame, capacity: usize) -> bool {
        frame < self.end || (frame < self.newest && self.bit(frame, capacity))
    }

    /// The first frame that is neither held nor filled with idle.
    fn complete_end(&self) -> Frame {
        match self.closed {
            Some(closed) if self.end >= closed => Frame::MAX,
            _ => self.end,
        }
    }

    fn insert(&mut self, frame: Frame, capacity: usize) {
        self.newest = self.newest.max(frame.next());
        if frame != self.end {
            self.set_bit(frame, capacity, true);
            return;
        }
        self.end = self.end.next();
        while self.end < self.newest && self.bit(self.end, capacity) {
            self.set_bit(self.end, capacity, false);
            self.end = self.end.next();
        }
    }

    fn bit(&self, frame: Frame, capacity: usize) -> bool {
        let slot = frame.index() as usize & (capacity - 1);
        self.ahead.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    fn set_bit(&mut self, frame: Frame, capacity: usize, on: bool) {
        let slot = frame.index() as usize & (capacity - 1);
        if let Some(word) = self.ahead.get_mut(slot / 64) {
            *word = *word & !(1 << (slot % 64)) | u64::from(on) << (slot % 64);
        }
    }
}

/// What a [`Predictor`] may look at: the inputs that are held.
pub struct InputHistory<'a> {
    queue: &'a InputQueue,
}

impl InputHistory<'_> {
    /// The first frame whose inputs are kept.
    #[must_use]
    pub fn first(&self) -> Frame {
        self.queue.floor
    }

    /// The input that `player` gave for `frame`, when it is held.
    #[must_use]
    pub fn at(&self, player: PlayerHandle, frame: Frame) -> Option<&[u8]> {
        let host = *self.queue.hosts.get(player.index())?;
        let kept = frame >= self.queue.floor && self.queue.has(host, frame);
        kept.then(|| self.queue.given(player, frame))
    }

    /// The last input of `player` before `frame` that is held, and its frame.
    #[must_use]
    pub fn last_before(&self, player: PlayerHandle, frame: Frame) -> Option<(Frame, &[u8])> {
        let host = *self.queue.hosts.get(player.index())?;
        let stream = self.queue.stream(host)?;
        let mut last = stream.newest.min(frame);
        while last > self.queue.floor {
            last = last.minus(1);
            if stream.has(last, self.queue.capacity) {
                return Some((last, self.queue.given(player, last)));
            }
        }
        // The row before the floor stays in the ring.
        let before = last.minus(1);
        (last > Frame::ZERO).then(|| (before, self.queue.given(player, before)))
    }
}

impl fmt::Debug for InputHistory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputHistory").field("floor", &self.queue.floor).finish_non_exhaustive()
    }
}

/// Room for this many items is made at the start: more than members propose in a history who mean it.
const ITEMS_USUAL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RepeatLast;

    fn queue() -> InputQueue {
        let config = SessionConfig::builder().build().unwrap();
        InputQueue::new(&config, &Roster::one_player_each(2).unwrap())
    }

    fn peer(slot: u8) -> PeerId {
        PeerId::new(slot).unwrap()
    }

    fn give(queue: &mut InputQueue, slot: u8, frame: u32, input: u8) {
        let frame = Frame::new(frame);
        assert!(queue.accepts(peer(slot), frame));
        queue.write(PlayerHandle::new(slot).unwrap(), frame, &[input], InputFlags::NONE);
        queue.arrived(peer(slot), frame, &[]);
    }

    fn step(queue: &mut InputQueue, frame: u32) -> Vec<u8> {
        let frame = Frame::new(frame);
        let row = queue.gather(frame, &mut RepeatLast).inputs.to_vec();
        queue.set_simulated(frame.next());
        row
    }

    #[test]
    fn frames_out_of_order_are_taken_and_confirmed_when_the_gap_closes() {
        let mut queue = queue();
        for frame in 0..4 {
            give(&mut queue, 0, frame, 0);
        }
        give(&mut queue, 1, 2, 9);
        give(&mut queue, 1, 3, 9);
        assert_eq!(queue.confirmed_end(), Frame::ZERO);
        assert_eq!(queue.held_beyond_gap(peer(1)), 0b110);
        give(&mut queue, 1, 0, 9);
        give(&mut queue, 1, 1, 9);
        assert_eq!(queue.confirmed_end(), Frame::new(4));
        assert!(!queue.accepts(peer(1), Frame::new(2)));
    }

    #[test]
    fn a_late_input_that_matches_its_guess_is_not_incorrect() {
        let mut queue = queue();
        give(&mut queue, 0, 0, 1);
        give(&mut queue, 1, 0, 5);
        assert_eq!(step(&mut queue, 0), [1, 5]);
        give(&mut queue, 0, 1, 2);
        assert_eq!(step(&mut queue, 1), [2, 5]);
        give(&mut queue, 1, 1, 5);
        assert_eq!(queue.first_incorrect(), None);
    }

    #[test]
    fn the_earliest_wrong_guess_is_remembered() {
        let mut queue = queue();
        for frame in 0..3 {
            give(&mut queue, 0, frame, 1);
            step(&mut queue, frame);
        }
        give(&mut queue, 1, 2, 7);
        give(&mut queue, 1, 0, 0);
        assert_eq!(queue.first_incorrect(), Some(Frame::new(2)));
        give(&mut queue, 1, 1, 3);
        assert_eq!(queue.first_incorrect(), Some(Frame::new(1)));
    }

    #[test]
    fn a_closed_stream_is_filled_with_idle_and_confirmed() {
        let mut queue = queue();
        for frame in 0..3 {
            give(&mut queue, 0, frame, 1);
        }
        give(&mut queue, 1, 0, 4);
        for frame in 0..3 {
            step(&mut queue, frame);
        }
        queue.close(peer(1), Frame::new(1));
        assert_eq!(queue.first_incorrect(), Some(Frame::new(1)));
        assert_eq!(queue.confirmed_end(), Frame::new(3));
        let row = queue.confirmed_row(Frame::new(1));
        assert_eq!((row.inputs, row.flags), ([1, 0].as_slice(), [0, 2].as_slice()));
        assert!(!queue.accepts(peer(1), Frame::new(1)));
    }

    #[test]
    fn closing_a_closed_stream_again_makes_no_frame_incorrect() {
        let mut queue = queue();
        queue.close(peer(1), Frame::ZERO);
        for frame in 0..40 {
            give(&mut queue, 0, frame, 1);
            step(&mut queue, frame);
        }
        queue.close(peer(1), Frame::new(1));
        assert_eq!(queue.first_incorrect(), None);
        assert_eq!(queue.closed(peer(1)), Some(Frame::ZERO));
    }

    #[test]
    fn the_ring_takes_no_frame_that_would_overwrite_one_in_use() {
        let mut queue = queue();
        let capacity = queue.capacity();
        assert!(queue.accepts(peer(1), Frame::new(capacity - 2)));
        assert!(!queue.accepts(peer(1), Frame::new(capacity - 1)));
        queue.set_floor(Frame::new(1));
        assert!(queue.accepts(peer(1), Frame::new(capacity - 1)));
    }
}
