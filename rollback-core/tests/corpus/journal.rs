//! Bytes that may be a journal: played again, call by call, whatever is in them.

use rollback_core::journal::JournalReplay;

/// Plays bytes as the journal of a game with inputs of one byte.
pub(crate) fn play(bytes: &[u8]) {
    let Ok(mut replay) = JournalReplay::<u8>::new(bytes) else { return };
    let mut calls = 0;
    while let Ok(Some(call)) = replay.next_call() {
        assert_eq!(call.number, calls);
        calls += 1;
    }
}
