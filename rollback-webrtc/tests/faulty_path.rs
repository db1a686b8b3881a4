//! Real WebRTC connections over a bad network: each test fails without the rule it names.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where its expectation does"
)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::faulty_path::FaultyPath;
use common::{join_all, local, paced, peer, server, wait_connected, wait_event, wait_until};
use rollback_webrtc::{
    CertificateOwner, DATAGRAM_BYTES_MAX, Loss, Proof, Transport, TransportConfig, TransportEvent,
};

/// Two members over a bad network, not connected yet, who have nothing else.
fn join_two(path: &FaultyPath, room: &str) -> Vec<Transport> {
    let alone = || TransportConfig { server_relay: false, ..local() };
    join_all(&path.link(room), vec![alone(), alone()])
}

/// The ages at arrival of the datagrams that `to` got.
fn ages(started: Instant, transport: &Transport) -> Vec<Duration> {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let mut ages = Vec::new();
    while transport.try_receive(&mut buffer).is_some() {
        let sent = Duration::from_micros(u64::from_le_bytes(buffer[..8].try_into().unwrap()));
        ages.push(started.elapsed().saturating_sub(sent));
    }
    ages
}

/// Both members send 60 datagrams a second for a while; returns the ages at arrival at each.
fn play(
    transports: &[Transport],
    length: Duration,
    mut on_frame: impl FnMut(Duration),
) -> [Vec<Duration>; 2] {
    let mut seen = [Vec::new(), Vec::new()];
    paced(transports, length, |started, is_due| {
        if is_due {
            on_frame(started.elapsed());
            let now = u64::try_from(started.elapsed().as_micros()).unwrap().to_le_bytes();
            // Two seconds of these are more than SCTP sends without an acknowledgement.
            let mut datagram = [0; 200];
            datagram[..8].copy_from_slice(&now);
            for (transport, to) in [(&transports[0], peer(1)), (&transports[1], peer(0))] {
                transport.try_send(to, &datagram).unwrap();
            }
        }
        for (transport, seen) in transports.iter().zip(&mut seen) {
            seen.extend(ages(started, transport));
        }
    });
    seen
}

#[test]
fn r1_a_lost_packet_delays_no_other_in_either_direction() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "r1");
    wait_connected(&transports);
    path.faults.loss_percent.store(5, Ordering::Relaxed);
    path.faults.delay_ms.store(30, Ordering::Relaxed);
    let seen = play(&transports, Duration::from_secs(4), |_| {});
    for ages in seen {
        let late = ages.iter().filter(|age| **age > Duration::from_millis(150)).count();
        assert!(ages.len() > 180, "only {} of 240 arrived", ages.len());
        // A machine under load may be late now and then; a held-up channel is late for seconds.
        assert!(late * 50 < ages.len(), "{late} of {} came late", ages.len());
    }
}

#[test]
fn r3_opening_over_a_slow_link_needs_no_second_client_hello() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    path.faults.delay_ms.store(35, Ordering::Relaxed);
    path.faults.jitter_ms.store(10, Ordering::Relaxed);
    let open = |round: u8| {
        let transports = join_two(&path, &format!("r3{round}"));
        let started = Instant::now();
        wait_connected(&transports);
        started.elapsed()
    };
    let times: Vec<Duration> = (0..8).map(open).collect();
    let slow = times.iter().filter(|time| **time > Duration::from_millis(1000)).count();
    assert!(slow <= 1, "{times:?}");
}

#[test]
fn r4_a_stuck_handshake_is_replaced_before_the_stack_gives_it_up() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    path.faults.handshakes_to_spoil.store(1, Ordering::Relaxed);
    let transports = join_two(&path, "r4");
    let started = Instant::now();
    wait_connected(&transports);
    assert_eq!(path.faults.handshakes_to_spoil.load(Ordering::Relaxed), 0);
    assert_eq!(transports[0].stats(peer(1)).attempts, 2);
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}

#[test]
fn r5_nothing_old_arrives_after_an_outage() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "r5");
    wait_connected(&transports);
    let cut = Duration::from_millis(500)..Duration::from_millis(2500);
    let seen = play(&transports, Duration::from_secs(6), |now| {
        path.faults.is_cut.store(cut.contains(&now), Ordering::Relaxed);
    });
    for ages in seen {
        let oldest = ages.iter().max().unwrap();
        assert!(*oldest < Duration::from_millis(500), "{oldest:?}");
        assert!(ages.len() > 120, "datagrams flow again: {}", ages.len());
    }
}

#[test]
fn on_a_path_that_stands_still_little_waits_and_the_newest_goes_first() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "still");
    wait_connected(&transports);
    // Four full datagrams have room, or those of a fifth of a second, twice as many of which a late thread gives at once; two
    // seconds of them are 24 kB.
    let most = (4 * DATAGRAM_BYTES_MAX).max(60 * 202 * 2 / 5) + 202;
    let cut = Duration::from_millis(500)..Duration::from_millis(2500);
    // Before what was given last.
    let mut given = transports[0].now();
    let seen = play(&transports, Duration::from_secs(5), |now| {
        path.faults.is_cut.store(cut.contains(&now), Ordering::Relaxed);
        let report = transports[0].link_report(peer(1));
        assert!(report.outstanding_bytes_max <= most, "{report:?}");
        // Nothing older than 60 ms waits when a datagram is given, however late this thread or the other is.
        let oldest = Duration::from_millis(60) + transports[0].now().since(given);
        assert!(report.queue_age <= oldest, "{report:?}");
        given = transports[0].now();
    });
    assert!(transports[0].stats(peer(1)).datagrams_not_sent > 0, "nothing had to wait");
    for ages in seen {
        assert!(ages.len() > 120, "datagrams flow again: {}", ages.len());
    }
}

#[test]
fn what_is_lost_and_how_long_it_takes_is_measured_at_both_ends() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    // Before the connection, which is measured at once.
    path.faults.delay_ms.store(30, Ordering::Relaxed);
    let transports = join_two(&path, "measured");
    wait_connected(&transports);
    path.faults.loss_percent.store(10, Ordering::Relaxed);
    // With 600 datagrams each way a tenth is at least four standard deviations from what is asked below.
    play(&transports, Duration::from_secs(10), |_| {});
    for transport in &transports {
        let report = transport.link_report(common::others(transport)[0]);
        let round_trip = report.round_trip.unwrap();
        assert!(round_trip >= Duration::from_millis(60), "{report:?}");
        assert!(report.round_trip_p50.unwrap() >= round_trip, "{report:?}");
        assert!(report.round_trip_p99 >= report.round_trip_p95, "{report:?}");
        for loss in [report.loss_out_percent.unwrap(), report.loss_in_percent.unwrap()] {
            assert!((5.0..17.0).contains(&loss), "{report:?}");
        }
        assert!(report.arrived > 450, "{report:?}");
    }
}

#[test]
fn a_connection_that_losses_wear_out_is_replaced_and_nothing_waits_meanwhile() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    path.faults.delay_ms.store(150, Ordering::Relaxed);
    let transports = join_two(&path, "worn");
    wait_connected(&transports);
    path.faults.loss_percent.store(20, Ordering::Relaxed);
    let attempts = || transports[0].stats(peer(1)).attempts;
    let before = attempts();
    let is_replaced = || attempts() > before;
    let mut arrived_at = [None; 2];
    let mut longest_wait = Duration::ZERO;
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    let (mut given, mut taken) = (0_u32, 0_u32);
    paced(&transports, Duration::from_secs(14), |started, is_due| {
        // Five a frame, so that it is worn after seconds.
        for _ in 0..if is_due { 5 } else { 0 } {
            transports[0].try_send(peer(1), &[0; 20]).unwrap();
            transports[1].try_send(peer(0), &[0; 20]).unwrap();
        }
        // Bulk goes on over the one and the other: nothing is missing, twice or out of order.
        if is_due && transports[0].try_send_bulk(peer(1), &given.to_le_bytes()).is_ok() {
            given += 1;
        }
        while let Some((_, message)) = transports[1].try_receive_bulk() {
            assert_eq!(message[..], taken.to_le_bytes());
            taken += 1;
        }
        // The next one may open soon, in eleven round trips.
        if is_replaced() {
            path.faults.loss_percent.store(0, Ordering::Relaxed);
        }
        for (transport, arrived_at) in transports.iter().zip(&mut arrived_at) {
            while transport.try_receive(&mut buffer).is_some() {
                let now = started.elapsed();
                longest_wait = longest_wait.max(now - arrived_at.replace(now).unwrap_or(now));
            }
        }
    });
    assert!(is_replaced(), "{:?}", transports[0].link_report(peer(1)));
    assert!(taken > 100, "{taken} of {given}");
    assert!(longest_wait < Duration::from_millis(1500), "{longest_wait:?}");
    for transport in &transports {
        let stats = transport.stats(common::others(transport)[0]);
        assert!(stats.is_connected, "{stats:?}");
    }
}

#[test]
fn a_long_outage_ends_in_a_new_connection_and_bulk_survives_it() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "outage");
    wait_connected(&transports);
    path.faults.is_cut.store(true, Ordering::Relaxed);
    for number in 0..5 {
        transports[0].try_send_bulk(peer(1), &[number]).unwrap();
    }
    for transport in &transports {
        let other = common::others(transport)[0];
        wait_event(transport, TransportEvent::PeerDisconnected { peer: other });
    }
    for number in 5..10 {
        transports[0].try_send_bulk(peer(1), &[number]).unwrap();
    }
    path.faults.is_cut.store(false, Ordering::Relaxed);
    wait_connected(&transports);
    let mut got = Vec::new();
    wait_until("bulk has arrived", || {
        got.extend(std::iter::from_fn(|| transports[1].try_receive_bulk()));
        got.len() == 10
    });
    let numbers: Vec<u8> = got.iter().map(|(_, message)| message[0]).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_member_that_is_not_reached_is_told_of_after_the_grace_with_a_reason_and_when_it_is_back() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let patient = |told_after| TransportConfig { server_relay: false, told_after, ..local() };
    let grace = Duration::from_millis(300);
    let transports =
        join_all(&path.link("told"), vec![patient(grace), patient(Duration::from_secs(3600))]);
    wait_connected(&transports);
    assert_eq!(transports[0].loss(peer(1)), Loss::Silent);
    path.faults.is_cut.store(true, Ordering::Relaxed);
    let why = Loss::ReconnectionTimeout;
    wait_event(&transports[0], TransportEvent::PeerReconnecting { peer: peer(1), why });
    wait_until("an attempt has failed", || transports[0].loss(peer(1)) == Loss::IceFailed);
    path.faults.is_cut.store(false, Ordering::Relaxed);
    let events = |transport: &Transport| std::iter::from_fn(|| transport.poll_event()).collect();
    let mut back = None;
    wait_until("it is back", || {
        let seen: Vec<TransportEvent> = events(&transports[0]);
        back = seen.into_iter().find_map(|event| match event {
            TransportEvent::PeerReconnected { peer: back, after } if back == peer(1) => Some(after),
            _ => None,
        });
        back.is_some()
    });
    assert!(back.unwrap() >= grace, "{back:?}");
    assert_eq!(transports[0].loss(peer(1)), Loss::Silent);
    let seen: Vec<TransportEvent> = events(&transports[1]);
    let is_told = |event: &TransportEvent| matches!(event, TransportEvent::PeerReconnecting { .. });
    assert!(!seen.iter().any(is_told), "its grace is an hour");
}

#[test]
fn a_connection_whose_path_is_gone_finds_another_by_a_restart() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "restart");
    wait_connected(&transports);
    path.faults.paths_gone.store(1, Ordering::Relaxed);
    let seen = play(&transports, Duration::from_secs(7), |_| {});
    assert!(path.faults.restarts.load(Ordering::Relaxed) >= 1);
    for (transport, ages) in transports.iter().zip(&seen) {
        let stats = transport.stats(common::others(transport)[0]);
        assert_eq!(stats.attempts, 1, "the connection is the same");
        assert_eq!(stats.replayed_signals, 0, "nobody is accused");
        assert!(stats.is_connected);
        assert!(ages.len() > 120, "datagrams flow again: {}", ages.len());
        let oldest = ages.iter().max().unwrap();
        assert!(*oldest < Duration::from_millis(500), "{oldest:?}");
    }
}

/// How long it takes after their path is gone until both of two members know that they are interrupted.
fn noticed_after(interrupted_after: Duration) -> Duration {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let config = || TransportConfig { interrupted_after, server_relay: false, ..local() };
    let transports = join_all(&path.link("noticed"), vec![config(), config()]);
    wait_connected(&transports);
    path.faults.paths_gone.store(u32::MAX, Ordering::Relaxed);
    let gone_at = Instant::now();
    wait_until("both have noticed", || {
        !transports[0].stats(peer(1)).is_connected && !transports[1].stats(peer(0)).is_connected
    });
    gone_at.elapsed()
}

#[test]
fn after_how_much_silence_a_connection_is_interrupted_is_a_setting() {
    // The last packet came at most a quarter of the time before, and a busy computer is only late.
    let [soon, late] = [300, 4000].map(|millis| noticed_after(Duration::from_millis(millis)));
    assert!(late >= Duration::from_secs(3), "{late:?}");
    assert!(soon >= Duration::from_millis(225) && soon < late, "{soon:?}, {late:?}");
}

#[test]
fn signals_that_are_replayed_are_counted_and_told_and_end_no_connection() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    path.faults.signals_are_replayed.store(true, Ordering::Relaxed);
    let transports = join_two(&path, "replayed");
    wait_connected(&transports);
    wait_event(&transports[0], TransportEvent::SignalsReplayed { peer: peer(1) });
    wait_event(&transports[1], TransportEvent::SignalsReplayed { peer: peer(0) });
    play(&transports, Duration::from_secs(2), |_| {});
    for (transport, other) in [(&transports[0], peer(1)), (&transports[1], peer(0))] {
        let stats = transport.stats(other);
        let seen = (stats.is_connected, stats.attempts, stats.shut_out);
        assert_eq!(seen, (true, 1, None), "{stats:?}");
        assert!(stats.replayed_signals > 0 && stats.stale_signals >= stats.replayed_signals);
    }
}

/// Of two, where only the certificates of offers or answers are forged: who refuses is told so, and the other, too.
fn assert_refused(path: &FaultyPath, forged: &AtomicBool, (refuses, refused): (usize, usize)) {
    forged.store(true, Ordering::Relaxed);
    let room = format!("forged-{refused}");
    let transports = join_two(path, &room);
    for (at, whose) in [(refuses, CertificateOwner::Peer), (refused, CertificateOwner::Own)] {
        let peer = peer(u8::try_from(1 - at).unwrap());
        wait_event(&transports[at], TransportEvent::CertificateRefused { peer, whose });
        let stats = transports[at].stats(peer);
        assert!(!stats.is_connected && stats.certificates_refused >= 1, "{stats:?}");
        assert_eq!(transports[at].proof(peer), Proof::CertificateRefused);
    }
    let refuser = || transports[refuses].stats(peer(u8::try_from(refused).unwrap()));
    wait_until("each attempt is refused", || refuser().certificates_refused >= 3);
    assert!(!refuser().is_connected && refuser().certificates_refused <= refuser().attempts);
    forged.store(false, Ordering::Relaxed);
    wait_connected(&transports);
}

#[test]
fn one_whose_certificate_is_not_that_of_its_description_is_refused_counted_and_reported() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    assert_refused(&path, &path.faults.offers_are_forged, (1, 0));
    assert_refused(&path, &path.faults.answers_are_forged, (0, 1));
}

#[test]
fn one_in_whose_place_another_comes_after_an_outage_is_lost_for_that_reason() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    let transports = join_two(&path, "replaced");
    wait_connected(&transports);
    path.faults.answers_are_forged.store(true, Ordering::Relaxed);
    path.faults.is_cut.store(true, Ordering::Relaxed);
    wait_until("the connection is given up", || transports[0].stats(peer(1)).attempts > 1);
    assert_ne!(transports[0].loss(peer(1)), Loss::CertificateRefused);
    path.faults.is_cut.store(false, Ordering::Relaxed);
    let why = Loss::CertificateRefused;
    wait_until("the new one is refused", || transports[0].loss(peer(1)) == why);
    path.faults.answers_are_forged.store(false, Ordering::Relaxed);
    wait_connected(&transports);
    assert_eq!(transports[0].loss(peer(1)), Loss::Silent);
}

#[test]
fn attempts_that_fail_because_of_the_line_are_not_refused() {
    let server = server(2);
    let path = FaultyPath::to(server.local_addr());
    // One attempt whose handshake never ends, and what a bad line does to the ones after it.
    path.faults.handshakes_to_spoil.store(1, Ordering::Relaxed);
    path.faults.loss_percent.store(10, Ordering::Relaxed);
    path.faults.delay_ms.store(20, Ordering::Relaxed);
    path.faults.jitter_ms.store(20, Ordering::Relaxed);
    let transports = join_two(&path, "lossy");
    wait_connected(&transports);
    path.faults.is_cut.store(true, Ordering::Relaxed);
    wait_until("nothing passes", || transports[0].loss(peer(1)) == Loss::IceFailed);
    for (transport, other) in [(&transports[0], peer(1)), (&transports[1], peer(0))] {
        let stats = transport.stats(other);
        assert!(stats.attempts >= 2, "{stats:?}");
        assert_eq!(stats.certificates_refused, 0, "{stats:?}");
        while let Some(event) = transport.poll_event() {
            assert!(!matches!(event, TransportEvent::CertificateRefused { .. }), "{event:?}");
        }
    }
}
