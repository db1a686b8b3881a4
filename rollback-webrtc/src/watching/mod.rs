//! Watching over WebRTC: what a member's game loop shows, and the loop of one who watches. Each datagram of watching
//! begins with the number of the episode (4 bytes, little-endian); one that is nothing else says which is played.

mod show;
mod watch_loop;
mod watch_transport;
mod watched_recording;

pub(crate) use show::Show;
pub use watch_loop::{WatchError, WatchLoop};
pub use watch_transport::{JoiningWatch, WatchTransport};

/// How many bytes name the episode.
const EPISODE_BYTES: usize = 4;

/// The number in place of an episode's, of one who does not know which is played.
const WHICHEVER: u32 = u32::MAX;

/// The episode that a datagram names, and the rest.
fn split(datagram: &[u8]) -> Option<(u32, &[u8])> {
    let (episode, rest) = datagram.split_first_chunk::<EPISODE_BYTES>()?;
    Some((u32::from_le_bytes(*episode), rest))
}
