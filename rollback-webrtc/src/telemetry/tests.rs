//! What is measured of a way that the test makes.

use super::*;

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Two sides, whose clocks differ, exchange probes over a way that takes `out` and `back` ms.
fn exchanged(out: u64, back: u64, length: u64) -> [LinkReport; 2] {
    let mut sides = [Telemetry::default(), Telemetry::default()];
    let skew = 5_000_000;
    let (mut under_way, mut answers) = (Vec::new(), Vec::new());
    for now in 0..length {
        let [one, other] = &mut sides;
        under_way.retain(|(due, to_one, probe)| {
            if *due > now {
                return true;
            }
            let answer = match to_one {
                true => one.handle_probe(at(now), *probe).0,
                false => other.handle_probe(at(now + skew), *probe).0,
            };
            let takes = if *to_one { out } else { back };
            answers.extend(answer.map(|probe| (now + takes, !*to_one, probe)));
            false
        });
        under_way.append(&mut answers);
        under_way.extend(one.poll_probe(at(now)).map(|probe| (now + out, false, probe)));
        under_way.extend(other.poll_probe(at(now + skew)).map(|probe| (now + back, true, probe)));
    }
    sides.map(|side| side.report())
}

#[test]
fn round_trips_are_measured_without_a_common_clock() {
    for report in exchanged(30, 50, 10_000) {
        assert_eq!(report.round_trip, Some(Duration::from_millis(80)));
        let p99 = report.round_trip_p99.unwrap();
        assert!(p99 >= Duration::from_millis(80) && p99 <= Duration::from_millis(90), "{p99:?}");
        assert_eq!((report.jitter, report.outages), (Duration::ZERO, 0));
    }
}

/// One side checks the way; what it sends arrives, what comes back may not.
fn checked(arrives: bool, comes_back: bool) -> (Telemetry, Vec<u64>) {
    let [mut one, mut other] = [Telemetry::default(), Telemetry::default()];
    let mut sent_at = Vec::new();
    let mut next = one.begin_check(at(100));
    for now in 100..400 {
        next = next.or_else(|| one.poll_probe(at(now)));
        let Some(question) = next.take() else { continue };
        sent_at.push(now - 100);
        // There and back in the same millisecond.
        let answer = arrives.then(|| other.handle_probe(at(now), question).0).flatten();
        if let Some(answer) = answer.filter(|_| comes_back) {
            next = one.handle_probe(at(now), answer).0;
        }
    }
    (one, sent_at)
}

#[test]
fn a_check_shows_both_directions_in_a_round_trip_and_measures_in_eight() {
    let (one, sent_at) = checked(true, true);
    assert_eq!(one.proof(), Proof::Both);
    assert_eq!(one.report().checked_round_trip, Some(Duration::ZERO));
    // Eight questions, one after the other, then probes every quarter of a second.
    assert_eq!(sent_at, [0, 1, 2, 3, 4, 5, 6, 7, 56]);
}

#[test]
fn a_check_is_repeated_until_an_answer_comes_and_says_which_direction_is_dead() {
    for (arrives, comes_back) in [(false, true), (true, false)] {
        let (mut one, sent_at) = checked(arrives, comes_back);
        assert_eq!(sent_at, [0, 50, 100, 150, 200, 250]);
        assert_eq!(one.proof(), Proof::NothingComes);
        one.handle_datagram(at(500), 0);
        assert_eq!(one.proof(), Proof::NothingArrives);
    }
}

#[test]
fn what_was_sent_before_a_check_began_shows_nothing_and_a_fresh_check_is_enough() {
    let mut one = Telemetry::default();
    let echo = |sent_at, kept| Probe {
        sent_at: 0,
        echo: Some((micros(at(sent_at)), kept)),
        datagrams: (0, 0),
    };
    assert!(one.begin_check(at(1000)).is_some());
    assert_eq!(one.handle_probe(at(1010), echo(900, 0)).1, None);
    assert_eq!(one.proof(), Proof::NothingArrives);
    let round_trip = Duration::from_millis(15);
    assert_eq!(one.handle_probe(at(1020), echo(1000, 5000)).1, Some(round_trip));
    assert_eq!(one.handle_probe(at(1021), echo(1001, 0)).1, None, "told once");
    assert!(one.begin_check(at(1900)).is_none());
    assert!(one.begin_check(at(3000)).is_some());
    assert_eq!(one.proof(), Proof::NothingComes);
}

#[test]
fn losses_of_late_are_those_of_eight_seconds() {
    let mut telemetry = Telemetry::default();
    let mut number = 0;
    let mut second = |telemetry: &mut Telemetry, now: u64, lost_every: u16| {
        for _ in 0..60 {
            if number % lost_every != 0 {
                telemetry.handle_datagram(at(now), number);
            }
            number += 1;
        }
        let probe = Probe { sent_at: 0, echo: Some((0, 0)), datagrams: (10, 10) };
        telemetry.handle_probe(at(now), probe);
    };
    (0..60).for_each(|now| second(&mut telemetry, 1000 * now, 2));
    (60..100).for_each(|now| second(&mut telemetry, 1000 * now, 10));
    let report = telemetry.report();
    let recent = report.recent_loss_in_percent.unwrap();
    assert!((9.0..11.0).contains(&recent), "{report:?}");
    assert!(report.loss_in_percent.unwrap() > 30.0, "{report:?}");
    assert_eq!(report.recent_loss_out_percent, None, "nothing has arrived there since");
}

#[test]
fn losses_are_told_for_each_way() {
    let [mut one, mut other] = [Telemetry::default(), Telemetry::default()];
    for number in 0..1000 {
        if number % 4 != 1 {
            other.handle_datagram(at(number.into()), number);
        }
    }
    let probe = other.poll_probe(at(1000)).unwrap();
    one.handle_probe(at(1010), probe);
    assert_eq!(one.report().loss_out_percent, Some(25.0));
    assert_eq!(one.report().loss_in_percent, None);
    assert_eq!(other.report().loss_in_percent, Some(25.0));
}

#[test]
fn a_silence_is_an_outage_with_a_beginning_and_a_length() {
    let mut telemetry = Telemetry::default();
    for (number, millis) in (0..).zip([0, 299, 599, 3000]) {
        telemetry.handle_datagram(at(millis), number);
    }
    let report = telemetry.report();
    let outage = |began, length| Outage { began: at(began), length: Duration::from_millis(length) };
    assert_eq!(report.last_outages, [outage(299, 300), outage(599, 2401)]);
    assert_eq!((report.outages, report.outage_total), (2, Duration::from_millis(2701)));
}

#[test]
fn an_echo_that_cannot_be_true_is_not_measured() {
    let mut telemetry = Telemetry::default();
    for echo in [(0, 11_000), (20_000, 0), (micros(at(10)).wrapping_sub(ROUND_TRIP_MAX), 0)] {
        telemetry.handle_probe(at(10), Probe { sent_at: 0, echo: Some(echo), datagrams: (0, 0) });
    }
    assert_eq!(telemetry.report().round_trip, None);
}

#[test]
fn what_is_kept_is_bounded() {
    let mut telemetry = Telemetry::default();
    for (number, second) in (0..10_000).zip(0..) {
        telemetry.handle_datagram(at(second * 1000), number);
    }
    assert_eq!(telemetry.report().outages, 9_999);
    assert_eq!(telemetry.report().last_outages.len(), OUTAGES_KEPT);
}
