//! A bad network on a good one, for demos and tests on one computer: delay, jitter and loss of
//! datagrams, decided by a seed.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use rollback_core::{PeerId, Timestamp};

use crate::random::SplitMix64;

/// What happens to datagrams and to what measures their way, but not to bulk messages, **when they arrive**. Each peer applies its own
/// conditions to what it receives: with the same conditions at both ends, a round trip takes
/// `2 × delay_ms` longer and each direction loses `loss_percent`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkConditions {
    /// How much later each datagram arrives, in milliseconds.
    pub delay_ms: u32,
    /// At most this much more, in milliseconds; evenly distributed, so that datagrams may overtake
    /// each other.
    pub jitter_ms: u32,
    /// How many of a hundred datagrams are lost.
    pub loss_percent: f64,
    /// Decides which datagrams are lost and how much later each is: the n-th datagram from a peer
    /// has the same fate in every run.
    pub seed: u64,
}

/// The conditions of what arrives from one peer.
#[derive(Debug)]
pub(crate) struct ConditionedLink<T> {
    delay: Duration,
    jitter_micros: u64,
    /// Something is lost when its 32 random bits are below this.
    loss_below: u64,
    /// How many probes there are depends on time, so they draw lots of their own.
    datagrams: SplitMix64,
    probes: SplitMix64,
    under_way: BinaryHeap<Reverse<UnderWay<T>>>,
    offered: u64,
}

/// What meets the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Datagram,
    Probe,
}

#[derive(Debug)]
struct UnderWay<T> {
    due: Timestamp,
    number: u64,
    item: T,
}

impl LinkConditions {
    /// Whether these conditions change anything.
    #[must_use]
    pub fn is_perfect(&self) -> bool {
        self.delay_ms == 0 && self.jitter_ms == 0 && self.loss_percent <= 0.0
    }
}

impl<T> ConditionedLink<T> {
    /// The link from `from` to `to`; every link has a fate of its own.
    pub(crate) fn new(conditions: &LinkConditions, from: PeerId, to: PeerId) -> Self {
        let link = u64::from(from.slot()) << 8 | u64::from(to.slot());
        let mut seeds = SplitMix64::new(conditions.seed ^ link.rotate_left(32));
        Self {
            delay: Duration::from_millis(conditions.delay_ms.into()),
            jitter_micros: u64::from(conditions.jitter_ms) * 1000,
            loss_below: loss_threshold(conditions.loss_percent),
            datagrams: SplitMix64::new(seeds.next()),
            probes: SplitMix64::new(seeds.next()),
            under_way: BinaryHeap::new(),
            offered: 0,
        }
    }

    /// Something arrives; `false` when the conditions lose it.
    pub(crate) fn offer(&mut self, now: Timestamp, kind: Kind, item: T) -> bool {
        let random = match kind {
            Kind::Datagram => &mut self.datagrams,
            Kind::Probe => &mut self.probes,
        };
        // Both are drawn each time, so that the fate of a datagram depends on its number alone.
        let is_lost = random.next() >> 32 < self.loss_below;
        let jitter = Duration::from_micros(random.below(self.jitter_micros + 1));
        self.offered += 1;
        if is_lost || self.under_way.len() >= UNDER_WAY_MAX {
            return false;
        }
        let due = now.plus(self.delay).plus(jitter);
        self.under_way.push(Reverse(UnderWay { due, number: self.offered, item }));
        true
    }

    /// The next thing whose time has come, with that time.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, T)> {
        if self.next_due()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse(arrived)| (arrived.due, arrived.item))
    }

    /// When the next thing arrives.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.under_way.peek().map(|Reverse(first)| first.due)
    }

    /// What is under way never arrives.
    pub(crate) fn clear(&mut self) {
        self.under_way.clear();
    }
}

impl<T> Ord for UnderWay<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

impl<T> PartialOrd for UnderWay<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for UnderWay<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for UnderWay<T> {}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn loss_threshold(percent: f64) -> u64 {
    let share = if percent.is_nan() { 0.0 } else { percent.clamp(0.0, 100.0) / 100.0 };
    (share * 4_294_967_296.0) as u64
}

/// What one link delays at once: 60 datagrams a second for half a minute, and a bound on memory.
const UNDER_WAY_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use Kind::{Datagram, Probe};

    use super::*;

    fn link(conditions: LinkConditions) -> ConditionedLink<usize> {
        ConditionedLink::new(&conditions, PeerId::new(0).unwrap(), PeerId::new(1).unwrap())
    }

    #[test]
    fn the_loss_is_near_its_percentage_and_the_same_for_the_same_seed() {
        let fates = |seed| {
            let conditions = LinkConditions { loss_percent: 5.0, seed, ..Default::default() };
            let mut link = link(conditions);
            let offer = |index| {
                let kept = link.offer(Timestamp::ZERO, Datagram, index);
                while link.take_due(Timestamp::ZERO).is_some() {}
                kept
            };
            (0..10_000).map(offer).collect::<Vec<bool>>()
        };
        let lost = fates(7).iter().filter(|kept| !**kept).count();
        assert!((400..600).contains(&lost), "{lost}");
        assert_eq!(fates(7), fates(7));
        assert_ne!(fates(7), fates(8));
    }

    #[test]
    fn probes_decide_nothing_about_datagrams() {
        let fates = |probes_for_each: usize| {
            let conditions = LinkConditions { loss_percent: 30.0, ..Default::default() };
            let mut link = link(conditions);
            let offer = |index| {
                for _ in 0..probes_for_each {
                    link.offer(Timestamp::ZERO, Probe, 0);
                }
                link.offer(Timestamp::ZERO, Datagram, index)
            };
            (0..100).map(offer).collect::<Vec<bool>>()
        };
        assert_eq!(fates(0), fates(3));
    }

    #[test]
    fn nothing_and_everything_can_be_lost() {
        for (loss_percent, kept) in [(0.0, 100), (100.0, 0), (f64::NAN, 100), (250.0, 0)] {
            let mut link = link(LinkConditions { loss_percent, ..Default::default() });
            let arrived = (0..100).filter(|&i| link.offer(Timestamp::ZERO, Datagram, i)).count();
            assert_eq!(arrived, kept);
        }
    }

    #[test]
    fn a_datagram_arrives_after_the_delay_and_not_before() {
        let mut link = link(LinkConditions { delay_ms: 40, ..Default::default() });
        assert!(link.offer(Timestamp::from_millis(1), Datagram, 0));
        assert_eq!(link.next_due(), Some(Timestamp::from_millis(41)));
        assert_eq!(link.take_due(Timestamp::from_micros(40_999)), None);
        let arrived = link.take_due(Timestamp::from_millis(50));
        assert_eq!(arrived, Some((Timestamp::from_millis(41), 0)));
        assert_eq!(link.next_due(), None);
    }

    #[test]
    fn jitter_reorders() {
        let mut link =
            link(LinkConditions { delay_ms: 10, jitter_ms: 30, seed: 1, ..Default::default() });
        for index in 0..50 {
            assert!(link.offer(Timestamp::from_millis(index as u64), Datagram, index));
        }
        let arrivals: Vec<_> =
            std::iter::from_fn(|| link.take_due(Timestamp::from_millis(1000))).collect();
        assert_eq!(arrivals.len(), 50);
        assert!(arrivals.is_sorted_by_key(|(due, _)| *due));
        assert!(!arrivals.is_sorted_by_key(|(_, number)| *number));
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let mut link = link(LinkConditions { delay_ms: 1000, ..Default::default() });
        let kept = (0..UNDER_WAY_MAX + 5).filter(|&i| link.offer(Timestamp::ZERO, Datagram, i));
        assert_eq!(kept.count(), UNDER_WAY_MAX);
    }
}
