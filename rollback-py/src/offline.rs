//! An episode played by one computer alone, through the same session and recording as a match: for pilot data, for
//! tests, for a look at what is recorded.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rollback_core::recording::{RecordingHeader, RecordingWriter};
use rollback_core::{
    Advance, AdvanceError, End, Facts, InputFlags, Output, PeerId, PlayerHandle, Roster, Session,
    SessionConfig, Ticket, Timestamp,
};

use crate::config::session_config;
use crate::env_game::PyGame;
use crate::errors::Error;
use crate::recordings::RecordingsError;

/// Plays `game`, an `EnvGame` that was just reset with `seed`, for at most `frames` frames and records it at `path`,
/// which must not exist. `act` gives the action and the flags of each player for the next frame.
#[pyfunction]
#[pyo3(signature = (game, act, *, path, seed, frames, config, participant, must_match, may_differ))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
pub(crate) fn record_offline(
    game: &Bound<'_, PyAny>,
    act: &Bound<'_, PyAny>,
    path: PathBuf,
    seed: u64,
    frames: u32,
    config: &Bound<'_, PyDict>,
    participant: String,
    must_match: Vec<(String, String)>,
    may_differ: Vec<(String, String)>,
) -> Result<u32, RecordingsError> {
    let config = session_config(config)?;
    let local = PeerId::new(0).ok_or(Error::NoSuchPeer { slot: 0 }).map_err(PyErr::from)?;
    let roster = Roster::new(&vec![local; config.players()]);
    let roster = roster.map_err(|error| RecordingsError::Session(error.to_string()))?;
    let (session, episode, incarnation) = (0, 0, 0);
    let ticket = Ticket { session, episode, seed, roster, local, incarnation };
    let game = PyGame::new(game)?;
    // Nobody has to be told the facts; they are recorded below.
    let session = Session::new(&config, &ticket, Facts::default(), &game, Timestamp::ZERO);
    if let Some(interrupt) = game.take_interrupt() {
        return Err(interrupt.into());
    }
    let session = session.map_err(|error| RecordingsError::Session(error.to_string()))?;
    let header = RecordingHeader {
        session: ticket.session,
        episode,
        seed,
        config,
        roster: ticket.roster,
        participants: vec![participant],
        must_match,
        may_differ: vec![may_differ],
        start_hash: session.start_hash(),
    };
    let writer = RecordingWriter::new(&header)?;
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let file = file.map_err(|error| RecordingsError::file(&path, error))?;
    let recorder = Recorder { writer, file, path };
    let config = header.config;
    Offline { session, game, config, recorder, now: Timestamp::ZERO }.play(act, frames)
}

struct Offline {
    session: Session<PyGame>,
    game: PyGame,
    config: SessionConfig,
    recorder: Recorder,
    now: Timestamp,
}

struct Recorder {
    writer: RecordingWriter,
    file: File,
    path: PathBuf,
}

impl Offline {
    /// Plays until the simulation ends, or `frames` are played; answers how many were.
    fn play(mut self, act: &Bound<'_, PyAny>, frames: u32) -> Result<u32, RecordingsError> {
        let (mut has_ended, mut is_proposed) = (false, false);
        // Each frame takes one call; a few more shake hands and agree on the end.
        for _ in 0..u64::from(frames) + CALLS_BESIDE_FRAMES {
            let current = self.session.current_frame().index();
            let is_over = has_ended || current >= frames;
            if is_over && !has_ended && !is_proposed {
                is_proposed = self.session.propose_end(FRAMES_PLAYED);
            }
            self.give_inputs(act, is_over)?;
            let advance = self.session.advance_frame(self.now, &mut self.game);
            self.now = self.now.plus(self.config.frame_duration());
            self.record()?;
            if let Some(interrupt) = self.game.take_interrupt() {
                return Err(interrupt.into());
            }
            match advance {
                Ok(Advance::Held { .. }) => has_ended = true,
                Ok(Advance::Stepped { .. } | Advance::Stalled(_)) => {}
                Ok(Advance::Ended(end)) => {
                    self.recorder.finish(end)?;
                    return Ok(end.frame.index());
                }
                Err(AdvanceError::Game(error)) => return Err(error.into_source().into()),
                Err(error) => {
                    let cause = error.to_string();
                    return Err(RecordingsError::Stopped { frame: current, cause });
                }
            }
        }
        let frame = self.session.current_frame().index();
        Err(RecordingsError::Stopped { frame, cause: "the session does not end".to_owned() })
    }

    /// Asks for the actions of the next frame, once; there are none to ask for after the last.
    fn give_inputs(
        &mut self,
        act: &Bound<'_, PyAny>,
        is_over: bool,
    ) -> Result<(), RecordingsError> {
        let players = PlayerHandle::all(self.config.players()).collect::<Vec<_>>();
        if !players.iter().any(|player| self.session.wants_local_input(*player)) {
            return Ok(());
        }
        let inputs: Vec<(Vec<u8>, u8)> = if is_over {
            players.iter().map(|_| (self.config.idle_input().to_vec(), 0)).collect()
        } else {
            act.call0()?.extract()?
        };
        for (player, (action, flags)) in players.into_iter().zip(inputs) {
            let flags = InputFlags::from_bits(flags);
            let given = self.session.set_local_input_bytes(player, &action, flags);
            given.map_err(|error| RecordingsError::Session(error.to_string()))?;
        }
        Ok(())
    }

    fn record(&mut self) -> Result<(), RecordingsError> {
        while let Some(output) = self.session.poll_output(self.now) {
            if let Output::Stable(frame) = output {
                self.recorder.writer.push(&frame)?;
            }
        }
        self.recorder.writer.agreed(self.session.agreed());
        self.recorder.write()
    }
}

impl Recorder {
    fn write(&mut self) -> Result<(), RecordingsError> {
        let bytes = self.writer.take_bytes();
        self.file.write_all(&bytes).map_err(|error| failed(&self.path, error))
    }

    fn finish(mut self, end: End) -> Result<(), RecordingsError> {
        self.writer.finish(end, 1)?;
        self.write()?;
        self.file.sync_all().map_err(|error| failed(&self.path, error))
    }
}

fn failed(path: &Path, error: std::io::Error) -> RecordingsError {
    RecordingsError::file(path, error)
}

/// The application's number for the reason of an end: all frames that were asked for are played.
const FRAMES_PLAYED: u16 = 0;

/// Shaking hands takes one call, the proposal one, closing two; the rest is for what may be added to a session.
const CALLS_BESIDE_FRAMES: u64 = 16;
