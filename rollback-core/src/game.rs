//! The contract between the engine and a simulation: save, load, step, hash.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use crate::{Frame, Input, InputFlags, InputStatus, PlayerHandle, StateHasher};

/// A deterministic simulation: the same state and the same inputs give the same next state, on every computer.
///
/// A state that is `Clone` needs little more than its `step`:
///
/// ```
/// use core::convert::Infallible;
/// use rollback_core::{Game, Outcome, StateHasher, Step};
///
/// #[derive(Clone, Default)]
/// struct Duel { x: [i32; 2] }
///
/// impl Game for Duel {
///     type Input = i8;
///     type Snapshot = Self;
///     type Error = Infallible;
///     fn save(&self, slot: &mut Self) -> Result<(), Infallible> { slot.clone_from(self); Ok(()) }
///     fn load(&mut self, slot: &Self) -> Result<(), Infallible> { self.clone_from(slot); Ok(()) }
///     fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> {
///         for (x, push) in self.x.iter_mut().zip(step.inputs()) { *x += i32::from(push); }
///         Ok(if self.x.contains(&100) { Outcome::Ended } else { Outcome::Running })
///     }
///     fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> {
///         hasher.write_i32s(&slot.x);
///         Ok(())
///     }
/// }
/// ```
pub trait Game {
    /// What one player does in one frame.
    type Input: Input;
    /// A saved state. Slots are made once with `Default` and used again and again.
    type Snapshot: Default;
    /// Why the simulation cannot go on.
    type Error;

    /// Copies the state into `slot`, over whatever it held. As with a step, an error under predicted inputs is
    /// remembered, and only an error under real inputs ends the session.
    ///
    /// # Errors
    /// When the state cannot be saved.
    fn save(&self, slot: &mut Self::Snapshot) -> Result<(), Self::Error>;

    /// Goes back to the state in `slot`, which stays as it is.
    ///
    /// # Errors
    /// When the state cannot be loaded; the session ends, for it never steps an unknown state.
    fn load(&mut self, slot: &Self::Snapshot) -> Result<(), Self::Error>;

    /// Steps one frame. An error under predicted inputs is remembered, and the frame is stepped again when the
    /// inputs are real; only an error under real inputs ends the session.
    ///
    /// # Errors
    /// When the frame cannot be stepped with these inputs.
    fn step(&mut self, step: &Step<'_, Self::Input>) -> Result<Outcome, Self::Error>;

    /// Hashes a saved state. Equal states must give equal hashes on every computer.
    ///
    /// # Errors
    /// When the state cannot be hashed; the session ends.
    fn hash(&self, slot: &Self::Snapshot, hasher: &mut StateHasher) -> Result<(), Self::Error>;

    /// Appends what the last step gave beside the new state (rewards, flags), to be recorded once it is stable.
    ///
    /// # Errors
    /// When it cannot be had; treated as an error of the step.
    fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Self::Error> {
        let _ = output;
        Ok(())
    }

    /// The leaves of a saved state, in an order that depends on the state alone: what a desync report compares to
    /// name the first field that differs. A game that gives none gets the frame named.
    ///
    /// # Errors
    /// When the state cannot be walked; the report names the frame only.
    fn leaves(&self, slot: &Self::Snapshot, leaves: &mut Leaves) -> Result<(), Self::Error> {
        let _ = (slot, leaves);
        Ok(())
    }

    /// Appends a saved state as bytes, which depend on the state alone: equal states give equal bytes on every computer.
    /// A desync report narrows a state without leaves down to the first bytes that differ, and a
    /// [`DesyncDump`](crate::DesyncDump) keeps them. At most [`STATE_BYTES_MAX`](crate::STATE_BYTES_MAX) bytes. Answers whether
    /// the game can write its states; one that cannot appends nothing.
    ///
    /// # Errors
    /// When this state cannot be written; it is then as one that never can.
    fn export(&self, slot: &Self::Snapshot, bytes: &mut Vec<u8>) -> Result<bool, Self::Error> {
        let _ = (slot, bytes);
        Ok(false)
    }

    /// Makes a saved state of what [`export`](Self::export) wrote on another peer, which may be damaged and is to be checked.
    /// The saved state must have the hash of the other one. Answers whether these bytes are a state, and the game can read
    /// them; unless it can, nobody takes over the state of another ([`OnDesync::Resync`](crate::OnDesync::Resync)).
    ///
    /// # Errors
    /// When the state cannot be made.
    fn import(&self, bytes: &[u8], slot: &mut Self::Snapshot) -> Result<bool, Self::Error> {
        let _ = (bytes, slot);
        Ok(false)
    }

    /// What a save and a step cost here. Where saving is the dearer one, states are saved less often and a rollback
    /// steps more frames.
    fn costs(&self) -> Costs {
        Costs::default()
    }

    /// Whether two saved states are the same in every bit that a later step could see.
    fn same(&self, one: &Self::Snapshot, other: &Self::Snapshot) -> Same {
        let _ = (one, other);
        Same::Unknown
    }
}

/// What became of the simulation by a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It goes on.
    Running,
    /// It has ended: there is no further step, unless a rollback takes this one back.
    Ended,
}

/// What the parts of a simulation cost, in nanoseconds as measured by the game; zero where it was not measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Costs {
    /// One save.
    pub save_nanos: u64,
    /// One step.
    pub step_nanos: u64,
}

/// Whether two saved states are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Same {
    /// In every bit.
    Yes,
    /// They differ.
    No,
    /// It cannot be told; never taken for yes.
    Unknown,
}

/// The named leaves of a state, each with a digest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leaves {
    names: alloc::string::String,
    leaves: Vec<(usize, u32)>,
}

impl Leaves {
    /// Adds a leaf. After [`LEAVES_MAX`] further ones are left out.
    pub fn push(&mut self, name: &str, digest: u32) {
        if self.leaves.len() < LEAVES_MAX {
            self.names.push_str(name);
            self.leaves.push((self.names.len(), digest));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// The name of a leaf.
    #[must_use]
    pub fn name(&self, index: usize) -> Option<&str> {
        let start = match index.checked_sub(1) {
            Some(before) => self.leaves.get(before)?.0,
            None => 0,
        };
        self.names.get(start..self.leaves.get(index)?.0)
    }

    /// The digests, in order.
    pub fn digests(&self) -> impl Iterator<Item = u32> + '_ {
        self.leaves.iter().map(|leaf| leaf.1)
    }
}

/// One frame to step: its inputs and how they are known.
pub struct Step<'a, I> {
    frame: Frame,
    width: usize,
    row: &'a [u8],
    flags: &'a [u8],
    statuses: &'a [InputStatus],
    is_resimulation: bool,
    is_confirmed: bool,
    is_ahead: bool,
    input: PhantomData<fn() -> I>,
}

impl<'a, I: Input> Step<'a, I> {
    /// A step over a row of inputs, `width` bytes a player.
    #[must_use]
    pub fn new(frame: Frame, width: usize, row: StepRow<'a>, is_resimulation: bool) -> Self {
        let StepRow { inputs, flags, statuses } = row;
        Self {
            frame,
            width,
            row: inputs,
            flags,
            statuses,
            is_resimulation,
            is_confirmed: true,
            is_ahead: false,
            input: PhantomData,
        }
    }

    /// The same, of a frame that may not be confirmed, though no input is a guess: one that has come while an earlier one has not may
    /// still be cut away with its player.
    pub(crate) fn confirmed(self, is_confirmed: bool) -> Self {
        Self { is_confirmed, ..self }
    }

    /// The same as one that is only shown.
    pub(crate) fn ahead(self) -> Self {
        Self { is_ahead: true, ..self }
    }

    /// The frame that is stepped.
    #[must_use]
    pub fn frame(&self) -> Frame {
        self.frame
    }

    /// How many players there are.
    #[must_use]
    pub fn player_count(&self) -> usize {
        self.statuses.len()
    }

    /// A player's input; the one of all-zero bytes for a player that does not exist.
    #[must_use]
    pub fn input(&self, player: PlayerHandle) -> I {
        I::read(self.input_bytes(player))
    }

    /// Every player's input, in order.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = I> + '_ {
        self.row.chunks_exact(self.width).map(I::read)
    }

    /// A player's input as its bytes; empty for a player that does not exist.
    #[must_use]
    pub fn input_bytes(&self, player: PlayerHandle) -> &'a [u8] {
        let start = player.index() * self.width;
        self.row.get(start..start + self.width).unwrap_or_default()
    }

    /// Every player's input bytes, one after the other.
    #[must_use]
    pub fn row(&self) -> &'a [u8] {
        self.row
    }

    /// How a player's input is known.
    #[must_use]
    pub fn status(&self, player: PlayerHandle) -> InputStatus {
        self.statuses.get(player.index()).copied().unwrap_or(InputStatus::Idle)
    }

    /// What is said of a player's input.
    #[must_use]
    pub fn flags(&self, player: PlayerHandle) -> InputFlags {
        InputFlags::from_bits(self.flags.get(player.index()).copied().unwrap_or_default())
    }

    /// Whether this frame was stepped before: sound, logs and drawing were given once already. Every frame is new once, in order: when
    /// a step of it first succeeds, which may be with guesses, or only to be [shown](Self::is_ahead). Frames whose outcome was taken
    /// over from another after a desync, before they were stepped here, are never new.
    #[must_use]
    pub fn is_resimulation(&self) -> bool {
        self.is_resimulation
    }

    /// Whether this frame is stepped only to be shown, and will be stepped again
    /// ([`Session::with_run_ahead`](crate::Session::with_run_ahead)).
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// Whether all inputs up to this frame are known: what is stepped so is what is recorded. It may be stepped again with the same inputs, on the way
    /// from a state that was saved before it; and a frame whose guesses were all right is not stepped again, so it is never final. To
    /// hear of each frame once, when nothing can take it back, take the [stable](crate::Output::Stable) ones.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.is_confirmed && !self.is_ahead && !self.statuses.contains(&InputStatus::Predicted)
    }
}

impl<I> fmt::Debug for Step<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("frame", &self.frame)
            .field("row", &self.row)
            .field("statuses", &self.statuses)
            .field("is_resimulation", &self.is_resimulation)
            .field("is_ahead", &self.is_ahead)
            .finish_non_exhaustive()
    }
}

/// The inputs of one frame as a [`Step`] shows them, in the order of the players.
#[derive(Clone, Copy, Debug)]
pub struct StepRow<'a> {
    /// The input bytes of all players, one after the other.
    pub inputs: &'a [u8],
    /// The flags of each player's input.
    pub flags: &'a [u8],
    /// How each player's input is known.
    pub statuses: &'a [InputStatus],
}

/// The most leaves that a desync report compares: 16 KiB of digests.
pub const LEAVES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_keep_their_names() {
        let mut leaves = Leaves::default();
        leaves.push("x", 1);
        leaves.push("agents[0].pos", 2);
        assert_eq!(
            (leaves.name(0), leaves.name(1), leaves.name(2)),
            (Some("x"), Some("agents[0].pos"), None)
        );
    }

    #[test]
    fn leaves_past_the_limit_are_left_out() {
        let mut leaves = Leaves::default();
        for _ in 0..=LEAVES_MAX {
            leaves.push("x", 0);
        }
        assert_eq!(leaves.len(), LEAVES_MAX);
    }

    #[test]
    fn a_step_with_a_guess_is_not_final() {
        let statuses = [InputStatus::Given, InputStatus::Predicted];
        let row = StepRow { inputs: &[1, 2], flags: &[0, 0], statuses: &statuses };
        let step: Step<'_, u8> = Step::new(Frame::ZERO, 1, row, false);
        assert!(!step.is_final());
        assert_eq!(step.inputs().collect::<Vec<_>>(), [1, 2]);
    }
}
