//! Parses whatever could come from a client or a server.
#![no_main]

#[path = "../../../rollback-signaling/tests/corpus/message.rs"]
mod message;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| message::parse(bytes));
