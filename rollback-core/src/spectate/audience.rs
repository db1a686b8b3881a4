//! Sends a stream to its spectators: to each from where it is, within a rate, over a path that loses datagrams.

use alloc::vec::Vec;
use core::time::Duration;

use super::marks::Marks;
use super::wire::{Ask, Held, Key, PIECE_BYTES, Piece, Told, WINDOW_PIECES};
use crate::recording::stream::BYTES_MAX;
use crate::session::End;
use crate::{SessionConfig, Timestamp};

/// A spectator, as the driver numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatcherId(pub u64);

/// How much a feed does for those who watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedLimits {
    /// The most spectators at once; further ones are not answered.
    pub spectators: usize,
    /// The most bytes of the stream a second to each, beyond what is played meanwhile. One who joins late catches up at this rate.
    pub bytes_per_second: u32,
}

impl FeedLimits {
    /// The most bytes of the stream a second of an episode: at any limit each can follow what is played, also where inputs are long.
    pub(crate) fn bytes_per_second_of(self, config: &SessionConfig) -> u32 {
        let row = config.players() * config.input_width() + ROW_BYTES;
        let played = row * usize::from(config.tick_rate_hz());
        self.bytes_per_second.saturating_add(u32::try_from(played).unwrap_or(u32::MAX))
    }
}

impl Default for FeedLimits {
    /// 64 spectators at 64 KiB a second each: an hour of play of two players comes in under a minute.
    fn default() -> Self {
        Self { spectators: 64, bytes_per_second: 64 << 10 }
    }
}

/// Those who watch one stream.
#[derive(Clone, Debug)]
pub(super) struct Audience {
    key: Key,
    limits: FeedLimits,
    /// With what is played.
    bytes_per_second: u32,
    watchers: Vec<Watcher>,
    /// Who asked what there is, and of how many entries they want the mark.
    asked: Vec<(WatcherId, u32)>,
    /// Whose turn it is.
    turn: usize,
    pub(super) refused: u64,
}

/// What there is to be watched.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    /// Whole entries.
    pub(super) stream: &'a [u8],
    /// One for each of them.
    pub(super) marks: &'a Marks,
    /// Nothing more comes, since it ended so for whoever shows it.
    pub(super) over: Option<End>,
}

#[derive(Clone, Debug)]
struct Watcher {
    id: WatcherId,
    held: Held,
    under_way: Vec<UnderWay>,
    heard_at: Timestamp,
    /// What it may be sent at once, in bytes.
    allowance: u64,
    allowed_at: Timestamp,
    round_trip: Duration,
}

/// A piece that was sent and is not known to have come.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    piece: u32,
    end: u32,
    sent_at: Timestamp,
    is_repeated: bool,
}

impl Audience {
    pub(super) fn new(key: Key, limits: FeedLimits) -> Self {
        let bytes_per_second = limits.bytes_per_second;
        let (watchers, asked) = (Vec::new(), Vec::new());
        Self { key, limits, bytes_per_second, watchers, asked, turn: 0, refused: 0 }
    }

    /// What is played, as soon as that is known.
    pub(super) fn follow(&mut self, config: &SessionConfig) {
        self.bytes_per_second = self.limits.bytes_per_second_of(config);
    }

    /// How many watch.
    pub(super) fn count(&self) -> usize {
        self.watchers.len()
    }

    /// How many lack something of a stream of `length` bytes.
    pub(super) fn lagging(&self, length: usize) -> usize {
        let lags = |watcher: &&Watcher| usize::try_from(watcher.held.end).is_ok_and(|e| e < length);
        self.watchers.iter().filter(lags).count()
    }

    /// Takes what a spectator says it holds of the stream, or asks. What is wrong is counted and dropped.
    pub(super) fn handle_datagram(&mut self, now: Timestamp, from: WatcherId, bytes: &[u8]) {
        if let Some(ask) = Ask::decode(self.key, bytes) {
            return self.handle_ask(from, ask);
        }
        let held = Held::decode(self.key, bytes);
        // It may hold more than there is here, of another host.
        let held = held.filter(|held| usize::try_from(held.end).is_ok_and(|end| end <= BYTES_MAX));
        let Some(held) = held else {
            self.refused += 1;
            return;
        };
        let has_room = self.watchers.len() < self.limits.spectators;
        match self.watchers.iter_mut().find(|watcher| watcher.id == from) {
            Some(watcher) => watcher.handle_held(now, held),
            None if has_room => {
                self.watchers.push(Watcher::new(from, held, now));
            }
            None => self.refused += 1,
        }
    }

    fn handle_ask(&mut self, from: WatcherId, ask: Ask) {
        if !ask.is_fed {
            self.watchers.retain(|watcher| watcher.id != from);
        }
        let has_room = self.asked.len() < self.limits.spectators.saturating_mul(ASKING_PER_WATCHER);
        match self.asked.iter_mut().find(|(id, _)| *id == from) {
            Some((_, at)) => *at = ask.at,
            None if has_room => self.asked.push((from, ask.at)),
            None => self.refused += 1,
        }
    }

    /// Writes the next datagram that is due, and answers who is to get it.
    pub(super) fn poll_datagram(
        &mut self,
        now: Timestamp,
        shown: Shown<'_>,
        bytes: &mut Vec<u8>,
    ) -> Option<WatcherId> {
        if let Some((id, asked)) = self.asked.pop() {
            let entries = shown.marks.count();
            let (at, length) = (asked.min(entries), shown.stream.len());
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            let mark = shown.marks.at(at).unwrap_or_default();
            Told { entries, length, at, mark, over: shown.over }.encode(self.key, bytes);
            return Some(id);
        }
        self.watchers.retain(|watcher| now.since(watcher.heard_at) < GONE_AFTER);
        for _ in 0..self.watchers.len() {
            self.turn = (self.turn + 1) % self.watchers.len();
            let watcher = self.watchers.get_mut(self.turn)?;
            if let Some(piece) = watcher.next_piece(now, shown.stream, self.bytes_per_second) {
                piece.encode(self.key, bytes);
                return Some(watcher.id);
            }
        }
        None
    }
}

impl Watcher {
    fn new(id: WatcherId, held: Held, now: Timestamp) -> Self {
        Self {
            id,
            held,
            under_way: Vec::new(),
            heard_at: now,
            allowance: 0,
            allowed_at: now,
            round_trip: ROUND_TRIP_AT_FIRST,
        }
    }

    fn handle_held(&mut self, now: Timestamp, held: Held) {
        self.heard_at = now;
        // One that begins anew counts from zero again.
        if held.number > self.held.number || held.number == 0 {
            self.held = held;
        }
        let (mut round_trip, held) = (self.round_trip, self.held);
        let window = held.end / PIECE_BYTES..(held.end / PIECE_BYTES).saturating_add(WINDOW_PIECES);
        self.under_way.retain(|sent| {
            let is_held = sent.end <= held.end || is_beyond(held, sent.piece);
            // Of one that was sent twice nobody knows which one came (Karn's rule, RFC 6298 §3).
            if is_held && !sent.is_repeated {
                round_trip = (round_trip * 7 + now.since(sent.sent_at)) / 8;
            }
            !is_held && window.contains(&sent.piece)
        });
        self.round_trip = round_trip;
    }

    fn next_piece<'a>(
        &mut self,
        now: Timestamp,
        stream: &'a [u8],
        bytes_per_second: u32,
    ) -> Option<Piece<'a>> {
        self.earn(now, bytes_per_second);
        let first = self.held.end / PIECE_BYTES;
        let length = u32::try_from(stream.len()).unwrap_or(u32::MAX);
        for piece in first..first + WINDOW_PIECES {
            let start = (piece * PIECE_BYTES).max(self.held.end);
            let end = (piece + 1).saturating_mul(PIECE_BYTES).min(length);
            if start >= end {
                return None;
            }
            if is_beyond(self.held, piece) || !self.is_due(now, piece, end) {
                continue;
            }
            let bytes = stream.get(start as usize..end as usize)?;
            let cost = bytes.len() as u64;
            if cost > self.allowance {
                return None;
            }
            self.allowance -= cost;
            self.note_sent(UnderWay { piece, end, sent_at: now, is_repeated: false });
            return Some(Piece { offset: start, bytes });
        }
        None
    }

    /// Whether a piece was not sent, has grown, or is overdue.
    fn is_due(&self, now: Timestamp, piece: u32, end: u32) -> bool {
        let sent = self.under_way.iter().find(|sent| sent.piece == piece);
        sent.is_none_or(|sent| {
            sent.end < end || now.since(sent.sent_at) >= self.round_trip * 2 + SLACK
        })
    }

    fn note_sent(&mut self, sent: UnderWay) {
        match self.under_way.iter_mut().find(|known| known.piece == sent.piece) {
            Some(known) => *known = UnderWay { is_repeated: true, ..sent },
            None => self.under_way.push(sent),
        }
    }

    /// What was not used is kept for a quarter of a second, no longer, so that nobody is flooded after a silence.
    fn earn(&mut self, now: Timestamp, bytes_per_second: u32) {
        let rate = u64::from(bytes_per_second);
        let micros = u64::try_from(now.since(self.allowed_at).as_micros()).unwrap_or(u64::MAX);
        let earned = rate.saturating_mul(micros) / 1_000_000;
        if earned > 0 {
            let most = (rate / 4).max(2 * u64::from(PIECE_BYTES));
            self.allowance = (self.allowance + earned).min(most);
            self.allowed_at = now;
        }
    }
}

fn is_beyond(held: Held, piece: u32) -> bool {
    let after = piece.checked_sub(held.end / PIECE_BYTES + 1);
    after.is_some_and(|after| after < WINDOW_PIECES && held.beyond >> after & 1 == 1)
}

/// What a row of the stream takes beside the inputs: marks, flags, a hash now and then.
const ROW_BYTES: usize = 24;

/// Who says nothing for so long watches no more.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// Those who are fed elsewhere ask, too: so many for each that may be fed here are answered between two calls.
const ASKING_PER_WATCHER: usize = 4;

/// Taken until the first acknowledgement.
const ROUND_TRIP_AT_FIRST: Duration = Duration::from_millis(200);

/// How much longer than two round trips an answer may take: spectators answer every 20 ms.
const SLACK: Duration = Duration::from_millis(40);
