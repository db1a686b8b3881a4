//! What this computer simulated of a frame before it knew all inputs, kept until the frame is recorded. It does not
//! know what anybody did: a guess was wrong when the frame's last simulation was from other inputs than its first.

use rollback_core::{Input, InputStatus, PlayerHandle, Step};

/// The frames of a session's history whose first simulation was from guesses.
#[derive(Debug, Default)]
pub(crate) struct Experienced {
    /// Frame `n` lies at `n` modulo their number, a power of two. What nobody has taken is overwritten by then.
    frames: Vec<Shown>,
    /// The next frame to take.
    next: u32,
    counts: ExperiencedCounts,
}

/// How many recorded frames were first simulated from guesses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExperiencedCounts {
    /// From at least one guess.
    pub(crate) predicted: u64,
    /// From at least one wrong one.
    pub(crate) mispredicted: u64,
}

/// A frame as it was simulated first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// `None` while the slot holds no frame with guesses.
    frame: Option<u32>,
    /// The inputs of all players, one after the other.
    row: Vec<u8>,
    /// The players whose input was a guess.
    guessed: Vec<u8>,
    /// The inputs of the frame's last simulation.
    latest: Vec<u8>,
}

impl Experienced {
    /// For a session that keeps so many frames, a power of two; for none, nothing is kept.
    pub(crate) fn new(history_frames: usize) -> Self {
        Self { frames: vec![Shown::default(); history_frames], ..Self::default() }
    }

    /// Takes in a step that is about to be made.
    pub(crate) fn note<I: Input>(&mut self, step: &Step<'_, I>) {
        let frame = step.frame().index();
        let slot = slot_of(frame, self.frames.len());
        let Some(shown) = self.frames.get_mut(slot) else { return };
        if !step.is_resimulation() {
            let players = PlayerHandle::all(step.player_count());
            let guessed = players.filter(|player| step.status(*player) == InputStatus::Predicted);
            shown.guessed.clear();
            shown.guessed.extend(guessed.map(PlayerHandle::slot));
            shown.frame = (!shown.guessed.is_empty()).then_some(frame);
            copy(&mut shown.row, step.row());
        }
        if shown.frame == Some(frame) {
            copy(&mut shown.latest, step.row());
        }
    }

    /// The next frame before `end` in which a guess was wrong: its number, the inputs that it was first simulated
    /// from, and whose were guesses. Frames before `end` must not be simulated again.
    pub(crate) fn take_wrong(&mut self, end: u32) -> Option<(u32, &[u8], &[u8])> {
        while self.next < end {
            let frame = self.next;
            self.next += 1;
            let slot = slot_of(frame, self.frames.len());
            let Some(shown) = self.frames.get(slot) else { continue };
            if shown.frame != Some(frame) {
                continue;
            }
            self.counts.predicted += 1;
            if shown.row != shown.latest {
                self.counts.mispredicted += 1;
                let shown = self.frames.get(slot)?;
                return Some((frame, &shown.row, &shown.guessed));
            }
        }
        None
    }

    /// What was counted of the frames that were taken.
    pub(crate) fn counts(&self) -> ExperiencedCounts {
        self.counts
    }
}

fn slot_of(frame: u32, slots: usize) -> usize {
    frame as usize & slots.saturating_sub(1)
}

fn copy(to: &mut Vec<u8>, from: &[u8]) {
    to.clear();
    to.extend_from_slice(from);
}
