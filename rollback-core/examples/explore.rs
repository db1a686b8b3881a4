//! Follows the agreement on members farther than the tests do: `cargo run --release --features testing --example explore`.
//!
//! What is explored, and how, stands in `tests/exploration`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "shared with tests, where a panic is how a wrong expectation shows"
)]

#[path = "../tests/exploration/explorer.rs"]
mod explorer;
#[path = "../tests/exploration/lives.rs"]
mod lives;
#[path = "../tests/exploration/peer.rs"]
mod peer;
#[path = "../tests/exploration/promises.rs"]
mod promises;
#[path = "../tests/exploration/returns.rs"]
mod returns;
#[path = "../tests/exploration/setting.rs"]
mod setting;
#[path = "../tests/exploration/store.rs"]
mod store;
#[path = "../tests/exploration/world.rs"]
mod world;

use std::process::ExitCode;
use std::time::Instant;

use rollback_core::{PeerId, PeerSet};

use explorer::explore;
use setting::Setting;
use world::Explorer;

fn main() -> ExitCode {
    let mut holds = true;
    for setting in SETTINGS {
        let began = Instant::now();
        match explore(&mut Explorer::new(setting), STATES_MAX) {
            Ok(explored) => println!("{explored}: {setting}, {} s", began.elapsed().as_secs()),
            Err(counterexample) => {
                holds = false;
                eprintln!("{setting}: {counterexample:?}");
            }
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const THREE: Setting = Setting::peaceful(3);
const FOUR: Setting = Setting::peaceful(4);
const ALL_BUT_LAST: PeerSet = PeerSet::from_bits(0b0111);

/// One of them begins a new life once it is gone; or comes late, while of two frames of the second one the first one holds
/// only one.
const AGAIN: Setting = Setting { returner: PeerId::new(2), ..THREE };
const LATE: Setting =
    Setting { frames: 2, known: PeerSet::from_bits(0b101), common: 1, is_late: true, ..AGAIN };

const SETTINGS: [Setting; 12] = [
    Setting { failures: 1, false_suspicions: 1, known: PeerSet::from_bits(0b011), ..THREE },
    Setting { leaves: 1, crashes: 2, ..THREE },
    Setting { leaves: 1, false_suspicions: 1, ..THREE },
    Setting { crashes: 1, known: ALL_BUT_LAST, ..FOUR },
    Setting { leaves: 2, ..THREE },
    Setting { kicks: 2, crashes: 1, known: PeerSet::from_bits(0b011), ..THREE },
    Setting { crashes: 2, returner: PeerId::new(0), ..AGAIN },
    Setting { crashes: 2, returner: PeerId::new(1), ..AGAIN },
    Setting { crashes: 2, delays: 1, ..AGAIN },
    Setting { crashes: 1, ..LATE },
    Setting { delays: 2, ..LATE },
    Setting { false_suspicions: 1, delays: 1, ..AGAIN },
];

/// Each state takes about a hundred bytes.
const STATES_MAX: usize = 20_000_000;
