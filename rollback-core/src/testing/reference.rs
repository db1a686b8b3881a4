//! The naive lockstep run that says what must have come out: one game, the stable log, no rollback.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::observed::Observed;
use super::oracle::{Oracle, Violation};
use crate::recording::RecordedFrame;
use crate::{
    Frame, Game, InputFlags, InputStatus, Outcome, SessionConfig, StateHash, StateHasher, Step,
    StepRow,
};

/// The states and outputs of a lockstep run.
pub(crate) struct Reference {
    /// The hash of the state of each frame, from the one after reset on.
    states: Vec<StateHash>,
    outputs: Vec<Vec<u8>>,
    /// The frame whose state is the game's last.
    pub(crate) ended_at: Option<Frame>,
    /// The frame that could not be stepped.
    pub(crate) failed_at: Option<Frame>,
}

impl Reference {
    /// Steps a fresh game through the log.
    pub(crate) fn run<G: Game>(
        mut game: G,
        config: &SessionConfig,
        rows: &[RecordedFrame],
    ) -> Result<Self, G::Error> {
        let mut reference =
            Self { states: Vec::new(), outputs: Vec::new(), ended_at: None, failed_at: None };
        let mut slot = G::Snapshot::default();
        reference.states.push(hash(&game, &mut slot)?);
        for row in rows {
            if let Some(keyframe) = &row.keyframe {
                // The frame that the observer wrote behind the state is not the game's.
                let state = keyframe.split_last_chunk::<4>().map_or(&[][..], |(state, _)| state);
                if game.import(state, &mut slot)? {
                    game.load(&slot)?;
                }
                reference.ended_at = None;
                reference.states.pop();
                reference.states.push(hash(&game, &mut slot)?);
            }
            if reference.ended_at.is_some() {
                reference.outputs.push(vec![]);
                reference.states.extend(reference.states.last().copied());
                continue;
            }
            let statuses: Vec<InputStatus> = row.flags.iter().map(|bits| status(*bits)).collect();
            let step_row = StepRow { inputs: &row.inputs, flags: &row.flags, statuses: &statuses };
            let step = Step::new(row.frame, config.input_width(), step_row, false);
            let mut output = vec![];
            let stepped = game.step(&step).and_then(|outcome| {
                game.output(&mut output)?;
                Ok(outcome)
            });
            let Ok(outcome) = stepped else {
                reference.failed_at = Some(row.frame);
                break;
            };
            reference.outputs.push(output);
            reference.states.push(hash(&game, &mut slot)?);
            if outcome == Outcome::Ended {
                reference.ended_at = Some(row.frame.next());
            }
        }
        Ok(reference)
    }

    /// Compares a peer's rows, but for those that the members disputed, and the states that its game reached, with this run.
    pub(crate) fn check<G: Game>(
        &self,
        rows: &[RecordedFrame],
        game: &Observed<G>,
        disputed: impl Fn(Frame) -> bool,
    ) -> Result<(), Violation> {
        for row in rows {
            if disputed(row.frame) {
                continue;
            }
            let has_ended = self.ended_at.is_some_and(|end| end <= row.frame);
            let output = self.outputs.get(row.frame.index() as usize);
            let Some(output) = output.filter(|_| !has_ended) else {
                if self.failed_at.is_some() {
                    return Ok(());
                }
                let detail = format!("the reference ended at {:?}", self.ended_at);
                return Err(Violation::at(Oracle::Reference, row.frame, detail));
            };
            let (before, after) = (self.state(row.frame), self.state(row.frame.next()));
            if row.state_hash.is_some_and(|hash| Some(hash) != before) {
                let detail = format!("recorded state {:?}, expected {before:?}", row.state_hash);
                return Err(Violation::at(Oracle::Reference, row.frame, detail));
            }
            let reached = game.state(row.frame.next());
            let is_skipped = reached.is_none() && game.has_skipped(row.frame);
            if reached != after && !is_skipped {
                let detail = format!("stepped to {reached:?}, expected {after:?}");
                return Err(Violation::at(Oracle::Reference, row.frame, detail));
            }
            if row.output != *output {
                let detail = format!("recorded output {:?}, expected {output:?}", row.output);
                return Err(Violation::at(Oracle::Reference, row.frame, detail));
            }
        }
        Ok(())
    }

    fn state(&self, frame: Frame) -> Option<StateHash> {
        self.states.get(frame.index() as usize).copied()
    }
}

fn status(flags: u8) -> InputStatus {
    match InputFlags::from_bits(flags).contains(InputFlags::IDLE_FILLED) {
        true => InputStatus::Idle,
        false => InputStatus::Given,
    }
}

fn hash<G: Game>(game: &G, slot: &mut G::Snapshot) -> Result<StateHash, G::Error> {
    game.save(slot)?;
    let mut hasher = StateHasher::new();
    game.hash(slot, &mut hasher)?;
    Ok(hasher.finish())
}
