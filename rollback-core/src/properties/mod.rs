//! What holds for whatever comes, said of the parts that only this crate can reach: each against a naive model.

mod clock;
mod input_queue;
mod messages;
mod runs;
mod snapshots;

use crate::{PeerId, PlayerHandle};

fn peer(slot: usize) -> PeerId {
    PeerId::new(u8::try_from(slot).unwrap()).unwrap()
}

fn player(slot: usize) -> PlayerHandle {
    PlayerHandle::new(u8::try_from(slot).unwrap()).unwrap()
}
