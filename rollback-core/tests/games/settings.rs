//! What is simulated under a seed: by the tests over ranges of seeds, and by `make simulate`.

use rollback_core::testing::{Failure, Faults, Oracle, Random, Report, Simulation};
use rollback_core::{Input, PeerId, PeerSet, PlayerHandle, Silence};

use crate::games::{Arena, Rules};

/// What is simulated under a seed: 2 to 8 peers with a player or two each.
pub(crate) fn simulation(seed: u64) -> Simulation {
    let peers = 2 + usize::try_from(seed % 7).unwrap_or(0);
    let simulation = Simulation::new(seed).peers(peers).players_per_peer(1..=2);
    // A state comes back to what it was after short taps, not after keys that are held.
    let simulation = if seed % 4 == 3 { simulation.inputs(tap) } else { simulation };
    let simulation = if seed % 8 == 7 { simulation.hints() } else { simulation };
    let last = u8::try_from(peers - 1).unwrap_or(0);
    match seed % 32 {
        1 | 14 => simulation.config(|builder| builder.silence(Silence::DepartForGood)),
        15 => simulation.config(|builder| builder.silence(Silence::Wait)),
        // One comes late, or, where there are enough, the lowest two.
        11 | 20 => simulation.config(move |builder| builder.late_peers(only(last))),
        26 | 31 if peers > 3 => {
            simulation.config(|builder| builder.late_peers(PeerSet::from_bits(0b11)))
        }
        _ if seed % 5 == 3 => with_rays(simulation, seed, peers),
        _ => simulation,
    }
}

/// Bits of states are flipped. Two at least stay: one alone would not notice that its state is another one.
fn with_rays(simulation: Simulation, seed: u64, peers: usize) -> Simulation {
    let rays = 1 + u32::try_from(seed % 3).unwrap_or(0);
    let faults = Faults::drawn(seed);
    let others = u32::try_from(peers).unwrap_or(0) - 2;
    let crashes = faults.crashes.min(others);
    let leaves = faults.leaves.min(others - crashes);
    let kicks = 0;
    let ray_repeats = ray_repeats(seed);
    simulation.faults(Faults { rays, ray_repeats, crashes, leaves, kicks, ..faults })
}

/// In every other seed a machine that goes wrong does so again soon.
fn ray_repeats(seed: u64) -> u32 {
    if seed % 2 == 1 { 3 } else { 0 }
}

fn only(slot: u8) -> PeerSet {
    PeerId::new(slot).into_iter().collect()
}

/// The same with crashes, leaves, pauses and partitions that fall together and outlast the departure timeout, so that
/// views change while views change.
pub(crate) fn storm(seed: u64) -> Simulation {
    let faults = Faults::drawn(seed);
    let faults = Faults {
        delay_max_ms: faults.delay_max_ms.min(60),
        loss_max_per_mille: faults.loss_max_per_mille.min(250),
        partitions: 1 + u32::try_from(seed % 3).unwrap_or(0),
        partition_max_ms: 6_000,
        mutes: 2 * u32::try_from(seed % 4).unwrap_or(0),
        mute_max_ms: 3_000,
        pauses: 2,
        pause_max_ms: 4_000,
        crashes: u32::try_from(seed % 3).unwrap_or(0),
        leaves: u32::try_from(seed % 5).unwrap_or(0) / 2,
        ..faults
    };
    // In every fifth bits are flipped: of one who is left alone nobody notices it, so that no state is promised then.
    if seed % 5 == 4 && !matches!(seed % 32, 11 | 20 | 26 | 31) {
        let ray_repeats = ray_repeats(seed);
        let faults =
            Faults { rays: 2, ray_repeats, leaves: 0, kicks: 0, returns_per_mille: 0, ..faults };
        let storm = simulation(seed).faults(faults).outlasting_timeouts();
        return storm.waive(Oracle::Reference);
    }
    let storm = simulation(seed).faults(faults).outlasting_timeouts();
    if failing(seed).is_some() { storm.waive(Oracle::GameFailure) } else { storm }
}

/// Plays what is simulated under a seed: in every eighth with inputs of which a datagram has no room for many.
pub(crate) fn play(simulation: Simulation, seed: u64) -> Result<Report, Box<Failure>> {
    match seed % 16 {
        5 => simulation.run(|| Arena::<[u8; 32]>::of(rules(seed))),
        10 => simulation.run(|| Arena::<[u8; 200]>::of(rules(seed))),
        _ => simulation.run(|| arena(seed)),
    }
}

/// The same for a storm: in every fifth the simulation fails at a frame on one peer.
pub(crate) fn play_storm(storm: Simulation, seed: u64) -> Result<Report, Box<Failure>> {
    match seed % 16 {
        5 => play_storm_of::<[u8; 32]>(storm, seed),
        10 => play_storm_of::<[u8; 200]>(storm, seed),
        _ => play_storm_of::<u8>(storm, seed),
    }
}

fn play_storm_of<I: Input>(storm: Simulation, seed: u64) -> Result<Report, Box<Failure>> {
    let of = |rules| Arena::<I>::of(rules);
    let arena_of = |peer: PeerId| match failing(seed) {
        Some((failing, frame)) if failing == peer => {
            of(Rules { fails_at: Some(frame), ..rules(seed) })
        }
        _ => of(rules(seed)),
    };
    storm.run_each(arena_of, || of(rules(seed)))
}

/// Whose simulation fails in a storm, and where.
fn failing(seed: u64) -> Option<(PeerId, u32)> {
    let frame = 60 + u32::try_from(seed % 240).unwrap_or(0);
    let is_failing = seed % 5 == 2;
    PeerId::new(1).filter(|_| is_failing).map(|peer| (peer, frame))
}

fn tap(_: PlayerHandle, random: &mut Random, input: &mut [u8]) {
    input.fill(u8::from(random.chance(100)));
}

/// The game that is played under a seed: every fourth may end, every fourth fails on some guesses, and every fourth is
/// such that rollbacks often come to the state that was. In every third a save costs more than a step.
pub(crate) fn arena(seed: u64) -> Arena {
    Arena::with(rules(seed))
}

fn rules(seed: u64) -> Rules {
    let rules = Rules { saves_are_dear: seed.is_multiple_of(3), ..Rules::default() };
    match seed % 4 {
        1 => Rules { may_end_from: Some(300), ..rules },
        2 => Rules { fails_on_guesses: true, ..rules },
        3 => Rules { is_deaf: true, ..rules },
        _ => rules,
    }
}
