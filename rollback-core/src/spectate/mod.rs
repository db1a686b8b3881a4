//! Watching an episode while it is played: frames that are stable, and nothing else. A feed serves any number of
//! spectators, who may join at any time, each of whom may be fed by several hosts and may serve others in turn. No socket,
//! clock or thread.
//!
//! A member gives its feed the frames and the end that its session hands out, and carries datagrams between the feed
//! and the spectators:
//!
//! ```
//! # use core::convert::Infallible;
//! # use rollback_core::recording::RecordingHeader;
//! # use rollback_core::*;
//! # #[derive(Clone, Default)] struct Duel { x: [i32; 2] }
//! # impl Game for Duel {
//! #     type Input = i8; type Snapshot = Self; type Error = Infallible;
//! #     fn save(&self, slot: &mut Self) -> Result<(), Infallible> { slot.clone_from(self); Ok(()) }
//! #     fn load(&mut self, slot: &Self) -> Result<(), Infallible> { self.clone_from(slot); Ok(()) }
//! #     fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> { Ok(Outcome::Running) }
//! #     fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> { hasher.write_i32s(&slot.x); Ok(()) }
//! # }
//! # let mut hasher = StateHasher::new();
//! # Duel::default().hash(&Duel::default(), &mut hasher)?;
//! # let start_hash = hasher.finish();
//! # let header = RecordingHeader {
//! #     session: 7, episode: 0, seed: 42, config: SessionConfig::builder().players(2).build()?,
//! #     roster: Roster::one_player_each(2)?, participants: vec!["p-01".into(), "p-02".into()],
//! #     must_match: vec![], may_differ: vec![vec![], vec![]], start_hash,
//! # };
//! use rollback_core::spectate::{
//!     Feed, FeedLimits, HostId, Spectator, SpectatorOptions, Watched, WatcherId,
//! };
//!
//! # let local = PeerId::new(0).ok_or("no peer")?;
//! let mut feed = Feed::new(&header, local, FeedLimits::default())?;
//! let mut spectator = Spectator::new(header.session, header.episode, SpectatorOptions::default());
//! spectator.add_host(HostId(1));       // and further ones: when one is gone, the next is asked
//! let mut game = Duel::default();      // reset with the header's seed, once the header has come
//! let (mut watched, mut bytes) = (0, Vec::new());
//! for tick in 0..100 {
//!     let now = Timestamp::from_millis(tick * 16);
//!     let frame = Frame::new(u32::try_from(tick)?);
//!     feed.push(&StableFrame {
//!         frame, inputs: &[1, 0], flags: &[0, 0], items: &[], output: &[], state_hash: None, keyframe: None,
//!     });
//!     while let Some(_host) = spectator.poll_datagram(now, &mut bytes) {
//!         feed.handle_datagram(now, WatcherId(1), &bytes);
//!     }
//!     while let Some(_to) = feed.poll_datagram(now, &mut bytes) {
//!         spectator.handle_datagram(now, HostId(1), &bytes);
//!     }
//!     if let Watched::Stepped { frames } = spectator.advance(&mut game)? {
//!         watched += frames;
//!     }
//! }
//! assert!(watched > 90);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod audience;
mod feed;
mod hosts;
mod marks;
mod spectator;
mod wire;

pub use audience::{FeedLimits, WatcherId};
pub use feed::Feed;
pub use hosts::{Contradiction, HostId};
pub use spectator::{SpectateError, Spectator, SpectatorOptions, Watched};

/// Gives a datagram the tag that one of this episode has, whatever it holds.
#[cfg(feature = "testing")]
pub(crate) fn reseal(session: u64, episode: u32, bytes: &mut [u8]) {
    wire::Key::new(session, episode).seal(bytes);
}
