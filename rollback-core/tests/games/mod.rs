//! The game that the simulator's own tests play, and the ways in which it can go wrong.

use std::marker::PhantomData;

use rollback_core::{
    Costs, Frame, Game, Input, InputFlags, InputStatus, Leaves, Outcome, PlayerHandle, Same,
    StateHasher, Step,
};

/// Players push each other about. Every state depends on every input so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arena<I = u8> {
    rules: Rules,
    state: State,
    input: PhantomData<fn() -> I>,
}

/// What is special about an [`Arena`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// From this frame on it ends as soon as the players stand right, which depends on their inputs.
    pub(crate) may_end_from: Option<u32>,
    /// It ends after so many frames. Nothing of its state says so.
    pub(crate) ends_at: Option<u32>,
    /// Some guessed inputs cannot be stepped.
    pub(crate) fails_on_guesses: bool,
    /// A state to which a player came by the same input twice in a row cannot be saved, for some inputs.
    pub(crate) repeats_cannot_be_saved: bool,
    /// A save costs many times as much as a step.
    pub(crate) saves_are_dear: bool,
    /// Inputs of three frames in four do nothing.
    pub(crate) is_deaf: bool,
    /// What a policy gives cannot be stepped.
    pub(crate) fails_on_policies: bool,
    /// This frame cannot be stepped.
    pub(crate) fails_at: Option<u32>,
    /// From this frame on the first player's place is off by one.
    pub(crate) diverges_at: Option<u32>,
    /// In this frame the reward that is given, and nothing of the state, is off by one.
    pub(crate) misreports_at: Option<u32>,
    /// It reads no states that it wrote.
    pub(crate) cannot_import: bool,
    /// It writes none.
    pub(crate) cannot_export: bool,
    /// Its states have no leaves.
    pub(crate) has_no_leaves: bool,
    /// What an input does depends on how many steps ago it was reset or read from bytes, which no hash shows.
    pub(crate) ages: bool,
}

/// A saved state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    x: Vec<i32>,
    heat: u64,
    /// What the last step gave; it is no part of what the next one follows from, and not hashed.
    reward: i32,
    last_inputs: Vec<u8>,
    is_stuck: bool,
    /// As the order of a set, it is neither hashed nor written, and later steps follow from it.
    age: u8,
}

/// The arena could not be stepped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Jammed {
    /// At this frame.
    pub(crate) frame: Frame,
}

impl Arena {
    /// An arena that never ends.
    pub(crate) fn endless() -> Self {
        Self::default()
    }

    /// An arena with these rules.
    pub(crate) fn with(rules: Rules) -> Self {
        Self::of(rules)
    }
}

/// How hard each player pushes.
fn pushes<I: Input>(step: &Step<'_, I>) -> impl Iterator<Item = u8> {
    let players = PlayerHandle::all(step.player_count());
    players.map(|player| {
        step.input_bytes(player).iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
    })
}

impl<I: Input> Arena<I> {
    /// An arena with these rules, and inputs that may be long: how hard a player pushes is the sum of their bytes.
    pub(crate) fn of(rules: Rules) -> Self {
        Self { rules, state: State::default(), input: PhantomData }
    }

    fn is_jammed(&self, step: &Step<'_, I>) -> bool {
        self.rules.fails_at == Some(step.frame().index())
            || self.rules.fails_on_guesses && has_bad_guess(step)
            || self.rules.fails_on_policies && is_given_by_a_policy(step)
    }
}

fn has_bad_guess<I: Input>(step: &Step<'_, I>) -> bool {
    let players = PlayerHandle::all(step.player_count());
    let is_bad = |(player, push)| step.status(player) == InputStatus::Predicted && push % 7 == 3;
    players.zip(pushes(step)).any(is_bad)
}

fn is_given_by_a_policy<I: Input>(step: &Step<'_, I>) -> bool {
    let is_given = |player| step.flags(player).contains(InputFlags::POLICY);
    PlayerHandle::all(step.player_count()).any(is_given)
}

impl<I: Input> Game for Arena<I> {
    type Input = I;
    type Snapshot = State;
    type Error = Jammed;

    fn save(&self, slot: &mut State) -> Result<(), Jammed> {
        slot.clone_from(&self.state);
        // Half saved, as by a game that finds out on the way: the slot is spoilt.
        if self.state.is_stuck { Err(Jammed { frame: Frame::ZERO }) } else { Ok(()) }
    }

    fn load(&mut self, slot: &State) -> Result<(), Jammed> {
        self.state.clone_from(slot);
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, I>) -> Result<Outcome, Jammed> {
        let State { x, heat, reward, last_inputs, is_stuck, age } = &mut self.state;
        if self.rules.repeats_cannot_be_saved {
            let is_repeated = |(last, input): (&u8, &u8)| last == input && input % 7 == 3;
            *is_stuck = last_inputs.iter().zip(step.row()).any(is_repeated);
            last_inputs.clear();
            last_inputs.extend(step.row());
        }
        x.resize(step.player_count(), 0);
        *age = age.wrapping_add(u8::from(self.rules.ages));
        let frame = step.frame();
        let is_heard = !self.rules.is_deaf || frame.is_multiple_of(4);
        for (place, push) in x.iter_mut().zip(pushes(step)) {
            let push = if is_heard { push.wrapping_add(*age) } else { 0 };
            *place = place.wrapping_mul(31).wrapping_add(i32::from(push)) % 10_007;
            *heat = heat.rotate_left(7).wrapping_mul(0x9e37_79b9) ^ u64::from(push);
        }
        *reward = x.iter().sum::<i32>() % 100;
        *reward += i32::from(self.rules.misreports_at == Some(frame.index()));
        if self.rules.diverges_at.is_some_and(|at| frame.index() >= at)
            && let Some(first) = x.first_mut()
        {
            *first += 1;
        }
        // Half way through the step, as a real game would: the state is spoilt.
        if self.is_jammed(step) {
            return Err(Jammed { frame });
        }
        let may_end = self.rules.may_end_from.is_some_and(|from| frame.index() >= from);
        let is_over = may_end && self.state.x.iter().sum::<i32>() % 8 == 0
            || self.rules.ends_at == Some(frame.next().index());
        Ok(if is_over { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &State, hasher: &mut StateHasher) -> Result<(), Jammed> {
        hasher.write_i32s(&slot.x);
        hasher.write_u64(slot.heat);
        Ok(())
    }

    fn costs(&self) -> Costs {
        let save_nanos = if self.rules.saves_are_dear { 50_000 } else { 0 };
        Costs { save_nanos, step_nanos: 1_000 }
    }

    fn same(&self, one: &State, other: &State) -> Same {
        if one == other { Same::Yes } else { Same::No }
    }

    fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Jammed> {
        output.extend_from_slice(&self.state.reward.to_le_bytes());
        Ok(())
    }

    fn export(&self, slot: &State, bytes: &mut Vec<u8>) -> Result<bool, Jammed> {
        bytes.extend(slot.heat.to_le_bytes());
        bytes.extend(slot.x.iter().flat_map(|x| x.to_le_bytes()));
        Ok(!self.rules.cannot_export)
    }

    fn import(&self, bytes: &[u8], slot: &mut State) -> Result<bool, Jammed> {
        let Some((heat, x)) = bytes.split_first_chunk() else { return Ok(false) };
        let (x, rest) = x.as_chunks();
        let x = x.iter().map(|x| i32::from_le_bytes(*x)).collect();
        *slot = State { x, heat: u64::from_le_bytes(*heat), ..State::default() };
        Ok(rest.is_empty() && !self.rules.cannot_import)
    }

    fn leaves(&self, slot: &State, leaves: &mut Leaves) -> Result<(), Jammed> {
        if self.rules.has_no_leaves {
            return Ok(());
        }
        for (player, x) in slot.x.iter().enumerate() {
            leaves.push(&format!("players[{player}].x"), x.cast_unsigned());
        }
        let [a, b, c, d, ..] = slot.heat.to_le_bytes();
        leaves.push("heat", u32::from_le_bytes([a, b, c, d]));
        Ok(())
    }
}
