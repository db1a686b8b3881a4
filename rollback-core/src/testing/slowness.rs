//! Machines that are too slow for a while: each step of the game takes a good part of a frame, or more than one.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Debug;

use super::clock::TrueTime;
use super::fault_counts::FaultCounts;
use super::faults::{Fault, Faults, Planned};
use super::judgement::Judgement;
use super::node::Node;
use super::oracle::{Oracle, Violation};
use super::random::Random;
use super::world::Broken;
use crate::{Event, Game, PeerId, SessionConfig};

/// How slow a peer's machine is, and for how long.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slowness {
    until: TrueTime,
    step_micros: u64,
    has_slow_frames: bool,
    /// How often it has stood still.
    pauses: u32,
}

impl Slowness {
    /// Whether it ever was too slow: one that stands still now and then is not.
    fn has_struck(&self) -> bool {
        self.step_micros > 0 || self.has_slow_frames || self.pauses >= SLOW_FROM_PAUSES
    }
}

impl Faults {
    /// Whose machine is slow, and when. Drawn apart, so that the rest of a seed stays as it is.
    pub(crate) fn plan_slowness(
        &self,
        random: &mut Random,
        peers: usize,
        (from_ms, to_ms): (u32, u32),
    ) -> Vec<Planned> {
        let slots = u32::try_from(peers).unwrap_or_default();
        let plan = |_| {
            let peer = u8::try_from(random.below(slots)).ok().and_then(PeerId::new)?;
            let percent = random.between(SLOW_PERCENT_MIN, self.slow_machine_max_percent);
            let step_percent = u16::try_from(percent).unwrap_or(u16::MAX);
            let lasts_max = to_ms.saturating_sub(from_ms);
            let millis = random.between(SLOW_MS_MIN, self.slow_machine_max_ms).min(lasts_max);
            let starts = random.between(from_ms, to_ms.saturating_sub(millis).max(from_ms));
            let at = TrueTime::from_millis(starts.into());
            Some(Planned { at, fault: Fault::Slow { peer, step_percent, millis } })
        };
        (0..self.slow_machines).filter_map(plan).collect()
    }
}

impl<G: Game<Error: Debug>> Node<G> {
    /// From now on each step takes so many percent of a frame.
    pub(super) fn slow_down(&mut self, config: &SessionConfig, step_percent: u16, until: TrueTime) {
        let micros = |time: core::time::Duration| u64::try_from(time.as_micros()).unwrap_or(0);
        let step_micros = micros(config.frame_duration()) * u64::from(step_percent) / 100;
        // Who is silent for longer than the others wait is given up, which is another fault.
        let call_micros_max = micros(config.departure_timeout()) / 2;
        let step_micros = step_micros.min(call_micros_max / self.steps_max().max(1));
        self.slowness = Slowness { until, step_micros, ..self.slowness };
    }

    /// A single frame takes long.
    pub(super) fn stumble(&mut self, until: TrueTime) {
        self.slowness.has_slow_frames = true;
        self.keep_busy(until);
    }

    /// It stands still.
    pub(super) fn stand_still(&mut self, until: TrueTime) {
        self.slowness.pauses += 1;
        self.keep_busy(until);
    }

    /// How long a call takes that began at `now` and stepped the game so many times.
    pub(super) fn micros_taken(&self, now: TrueTime, steps: u64) -> u64 {
        if now < self.slowness.until { self.slowness.step_micros * steps } else { 0 }
    }
}

impl<G: Game<Error: Debug>> Judgement<'_, G> {
    /// Nobody slows the others down whose machine keeps its time, nor anybody below the limit.
    pub(super) fn check_slowness(&self) -> Result<(), Broken> {
        let min = self.setting.config.pace_min_percent();
        for node in self.nodes {
            for event in &node.events {
                let Event::PaceChanged { peer, percent } = event else { continue };
                // Whoever is named was slow itself; two pauses are no reason, nor is another's slowness.
                let was_slow = self.lives().any(|it| it.peer == *peer && it.slowness.has_struck());
                if *percent < min || *percent < 100 && !was_slow {
                    let detail = format!("{event:?}, at least {min}; was slow: {was_slow}");
                    return Err((Some(node.peer), Violation::new(Oracle::Pace, detail)));
                }
            }
        }
        Ok(())
    }

    /// How often a rate was said, followed and got over.
    pub(super) fn count_slowness(&self, counts: &mut FaultCounts) {
        for node in self.nodes {
            for event in &node.events {
                match event {
                    Event::PaceChanged { percent: 100, .. } => counts.rates_recovered += 1,
                    Event::PaceChanged { peer, .. } if *peer == node.peer => counts.rates_told += 1,
                    Event::PaceChanged { .. } => counts.rates_followed += 1,
                    _ => {}
                }
            }
        }
    }
}

/// Whose machine stands still so often may well be taken for slow.
const SLOW_FROM_PAUSES: u32 = 3;

/// What is drawn is slower than a machine that is fit for the game.
const SLOW_PERCENT_MIN: u32 = 50;

/// In less time nothing comes of it.
const SLOW_MS_MIN: u32 = 1_000;
