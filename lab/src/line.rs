//! One direction of a line between two hosts: what it does to packets, drawn from a seed.

use std::time::Duration;

use fastrand::Rng;
use serde::Deserialize;

/// How bad a line is. All zero is a perfect one.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Conditions {
    /// How long packets are under way.
    pub delay: Duration,
    /// How much longer or shorter than that, evenly spread: so packets overtake each other.
    pub jitter: Duration,
    /// The share of packets that is lost, from 0 to 1.
    pub loss: f64,
    /// The share that arrives twice.
    pub duplicate: f64,
    /// The share that is not delayed and overtakes all others.
    pub reorder: f64,
    /// Bits a second; `None` without a limit.
    pub rate: Option<u64>,
    /// How long a packet may wait for the line to be free; what would wait longer is lost.
    pub queue: Duration,
    /// Whether nothing goes through.
    pub cut: bool,
    /// Whether a firewall lets no UDP through.
    pub block_udp: bool,
}

/// What a scenario says of lines; what it does not say stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Change {
    /// Milliseconds that packets are under way.
    pub delay_ms: Option<f64>,
    /// Milliseconds more or less.
    pub jitter_ms: Option<f64>,
    /// The share that is lost, from 0 to 1.
    pub loss: Option<f64>,
    /// The share that arrives twice.
    pub duplicate: Option<f64>,
    /// The share that overtakes.
    pub reorder: Option<f64>,
    /// Thousands of bits a second; 0 without a limit.
    pub rate_kbit: Option<u64>,
    /// Milliseconds that a packet may wait for the line.
    pub queue_ms: Option<f64>,
    /// Whether nothing goes through.
    pub cut: Option<bool>,
    /// Whether UDP does not.
    pub block_udp: Option<bool>,
}

/// One direction of a line.
#[derive(Clone, Debug)]
pub struct Line {
    conditions: Conditions,
    random: Rng,
    /// When what is sent now can leave.
    free_at: Duration,
    counters: Counters,
}

/// What became of the packets of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets that were to go through.
    pub accepted: u64,
    /// Those of them that were lost by chance.
    pub lost: u64,
    /// Those that found the queue full.
    pub overflowed: u64,
    /// Those that were stopped, by a cut or a firewall.
    pub stopped: u64,
    /// Those that arrive twice.
    pub duplicated: u64,
}

impl Line {
    /// A perfect line, whose chances follow from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            conditions: Conditions { queue: QUEUE, ..Conditions::default() },
            random: Rng::with_seed(seed),
            free_at: Duration::ZERO,
            counters: Counters::default(),
        }
    }

    /// Changes what is said.
    pub fn apply(&mut self, change: &Change) {
        let Conditions { delay, jitter, loss, duplicate, reorder, rate, queue, cut, block_udp } =
            &mut self.conditions;
        set(delay, change.delay_ms.map(millis));
        set(jitter, change.jitter_ms.map(millis));
        set(loss, change.loss);
        set(duplicate, change.duplicate);
        set(reorder, change.reorder);
        set(rate, change.rate_kbit.map(|kbit| Some(kbit * 1000).filter(|rate| *rate > 0)));
        set(queue, change.queue_ms.map(millis));
        set(cut, change.cut);
        set(block_udp, change.block_udp);
    }

    /// What became of its packets so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// When a packet arrives, and when it arrives again: each `None` if it does not.
    pub fn send(&mut self, now: Duration, bytes: usize, is_udp: bool) -> [Option<Duration>; 2] {
        self.counters.accepted += 1;
        let conditions = self.conditions;
        if conditions.cut || is_udp && conditions.block_udp {
            self.counters.stopped += 1;
            return [None; 2];
        }
        if self.random.f64() < conditions.loss {
            self.counters.lost += 1;
            return [None; 2];
        }
        let leaves_at = self.free_at.max(now);
        if leaves_at - now > conditions.queue {
            self.counters.overflowed += 1;
            return [None; 2];
        }
        let leaves_at = match conditions.rate {
            Some(rate) => {
                let nanos = bytes as u64 * 8 * 1_000_000_000 / rate;
                self.free_at = leaves_at + Duration::from_nanos(nanos);
                self.free_at
            }
            None => now,
        };
        let twice = (self.random.f64() < conditions.duplicate).then(|| self.arrival(leaves_at));
        self.counters.duplicated += u64::from(twice.is_some());
        [Some(self.arrival(leaves_at)), twice]
    }

    fn arrival(&mut self, leaves_at: Duration) -> Duration {
        let Conditions { delay, jitter, reorder, .. } = self.conditions;
        if self.random.f64() < reorder {
            return leaves_at;
        }
        let spread = jitter.mul_f64(2.0 * self.random.f64());
        (leaves_at + delay + spread).saturating_sub(jitter).max(leaves_at)
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis.max(0.0) / 1000.0)
}

/// As long as packets may wait for a line unless the scenario says otherwise: what a home router may hold.
const QUEUE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn line(change: &Change) -> Line {
        let mut line = Line::new(1);
        line.apply(change);
        line
    }

    #[test]
    fn a_perfect_line_delivers_at_once() {
        assert_eq!(Line::new(1).send(SECOND, 100, true), [Some(SECOND), None]);
    }

    #[test]
    fn a_delay_is_exact_and_jitter_stays_within_its_bounds() {
        let mut exact = line(&Change { delay_ms: Some(200.0), ..Change::default() });
        assert_eq!(exact.send(SECOND, 100, true)[0], Some(Duration::from_millis(1200)));
        let mut spread =
            line(&Change { delay_ms: Some(150.0), jitter_ms: Some(50.0), ..Change::default() });
        let arrivals: Vec<_> =
            (0..2000).filter_map(|_| spread.send(SECOND, 100, true)[0]).collect();
        let within = Duration::from_millis(1100)..=Duration::from_millis(1200);
        assert!(arrivals.iter().all(|arrival| within.contains(arrival)));
        let early = arrivals.iter().filter(|at| **at < Duration::from_millis(1125)).count();
        assert!((400..600).contains(&early), "a quarter of them: {early}");
    }

    #[test]
    fn losses_follow_from_the_seed_and_are_as_many_as_said() {
        let mut half = line(&Change { loss: Some(0.3), ..Change::default() });
        let mut same = half.clone();
        let mut other = Line::new(2);
        other.apply(&Change { loss: Some(0.3), ..Change::default() });
        let play = |line: &mut Line| -> Vec<bool> {
            (0..10_000).map(|_| line.send(SECOND, 100, true)[0].is_none()).collect()
        };
        let lost = play(&mut half);
        assert_eq!(lost, play(&mut same));
        assert_ne!(lost, play(&mut other));
        let count = lost.iter().filter(|lost| **lost).count();
        assert!((2_800..3_200).contains(&count), "{count}");
        assert_eq!(half.counters().lost, count as u64);
    }

    #[test]
    fn a_slow_line_takes_its_time_and_its_queue_is_bounded() {
        let queue_ms = Some(100.0);
        let mut slow = line(&Change { rate_kbit: Some(64), queue_ms, ..Change::default() });
        // 80 bytes are 10 ms at 64 kbit/s.
        let arrivals: Vec<_> = (0..20).map(|_| slow.send(SECOND, 80, true)[0]).collect();
        let expected = |index: u64| SECOND + Duration::from_millis(10 * (index + 1));
        let through: Vec<_> = (0..11).map(|index| Some(expected(index))).collect();
        assert_eq!(arrivals[..11], through);
        assert!(arrivals[11..].iter().all(Option::is_none), "{arrivals:?}");
        assert_eq!(slow.counters().overflowed, 9);
        // When the queue has gone, the line is free again.
        assert_eq!(
            slow.send(2 * SECOND, 80, true)[0],
            Some(2 * SECOND + Duration::from_millis(10))
        );
    }

    #[test]
    fn a_cut_stops_all_and_a_firewall_only_udp() {
        let mut cut = line(&Change { cut: Some(true), ..Change::default() });
        assert_eq!(cut.send(SECOND, 100, false), [None; 2]);
        cut.apply(&Change { cut: Some(false), block_udp: Some(true), ..Change::default() });
        assert_eq!(cut.send(SECOND, 100, true), [None; 2]);
        assert_eq!(cut.send(SECOND, 100, false)[0], Some(SECOND));
        assert_eq!(cut.counters().stopped, 2);
    }

    #[test]
    fn some_arrive_twice_and_some_overtake() {
        let delay_ms = Some(100.0);
        let duplicate = Some(0.5);
        let mut twice = line(&Change { delay_ms, duplicate, ..Change::default() });
        let count = (0..1000).filter(|_| twice.send(SECOND, 100, true)[1].is_some()).count();
        assert!((400..600).contains(&count), "{count}");
        let mut mixed = line(&Change { delay_ms, reorder: Some(0.25), ..Change::default() });
        let early = (0..1000).filter(|_| mixed.send(SECOND, 100, true)[0] == Some(SECOND)).count();
        assert!((180..320).contains(&early), "{early}");
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_is() {
        let mut bad = line(&Change { delay_ms: Some(20.0), loss: Some(1.0), ..Change::default() });
        bad.apply(&Change { loss: Some(0.0), ..Change::default() });
        assert_eq!(bad.send(SECOND, 100, true)[0], Some(SECOND + Duration::from_millis(20)));
    }
}
