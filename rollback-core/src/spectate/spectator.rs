//! A spectator: collects the stream, and steps a game of its own along it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use thiserror::Error;

use super::audience::{Audience, FeedLimits, Shown, WatcherId};
use super::hosts::{Contradiction, Holding, HostId, Hosts};
use super::marks::Marks;
use super::wire::{Held, Key, PIECE_BYTES, Piece, Told, WINDOW_PIECES};
use crate::recording::stream::{self, BYTES_MAX, Entry};
use crate::recording::{BLOCK_FRAMES, PENDING_FRAMES_MAX, RecordingError, RecordingHeader};
use crate::replay::step_row;
use crate::session::{End, StableFrame};
use crate::{
    Agreed, Frame, Game, GameError, Input, InputStatus, Outcome, StateHash, StateHasher, Timestamp,
};

/// How a spectator follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpectatorOptions {
    /// How many frames it stays behind what has come, so that an uneven path does not show.
    pub delay_frames: u32,
    /// How many frames it steps at most in one call while it is further behind than that.
    pub catch_up_frames: u32,
    /// For how many others it passes the stream on, and how fast.
    pub relay: FeedLimits,
}

impl Default for SpectatorOptions {
    /// Six frames behind, and up to eight at a time to catch up.
    fn default() -> Self {
        Self { delay_frames: 6, catch_up_frames: 8, relay: FeedLimits::default() }
    }
}

/// Watches one episode.
#[derive(Debug)]
pub struct Spectator {
    key: Key,
    options: SpectatorOptions,
    hosts: Hosts,
    /// The stream as far as it has come without a gap.
    stream: Vec<u8>,
    /// Pieces beyond the gap, by number.
    ahead: BTreeMap<usize, Vec<u8>>,
    number: u32,
    asked_at: Option<Timestamp>,
    is_news: bool,
    header: Option<RecordingHeader>,
    /// Where the first entry is that was not looked at, how many frames came before, and the end if that was one.
    scanned: usize,
    marks: Marks,
    frames: Frame,
    end: Option<End>,
    /// Where the next frame to step begins.
    at: usize,
    next: Frame,
    has_ended: bool,
    is_start_checked: bool,
    /// Up to here the states were those that the members reported.
    checked: Frame,
    audience: Audience,
    refused: u64,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    statuses: Vec<InputStatus>,
    output: Vec<u8>,
}

/// What came of a call to advance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// Nothing new is to be shown yet.
    Waiting,
    /// So many frames were stepped.
    Stepped {
        /// How many.
        frames: u32,
    },
    /// All frames were stepped, and the episode has ended: for its members, or at least for all hosts that can be asked.
    Ended(End),
}

impl Spectator {
    /// One who watches an episode from its start, once it is given hosts.
    #[must_use]
    pub fn new(session: u64, episode: u32, options: SpectatorOptions) -> Self {
        let key = Key::new(session, episode);
        Self {
            key,
            options,
            hosts: Hosts::default(),
            stream: Vec::new(),
            ahead: BTreeMap::new(),
            number: 0,
            asked_at: None,
            is_news: false,
            header: None,
            scanned: 0,
            marks: Marks::default(),
            frames: Frame::ZERO,
            end: None,
            at: 0,
            next: Frame::ZERO,
            has_ended: false,
            is_start_checked: false,
            checked: Frame::ZERO,
            audience: Audience::new(key, options.relay),
            refused: 0,
            scratch: Scratch::default(),
        }
    }

    /// Takes a host to be fed by: a member's feed, or one who watches and passes on. The first one is asked first; when it
    /// falls silent, goes, or comes slower than another, another is asked, and nothing is lost or comes twice. Answers
    /// `false` for one that is known and for more than 16.
    pub fn add_host(&mut self, host: HostId) -> bool {
        self.hosts.add(host)
    }

    /// A host is gone.
    pub fn remove_host(&mut self, host: HostId) {
        self.hosts.remove(host);
    }

    /// By whom it is fed.
    #[must_use]
    pub fn fed_by(&self) -> Option<HostId> {
        self.hosts.fed_by()
    }

    /// How often another host was asked than before.
    #[must_use]
    pub fn host_changes(&self) -> u64 {
        self.hosts.changes
    }

    /// The hosts that said something else than what came before, in the order in which that was found.
    #[must_use]
    pub fn contradictions(&self) -> &[Contradiction] {
        &self.hosts.contradictions
    }

    /// What was agreed on before the first frame, with the seed to reset the game with; `None` until it has come.
    #[must_use]
    pub fn header(&self) -> Option<&RecordingHeader> {
        self.header.as_ref()
    }

    /// How many frames have come.
    #[must_use]
    pub fn frames(&self) -> Frame {
        self.frames
    }

    /// The next frame to step.
    #[must_use]
    pub fn current_frame(&self) -> Frame {
        self.next
    }

    /// The end that all members agree on, once it has come; one that only the hosts say is none.
    #[must_use]
    pub fn agreed_end(&self) -> Option<End> {
        self.end
    }

    /// How far the states here were those that the members reported.
    #[must_use]
    pub fn checked(&self) -> Agreed {
        Agreed::before(self.checked)
    }

    /// What no end is before: the members may yet find that they disagree on newer frames, and hold as many back.
    #[must_use]
    pub fn settled(&self) -> Agreed {
        let settled = self.next.index().saturating_sub(PENDING_FRAMES_MAX - 2 * BLOCK_FRAMES);
        Agreed::before(Frame::new(settled))
    }

    /// Takes a datagram of a host. What is wrong, or comes from nobody who is asked, is counted and dropped.
    pub fn handle_datagram(&mut self, now: Timestamp, from: HostId, bytes: &[u8]) {
        let piece = Piece::decode(self.key, bytes);
        let told = Told::decode(self.key, bytes);
        let is_known = (piece.is_some() || told.is_some()) && self.hosts.note_heard(now, from);
        match (piece, told) {
            (Some(piece), _) if is_known && self.hosts.is_feeding(from) => {
                self.handle_piece(from, piece);
            }
            // What a former host had under way is not needed any more.
            (Some(_), _) if is_known => {}
            (None, Some(told)) if is_known => {
                let holding = Holding { marks: &self.marks, length: length_of(&self.stream) };
                self.hosts.handle_told(from, told, holding);
            }
            _ => self.refused += 1,
        }
    }

    /// The entries that have come whole, and how many pieces are kept beyond them.
    #[cfg(feature = "testing")]
    pub(crate) fn seen(&self) -> (&[u8], usize) {
        (self.stream.get(..self.scanned).unwrap_or_default(), self.ahead.len())
    }

    /// Breaks the change of hosts.
    #[cfg(feature = "testing")]
    pub(crate) fn stay_with_first_host(&mut self) {
        self.hosts.stay_with_first();
    }

    fn handle_piece(&mut self, from: HostId, piece: Piece<'_>) {
        let (end, offset) = (self.stream.len(), piece.offset as usize);
        if self.end.is_some() || offset + piece.bytes.len() > BYTES_MAX {
            // Nothing follows an end, and no stream is longer.
            self.refused += 1;
        } else if offset <= end {
            let new = piece.bytes.get(end - offset..).unwrap_or_default();
            self.is_news |= !new.is_empty();
            self.stream.extend_from_slice(new);
            self.close_gap();
            if let Err(error) = self.scan() {
                self.hosts.note_broken(from, error);
            }
        } else if let Some(number) = self.number_beyond(offset) {
            let known = self.ahead.entry(number).or_default();
            if known.len() < piece.bytes.len() {
                known.clear();
                known.extend_from_slice(piece.bytes);
                self.is_news = true;
            }
        }
    }

    /// Writes the next datagram that is due and answers which host is to get it: to be called until it answers `None`,
    /// after every frame and every datagram.
    pub fn poll_datagram(&mut self, now: Timestamp, bytes: &mut Vec<u8>) -> Option<HostId> {
        let holding = Holding { marks: &self.marks, length: length_of(&self.stream) };
        if self.hosts.review(now, holding) {
            // The rest of an entry is taken from the same host as its beginning.
            self.stream.truncate(self.scanned);
            self.ahead.clear();
            self.asked_at = None;
        }
        if let Some((host, ask)) = self.hosts.next_ask(now, &self.marks) {
            ask.encode(self.key, bytes);
            return Some(host);
        }
        let host = self.hosts.fed_by().filter(|host| self.hosts.is_feeding(*host))?;
        let wait = if self.is_news { ANSWER_AFTER } else { ASK_AGAIN_AFTER };
        if self.asked_at.is_some_and(|at| now.since(at) < wait) {
            return None;
        }
        let first = self.stream.len() / PIECE_LENGTH;
        let is_whole =
            |piece: usize| self.ahead.get(&piece).is_some_and(|b| b.len() == PIECE_LENGTH);
        let beyond = (0..WINDOW_PIECES as usize)
            .filter(|bit| is_whole(first + 1 + bit))
            .fold(0, |mask, bit| mask | 1 << bit);
        Held { number: self.number, end: length_of(&self.stream), beyond }.encode(self.key, bytes);
        self.number = self.number.saturating_add(1);
        (self.asked_at, self.is_news) = (Some(now), false);
        Some(host)
    }

    /// Takes a datagram of one who watches through this one.
    pub fn handle_watcher(&mut self, now: Timestamp, from: WatcherId, bytes: &[u8]) {
        self.audience.handle_datagram(now, from, bytes);
    }

    /// Writes the next datagram that is due to one who watches through this one.
    pub fn poll_watcher(&mut self, now: Timestamp, bytes: &mut Vec<u8>) -> Option<WatcherId> {
        let stream = self.stream.get(..self.scanned).unwrap_or_default();
        let over = self.end.is_none().then(|| self.hosts.over(&self.marks)).flatten();
        self.audience.poll_datagram(now, Shown { stream, marks: &self.marks, over }, bytes)
    }

    /// How many of those who watch through this one lack something that has come.
    #[must_use]
    pub fn lagging_watchers(&self) -> usize {
        self.audience.lagging(self.scanned)
    }

    /// How many datagrams were dropped: damaged, or of another episode.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused + self.audience.refused
    }

    /// Steps what is to be shown next: a frame, some to catch up, or none. The game must have been reset with the
    /// header's seed before the first frame.
    ///
    /// # Errors
    /// When the game fails, when its state is not the one that the members agreed on, or when what every host that can be
    /// asked sent is no episode.
    pub fn advance<G: Game>(&mut self, game: &mut G) -> Result<Watched, SpectateError<G::Error>> {
        self.advance_with(game, |_| {})
    }

    /// The same, and hands each frame that was stepped to `shown`, with the output that the game gave for it here: for those
    /// who record what they watch.
    ///
    /// # Errors
    /// As those of [`advance`](Self::advance).
    pub fn advance_with<G: Game>(
        &mut self,
        game: &mut G,
        mut shown: impl FnMut(&StableFrame<'_>),
    ) -> Result<Watched, SpectateError<G::Error>> {
        if let Some(error) = self.hosts.broken() {
            return Err(SpectateError::Stream(error));
        }
        let Some(header) = &self.header else { return Ok(Watched::Waiting) };
        let (expected, got) = (header.config.input_width(), G::Input::WIDTH);
        // An input of width 0 takes the width of the configuration.
        if got != 0 && expected != got {
            return Err(SpectateError::InputWidth { expected, got });
        }
        if !self.is_start_checked {
            check_state(game, Frame::ZERO, header.start_hash)?;
            self.is_start_checked = true;
        }
        let end = self.end.or_else(|| self.hosts.over(&self.marks));
        let steps = self.steps_due(end);
        for _ in 0..steps {
            self.step(game, &mut shown)?;
        }
        Ok(match end {
            Some(end) if self.next >= end.frame => Watched::Ended(end),
            _ if steps > 0 => Watched::Stepped { frames: steps },
            _ => Watched::Waiting,
        })
    }

    fn steps_due(&self, end: Option<End>) -> u32 {
        let last = end.map_or(self.frames, |end| end.frame.min(self.frames));
        let behind = last.since(self.next);
        let delay = if end.is_some() { 0 } else { self.options.delay_frames };
        match behind.saturating_sub(delay) {
            late @ 0..=CATCH_UP_FROM => late.min(1),
            late => late.min(self.options.catch_up_frames.max(1)),
        }
    }

    fn step<G: Game>(
        &mut self,
        game: &mut G,
        shown: &mut impl FnMut(&StableFrame<'_>),
    ) -> Result<(), SpectateError<G::Error>> {
        let (Some(header), Some((Entry::Row(body) | Entry::WholeRow(body), next))) =
            (&self.header, stream::entry_at(&self.stream, self.at)?)
        else {
            return Ok(());
        };
        let (frame, has_ended) = (self.next, self.has_ended);
        let (scratch, checked) = (&mut self.scratch, &mut self.checked);
        let stepped = stream::with_row(header, frame, body, |row| {
            if let Some((state, expected)) = row.keyframe.zip(row.state_hash) {
                take_over(game, frame, state, expected)?;
            } else if let Some(expected) = row.state_hash {
                check_state(game, frame, expected)?;
            }
            if row.state_hash.is_some() {
                *checked = frame;
            }
            if has_ended && row.keyframe.is_none() {
                return Ok(true);
            }
            scratch.output.clear();
            let outcome = step_row(game, row, &mut scratch.statuses, &mut scratch.output);
            let outcome = outcome.map_err(|source| GameError::Step { frame, source })?;
            shown(&StableFrame { output: &scratch.output, ..*row });
            Ok::<_, SpectateError<G::Error>>(outcome == Outcome::Ended)
        })?;
        self.has_ended = stepped?;
        (self.at, self.next) = (next, frame.next());
        Ok(())
    }

    /// Looks at the entries that have come whole.
    fn scan(&mut self) -> Result<(), RecordingError> {
        while self.end.is_none()
            && let Some((entry, next)) = stream::entry_at(&self.stream, self.scanned)?
        {
            match entry {
                Entry::Header(body) => {
                    let header = stream::header(body)?;
                    self.audience.follow(&header.config);
                    self.header = Some(header);
                    self.at = next;
                }
                Entry::Row(_) | Entry::WholeRow(_) => self.frames = self.frames.next(),
                Entry::End(end) => self.end = Some(end),
            }
            self.marks.push(self.stream.get(self.scanned..next).unwrap_or_default());
            self.scanned = next;
        }
        Ok(())
    }

    /// The number of the piece that begins at `offset`, if it may be kept until what is before it has come.
    fn number_beyond(&self, offset: usize) -> Option<usize> {
        let number = offset.is_multiple_of(PIECE_LENGTH).then_some(offset / PIECE_LENGTH)?;
        let first = self.stream.len() / PIECE_LENGTH;
        (number > first && number <= first + WINDOW_PIECES as usize).then_some(number)
    }

    /// Appends what had come before its time.
    fn close_gap(&mut self) {
        while let Some(entry) = self.ahead.first_entry() {
            let (start, end) = (entry.key() * PIECE_LENGTH, self.stream.len());
            if start > end {
                return;
            }
            let piece = entry.remove();
            self.stream.extend_from_slice(piece.get(end - start..).unwrap_or_default());
        }
    }
}

/// Why an episode cannot be watched on.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SpectateError<E> {
    /// The simulation failed.
    #[error(transparent)]
    Game(#[from] GameError<E>),
    /// The simulation is not in the state that the members agreed on: another version, seed or machine.
    #[error("frame {frame}: expected the state {expected}, got {got}")]
    Diverged {
        /// The frame of the state.
        frame: Frame,
        /// The members' state.
        expected: StateHash,
        /// The state here.
        got: StateHash,
    },
    /// The game's inputs have another width than those that are played.
    #[error("expected a game with inputs of {expected} bytes, got {got}")]
    InputWidth {
        /// The width played.
        expected: usize,
        /// The width of the game's inputs.
        got: usize,
    },
    /// What was sent is no episode.
    #[error(transparent)]
    Stream(#[from] RecordingError),
}

/// A stream is never longer than 256 MiB.
fn length_of(stream: &[u8]) -> u32 {
    u32::try_from(stream.len()).unwrap_or(u32::MAX)
}

/// Goes on with the state that the members took over here after a desync, as they did also where it is the own one: what no
/// hash shows, like the order of a set, is then alike.
fn take_over<G: Game>(
    game: &mut G,
    frame: Frame,
    state: &[u8],
    expected: StateHash,
) -> Result<(), SpectateError<G::Error>> {
    let (mut slot, load) = (G::Snapshot::default(), |source| GameError::Load { frame, source });
    if game.import(state, &mut slot).map_err(load)? {
        game.load(&slot).map_err(load)?;
    }
    check_state(game, frame, expected)
}

fn check_state<G: Game>(
    game: &G,
    frame: Frame,
    expected: StateHash,
) -> Result<(), SpectateError<G::Error>> {
    let (mut slot, mut hasher) = (G::Snapshot::default(), StateHasher::new());
    game.save(&mut slot).map_err(|source| GameError::Save { frame, source })?;
    game.hash(&slot, &mut hasher).map_err(|source| GameError::Hash { frame, source })?;
    let got = hasher.finish();
    match got == expected {
        true => Ok(()),
        false => Err(SpectateError::Diverged { frame, expected, got }),
    }
}

const PIECE_LENGTH: usize = PIECE_BYTES as usize;

/// From so many frames behind its place on a spectator catches up, several frames in a call.
const CATCH_UP_FROM: u32 = 2;

/// When news has come, the feed hears of it after this at the latest.
const ANSWER_AFTER: Duration = Duration::from_millis(20);

/// Without news, the feed is asked again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
