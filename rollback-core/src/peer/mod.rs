//! What is known of one remote peer.

mod handshake;
mod lateness;
mod link;

pub(crate) use handshake::Handshake;
pub use handshake::{Mismatch, Mismatches};
pub(crate) use lateness::Lateness;
pub use link::LinkCounters;
pub(crate) use link::{Link, Returning};
