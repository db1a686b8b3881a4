//! Reads whatever could be in a file.
#![no_main]

#[path = "../../tests/corpus/recording.rs"]
mod recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| recording::read(bytes));
