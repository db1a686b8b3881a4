//! What is known of one remote peer.

mod handshake;
mod link;

pub use handshake::Mismatch;
pub(crate) use handshake::{Handshake, first_mismatch};
pub(crate) use link::Link;
pub use link::LinkCounters;
