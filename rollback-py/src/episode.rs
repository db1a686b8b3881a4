//! One episode for Python: the game loop's doors, with the GIL released in every wait.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rollback_core::{Actor, Advance, DEPTHS, Facts, InputFlags, PeerId, PlayerHandle, Session};
use rollback_webrtc::{EpisodeSetup, GameLoop, LoopError, START_TIMEOUT, Transport};

use crate::config::{health, predictor, seconds_or_ever, session_config};
use crate::env_game::PyGame;
use crate::errors::{Error, RollbackError, loop_error};
use crate::events::{Departures, end_dict, event_dict, stall_name};
use crate::room::{PyRoom, TransportSlot, lock, slots};
use crate::ways::{link_dict, stats_dict, transport_event_dict};

/// An episode that is played.
#[pyclass(module = "rollback_py._rollback", name = "Episode", frozen)]
pub(crate) struct PyEpisode {
    /// Boxed: the hasher inside needs more alignment than a Python object has.
    playing: Mutex<Option<Box<Playing>>>,
    /// The thread that is using it: an environment that asks its own episode is told so.
    user: Mutex<Option<std::thread::ThreadId>>,
    slot: TransportSlot,
    hosts: Vec<u8>,
    local: u8,
    seed: u64,
}

struct Playing {
    game: PyGame,
    episode: GameLoop<PyGame, Transport>,
    departures: Departures,
}

impl Playing {
    /// Steps a frame; of what was recorded before this computer came back, as many as fit the time. Answers whether it was
    /// still outside.
    fn advance(&mut self) -> (Result<Advance, LoopError<PyErr>>, bool) {
        let until = self.episode.transport().now().plus(CATCH_UP_TIME);
        loop {
            let is_catching_up = self.episode.is_catching_up();
            let advance = self.episode.advance_frame(&mut self.game);
            let has_more = matches!(advance, Ok(Advance::Stepped { .. } | Advance::Held { .. }));
            if !is_catching_up || !has_more || self.episode.transport().now() >= until {
                return (advance, is_catching_up);
            }
        }
    }
}

#[pymethods]
impl PyEpisode {
    /// Starts an episode of the room's match. `game` is an `EnvGame` that has been reset with `seed_of`'s seed.
    #[new]
    #[pyo3(signature = (room, game, *, episode, hosts, config, must_match, may_differ, recording=None, completed_episodes=0, rejoins=false, on_output=None, predictor="repeat", run_ahead=0, told_after=None, health=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python constructor")]
    fn new(
        room: &PyRoom,
        game: &Bound<'_, PyAny>,
        episode: u32,
        hosts: Vec<u8>,
        config: &Bound<'_, PyDict>,
        must_match: Vec<(String, String)>,
        may_differ: Vec<(String, String)>,
        recording: Option<PathBuf>,
        completed_episodes: u32,
        rejoins: bool,
        on_output: Option<Py<PyAny>>,
        predictor: &str,
        run_ahead: u32,
        told_after: Option<f64>,
        health: Option<(f64, f64, f64, bool)>,
    ) -> PyResult<Self> {
        let config = session_config(config)?;
        let predictor = self::predictor(predictor, &config)?;
        let health = health.map(self::health).transpose()?.unwrap_or_default();
        // Who waits for one that is lost gives up then, and must know of it.
        let told_after = told_after.map(seconds_or_ever).transpose()?;
        let told_after = told_after.map(|after| after.min(config.departure_timeout()));
        let game = PyGame::new(game)?.witnessed(config.history_frames(), on_output);
        let ticket = room.ticket(&hosts, episode)?;
        let (local, seed) = (ticket.local.slot(), ticket.seed);
        let setup = EpisodeSetup {
            config,
            ticket,
            facts: Facts { must_match, may_differ },
            recording,
            participants: room.members()?,
            late: room.of_room(|room| room.late)?,
            completed_episodes,
            start_timeout: START_TIMEOUT,
            rejoins,
        };
        let transport = lock(&room.transport).take().ok_or(Error::EpisodeRunning)?;
        let made = GameLoop::new(transport, setup, &game);
        if let Some(interrupt) = game.take_interrupt() {
            return Err(interrupt);
        }
        let mut episode = made
            .map_err(|error| RollbackError::new_err(error.to_string()))?
            .with_predictor(predictor)
            .with_run_ahead(run_ahead)
            .with_health(health);
        if let Some(told_after) = told_after {
            episode = episode.with_interrupted_after(told_after);
        }
        let playing = Playing { game, episode, departures: Departures::default() };
        let playing = Mutex::new(Some(Box::new(playing)));
        Ok(Self {
            playing,
            user: Mutex::new(None),
            slot: room.transport.clone(),
            hosts,
            local,
            seed,
        })
    }

    /// The seed of an episode of the room's match.
    #[staticmethod]
    fn seed_of(room: &PyRoom, episode: u32, hosts: Vec<u8>) -> PyResult<u64> {
        Ok(room.ticket(&hosts, episode)?.seed)
    }

    /// The seed that the environment was reset with.
    #[getter]
    fn seed(&self) -> u64 {
        self.seed
    }

    /// The players that this computer hosts.
    #[getter]
    fn local_players(&self) -> Vec<usize> {
        let hosts = self.hosts.iter().enumerate();
        hosts.filter(|(_, host)| **host == self.local).map(|(player, _)| player).collect()
    }

    /// Changes how long the others may take to begin, from the first call to advance.
    fn set_start_timeout(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let timeout = seconds_or_ever(seconds)?;
        self.with(py, |playing| playing.episode.set_start_timeout(timeout))
    }

    /// Whether an input given now would be used: `False` while waiting with the one that was given.
    fn wants_input(&self, py: Python<'_>, player: u8) -> PyResult<bool> {
        self.with(py, |playing| {
            let player = PlayerHandle::new(player);
            player.is_some_and(|player| playing.episode.session().wants_local_input(player))
        })
    }

    /// Gives the input of a player that this computer hosts, with its flags; the frame it is for, if it is used.
    fn set_input(
        &self,
        py: Python<'_>,
        player: u8,
        action: &[u8],
        flags: u8,
    ) -> PyResult<Option<u32>> {
        let handle = PlayerHandle::new(player).ok_or(Error::NoSuchPlayer { player })?;
        let filed = self.with(py, |playing| {
            playing.episode.set_local_input_bytes(handle, action, InputFlags::from_bits(flags))
        })?;
        let filed = filed.map_err(|error| RollbackError::new_err(error.to_string()))?;
        Ok(filed.map(rollback_core::Frame::index))
    }

    /// The slots at which nobody sat in the last recorded frame: all members know the same of the last one.
    #[getter]
    fn absent(&self, py: Python<'_>) -> PyResult<Vec<usize>> {
        Ok(slots(self.with(py, |playing| playing.episode.absent())?))
    }

    /// The slots of those that come late and had not come by the last recorded frame.
    #[getter]
    fn late(&self, py: Python<'_>) -> PyResult<Vec<usize>> {
        Ok(slots(self.with(py, |playing| playing.episode.late())?))
    }

    /// Steps a frame, or as many as fit a fiftieth of a second while it catches up. Returns what happened, the frame, how far it rolled back, and what is waited for.
    fn advance(&self, py: Python<'_>) -> PyResult<(&'static str, u32, u32, Vec<usize>)> {
        let (advance, frame, rolled_back, is_catching_up) = self.with(py, |playing| {
            let before = playing.episode.session().counters().rollback.depths;
            let (advance, is_catching_up) = playing.advance();
            let session = playing.episode.session();
            let rolled_back = rolled_back(before, session.counters().rollback.depths);
            (advance, session.current_frame().index(), rolled_back, is_catching_up)
        })?;
        Ok(match advance.map_err(loop_error)? {
            Advance::Stepped { frame, .. } | Advance::Held { frame, .. } if is_catching_up => {
                ("catching_up", frame.index(), 0, Vec::new())
            }
            Advance::Stepped { frame, rolled_back } => {
                ("stepped", frame.index(), rolled_back, Vec::new())
            }
            Advance::Held { frame, rolled_back } => {
                ("held", frame.index(), rolled_back, Vec::new())
            }
            Advance::Stalled(stall) => {
                let (status, peers) = stall_name(stall);
                (status, frame, rolled_back, peers)
            }
            Advance::Ended(end) => ("ended", end.frame.index(), rolled_back, Vec::new()),
        })
    }

    /// Waits until the next frame is due, at most so long; `True` when it is.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.with(py, |playing| playing.episode.wait_for_next_frame(timeout))
    }

    /// One round of telling the others of the end; `True` when nobody needs this computer any more.
    fn linger(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |playing| playing.episode.linger(&mut playing.game))?.map_err(loop_error)
    }

    /// Proposes that the episode ends for all, with a number for the reason.
    fn propose_end(&self, py: Python<'_>, code: u16) -> PyResult<bool> {
        self.with(py, |playing| playing.episode.propose_end(code))
    }

    /// The input delay of each player in frames, as its host last said.
    #[getter]
    fn input_delays(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        self.with(py, |playing| {
            let session = playing.episode.session();
            let players = PlayerHandle::all(self.hosts.len());
            players.map(|player| session.input_delay(player).unwrap_or_default()).collect()
        })
    }

    /// The input delay with which nine inputs in ten of this computer would have come in time.
    #[getter]
    fn recommended_input_delay(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        self.with(py, |playing| playing.episode.session().recommended_input_delay())
    }

    /// Changes the input delay of a player that this computer hosts.
    fn set_input_delay(&self, py: Python<'_>, player: u8, frames: u32) -> PyResult<()> {
        let handle = PlayerHandle::new(player).ok_or(Error::NoSuchPlayer { player })?;
        let set =
            self.with(py, |playing| playing.episode.session_mut().set_input_delay(handle, frames))?;
        set.map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Has the input delay of this computer's players follow how late inputs come, within limits; `None` leaves it.
    #[pyo3(signature = (limits))]
    fn set_automatic_input_delay(
        &self,
        py: Python<'_>,
        limits: Option<(u32, u32)>,
    ) -> PyResult<()> {
        self.with(py, |playing| playing.episode.session_mut().set_automatic_input_delay(limits))
    }

    /// Proposes one input delay for all players of all computers.
    fn propose_input_delay(&self, py: Python<'_>, frames: u8) -> PyResult<bool> {
        self.with(py, |playing| playing.episode.session_mut().propose_input_delay(frames))
    }

    /// Has a player that this computer hosts be driven by a policy from its next input on, or by a person.
    fn set_actor(&self, py: Python<'_>, player: u8, is_policy: bool) -> PyResult<()> {
        let handle = PlayerHandle::new(player).ok_or(Error::NoSuchPlayer { player })?;
        let actor = if is_policy { Actor::Policy } else { Actor::Person };
        let set =
            self.with(py, |playing| playing.episode.session_mut().set_actor(handle, actor))?;
        set.map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Whether a policy drives each player, as its host last said.
    #[getter]
    fn by_policy(&self, py: Python<'_>) -> PyResult<Vec<bool>> {
        self.with(py, |playing| {
            let session = playing.episode.session();
            let players = PlayerHandle::all(self.hosts.len());
            players.map(|player| session.actor(player) == Some(Actor::Policy)).collect()
        })
    }

    /// Pauses the episode for all.
    fn pause(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |playing| playing.episode.session_mut().pause())
    }

    /// Ends this computer's own pause.
    fn resume(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |playing| playing.episode.session_mut().resume())
    }

    /// Says, in a dispute, that all are to take over the majority's state and play on.
    fn resync(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |playing| playing.episode.session_mut().resync())
    }

    /// Ends, in a dispute, the episode for all.
    fn end_disputed(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |playing| playing.episode.session_mut().end_disputed())
    }

    /// This computer's side of the desync that was told last, once, as the bytes of a file.
    fn take_desync_dump<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let dump = self.with(py, |playing| playing.episode.session_mut().take_desync_dump())?;
        Ok(dump.map(|dump| PyBytes::new(py, &dump.encode())))
    }

    /// Sends another computer away.
    fn kick(&self, py: Python<'_>, slot: u8) -> PyResult<()> {
        let peer = PeerId::new(slot).ok_or(Error::NoSuchPeer { slot })?;
        let kicked = self.with(py, |playing| playing.episode.session_mut().kick(peer))?;
        kicked.map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// The slots of the computers whose pauses are in force.
    #[getter]
    fn paused_by(&self, py: Python<'_>) -> PyResult<Vec<usize>> {
        Ok(slots(self.with(py, |playing| playing.episode.session().paused_by())?))
    }

    /// Leaves in order.
    fn leave(&self, py: Python<'_>) -> PyResult<u32> {
        self.with(py, |playing| playing.episode.leave().index())
    }

    /// The first frame that is not recorded for certain: what is before it will not be simulated again.
    #[getter]
    fn recorded_end(&self, py: Python<'_>) -> PyResult<u32> {
        self.with(py, |playing| recorded_end(playing.episode.session()))
    }

    /// The next recorded frame that was first simulated from a wrong guess, as a dictionary: the frame, the actions
    /// that it was simulated from, and the players of whom they were guesses.
    fn poll_experienced<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let wrong = self.with(py, |playing| {
            let end = recorded_end(playing.episode.session());
            let wrong = playing.game.experienced.take_wrong(end);
            wrong.map(|(frame, row, guessed)| (frame, row.to_vec(), guessed.to_vec()))
        })?;
        let Some((frame, row, guessed)) = wrong else { return Ok(None) };
        let width = row.len() / self.hosts.len().max(1);
        let actions = row.chunks(width.max(1)).map(|action| PyBytes::new(py, action));
        let dict = PyDict::new(py);
        dict.set_item("frame", frame)?;
        dict.set_item("actions", actions.collect::<Vec<_>>())?;
        dict.set_item("guessed", guessed.into_iter().map(usize::from).collect::<Vec<_>>())?;
        Ok(Some(dict))
    }

    /// How the episode ended, or `None` while it is played.
    #[getter]
    fn end(&self, py: Python<'_>) -> PyResult<Option<Py<PyDict>>> {
        let end = self.with(py, |playing| playing.episode.session().end())?;
        end.map(|end| end_dict(py, end).map(Bound::unbind)).transpose()
    }

    /// The next thing that happened, as a dictionary with its name under ``event``.
    fn poll_event<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let (event, network, reason) = self.with(py, |playing| {
            let (event, transport) = (playing.episode.poll_event(), playing.episode.transport());
            match event {
                None => (None, transport.poll_event(), None),
                Some(event) => {
                    let departures = &mut playing.departures;
                    let reason = departures.reason(&event, |peer| transport.loss(peer));
                    (Some(event), None, reason)
                }
            }
        })?;
        match (event, network) {
            (Some(event), _) => event_dict(py, &event, reason).map(Some),
            (None, Some(event)) => transport_event_dict(py, event).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// What was counted so far: frames, rollbacks, stalls, and the ladder.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (counters, ladder, experienced) = self.with(py, |playing| {
            let session = playing.episode.session();
            let ladder = [
                ("predicted", session.current_frame().index()),
                ("confirmed", session.confirmed().end().index()),
                ("stable", session.stable().end().index()),
                ("agreed", session.agreed().end().index()),
            ];
            (session.counters(), ladder, playing.game.experienced.counts())
        })?;
        let dict = PyDict::new(py);
        dict.set_item("frames", counters.frames)?;
        dict.set_item("stalls", counters.stalls)?;
        dict.set_item("rollbacks", counters.rollback.rollbacks)?;
        dict.set_item("rollback_depths", PyList::new(py, counters.rollback.depths)?)?;
        dict.set_item("resimulated_frames", counters.rollback.resimulated)?;
        dict.set_item("early_stops", counters.rollback.early_stops)?;
        dict.set_item("saves", counters.rollback.saves)?;
        dict.set_item("failed_guesses", counters.rollback.failed_guesses)?;
        dict.set_item("events_lost", counters.events_lost)?;
        dict.set_item("predicted_frames", experienced.predicted)?;
        dict.set_item("mispredicted_frames", experienced.mispredicted)?;
        for (rung, end) in ladder {
            dict.set_item(rung, end)?;
        }
        Ok(dict)
    }

    /// What was counted between this computer and another, and how long the way is.
    fn peer<'py>(&self, py: Python<'py>, slot: u8) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(peer) = PeerId::new(slot) else { return Ok(None) };
        let (counters, rtt, jitter, facts, stats, (link, now)) = self.with(py, |playing| {
            let session = playing.episode.session();
            let facts = session.facts_of(peer).cloned();
            let (rtt, jitter) = (session.rtt(peer), session.jitter(peer));
            (
                session.link_counters(peer),
                rtt,
                jitter,
                facts,
                playing.episode.transport().stats(peer),
                (playing.episode.transport().link_report(peer), playing.episode.transport().now()),
            )
        })?;
        let Some(counters) = counters else { return Ok(None) };
        let dict = stats_dict(py, &stats)?;
        let millis = |duration: Option<Duration>| duration.map(|d| d.as_secs_f64() * 1000.0);
        dict.set_item("link", link_dict(py, &link, now)?)?;
        dict.set_item("rtt_ms", millis(rtt))?;
        dict.set_item("jitter_ms", millis(jitter))?;
        dict.set_item("may_differ", facts.map(|facts| facts.may_differ))?;
        for (name, count) in [
            ("datagrams_sent", counters.datagrams_sent),
            ("bytes_sent", counters.bytes_sent),
            ("datagrams_received", counters.datagrams_received),
            ("bytes_received", counters.bytes_received),
            ("tags_wrong", counters.tags_wrong),
            ("malformed", counters.malformed),
            ("runs_refused", counters.runs_refused),
            ("hints_refused", counters.hints_refused),
            ("frames_direct", counters.frames_direct),
            ("frames_relayed", counters.frames_relayed),
            ("frames_repeated", counters.frames_repeated),
        ] {
            dict.set_item(name, count)?;
        }
        Ok(Some(dict))
    }

    /// Gives the connections back to the room, for the next episode.
    fn release(&self, py: Python<'_>) {
        py.detach(|| {
            if let Some(playing) = lock(&self.playing).take() {
                *lock(&self.slot) = Some(playing.episode.into_transport());
            }
        });
    }
}

impl PyEpisode {
    /// Uses the episode with the GIL released: a thread that waits for another's turn must not hold what that one
    /// needs to call the environment.
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        use_it: impl FnOnce(&mut Playing) -> R + Send,
    ) -> PyResult<R> {
        let this_thread = std::thread::current().id();
        if *lock(&self.user) == Some(this_thread) {
            return Err(Error::EpisodeInUse.into());
        }
        py.detach(|| {
            let mut playing = lock(&self.playing);
            *lock(&self.user) = Some(this_thread);
            let used = playing.as_deref_mut().map(|playing| {
                let used = use_it(playing);
                playing.game.take_interrupt().map_or(Ok(used), Err)
            });
            *lock(&self.user) = None;
            used.ok_or(Error::EpisodeReleased)?
        })
    }
}

/// All frames of the recording are before the end, and before it is known, those that the members agree on.
fn recorded_end(session: &Session<PyGame>) -> u32 {
    session.end().map_or_else(|| session.agreed().end(), |end| end.frame).index()
}

/// How far back the rollback went that was counted in between; 0 if there was none.
fn rolled_back(before: [u64; DEPTHS], after: [u64; DEPTHS]) -> u32 {
    let depth = before.iter().zip(after).position(|(before, after)| *before != after);
    depth.map_or(0, |index| u32::try_from(index + 1).unwrap_or(u32::MAX))
}

/// After so long Python looks at its signals.
const CATCH_UP_TIME: Duration = Duration::from_millis(20);
