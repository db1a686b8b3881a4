//! A member's side of a desync, read from its file and laid beside another's.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rollback_core::DesyncDump;

use super::RecordingsError;

/// One side of a desync.
#[pyclass(module = "rollback_py._rollback", frozen)]
pub(crate) struct DumpFile {
    dump: DesyncDump,
}

#[pymethods]
impl DumpFile {
    /// Reads the bytes of a file.
    #[new]
    fn new(bytes: &[u8]) -> Result<Self, RecordingsError> {
        Ok(Self { dump: DesyncDump::decode(bytes)? })
    }

    #[getter]
    fn session(&self) -> u64 {
        self.dump.session
    }

    #[getter]
    fn episode(&self) -> u32 {
        self.dump.episode
    }

    #[getter]
    fn peer(&self) -> u8 {
        self.dump.peer.slot()
    }

    #[getter]
    fn agreed(&self) -> u32 {
        self.dump.agreed.index()
    }

    /// Each state: its frame, whether it came when the frames were stepped again, and its bytes.
    #[getter]
    fn states<'py>(&self, py: Python<'py>) -> Vec<(u32, bool, Bound<'py, PyBytes>)> {
        let states = self.dump.states.iter();
        let state = states
            .map(|state| (state.frame.index(), state.is_replayed, PyBytes::new(py, &state.bytes)));
        state.collect()
    }

    /// The inputs of the last frames: the frame, each player's bytes, and each player's flags.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> Vec<DumpedInputs<'py>> {
        let players = usize::from(self.dump.players.max(1));
        let row = |row: &rollback_core::DumpedRow| {
            let width = (row.inputs.len() / players).max(1);
            let inputs = row.inputs.chunks(width).map(|input| PyBytes::new(py, input)).collect();
            let flags = row.flags.iter().copied().map(u32::from).collect();
            DumpedInputs(row.frame.index(), inputs, flags)
        };
        self.dump.rows.iter().map(row).collect()
    }

    /// The first frame with other inputs, and of each state that both hold its frame, whether it was stepped to again, and from
    /// the first byte that differs to behind the last one.
    fn compare(&self, other: &Self) -> Result<DumpDifference, RecordingsError> {
        let found = self.dump.compare(&other.dump)?;
        let states = found.states.into_iter().map(|(frame, is_replayed, bytes)| {
            let bytes = bytes.map(|bytes| (bytes.start, bytes.end));
            StateDifference(frame.index(), is_replayed, bytes)
        });
        Ok(DumpDifference(found.inputs.map(rollback_core::Frame::index), states.collect()))
    }
}

/// How two sides differ.
#[derive(IntoPyObject)]
pub(crate) struct DumpDifference(Option<u32>, Vec<StateDifference>);

/// How a state differs that both hold.
#[derive(IntoPyObject)]
pub(crate) struct StateDifference(u32, bool, Option<(usize, usize)>);

/// What was done in a frame.
#[derive(IntoPyObject)]
pub(crate) struct DumpedInputs<'py>(u32, Vec<Bound<'py, PyBytes>>, Vec<u32>);
