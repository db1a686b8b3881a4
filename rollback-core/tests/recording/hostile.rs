//! Bytes that are no recording, or were one: nothing panics, nothing takes memory that the bytes do not pay for, and
//! what is read was written.

use std::collections::BTreeMap;

use rollback_core::recording::{
    Comparison, Difference, RecordedFrame, Recording, RecordingError, RecordingHeader,
    RecordingReader, RecordingWriter, compare,
};
use rollback_core::{End, EndCause, Frame, PeerId, Roster, SessionConfig};

use crate::allocations::most_held;
use crate::episode::{eventful, record};
use crate::mutants::{HEAD_BYTES, Random, bases, mutate, seal};

/// How many mutants each test makes.
const MUTANTS: u64 = 100_000;

/// A header may take some times its bytes (a fact of two bytes is two strings), a row of inputs 64 × 512 bytes, thrice.
fn held_max(bytes: &[u8]) -> usize {
    64 * bytes.len() + 3 * 64 * 512 + 4096
}

/// Reads bytes frame by frame in `each`, then as a whole, and sees to it that both agree and take little memory.
fn read(
    bytes: &[u8],
    mut each: impl FnMut(&RecordingHeader, usize, &RecordedFrame),
) -> Result<Recording, RecordingError> {
    let (held, reader) = most_held(|| RecordingReader::new(bytes));
    assert!(held <= held_max(bytes), "the header of {} bytes held {held}", bytes.len());
    let mut count = 0;
    let mut failed = reader.as_ref().err().copied();
    if let Ok(mut reader) = reader {
        let header = reader.header().clone();
        loop {
            match reader.next_frame() {
                Ok(Some(row)) => each(&header, count, &RecordedFrame::from(row)),
                Ok(None) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            count += 1;
        }
    }
    let (held, decoded) = most_held(|| Recording::decode(bytes));
    assert!(held <= held_max(bytes), "{} bytes held {held}", bytes.len());
    match &decoded {
        Ok(recording) => {
            assert_eq!(failed, None);
            assert_eq!(recording.frame_count(), Frame::new(u32::try_from(count).unwrap()));
        }
        Err(error) => {
            assert_eq!(failed, Some(*error));
            assert!(error.to_string().starts_with("byte "), "{error}");
        }
    }
    decoded
}

/// Which kinds of errors there were, and how often.
#[derive(Default, Debug)]
struct Refusals(BTreeMap<String, u32>);

impl Refusals {
    fn count(&mut self, error: &RecordingError) {
        let name = format!("{error:?}");
        let name = name.split([' ', '{']).next().unwrap_or_default().to_owned();
        *self.0.entry(name).or_default() += 1;
    }
}

#[test]
fn a_hundred_thousand_damaged_recordings_give_an_error_or_a_true_beginning() {
    let bases = bases();
    let originals: Vec<_> = bases.iter().map(|bytes| Recording::decode(bytes).unwrap()).collect();
    let rows: Vec<Vec<_>> = originals.iter().map(|original| original.frames().collect()).collect();
    let (mut whole, mut shorter, mut refusals) = (0, 0, Refusals::default());
    for number in 0..MUTANTS {
        let bytes = mutate(&mut Random::new(number), &bases);
        // Of one episode there are several recordings here, of which one goes on where another one ends.
        let mut candidates: Vec<usize> = (0..bases.len()).collect();
        let read = read(&bytes, |header, index, row| {
            candidates
                .retain(|&of| originals[of].header() == header && rows[of].get(index) == Some(row));
            assert!(!candidates.is_empty(), "mutant {number}: frame {index} is of no recording");
        });
        match read {
            Err(error) => refusals.count(&error),
            Ok(read) => {
                candidates.retain(|&of| originals[of].as_bytes().starts_with(read.as_bytes()));
                let of = candidates.first();
                let original = &originals[*of.unwrap_or_else(|| panic!("mutant {number}"))];
                assert_eq!(read.header(), original.header(), "mutant {number}");
                let expected = if read.as_bytes() == original.as_bytes() {
                    whole += 1;
                    Comparison::Equal
                } else {
                    shorter += 1;
                    assert_eq!(read.end(), None, "mutant {number}");
                    Comparison::Prefix { frames: read.frame_count() }
                };
                assert_eq!(compare(&read, original), expected, "mutant {number}");
                assert_eq!(compare(original, &read), expected, "mutant {number}");
            }
        }
    }
    println!("{whole} whole, {shorter} beginnings, refused: {refusals:?}");
    assert!(whole > 500 && shorter > 4_000, "{whole} {shorter}");
    let refused: u32 = refusals.0.values().sum();
    assert!(refused > 50_000 && refusals.0.len() >= 6, "{refusals:?}");
}

#[test]
fn a_hundred_thousand_forged_recordings_are_refused_or_read_as_what_they_say() {
    let bases = bases();
    let originals: Vec<_> = bases.iter().map(|bytes| Recording::decode(bytes).unwrap()).collect();
    let (mut forged, mut refusals) = (0, Refusals::default());
    for number in 0..MUTANTS {
        let mut random = Random::new(number);
        let mut bytes = mutate(&mut random, &bases);
        seal(&mut bytes);
        let mut frames = Vec::new();
        let read = match read(&bytes, |_, _, row| frames.push(row.clone())) {
            Ok(read) => read,
            Err(error) => {
                refusals.count(&error);
                continue;
            }
        };
        forged += u32::from(bases.iter().all(|base| !base.starts_with(read.as_bytes())));
        // Equal frames are equal bytes, so no two files can say the same.
        if let Some(end) = read.end() {
            let mut again = RecordingWriter::new(read.header()).unwrap();
            for frame in &frames {
                again.push(&frame.as_stable()).unwrap();
            }
            if let Some(hash) = end.state_hash {
                again.set_end_hash(hash);
            }
            again.finish(end.end, end.completed_episodes).unwrap();
            assert!(again.take_bytes() == read.as_bytes(), "mutant {number}");
        }
        let other = &originals[random.below(originals.len())];
        check_comparison(number, &read, &frames, other);
    }
    println!("{forged} forged, refused: {refusals:?}");
    assert!(forged > 5_000, "{forged}");
    let refused: u32 = refusals.0.values().sum();
    assert!(refused > 50_000 && refusals.0.len() >= 20, "{} {refusals:?}", refusals.0.len());
}

/// What `compare` says is so.
fn check_comparison(number: u64, one: &Recording, frames: &[RecordedFrame], other: &Recording) {
    let found = compare(one, other);
    assert_eq!(found, compare(other, one), "mutant {number}");
    assert_eq!(found == Comparison::Equal, one.as_bytes() == other.as_bytes(), "mutant {number}");
    let rows: Vec<_> = other.frames().collect();
    let both = frames.iter().zip(&rows).take_while(|(one, other)| one == other).count();
    let shorter = frames.len().min(rows.len());
    let at = |count: usize| Frame::new(u32::try_from(count).unwrap());
    match found {
        Comparison::Equal => assert!(frames == rows, "mutant {number}"),
        Comparison::Prefix { frames: count } => {
            assert!(both == shorter && count == at(shorter), "mutant {number}: {found:?}");
        }
        Comparison::Different { what: Difference::Header { .. }, .. } => {
            assert!(one.header() != other.header(), "mutant {number}");
        }
        Comparison::Different { frame, what: Difference::End } => {
            assert_eq!((frame, both), (at(shorter), shorter), "mutant {number}");
            assert!(one.end() != other.end(), "mutant {number}");
        }
        Comparison::Different { frame, .. } => {
            assert!(both < shorter && frame == at(both), "mutant {number}: {found:?}");
        }
    }
}

#[test]
fn a_file_that_says_much_and_holds_little_takes_little_memory() {
    let (mut header, _, _) = eventful();
    header.config = SessionConfig::builder().players(64).input_width(512).build().unwrap();
    let hosts: Vec<_> = (0..64).filter_map(|player| PeerId::new(player % 2)).collect();
    header.roster = Roster::new(&hosts).unwrap();
    let end = End { frame: Frame::ZERO, cause: EndCause::Finished, by: None };
    let mut bytes = record(&header, &[], end);
    bytes.truncate(bytes.len() - HEAD_BYTES - 24);
    // Thousands of frames of 32 KiB each, a byte a frame.
    for block in 0..200_u32 {
        let mut head = [0; HEAD_BYTES];
        head[0] = 2;
        head[1] = 60;
        head[2] = 60;
        head[6..10].copy_from_slice(&(block * 60).to_le_bytes());
        bytes.extend(head);
        bytes.extend([0; 60]);
    }
    seal(&mut bytes);
    let (held, recording) = most_held(|| Recording::decode(&bytes));
    assert_eq!(recording.unwrap().frame_count(), Frame::new(12_000));
    assert!(held <= 3 * bytes.len() + 3 * 64 * 512, "{} bytes held {held}", bytes.len());
    // The same with an output of which the length alone is there.
    let at = bytes.len() - 60;
    bytes[at] = 16;
    bytes[at + 1..at + 5].copy_from_slice(&(1_u32 << 20).to_le_bytes());
    seal(&mut bytes);
    let (held, recording) = most_held(|| Recording::decode(&bytes));
    assert!(recording.is_err());
    assert!(held <= bytes.len() + 3 * 64 * 512, "{} bytes held {held}", bytes.len());
}

#[test]
fn a_pickle_is_no_recording_and_inside_of_one_it_is_text_and_bytes_like_any_other() {
    // Python's `pickle` would run a command while it loads these: as text (protocol 0) and as bytes (protocol 2).
    let text = "cposix\nsystem\n(S'touch pickled'\ntR.".to_owned();
    let bytes = b"\x80\x02cposix\nsystem\nX\x0d\x00\x00\x00touch pickled\x85R.".to_vec();
    for pickled in [text.as_bytes(), &bytes] {
        assert_eq!(Recording::decode(pickled).unwrap_err(), RecordingError::Magic);
    }
    let (mut header, mut frames, end) = eventful();
    header.participants = vec![text.clone(); 2];
    header.must_match = vec![(text.clone(), text.clone())];
    header.may_differ = vec![vec![(text.clone(), text.clone())]; 2];
    for frame in &mut frames {
        frame.output.clone_from(&bytes);
    }
    let read = Recording::decode(&record(&header, &frames, end)).unwrap();
    assert_eq!(*read.header(), header);
    assert!(read.frames().eq(frames));
}
