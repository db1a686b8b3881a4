//! What is measured of the way to one peer, whoever plays over it: round trips, jitter, losses each way, overtaking, repetitions,
//! outages. It takes times as arguments, keeps a few kilobytes however long it runs, and sends nothing by itself.

mod check;
mod framing;
mod histogram;
mod probe;
mod sequence;
mod wear;

use std::collections::VecDeque;
use std::time::Duration;

use rollback_core::Timestamp;

use self::check::Check;
pub use self::check::Proof;
pub(crate) use self::framing::{Framed, datagram_bytes, frame_datagram, frame_probe, number};
use self::histogram::Histogram;
pub(crate) use self::probe::Probe;
use self::probe::micros;
pub(crate) use self::sequence::Arrival;
use self::sequence::Sequence;
use self::wear::Wear;

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
    question_due: Timestamp,
    check: Check,
    /// What had arrived and was missing here, and there, at some times of late.
    losses: VecDeque<(Timestamp, [(u32, u32); 2])>,
    /// Gaps of the connection's association in what comes, and in what is sent.
    wear: [Wear; 2],
    round_trips: Histogram,
    /// The round trips of late and when each was measured, for the least of them.
    of_late: VecDeque<(Timestamp, Duration)>,
    jitter_micros: u64,
    heard_at: Option<Timestamp>,
    outages: VecDeque<Outage>,
    outage_count: u64,
    outage_total: Duration,
    /// Bytes that waited for acknowledgement when something was to be sent: now, and the most so far.
    outstanding: (usize, usize),
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
    /// The round trip that was measured last.
    pub round_trip_last: Option<Duration>,
    /// How many were measured.
    pub round_trips: u32,
    /// The round trip that half of all stayed below, rounded up by at most an eighth.
    pub round_trip_p50: Option<Duration>,
    /// The same for 95 of 100.
    pub round_trip_p95: Option<Duration>,
    /// The same for 99 of 100.
    pub round_trip_p99: Option<Duration>,
    /// How much round trips vary, with the filter of RFC 3550 §6.4.1.
    pub jitter: Duration,
    /// Of every hundred datagrams sent, so many were lost, as the peer said last: they have not arrived, or when SCTP repeated
    /// them. After hours it is that of the time since the peer's counts began anew.
    pub loss_out_percent: Option<f64>,
    /// The same of the peer's datagrams to this one.
    pub loss_in_percent: Option<f64>,
    /// The same of the last eight seconds.
    pub recent_loss_out_percent: Option<f64>,
    /// The same of the last eight seconds.
    pub recent_loss_in_percent: Option<f64>,
    /// Whether both directions were shown to work when that was checked last: at the connection's beginning, and before each
    /// episode.
    pub proof: Option<Proof>,
    /// The least round trip of that check.
    pub checked_round_trip: Option<Duration>,
    /// Different datagrams of the peer that arrived and were not lost before.
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
    /// Bytes of datagrams that were sent over WebRTC and neither acknowledged nor given up, when one was to be sent last.
    pub outstanding_bytes: usize,
    /// The most that there were.
    pub outstanding_bytes_max: usize,
    /// For how long the oldest datagram has waited that no way has taken yet. Those that wait for longer than 60 ms are
    /// dropped, the oldest first.
    pub queue_age: Duration,
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
        let round_trip = self.round_trip();
        self.sequence.take(now, number, round_trip)
    }

    /// Another process of the peer is there, and counts from the beginning.
    pub(crate) fn handle_renewed(&mut self) {
        self.sequence.begin_anew();
        self.last_probe = None;
        self.there = None;
        self.losses.clear();
        self.wear = Default::default();
        self.check = Check::default();
    }

    /// From now on both directions are to be shown anew, unless that was done just now. Answers the probe to send.
    pub(crate) fn begin_check(&mut self, now: Timestamp) -> Option<Probe> {
        if self.check.is_fresh(now) {
            return None;
        }
        self.check = Check::begin(now);
        self.probe_due = now;
        self.poll_probe(now)
    }

    /// A probe came. Answers the one to send at once, if any, and the round trip if it is the first of a check.
    pub(crate) fn handle_probe(
        &mut self,
        now: Timestamp,
        probe: Probe,
    ) -> (Option<Probe>, Option<Duration>) {
        self.hear(now);
        self.there = Some(probe.datagrams);
        self.note_losses(now);
        let Some((echoed, kept)) = probe.echo else {
            // A question: it is to come back at once.
            return (Some(self.probe(now, Some((probe.sent_at, 0)))), None);
        };
        self.last_probe = Some((probe.sent_at, now));
        let passed = micros(now).wrapping_sub(echoed);
        // A hostile echo makes no more than a wrong measurement.
        let Some(round_trip) = passed.checked_sub(kept).filter(|micros| *micros < ROUND_TRIP_MAX)
        else {
            return (None, None);
        };
        let round_trip = Duration::from_micros(round_trip.into());
        self.note_round_trip(now, round_trip);
        let was_open = self.check.is_open();
        let is_first = self.check.handle_echo(now, round_trip);
        let next = was_open && self.check.is_open();
        if next {
            self.probe_due = now;
        }
        (if next { self.poll_probe(now) } else { None }, is_first.then_some(round_trip))
    }

    fn note_round_trip(&mut self, now: Timestamp, round_trip: Duration) {
        if let Some((_, last)) = self.of_late.back() {
            let change = u64::try_from(round_trip.abs_diff(*last).as_micros()).unwrap_or(u64::MAX);
            self.jitter_micros = (self.jitter_micros * 15 + change) / 16;
        }
        self.round_trips.note(round_trip);
        let is_old = |(at, _): &(Timestamp, Duration)| now.since(*at) > OF_LATE;
        while self.of_late.len() >= OF_LATE_MAX || self.of_late.front().is_some_and(is_old) {
            self.of_late.pop_front();
        }
        self.of_late.push_back((now, round_trip));
    }

    /// The probe to send now, if one is due.
    pub(crate) fn poll_probe(&mut self, now: Timestamp) -> Option<Probe> {
        if now < self.probe_due {
            return None;
        }
        // While a check is open, they are questions.
        if self.check.is_open() {
            self.probe_due = now.plus(QUESTION_INTERVAL);
            return Some(self.probe(now, None));
        }
        self.probe_due = now.plus(PROBE_INTERVAL);
        let echo = self.last_probe.take().map(|(sent_at, at)| {
            (sent_at, u32::try_from(now.since(at).as_micros()).unwrap_or(u32::MAX))
        });
        Some(self.probe(now, echo))
    }

    /// The same while bulk messages go: what they do to the way is to be known soon.
    pub(crate) fn poll_probe_beside_bulk(&mut self, now: Timestamp) -> Option<Probe> {
        self.poll_probe(now).or_else(|| {
            let is_due = now >= self.question_due;
            is_due.then(|| {
                self.question_due = now.plus(QUESTION_INTERVAL_BESIDE_BULK);
                self.probe(now, None)
            })
        })
    }

    fn probe(&self, now: Timestamp, echo: Option<(u32, u32)>) -> Probe {
        Probe { sent_at: micros(now), echo, datagrams: self.here() }
    }

    /// What has arrived and is missing here.
    fn here(&self) -> (u32, u32) {
        let low = |count: u64| u32::try_from(count & u64::from(u32::MAX)).unwrap_or_default();
        (low(self.sequence.arrived()), low(self.sequence.missing()))
    }

    fn note_losses(&mut self, now: Timestamp) {
        let is_due = self.losses.back().is_none_or(|(at, _)| now.since(*at) >= PROBE_INTERVAL);
        let Some(there) = self.there.filter(|_| is_due) else { return };
        if self.losses.len() == LOSSES {
            self.losses.pop_front();
        }
        let counts = [self.here(), there];
        self.losses.push_back((now, counts));
        let round_trip = self.round_trip().unwrap_or_default();
        for (wear, counts) in self.wear.iter_mut().zip(counts) {
            wear.note(now, counts, round_trip);
        }
    }

    /// Losses of late: here, and there.
    fn recent_losses(&self) -> [Option<f64>; 2] {
        let (Some((_, first)), Some(there)) = (self.losses.front(), self.there) else {
            return [None, None];
        };
        let [here, there] = [(first[0], self.here()), (first[1], there)].map(|(first, last)| {
            let since = (last.0.wrapping_sub(first.0), last.1.wrapping_sub(first.1));
            // One that was overtaken was missing at first, and is not any more.
            let missing = if since.1 > u32::MAX / 2 { 0 } else { since.1 };
            share(missing, since.0)
        });
        [here, there]
    }

    /// Whether so many datagrams were lost on the WebRTC connection that it is better replaced.
    pub(crate) fn is_worn(&self) -> bool {
        self.wear.iter().any(Wear::is_worn)
    }

    /// A WebRTC connection has opened, with an association of its own.
    pub(crate) fn handle_association(&mut self) {
        self.wear = Default::default();
    }

    /// What share of the datagrams of late were lost on their way to the peer.
    pub(crate) fn loss_out(&self) -> f64 {
        self.recent_losses()[1].unwrap_or_default() / 100.0
    }

    /// What the last check has shown.
    pub(crate) const fn proof(&self) -> Proof {
        self.check.proof()
    }

    /// The least round trip of late.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.of_late.iter().map(|(_, round_trip)| *round_trip).min()
    }

    /// What half of the round trips did not exceed that were measured from a time on, if there are so many.
    pub(crate) fn median_since(&self, since: Timestamp, count_min: usize) -> Option<Duration> {
        let of_then = self.of_late.iter().filter(|(at, _)| *at >= since);
        let mut of_then: Vec<Duration> = of_then.map(|(_, round_trip)| *round_trip).collect();
        let half = of_then.len().max(count_min).checked_sub(1)? / 2;
        (of_then.len() >= count_min).then(|| *of_then.select_nth_unstable(half).1)
    }

    /// So many bytes wait for acknowledgement.
    pub(crate) fn note_outstanding(&mut self, bytes: usize) {
        self.outstanding = (bytes, bytes.max(self.outstanding.1));
    }

    /// What was measured so far.
    pub(crate) fn report(&self) -> LinkReport {
        let Self { sequence, round_trips, .. } = self;
        let recent = self.recent_losses();
        LinkReport {
            round_trip: self.round_trip(),
            round_trip_last: self.of_late.back().map(|(_, round_trip)| *round_trip),
            round_trips: round_trips.total(),
            round_trip_p50: round_trips.percentile(50),
            round_trip_p95: round_trips.percentile(95),
            round_trip_p99: round_trips.percentile(99),
            jitter: Duration::from_micros(self.jitter_micros),
            loss_out_percent: self.there.and_then(|(arrived, missing)| share(missing, arrived)),
            loss_in_percent: share(
                u32::try_from(sequence.missing()).unwrap_or(u32::MAX),
                u32::try_from(sequence.arrived()).unwrap_or(u32::MAX),
            ),
            recent_loss_out_percent: recent[1],
            recent_loss_in_percent: recent[0],
            proof: Some(self.check.proof()),
            checked_round_trip: self.check.round_trip(),
            arrived: sequence.arrived(),
            overtaken: sequence.overtaken(),
            duplicate: sequence.duplicate(),
            outages: self.outage_count,
            outage_total: self.outage_total,
            last_outages: self.outages.iter().copied().collect(),
            outstanding_bytes: self.outstanding.0,
            outstanding_bytes_max: self.outstanding.1,
            queue_age: Duration::ZERO,
        }
    }

    fn hear(&mut self, now: Timestamp) {
        self.check.hear();
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

/// How often it is asked while a check is open and no answer comes.
const QUESTION_INTERVAL: Duration = Duration::from_millis(50);

/// How often it is asked while bulk messages go.
const QUESTION_INTERVAL_BESIDE_BULK: Duration = Duration::from_millis(100);

/// Round trips among which the least is looked for: those of eight seconds.
const OF_LATE: Duration = Duration::from_secs(8);

/// With all that can be measured in eight seconds.
const OF_LATE_MAX: usize = 160;

/// Counts of losses of late: those of eight seconds.
const LOSSES: usize = 32;

/// The highest number of a datagram; the next one has number 0 again.
const NUMBER_MAX: u16 = 0x7fff;

/// No round trip is longer, in microseconds.
const ROUND_TRIP_MAX: u32 = 60_000_000;

/// From this length on a silence is an outage: a probe and a datagram of each of eighteen frames are missing.
const OUTAGE: Duration = Duration::from_millis(300);

/// Outages that are kept one by one.
const OUTAGES_KEPT: usize = 32;

#[cfg(test)]
mod tests;
