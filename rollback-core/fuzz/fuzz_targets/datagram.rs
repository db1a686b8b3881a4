//! Hands a session whatever a member could send it.
#![no_main]

#[path = "../../tests/corpus/datagram.rs"]
mod datagram;
#[expect(dead_code, reason = "each user of the games plays some of them")]
#[path = "../../tests/games/mod.rs"]
mod games;
#[path = "../../tests/corpus/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|script: &[u8]| datagram::play(script));
