//! The game: ships and shots are entities of a world, and so is whatever else the application keeps there.

use std::convert::Infallible;

use hecs::{Entity, World};
use rollback_core::{Game, Outcome, PlayerHandle, StateHasher, Step};

/// The number of an entity that belongs to the simulation: the same on every computer. The world's own handle is not, for an
/// entity that is spawned again by a rollback has another. Entities without a number are the application's: cameras, sounds,
/// sprites. No rollback touches them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Id(pub(crate) u32);

/// Where something is, in 1/256 of a pixel: whole numbers are the same on every computer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position(pub(crate) i32, pub(crate) i32);

/// How far it moves in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Velocity(pub(crate) i32, pub(crate) i32);

/// What makes an entity a ship: whose it is, and how often it was hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ship {
    pub(crate) player: u8,
    pub(crate) hits: u32,
}

/// What makes an entity a shot: who fired it, and how many frames are left to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shot {
    player: u8,
    frames_left: u32,
}

/// The world of the application, and what belongs to the simulation beside its entities.
pub(crate) struct Arena {
    pub(crate) world: World,
    next_id: u32,
}

/// A saved state: the simulated entities in the order of their numbers, as rows. Copying rows is quick, and the order in
/// which a world keeps its entities does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rows {
    next_id: u32,
    rows: Vec<Row>,
}

/// All components of a simulated entity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Row {
    id: Id,
    position: Position,
    velocity: Velocity,
    ship: Option<Ship>,
    shot: Option<Shot>,
}

impl Arena {
    /// Puts a ship for each of two players into the application's world.
    pub(crate) fn new(world: World) -> Self {
        let mut arena = Self { world, next_id: 0 };
        for (player, x) in [(0, 0), (1, 200 * 256)] {
            let parts = (Position(x, 0), Velocity(0, 0), Ship { player, hits: 0 });
            arena.spawn(parts);
        }
        arena
    }

    /// How often each ship was hit, in the order of their numbers.
    pub(crate) fn hits(&self) -> Vec<u32> {
        let mut query = self.world.query::<(&Id, &Ship)>();
        let mut hits: Vec<_> = query.iter().map(|(id, ship)| (*id, ship.hits)).collect();
        hits.sort_unstable();
        hits.into_iter().map(|(_, hits)| hits).collect()
    }

    fn spawn(&mut self, parts: impl hecs::DynamicBundle) {
        let entity = self.world.spawn(parts);
        // It was spawned in this line, so it is there.
        let _ = self.world.insert_one(entity, Id(self.next_id));
        self.next_id += 1;
    }

    /// The simulated entities in the order of their numbers. A system whose result depends on the order goes by this one.
    fn simulated<Q: hecs::Query>(&self) -> Vec<Entity> {
        let mut query = self.world.query::<hecs::With<(Entity, &Id), Q>>();
        let mut entities: Vec<_> = query.iter().map(|(entity, id)| (*id, entity)).collect();
        entities.sort_unstable_by_key(|(id, _)| *id);
        entities.into_iter().map(|(_, entity)| entity).collect()
    }

    fn steer(&mut self, player: u8, keys: Keys) {
        let mut fires_from = None;
        for (ship, position, velocity) in
            self.world.query_mut::<(&Ship, &Position, &mut Velocity)>()
        {
            if ship.player == player {
                let (x, y) = keys.direction();
                *velocity =
                    Velocity((velocity.0 + 16 * x) * 15 / 16, (velocity.1 + 16 * y) * 15 / 16);
                fires_from = keys.fires().then_some(*position);
            }
        }
        if let Some(position) = fires_from {
            let way = if player == 0 { 1 } else { -1 };
            self.spawn((position, Velocity(way * 1024, 0), Shot { player, frames_left: 60 }));
        }
    }

    fn fly(&mut self) {
        for (_, position, velocity) in self.world.query_mut::<(&Id, &mut Position, &Velocity)>() {
            position.0 += velocity.0;
            position.1 = (position.1 + velocity.1).clamp(-100 * 256, 100 * 256);
        }
    }

    fn hit(&mut self) {
        for entity in self.simulated::<&Shot>() {
            let found = self.world.query_one_mut::<(&mut Shot, &Position)>(entity);
            let Ok((shot, at)) = found else { continue };
            shot.frames_left -= 1;
            let (shot, at) = (*shot, *at);
            let mut is_over = shot.frames_left == 0;
            for (ship, position) in self.world.query_mut::<(&mut Ship, &Position)>() {
                if ship.player != shot.player && position.is_near(at) {
                    ship.hits += 1;
                    is_over = true;
                }
            }
            if is_over {
                // It is there: it was found above.
                let _ = self.world.despawn(entity);
            }
        }
    }
}

impl Game for Arena {
    /// Bits: left, right, up, down, fire.
    type Input = u8;
    type Snapshot = Rows;
    type Error = Infallible;

    fn save(&self, slot: &mut Rows) -> Result<(), Infallible> {
        slot.next_id = self.next_id;
        slot.rows.clear();
        let mut query =
            self.world.query::<(&Id, &Position, &Velocity, Option<&Ship>, Option<&Shot>)>();
        slot.rows.extend(query.iter().map(|(id, position, velocity, ship, shot)| Row {
            id: *id,
            position: *position,
            velocity: *velocity,
            ship: ship.copied(),
            shot: shot.copied(),
        }));
        slot.rows.sort_unstable_by_key(|row| row.id);
        Ok(())
    }

    fn load(&mut self, slot: &Rows) -> Result<(), Infallible> {
        // Simple, and quick for some hundred entities. One that keeps what is there and changes only the
        // components that differ spares the application's own components on these entities.
        for entity in self.simulated::<&Id>() {
            let _ = self.world.despawn(entity);
        }
        for Row { id, position, velocity, ship, shot } in slot.rows.iter().copied() {
            let entity = self.world.spawn((id, position, velocity));
            if let Some(ship) = ship {
                let _ = self.world.insert_one(entity, ship);
            }
            if let Some(shot) = shot {
                let _ = self.world.insert_one(entity, shot);
            }
        }
        self.next_id = slot.next_id;
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Infallible> {
        for player in 0..2 {
            let keys = PlayerHandle::new(player).map(|handle| step.input(handle));
            self.steer(player, Keys(keys.unwrap_or_default()));
        }
        self.fly();
        self.hit();
        Ok(if step.frame().index() + 1 == LENGTH_FRAMES {
            Outcome::Ended
        } else {
            Outcome::Running
        })
    }

    fn hash(&self, slot: &Rows, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u32(slot.next_id);
        for Row { id, position, velocity, ship, shot } in &slot.rows {
            hasher.write_u32(id.0);
            hasher.write_i32s(&[position.0, position.1, velocity.0, velocity.1]);
            let ship = ship.map_or([0; 3], |ship| [1, ship.player.into(), ship.hits]);
            let shot = shot.map_or([0; 3], |shot| [1, shot.player.into(), shot.frames_left]);
            hasher.write_u32s(&ship);
            hasher.write_u32s(&shot);
        }
        Ok(())
    }
}

impl Position {
    fn is_near(self, other: Self) -> bool {
        (self.0 - other.0).abs() < REACH && (self.1 - other.1).abs() < REACH
    }
}

#[derive(Clone, Copy)]
struct Keys(u8);

impl Keys {
    fn direction(self) -> (i32, i32) {
        let key = |bit: u8| i32::from(self.0 >> bit & 1);
        (key(1) - key(0), key(3) - key(2))
    }

    fn fires(self) -> bool {
        self.0 & 16 != 0
    }
}

/// How near a shot must be to hit.
const REACH: i32 = 8 * 256;

/// Ten seconds at 60 frames a second.
const LENGTH_FRAMES: u32 = 600;
