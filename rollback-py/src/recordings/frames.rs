//! The frames of a recording, one after the other, as Python takes them.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rollback_core::Item;
use rollback_core::recording::{Frames, Recording};
use self_cell::self_cell;

/// An iterator over the frames of a recording.
#[pyclass(module = "rollback_py._rollback", frozen)]
pub(crate) struct RecordedFrames {
    /// Frames are read as they are asked for: a small file may hold far more of them than memory.
    frames: Mutex<Reading>,
    width: usize,
}

type Borrowed<'a> = Frames<'a>;

self_cell!(
    struct Reading {
        owner: Arc<Recording>,
        #[covariant]
        dependent: Borrowed,
    }
);

impl RecordedFrames {
    pub(super) fn of(recording: &Arc<Recording>) -> Self {
        let width = recording.header().config.input_width();
        let frames = Reading::new(Arc::clone(recording), |recording| recording.frames());
        Self { frames: Mutex::new(frames), width }
    }
}

#[pymethods]
impl RecordedFrames {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self) -> Option<RecordedFrame> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = frames.with_dependent_mut(|_, frames| frames.next())?;
        Some(RecordedFrame { frame, width: self.width })
    }
}

/// One frame of a recording.
#[pyclass(module = "rollback_py._rollback", frozen)]
pub(crate) struct RecordedFrame {
    frame: rollback_core::recording::RecordedFrame,
    width: usize,
}

#[pymethods]
impl RecordedFrame {
    #[getter]
    fn frame(&self) -> u32 {
        self.frame.frame.index()
    }

    #[getter]
    fn actions<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let inputs = self.frame.inputs.chunks(self.width);
        inputs.map(|input| PyBytes::new(py, input)).collect()
    }

    #[getter]
    fn flags(&self) -> Vec<u32> {
        self.frame.flags.iter().copied().map(u32::from).collect()
    }

    /// The proposer, the name and the argument of each item.
    #[getter]
    fn items(&self) -> Vec<(u8, &'static str, u16)> {
        let named = |item: &Item| match *item {
            Item::Leave => ("leave", 0),
            Item::End { code } => ("end", code),
            Item::Join { incarnation } => ("join", u16::from(incarnation)),
            Item::Delay { player, frames } => {
                ("delay", u16::from_le_bytes([frames, player.slot()]))
            }
            Item::SharedDelay { frames } => ("shared delay", u16::from(frames)),
            Item::Actor { player, actor } => {
                let who = u8::from(actor == rollback_core::Actor::Policy);
                ("actor", u16::from_le_bytes([who, player.slot()]))
            }
            Item::Resync { attempts } => ("resync", u16::from(attempts)),
            Item::Pause => ("pause", 0),
            Item::Resume => ("resume", 0),
        };
        let items = self.frame.items.iter().map(|(peer, item)| (peer.slot(), named(item)));
        items.map(|(peer, (name, argument))| (peer, name, argument)).collect()
    }

    #[getter]
    fn output<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.frame.output)
    }

    /// The hash of the state before the frame, where it was reported.
    #[getter]
    fn state_hash(&self) -> Option<String> {
        self.frame.state_hash.map(|hash| hash.to_string())
    }

    fn __repr__(&self) -> String {
        format!("RecordedFrame({})", self.frame.frame)
    }
}
