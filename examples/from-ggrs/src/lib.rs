//! A small game on ggrs and the same game on rollback-core. `docs/from-ggrs.md` shows the files `on_ggrs.rs` and
//! `on_rollback.rs` side by side.

#![expect(clippy::indexing_slicing, reason = "two boats, two players, two ends of a wire")]
#![expect(clippy::expect_used, reason = "what ggrs asks to load was saved")]

pub mod on_ggrs;
pub mod on_rollback;
pub mod race;
pub mod wire;

use std::error::Error;

use rollback_core::Timestamp;

use race::{Keys, Race};
use wire::{Clock, Wire};

/// What came of a race.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Played {
    /// The final state on each computer.
    pub races: [Race; 2],
    /// How many times each went back.
    pub rollbacks: [u64; 2],
}

/// Plays a race between two computers on ggrs.
///
/// # Errors
/// When ggrs returns one, or nobody arrives.
pub fn play_on_ggrs() -> Result<Played, Box<dyn Error>> {
    let clock = Clock::default();
    let [one, other] = Wire::pair(&clock, DELAYS);
    let computers = [on_ggrs::Computer::new(0, one)?, on_ggrs::Computer::new(1, other)?];
    let computers = play(&clock, computers, |computer, player, _| {
        Ok(computer.tick(|frame| script(player, frame))?)
    })?;
    let rollbacks = [computers[0].rollbacks, computers[1].rollbacks];
    Ok(Played { races: computers.map(|computer| computer.race), rollbacks })
}

/// Plays the same race on rollback-core.
///
/// # Errors
/// When the engine returns one, or nobody arrives.
pub fn play_on_rollback() -> Result<Played, Box<dyn Error>> {
    let clock = Clock::default();
    let [one, other] = Wire::pair(&clock, DELAYS);
    let computers = [on_rollback::Computer::new(0, one)?, on_rollback::Computer::new(1, other)?];
    let computers = play(&clock, computers, |computer, player, tick| {
        let now = Timestamp::from_micros(tick * 16_667);
        computer.tick(now, |frame| script(player, frame))
    })?;
    let rollbacks = [computers[0].rollbacks(), computers[1].rollbacks()];
    Ok(Played { races: computers.map(|computer| computer.race), rollbacks })
}

/// Lets two computers take turns until the race is over on both.
fn play<C>(
    clock: &Clock,
    mut computers: [C; 2],
    turn: impl Fn(&mut C, usize, u64) -> Result<bool, Box<dyn Error>>,
) -> Result<[C; 2], Box<dyn Error>> {
    for tick in 0..TICKS_MAX {
        clock.set(tick);
        let mut are_over = [false; 2];
        for (player, computer) in computers.iter_mut().enumerate() {
            are_over[player] = turn(computer, player, tick)?;
        }
        if are_over == [true; 2] {
            return Ok(computers);
        }
    }
    Err("nobody arrives".into())
}

/// What the players do: they row in turns of different lengths, and the second one brakes now and then.
#[must_use]
pub fn script(player: usize, frame: u32) -> Keys {
    match player {
        0 => Keys { row: frame % 17 < 11, brake: false },
        _ => Keys { row: frame % 13 < 9, brake: frame.is_multiple_of(29) },
    }
}

/// How long each computer's datagrams are under way, in ticks.
const DELAYS: [u64; 2] = [4, 5];

/// Many times what a race takes.
const TICKS_MAX: u64 = 10_000;
