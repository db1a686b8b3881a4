//! The inputs of all players for the frames still in play: those given, and where one is missing, what was used in its place.
//! Does not know the network.

mod guess;
mod hints;
mod players;
mod rejoin;
mod rows;
mod runs;
mod stream;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use self::guess::NOT_ALIKE;
pub use self::guess::{GuessCounters, InputHistory};
use self::rows::Rows;
pub(crate) use self::rows::copy;
use self::stream::Stream;
use crate::game::StepRow;
use crate::item::{Item, ItemAt};
use crate::pauses::Pauses;
use crate::prediction::Hints;
use crate::{
    Actor, Frame, InputFlags, InputStatus, PEERS_MAX, PeerId, PeerSet, PlayerHandle, Roster,
    SessionConfig,
};

/// A ring of inputs, one row a frame. A peer's frame holds the inputs of all its players and arrives whole.
pub(crate) struct InputQueue {
    width: usize,
    players: usize,
    capacity: u32,
    /// What was given; and where a frame was stepped without, what it was last stepped with.
    rows: Rows,
    /// How the inputs of the row that was asked for last are known, and whose are guessed and idle in it.
    statuses: Box<[InputStatus]>,
    predicted: PeerSet,
    idle_filled: PeerSet,
    guess: Vec<u8>,
    /// Whether an input given means the same as one used; asked only where their bytes differ.
    equivalent: fn(&[u8], &[u8]) -> bool,
    /// What players said that they will do; nothing until one does.
    hints: Option<Box<Hints>>,
    guesses: GuessCounters,
    /// Every frame that was stepped with a guess is before this one.
    guessed: Frame,
    /// Frames, from one up to another, of each of which the inputs of the same peers are missing; and theirs. It holds until an input
    /// comes or a stream ends.
    missing_alike: (Frame, Frame, PeerSet),
    streams: Box<[Stream]>,
    hosts: Box<[PeerId]>,
    /// The input delay of each player, and the frame from which it is in force.
    delays: Box<[(Frame, u32)]>,
    /// Who drives each player, and the frame from which it does.
    actors: Box<[(Frame, Actor)]>,
    items: Vec<(PeerId, ItemAt)>,
    pauses: Pauses,
    floor: Frame,
    /// For how many frames beyond the floor every member has room, as its own may be behind.
    room: u32,
    simulated: Frame,
    /// Every frame that was ever stepped is before this one, also while a rollback is interrupted.
    stepped: Frame,
    first_incorrect: Option<Frame>,
    /// One past the last frame that was stepped with an input that turned out wrong, since all were stepped rightly.
    wrong_end: Frame,
    /// How many inputs that were written since the last frame arrived are not what was used in their place.
    wrong_inputs: u64,
    /// The first frame of which some player's input is neither held nor filled in.
    confirmed_end: Frame,
    /// The first frame in which idle is filled in for somebody.
    first_closed: Frame,
    /// No local frame is filed beyond this one while a peer's return is being agreed.
    limit: Frame,
}

impl InputQueue {
    pub(crate) fn new(config: &SessionConfig, roster: &Roster) -> Self {
        let (width, players) = (config.input_width(), config.players());
        let capacity = config.history_frames();
        let frames = u32::try_from(capacity).unwrap_or(u32::MAX);
        let stream = |peer| Stream::new(roster.players_of(peer).collect(), frames);
        let mut queue = Self {
            width,
            players,
            capacity: frames,
            rows: Rows::new(capacity, players, config.idle_input()),
            statuses: vec![InputStatus::Given; players].into(),
            predicted: PeerSet::EMPTY,
            idle_filled: PeerSet::EMPTY,
            guess: vec![0; width],
            equivalent: |_, _| false,
            hints: None,
            guesses: GuessCounters::default(),
            guessed: Frame::ZERO,
            missing_alike: NOT_ALIKE,
            streams: roster.peers().iter().map(stream).collect(),
            hosts: PlayerHandle::all(players).filter_map(|player| roster.host(player)).collect(),
            delays: PlayerHandle::all(players)
                .map(|player| (Frame::ZERO, config.input_delay_frames(player)))
                .collect(),
            actors: vec![(Frame::ZERO, Actor::Person); players].into(),
            items: Vec::new(),
            pauses: Pauses::default(),
            floor: Frame::ZERO,
            room: u32::try_from(capacity - 2 - config.reports_pending_frames()).unwrap_or(u32::MAX),
            simulated: Frame::ZERO,
            stepped: Frame::ZERO,
            first_incorrect: None,
            wrong_end: Frame::ZERO,
            wrong_inputs: 0,
            confirmed_end: Frame::ZERO,
            first_closed: Frame::MAX,
            limit: Frame::MAX,
        };
        roster.peers().iter().for_each(|peer| queue.find_least_delay(peer));
        queue
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
        self.capacity
    }

    /// The players of a peer, in order.
    pub(crate) fn players_of(&self, peer: PeerId) -> &[PlayerHandle] {
        self.streams.get(peer.index()).map_or(&[], |stream| &stream.players)
    }

    /// The first frame of `peer` that is not held.
    pub(crate) fn end(&self, peer: PeerId) -> Frame {
        self.stream(peer).map_or(Frame::ZERO, |stream| stream.end)
    }

    /// The same of every peer.
    pub(crate) fn ends(&self) -> [Frame; PEERS_MAX] {
        let mut ends = [Frame::ZERO; PEERS_MAX];
        for (end, stream) in ends.iter_mut().zip(&self.streams) {
            *end = stream.end;
        }
        ends
    }

    /// From which frame on idle is filled in for `peer`.
    pub(crate) fn closed(&self, peer: PeerId) -> Option<Frame> {
        self.stream(peer).and_then(|stream| stream.closed)
    }

    /// Whether the peer's frame is held.
    pub(crate) fn has(&self, peer: PeerId, frame: Frame) -> bool {
        self.stream(peer).is_some_and(|stream| stream.has(frame))
    }

    /// The frames after the first gap that are held: bit `n` for frame `end + 1 + n`.
    pub(crate) fn held_beyond_gap(&self, peer: PeerId) -> u32 {
        self.stream(peer).map_or(0, Stream::held_beyond_gap)
    }

    /// The first frame of which some player's input is not held.
    pub(crate) fn confirmed_end(&self) -> Frame {
        self.confirmed_end
    }

    /// The earliest frame that was stepped with an input that turned out wrong.
    pub(crate) fn first_incorrect(&self) -> Option<Frame> {
        self.first_incorrect
    }

    /// Whether the frame was ever stepped.
    pub(crate) fn is_stepped(&self, frame: Frame) -> bool {
        frame < self.stepped
    }

    /// Says that every frame before `end` was last stepped with its [`row`](Self::row).
    pub(crate) fn set_simulated(&mut self, end: Frame) {
        self.simulated = end;
        if end >= self.stepped {
            (self.stepped, self.wrong_end) = (end, Frame::ZERO);
        }
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
        if floor > self.floor {
            self.floor = floor;
            self.items.retain(|(_, at)| at.frame >= floor);
            // The row before the floor stays: changes of the frame at the floor are counted from it.
            self.rows.keep_from(floor.minus(1));
        }
    }

    /// The last frame for which every member has room. No input is filed here for a later one, so that what a member holds
    /// of one that departs can be held by all, although their floors stand still until the departure is agreed.
    pub(crate) fn last_room(&self) -> Frame {
        self.floor.plus(self.room)
    }

    /// The last frame for which inputs are filed here now.
    pub(crate) fn last_filed(&self) -> Frame {
        self.last_room().min(self.limit)
    }

    pub(crate) fn floor(&self) -> Frame {
        self.floor
    }

    /// Whether a frame of `peer` is new and there is room for it.
    pub(crate) fn accepts(&self, peer: PeerId, frame: Frame) -> bool {
        frame < self.floor.plus(self.capacity() - 1)
            && self.stream(peer).is_some_and(|stream| {
                stream.closed.is_none_or(|closed| frame < closed) && !stream.has(frame)
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
        if frame < self.stepped {
            self.note_written_late(player, frame, (input, flags));
        }
        self.rows.make(frame);
        let place = self.rows.place(frame);
        self.rows.set_cell(player, place, (input, flags));
    }

    /// Writes the same input and flags as in the frame `base`, or the idle input and none. No such frame was stepped.
    pub(crate) fn repeat(&mut self, player: PlayerHandle, base: Option<Frame>, frame: Frame) {
        debug_assert!(frame >= self.stepped, "local inputs are filed for frames to come");
        self.rows.make(frame);
        let place = self.rows.place(frame);
        let base = base.map_or(self.rows.idle(), |base| self.rows.place(base));
        self.rows.copy_cell(player, (base, place));
    }

    /// Takes the peer's frame as held, with its items, and compares it with what was used in its place.
    #[inline]
    pub(crate) fn arrived(&mut self, peer: PeerId, frame: Frame, items: &[Item]) {
        let Some(stream) = self.streams.get_mut(peer.index()) else { return };
        let was_least = stream.complete_end() == self.confirmed_end;
        stream.insert(frame);
        self.missing_alike = NOT_ALIKE;
        if was_least {
            self.note_confirmed();
        }
        if !items.is_empty() {
            self.take_items(peer, frame, items);
        }
        if frame < self.stepped {
            self.note_arrived_late(peer, frame, items);
        }
    }

    /// Takes that a frame which was stepped without the peer's inputs has them now.
    fn note_arrived_late(&mut self, peer: PeerId, frame: Frame, items: &[Item]) {
        let wrong = core::mem::take(&mut self.wrong_inputs);
        // A frame that passes without a step, as after the end, is guessed for nobody; nor is one that is filled in.
        if frame < self.guessed && frame < self.simulated && !items.contains(&Item::Leave) {
            self.guesses.guesses += self.players_of(peer).len() as u64;
            self.guesses.mispredictions += wrong;
        }
        if wrong > 0 && frame < self.simulated {
            self.note_incorrect(frame);
        }
    }

    #[inline(never)]
    fn take_items(&mut self, peer: PeerId, frame: Frame, items: &[Item]) {
        // Bounded by what the history holds: each peer's frame arrives once, with few items.
        self.items.extend(items.iter().map(|item| (peer, ItemAt { frame, item: *item })));
        for item in items {
            self.pauses.note(peer, frame, *item);
            match *item {
                Item::Leave => self.close(peer, frame),
                _ => self.note_of_player(peer, frame, *item),
            }
        }
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
        self.missing_alike = NOT_ALIKE;
        self.pauses.note_closed(peer, frame);
        self.first_closed = self.first_closed.min(frame);
        self.note_confirmed();
        for frame in frame.until(self.stepped) {
            self.fill_idle(peer, frame);
            let wrong = core::mem::take(&mut self.wrong_inputs);
            if wrong > 0 && frame < self.simulated {
                self.note_incorrect(frame);
            }
        }
    }

    /// Whose pauses are in force.
    pub(crate) fn pauses(&self) -> &Pauses {
        &self.pauses
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
        self.rows.input(player, self.rows.place(frame))
    }

    /// The flags that `player` gave for `frame`.
    pub(crate) fn given_flags(&self, player: PlayerHandle, frame: Frame) -> InputFlags {
        self.rows.flags(player, self.rows.place(frame))
    }

    /// The inputs and flags of all players for a frame, and how they are known: given, or [guessed](Self::guess_missing).
    #[inline]
    pub(crate) fn row(&mut self, frame: Frame) -> StepRow<'_> {
        let idle = self.fill_idle_in(frame);
        let missing = self.missing(frame);
        self.set_statuses(missing, idle);
        let (inputs, flags) = self.rows.row(self.rows.place(frame));
        StepRow { inputs, flags, statuses: &self.statuses }
    }

    /// The inputs and flags of all players for a confirmed frame.
    pub(crate) fn confirmed_inputs(&mut self, frame: Frame) -> (&[u8], &[u8]) {
        self.fill_idle_in(frame);
        self.rows.row(self.rows.place(frame))
    }

    /// Appends the same of all confirmed frames from `first` up to `end`: of each the inputs of all players, and then their flags.
    pub(crate) fn put_confirmed(&mut self, (first, end): (Frame, Frame), bytes: &mut Vec<u8>) {
        for frame in first.max(self.first_closed).until(end) {
            self.fill_idle_in(frame);
        }
        self.rows.put((first, end), bytes);
    }

    /// Says whose inputs are guessed in the row that is asked for, and for whom idle is filled in. Mostly it is as in the last.
    #[inline]
    fn set_statuses(&mut self, predicted: PeerSet, idle: PeerSet) {
        if (self.predicted, self.idle_filled) != (predicted, idle) {
            self.change_statuses(predicted, idle);
        }
    }

    #[inline(never)]
    fn change_statuses(&mut self, predicted: PeerSet, idle: PeerSet) {
        (self.predicted, self.idle_filled) = (predicted, idle);
        for (status, host) in self.statuses.iter_mut().zip(&self.hosts) {
            *status = match (predicted.contains(*host), idle.contains(*host)) {
                (true, _) => InputStatus::Predicted,
                (_, true) => InputStatus::Idle,
                (false, false) => InputStatus::Given,
            };
        }
    }

    /// Fills idle in for every player whose peer has left by `frame`, and answers who they are.
    #[inline]
    fn fill_idle_in(&mut self, frame: Frame) -> PeerSet {
        if frame >= self.first_closed { self.fill_closed(frame) } else { PeerSet::EMPTY }
    }

    #[inline(never)]
    fn fill_closed(&mut self, frame: Frame) -> PeerSet {
        let mut idle = PeerSet::EMPTY;
        for peer in PeerId::all(self.streams.len()) {
            if self.stream(peer).is_some_and(|stream| stream.is_idle(frame)) {
                self.fill_idle(peer, frame);
                idle.insert(peer);
            }
        }
        idle
    }

    /// Whether an input and flags mean what is in their place: what a frame was stepped with, unless it is held.
    #[inline]
    fn means_what_is_there(
        &self,
        player: PlayerHandle,
        frame: Frame,
        cell: (&[u8], InputFlags),
    ) -> bool {
        self.rows.means(player, self.rows.place(frame), cell, self.equivalent)
    }

    #[inline(never)]
    fn note_written_late(&mut self, player: PlayerHandle, frame: Frame, cell: (&[u8], InputFlags)) {
        if !self.means_what_is_there(player, frame, cell) {
            self.note_wrong_inputs(frame, 1);
        }
    }

    fn note_wrong_inputs(&mut self, frame: Frame, inputs: u64) {
        self.wrong_inputs += inputs;
        self.wrong_end = self.wrong_end.max(frame.next());
    }

    /// Has a frame, and all after it, stepped again.
    pub(crate) fn note_incorrect(&mut self, frame: Frame) {
        self.first_incorrect = Some(self.first_incorrect.map_or(frame, |first| first.min(frame)));
    }

    fn stream(&self, peer: PeerId) -> Option<&Stream> {
        self.streams.get(peer.index())
    }

    fn note_confirmed(&mut self) {
        let ends = self.streams.iter().map(Stream::complete_end);
        self.confirmed_end = ends.min().unwrap_or(Frame::MAX);
    }
}
