//! Plays whatever could be in a journal.
#![no_main]

#[path = "../../tests/corpus/journal.rs"]
mod journal;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| journal::play(bytes));
