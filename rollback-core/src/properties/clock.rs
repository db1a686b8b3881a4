//! Clocks of sixteen bits that come round every 8.4 seconds.

use core::time::Duration;
use std::vec::Vec;

use proptest::prelude::*;

use crate::Timestamp;
use crate::clock_sync::{ClockSync, send_clock};

/// A pair of computers: how far apart their clocks are, and how long a datagram takes either way, in microseconds.
#[derive(Clone, Debug)]
struct Pair {
    begins: u64,
    apart: u64,
    ways: [u64; 2],
    /// The time until the next datagram, and how much longer it takes than the least.
    datagrams: Vec<(u64, u64)>,
}

fn pair() -> impl Strategy<Value = Pair> {
    // Twice as long as the clock takes to come round, and no silence so long that a turn could be missed.
    let datagrams = prop::collection::vec((1_000..400_000_u64, 0..200_000_u64), 60..120);
    let far = prop_oneof![0..20_000_000_u64, 0..u64::MAX / 4];
    let way = || 0..1_000_000_u64;
    (0..u64::MAX / 4, far, [way(), way()], datagrams)
        .prop_map(|(begins, apart, ways, datagrams)| Pair { begins, apart, ways, datagrams })
}

proptest! {
    #[test]
    fn the_round_trip_is_right_whatever_the_clocks_say(pair in pair()) {
        let mut sides = [ClockSync::default(), ClockSync::default()];
        let (mut time, mut last_beyond) = (pair.begins, 0);
        // The filter looks back half a second at least, and the last datagrams meet no queue.
        for (wait, queue) in pair.datagrams.into_iter().chain([(16_000, 0); 40]) {
            time += wait;
            last_beyond = queue;
            let at = Timestamp::from_micros;
            let [ours, theirs] = &mut sides;
            theirs.handle_sample(at(time + pair.apart + pair.ways[0] + queue), send_clock(at(time)));
            ours.handle_sample(at(time + pair.ways[1] + queue), send_clock(at(time + pair.apart)));
        }
        let reports = [sides[0].report().unwrap(), sides[1].report().unwrap()];
        sides[0].handle_report(reports[1]);
        sides[1].handle_report(reports[0]);
        let rtt = Duration::from_micros(pair.ways[0] + pair.ways[1]);
        for side in &sides {
            let found = side.rtt().unwrap();
            prop_assert!(found.abs_diff(rtt) <= ROUNDING * 2, "{found:?} for {rtt:?}");
            let age = Duration::from_micros(side.last_age_micros().unwrap());
            let expected = rtt / 2 + Duration::from_micros(last_beyond);
            prop_assert!(age.abs_diff(expected) <= ROUNDING * 3, "{age:?} for {expected:?}");
        }
    }
}

/// Clocks are cut to this.
const ROUNDING: Duration = Duration::from_micros(128);
