//! The feed of a member: the stable log, and how much of it each spectator has.

use alloc::vec::Vec;

use super::audience::{Audience, FeedLimits, Shown, WatcherId};
use super::marks::Marks;
use super::wire::Key;
use crate::recording::stream::StreamWriter;
use crate::recording::{HeaderError, RecordingHeader};
use crate::session::{End, EndCause, StableFrame};
use crate::{PeerId, Timestamp};

/// Serves one episode to any number of spectators. Its stream depends on the stable frames and on nothing else, so that
/// what one member's feed sends fits to what another's sends.
#[derive(Clone, Debug)]
pub struct Feed {
    local: PeerId,
    stream: StreamWriter,
    marks: Marks,
    /// The end that is part of the stream, and the one that is not.
    end: Option<End>,
    over: Option<End>,
    audience: Audience,
}

impl Feed {
    /// A feed of the episode that `header` describes, on the member `local`; `header` is what the recording begins with.
    ///
    /// # Errors
    /// When the header's fields do not fit each other or are too long.
    pub fn new(
        header: &RecordingHeader,
        local: PeerId,
        limits: FeedLimits,
    ) -> Result<Self, HeaderError> {
        let key = Key::new(header.session, header.episode);
        let stream = StreamWriter::new(header)?;
        let mut marks = Marks::default();
        marks.push(stream.bytes());
        let mut audience = Audience::new(key, limits);
        audience.follow(&header.config);
        Ok(Self { local, stream, marks, end: None, over: None, audience })
    }

    /// Takes the next stable frame. Answers `false` for a frame that is not the next one, after the end, and when the
    /// stream has grown beyond 256 MiB.
    pub fn push(&mut self, frame: &StableFrame<'_>) -> bool {
        self.append(|stream| stream.push(frame))
    }

    /// The episode has ended. An end that need not be that of the others (this member left, was cut off, or failed)
    /// says that nothing more comes from here; they may go on. Answers `false` where a frame before the end was not pushed:
    /// then whoever watches waits on.
    pub fn finish(&mut self, end: End) -> bool {
        let is_left = end.cause == EndCause::Left && end.by == Some(self.local);
        if end.cause.is_agreed() && !is_left {
            let is_written = self.append(|stream| stream.finish(end));
            self.end = self.end.or(is_written.then_some(end));
            return is_written;
        }
        let has_frames = self.stream.frames() >= end.frame;
        self.over = self.over.or(has_frames.then_some(end));
        has_frames
    }

    /// Takes a datagram of a spectator. What is wrong is counted and dropped.
    pub fn handle_datagram(&mut self, now: Timestamp, from: WatcherId, bytes: &[u8]) {
        self.audience.handle_datagram(now, from, bytes);
    }

    /// Writes the next datagram that is due and answers who is to get it: to be called until it answers `None`, after
    /// every frame and every datagram.
    pub fn poll_datagram(&mut self, now: Timestamp, bytes: &mut Vec<u8>) -> Option<WatcherId> {
        let Self { stream, marks, over, .. } = self;
        let shown = Shown { stream: stream.bytes(), marks, over: *over };
        self.audience.poll_datagram(now, shown, bytes)
    }

    /// How many are fed from here. One who asks several hosts is fed by one of them.
    #[must_use]
    pub fn spectators(&self) -> usize {
        self.audience.count()
    }

    /// How many of them have not said that they hold everything: after the end a driver stays for these, for a while.
    #[must_use]
    pub fn lagging(&self) -> usize {
        self.audience.lagging(self.stream.bytes().len())
    }

    /// How many datagrams were dropped: damaged, of another episode, or of one spectator too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.audience.refused
    }

    /// The end in the stream.
    #[cfg(feature = "testing")]
    pub(crate) fn agreed_end(&self) -> Option<End> {
        self.end
    }

    fn append(&mut self, write: impl FnOnce(&mut StreamWriter) -> bool) -> bool {
        let before = self.stream.bytes().len();
        let is_written = write(&mut self.stream);
        let entry = self.stream.bytes().get(before..).unwrap_or_default();
        if !entry.is_empty() {
            self.marks.push(entry);
        }
        is_written
    }
}
