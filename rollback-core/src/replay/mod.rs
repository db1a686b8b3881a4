//! Steps a recording again from its start, and says whether the simulation does the same as then.

mod verdict;

use alloc::vec::Vec;
use core::fmt;

pub use self::verdict::{Deviation, ReplayError, Segment, Verdict, Wrong};
use crate::recording::{Frames, Recording};
use crate::session::{EndCause, StableFrame};
use crate::{
    Frame, Game, GameError, Input, InputFlags, InputStatus, Item, Outcome, PeerId, StateHash,
    StateHasher, Step, StepRow,
};

/// A recording that is stepped again, to be watched frame by frame or verified as a whole.
///
/// The game must be as it was at the start of the episode: freshly reset, with the seed of the recording's header.
pub struct Replay<'a, G: Game> {
    recording: &'a Recording,
    frames: Frames<'a>,
    game: G,
    statuses: Vec<InputStatus>,
    output: Vec<u8>,
    next: Frame,
    ended: bool,
    is_end_checked: bool,
    findings: Findings<G>,
}

/// What was compared so far.
struct Findings<G: Game> {
    snapshot: G::Snapshot,
    hasher: StateHasher,
    last_right: Frame,
    hashes_checked: u32,
    outputs_checked: u32,
    wrong: Option<Wrong>,
    /// Whether no state that all took over can explain what is wrong.
    is_final: bool,
    segments: Vec<Segment>,
}

impl<'a, G: Game> Replay<'a, G> {
    /// A replay at the start of the recording; compares the state of `game` with the one recorded.
    ///
    /// # Errors
    /// When the game's inputs have another width than those recorded, or its state cannot be saved or hashed.
    pub fn new(recording: &'a Recording, game: G) -> Result<Self, ReplayError<G::Error>> {
        let config = &recording.header().config;
        let (expected, got) = (config.input_width(), G::Input::WIDTH);
        // An input of width 0 takes the width of the configuration.
        if got != 0 && expected != got {
            return Err(ReplayError::InputWidth { expected, got });
        }
        let mut replay = Self {
            recording,
            frames: recording.frames(),
            game,
            statuses: Vec::with_capacity(config.players()),
            output: Vec::new(),
            next: Frame::ZERO,
            ended: false,
            is_end_checked: false,
            findings: Findings::new(),
        };
        let expected = recording.header().start_hash;
        let got = replay.findings.hash(&replay.game, Frame::ZERO)?;
        if got != expected {
            replay.findings.say(Frame::ZERO, Deviation::StartHash { expected, got });
        }
        Ok(replay)
    }

    /// Steps the next frame and compares it with the recording. Answers the frame that was stepped; `None` when there
    /// is none left, or when the simulation ended before the recording does.
    ///
    /// # Errors
    /// When the simulation fails.
    pub fn step(&mut self) -> Result<Option<Frame>, ReplayError<G::Error>> {
        let Some(row) = self.frames.next_frame() else {
            self.check_end()?;
            return Ok(None);
        };
        let frame = row.frame;
        if let Some((keyframe, expected)) = row.keyframe.zip(row.state_hash) {
            let source = row.items.iter().find(|(_, item)| matches!(item, Item::Resync { .. }));
            let source = source.map(|(peer, _)| *peer);
            self.findings.begin_segment(&mut self.game, (frame, source), (keyframe, expected))?;
            self.ended = false;
        }
        if self.ended {
            self.findings.say(frame, Deviation::EndedEarly);
            return Ok(None);
        }
        if let Some(expected) = row.state_hash.filter(|_| row.keyframe.is_none()) {
            self.findings.compare_hash(&self.game, frame, expected)?;
        }
        self.output.clear();
        let outcome = step_row(&mut self.game, &row, &mut self.statuses, &mut self.output)
            .map_err(|source| GameError::Step { frame, source })?;
        self.findings.compare_output(frame, row.output, &self.output);
        self.ended = outcome == Outcome::Ended;
        self.next = frame.next();
        Ok(Some(frame))
    }

    /// The game, as it is before the next frame.
    pub fn game(&self) -> &G {
        &self.game
    }

    /// The recording that is replayed.
    pub fn recording(&self) -> &'a Recording {
        self.recording
    }

    /// The next frame to step.
    pub fn current_frame(&self) -> Frame {
        self.next
    }

    /// The first mismatch so far.
    pub fn wrong(&self) -> Option<Wrong> {
        self.findings.wrong
    }

    /// The parts of the episode so far, each of which begins with a state that all had.
    pub fn segments(&self) -> &[Segment] {
        &self.findings.segments
    }

    /// Steps all frames, up to the first that is wrong. What is wrong right before a state that all took over after a desync
    /// is told with the segment that begins there: the members disagreed on it.
    ///
    /// # Errors
    /// When the simulation fails. A recording whose end says that it did may be verified up to there only.
    pub fn verify(mut self) -> Result<Verdict, ReplayError<G::Error>> {
        while !self.findings.is_final {
            match self.step() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // What follows on a wrong step may be anything.
                Err(_) if self.findings.wrong.is_some() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(match self.findings.wrong {
            Some(wrong) => Verdict::Wrong(wrong),
            None => Verdict::Verified {
                frames: self.next,
                hashes_checked: self.findings.hashes_checked,
                outputs_checked: self.findings.outputs_checked,
                segments: self.findings.segments,
            },
        })
    }

    /// Compares the end; a recording that was not finished says nothing of it.
    fn check_end(&mut self) -> Result<(), GameError<G::Error>> {
        let Some(record) = self.recording.end().filter(|_| !self.is_end_checked) else {
            return Ok(());
        };
        self.is_end_checked = true;
        if let Some(expected) = record.state_hash {
            self.findings.compare_hash(&self.game, self.next, expected)?;
        }
        if record.end.cause == EndCause::Finished && !self.ended {
            self.findings.say(self.next, Deviation::NotEnded);
        }
        Ok(())
    }
}

impl<G: Game> Findings<G> {
    fn new() -> Self {
        Self {
            snapshot: G::Snapshot::default(),
            hasher: StateHasher::new(),
            last_right: Frame::ZERO,
            hashes_checked: 0,
            outputs_checked: 0,
            wrong: None,
            is_final: false,
            segments: alloc::vec![Segment { from: Frame::ZERO, source: None, disputed: None }],
        }
    }

    /// The hash of the state that `game` is in.
    fn hash(&mut self, game: &G, frame: Frame) -> Result<StateHash, GameError<G::Error>> {
        game.save(&mut self.snapshot).map_err(|source| GameError::Save { frame, source })?;
        self.hasher.reset();
        game.hash(&self.snapshot, &mut self.hasher)
            .map_err(|source| GameError::Hash { frame, source })?;
        self.hashes_checked += 1;
        Ok(self.hasher.finish())
    }

    fn compare_hash(
        &mut self,
        game: &G,
        frame: Frame,
        expected: StateHash,
    ) -> Result<(), GameError<G::Error>> {
        let got = self.hash(game, frame)?;
        if got != expected {
            let since = self.last_right;
            self.say(frame, Deviation::StateHash { expected, got, since });
        } else if self.wrong.is_none() {
            self.last_right = frame;
        }
        // What was agreed on is not taken over from anybody.
        self.is_final |= self.wrong.is_some();
        Ok(())
    }

    /// Goes on with the state that all took over here, which has this hash.
    fn begin_segment(
        &mut self,
        game: &mut G,
        (frame, source): (Frame, Option<PeerId>),
        (keyframe, expected): (&[u8], StateHash),
    ) -> Result<(), GameError<G::Error>> {
        if self.is_final {
            return Ok(());
        }
        let got = self.hash(game, frame)?;
        if got != expected {
            let since = self.last_right;
            self.say(frame, Deviation::StateHash { expected, got, since });
        }
        let disputed = self.wrong.take();
        self.segments.push(Segment { from: frame, source, disputed });
        self.last_right = frame;
        // It is taken over also where it is the own one, as all did: what no hash shows, like the order of a set, is then alike.
        let load = |source| GameError::Load { frame, source };
        if !game.import(keyframe, &mut self.snapshot).map_err(load)? {
            if got == expected {
                return Ok(());
            }
            self.say(frame, Deviation::Unreadable);
            self.is_final = true;
            return Ok(());
        }
        game.load(&self.snapshot).map_err(load)?;
        self.compare_hash(game, frame, expected)
    }

    fn compare_output(&mut self, frame: Frame, expected: &[u8], got: &[u8]) {
        self.outputs_checked += 1;
        if let Some(offset) = first_difference(expected, got) {
            self.say(frame, Deviation::Output { offset });
        }
    }

    /// Keeps the first of what is said.
    fn say(&mut self, frame: Frame, what: Deviation) {
        self.wrong.get_or_insert(Wrong { frame, what });
    }
}

impl<G: Game> fmt::Debug for Replay<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("next", &self.next)
            .field("ended", &self.ended)
            .field("wrong", &self.findings.wrong)
            .finish_non_exhaustive()
    }
}

/// Steps a recorded row.
pub(crate) fn step_row<G: Game>(
    game: &mut G,
    row: &StableFrame<'_>,
    statuses: &mut Vec<InputStatus>,
    output: &mut Vec<u8>,
) -> Result<Outcome, G::Error> {
    statuses.clear();
    statuses.extend(row.flags.iter().map(|flags| {
        match InputFlags::from_bits(*flags).contains(InputFlags::IDLE_FILLED) {
            true => InputStatus::Idle,
            false => InputStatus::Given,
        }
    }));
    let step_row = StepRow { inputs: row.inputs, flags: row.flags, statuses };
    let width = row.inputs.len() / row.flags.len().max(1);
    let outcome = game.step(&Step::new(row.frame, width, step_row, false))?;
    game.output(output)?;
    Ok(outcome)
}

/// The first byte at which two byte strings differ; the end of the shorter one where it is the other's beginning.
fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    if one == other {
        return None;
    }
    let first = one.iter().zip(other).position(|(one, other)| one != other);
    Some(first.unwrap_or(one.len().min(other.len())))
}

#[cfg(test)]
mod tests;
