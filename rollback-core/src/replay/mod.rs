//! Steps a recording again from its start, and says whether the simulation does what was recorded.

mod verdict;

use alloc::vec::Vec;
use core::fmt;

pub use self::verdict::{Deviation, ReplayError, Verdict, Wrong};
use crate::recording::{Frames, Recording};
use crate::session::{EndCause, StableFrame};
use crate::{
    Frame, Game, GameError, Input, InputFlags, InputStatus, Outcome, StateHash, StateHasher, Step,
    StepRow,
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
        if self.ended {
            self.findings.say(row.frame, Deviation::EndedEarly);
            return Ok(None);
        }
        let frame = row.frame;
        if let Some(expected) = row.state_hash {
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

    /// Steps all frames, up to the first that is wrong.
    ///
    /// # Errors
    /// When the simulation fails. A recording whose end says that it did may be verified up to there only.
    pub fn verify(mut self) -> Result<Verdict, ReplayError<G::Error>> {
        while self.findings.wrong.is_none() && self.step()?.is_some() {}
        Ok(match self.findings.wrong {
            Some(wrong) => Verdict::Wrong(wrong),
            None => Verdict::Verified {
                frames: self.next,
                hashes_checked: self.findings.hashes_checked,
                outputs_checked: self.findings.outputs_checked,
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
        Ok(())
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
mod tests {
    use alloc::vec;
    use core::convert::Infallible;

    use super::*;
    use crate::recording::{RecordingHeader, RecordingWriter};
    use crate::session::End;
    use crate::{Roster, SessionConfig};

    /// Adds up inputs until one is 99; gives the sum as its output. At frame `slip` it adds one too many.
    #[derive(Clone, Default)]
    struct Sum {
        sum: u32,
        slip: Option<Frame>,
        slip_output: bool,
    }

    impl Game for Sum {
        type Input = u8;
        type Snapshot = u32;
        type Error = Infallible;

        fn save(&self, slot: &mut u32) -> Result<(), Infallible> {
            *slot = self.sum;
            Ok(())
        }

        fn load(&mut self, slot: &u32) -> Result<(), Infallible> {
            self.sum = *slot;
            Ok(())
        }

        fn step(&mut self, step: &Step<'_, u8>) -> Result<Outcome, Infallible> {
            self.sum += step.inputs().map(u32::from).sum::<u32>();
            self.sum += u32::from(self.slip == Some(step.frame()));
            let ends = step.inputs().any(|input| input == 99);
            Ok(if ends { Outcome::Ended } else { Outcome::Running })
        }

        fn hash(&self, slot: &u32, hasher: &mut StateHasher) -> Result<(), Infallible> {
            hasher.write_u32(*slot);
            Ok(())
        }

        fn output(&mut self, output: &mut Vec<u8>) -> Result<(), Infallible> {
            if self.slip_output {
                output.extend_from_slice(&self.sum.to_le_bytes());
            }
            Ok(())
        }
    }

    fn hash(sum: u32) -> StateHash {
        let mut hasher = StateHasher::new();
        hasher.write_u32(sum);
        hasher.finish()
    }

    /// What `game` makes of these inputs, with a state hash every second frame.
    fn record(mut game: Sum, inputs: &[[u8; 2]], cause: Option<EndCause>) -> Recording {
        let header = RecordingHeader {
            session: 1,
            episode: 0,
            seed: 5,
            config: SessionConfig::builder().build().unwrap(),
            roster: Roster::one_player_each(2).unwrap(),
            participants: vec!["a".into(), "b".into()],
            must_match: vec![],
            may_differ: vec![vec![], vec![]],
            start_hash: hash(game.sum),
        };
        let mut writer = RecordingWriter::new(&header).unwrap();
        let mut frame = Frame::ZERO;
        for row in inputs {
            let state_hash = frame.is_multiple_of(2).then(|| hash(game.sum));
            let (flags, items, output) = (&[0, 0], &[], &[]);
            let row = StableFrame { frame, inputs: row, flags, items, output, state_hash };
            let mut output = Vec::new();
            step_row(&mut game, &row, &mut vec![], &mut output).unwrap();
            writer.push(&StableFrame { output: &output, ..row }).unwrap();
            frame = frame.next();
        }
        let end = End { frame, cause: cause.unwrap_or(EndCause::Left), by: None };
        writer.set_end_hash(hash(game.sum));
        writer.finish(end, 1).unwrap();
        Recording::decode(&writer.take_bytes()).unwrap()
    }

    const INPUTS: [[u8; 2]; 6] = [[1, 2], [3, 4], [0, 0], [5, 5], [1, 1], [99, 0]];

    fn verify(recording: &Recording, game: Sum) -> Verdict {
        Replay::new(recording, game).unwrap().verify().unwrap()
    }

    #[test]
    fn what_was_recorded_is_verified() {
        let recording = record(Sum::default(), &INPUTS, Some(EndCause::Finished));
        let expected =
            Verdict::Verified { frames: Frame::new(6), hashes_checked: 5, outputs_checked: 6 };
        assert_eq!(verify(&recording, Sum::default()), expected);
    }

    #[test]
    fn another_start_is_named() {
        let recording = record(Sum::default(), &INPUTS, Some(EndCause::Finished));
        let what = Deviation::StartHash { expected: hash(0), got: hash(7) };
        let wrong = Wrong { frame: Frame::ZERO, what };
        assert_eq!(verify(&recording, Sum { sum: 7, ..Sum::default() }), Verdict::Wrong(wrong));
    }

    #[test]
    fn the_first_wrong_state_is_named_with_the_last_right_one() {
        let recording = record(Sum::default(), &INPUTS, Some(EndCause::Finished));
        let game = Sum { slip: Some(Frame::new(3)), ..Sum::default() };
        let what = Deviation::StateHash { expected: hash(20), got: hash(21), since: Frame::new(2) };
        assert_eq!(verify(&recording, game), Verdict::Wrong(Wrong { frame: Frame::new(4), what }));
    }

    #[test]
    fn a_wrong_step_after_the_last_report_is_found_at_the_end() {
        let recording = record(Sum::default(), &INPUTS, Some(EndCause::Finished));
        let game = Sum { slip: Some(Frame::new(5)), ..Sum::default() };
        let (expected, got, since) = (hash(121), hash(122), Frame::new(4));
        let what = Deviation::StateHash { expected, got, since };
        assert_eq!(verify(&recording, game), Verdict::Wrong(Wrong { frame: Frame::new(6), what }));
    }

    #[test]
    fn an_output_finds_a_wrong_step_at_its_own_frame() {
        let game = Sum { slip_output: true, ..Sum::default() };
        let recording = record(game.clone(), &INPUTS, Some(EndCause::Finished));
        let slips = Sum { slip: Some(Frame::new(3)), ..game };
        let what = Deviation::Output { offset: 0 };
        assert_eq!(verify(&recording, slips), Verdict::Wrong(Wrong { frame: Frame::new(3), what }));
        let what = Deviation::Output { offset: 0 };
        let silent = verify(&recording, Sum::default());
        assert_eq!(silent, Verdict::Wrong(Wrong { frame: Frame::ZERO, what }));
    }

    #[test]
    fn an_end_before_or_after_the_recorded_one_is_named() {
        let early = [&INPUTS[..], &[[1, 1]]].concat();
        let recording = record(Sum::default(), &early, Some(EndCause::Left));
        let wrong = Wrong { frame: Frame::new(6), what: Deviation::EndedEarly };
        assert_eq!(verify(&recording, Sum::default()), Verdict::Wrong(wrong));

        let recording = record(Sum::default(), &INPUTS[..4], Some(EndCause::Finished));
        let wrong = Wrong { frame: Frame::new(4), what: Deviation::NotEnded };
        assert_eq!(verify(&recording, Sum::default()), Verdict::Wrong(wrong));

        let recording = record(Sum::default(), &INPUTS[..4], Some(EndCause::Departed));
        assert!(matches!(verify(&recording, Sum::default()), Verdict::Verified { .. }));
    }

    #[test]
    fn a_replay_can_be_watched_past_a_mismatch() {
        let recording = record(Sum::default(), &INPUTS, Some(EndCause::Finished));
        let game = Sum { slip: Some(Frame::ZERO), ..Sum::default() };
        let mut replay = Replay::new(&recording, game).unwrap();
        let mut sums = Vec::new();
        while replay.step().unwrap().is_some() {
            sums.push(replay.game().sum);
        }
        assert_eq!(sums, [4, 11, 11, 21, 23, 122]);
        assert_eq!(replay.wrong().map(|wrong| wrong.frame), Some(Frame::new(2)));
    }

    #[test]
    fn a_game_with_other_inputs_is_refused() {
        struct Wide;
        impl Game for Wide {
            type Input = u16;
            type Snapshot = ();
            type Error = Infallible;
            fn save(&self, (): &mut ()) -> Result<(), Infallible> {
                Ok(())
            }
            fn load(&mut self, (): &()) -> Result<(), Infallible> {
                Ok(())
            }
            fn step(&mut self, _: &Step<'_, u16>) -> Result<Outcome, Infallible> {
                Ok(Outcome::Running)
            }
            fn hash(&self, (): &(), _: &mut StateHasher) -> Result<(), Infallible> {
                Ok(())
            }
        }
        let recording = record(Sum::default(), &INPUTS, None);
        let error = Replay::new(&recording, Wide).unwrap_err();
        assert_eq!(error, ReplayError::InputWidth { expected: 1, got: 2 });
    }
}
