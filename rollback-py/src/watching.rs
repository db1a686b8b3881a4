//! Watching a match from Python: the doors of the loop of one who watches, with the GIL released in every wait.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rollback_core::recording::RecordingHeader;
use rollback_core::spectate::{SpectateError, SpectatorOptions, Watched};
use rollback_core::{End, PeerId, PlayerHandle};
use rollback_webrtc::{
    IceServer, JoiningWatch, LinkConditions, PathPolicy, RecordError, TransportConfig, WatchError,
    WatchLoop, WatchTransport,
};

use crate::env_game::PyGame;
use crate::errors::{DivergedError, Error, RecordingError, RollbackError, game_error};
use crate::events::end_dict;
use crate::room::{lock, refused, refused_link};

/// A match that is watched, one episode after the other.
#[pyclass(module = "rollback_py._rollback", name = "Watching", frozen)]
pub(crate) struct PyWatching {
    joining: Mutex<Option<JoiningWatch>>,
    /// Boxed: the hasher inside needs more alignment than a Python object has.
    watching: Mutex<Option<Box<Show>>>,
    /// The thread that is using it: an environment that asks for what shows it is told so.
    user: Mutex<Option<std::thread::ThreadId>>,
}

struct Show {
    watch: WatchLoop,
    game: Option<PyGame>,
    end: Option<End>,
}

#[pymethods]
impl PyWatching {
    /// Starts going to a room. Where nobody plays, it is tried again for so many seconds.
    #[new]
    #[pyo3(signature = (link, *, ice_servers=Vec::new(), relay_only=false, server_relay=true, delay_ms=0, jitter_ms=0, loss_percent=0.0, seed=0, timeout_s=60.0))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python constructor")]
    fn new(
        link: &str,
        ice_servers: Vec<(String, String, String)>,
        relay_only: bool,
        server_relay: bool,
        delay_ms: u32,
        jitter_ms: u32,
        loss_percent: f64,
        seed: u64,
        timeout_s: f64,
    ) -> PyResult<Self> {
        let server = |(url, username, credential)| IceServer { url, username, credential };
        let config = TransportConfig {
            ice_servers: ice_servers.into_iter().map(server).collect(),
            path_policy: if relay_only { PathPolicy::RelayOnly } else { PathPolicy::All },
            server_relay,
            link_conditions: LinkConditions { delay_ms, jitter_ms, loss_percent, seed },
            connect_timeout: seconds(timeout_s),
            ..TransportConfig::default()
        };
        let joining =
            WatchTransport::join(link, config).map_err(|error| refused_link(link, error))?;
        let (joining, watching) = (Mutex::new(Some(joining)), Mutex::new(None));
        Ok(Self { joining, watching, user: Mutex::new(None) })
    }

    /// Waits until the room can be watched; `False` when the time is over.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let timeout = self::seconds(seconds);
        let joined = py.detach(|| {
            let mut joining = lock(&self.joining);
            joining.as_mut().map(|joining| joining.wait(timeout))
        });
        let Some(joined) = joined else { return Ok(lock(&self.watching).is_some()) };
        let Some(transport) = joined.map_err(refused)? else { return Ok(false) };
        let watch = WatchLoop::new(transport, SpectatorOptions::default());
        *lock(&self.watching) = Some(Box::new(Show { watch, game: None, end: None }));
        *lock(&self.joining) = None;
        Ok(true)
    }

    /// The names of all members, in the order of their slots.
    #[getter]
    fn members(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |show| {
            let members = show.watch.transport().members().iter();
            members.map(|member| member.name.clone().unwrap_or_default()).collect()
        })
    }

    /// To how many members there is a connection.
    #[getter]
    fn hosts(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |show| show.watch.transport().hosts())
    }

    /// Goes to the episode that is played, or to the next one: what its members agreed on before its first frame, or
    /// `None` when that has not come within so many seconds. Calling it again waits on.
    fn begin<'py>(&self, py: Python<'py>, seconds: f64) -> PyResult<Option<Bound<'py, PyDict>>> {
        let timeout = self::seconds(seconds);
        let header = self.with(py, |show| {
            (show.game, show.end) = (None, None);
            show.watch.begin_episode(timeout)
        })?;
        header.map(|header| header_dict(py, &header)).transpose()
    }

    /// Shows the episode that was begun to `game`, an `EnvGame` that was just reset with its seed, and records it.
    #[pyo3(signature = (game, *, recording=None, completed_episodes=0))]
    fn start(
        &self,
        py: Python<'_>,
        game: &Bound<'_, PyAny>,
        recording: Option<PathBuf>,
        completed_episodes: u32,
    ) -> PyResult<()> {
        let game = PyGame::new(game)?;
        let begun = self.with(py, |show| {
            show.game = Some(game);
            recording.map_or(Ok(()), |path| show.watch.record(&path, completed_episodes))
        })?;
        begun.map_err(|error| record_error(&error))
    }

    /// Takes what has come, and steps what is to be shown next. Returns what happened, and the frame that is next.
    fn advance(&self, py: Python<'_>) -> PyResult<(&'static str, u32)> {
        let (advance, frame, is_left_behind) = self.with(py, |show| {
            let advance = show.game.as_mut().map(|game| show.watch.advance(game));
            if let Some(Ok(Watched::Ended(end))) = &advance {
                show.end = Some(*end);
            }
            let frame = show.watch.spectator().map_or(0, |it| it.current_frame().index());
            (advance, frame, show.watch.is_left_behind())
        })?;
        Ok(match advance.transpose().map_err(watch_error)? {
            Some(Watched::Stepped { .. }) => ("stepped", frame),
            Some(Watched::Ended(end)) => ("ended", end.frame.index()),
            Some(Watched::Waiting) | None if is_left_behind => ("left_behind", frame),
            Some(Watched::Waiting) | None => ("waiting", frame),
        })
    }

    /// Waits until the next frame is to be shown, and takes what arrives meanwhile.
    fn wait_for_frame(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |show| show.watch.sleep_until_next_frame())
    }

    /// How many frames have come.
    #[getter]
    fn frames(&self, py: Python<'_>) -> PyResult<u32> {
        self.with(py, |show| show.watch.spectator().map_or(0, |it| it.frames().index()))
    }

    /// The slots of the members that said something else than another before, and the frame from which on.
    #[getter]
    fn contradictions(&self, py: Python<'_>) -> PyResult<Vec<(u64, Option<u32>)>> {
        self.with(py, |show| {
            let found = show.watch.spectator().map(|it| it.contradictions()).unwrap_or_default();
            found.iter().map(|one| (one.host.0, one.frame.map(|frame| frame.index()))).collect()
        })
    }

    /// How the episode ended, or `None` while it is watched.
    #[getter]
    fn end(&self, py: Python<'_>) -> PyResult<Option<Py<PyDict>>> {
        let end = self.with(py, |show| show.end)?;
        end.map(|end| end_dict(py, end).map(Bound::unbind)).transpose()
    }

    /// Writes what was recorded of an episode that is not watched to its end.
    fn stop_recording(&self, py: Python<'_>) -> PyResult<()> {
        let stopped = self.with(py, |show| show.watch.stop_recording())?;
        stopped.map_err(|error| record_error(&error))
    }

    /// Goes away.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if *lock(&self.user) == Some(std::thread::current().id()) {
            return Err(Error::EpisodeInUse.into());
        }
        py.detach(|| {
            drop(lock(&self.joining).take());
            if let Some(show) = lock(&self.watching).take() {
                show.watch.into_transport().close();
            }
        });
        Ok(())
    }
}

impl PyWatching {
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        use_it: impl FnOnce(&mut Show) -> R + Send,
    ) -> PyResult<R> {
        let this_thread = std::thread::current().id();
        if *lock(&self.user) == Some(this_thread) {
            return Err(Error::EpisodeInUse.into());
        }
        py.detach(|| {
            let mut watching = lock(&self.watching);
            *lock(&self.user) = Some(this_thread);
            let used = watching.as_deref_mut().map(|show| {
                let used = use_it(show);
                let interrupt = show.game.as_ref().and_then(PyGame::take_interrupt);
                interrupt.map_or(Ok(used), Err)
            });
            *lock(&self.user) = None;
            used.ok_or(Error::RoomIncomplete)?
        })
    }
}

fn header_dict<'py>(py: Python<'py>, header: &RecordingHeader) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let roster = &header.roster;
    let hosts = PlayerHandle::all(roster.player_count()).filter_map(|player| roster.host(player));
    dict.set_item("session", header.session)?;
    dict.set_item("episode", header.episode)?;
    dict.set_item("seed", header.seed)?;
    dict.set_item("fps", header.config.tick_rate_hz())?;
    dict.set_item("input_width", header.config.input_width())?;
    dict.set_item("hosts", hosts.map(PeerId::index).collect::<Vec<_>>())?;
    dict.set_item("participants", &header.participants)?;
    dict.set_item("must_match", header.must_match.clone())?;
    Ok(dict)
}

fn watch_error(error: WatchError<PyErr>) -> PyErr {
    let message = error.to_string();
    match error {
        WatchError::Record(error) => record_error(&error),
        WatchError::Spectate(SpectateError::Game(error)) => game_error(error),
        WatchError::Spectate(SpectateError::Diverged { frame, .. }) => Python::attach(|py| {
            let raised = DivergedError::new_err(format!(
                "this computer simulates otherwise than those who play: {message}"
            ));
            // The frame is part of the message as well.
            let _ = raised.value(py).setattr("frame", frame.index());
            raised
        }),
        WatchError::Spectate(_) => RollbackError::new_err(message),
    }
}

fn record_error(error: &RecordError) -> PyErr {
    RecordingError::new_err(error.to_string())
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
