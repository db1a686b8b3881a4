//! What can go wrong in a simulation: by chance, by plan, and how often it did.

use alloc::vec::Vec;
use core::fmt;

use super::clock::TrueTime;
use super::random::Random;
use crate::{PeerId, PeerSet};

/// What goes wrong by chance, and how badly. Every field is a limit: each direction of each link, and each peer,
/// draws its own value up to it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// How long a datagram is under way at least.
    pub delay_min_ms: u32,
    /// How long a datagram is under way at most, in each direction the same. It stays when the faults heal: distance
    /// is no fault.
    pub delay_max_ms: u32,
    /// How much longer single datagrams take, so that later ones overtake them.
    pub jitter_max_ms: u32,
    /// How many datagrams of a thousand are lost, each by itself.
    pub loss_max_per_mille: u32,
    /// At how many datagrams of a thousand a burst of losses begins (Gilbert's model).
    pub burst_start_per_mille: u32,
    /// At how many datagrams of a thousand in a burst it ends.
    pub burst_end_per_mille: u32,
    /// How many datagrams of a thousand arrive twice.
    pub duplicate_per_mille: u32,
    /// How many datagrams of a thousand have bits flipped or are cut short.
    pub corrupt_per_mille: u32,
    /// How much faster or slower than true time a peer's clock runs, in parts of a million.
    pub clock_skew_max_ppm: u32,
    /// How far apart the clocks are at the beginning.
    pub clock_offset_max_ms: u32,
    /// How much later than the first a peer begins.
    pub start_spread_max_ms: u32,
    /// How many frames of a thousand take long, and hold up their peer.
    pub slow_frame_per_mille: u32,
    /// How long such a frame takes.
    pub slow_frame_max_ms: u32,
    /// How many times a peer's machine is too slow for a while: for its rollbacks, or for the game at all.
    pub slow_machines: u32,
    /// How much of a frame a step takes there: half of one up to so many percent.
    pub slow_machine_max_percent: u32,
    /// For how long: a second up to this.
    pub slow_machine_max_ms: u32,
    /// How many times the network breaks in two.
    pub partitions: u32,
    /// How long it stays broken: 200 ms up to this.
    pub partition_max_ms: u32,
    /// How many times one way between two peers breaks, while the way back is open.
    pub mutes: u32,
    /// How long it stays broken: 200 ms up to this.
    pub mute_max_ms: u32,
    /// How many times a peer stands still.
    pub pauses: u32,
    /// For how long: 50 ms up to this.
    pub pause_max_ms: u32,
    /// How many peers are gone from one moment to the next.
    pub crashes: u32,
    /// The datagrams of this long before its crash are lost on some of the ways, so that the others do not hold the
    /// same inputs of a peer that is gone.
    pub crash_tail_max_ms: u32,
    /// How many peers leave in order.
    pub leaves: u32,
    /// How many times a peer changes its input delay.
    pub delay_changes: u32,
    /// How many times a peer has all stand still, by agreement.
    pub agreed_pauses: u32,
    /// For how long: 50 ms up to this.
    pub agreed_pause_max_ms: u32,
    /// How many times a peer's players are driven by another: a policy for a person, or back.
    pub actor_swaps: u32,
    /// Of a thousand peers that crash or leave, how many come back into their slot.
    pub returns_per_mille: u32,
    /// How much later: 200 ms up to this.
    pub return_max_ms: u32,
    /// Of a thousand that come back or late, how many ask for a state: some are damaged, and the sources of some are lost.
    pub states_per_mille: u32,
    /// How many watch, from any moment on: through members and through each other, over paths like those of the peers.
    pub spectators: u32,
    /// How many times a peer is sent away by another.
    pub kicks: u32,
    /// How many times a bit of a peer's state is flipped. Then the members' states differ, and unless the configuration says
    /// something else all take over the majority's; the game must export and import its states.
    pub rays: u32,
    /// How many more flip a bit of the same peer's state soon after each of them, at most.
    pub ray_repeats: u32,
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A mixture that depends on the seed: some networks are good, some are hopeless.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed, STREAM_DRAWN);
        let mut up_to = |per_mille: u32, limits: &[u32]| match random.chance(per_mille) {
            true => random.one_of(limits).unwrap_or_default(),
            false => 0,
        };
        Self {
            delay_min_ms: 0,
            delay_max_ms: up_to(900, &[5, 20, 60, 120, 200]),
            jitter_max_ms: up_to(700, &[2, 10, 40, 100]),
            loss_max_per_mille: up_to(700, &[20, 100, 250, 500]),
            burst_start_per_mille: up_to(400, &[2, 10, 30]),
            burst_end_per_mille: 100,
            duplicate_per_mille: up_to(500, &[10, 100]),
            corrupt_per_mille: up_to(500, &[5, 50]),
            clock_skew_max_ppm: up_to(700, &[100, 1_000, 10_000]),
            clock_offset_max_ms: up_to(900, &[1_000, 10_000_000]),
            start_spread_max_ms: up_to(600, &[50, 1_500]),
            slow_frame_per_mille: up_to(300, &[5, 50]),
            slow_frame_max_ms: 60,
            partitions: up_to(400, &[1, 2]),
            partition_max_ms: 4_000,
            mute_max_ms: 4_000,
            pauses: up_to(400, &[1, 3]),
            pause_max_ms: 2_000,
            crashes: up_to(250, &[1, 1, 2, 3]),
            crash_tail_max_ms: 200,
            leaves: up_to(250, &[1, 1, 2, 4]),
            delay_changes: up_to(400, &[1, 5, 20]),
            agreed_pauses: up_to(300, &[1, 2, 6]),
            agreed_pause_max_ms: 1_500,
            actor_swaps: up_to(200, &[1, 4]),
            mutes: up_to(300, &[1, 3]),
            returns_per_mille: up_to(700, &[500, 1_000]),
            return_max_ms: 5_000,
            spectators: up_to(300, &[1, 2, 3]),
            kicks: up_to(150, &[1, 1, 2]),
            rays: 0,
            ray_repeats: 0,
            slow_machines: up_to(200, &[1, 1, 2]),
            slow_machine_max_percent: 300,
            states_per_mille: up_to(700, &[500, 1_000]),
            slow_machine_max_ms: 6_000,
        }
    }

    /// The same, with nothing that keeps two peers apart for `limit_ms` or longer.
    #[must_use]
    pub(crate) fn shorter_than(self, limit_ms: u32) -> Self {
        Self {
            partition_max_ms: self.partition_max_ms.min(limit_ms),
            mute_max_ms: self.mute_max_ms.min(limit_ms),
            pause_max_ms: self.pause_max_ms.min(limit_ms),
            ..self
        }
    }

    /// When all have been there for long enough that play has begun.
    pub(crate) fn earliest_ms(&self) -> u32 {
        self.start_spread_max_ms.saturating_add(EARLIEST_MS)
    }

    /// Has some of those that go come back.
    fn plan_returns(&self, random: &mut Random, plan: &mut Vec<Planned>) {
        for index in 0..plan.len() {
            let Some(gone) = plan.get(index).copied() else { break };
            let (Fault::Crash(peer) | Fault::Leave(peer)) = gone.fault else { continue };
            if random.chance(self.returns_per_mille) {
                let later = random.between(200, self.return_max_ms.max(200));
                let fault = Fault::Return(peer);
                plan.push(Planned { at: gone.at.plus_millis(later.into()), fault });
            }
        }
    }

    /// Whose states are struck, and when. A machine that goes wrong may do so again, before all have the state that they take over.
    fn plan_rays(
        &self,
        random: &mut Random,
        slots: u32,
        at: impl Fn(&mut Random, u32) -> TrueTime,
    ) -> Vec<Planned> {
        let mut plan = Vec::new();
        for _ in 0..self.rays {
            let drawn = u8::try_from(random.below(slots)).ok().and_then(PeerId::new);
            plan.extend(drawn.map(|peer| ray(random, peer, &at)));
        }
        for first in plan.clone() {
            let (Fault::Ray { peer, .. }, mut struck_at) = (first.fault, first.at) else {
                continue;
            };
            for _ in 0..random.below(self.ray_repeats + 1) {
                struck_at = struck_at.plus_millis(random.between(20, 400).into());
                let fault = Fault::Ray { peer, bit: random.below(1 << 20) };
                plan.push(Planned { at: struck_at, fault });
            }
        }
        plan
    }

    /// When those come that come late.
    pub(crate) fn plan_late(&self, random: &mut Random, late: PeerSet, by_ms: u32) -> Vec<Planned> {
        let earliest_ms = self.start_spread_max_ms.saturating_add(200);
        let at = |peer| {
            let millis = random.between(earliest_ms, by_ms.max(earliest_ms));
            Planned { at: TrueTime::from_millis(millis.into()), fault: Fault::Return(peer) }
        };
        late.iter().map(at).collect()
    }

    /// Who sends whom away, and when; some of them come back. Drawn apart, so that the rest of a seed stays as it is.
    pub(crate) fn plan_kicks(&self, random: &mut Random, peers: usize, by_ms: u32) -> Vec<Planned> {
        let slots = u32::try_from(peers).unwrap_or_default();
        let earliest_ms = self.earliest_ms();
        let mut plan = Vec::new();
        for _ in 0..if peers > 1 { self.kicks } else { 0 } {
            let by = random.below(slots);
            let kicked = (by + random.between(1, slots - 1)) % slots;
            let peer = |slot: u32| u8::try_from(slot).ok().and_then(PeerId::new);
            let (Some(by), Some(peer)) = (peer(by), peer(kicked)) else { break };
            let millis = random.between(earliest_ms, by_ms.max(earliest_ms));
            let at = TrueTime::from_millis(millis.into());
            plan.push(Planned { at, fault: Fault::Kick { by, peer } });
            if random.chance(self.returns_per_mille) {
                let later = random.between(2_000, self.return_max_ms.max(2_000));
                let fault = Fault::Return(peer);
                plan.push(Planned { at: at.plus_millis(later.into()), fault });
            }
        }
        plan
    }

    /// What is drawn to happen at a moment: once all peers play, and over at `heal_at_ms`.
    pub(crate) fn plan(&self, random: &mut Random, peers: usize, heal_at_ms: u32) -> Vec<Planned> {
        let earliest_ms = self.earliest_ms();
        let mut plan = Vec::new();
        let mut untouched: Vec<PeerId> = PeerId::all(peers).collect();
        let slots = u32::try_from(peers).unwrap_or_default();
        let lasts_max_ms = heal_at_ms.saturating_sub(earliest_ms);
        let at = |random: &mut Random, lasts_ms: u32| {
            let latest = heal_at_ms.saturating_sub(lasts_ms).max(earliest_ms);
            TrueTime::from_millis(random.between(earliest_ms, latest).into())
        };
        let heals_at = TrueTime::from_millis(heal_at_ms.into());
        let partitions = if peers > 1 { self.partitions } else { 0 };
        for _ in 0..partitions {
            let millis = random.between(200, self.partition_max_ms.max(200)).min(lasts_max_ms);
            let bits = random.between(1, (1 << slots) - 2);
            let side = PeerSet::from_bits(u8::try_from(bits).unwrap_or(1));
            let starts = at(random, millis);
            plan.push(Planned { at: starts, fault: Fault::Partition { side, millis } });
        }
        for _ in 0..self.pauses {
            let millis = random.between(50, self.pause_max_ms.max(50)).min(lasts_max_ms);
            let starts = at(random, millis);
            let Some(peer) = random.one_of(&untouched) else { break };
            plan.push(Planned { at: starts, fault: Fault::Pause { peer, millis } });
        }
        for count in 0..self.crashes.saturating_add(self.leaves) {
            // One peer at least is left in peace.
            if untouched.len() < 2 {
                break;
            }
            let drawn = random.below(u32::try_from(untouched.len()).unwrap_or_default());
            let peer = untouched.swap_remove(drawn as usize);
            let fault = if count < self.crashes { Fault::Crash(peer) } else { Fault::Leave(peer) };
            plan.push(Planned { at: at(random, 0), fault });
        }
        for _ in 0..self.delay_changes {
            let drawn = u8::try_from(random.below(slots)).ok().and_then(PeerId::new);
            let Some(peer) = drawn else { break };
            let frames = u8::try_from(random.below(DELAY_DRAWN_MAX + 1)).unwrap_or_default();
            let fault = match random.chance(300) {
                true => Fault::ProposeDelay { peer, frames },
                false => Fault::SetDelay { peer, frames },
            };
            plan.push(Planned { at: at(random, 0), fault });
        }
        self.plan_returns(random, &mut plan);
        for _ in 0..self.agreed_pauses {
            let drawn = u8::try_from(random.below(slots)).ok().and_then(PeerId::new);
            let Some(peer) = drawn else { break };
            let millis = random.between(50, self.agreed_pause_max_ms.max(50)).min(lasts_max_ms);
            let starts = at(random, millis);
            plan.push(Planned { at: starts, fault: Fault::AgreedPause { peer, millis } });
        }
        for _ in 0..self.actor_swaps {
            let drawn = u8::try_from(random.below(slots)).ok().and_then(PeerId::new);
            let Some(peer) = drawn else { break };
            plan.push(Planned { at: at(random, 0), fault: Fault::SwapActor(peer) });
        }
        let mutes = if peers > 1 { self.mutes } else { 0 };
        for _ in 0..mutes {
            let from = random.below(slots);
            let to = (from + random.between(1, slots - 1)) % slots;
            let peer = |slot: u32| u8::try_from(slot).ok().and_then(PeerId::new);
            let (Some(from), Some(to)) = (peer(from), peer(to)) else { break };
            let millis = random.between(200, self.mute_max_ms.max(200)).min(lasts_max_ms);
            let starts = at(random, millis);
            plan.push(Planned { at: starts, fault: Fault::Mute { from, to, millis } });
        }
        let rays = self.plan_rays(random, slots, at);
        plan.extend(rays.into_iter().map(|ray| Planned { at: ray.at.min(heals_at), ..ray }));
        plan
    }
}

/// Something that goes wrong at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The peer is gone from one moment to the next.
    Crash(PeerId),
    /// The peer leaves in order.
    Leave(PeerId),
    /// The peer stands still: it neither hears nor says anything.
    Pause {
        /// The peer.
        peer: PeerId,
        /// For how long.
        millis: u32,
    },
    /// No datagram passes between these peers and the others.
    Partition {
        /// The peers on one side.
        side: PeerSet,
        /// For how long.
        millis: u32,
    },
    /// No datagram passes from one peer to another; the way back is open.
    Mute {
        /// The sender.
        from: PeerId,
        /// The receiver.
        to: PeerId,
        /// For how long.
        millis: u32,
    },
    /// The peer takes another input delay for its players.
    SetDelay {
        /// The peer.
        peer: PeerId,
        /// The delay.
        frames: u8,
    },
    /// The peer proposes an input delay for all players.
    ProposeDelay {
        /// The peer.
        peer: PeerId,
        /// The delay.
        frames: u8,
    },
    /// The peer pauses the episode for all.
    AgreedPause {
        /// The peer.
        peer: PeerId,
        /// When it resumes, if it is still there.
        millis: u32,
    },
    /// A policy takes over from a person for the peer's players, or a person from a policy.
    SwapActor(PeerId),
    /// The peer, which is gone, comes back into its slot in a new life, from another address; the others expect it.
    Return(PeerId),
    /// A peer sends another away.
    Kick {
        /// Who does it.
        by: PeerId,
        /// Who is sent away.
        peer: PeerId,
    },
    /// The peer resumes the episode that it paused.
    Resume(PeerId),
    /// A bit of the peer's live state is flipped.
    Ray {
        /// The peer.
        peer: PeerId,
        /// Which bit, counted round the state's bytes.
        bit: u32,
    },
    /// The peer says what follows a desync: a resync, or the end.
    Decide {
        /// The peer.
        peer: PeerId,
        /// Whether it is a resync.
        resyncs: bool,
    },
    /// The peer's machine is too slow for a while.
    Slow {
        /// The peer.
        peer: PeerId,
        /// How much of a frame each step of its game takes.
        step_percent: u16,
        /// For how long.
        millis: u32,
    },
    /// The peer proposes to end the episode.
    ProposeEnd {
        /// The peer.
        peer: PeerId,
        /// The application's number for the reason.
        code: u16,
    },
}

impl Fault {
    /// How long it lasts; what lasts for ever counts as a moment.
    pub(crate) fn lasts_ms(self) -> u32 {
        match self {
            Self::Pause { millis, .. }
            | Self::AgreedPause { millis, .. }
            | Self::Slow { millis, .. }
            | Self::Partition { millis, .. }
            | Self::Mute { millis, .. } => millis,
            Self::Crash(_)
            | Self::Leave(_)
            | Self::Resume(_)
            | Self::Return(_)
            | Self::Kick { .. }
            | Self::SwapActor(_)
            | Self::SetDelay { .. }
            | Self::ProposeDelay { .. }
            | Self::Ray { .. }
            | Self::Decide { .. }
            | Self::ProposeEnd { .. } => 0,
        }
    }
}

/// A bit of a state that is flipped.
fn ray(random: &mut Random, peer: PeerId, at: impl Fn(&mut Random, u32) -> TrueTime) -> Planned {
    let fault = Fault::Ray { peer, bit: random.below(1 << 20) };
    Planned { at: at(random, 0), fault }
}

/// A fault and its moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) at: TrueTime,
    pub(crate) fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:.3} s", self.fault, self.at.elapsed().as_secs_f64())
    }
}

/// Longer input delays than this are not drawn: nobody would play with them.
const DELAY_DRAWN_MAX: u32 = 30;

/// Nothing is drawn to happen before the last peer has been there for this long: play has begun by then.
const EARLIEST_MS: u32 = 1_000;

/// Keeps what is drawn here apart from everything else that is drawn from a seed.
const STREAM_DRAWN: u64 = 1;

#[cfg(test)]
mod tests;
