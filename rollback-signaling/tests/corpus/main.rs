//! What the fuzzers (`make fuzz`) found worth keeping, once more.

mod message;

use std::fs;
use std::path::Path;

#[test]
fn texts_that_were_found_to_be_parsed_in_different_ways_are_parsed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/signaling");
    let files = fs::read_dir(folder).unwrap();
    let count = files.map(|file| message::parse(&fs::read(file.unwrap().path()).unwrap())).count();
    assert!(count > 0, "nothing is kept");
}
