//! The loop of one who watches: which episode is played, by whom it is fed, and when the next frame is due.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rollback_core::recording::RecordingHeader;
use rollback_core::spectate::{HostId, SpectateError, Spectator, SpectatorOptions, Watched};
use rollback_core::{Game, Timestamp};

use super::watched_recording::WatchedRecording;
use super::{EPISODE_BYTES, WHICHEVER, WatchTransport, split};
use crate::datagram_transport::DATAGRAM_BYTES_MAX;
use crate::recording_file::RecordError;

/// Watches the episodes of a match, one after the other, on an ordinary synchronous loop.
///
/// ```no_run
/// # use std::convert::Infallible;
/// # use std::time::Duration;
/// # use rollback_core::*;
/// # #[derive(Clone, Default)] struct Duel { x: [i32; 2] }
/// # impl Duel { fn reset(seed: u64) -> Self { Self::default() } }
/// # impl Game for Duel {
/// #     type Input = i8; type Snapshot = Self; type Error = Infallible;
/// #     fn save(&self, slot: &mut Self) -> Result<(), Infallible> { slot.clone_from(self); Ok(()) }
/// #     fn load(&mut self, slot: &Self) -> Result<(), Infallible> { self.clone_from(slot); Ok(()) }
/// #     fn step(&mut self, step: &Step<'_, i8>) -> Result<Outcome, Infallible> { Ok(Outcome::Running) }
/// #     fn hash(&self, slot: &Self, hasher: &mut StateHasher) -> Result<(), Infallible> { hasher.write_i32s(&slot.x); Ok(()) }
/// # }
/// # fn draw(_: &Duel) {}
/// use rollback_core::spectate::{SpectatorOptions, Watched};
/// use rollback_webrtc::{TransportConfig, WatchLoop, WatchTransport};
///
/// let link = "wss://play.example.org/duel";
/// let transport = WatchTransport::join_blocking(link, TransportConfig::default())?;
/// let mut show = WatchLoop::new(transport, SpectatorOptions::default());
/// while let Some(header) = show.begin_episode(Duration::from_secs(30)) {
///     let mut game = Duel::reset(header.seed);
///     while !show.is_left_behind() {
///         if let Watched::Ended(end) = show.advance(&mut game)? {
///             println!("{end:?}");
///             break;
///         }
///         draw(&game);
///         show.sleep_until_next_frame();
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WatchLoop {
    transport: WatchTransport,
    options: SpectatorOptions,
    watched: Option<Episode>,
    /// The first episode that is of interest, and the newest that a member named.
    wanted: u32,
    newest: Option<u32>,
    asked_at: Option<Timestamp>,
    next_at: Timestamp,
    buffer: [u8; DATAGRAM_BYTES_MAX],
    bytes: Vec<u8>,
    datagram: Vec<u8>,
}

struct Episode {
    number: u32,
    spectator: Spectator,
    recording: Option<WatchedRecording>,
}

impl WatchLoop {
    /// Watches over these connections.
    #[must_use]
    pub fn new(transport: WatchTransport, options: SpectatorOptions) -> Self {
        Self {
            transport,
            options,
            watched: None,
            wanted: 0,
            newest: None,
            asked_at: None,
            next_at: Timestamp::ZERO,
            buffer: [0; DATAGRAM_BYTES_MAX],
            bytes: Vec::new(),
            datagram: Vec::new(),
        }
    }

    /// Goes to the episode that is played now, or to the next one after the one that was watched, and waits until what its
    /// members agreed on is there; `None` when the time is over. The game is then to be reset with the header's seed: all
    /// frames are shown from the first one on, those that were played already as fast as the options say.
    pub fn begin_episode(&mut self, timeout: Duration) -> Option<RecordingHeader> {
        if let Some(episode) = self.watched.take_if(|episode| episode.spectator.header().is_some())
        {
            self.wanted = episode.number.saturating_add(1);
        }
        let deadline = self.transport.0.now().plus(timeout);
        loop {
            self.serve();
            let spectator = self.watched.as_ref().map(|episode| &episode.spectator);
            if let Some(header) = spectator.and_then(Spectator::header) {
                self.next_at = self.transport.0.now();
                return Some(header.clone());
            }
            if self.is_left_behind() {
                (self.wanted, self.watched) = (self.newest.unwrap_or_default(), None);
            }
            let now = self.transport.0.now();
            if now >= deadline {
                return None;
            }
            let _ = self.transport.0.wait(deadline.since(now).min(SERVE_EVERY));
        }
    }

    /// Records the episode from here on: to be called after [`begin_episode`](Self::begin_episode), before the first frame.
    /// Of an end that the members agree on, the file is that of theirs, if as many episodes were completed before this one
    /// as they count. Frames are written when no end can be before them, and the rest with the end.
    ///
    /// # Errors
    /// When the file exists or cannot be made.
    pub fn record(&mut self, path: &Path, completed_episodes: u32) -> Result<(), RecordError> {
        if let Some(episode) = &mut self.watched
            && let Some(header) = episode.spectator.header()
        {
            let recording = WatchedRecording::create(path, header, completed_episodes)?;
            episode.recording = Some(recording);
        }
        Ok(())
    }

    /// Ends the recording before the episode does: what was proved by a state of the members is written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn stop_recording(&mut self) -> Result<(), RecordError> {
        let Some(episode) = &mut self.watched else { return Ok(()) };
        match episode.recording.take() {
            Some(recording) => recording.stop(&episode.spectator),
            None => Ok(()),
        }
    }

    /// Takes what has come, and steps what is to be shown next.
    ///
    /// # Errors
    /// As [`Spectator::advance`] says, or when the recording cannot be written.
    pub fn advance<G: Game>(&mut self, game: &mut G) -> Result<Watched, WatchError<G::Error>> {
        self.serve();
        let Some(Episode { spectator, recording, .. }) = &mut self.watched else {
            return Ok(Watched::Waiting);
        };
        match recording {
            Some(recording) => recording.advance(spectator, game),
            None => Ok(spectator.advance(game)?),
        }
    }

    /// Whether the members have gone on to another episode, and no more of this one comes.
    #[must_use]
    pub fn is_left_behind(&self) -> bool {
        let number = self.watched.as_ref().map(|episode| episode.number);
        number.zip(self.newest).is_some_and(|(number, newest)| number < newest)
    }

    /// Waits until the next frame is to be shown, and takes what arrives meanwhile.
    pub fn sleep_until_next_frame(&mut self) {
        let header = self.spectator().and_then(Spectator::header);
        let period = header.map_or(SERVE_EVERY, |header| header.config.frame_duration());
        let now = self.transport.0.now();
        // What was missed is caught up with by stepping more, not by hurrying.
        self.next_at = self.next_at.plus(period).max(now);
        loop {
            let now = self.transport.0.now();
            if now >= self.next_at {
                return;
            }
            if self.transport.0.wait(self.next_at.since(now)) {
                self.serve();
            }
        }
    }

    /// What is watched, to be asked how it goes.
    #[must_use]
    pub fn spectator(&self) -> Option<&Spectator> {
        self.watched.as_ref().map(|episode| &episode.spectator)
    }

    /// The number of the episode that is watched.
    #[must_use]
    pub fn episode(&self) -> Option<u32> {
        self.watched.as_ref().map(|episode| episode.number)
    }

    /// The connections.
    #[must_use]
    pub const fn transport(&self) -> &WatchTransport {
        &self.transport
    }

    /// Gives the connections back.
    #[must_use]
    pub fn into_transport(self) -> WatchTransport {
        self.transport
    }

    fn serve(&mut self) {
        self.receive();
        self.know_hosts();
        let now = self.transport.0.now();
        let Some(Episode { number, spectator, .. }) = &mut self.watched else {
            return self.ask_which(now);
        };
        while let Some(to) = spectator.poll_datagram(now, &mut self.bytes) {
            let members = self.transport.members().iter().map(|member| member.peer);
            let Some(peer) = members.clone().find(|peer| HostId(peer.slot().into()) == to) else {
                continue;
            };
            self.datagram.clear();
            self.datagram.extend_from_slice(&number.to_le_bytes());
            self.datagram.extend_from_slice(&self.bytes);
            // What is lost is asked again.
            let _ = self.transport.0.try_send(peer, &self.datagram);
        }
    }

    fn receive(&mut self) {
        while let Some(received) = self.transport.0.try_receive(&mut self.buffer) {
            let datagram = self.buffer.get(..received.len).unwrap_or_default();
            let Some((number, body)) = split(datagram) else { continue };
            if body.is_empty() {
                self.newest = self.newest.max(Some(number));
                if self.watched.is_none() && number >= self.wanted && number != WHICHEVER {
                    let session = self.transport.session_id();
                    let spectator = Spectator::new(session, number, self.options);
                    self.watched = Some(Episode { number, spectator, recording: None });
                }
            } else if let Some(episode) = self.watched.as_mut().filter(|e| e.number == number) {
                let from = HostId(received.peer.slot().into());
                episode.spectator.handle_datagram(received.arrived_at, from, body);
            }
        }
    }

    /// The spectator is fed by whoever there is a connection to.
    fn know_hosts(&mut self) {
        let Some(episode) = &mut self.watched else { return };
        for member in &self.transport.0.room().members {
            let host = HostId(member.peer.slot().into());
            match self.transport.0.stats(member.peer).is_connected {
                true => drop(episode.spectator.add_host(host)),
                false => episode.spectator.remove_host(host),
            }
        }
    }

    fn ask_which(&mut self, now: Timestamp) {
        if self.asked_at.is_some_and(|at| now.since(at) < ASK_EVERY) {
            return;
        }
        self.asked_at = Some(now);
        let which: [u8; EPISODE_BYTES] = WHICHEVER.to_le_bytes();
        for member in self.transport.members() {
            let _ = self.transport.0.try_send(member.peer, &which);
        }
    }
}

impl fmt::Debug for WatchLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchLoop")
            .field("episode", &self.episode())
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

/// Why an episode cannot be watched on.
#[derive(Debug, thiserror::Error)]
pub enum WatchError<E> {
    /// The game fails or is in another state, or what was sent is no episode.
    #[error(transparent)]
    Spectate(#[from] SpectateError<E>),
    /// The episode cannot be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Without a frame that is due, what has come is looked at so often.
const SERVE_EVERY: Duration = Duration::from_millis(20);

/// As long as the episode is not known, members are asked so often.
const ASK_EVERY: Duration = Duration::from_millis(100);
