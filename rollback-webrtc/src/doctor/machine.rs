//! Whether this computer keeps time, and what the engine costs on it.

use std::convert::Infallible;
use std::thread;
use std::time::Duration;

use rollback_core::{
    Facts, Game, Outcome as Ending, Output, PeerId, Roster, Session, SessionConfig, StateHasher,
    Step, Ticket, Timestamp,
};

use super::finding::{Finding, Millis, Outcome, Part};
use crate::clock::Clock;

/// Looks at the computer, in some tenths of a second.
pub(super) fn machine(clock: Clock) -> Vec<Finding> {
    vec![timer(clock), engine(clock)]
}

/// How late a thread wakes that sleeps until a frame.
fn timer(clock: Clock) -> Finding {
    let mut lates: Vec<Duration> = (0..SLEEPS)
        .map(|_| {
            let due = clock.now().plus(SLEEP);
            thread::sleep(SLEEP);
            clock.now().since(due)
        })
        .collect();
    lates.sort_unstable();
    let at = |percent: usize| lates.get(lates.len() * percent / 100).copied().unwrap_or_default();
    let (median, late) = (at(50), at(90));
    let text = format!("wakes {} late, one time in ten {} or more", Millis(median), Millis(late));
    let outcome = match median <= LATE_MAX {
        true => Outcome::Good,
        false => Outcome::Note,
    };
    Finding::new(Part::Machine, "timer", outcome, text)
}

/// What the engine itself takes for a frame, with a game that costs nothing.
fn engine(clock: Clock) -> Finding {
    let (outcome, text) = match engine_frame(clock) {
        Some((frame, _)) => {
            let share = frame.as_secs_f64() / FRAME.as_secs_f64() * 100.0;
            let outcome = match frame <= FRAME / 10 {
                true => Outcome::Good,
                false => Outcome::Bad,
            };
            let micros = frame.as_secs_f64() * 1e6;
            let text = format!(
                "{micros:.1} µs a frame, a rollback of {BEHIND_FRAMES} frames in it: {share:.2} % of the time at 60 a second"
            );
            (outcome, text)
        }
        None => (Outcome::Note, "two sessions in this process did not play".to_owned()),
    };
    Finding::new(Part::Machine, "engine", outcome, text)
}

/// Two sessions whose datagrams are a few frames on their way play a game; how long a frame of one took, and how many
/// rollbacks it had.
fn engine_frame(clock: Clock) -> Option<(Duration, u64)> {
    let peers = [PeerId::new(0)?, PeerId::new(1)?];
    let config = SessionConfig::builder().players(2).tick_rate_hz(60).build().ok()?;
    let roster = Roster::new(&peers).ok()?;
    let mut members = Vec::new();
    for local in peers {
        let ticket = Ticket {
            session: 1,
            episode: 0,
            seed: 1,
            roster: roster.clone(),
            local,
            incarnation: 0,
        };
        let session =
            Session::new(&config, &ticket, Facts::default(), &Sum(0), Timestamp::ZERO).ok()?;
        members.push((session, Sum(0)));
    }
    // For each member what is on its way to it, with the frame in which it comes.
    let mut on_the_way: [Vec<(u32, Vec<u8>)>; 2] = [Vec::new(), Vec::new()];
    let mut taken = Duration::ZERO;
    for frame in 0..FRAMES {
        let now = Timestamp::ZERO.plus(FRAME * frame);
        for (index, (session, game)) in members.iter_mut().enumerate() {
            let started = clock.now();
            let (local, other) = (peers.get(index)?, peers.get(1 - index)?);
            let arriving = on_the_way.get_mut(index)?;
            let come = arriving.partition_point(|(at, _)| *at <= frame);
            for (_, datagram) in arriving.drain(..come) {
                session.handle_datagram(now, *other, &datagram);
            }
            let player = roster.players_of(*local).next()?;
            // Inputs that change all the time, so that every guess is wrong.
            session.set_local_input(player, &u8::try_from(frame % 251).ok()?).ok()?;
            session.advance_frame(now, game).ok()?;
            while let Some(output) = session.poll_output(now) {
                if let Output::Datagram { bytes, .. } = output {
                    let at = frame + BEHIND_FRAMES;
                    on_the_way.get_mut(1 - index)?.push((at, bytes.to_vec()));
                }
            }
            if index == 0 {
                taken += clock.now().since(started);
            }
        }
    }
    let rollbacks = members.first()?.0.counters().rollback.rollbacks;
    Some((taken / FRAMES, rollbacks))
}

/// The least game: it costs nothing, so that what is measured is the engine.
struct Sum(u64);

impl Game for Sum {
    type Input = u8;
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

    fn step(&mut self, step: &Step<'_, u8>) -> Result<Ending, Infallible> {
        for input in step.inputs() {
            self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(input));
        }
        Ok(Ending::Running)
    }

    fn hash(&self, slot: &u64, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u64s(&[*slot]);
        Ok(())
    }
}

/// How often a thread sleeps, and for how long.
const SLEEPS: u32 = 40;
const SLEEP: Duration = Duration::from_millis(5);

/// A timer that is later than this costs a game at 60 frames a second an eighth of its frames.
const LATE_MAX: Duration = Duration::from_millis(2);

const FRAME: Duration = Duration::from_micros(16_667);

/// How many frames are played, and how many of them a datagram is on its way.
const FRAMES: u32 = 600;
const BEHIND_FRAMES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_measured_while_it_rolls_back() {
        let (frame, rollbacks) = engine_frame(Clock::start()).unwrap();
        assert!(frame > Duration::ZERO);
        assert!(rollbacks > u64::from(FRAMES) / 2, "{rollbacks}");
    }
}
