//! Datagrams that nobody sent: they change nothing, and panic nothing.

use rollback_core::testing::{Faults, Report, Simulation};

use crate::games::Arena;

/// Three peers, 600 frames and more, with 60 datagrams of noise before each.
fn played(noise_per_frame: u32) -> Report {
    let faults = Faults { delay_max_ms: 30, loss_max_per_mille: 100, ..Faults::none() };
    let simulation = Simulation::new(11).peers(3).faults(faults).noise_per_frame(noise_per_frame);
    simulation.run(Arena::endless).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_hundred_thousand_random_and_mutated_datagrams_change_no_state() {
    let (quiet, noisy) = (played(0), played(60));
    let heard: u64 = noisy.peers.iter().map(|peer| peer.refused + peer.counters.strangers).sum();
    assert!(heard >= 100_000, "{heard}");
    for (quiet, noisy) in quiet.peers.iter().zip(&noisy.peers) {
        assert_eq!(quiet.log, noisy.log);
        assert_eq!(quiet.end, noisy.end);
        assert_eq!(quiet.events, noisy.events);
        assert_eq!(quiet.counters.rollback, noisy.counters.rollback);
        assert_eq!(quiet.counters.frames, noisy.counters.frames);
        assert_eq!(quiet.counters.stalls, noisy.counters.stalls);
    }
    assert_eq!(quiet.lasted, noisy.lasted);
}

#[test]
fn no_datagram_with_a_right_tag_panics_whatever_it_holds() {
    for seed in 0..30 {
        let simulation = Simulation::new(seed)
            .peers(2 + (seed % 3) as usize)
            .frames(200)
            .noise_per_frame(20)
            .noise_is_sealed()
            .waive_all();
        // Members of which one breaks the protocol may well not agree: only that it ends is asked for.
        let played = simulation.run(Arena::endless);
        assert!(played.is_ok(), "{played:?}");
    }
}
