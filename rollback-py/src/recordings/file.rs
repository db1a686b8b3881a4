//! A recording's file: opened once, every byte of it checked, its header and end as Python values.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rollback_core::PlayerHandle;
use rollback_core::recording::{FORMAT_VERSION, Recording, RecordingHeader};

use super::RecordingsError;
use super::frames::RecordedFrames;
use crate::events::end_dict;

/// A recording of which every byte was checked.
#[pyclass(module = "rollback_py._rollback", frozen)]
pub(crate) struct RecordingFile {
    pub(super) path: PathBuf,
    pub(super) recording: Arc<Recording>,
}

#[pymethods]
impl RecordingFile {
    /// Reads and checks a file. One that was cut short is read up to its last whole block.
    #[new]
    fn open(py: Python<'_>, path: PathBuf) -> Result<Self, RecordingsError> {
        py.detach(|| {
            let bytes = read(&path)?;
            let recording = Recording::decode(&bytes).map_err(|source| {
                RecordingsError::Damaged { path: path.display().to_string(), source }
            })?;
            Ok(Self { path, recording: Arc::new(recording) })
        })
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    #[getter]
    fn format_version(&self) -> u16 {
        FORMAT_VERSION
    }

    #[getter]
    fn session(&self) -> u64 {
        self.header().session
    }

    #[getter]
    fn episode(&self) -> u32 {
        self.header().episode
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.header().seed
    }

    /// The slot of the peer that hosts each player.
    #[getter]
    fn hosts(&self) -> Vec<u32> {
        let roster = &self.header().roster;
        let hosts = PlayerHandle::all(roster.player_count()).filter_map(|p| roster.host(p));
        hosts.map(|host| host.slot().into()).collect()
    }

    #[getter]
    fn participants(&self) -> Vec<String> {
        self.header().participants.clone()
    }

    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let config = &self.header().config;
        let millis = |duration: std::time::Duration| duration.as_millis();
        let delays = PlayerHandle::all(config.players()).map(|p| config.input_delay_frames(p));
        let dict = PyDict::new(py);
        dict.set_item("players", config.players())?;
        dict.set_item("input_width", config.input_width())?;
        dict.set_item("tick_rate_hz", config.tick_rate_hz())?;
        dict.set_item("input_delay_frames", delays.collect::<Vec<_>>())?;
        dict.set_item("prediction_window_frames", config.prediction_window_frames())?;
        dict.set_item("report_interval_frames", config.report_interval_frames())?;
        dict.set_item("idle_input", PyBytes::new(py, config.idle_input()))?;
        dict.set_item("members_min", config.members_min())?;
        dict.set_item("departure_timeout_ms", millis(config.departure_timeout()))?;
        dict.set_item("linger_ms", millis(config.linger()))?;
        Ok(dict)
    }

    #[getter]
    fn must_match(&self) -> Vec<(String, String)> {
        self.header().must_match.clone()
    }

    #[getter]
    fn may_differ(&self) -> Vec<Vec<(String, String)>> {
        self.header().may_differ.clone()
    }

    #[getter]
    fn start_hash(&self) -> String {
        self.header().start_hash.to_string()
    }

    #[getter]
    fn frame_count(&self) -> u32 {
        self.recording.frame_count().index()
    }

    /// How the episode ended; `None` for a recording that was not finished.
    #[getter]
    fn end<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(record) = self.recording.end() else { return Ok(None) };
        let dict = end_dict(py, record.end)?;
        dict.set_item("completed_episodes", record.completed_episodes)?;
        Ok(Some(dict))
    }

    /// How many bytes at the end belong to a block that is not whole.
    #[getter]
    fn dropped_bytes(&self) -> usize {
        self.recording.dropped_bytes()
    }

    /// The digest of all that was read.
    #[getter]
    fn digest(&self) -> String {
        format!("{:016x}", self.recording.digest())
    }

    fn frames(&self) -> RecordedFrames {
        RecordedFrames::of(&self.recording)
    }
}

impl RecordingFile {
    fn header(&self) -> &RecordingHeader {
        self.recording.header()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RecordingsError> {
    let failed = |source| RecordingsError::file(path, source);
    let file = File::open(path).map_err(failed)?;
    let got = file.metadata().map_err(failed)?.len();
    if got > RECORDING_BYTES_MAX {
        let path = path.display().to_string();
        return Err(RecordingsError::TooLong { path, max: RECORDING_BYTES_MAX, got });
    }
    let mut bytes = Vec::new();
    file.take(RECORDING_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The longest file that is read, since all of it is held in memory: hours of an episode with observations.
const RECORDING_BYTES_MAX: u64 = 1 << 30;
