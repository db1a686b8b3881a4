//! What `counts --check` holds this project's engine to. Only what is equal on every computer has a limit here.

use crate::{figures::Row, workload::Engine};

/// A figure of the row `rollback` that may not be exceeded.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The cell.
    pub cell: &'static str,
    /// The name of the figure in the JSON report.
    pub figure: &'static str,
    /// The most it may be.
    pub at_most: f64,
}

/// What was promised: nothing on the heap after the warm-up, no clock, one small datagram per remote and frame, one hash
/// of the state per report. Instructions only ever go down: what the engine took when the limit was last set, and a
/// little for other compilers.
pub const LIMITS: [Limit; 37] = [
    limit("steady/2p/64B", "allocations", 0.0),
    limit("steady/2p/64B", "instructions", 1_690.0),
    limit("steady/8p/64B", "allocations", 0.0),
    limit("steady/8p/64B", "instructions", 3_240.0),
    limit("steady/2p/64KiB", "copied_bytes", 6_554.0),
    limit("steady/2p/64KiB", "hashed_bytes", 6_554.0),
    limit("rollback1/2p/64B", "allocations", 0.0),
    limit("rollback12/2p/64B", "allocations", 0.0),
    limit("rollback12/2p/64B", "packets_per_remote", 1.0),
    limit("rollback4/2p/64B", "largest_payload_bytes", 28.0),
    limit("mesh/2p/64B", "allocations", 0.0),
    limit("mesh/2p/64B", "clock_readings", 0.0),
    limit("mesh/2p/64B", "packets_per_remote", 1.0),
    limit("mesh/2p/64B", "payload_bytes_per_remote", 16.0),
    limit("mesh/2p/64B", "stalled_per_mille", 0.0),
    limit("mesh/2p/64B", "instructions", 4_540.0),
    limit("mesh/2p/64KiB", "hashed_bytes", 6_554.0),
    limit("mesh/2p/64KiB", "copied_bytes", 17_500.0),
    limit("mesh/4p/64B", "allocations", 0.0),
    limit("mesh/4p/64B", "packets_per_remote", 1.0),
    limit("mesh/4p/64B", "payload_bytes_per_remote", 16.0),
    limit("mesh/4p/64B", "stalled_per_mille", 0.0),
    limit("mesh/4p/64B", "instructions", 9_800.0),
    limit("mesh/8p/64B", "allocations", 0.0),
    limit("mesh/8p/64B", "clock_readings", 0.0),
    limit("mesh/8p/64B", "packets_per_remote", 1.0),
    limit("mesh/8p/64B", "payload_bytes_per_remote", 16.0),
    limit("mesh/8p/64B", "instructions", 20_600.0),
    limit("mesh-delay4/2p/64B", "payload_bytes_per_remote", 16.0),
    limit("mesh-delay4/2p/64B", "largest_payload_bytes", 26.0),
    // Loss may take a spare snapshot slot for the first time after the warm-up, and fill it.
    limit("mesh-loss20/2p/64B", "allocations", 0.001),
    limit("mesh-loss20/2p/64B", "packets_per_remote", 1.0),
    limit("mesh-loss20/2p/64B", "payload_bytes_per_remote", 16.0),
    limit("mesh-loss20/2p/64B", "stalled_per_mille", 2.0),
    limit("mesh-loss5/4p/64B", "stalled_per_mille", 2.0),
    limit("window8/2p/64B", "allocations", 0.0),
    limit("window128/2p/64B", "instructions", 4_700.0),
];

const fn limit(cell: &'static str, figure: &'static str, at_most: f64) -> Limit {
    Limit { cell, figure, at_most }
}

/// The limits that do not hold. What was not measured exceeds its limit too, but for instructions, which need a program
/// that may not be there.
#[must_use]
pub fn exceeded(rows: &[Row]) -> Vec<String> {
    let mut exceeded = Vec::new();
    for Limit { cell, figure, at_most } in LIMITS {
        let row = rows.iter().find(|row| row.cell == cell && row.engine == Engine::Rollback.name());
        match row.and_then(|row| row.figure(figure)) {
            Some(got) if got <= at_most => {}
            Some(got) => {
                exceeded.push(format!("{cell}: {figure} {got}, expected at most {at_most}"));
            }
            None if figure == "instructions" => {}
            None => exceeded.push(format!("{cell}: {figure} was not measured")),
        }
    }
    exceeded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Cell;

    #[test]
    fn every_limit_is_of_a_cell_that_is_counted() {
        for limit in LIMITS {
            assert!(Cell::counted().iter().any(|cell| cell.name() == limit.cell), "{limit:?}");
        }
    }
}
