//! Bytes that may never change: whoever has a recording can read it for ever.

use rollback_core::End;
use rollback_core::recording::{RecordedFrame, Recording, RecordingHeader};

use crate::episode::{END_HASH, eventful, example, record};

fn assert_recorded_as(
    bytes: &[u8],
    (header, frames, end): (RecordingHeader, Vec<RecordedFrame>, End),
) {
    let written = record(&header, &frames, end);
    assert_eq!(hex_lines(&written), hex_lines(bytes));
    let recording = Recording::decode(bytes).unwrap();
    assert_eq!(*recording.header(), header);
    assert_eq!(recording.frames().collect::<Vec<_>>(), frames);
    let record = recording.end().unwrap();
    assert_eq!((record.end, record.completed_episodes), (end, 2));
    assert_eq!(record.state_hash, Some(END_HASH));
}

/// 16 bytes a line, so that a difference can be seen.
fn hex_lines(bytes: &[u8]) -> Vec<String> {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>();
    bytes.chunks(16).map(|bytes| line(bytes).trim_end().to_owned()).collect()
}

fn from_hex<'a>(words: impl Iterator<Item = &'a str>) -> Vec<u8> {
    words.map(|word| u8::from_str_radix(word, 16).unwrap()).collect()
}

#[test]
fn an_eventful_recording_of_version_1_is_written_and_read_as_ever() {
    let bytes = from_hex(include_str!("golden/eventful_v1.hex").split_whitespace());
    assert_recorded_as(&bytes, eventful());
}

#[test]
fn the_worked_example_of_the_format_s_description_is_right() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recording-format.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, example_text) = text.split_once("## A worked example").unwrap();
    // The lines of the blocks marked `hex`, up to the bar behind which a byte is explained.
    let blocks = example_text.split("```hex\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    let bytes =
        from_hex(lines.flat_map(|line| {
            line.split_once('|').map_or(line, |(bytes, _)| bytes).split_whitespace()
        }));
    assert_recorded_as(&bytes, example());
}
