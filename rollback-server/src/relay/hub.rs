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
    /// Members that sent too much, and until when they stay out.
    barred: BTreeMap<Seat, Duration>,
    opened: u64,
    /// Lines for which something waits since the last call of [`take_woken`](Self::take_woken).
    woken: BTreeSet<Seat>,
    counters: RelayStatus,
}

#[derive(Debug)]
struct Line {
    serial: u64,
    /// Members of the group; it cannot send to slots above.
    expected: u8,
    allowance: RelayAllowance,
    queue: Queue,
}

impl Hub {
    /// A seat of a group of `expected` members has a new socket, which replaces the one it had.
    ///
    /// # Errors
    /// [`Refusal`] while it stays out for having sent too much.
    pub(crate) fn open(
        &mut self,
        now: Duration,
        seat: Seat,
        expected: u8,
    ) -> Result<LineId, Refusal> {
        self.barred.retain(|_, until| now < *until);
        if self.barred.contains_key(&seat) {
            return Err(TOO_MUCH);
        }
        self.opened += 1;
        let serial = self.opened;
        let allowance = RelayAllowance::new(now, RELAY_MESSAGES_PER_SECOND, RELAY_BYTES_PER_SECOND);
        self.woken.insert(seat);
        let mut queue = Queue::default();
        queue.push_notice(&RelayMessage::Welcome { slot: seat.slot });
        for (other, line) in others_of(&mut self.lines, seat) {
            let pairing = serial.max(line.serial);
            line.queue.push_notice(&RelayMessage::Here { slot: seat.slot, pairing });
            queue.push_notice(&RelayMessage::Here { slot: other.slot, pairing });
            self.woken.insert(other);
        }
        self.lines.insert(seat, Line { serial, expected, allowance, queue });
        Ok(LineId { seat, serial })
    }

    /// A socket is closed.
    pub(crate) fn close(&mut self, line: LineId) {
        if self.lines.get(&line.seat).is_some_and(|known| known.serial == line.serial) {
            self.end(line.seat);
        }
    }

    /// A slot has ended: its member left, or was away for too long.
    pub(crate) fn end(&mut self, seat: Seat) {
        if self.lines.remove(&seat).is_none() {
            return;
        }
        self.woken.insert(seat);
        for (other, line) in others_of(&mut self.lines, seat) {
            line.queue.push_notice(&RelayMessage::Gone { slot: seat.slot });
            self.woken.insert(other);
        }
    }

    /// The server stops.
    pub(crate) fn end_all(&mut self) {
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
        let line = self.lines.get_mut(&seat).filter(|line| line.serial == from.serial);
        let Some(line) = line else { return Err(REPLACED) };
        let (serial, expected) = (line.serial, line.expected);
        if !line.allowance.spend(now, message.len()) {
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
                let is_dropped = receiver.queue.push_datagram(message.to_bytes());
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
                if receiver.queue.push_bulk(message.to_bytes()) == Err(QueueFull) {
                    return Err(self.bar(now, seat));
                }
            }
            RelayMessage::Hearing { is_heard, .. } => {
                let message = RelayMessage::Hearing { slot: seat.slot, is_heard };
                if receiver.queue.push_bulk(message.to_bytes()) == Err(QueueFull) {
                    return Err(self.bar(now, seat));
                }
            }
            _ => {}
        }
        self.woken.insert(to);
        Ok(())
    }

    /// What the writer of a socket does next.
    pub(crate) fn next(&mut self, line: LineId) -> Next {
        let known = self.lines.get_mut(&line.seat).filter(|known| known.serial == line.serial);
        match known {
            Some(known) => known.queue.pop().map_or(Next::Wait, Next::Send),
            None => Next::End(REPLACED),
        }
    }

    /// The seats for whose sockets something waits since the last call.
    pub(crate) fn take_woken(&mut self) -> BTreeSet<Seat> {
        std::mem::take(&mut self.woken)
    }

    pub(crate) fn status(&self) -> RelayStatus {
        RelayStatus { sockets: self.lines.len(), ..self.counters }
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

/// How long a member that sent too much stays out.
const BARRED_FOR: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use rollback_signaling::RELAY_DATAGRAM_BYTES_MAX;

    use super::super::queue::{BULK_BYTES_MAX, DATAGRAMS_MAX};
    use super::*;

    const START: Duration = Duration::ZERO;

    fn seat(slot: u8) -> Seat {
        Seat { group: 1, slot }
    }

    fn open(hub: &mut Hub, slot: u8) -> LineId {
        hub.open(START, seat(slot), 3).unwrap()
    }

    fn datagram(slot: u8, datagram: &[u8]) -> Vec<u8> {
        RelayMessage::Datagram { slot, datagram }.to_bytes()
    }

    fn bulk(slot: u8, pairing: u64, frame: &[u8]) -> Vec<u8> {
        RelayMessage::Bulk { slot, pairing, frame }.to_bytes()
    }

    /// Everything that waits for a socket.
    fn sent(hub: &mut Hub, line: LineId) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Next::Send(message) = hub.next(line) {
            sent.push(message);
        }
        sent
    }

    #[test]
    fn members_are_told_of_each_other_and_get_what_is_for_them_from_its_sender() {
        let mut hub = Hub::default();
        let first = open(&mut hub, 0);
        assert_eq!(sent(&mut hub, first), [RelayMessage::Welcome { slot: 0 }.to_bytes()]);
        let second = open(&mut hub, 1);
        let here = |slot| RelayMessage::Here { slot, pairing: 2 }.to_bytes();
        assert_eq!(hub.take_woken(), [seat(0), seat(1)].into());
        assert_eq!(sent(&mut hub, first), [here(1)]);
        assert_eq!(sent(&mut hub, second), [RelayMessage::Welcome { slot: 1 }.to_bytes(), here(0)]);

        hub.pass(START, first, &datagram(1, b"x")).unwrap();
        hub.pass(START, first, &bulk(1, 2, b"y")).unwrap();
        assert_eq!(hub.take_woken(), [seat(1)].into());
        assert_eq!(sent(&mut hub, second), [datagram(0, b"x"), bulk(0, 2, b"y")]);
        assert_eq!(sent(&mut hub, first), [] as [Vec<u8>; 0]);
        let RelayStatus { sockets, datagrams, bulk_frames, bytes, .. } = hub.status();
        assert_eq!((sockets, datagrams, bulk_frames, bytes), (2, 1, 1, 2));
    }

    #[test]
    fn nothing_passes_between_groups() {
        let mut hub = Hub::default();
        let mine = open(&mut hub, 0);
        let other = hub.open(START, Seat { group: 2, slot: 1 }, 3).unwrap();
        hub.pass(START, mine, &datagram(1, b"x")).unwrap();
        assert_eq!(hub.status().undelivered, 1);
        assert_eq!(sent(&mut hub, other), [RelayMessage::Welcome { slot: 1 }.to_bytes()]);
    }

    #[test]
    fn a_second_socket_of_a_member_replaces_the_first_and_gets_no_bulk_meant_for_it() {
        let mut hub = Hub::default();
        let (first, second) = (open(&mut hub, 0), open(&mut hub, 1));
        let again = open(&mut hub, 1);
        assert_eq!(hub.next(second), Next::End(REPLACED));
        assert_eq!(hub.pass(START, second, &datagram(0, b"x")), Err(REPLACED));
        hub.pass(START, first, &bulk(1, 2, b"old")).unwrap();
        hub.pass(START, first, &bulk(1, 3, b"new")).unwrap();
        hub.close(second);
        let here = RelayMessage::Here { slot: 0, pairing: 3 }.to_bytes();
        let welcome = RelayMessage::Welcome { slot: 1 }.to_bytes();
        assert_eq!(sent(&mut hub, again), [welcome, here, bulk(0, 3, b"new")]);
        assert_eq!(hub.status().undelivered, 1);
    }

    #[test]
    fn the_others_are_told_of_a_socket_that_ends_and_its_slot_gets_nothing() {
        let mut hub = Hub::default();
        let (first, second) = (open(&mut hub, 0), open(&mut hub, 1));
        sent(&mut hub, first);
        hub.end(seat(1));
        assert_eq!(hub.next(second), Next::End(REPLACED));
        assert_eq!(sent(&mut hub, first), [RelayMessage::Gone { slot: 1 }.to_bytes()]);
        hub.pass(START, first, &datagram(1, b"x")).unwrap();
        assert_eq!(hub.status().undelivered, 1);
        hub.end_all();
        assert_eq!(hub.next(first), Next::End(REPLACED));
    }

    #[test]
    fn what_no_honest_member_sends_ends_its_socket_and_is_counted() {
        let too_long = [&[1, 1], [0; RELAY_DATAGRAM_BYTES_MAX + 1].as_slice()].concat();
        let bad = [
            (vec![], MALFORMED),
            (vec![9, 1], MALFORMED),
            (too_long, MALFORMED),
            (RelayMessage::Here { slot: 1, pairing: 1 }.to_bytes(), MALFORMED),
            (RelayMessage::Welcome { slot: 1 }.to_bytes(), MALFORMED),
            (datagram(0, b"to itself"), NOBODY),
            (datagram(3, b"past the group"), NOBODY),
            (vec![1, 16], MALFORMED),
        ];
        let mut hub = Hub::default();
        for (count, (message, refusal)) in (1..).zip(bad) {
            let line = open(&mut hub, 0);
            assert_eq!(hub.pass(START, line, &message), Err(refusal), "{message:?}");
            assert_eq!(hub.status().violations, count);
            hub.close(line);
        }
        let watcher = open(&mut hub, WATCHER_SLOTS);
        let to_another = hub.pass(START, watcher, &datagram(WATCHER_SLOTS + 1, b"x"));
        assert_eq!(to_another, Err(NOBODY), "those who watch have nothing for each other");
        assert_eq!(hub.pass(START, watcher, &datagram(2, b"x")), Ok(()));
    }

    #[test]
    fn a_flood_is_cut_off_and_stays_out_for_a_while() {
        let mut hub = Hub::default();
        let (flooder, victim) = (open(&mut hub, 0), open(&mut hub, 1));
        let message = datagram(1, b"x");
        let passed = (0..).take_while(|_| hub.pass(START, flooder, &message).is_ok()).count();
        assert_eq!(passed, RELAY_MESSAGES_PER_SECOND as usize);
        assert_eq!(hub.status().floods, 1);
        hub.close(flooder);
        assert_eq!(hub.open(START, seat(0), 3), Err(TOO_MUCH));
        assert!(hub.open(BARRED_FOR, seat(0), 3).is_ok());
        // Of all that, the receiver gets the newest.
        let waiting = sent(&mut hub, victim);
        assert_eq!(waiting.iter().filter(|sent| sent[0] == 1).count(), DATAGRAMS_MAX);
        assert_eq!(hub.status().datagrams_dropped, (passed - DATAGRAMS_MAX) as u64);
    }

    #[test]
    fn a_member_that_sends_bulk_without_end_is_cut_off_before_anything_is_dropped() {
        let mut hub = Hub::default();
        let (flooder, victim) = (open(&mut hub, 0), open(&mut hub, 1));
        let frame = bulk(1, 2, &[0; 16 * 1024]);
        let mut now = START;
        let mut passed = 0;
        let refusal = loop {
            now += Duration::from_secs(1);
            match hub.pass(now, flooder, &frame) {
                Ok(()) => passed += 1,
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(refusal, TOO_MUCH);
        assert_eq!(passed, BULK_BYTES_MAX / frame.len());
        let got = sent(&mut hub, victim);
        assert_eq!(got.iter().filter(|message| message[0] == 2).count(), passed);
    }
}
