//! Re-simulates a recording.
