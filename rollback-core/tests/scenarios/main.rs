//! Hand-written scenarios: what happens to people who play, one story a test.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests are tests"
)]

#[path = "../games/mod.rs"]
mod games;

mod actors;
mod branches;
mod clocks;
mod delays;
mod departures;
mod desyncs;
mod drivers;
mod ends;
mod handovers;
mod kicks;
mod late;
mod long_inputs;
mod outages;
mod parted;
mod pauses;
mod peers_bugs;
mod returns;
mod run_ahead;
mod silence;
mod slow;
mod spectators;
mod unhashed;
mod watching;

use rollback_core::testing::{Report, Simulation};
use rollback_core::{EndCause, PeerId, PeerSet};

use games::Arena;

fn peer(slot: u8) -> PeerId {
    PeerId::new(slot).unwrap()
}

fn peers(slots: &[u8]) -> PeerSet {
    slots.iter().map(|slot| peer(*slot)).collect()
}

/// So many peers on a good network, at 60 Hz with a window of 8 frames and a delay of 1.
fn good_network(peers: usize) -> Simulation {
    seeded_network(1, peers)
}

/// The same, with everything else drawn from another seed.
fn seeded_network(seed: u64, peers: usize) -> Simulation {
    Simulation::new(seed).peers(peers).no_faults().config(|builder| {
        let builder = builder.tick_rate_hz(60).prediction_window_frames(8).input_delay_frames(1);
        builder.report_interval_frames(10)
    })
}

fn plays(simulation: Simulation) -> Report {
    simulation.run(Arena::endless).unwrap_or_else(|failure| panic!("{failure}"))
}

fn cause(report: &Report, slot: u8) -> Option<EndCause> {
    report.peer(slot)?.end.map(|end| end.cause)
}

fn frames(report: &Report, slot: u8) -> usize {
    report.peer(slot).map_or(0, |peer| peer.log.rows().len())
}
