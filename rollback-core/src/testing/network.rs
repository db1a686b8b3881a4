//! The ways between the peers: every datagram's fate is drawn here. Does not know what a datagram holds.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::clock::TrueTime;
use super::fault_counts::FaultCounts;
use super::faults::Faults;
use super::random::Random;
use crate::{PEERS_MAX, PeerId, PeerSet};

/// All datagrams under way, and what befalls them.
pub(crate) struct Network {
    faults: Faults,
    ways: Vec<Way>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    partitions: Vec<Partition>,
    random: Random,
    sent: u64,
    is_healed: bool,
    pub(crate) counts: FaultCounts,
}

/// One direction between two peers.
#[derive(Clone, Debug, Default)]
struct Way {
    delay_micros: u64,
    loss_per_mille: u32,
    is_in_burst: bool,
    muted_until: TrueTime,
    /// The sender's last datagrams before its crash do not come this way.
    ends_at: Option<TrueTime>,
    newest_arrived: u64,
}

struct Partition {
    side: PeerSet,
    until: TrueTime,
}

/// A datagram on its way. Ordered by when it arrives, then by when it was sent.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnderWay {
    pub(crate) arrives: TrueTime,
    number: u64,
    copy: u8,
    pub(crate) from: PeerId,
    pub(crate) to: PeerId,
    pub(crate) is_damaged: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Network {
    pub(crate) fn new(faults: &Faults, mut random: Random) -> Self {
        let way = |random: &mut Random| Way {
            delay_micros: u64::from(random.between(
                faults.delay_min_ms.saturating_mul(1000),
                faults.delay_max_ms.max(faults.delay_min_ms).saturating_mul(1000),
            )),
            loss_per_mille: random.between(0, faults.loss_max_per_mille),
            ..Way::default()
        };
        Self {
            faults: faults.clone(),
            ways: (0..PEERS_MAX * PEERS_MAX).map(|_| way(&mut random)).collect(),
            under_way: BinaryHeap::new(),
            partitions: Vec::new(),
            random,
            sent: 0,
            is_healed: false,
            counts: FaultCounts::default(),
        }
    }

    /// The longest way, without any fault.
    pub(crate) fn delay_max_micros(&self) -> u64 {
        self.ways.iter().map(|way| way.delay_micros).max().unwrap_or_default()
    }

    /// From now on nothing goes wrong by chance.
    pub(crate) fn heal(&mut self) {
        self.is_healed = true;
    }

    pub(crate) fn part(&mut self, side: PeerSet, until: TrueTime) {
        self.partitions.push(Partition { side, until });
        self.counts.partitions += 1;
    }

    pub(crate) fn mute(&mut self, from: PeerId, to: PeerId, until: TrueTime) {
        if let Some(way) = self.ways.get_mut(way_of(from, to)) {
            way.muted_until = way.muted_until.max(until);
            self.counts.mutes += 1;
        }
    }

    /// Says that `from` crashes at `at`: its last datagrams reach only some of the others.
    pub(crate) fn plan_crash(&mut self, from: PeerId, at: TrueTime) {
        for to in PeerId::all(PEERS_MAX) {
            let tail = self.random.between(0, self.faults.crash_tail_max_ms);
            let before = TrueTime::ZERO.plus_micros(
                at.elapsed()
                    .as_micros()
                    .try_into()
                    .unwrap_or(u64::MAX)
                    .saturating_sub(u64::from(tail) * 1000),
            );
            if let Some(way) = self.ways.get_mut(way_of(from, to)) {
                way.ends_at = Some(before);
            }
        }
    }

    pub(crate) fn next_arrival(&self) -> Option<TrueTime> {
        self.under_way.peek().map(|next| next.0.arrives)
    }

    /// The datagram that arrives by `now`.
    pub(crate) fn poll_arrival(&mut self, now: TrueTime) -> Option<UnderWay> {
        if self.next_arrival()? > now {
            return None;
        }
        let arrived = self.under_way.pop()?.0;
        if let Some(way) = self.ways.get_mut(way_of(arrived.from, arrived.to)) {
            self.counts.overtaken += u64::from(arrived.number < way.newest_arrived);
            way.newest_arrived = way.newest_arrived.max(arrived.number);
        }
        Some(arrived)
    }

    pub(crate) fn send(&mut self, now: TrueTime, from: PeerId, to: PeerId, bytes: &[u8]) {
        self.sent += 1;
        let Some(delay) = self.fate(now, from, to) else { return };
        let copies = match !self.is_healed && self.random.chance(self.faults.duplicate_per_mille) {
            true => 2,
            false => 1,
        };
        self.counts.duplicated += copies - 1;
        for copy in 0..copies {
            let jitter = match self.is_healed {
                true => 0,
                false => self.random.between(0, self.faults.jitter_max_ms.saturating_mul(1000)),
            };
            let mut bytes = bytes.to_vec();
            let is_damaged = !self.is_healed && self.damage(&mut bytes);
            self.under_way.push(Reverse(UnderWay {
                arrives: now.plus_micros(delay).plus_micros(jitter.into()),
                number: self.sent,
                copy: u8::from(copy > 0),
                from,
                to,
                is_damaged,
                bytes,
            }));
        }
    }

    /// Lets what `from` sends pass again, after its crash.
    pub(crate) fn restore(&mut self, from: PeerId) {
        for to in PeerId::all(PEERS_MAX) {
            if let Some(way) = self.ways.get_mut(way_of(from, to)) {
                way.ends_at = None;
            }
        }
    }

    /// How long the datagram takes; `None` when it is lost.
    fn fate(&mut self, now: TrueTime, from: PeerId, to: PeerId) -> Option<u64> {
        let crosses = |partition: &Partition| {
            now < partition.until && partition.side.contains(from) != partition.side.contains(to)
        };
        let is_parted = self.partitions.iter().any(crosses);
        let way = self.ways.get_mut(way_of(from, to))?;
        if is_parted || now < way.muted_until {
            self.counts.partitioned += 1;
            return None;
        }
        if way.ends_at.is_some_and(|end| now >= end) {
            self.counts.crash_tails += 1;
            return None;
        }
        if self.is_healed {
            return Some(way.delay_micros);
        }
        let turn = match way.is_in_burst {
            true => self.faults.burst_end_per_mille,
            false => self.faults.burst_start_per_mille,
        };
        if self.random.chance(turn) {
            way.is_in_burst = !way.is_in_burst;
        }
        if way.is_in_burst {
            self.counts.lost_in_bursts += 1;
            return None;
        }
        if self.random.chance(way.loss_per_mille) {
            self.counts.lost += 1;
            return None;
        }
        Some(way.delay_micros)
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) -> bool {
        if !self.random.chance(self.faults.corrupt_per_mille) || bytes.is_empty() {
            return false;
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if self.random.chance(250) {
            bytes.truncate(self.random.below(length) as usize);
            self.counts.truncated += 1;
            return true;
        }
        // Distinct bits of one byte, so that no flip undoes another.
        let bits = u8::try_from(self.random.between(1, 255)).unwrap_or(1);
        if let Some(byte) = bytes.get_mut(self.random.below(length) as usize) {
            *byte ^= bits;
        }
        self.counts.flipped += 1;
        true
    }
}

fn way_of(from: PeerId, to: PeerId) -> usize {
    from.index() * PEERS_MAX + to.index()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> [PeerId; 2] {
        [0, 1].map(|slot| PeerId::new(slot).unwrap())
    }

    fn arrived(network: &mut Network) -> usize {
        let end = TrueTime::from_millis(1_000_000);
        core::iter::from_fn(|| network.poll_arrival(end)).count()
    }

    #[test]
    fn without_faults_everything_arrives_as_it_was_sent() {
        let [a, b] = peers();
        let mut network = Network::new(&Faults::none(), Random::new(1, 0));
        for _ in 0..100 {
            network.send(TrueTime::ZERO, a, b, &[1, 2, 3]);
        }
        assert_eq!(network.next_arrival(), Some(TrueTime::ZERO));
        assert_eq!(arrived(&mut network), 100);
        assert_eq!(network.counts, FaultCounts::default());
    }

    #[test]
    fn every_fault_strikes_until_it_heals() {
        let [a, b] = peers();
        let faults = Faults {
            jitter_max_ms: 20,
            loss_max_per_mille: 500,
            burst_start_per_mille: 20,
            burst_end_per_mille: 200,
            duplicate_per_mille: 100,
            corrupt_per_mille: 100,
            ..Faults::none()
        };
        let mut network = Network::new(&faults, Random::new(3, 0));
        for millis in 0..2_000 {
            network.send(TrueTime::from_millis(millis), a, b, &[0; 40]);
        }
        arrived(&mut network);
        let FaultCounts { lost, lost_in_bursts, duplicated, overtaken, flipped, truncated, .. } =
            network.counts;
        for count in [lost, lost_in_bursts, duplicated, overtaken, flipped, truncated] {
            assert!(count > 0, "{:?}", network.counts);
        }
        network.heal();
        for _ in 0..1_000 {
            network.send(TrueTime::ZERO, a, b, &[0; 40]);
        }
        assert_eq!(arrived(&mut network), 1_000);
    }

    #[test]
    fn nothing_crosses_a_partition_or_a_muted_way() {
        let [a, b] = peers();
        let mut network = Network::new(&Faults::none(), Random::new(1, 0));
        network.part(PeerSet::first(1), TrueTime::from_millis(10));
        network.send(TrueTime::from_millis(9), a, b, &[0]);
        network.send(TrueTime::from_millis(10), a, b, &[0]);
        network.mute(a, b, TrueTime::from_millis(20));
        network.send(TrueTime::from_millis(19), a, b, &[0]);
        network.send(TrueTime::from_millis(19), b, a, &[0]);
        assert_eq!((arrived(&mut network), network.counts.partitioned), (2, 2));
    }
}
