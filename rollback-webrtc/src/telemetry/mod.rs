//! What is measured of the way to one peer, whoever plays over it: round trips, jitter, losses each way, overtaking, repetitions,
//! outages. It takes times as arguments, keeps a few kilobytes however long it runs, and sends nothing by itself.

mod framing;
mod histogram;
mod probe;
mod sequence;

use std::collections::VecDeque;
use std::time::Duration;

use rollback_core::Timestamp;

pub(crate) use self::framing::{Framed, datagram_bytes, frame_datagram, frame_probe, number};
use self::histogram::Histogram;
pub(crate) use self::probe::Probe;
use self::probe::micros;
pub(crate) use self::sequence::Arrival;
use self::sequence::Sequence;

/// The measurements of one peer's way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Telemetry {
    /// The number of the next datagram to the peer.
    next_number: u16,
    sequence: Sequence,
    /// What the peer said of the datagrams sent to it: how many it got, and missed.
    there: Option<(u32, u32)>,
    /// The time of the peer's last probe by its own clock, and when it came.
    last_probe: Option<(u32, Timestamp)>,
    probe_due: Timestamp,
    round_trips: Histogram,
    /// The round trips of late, for the least of them.
    of_late: VecDeque<Duration>,
    jitter_micros: u64,
    heard_at: Option<Timestamp>,
    outages: VecDeque<Outage>,
    outage_count: u64,
    outage_total: Duration,
}

/// A time in which nothing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When the last thing before it came, on the transport's clock.
    pub began: Timestamp,
    /// How long it was.
    pub length: Duration,
}

/// What was measured of the way to one peer since the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LinkReport {
    /// The least round trip of the last eight seconds: that of the way itself, without waiting.
    pub round_trip: Option<Duration>,
    /// The round trip that half of all stayed below, rounded up by at most an eighth.
    pub round_trip_p50: Option<Duration>,
    /// The same for 95 of 100.
    pub round_trip_p95: Option<Duration>,
    /// The same for 99 of 100.
    pub round_trip_p99: Option<Duration>,
    /// How much round trips vary, with the filter of RFC 3550 §6.4.1.
    pub jitter: Duration,
    /// Of every hundred datagrams sent, so many have not arrived, as the peer said last. After hours it is that of the time since
    /// the peer's counts began anew.
    pub loss_out_percent: Option<f64>,
    /// Of every hundred datagrams of the peer, so many have not arrived.
    pub loss_in_percent: Option<f64>,
    /// Different datagrams of the peer that arrived.
    pub arrived: u64,
    /// Those of them that arrived after later ones.
    pub overtaken: u64,
    /// Datagrams that arrived once more.
    pub duplicate: u64,
    /// Times in which nothing came for at least 300 ms.
    pub outages: u64,
    /// How long they were together.
    pub outage_total: Duration,
    /// The last of them, at most 32.
    pub last_outages: Vec<Outage>,
}

impl Telemetry {
    /// The number of a datagram that is sent now.
    pub(crate) fn take_number(&mut self) -> u16 {
        let number = self.next_number;
        self.next_number = (number + 1) & NUMBER_MAX;
        number
    }

    /// A datagram with this number came.
    pub(crate) fn handle_datagram(&mut self, now: Timestamp, number: u16) -> Arrival {
        self.hear(now);
        self.sequence.take(number)
    }

    /// Another process of the peer is there, and counts from the beginning.
    pub(crate) fn handle_renewed(&mut self) {
        self.sequence.begin_anew();
        self.last_probe = None;
        self.there = None;
    }

    /// A probe came.
    pub(crate) fn handle_probe(&mut self, now: Timestamp, probe: Probe) {
        self.hear(now);
        self.last_probe = Some((probe.sent_at, now));
        self.there = Some(probe.datagrams);
        let Some((echoed, kept)) = probe.echo else { return };
        let passed = micros(now).wrapping_sub(echoed);
        // A hostile echo makes no more than a wrong measurement.
        let Some(round_trip) = passed.checked_sub(kept).filter(|micros| *micros < ROUND_TRIP_MAX)
        else {
            return;
        };
        let round_trip = Duration::from_micros(round_trip.into());
        if let Some(last) = self.of_late.back() {
            let change = u64::try_from(round_trip.abs_diff(*last).as_micros()).unwrap_or(u64::MAX);
            self.jitter_micros = (self.jitter_micros * 15 + change) / 16;
        }
        self.round_trips.note(round_trip);
        if self.of_late.len() == OF_LATE {
            self.of_late.pop_front();
        }
        self.of_late.push_back(round_trip);
    }

    /// The probe to send now, if one is due.
    pub(crate) fn poll_probe(&mut self, now: Timestamp) -> Option<Probe> {
        if now < self.probe_due {
            return None;
        }
        self.probe_due = now.plus(PROBE_INTERVAL);
        let low = |count: u64| u32::try_from(count & u64::from(u32::MAX)).unwrap_or_default();
        let echo = self.last_probe.take().map(|(sent_at, at)| {
            (sent_at, u32::try_from(now.since(at).as_micros()).unwrap_or(u32::MAX))
        });
        let datagrams = (low(self.sequence.arrived()), low(self.sequence.missing()));
        Some(Probe { sent_at: micros(now), echo, datagrams })
    }

    /// What was measured so far.
    pub(crate) fn report(&self) -> LinkReport {
        let Self { sequence, round_trips, .. } = self;
        LinkReport {
            round_trip: self.of_late.iter().min().copied(),
            round_trip_p50: round_trips.percentile(50),
            round_trip_p95: round_trips.percentile(95),
            round_trip_p99: round_trips.percentile(99),
            jitter: Duration::from_micros(self.jitter_micros),
            loss_out_percent: self.there.and_then(|(arrived, missing)| share(missing, arrived)),
            loss_in_percent: share(
                u32::try_from(sequence.missing()).unwrap_or(u32::MAX),
                u32::try_from(sequence.arrived()).unwrap_or(u32::MAX),
            ),
            arrived: sequence.arrived(),
            overtaken: sequence.overtaken(),
            duplicate: sequence.duplicate(),
            outages: self.outage_count,
            outage_total: self.outage_total,
            last_outages: self.outages.iter().copied().collect(),
        }
    }

    fn hear(&mut self, now: Timestamp) {
        let Some(began) = self.heard_at.replace(now) else { return };
        let length = now.since(began);
        if length < OUTAGE {
            return;
        }
        if self.outages.len() == OUTAGES_KEPT {
            self.outages.pop_front();
        }
        self.outages.push_back(Outage { began, length });
        self.outage_count += 1;
        self.outage_total += length;
    }
}

/// How many per cent the first is of both; `None` of nothing.
fn share(part: u32, rest: u32) -> Option<f64> {
    let all = f64::from(part) + f64::from(rest);
    (all > 0.0).then(|| f64::from(part) * 100.0 / all)
}

/// How often each side sends a probe: with seven peers less than a tenth of the datagrams of a game.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// Round trips among which the least is looked for: those of eight seconds.
const OF_LATE: usize = 32;

/// The highest number of a datagram; the next one has number 0 again.
const NUMBER_MAX: u16 = 0x7fff;

/// No round trip is longer, in microseconds.
const ROUND_TRIP_MAX: u32 = 60_000_000;

/// From this length on a silence is an outage: a probe and a datagram of each of eighteen frames are missing.
const OUTAGE: Duration = Duration::from_millis(300);

/// Outages that are kept one by one.
const OUTAGES_KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Two sides, whose clocks differ, exchange probes over a way that takes `out` and `back` ms.
    fn exchanged(out: u64, back: u64, length: u64) -> [LinkReport; 2] {
        let mut sides = [Telemetry::default(), Telemetry::default()];
        let skew = 5_000_000;
        let mut under_way = Vec::new();
        for now in 0..length {
            let [one, other] = &mut sides;
            under_way.retain(|(due, to_one, probe)| {
                if *due > now {
                    return true;
                }
                match to_one {
                    true => one.handle_probe(at(now), *probe),
                    false => other.handle_probe(at(now + skew), *probe),
                }
                false
            });
            under_way.extend(one.poll_probe(at(now)).map(|probe| (now + out, false, probe)));
            under_way
                .extend(other.poll_probe(at(now + skew)).map(|probe| (now + back, true, probe)));
        }
        sides.map(|side| side.report())
    }

    #[test]
    fn round_trips_are_measured_without_a_common_clock() {
        for report in exchanged(30, 50, 10_000) {
            assert_eq!(report.round_trip, Some(Duration::from_millis(80)));
            let p99 = report.round_trip_p99.unwrap();
            assert!(
                p99 >= Duration::from_millis(80) && p99 <= Duration::from_millis(90),
                "{p99:?}"
            );
            assert_eq!((report.jitter, report.outages), (Duration::ZERO, 0));
        }
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
        let outage =
            |began, length| Outage { began: at(began), length: Duration::from_millis(length) };
        assert_eq!(report.last_outages, [outage(299, 300), outage(599, 2401)]);
        assert_eq!((report.outages, report.outage_total), (2, Duration::from_millis(2701)));
    }

    #[test]
    fn an_echo_that_cannot_be_true_is_not_measured() {
        let mut telemetry = Telemetry::default();
        for echo in [(0, 11_000), (20_000, 0), (micros(at(10)).wrapping_sub(ROUND_TRIP_MAX), 0)] {
            telemetry
                .handle_probe(at(10), Probe { sent_at: 0, echo: Some(echo), datagrams: (0, 0) });
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
}
