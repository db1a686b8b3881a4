//! The game: players run over a square field and collect a coin that then lies elsewhere. Whole numbers only, so that every
//! computer comes to the same state; knows no clock, no network and no thread.

use std::convert::Infallible;

use crate::ballast::Ballast;
use rollback_core::{Game, Input, Leaves, Outcome, StateHasher, Step};

/// The whole state of an episode. `Clone` is all that saving and loading need.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arena {
    frame: u32,
    frames: u32,
    runners: Vec<Runner>,
    coin: [i32; 2],
    /// The game draws from its own state and from nowhere else: so what it draws is saved, loaded and hashed with it.
    random: u64,
    /// None, but where somebody wants to see what a large state does.
    ballast: Ballast,
}

/// One player.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Runner {
    /// Where: each from 0 to [`SIDE`].
    pub position: [i32; 2],
    /// How far it goes in a frame.
    pub speed: [i32; 2],
    /// How many coins it has.
    pub coins: u32,
}

/// What a player does in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Keys {
    /// −1 to 1 in each direction.
    pub push: [i8; 2],
    /// Stop at once.
    pub brake: bool,
}

impl Arena {
    /// The state in which an episode of so many frames begins. Everything in it follows from the arguments, which are equal
    /// on all computers.
    #[must_use]
    pub fn new(players: usize, frames: u32, seed: u64) -> Self {
        let mut arena = Self { frames, random: seed, ..Self::default() };
        for _ in 0..players {
            let position = arena.draw_place();
            arena.runners.push(Runner { position, ..Runner::default() });
        }
        arena.coin = arena.draw_place();
        arena
    }

    /// The same state with ballast, of which all computers must have as much.
    #[must_use]
    pub fn with_ballast(self, ballast: Ballast) -> Self {
        Self { ballast, ..self }
    }

    /// The players, in their order.
    #[must_use]
    pub fn runners(&self) -> &[Runner] {
        &self.runners
    }

    /// Takes what [`export`](Game::export) wrote of a match like this one; `None` where it is something else.
    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let (frame, rest) = bytes.split_first_chunk()?;
        let (random, mut rest) = rest.split_first_chunk()?;
        (self.frame, self.random) = (u32::from_le_bytes(*frame), u64::from_le_bytes(*random));
        let mut number = || {
            let (number, others) = rest.split_first_chunk()?;
            rest = others;
            Some(i32::from_le_bytes(*number))
        };
        self.coin = [number()?, number()?];
        for runner in &mut self.runners {
            runner.position = [number()?, number()?];
            runner.speed = [number()?, number()?];
        }
        for runner in &mut self.runners {
            runner.coins = number()?.cast_unsigned();
        }
        self.ballast.read(rest).then_some(())
    }

    fn draw_place(&mut self) -> [i32; 2] {
        [self.draw(), self.draw()]
    }

    /// A number from 0 to [`SIDE`] (SplitMix64).
    fn draw(&mut self) -> i32 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let place = (bits ^ (bits >> 31)) % (u64::from(SIDE.unsigned_abs()) + 1);
        i32::try_from(place).unwrap_or(0)
    }
}

impl Runner {
    fn run(&mut self, keys: Keys) {
        for ((position, speed), push) in
            self.position.iter_mut().zip(&mut self.speed).zip(keys.push)
        {
            *speed = match keys.brake {
                true => 0,
                false => (*speed * 7 / 8 + 16 * i32::from(push)).clamp(-SPEED_MAX, SPEED_MAX),
            };
            *position = (*position + *speed).clamp(0, SIDE);
        }
    }

    fn is_at(&self, place: [i32; 2]) -> bool {
        self.position.iter().zip(place).all(|(own, other)| (own - other).abs() <= REACH)
    }
}

impl Game for Arena {
    type Input = Keys;
    type Snapshot = Self;
    type Error = Infallible;

    fn save(&self, slot: &mut Self) -> Result<(), Infallible> {
        slot.clone_from(self);
        Ok(())
    }

    fn load(&mut self, slot: &Self) -> Result<(), Infallible> {
        self.clone_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, Keys>) -> Result<Outcome, Infallible> {
        for (runner, keys) in self.runners.iter_mut().zip(step.inputs()) {
            runner.run(keys);
        }
        // The first one takes it where two arrive in the same frame: any rule will do, as long as it is the same for all.
        if let Some(winner) = self.runners.iter_mut().find(|runner| runner.is_at(self.coin)) {
            winner.coins += 1;
            self.coin = self.draw_place();
        }
        self.ballast.step(self.frame);
        self.frame += 1;
        Ok(if self.frame >= self.frames { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u32(slot.frame);
        hasher.write_u32(slot.frames);
        hasher.write_i32s(&slot.coin);
        hasher.write_u64(slot.random);
        for runner in &slot.runners {
            hasher.write_i32s(&runner.position);
            hasher.write_i32s(&runner.speed);
            hasher.write_u32(runner.coins);
        }
        slot.ballast.hash(hasher);
        Ok(())
    }

    // Not needed to play: one that comes back is given such a state, and need not step all that was played before it.
    fn export(&self, slot: &Self, bytes: &mut Vec<u8>) -> Result<bool, Infallible> {
        bytes.extend(slot.frame.to_le_bytes());
        bytes.extend(slot.random.to_le_bytes());
        let places = slot.runners.iter().flat_map(|runner| [runner.position, runner.speed]);
        let coins = slot.runners.iter().map(|runner| runner.coins.cast_signed());
        let numbers = slot.coin.into_iter().chain(places.flatten()).chain(coins);
        bytes.extend(numbers.flat_map(i32::to_le_bytes));
        slot.ballast.write(bytes);
        Ok(true)
    }

    fn import(&self, bytes: &[u8], slot: &mut Self) -> Result<bool, Infallible> {
        slot.clone_from(self);
        Ok(slot.read(bytes).is_some())
    }

    // Not needed to play: when two computers disagree, the first field that differs is named.
    fn leaves(&self, slot: &Self, leaves: &mut Leaves) -> Result<(), Infallible> {
        leaves.push("coin.x", slot.coin[0].cast_unsigned());
        leaves.push("coin.y", slot.coin[1].cast_unsigned());
        for (player, runner) in slot.runners.iter().enumerate() {
            leaves.push(&format!("runners[{player}].x"), runner.position[0].cast_unsigned());
            leaves.push(&format!("runners[{player}].y"), runner.position[1].cast_unsigned());
            leaves.push(&format!("runners[{player}].coins"), runner.coins);
        }
        Ok(())
    }
}

impl Input for Keys {
    // As many bytes as the configuration says, all alike. One is enough; more show what long inputs do on a bad network.
    const WIDTH: usize = 0;

    fn write(&self, bytes: &mut [u8]) {
        let code = |push: i8| match push.signum() {
            -1 => 2,
            push => push.unsigned_abs(),
        };
        bytes.fill(code(self.push[0]) | code(self.push[1]) << 2 | u8::from(self.brake) << 4);
    }

    fn read(bytes: &[u8]) -> Self {
        let bits = bytes.first().copied().unwrap_or_default();
        // Whatever comes over the network means something: here, an unknown code means no push.
        let push = |code: u8| match code & 3 {
            1 => 1,
            2 => -1,
            _ => 0,
        };
        Self { push: [push(bits), push(bits >> 2)], brake: bits & 16 != 0 }
    }
}

/// The field's last place in each direction.
pub const SIDE: i32 = 1_000;

const SPEED_MAX: i32 = 60;

/// How near a coin can be picked up.
const REACH: i32 = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::Walk;
    use rollback_core::SyncTest;
    use std::time::Duration;

    #[test]
    fn keys_survive_their_bytes() {
        for x in -1..=1 {
            for y in -1..=1 {
                for brake in [false, true] {
                    let keys = Keys { push: [x, y], brake };
                    let mut bytes = [0];
                    keys.write(&mut bytes);
                    assert_eq!(Keys::read(&bytes), keys);
                }
            }
        }
    }

    #[test]
    fn a_state_that_was_written_is_read_by_another() {
        let arena = || Arena::new(3, 900, 7).with_ballast(Ballast::new(1_000, Duration::ZERO));
        let mut played = arena();
        let mut walks: Vec<Walk> = (0..3).map(Walk::new).collect();
        let inputs =
            move |_, player: rollback_core::PlayerHandle| walks[player.index()].next_keys();
        SyncTest::new(3).frames(200).input_width(1).run(&mut played, inputs).unwrap();
        let (mut bytes, mut read) = (Vec::new(), arena());
        assert!(played.export(&played, &mut bytes).unwrap());
        assert!(arena().import(&bytes, &mut read).unwrap());
        assert_eq!(read, played);
        for length in 0..bytes.len() {
            assert!(!arena().import(&bytes[..length], &mut read).unwrap(), "{length} bytes");
        }
        bytes.push(0);
        assert!(!arena().import(&bytes, &mut read).unwrap());
    }

    /// The test to begin with: every frame is stepped, taken back and stepped again.
    #[test]
    fn the_arena_comes_back_to_what_it_was() {
        let mut walks: Vec<Walk> = (0..4).map(Walk::new).collect();
        let mut arena = Arena::new(4, 900, 7);
        let script: Vec<Vec<Keys>> =
            (0..900).map(|_| walks.iter_mut().map(Walk::next_keys).collect()).collect();
        let inputs = |frame: rollback_core::Frame, player: rollback_core::PlayerHandle| {
            script[frame.index() as usize % script.len()][player.index()]
        };
        let report = SyncTest::new(4).frames(1_000).input_width(1).run(&mut arena, inputs).unwrap();
        assert!(report.ended && report.frames == 900, "{report:?}");
        assert!(arena.runners().iter().map(|runner| runner.coins).sum::<u32>() > 3, "{arena:?}");
    }
}
