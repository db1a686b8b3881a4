use rollback_signaling::RELAY_DATAGRAM_BYTES_MAX;

use super::*;
use crate::relay::queue::{DATAGRAM_AGE_MAX, bulk_bytes_max, datagrams_max};

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
    while let Next::Send(message) = hub.next(START, line) {
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
    assert_eq!(hub.next(START, second), Next::End(REPLACED));
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
    assert_eq!(hub.next(START, second), Next::End(REPLACED));
    assert_eq!(sent(&mut hub, first), [RelayMessage::Gone { slot: 1 }.to_bytes()]);
    hub.pass(START, first, &datagram(1, b"x")).unwrap();
    assert_eq!(hub.status().undelivered, 1);
    hub.end_all();
    assert_eq!(hub.next(START, first), Next::End(STOPPING));
    assert_eq!(hub.open(START, seat(1), 3), Err(STOPPING));
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
    assert_eq!(waiting.iter().filter(|sent| sent[0] == 1).count(), datagrams_max(0));
    assert_eq!(hub.status().datagrams_dropped, (passed - datagrams_max(0)) as u64);
}

#[test]
fn a_new_socket_brings_no_new_allowance_and_one_who_watches_has_less() {
    let mut hub = Hub::default();
    let most = RELAY_MESSAGES_PER_SECOND as usize;
    let passed_by = |hub: &mut Hub, slot| {
        let line = open(hub, slot);
        let message = datagram(1, b"x");
        let passed = (0..most / 2).take_while(|_| hub.pass(START, line, &message).is_ok());
        let passed = passed.count();
        hub.close(line);
        passed
    };
    let passed: [usize; 3] = std::array::from_fn(|_| passed_by(&mut hub, 0));
    assert_eq!(passed, [most / 2, most / 2, 0]);
    assert_eq!(hub.open(START, seat(0), 3), Err(TOO_MUCH));
    let watched: [usize; 2] = std::array::from_fn(|_| passed_by(&mut hub, WATCHER_SLOTS));
    assert_eq!(watched, [most / 2, 0]);
}

#[test]
fn a_flood_takes_nothing_from_what_others_send_and_nothing_old_is_sent() {
    let mut hub = Hub::default();
    let [flooder, victim, honest] = [0, 1, 2].map(|slot| open(&mut hub, slot));
    sent(&mut hub, victim);
    hub.pass(START, honest, &datagram(1, b"first")).unwrap();
    for _ in 0..1000 {
        hub.pass(START, flooder, &datagram(1, b"flood")).unwrap();
    }
    hub.pass(START, honest, &datagram(1, b"second")).unwrap();
    let waiting = sent(&mut hub, victim);
    let honest_ones: Vec<usize> = { waiting.iter().enumerate() }
        .filter(|(_, message)| message[1] == 2)
        .map(|(turn, _)| turn)
        .collect();
    assert!(matches!(honest_ones[..], [0 | 1, 2 | 3]), "{honest_ones:?}");
    hub.pass(START, honest, &datagram(1, b"late")).unwrap();
    let later = START + DATAGRAM_AGE_MAX + Duration::from_millis(1);
    assert_eq!(hub.next(later, victim), Next::Wait);
    assert_eq!(hub.status().datagrams_expired, 1);
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
    assert_eq!(passed, bulk_bytes_max(0) / frame.len());
    let got = sent(&mut hub, victim);
    assert_eq!(got.iter().filter(|message| message[0] == 2).count(), passed);
}
