//! What a member has for those who watch: the stable log, and who has how much of it.

use alloc::vec::Vec;

use super::audience::{Audience, FeedLimits, WatcherId};
use super::wire::Key;
use crate::Timestamp;
use crate::recording::stream::StreamWriter;
use crate::recording::{HeaderError, RecordingHeader};
use crate::session::{End, StableFrame};

/// Serves one episode to any number of spectators.
#[derive(Clone, Debug)]
pub struct Feed {
    stream: StreamWriter,
    audience: Audience,
}

impl Feed {
    /// A feed of the episode that `header` describes; `header` is what the recording begins with.
    ///
    /// # Errors
    /// When the header's fields do not fit each other or are too long.
    pub fn new(header: &RecordingHeader, limits: FeedLimits) -> Result<Self, HeaderError> {
        let key = Key::new(header.session, header.episode);
        Ok(Self { stream: StreamWriter::new(header)?, audience: Audience::new(key, limits) })
    }

    /// Takes the next stable frame. Answers `false` for a frame that is not the next one, after the end, and when the
    /// stream has grown beyond 256 MiB.
    pub fn push(&mut self, frame: &StableFrame<'_>) -> bool {
        self.stream.push(frame)
    }

    /// The episode has ended. Answers `false` where a frame before the end was not pushed: then whoever watches waits on.
    pub fn finish(&mut self, end: End) -> bool {
        self.stream.finish(end)
    }

    /// Takes a datagram of a spectator. What is wrong is counted and dropped.
    pub fn handle_datagram(&mut self, now: Timestamp, from: WatcherId, bytes: &[u8]) {
        self.audience.handle_datagram(now, from, bytes, self.stream.bytes().len());
    }

    /// Writes the next datagram that is due and answers who is to get it: to be called until it answers `None`, after
    /// every frame and every datagram.
    pub fn poll_datagram(&mut self, now: Timestamp, bytes: &mut Vec<u8>) -> Option<WatcherId> {
        self.audience.poll_datagram(now, self.stream.bytes(), bytes)
    }

    /// How many watch.
    #[must_use]
    pub fn spectators(&self) -> usize {
        self.audience.count()
    }

    /// How many datagrams were dropped: damaged, of another episode, or of one spectator too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.audience.refused
    }
}
