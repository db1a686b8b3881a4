//! Inputs of tens and hundreds of bytes, as of robots and of continuous controls, of which a datagram has no room for all that are not acknowledged.

use std::convert::Infallible;
use std::time::Duration;

use rollback_core::testing::{Fault, Faults, Random, Report, Simulation};
use rollback_core::{Game, Outcome, PlayerHandle, StateHasher, Step};

use crate::{good_network, peer};

/// All inputs so far, in a few bytes.
#[derive(Clone, Default)]
struct Digest<const WIDTH: usize>(u64);

impl<const WIDTH: usize> Game for Digest<WIDTH> {
    type Input = [u8; WIDTH];
    type Snapshot = u64;
    type Error = Infallible;

    fn save(&self, slot: &mut u64) -> Result<(), Infallible> {
        *slot = self.0;
        Ok(())
    }

    fn load(&mut self, slot: &u64) -> Result<(), Infallible> {
        self.0 = *slot;
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, [u8; WIDTH]>) -> Result<Outcome, Infallible> {
        for byte in step.row() {
            self.0 = self.0.rotate_left(5).wrapping_mul(0x9e37_79b9) ^ u64::from(*byte);
        }
        Ok(Outcome::Running)
    }

    fn hash(&self, slot: &u64, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u64(*slot);
        Ok(())
    }
}

const FRAMES: u32 = 600;

/// People whose inputs are so long and change in every frame, on ways of `delay_ms` that lose so many datagrams of a thousand.
fn meets(peers: usize, delay_ms: u32, loss_per_mille: u32) -> Simulation {
    let faults = Faults {
        delay_min_ms: delay_ms,
        delay_max_ms: delay_ms,
        loss_max_per_mille: loss_per_mille,
        ..Faults::none()
    };
    let inputs = |_: PlayerHandle, random: &mut Random, input: &mut [u8]| random.fill(input);
    let simulation = good_network(peers).frames(FRAMES).faults(faults).inputs(inputs);
    simulation.config(|builder| builder.prediction_window_frames(10))
}

fn ends<const WIDTH: usize>(simulation: Simulation) -> Report {
    simulation.run(Digest::<WIDTH>::default).unwrap_or_else(|failure| panic!("{failure}"))
}

fn plays<const WIDTH: usize>(delay_ms: u32, loss_per_mille: u32) -> Report {
    ends::<WIDTH>(meets(2, delay_ms, loss_per_mille))
}

fn stalls(report: &Report) -> usize {
    report.peers.iter().map(|peer| peer.stalled_at.len()).sum()
}

/// How long 600 frames take when nobody waits, with a second to begin and to end.
const IN_TIME: Duration = Duration::from_millis(FRAMES as u64 * 1000 / 60 + 1000);

#[test]
fn long_inputs_wait_no_longer_than_short_ones() {
    let short = stalls(&plays::<1>(50, 0));
    for report in
        [plays::<32>(50, 0), plays::<128>(50, 0), plays::<256>(50, 0), plays::<480>(50, 0)]
    {
        assert!(report.lasted < IN_TIME, "{:?}", report.lasted);
        assert!(stalls(&report) <= short + 4, "{} and {short}", stalls(&report));
    }
}

#[test]
fn what_is_lost_of_long_inputs_holds_nobody_up_for_long() {
    let on_a_lossy_way = [
        (plays::<32>(75, 200), 35),
        (plays::<64>(75, 200), 60),
        (plays::<128>(75, 200), 90),
        (plays::<256>(75, 200), 120),
        (plays::<128>(100, 100), 65),
    ];
    for (report, stalls_max) in on_a_lossy_way {
        assert!(stalls(&report) <= stalls_max, "{} of {stalls_max}", stalls(&report));
    }
    let short = stalls(&plays::<1>(50, 50));
    for report in [plays::<128>(50, 50), plays::<256>(50, 50), plays::<480>(50, 50)] {
        assert!(stalls(&report) <= short + 4, "{} and {short}", stalls(&report));
    }
}

#[test]
fn the_delay_of_long_inputs_follows_how_late_they_come() {
    let rollbacks = |report: &Report| -> u64 {
        report.peers.iter().map(|peer| peer.counters.rollback.rollbacks).sum()
    };
    let fixed = plays::<128>(70, 0);
    let automatic = ends::<128>(meets(2, 70, 0).automatic_input_delay(0, 8));
    assert!(rollbacks(&automatic) * 4 < rollbacks(&fixed), "{}", rollbacks(&automatic));
}

/// Eight players on four computers, one of which another one does not hear for two seconds.
#[test]
fn long_inputs_are_passed_on_too() {
    let mute = Fault::Mute { from: peer(2), to: peer(0), millis: 2_000 };
    let meeting = meets(4, 20, 50).players_per_peer(2..=2).at_ms(3_000, mute);
    let report = ends::<60>(meeting);
    assert!(report.lasted < IN_TIME, "{:?}", report.lasted);
}
