//! What the fuzzers (`make fuzz`) found worth keeping, once more: no panic, and no promise broken.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test, a panic is how a wrong expectation shows"
)]

mod datagram;
#[path = "../games/mod.rs"]
mod games;
mod journal;
mod recording;
mod script;
mod spectator;

use std::fs;
use std::path::Path;

/// Hands `play` every file that is kept for a fuzzer.
fn replay(fuzzer: &str, play: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(fuzzer);
    let mut count = 0;
    for file in fs::read_dir(folder).unwrap() {
        play(&fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "nothing is kept for {fuzzer}");
}

#[test]
fn members_that_break_the_protocol_in_every_way_that_was_found_break_nothing_else() {
    replay("datagram", datagram::play);
}

#[test]
fn files_that_were_found_to_be_read_in_different_ways_are_read() {
    replay("recording", recording::read);
}

#[test]
fn damaged_journals_are_played_as_far_as_they_go() {
    replay("journal", |bytes| {
        journal::play(bytes);
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << (at % 8);
            journal::play(&damaged);
        }
    });
}

#[test]
fn whoever_watches_is_sent_what_was_found_to_go_other_ways() {
    replay("spectator", spectator::watch);
}
