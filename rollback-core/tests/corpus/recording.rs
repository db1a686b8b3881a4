//! Bytes that may be a recording, as they are and with their checksums put right.

use rollback_core::recording::{
    Comparison, RecordedFrame, Recording, RecordingReader, RecordingWriter, compare,
};
use rollback_core::{Chain, Frame};
use xxhash_rust::xxh3::xxh3_64;

/// Reads bytes in every way; all ways must agree, and whatever is read must be what its bytes say.
pub(crate) fn read(bytes: &[u8]) {
    check(bytes);
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    check(&sealed);
}

fn check(bytes: &[u8]) {
    let streamed = stream(bytes);
    let decoded = Recording::decode(bytes);
    let recording = match (&decoded, &streamed) {
        (Ok(recording), Ok(frames)) => {
            assert!(recording.frames().eq(frames.iter().cloned()));
            recording
        }
        (Err(_), Err(_)) => return,
        _ => panic!("{decoded:?} and {streamed:?}"),
    };
    let frames = streamed.unwrap_or_default();
    assert_eq!(recording.frame_count(), Frame::new(u32::try_from(frames.len()).unwrap()));
    assert_eq!(compare(recording, recording), Comparison::Equal);
    // There is one way to write what a whole recording says.
    if let Some(end) = recording.end() {
        let mut again = RecordingWriter::new(recording.header()).unwrap();
        for frame in &frames {
            again.push(&frame.as_stable()).unwrap();
        }
        if let Some(hash) = end.state_hash {
            again.set_end_hash(hash);
        }
        again.finish(end.end, end.completed_episodes).unwrap();
        assert!(again.take_bytes() == recording.as_bytes(), "two ways to write the same");
    }
    // What is left of it when it is cut is a beginning of it.
    let kept = recording.as_bytes();
    if let Ok(part) = Recording::decode(&kept[..kept.len() / 4 * 3]) {
        let both = [compare(&part, recording), compare(recording, &part)];
        assert_eq!(both, [Comparison::Prefix { frames: part.frame_count() }; 2]);
    }
}

/// The frames as a stream gives them.
fn stream(bytes: &[u8]) -> Result<Vec<RecordedFrame>, String> {
    let mut reader = RecordingReader::new(bytes).map_err(|error| error.to_string())?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? {
        frames.push(RecordedFrame::from(frame));
    }
    Ok(frames)
}

/// Puts the checksums of all sections right, as far as their lengths lead, so that what is in them is read.
fn seal(bytes: &mut [u8]) {
    let Some(opening) = bytes.get(..OPENING_BYTES) else { return };
    let (mut chain, mut at) = (Chain::default().link(opening), OPENING_BYTES);
    while let Some((head, rest)) = bytes[at..].split_at_mut_checked(HEAD_BYTES) {
        let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
        let body = rest.get(..usize::try_from(length).unwrap()).unwrap_or(rest);
        head[10..18].copy_from_slice(&xxh3_64(body).to_le_bytes());
        head[18..26].copy_from_slice(&chain.to_u64().to_le_bytes());
        let check = Chain::from_u64(xxh3_64(&head[..26])).short();
        chain = chain.link(&head[..26]);
        head[26..HEAD_BYTES].copy_from_slice(&check.to_le_bytes());
        at += HEAD_BYTES + body.len();
    }
}

/// The magic and the version of a file.
const OPENING_BYTES: usize = 8;

/// The head of a section.
const HEAD_BYTES: usize = 30;
