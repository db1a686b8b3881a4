//! What the queues keep and what they drop.

use bytes::Bytes;

use super::send_rate::LIMIT_MIN;
use super::*;
use crate::route::Way;
use crate::telemetry::LinkReport;

fn peer(slot: u8) -> PeerId {
    PeerId::new(slot).unwrap()
}

fn mailbox() -> Mailbox {
    Mailbox::new(Clock::start(), 1)
}

fn message(datagram: &[u8]) -> Bytes {
    frame_datagram(datagram).freeze()
}

fn taken(mailbox: &Mailbox) -> Vec<(u8, u8)> {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    std::iter::from_fn(|| {
        let received = mailbox.try_receive(&mut buffer)?;
        Some((received.peer.slot(), buffer[0]))
    })
    .collect()
}

#[test]
fn datagrams_are_taken_in_the_order_of_their_arrival_whoever_sent_them() {
    let mailbox = mailbox();
    for (from, number) in [(2, 1), (0, 2), (2, 3), (1, 4)] {
        mailbox.deliver(peer(from), Way::WebRtc, message(&[number]));
        // So that no two have the same microsecond.
        let now = mailbox.now();
        while mailbox.now() == now {}
    }
    assert_eq!(taken(&mailbox), [(2, 1), (0, 2), (2, 3), (1, 4)]);
}

#[test]
fn the_newest_datagrams_are_kept_when_the_game_takes_none() {
    let mailbox = mailbox();
    for number in (0..=u8::MAX).chain(0..3) {
        mailbox.deliver(peer(0), Way::WebRtc, message(&[number]));
    }
    let taken = taken(&mailbox);
    assert_eq!(INCOMING_DATAGRAMS, 256);
    assert_eq!(taken.len(), INCOMING_DATAGRAMS);
    assert_eq!(taken[0], (0, 3));
    assert_eq!(mailbox.stats(peer(0)).datagrams_not_taken, 3);
}

#[test]
fn the_newest_datagrams_are_kept_when_they_cannot_be_sent() {
    let mailbox = mailbox();
    assert_eq!(mailbox.try_send(peer(1), b"x"), Ok(SendOutcome::NotConnected));
    mailbox.choose(peer(1), Some(Way::WebRtc));
    for _ in 0..OUTGOING_DATAGRAMS {
        assert_eq!(mailbox.try_send(peer(1), b"x"), Ok(SendOutcome::Queued));
    }
    assert_eq!(mailbox.try_send(peer(1), b"x"), Ok(SendOutcome::OldestDropped));
    assert_eq!(mailbox.stats(peer(1)).datagrams_not_sent, 1);
}

#[test]
fn a_datagram_above_the_limit_is_counted_and_dropped() {
    let mailbox = mailbox();
    mailbox.deliver(peer(0), Way::WebRtc, message(&[0; DATAGRAM_BYTES_MAX + 1]));
    assert_eq!(taken(&mailbox), []);
    assert_eq!(mailbox.stats(peer(0)).violations, 1);
    mailbox.deliver(peer(0), Way::WebRtc, message(&[0; DATAGRAM_BYTES_MAX]));
    assert_eq!(taken(&mailbox).len(), 1);
}

#[test]
fn an_event_ends_one_wait_even_if_nobody_takes_it() {
    let mailbox = mailbox();
    mailbox.report(TransportEvent::SignalingLost);
    assert!(mailbox.wait(Duration::ZERO));
    assert!(!mailbox.wait(Duration::ZERO));
    assert_eq!(mailbox.poll_event(), Some(TransportEvent::SignalingLost));
}

#[test]
fn old_events_go_first_and_are_counted() {
    let mailbox = mailbox();
    mailbox.report(TransportEvent::SignalingLost);
    for _ in 0..EVENTS {
        mailbox.report(TransportEvent::SignalingRegained);
    }
    assert_eq!(mailbox.poll_event(), Some(TransportEvent::SignalingRegained));
    assert_eq!(mailbox.events_dropped(), 1);
}

#[test]
fn a_closed_mailbox_does_not_wait() {
    let mailbox = mailbox();
    mailbox.close();
    assert!(!mailbox.wait(WAIT_MAX));
}

#[test]
fn waiting_ends_when_a_delayed_datagram_is_due() {
    let mailbox = mailbox();
    let conditions = LinkConditions { delay_ms: 20, ..Default::default() };
    mailbox.set_conditions(&conditions, peer(0));
    let sent = mailbox.now();
    mailbox.deliver(peer(1), Way::WebRtc, message(b"x"));
    assert!(mailbox.wait(WAIT_MAX));
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let received = mailbox.try_receive(&mut buffer).unwrap();
    assert!(received.arrived_at >= sent.plus(Duration::from_millis(20)));
}

/// What was measured by the first of two mailboxes under the same conditions, and by what it was, once it has measured eight
/// round trips.
fn measured_under(conditions: &LinkConditions) -> (LinkReport, PeerStats) {
    let clock = Clock::start();
    let sides = [0, 1].map(|local| {
        let side = Mailbox::new(clock, u64::from(local));
        side.set_conditions(conditions, peer(local));
        side
    });
    let others = [peer(1), peer(0)];
    (0..2).for_each(|local: usize| sides[local].choose(others[local], Some(Way::WebRtc)));
    while sides[0].link_report(peer(1)).round_trips < 8 {
        for (side, to) in sides.iter().zip(others) {
            side.try_send(to, b"input").unwrap();
            taken(side);
        }
        for (from, local) in [(0, 1), (1, 0)] {
            while let Some(message) = sides[from].poll_outgoing(others[from], 0) {
                sides[local].deliver(others[local], Way::WebRtc, message.freeze());
            }
        }
        sides[0].wait(Duration::from_millis(2));
    }
    (sides[0].link_report(peer(1)), sides[0].stats(peer(1)))
}

#[test]
fn what_is_measured_of_a_way_is_what_the_link_conditions_make_of_it() {
    let delay = LinkConditions { delay_ms: 20, ..Default::default() };
    let (report, _) = measured_under(&delay);
    assert!(report.round_trip.unwrap() >= Duration::from_millis(40), "{report:?}");
    assert!(report.checked_round_trip.unwrap() >= Duration::from_millis(40), "{report:?}");

    let (report, stats) =
        measured_under(&LinkConditions { jitter_ms: 30, loss_percent: 20.0, ..delay });
    assert!(report.jitter > Duration::ZERO && report.overtaken > 0, "{report:?}");
    assert!(stats.direct.datagrams_overtaken > 0, "{stats:?}");
    // Those lost last are not missed yet, and some are still under way.
    let missing = report.loss_in_percent.unwrap();
    let lost = stats.datagrams_lost_by_conditions as f64 * 100.0;
    assert!(missing > 10.0 && lost / stats.datagrams_received as f64 > 10.0, "{report:?}");
}

#[test]
fn frames_of_an_earlier_bulk_channel_do_not_count() {
    let mailbox = mailbox();
    let first = mailbox.bulk_opened(peer(1)).unwrap();
    let second = mailbox.bulk_opened(peer(1)).unwrap();
    mailbox.deliver_bulk(peer(1), (Way::WebRtc, first), &Bytes::from_static(b"nonsense"));
    assert_eq!(mailbox.stats(peer(1)).violations, 0);
    mailbox.deliver_bulk(peer(1), (Way::WebRtc, second), &Bytes::from_static(b"nonsense"));
    assert_eq!(mailbox.stats(peer(1)).violations, 1);
}

#[tokio::test]
async fn waiting_tasks_are_woken_by_datagrams_and_when_their_time_is_over() {
    let mailbox = std::sync::Arc::new(mailbox());
    let _waking = mailbox.start_waking();
    let wait = Duration::from_millis(30);
    let began = mailbox.now();
    // The shorter wait begins later, and ends first.
    let (long, short) = tokio::join!(mailbox.wait_async(2 * wait), async {
        let came = mailbox.wait_async(wait).await;
        (came, mailbox.now().since(began))
    });
    assert_eq!((long, short.0), (false, false));
    assert!(short.1 >= wait && mailbox.now().since(began) >= 2 * wait);

    let (came, ()) = tokio::join!(mailbox.wait_async(WAIT_MAX), async {
        mailbox.deliver(peer(0), Way::WebRtc, message(b"x"));
    });
    assert!(came && mailbox.now().since(began) < WAIT_MAX);
    mailbox.close();
    taken(&mailbox);
    assert!(!mailbox.wait_async(WAIT_MAX).await);
}

/// Why a peer was shut out, after events about anything else.
fn shut_out(mailbox: &Mailbox) -> Option<ShutOut> {
    std::iter::from_fn(|| mailbox.poll_event()).find_map(|event| match event {
        TransportEvent::PeerShutOut { peer: from, why } if from == peer(1) => Some(why),
        _ => None,
    })
}

#[tokio::test]
async fn whoever_floods_is_shut_out_once_and_another_process_of_it_is_not() {
    let mailbox = mailbox();
    mailbox.set_datagrams_per_second(1000);
    for _ in 0..1000 {
        mailbox.deliver(peer(1), Way::WebRtc, message(b"x"));
    }
    assert_eq!(shut_out(&mailbox), None);
    // More than grows back meanwhile, on the slowest machine.
    while mailbox.shut_out_of(peer(1)).is_none() {
        mailbox.deliver(peer(1), Way::WebRtc, message(b"x"));
    }
    assert_eq!((shut_out(&mailbox), shut_out(&mailbox)), (Some(ShutOut::Flood), None));
    assert_eq!(mailbox.next_offender().await, peer(1));
    mailbox.deliver(peer(1), Way::Server, message(b"y"));
    mailbox.deliver(peer(0), Way::WebRtc, message(b"z"));
    assert_eq!(taken(&mailbox), [(0, b'z')], "the others are heard, and nothing of it");

    mailbox.renewed(peer(1));
    mailbox.deliver(peer(1), Way::WebRtc, message(b"n"));
    assert_eq!(taken(&mailbox), [(1, b'n')]);
}

#[tokio::test]
async fn who_was_shut_out_and_is_another_process_now_is_no_offender() {
    let mailbox = mailbox();
    mailbox.shut_out(peer(1), ShutOut::Forged);
    mailbox.renewed(peer(1));
    mailbox.shut_out(peer(2), ShutOut::Forged);
    assert_eq!(mailbox.next_offender().await, peer(2));
    mailbox.shut_out(peer(1), ShutOut::Flood);
    assert_eq!(mailbox.next_offender().await, peer(1));
}

#[test]
fn a_limit_below_what_honest_peers_send_is_none() {
    for limit in [0, 60] {
        let mailbox = mailbox();
        mailbox.set_datagrams_per_second(limit);
        for _ in 0..DATAGRAMS_PER_SECOND_MIN {
            mailbox.deliver(peer(1), Way::WebRtc, message(b"x"));
        }
        assert_eq!(shut_out(&mailbox), None);
        while mailbox.shut_out_of(peer(1)).is_none() {
            mailbox.deliver(peer(1), Way::WebRtc, message(b"x"));
        }
    }
}

#[test]
fn long_datagrams_are_a_flood_sooner() {
    let mailbox = mailbox();
    mailbox.set_datagrams_per_second(1000);
    let longest = message(&[0; DATAGRAM_BYTES_MAX]);
    let taken = (0..1000).take_while(|_| {
        mailbox.deliver(peer(1), Way::WebRtc, longest.clone());
        mailbox.shut_out_of(peer(1)).is_none()
    });
    assert!((499..900).contains(&taken.count()));
}

#[test]
fn what_no_honest_peer_sends_is_borne_for_a_while() {
    let too_long = message(&[0; DATAGRAM_BYTES_MAX + 1]);
    let nonsense = Bytes::from_static(&[0, 0xc0]);
    for bad in [too_long, nonsense] {
        let mailbox = mailbox();
        for _ in 0..16 {
            mailbox.deliver(peer(1), Way::WebRtc, bad.clone());
        }
        assert_eq!(shut_out(&mailbox), None);
        while mailbox.shut_out_of(peer(1)).is_none() {
            mailbox.deliver(peer(1), Way::WebRtc, bad.clone());
        }
        assert_eq!(shut_out(&mailbox), Some(ShutOut::Malformed));
    }
    let mailbox = mailbox();
    let channel = mailbox.bulk_opened(peer(1)).unwrap();
    while mailbox.shut_out_of(peer(1)).is_none() {
        mailbox.deliver_bulk(peer(1), (Way::WebRtc, channel), &Bytes::from_static(b"nonsense"));
    }
    assert_eq!(shut_out(&mailbox), Some(ShutOut::Malformed));
}

#[test]
fn bulk_frames_that_carry_nothing_are_a_flood() {
    let mailbox = mailbox();
    let channel = mailbox.bulk_opened(peer(1)).unwrap();
    let probe = Bytes::from_static(&[4, 0, 0, 0, 0, 0, 0, 0, 0]);
    for _ in 0..10_000 {
        mailbox.deliver_bulk(peer(1), (Way::WebRtc, channel), &probe);
    }
    assert_eq!(shut_out(&mailbox), None);
    while mailbox.shut_out_of(peer(1)).is_none() {
        mailbox.deliver_bulk(peer(1), (Way::WebRtc, channel), &probe);
    }
    assert_eq!(shut_out(&mailbox), Some(ShutOut::Flood));
}

#[tokio::test]
async fn a_task_that_sends_is_woken_for_its_own_peer_and_way_only() {
    let mailbox = std::sync::Arc::new(mailbox());
    let _waking = mailbox.start_waking();
    let ways = [Some(Way::WebRtc), Some(Way::Server), Some(Way::WebRtc)];
    for (to, way) in (0..3).zip(ways) {
        mailbox.choose(peer(to), way);
        // What shows the way goes first.
        while mailbox.poll_outgoing(peer(to), 0).is_some() {}
    }
    let woken = async {
        tokio::select! {
            biased;
            () = mailbox.wait_outgoing(peer(0)) => 0,
            () = mailbox.wait_outgoing(peer(1)) => 1,
            () = mailbox.wait_outgoing(peer(2)) => 2,
        }
    };
    let send = async {
        // The others wait by now.
        tokio::task::yield_now().await;
        mailbox.try_send(peer(1), b"over the server").unwrap();
        mailbox.try_send(peer(2), b"over WebRTC").unwrap();
    };
    assert_eq!(tokio::join!(woken, send).0, 2);
}

#[tokio::test]
async fn while_there_is_no_room_the_oldest_datagrams_go_and_the_newest_are_sent_then() {
    let mailbox = mailbox();
    mailbox.choose(peer(1), Some(Way::WebRtc));
    let full = LIMIT_MIN + 1;
    for number in 0..40 {
        mailbox.try_send(peer(1), &[number]).unwrap();
        mailbox.wait_outgoing(peer(1)).await;
        assert_eq!(mailbox.poll_outgoing(peer(1), full), None);
    }
    let sent = std::iter::from_fn(|| mailbox.poll_outgoing(peer(1), full - 1));
    let datagrams = sent.filter(|message| crate::telemetry::datagram_bytes(message).is_some());
    let numbers: Vec<u8> = datagrams.map(|message| message[2]).collect();
    assert_eq!(numbers, (8..40).collect::<Vec<_>>());

    mailbox.try_send(peer(1), b"old").unwrap();
    let given = mailbox.now();
    while mailbox.now().since(given) <= OUTGOING_AGE_MAX {}
    assert!(mailbox.link_report(peer(1)).queue_age >= OUTGOING_AGE_MAX);
    assert_eq!(mailbox.poll_outgoing(peer(1), 0), None);
    assert_eq!(mailbox.stats(peer(1)).datagrams_not_sent, 9);
}

#[test]
fn what_is_too_old_goes_when_the_next_datagram_is_given_whoever_else_is_late() {
    let mailbox = mailbox();
    mailbox.choose(peer(1), Some(Way::WebRtc));
    for _ in 0..3 {
        mailbox.try_send(peer(1), b"old").unwrap();
    }
    let given = mailbox.now();
    while mailbox.now().since(given) <= OUTGOING_AGE_MAX {}
    let before = mailbox.now();
    assert_eq!(mailbox.try_send(peer(1), b"new"), Ok(SendOutcome::Queued));
    assert_eq!(mailbox.stats(peer(1)).datagrams_not_sent, 3);
    let age = mailbox.link_report(peer(1)).queue_age;
    assert!(age <= mailbox.now().since(before), "{age:?}");
}

/// All bulk frames to a peer that may go now.
fn bulk_frames(mailbox: &Mailbox, to: u8) -> Vec<Bytes> {
    let frame = || mailbox.poll_bulk(&mut mailbox.lock(), peer(to), Way::WebRtc);
    std::iter::from_fn(frame).map(BytesMut::freeze).collect()
}

/// A mailbox with a bulk channel to peer 1 on which both sides have greeted.
fn greeted() -> Mailbox {
    let sides = [Mailbox::new(Clock::start(), 1), Mailbox::new(Clock::start(), 2)];
    let channels = [1, 0].map(|other| {
        let side = &sides[usize::from(1 - other)];
        side.choose(peer(other), Some(Way::WebRtc));
        side.bulk_opened(peer(other)).unwrap()
    });
    for (from, to) in [(0, 1), (1, 0)] {
        for frame in bulk_frames(&sides[from], u8::try_from(to).unwrap()) {
            let from = peer(u8::try_from(from).unwrap());
            sides[to].deliver_bulk(from, (Way::WebRtc, channels[to]), &frame);
        }
    }
    let [mailbox, _] = sides;
    mailbox
}

#[test]
fn bulk_messages_go_one_by_one_while_a_game_plays_and_at_once_where_none_does() {
    let mailbox = greeted();
    let push = || (0..20).for_each(|_| mailbox.try_send_bulk(peer(1), &[7; 2_000]).unwrap());
    push();
    assert_eq!(bulk_frames(&mailbox, 1).len(), 20);
    mailbox.try_send(peer(1), b"input").unwrap();
    push();
    assert_eq!(bulk_frames(&mailbox, 1).len(), 1);
    let due = mailbox.lock().bulk_due.unwrap();
    let wait = due.since(mailbox.now());
    assert!(wait > Duration::ZERO && wait < Duration::from_millis(100), "{wait:?}");
    // What is no message does not wait.
    mailbox.probe(peer(1), 5);
    assert_eq!(bulk_frames(&mailbox, 1).len(), 1);
    while mailbox.now() < due {}
    assert_eq!(bulk_frames(&mailbox, 1).len(), 1);
}
