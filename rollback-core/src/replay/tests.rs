//! What a replay finds of what was recorded.

use alloc::vec;
use core::convert::Infallible;

use super::*;
use crate::recording::fixtures::header;
use crate::recording::{RecordingHeader, RecordingWriter};
use crate::session::End;

/// Adds up inputs until one is 99; gives the sum as its output. At frame `slip` it adds one too many.
#[derive(Clone, Default)]
struct Sum {
    sum: u32,
    slip: Option<Frame>,
    slips_by: u32,
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
        if self.slip == Some(step.frame()) {
            self.sum += self.slips_by.max(1);
        }
        let ends = step.inputs().any(|input| input == 99);
        Ok(if ends { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &u32, hasher: &mut StateHasher) -> Result<(), Infallible> {
        hasher.write_u32(*slot);
        Ok(())
    }

    fn import(&self, bytes: &[u8], slot: &mut u32) -> Result<bool, Infallible> {
        let read = bytes.try_into().map(u32::from_le_bytes);
        *slot = read.unwrap_or_default();
        Ok(read.is_ok())
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
    let header = RecordingHeader { start_hash: hash(game.sum), ..header() };
    let mut writer = RecordingWriter::new(&header).unwrap();
    let mut frame = Frame::ZERO;
    for row in inputs {
        let state_hash = frame.is_multiple_of(2).then(|| hash(game.sum));
        let (flags, items, output) = (&[0, 0], &[], &[]);
        let row =
            StableFrame { frame, inputs: row, flags, items, output, state_hash, keyframe: None };
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

fn whole() -> Vec<Segment> {
    vec![Segment { from: Frame::ZERO, source: None, disputed: None }]
}

const INPUTS: [[u8; 2]; 6] = [[1, 2], [3, 4], [0, 0], [5, 5], [1, 1], [99, 0]];

fn verify(recording: &Recording, game: Sum) -> Verdict {
    Replay::new(recording, game).unwrap().verify().unwrap()
}

#[test]
fn what_was_recorded_is_verified() {
    let recording = record(Sum::default(), &INPUTS, Some(EndCause::Finished));
    let expected = Verdict::Verified {
        frames: Frame::new(6),
        hashes_checked: 5,
        outputs_checked: 6,
        segments: whole(),
    };
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

/// The inputs with a state that all took over before frame 4, which was 100 at its source.
fn resynced(game: &Sum, keyframe: &[u8]) -> Recording {
    let header = record(game.clone(), &INPUTS, None).header().clone();
    let mut writer = RecordingWriter::new(&header).unwrap();
    let (mut game, mut frame) = (game.clone(), Frame::ZERO);
    let items = [(PeerId::new(1).unwrap(), Item::Resync { attempts: 1 })];
    for row in &INPUTS {
        let is_taken = frame == Frame::new(4);
        game.sum = if is_taken { 100 } else { game.sum };
        let state_hash = frame.is_multiple_of(2).then(|| hash(game.sum));
        let items = if is_taken { &items[..] } else { &[] };
        let keyframe = is_taken.then_some(keyframe);
        let row = StableFrame {
            frame,
            inputs: row,
            flags: &[0, 0],
            items,
            output: &[],
            state_hash,
            keyframe,
        };
        let mut output = Vec::new();
        step_row(&mut game, &row, &mut vec![], &mut output).unwrap();
        writer.push(&StableFrame { output: &output, ..row }).unwrap();
        frame = frame.next();
    }
    writer.set_end_hash(hash(game.sum));
    writer.finish(End { frame, cause: EndCause::Finished, by: None }, 1).unwrap();
    Recording::decode(&writer.take_bytes()).unwrap()
}

#[test]
fn each_segment_is_verified_and_what_the_members_disagreed_on_is_told() {
    let recording = resynced(&Sum::default(), &100_u32.to_le_bytes());
    let Verdict::Verified { frames, segments, .. } = verify(&recording, Sum::default()) else {
        panic!("{:?}", verify(&recording, Sum::default()));
    };
    assert_eq!(frames, Frame::new(6));
    let what = Deviation::StateHash { expected: hash(100), got: hash(20), since: Frame::new(2) };
    let disputed = Some(Wrong { frame: Frame::new(4), what });
    let second = Segment { from: Frame::new(4), source: PeerId::new(1), disputed };
    assert_eq!(segments, [whole(), vec![second]].concat());

    // A simulation that went as the source's did disputes nothing.
    let slips = Sum { slip: Some(Frame::new(3)), slips_by: 80, ..Sum::default() };
    let Verdict::Verified { segments, .. } = verify(&recording, slips) else { panic!() };
    assert_eq!(segments[1], Segment { disputed: None, ..second });
}

#[test]
fn what_is_wrong_elsewhere_than_before_a_state_that_was_taken_over_is_wrong() {
    let recording = resynced(&Sum::default(), &100_u32.to_le_bytes());
    let slip = |frame| Sum { slip: Some(Frame::new(frame)), slips_by: 1, ..Sum::default() };
    for (slips, found) in [(1, 2), (4, 6), (5, 6)] {
        let verdict = verify(&recording, slip(slips));
        let Verdict::Wrong(wrong) = verdict else { panic!("{verdict:?}") };
        assert_eq!(wrong.frame, Frame::new(found));
    }
    for damaged in [&[1, 2][..], &101_u32.to_le_bytes()] {
        let verdict = verify(&resynced(&Sum::default(), damaged), Sum::default());
        let Verdict::Wrong(wrong) = verdict else { panic!("{verdict:?}") };
        assert_eq!(wrong.frame, Frame::new(4));
    }
}
