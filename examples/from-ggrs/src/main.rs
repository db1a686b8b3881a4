//! Plays the race on both engines: `cargo run -p rollback-from-ggrs`.

use std::error::Error;

use rollback_from_ggrs::{Played, play_on_ggrs, play_on_rollback};

fn main() -> Result<(), Box<dyn Error>> {
    for (engine, played) in [("ggrs", play_on_ggrs()?), ("rollback", play_on_rollback()?)] {
        let Played { races: [one, other], rollbacks } = played;
        println!("{engine:<9} {one:?}");
        println!("          {other:?}");
        println!("          {} and {} rollbacks", rollbacks[0], rollbacks[1]);
    }
    Ok(())
}
