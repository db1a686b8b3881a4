//! Who has a relay socket, who may send what to whom, and what waits for whom. Pure: it knows no
//! socket and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollback_signaling::{
    ErrorCode, RELAY_BYTES_PER_SECOND, RELAY_MESSAGES_PER_SECOND, RelayAllowance, RelayMessage,
    WATCHER_SLOTS,
};

use super::queue::{Queue, QueueFull};

/// The place of a member, or of one who watches, in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat {
    pub(crate) group: u64,
    pub(crate) slot: u8,
}

/// One relay socket of a seat; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineId {
    seat: Seat,
    serial: u64,
}

/// What the relay did since the start, and what there is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct RelayStatus {
    /// Members that have a relay socket now.
    pub sockets: usize,
    /// Datagrams passed on.
    pub datagrams: u64,
    /// Bulk frames passed on.
    pub bulk_frames: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Datagrams dropped, because their receiver reads too slowly.
    pub datagrams_dropped: u64,
    /// Datagrams dropped, because they waited for too long.
    pub datagrams_expired: u64,
    /// Datagrams and frames whose receiver had no relay socket, or another one than they were meant for.
    pub undelivered: u64,
    /// Sockets refused before they were a member's.
    pub refused: u64,
    /// Sockets ended because their member sent something that no honest one sends.
    pub violations: u64,
    /// Sockets ended because their member sent too much.
    pub floods: u64,
}

/// Why a socket is ended, as the member is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) explanation: &'static str,
}

/// What a socket's writer is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Send(Vec<u8>),
    /// Nothing waits.
    Wait,
    /// The socket is replaced, or its slot has ended.
    End(Refusal),
}

/// All relay sockets of a server.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    lines: BTreeMap<Seat, Line>,
    /// What each may send still. It outlives a socket, so that a new one brings nothing.
    allowances: BTreeMap<Seat, RelayAllowance>,
    /// Members that sent too much, and until when they stay out.
    barred: BTreeMap<Seat, Duration>,
    opened: u64,
    /// Lines for which something waits since the last call of [`take_woken`](Self::take_woken).
    woken: BTreeSet<Seat>,
    counters: RelayStatus,
    is_stopping: bool,
}

#[derive(Debug)]
struct Line {
    serial: u64,
    /// Members of the group; it cannot send to slots above.
    expected: u8,
    queue: Queue,
}

impl Hub {
    /// A seat of a group of `expected` members has a new socket, which replaces the one it had.
    ///
    /// # Errors
    /// [`Refusal`] while it stays out for having sent too much, or when the server stops.
    pub(crate) fn open(
        &mut self,
        now: Duration,
        seat: Seat,
        expected: u8,
    ) -> Result<LineId, Refusal> {
        if self.is_stopping {
            return Err(STOPPING);
        }
        self.barred.retain(|_, until| now < *until);
        if self.barred.contains_key(&seat) {
            return Err(TOO_MUCH);
        }
        self.opened += 1;
        let serial = self.opened;
        self.allowances.entry(seat).or_insert_with(|| allowance(now, seat.slot));
        self.woken.insert(seat);
        let mut queue = Queue::new(seat.slot);
        for (other, line) in others_of(&mut self.lines, seat) {
            let pairing = serial.max(line.serial);
            let here = |slot| RelayMessage::Here { slot, pairing };
            line.queue.set_presence(seat.slot, &here(seat.slot));
            queue.set_presence(other.slot, &here(other.slot));
            self.woken.insert(other);
        }
        self.lines.insert(seat, Line { serial, expected, queue });
        Ok(LineId { seat, serial })
    }

    /// A socket is closed.
    pub(crate) fn close(&mut self, line: LineId) {
        if self.lines.get(&line.seat).is_some_and(|known| known.serial == line.serial) {
            self.remove(line.seat);
        }
    }

    /// A slot has ended: its member left, or was away for too long.
    pub(crate) fn end(&mut self, seat: Seat) {
        self.allowances.remove(&seat);
        self.remove(seat);
    }

    fn remove(&mut self, seat: Seat) {
        if self.lines.remove(&seat).is_none() {
            return;
        }
        self.woken.insert(seat);
        for (other, line) in others_of(&mut self.lines, seat) {
            line.queue.set_presence(seat.slot, &RelayMessage::Gone { slot: seat.slot });
            self.woken.insert(other);
        }
    }

    /// The server stops.
    pub(crate) fn end_all(&mut self) {
        self.is_stopping = true;
        self.woken.extend(self.lines.keys());
        self.lines.clear();
    }

    /// A socket was refused before it was a member's.
    pub(crate) fn count_refused(&mut self) {
        self.counters.refused += 1;
    }

    /// A socket sent something that is no binary message.
    pub(crate) fn count_violation(&mut self) {
        self.counters.violations += 1;
    }

    /// Passes a message on.
    ///
    /// # Errors
    /// [`Refusal`], when the socket is to be ended.
    pub(crate) fn pass(
        &mut self,
        now: Duration,
        from: LineId,
        message: &[u8],
    ) -> Result<(), Refusal> {
        let seat = from.seat;
        let line = self.lines.get(&seat).filter(|line| line.serial == from.serial);
        let Some(&Line { serial, expected, .. }) = line else { return Err(self.why_ended()) };
        let allowance = self.allowances.entry(seat).or_insert_with(|| allowance(now, seat.slot));
        if !allowance.spend(now, message.len()) {
            return Err(self.bar(now, seat));
        }
        let Ok(message) = RelayMessage::parse(message) else {
            self.counters.violations += 1;
            return Err(MALFORMED);
        };
        let (RelayMessage::Datagram { slot, .. }
        | RelayMessage::Bulk { slot, .. }
        | RelayMessage::Hearing { slot, .. }) = message
        else {
            self.counters.violations += 1;
            return Err(MALFORMED);
        };
        // Members may write to those who watch, of whom some may have gone; these write to members only.
        let is_watcher = slot >= WATCHER_SLOTS && seat.slot < WATCHER_SLOTS;
        if slot == seat.slot || (slot >= expected && !is_watcher) {
            self.counters.violations += 1;
            return Err(NOBODY);
        }
        let to = Seat { group: seat.group, slot };
        let Some(receiver) = self.lines.get_mut(&to) else {
            self.counters.undelivered += 1;
            return Ok(());
        };
        match message {
            RelayMessage::Datagram { datagram, .. } => {
                self.counters.datagrams += 1;
                self.counters.bytes += datagram.len() as u64;
                let message = RelayMessage::Datagram { slot: seat.slot, datagram };
                let is_dropped = receiver.queue.push_datagram(now, seat.slot, message.to_bytes());
                self.counters.datagrams_dropped += u64::from(is_dropped);
            }
            RelayMessage::Bulk { pairing, .. } if pairing != serial.max(receiver.serial) => {
                self.counters.undelivered += 1;
                return Ok(());
            }
            RelayMessage::Bulk { pairing, frame, .. } => {
                self.counters.bulk_frames += 1;
                self.counters.bytes += frame.len() as u64;
                let message = RelayMessage::Bulk { slot: seat.slot, pairing, frame };
                if receiver.queue.push_bulk(seat.slot, message.to_bytes()) == Err(QueueFull) {
                    return Err(self.bar(now, seat));
                }
            }
            RelayMessage::Hearing { is_heard, .. } => {
                receiver.queue.set_hearing(seat.slot, is_heard);
            }
            _ => {}
        }
        self.woken.insert(to);
        Ok(())
    }

    /// What the writer of a socket does next.
    pub(crate) fn next(&mut self, now: Duration, line: LineId) -> Next {
        let known = self.lines.get_mut(&line.seat).filter(|known| known.serial == line.serial);
        let Some(known) = known else { return Next::End(self.why_ended()) };
        let message = known.queue.pop(now);
        self.counters.datagrams_expired += known.queue.take_expired();
        message.map_or(Next::Wait, Next::Send)
    }

    /// The seats for whose sockets something waits since the last call.
    pub(crate) fn take_woken(&mut self) -> BTreeSet<Seat> {
        std::mem::take(&mut self.woken)
    }

    pub(crate) fn status(&self) -> RelayStatus {
        RelayStatus { sockets: self.lines.len(), ..self.counters }
    }

    /// Why a socket is none of the relay's any more.
    const fn why_ended(&self) -> Refusal {
        if self.is_stopping { STOPPING } else { REPLACED }
    }

    fn bar(&mut self, now: Duration, seat: Seat) -> Refusal {
        self.counters.floods += 1;
        self.barred.insert(seat, now + BARRED_FOR);
        TOO_MUCH
    }
}

impl LineId {
    pub(crate) const fn seat(self) -> Seat {
        self.seat
    }
}

/// The sockets of a group other than that of one seat. Those who watch have nothing for each other.
fn others_of(
    lines: &mut BTreeMap<Seat, Line>,
    seat: Seat,
) -> impl Iterator<Item = (Seat, &mut Line)> {
    let first = Seat { group: seat.group, slot: 0 };
    let last = Seat { group: seat.group, slot: u8::MAX };
    let is_watching = |slot: u8| slot >= WATCHER_SLOTS;
    let others = lines.range_mut(first..=last).map(|(other, line)| (*other, line));
    others.filter(move |(other, _)| {
        other.slot != seat.slot && !(is_watching(other.slot) && is_watching(seat.slot))
    })
}

/// What one may send at first. Those who watch have little to say.
fn allowance(now: Duration, slot: u8) -> RelayAllowance {
    let part = if slot < WATCHER_SLOTS { 1 } else { WATCHER_PART };
    RelayAllowance::new(now, RELAY_MESSAGES_PER_SECOND / part, RELAY_BYTES_PER_SECOND / part)
}

const TOO_MUCH: Refusal = Refusal {
    code: ErrorCode::RateLimited,
    explanation: "this member sent more than a relay passes on",
};

const MALFORMED: Refusal =
    Refusal { code: ErrorCode::BadMessage, explanation: "expected a binary relay message" };

const NOBODY: Refusal = Refusal {
    code: ErrorCode::UnknownMember,
    explanation: "expected the slot of another member of the group",
};

const REPLACED: Refusal = Refusal {
    code: ErrorCode::Replaced,
    explanation: "another relay socket has this token, or its slot has ended",
};

const STOPPING: Refusal =
    Refusal { code: ErrorCode::ShuttingDown, explanation: "the server stops" };

/// What part of a member's allowance one who watches has.
const WATCHER_PART: u32 = 2;

/// How long a member that sent too much stays out.
const BARRED_FOR: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
