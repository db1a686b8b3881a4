//! What is planned of faults.

use super::*;

#[test]
fn what_is_planned_is_over_when_the_faults_heal() {
    for seed in 0..200 {
        let faults = Faults { partitions: 2, pauses: 3, ..Faults::drawn(seed) };
        let plan = faults.plan(&mut Random::new(seed, 0), 4, 6_000);
        for planned in plan {
            let end = planned.at.plus_millis(planned.fault.lasts_ms().into());
            // One that comes back may do so whenever it likes.
            let is_return = matches!(planned.fault, Fault::Return(_));
            assert!(is_return || end <= TrueTime::from_millis(6_000), "{planned:?}");
        }
    }
}

#[test]
fn one_peer_at_least_stays() {
    let faults = Faults { crashes: 3, leaves: 3, ..Faults::none() };
    let plan = faults.plan(&mut Random::new(1, 0), 4, 6_000);
    assert_eq!(plan.len(), 3);
}
