//! The loop around the game: joins, plays one episode after the other, records, and comes back after a crash.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollback_core::{Advance, ConfigError, End, Facts, PeerSet, SessionConfig, SessionError};
use rollback_webrtc::{
    EpisodeSetup, GameLoop, Inquiry, JoinError, LoopError, ReturnError, Room, SetupError,
    Transport, TransportConfig,
};

use crate::arena::Arena;
use crate::ballast::Ballast;
use crate::summary::{EpisodeSummary, Observer, Summary, millis, name_of};
use crate::walk::Walk;

/// What to play, with whom, and where to record it. All but the link, the folder, the token's file, the seed and the transport's
/// configuration has to be equal on all computers; whoever differs is told in what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The room, such as `ws://127.0.0.1:8080/arena`.
    pub link: String,
    /// How to get there and to the others.
    pub transport: TransportConfig,
    /// How many episodes are played.
    pub episodes: u32,
    /// How many frames each of them lasts.
    pub frames: u32,
    /// Frames a second.
    pub fps: u16,
    /// How many frames later an input takes effect.
    pub input_delay: u8,
    /// How many bytes an input takes.
    pub input_bytes: usize,
    /// How many bytes of ballast a state has.
    pub state_bytes: usize,
    /// How long a step takes beside what it does.
    pub step: Duration,
    /// How long the others may take to begin.
    pub start_timeout: Duration,
    /// How long the others may be silent before the match goes on without them.
    pub departure_timeout: Duration,
    /// With fewer members than this an episode ends.
    pub members_min: usize,
    /// Where recordings go.
    pub folder: PathBuf,
    /// Where the token is kept while this process plays, so that one that follows a crash comes back into the match.
    pub token_file: Option<PathBuf>,
    /// What this computer's player does follows from it.
    pub seed: u64,
}

/// Plays a match from one end to the other.
///
/// # Errors
/// When there is no way to play, or nowhere to record.
pub fn play(plan: &Plan) -> Result<Summary, PlayError> {
    let token = plan.token_file.as_deref().and_then(|file| fs::read_to_string(file).ok());
    let config = TransportConfig { token, ..plan.transport.clone() };
    let mut transport = Transport::join_blocking(&plan.link, config)?;
    let room = transport.room().clone();
    if let Some(file) = &plan.token_file {
        keep_secret(file, &room.token)?;
    }

    let mut observer = Observer::new(&room);
    let mut player = Walk::new(plan.seed ^ u64::from(room.local.slot()) << 32);
    let mut setup = plan.setup(&room)?;
    if room.life > 0 {
        setup = standing(&setup, &room, &mut transport)?;
    }
    while setup.ticket.episode < plan.episodes {
        setup.recording = Some(plan.recording(&room, setup.ticket.episode));
        let played = play_episode(plan, transport, &setup, &mut player, &mut observer)?;
        transport = played.transport;
        setup = match played.end {
            Some((end, late)) => {
                setup.for_episode(room.seed, setup.ticket.episode + 1, Some(end), late)
            }
            None => standing(&setup, &room, &mut transport)?,
        };
    }
    transport.close();
    if let Some(file) = &plan.token_file {
        fs::remove_file(file).map_err(|source| PlayError::io(file, source))?;
    }
    Ok(observer.finish())
}

/// An episode that is over for this computer.
struct Played {
    transport: Transport,
    /// How it ended, and who had not come by then; `None` where it ended before this computer was let in.
    end: Option<(End, PeerSet)>,
}

fn play_episode(
    plan: &Plan,
    transport: Transport,
    setup: &EpisodeSetup,
    player: &mut Walk,
    observer: &mut Observer,
) -> Result<Played, PlayError> {
    let ballast = Ballast::new(plan.state_bytes, plan.step);
    let mut arena =
        Arena::new(setup.config.players(), plan.frames, setup.ticket.seed).with_ballast(ballast);
    let mut episode = GameLoop::new(transport, setup.clone(), &arena)?;
    let end = match run(&mut episode, &mut arena, player, observer) {
        Ok(end) => end,
        Err(LoopError::Return(ReturnError::EpisodeOver { .. })) => {
            return Ok(Played { transport: episode.into_transport(), end: None });
        }
        Err(error) => {
            // The others are told before this computer goes.
            episode.finish(&mut arena)?;
            return Err(error.into());
        }
    };
    let counters = episode.session().counters();
    let peers = setup.ticket.roster.peers().without(setup.ticket.local);
    let rtt = peers.iter().filter_map(|peer| episode.session().rtt(peer)).max();
    let summary = observer.summary();
    summary.rollbacks += counters.rollback.rollbacks;
    summary.resimulated += counters.rollback.resimulated;
    summary.passed += counters.passed;
    summary.stalls += counters.stalls;
    summary.rtt_ms = rtt.map(millis);
    summary.episodes.push(EpisodeSummary {
        episode: setup.ticket.episode,
        frames: end.frame.index(),
        end: name_of(end.cause).to_owned(),
        recording: setup.recording.clone().unwrap_or_default(),
    });
    let late = episode.late();
    let transport = episode.finish(&mut arena)?;
    observer.look_at(&transport);
    observer.rest();
    Ok(Played { transport, end: Some((end, late)) })
}

/// The game's loop: an input, a frame, and waiting for the next one.
fn run(
    episode: &mut GameLoop<Arena, Transport>,
    arena: &mut Arena,
    player: &mut Walk,
    observer: &mut Observer,
) -> Result<End, LoopError<Infallible>> {
    loop {
        if let Ok(None) = episode.set_local_input(&player.next_keys()) {
            // The frame has its input already: the session waits, and what was pressed now is forgotten.
        }
        match episode.advance_frame(arena)? {
            Advance::Ended(end) => return Ok(end),
            Advance::Stepped { .. } if !episode.is_catching_up() => {
                observer.frame(episode.transport().now());
            }
            // A game with a window would show here that it waits, and for whom.
            Advance::Stepped { .. } | Advance::Held { .. } | Advance::Stalled(_) => {}
        }
        observer.look_at(episode.transport());
        if !episode.is_catching_up() {
            observer.measure(episode.transport(), episode.session().view().members);
        }
        episode.sleep_until_next_frame();
    }
}

/// The episode that the others are in, for a process that came late or back.
fn standing(
    setup: &EpisodeSetup,
    room: &Room,
    transport: &mut Transport,
) -> Result<EpisodeSetup, PlayError> {
    let standing = Inquiry::new(room).wait(transport, RETURN_PATIENCE)?;
    Ok(setup.for_standing(room.seed, standing))
}

impl Plan {
    /// What an episode of this plan is started with.
    fn setup(&self, room: &Room) -> Result<EpisodeSetup, PlayError> {
        let config = SessionConfig::builder()
            .players(room.members.len())
            .tick_rate_hz(self.fps)
            .input_delay_frames(self.input_delay)
            .input_width(self.input_bytes)
            .departure_timeout(self.departure_timeout)
            .members_min(self.members_min)
            .build()?;
        // Compared by all before play, and recorded: whoever verifies the recording needs to know what was played.
        let must_match = vec![
            ("game".to_owned(), "arena 1".to_owned()),
            (FRAMES.to_owned(), self.frames.to_string()),
            (STATE_BYTES.to_owned(), self.state_bytes.to_string()),
        ];
        let facts = Facts { must_match, may_differ: Vec::new() };
        let start_timeout = self.start_timeout;
        Ok(EpisodeSetup { facts, start_timeout, ..EpisodeSetup::of_room(room, config)? })
    }

    /// The name is a new one for each life, since no recording is ever overwritten.
    fn recording(&self, room: &Room, episode: u32) -> PathBuf {
        let (session, slot, life) = (room.session_id, room.local.slot(), room.life);
        self.folder.join(format!("{session:016x}-{episode:03}-peer{slot}-life{life}.rbk"))
    }
}

/// Whoever has the token can take the slot, so nobody else may read it.
fn keep_secret(file: &Path, token: &str) -> Result<(), PlayError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut opened = options.open(file).map_err(|source| PlayError::io(file, source))?;
    io::Write::write_all(&mut opened, token.as_bytes())
        .map_err(|source| PlayError::io(file, source))
}

/// The fact that says how many frames an episode has.
pub(crate) const FRAMES: &str = "frames";

/// The fact that says how much ballast a state has.
pub(crate) const STATE_BYTES: &str = "state_bytes";

/// How long one that came late or back asks what is played.
const RETURN_PATIENCE: Duration = Duration::from_secs(60);

/// Why a match was not played to its end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The room cannot be joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A value is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The room does not fit.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The game cannot be started.
    #[error(transparent)]
    Session(#[from] SessionError<Infallible>),
    /// Play broke off.
    #[error(transparent)]
    Loop(#[from] LoopError<Infallible>),
    /// There is nothing to come back into.
    #[error(transparent)]
    Return(#[from] ReturnError),
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl PlayError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
