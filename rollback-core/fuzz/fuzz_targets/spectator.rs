//! Hands those who watch whatever could come to them.
#![no_main]

#[expect(dead_code, reason = "each user of the games plays some of them")]
#[path = "../../tests/games/mod.rs"]
mod games;
#[path = "../../tests/corpus/script.rs"]
mod script;
#[path = "../../tests/corpus/spectator.rs"]
mod spectator;

libfuzzer_sys::fuzz_target!(|script: &[u8]| spectator::watch(script));
