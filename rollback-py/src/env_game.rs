//! A Python environment as a [`Game`]: each call of the engine is one call of `EnvGame`'s methods.

use std::sync::Mutex;
use std::time::Instant;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use rollback_core::{
    Costs, Game, Input, Leaves, Outcome, PlayerHandle, Same, StateHash, StateHasher, Step,
};

use crate::errors::Error;
use crate::experienced::Experienced;
use crate::room::lock;

/// The `EnvGame` of Python as the engine sees it. Its methods are looked up once.
pub(crate) struct PyGame {
    step: Py<PyAny>,
    output: Py<PyAny>,
    save: Py<PyAny>,
    load: Py<PyAny>,
    simulate_again: Py<PyAny>,
    hash: Py<PyAny>,
    live_hash: Py<PyAny>,
    leaves: Py<PyAny>,
    same: Py<PyAny>,
    export: Py<PyAny>,
    import: Py<PyAny>,
    /// Told the frame of each output, if anybody wants to know.
    on_output: Option<Py<PyAny>>,
    /// The frame that was stepped last.
    frame: u32,
    /// How many frames lead from the reset to the present state.
    stepped: u32,
    pub(crate) experienced: Experienced,
    can_rollback: bool,
    step_nanos: u64,
    save_nanos: std::sync::atomic::AtomicU64,
    /// What ends the program, such as Ctrl-C, and no failure of the environment.
    interrupt: Mutex<Option<PyErr>>,
}

/// An action as its bytes, of the width that the environment's spaces need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActionBytes;

/// A saved state, or of an environment that cannot be saved, its hash.
#[derive(Default)]
pub(crate) enum PySnapshot {
    /// A slot that was not used yet.
    #[default]
    Empty,
    /// What `EnvGame.save` returned.
    State(Py<PyAny>),
    /// The hash of the state, which cannot be saved, and how many frames lead to it: lockstep goes back only to see where states
    /// part, and then from the start.
    HashOnly { hash: StateHash, frames: u32 },
}

impl PyGame {
    pub(crate) fn new(game: &Bound<'_, PyAny>) -> PyResult<Self> {
        let method = |name: &str| game.getattr(name).map(Bound::unbind);
        Ok(Self {
            step: method("step")?,
            output: method("output")?,
            save: method("save")?,
            load: method("load")?,
            simulate_again: method("simulate_again")?,
            hash: method("hash")?,
            live_hash: method("live_hash")?,
            leaves: method("leaves")?,
            same: method("same")?,
            export: method("export_state")?,
            import: method("import_state")?,
            on_output: None,
            frame: 0,
            stepped: 0,
            experienced: Experienced::default(),
            can_rollback: game.getattr("can_rollback")?.extract()?,
            step_nanos: 0,
            save_nanos: std::sync::atomic::AtomicU64::new(0),
            interrupt: Mutex::new(None),
        })
    }

    /// Keeps what is simulated from guesses in a history of so many frames, and calls `on_output` with the frame
    /// after each output.
    pub(crate) fn witnessed(self, history_frames: usize, on_output: Option<Py<PyAny>>) -> Self {
        Self { experienced: Experienced::new(history_frames), on_output, ..self }
    }

    /// What interrupted the environment since the last call: whoever called the engine raises it, whatever the engine made of
    /// it. To the engine a state that cannot be read, for one, is no error.
    pub(crate) fn take_interrupt(&self) -> Option<PyErr> {
        lock(&self.interrupt).take()
    }

    fn ask<R>(&self, question: impl FnOnce(Python<'_>) -> PyResult<R>) -> PyResult<R> {
        Python::attach(|py| {
            question(py).inspect_err(|error| {
                if !error.is_instance_of::<PyException>(py) {
                    *lock(&self.interrupt) = Some(error.clone_ref(py));
                }
            })
        })
    }
}

impl Input for ActionBytes {
    /// The width comes from the configuration.
    const WIDTH: usize = 0;

    fn write(&self, _: &mut [u8]) {}

    fn read(_: &[u8]) -> Self {
        Self
    }
}

impl Game for PyGame {
    type Input = ActionBytes;
    type Snapshot = PySnapshot;
    type Error = PyErr;

    fn save(&self, slot: &mut PySnapshot) -> PyResult<()> {
        self.ask(|py| {
            if !self.can_rollback {
                let hash = to_hash(self.live_hash.bind(py).call0()?)?;
                *slot = PySnapshot::HashOnly { hash, frames: self.stepped };
                return Ok(());
            }
            let began = Instant::now();
            let reused = match std::mem::take(slot) {
                PySnapshot::State(state) => Some(state),
                PySnapshot::Empty | PySnapshot::HashOnly { .. } => None,
            };
            *slot = PySnapshot::State(self.save.call1(py, (reused,))?);
            let last = self.save_nanos.load(std::sync::atomic::Ordering::Relaxed);
            let nanos = smoothed(last, began);
            self.save_nanos.store(nanos, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        })
    }

    fn load(&mut self, slot: &PySnapshot) -> PyResult<()> {
        self.ask(|py| match slot {
            PySnapshot::State(state) => self.load.call1(py, (state,)).map(drop),
            PySnapshot::HashOnly { frames, .. } => {
                self.simulate_again.call1(py, (*frames,)).map(drop)
            }
            PySnapshot::Empty => Err(Error::EmptySnapshot.into()),
        })?;
        if let PySnapshot::HashOnly { frames, .. } = slot {
            self.stepped = *frames;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step<'_, ActionBytes>) -> PyResult<Outcome> {
        self.frame = step.frame().index();
        self.experienced.note(step);
        let (ended, step_nanos) = self.ask(|py| {
            let actions = PlayerHandle::all(step.player_count());
            let actions = actions.map(|player| PyBytes::new(py, step.input_bytes(player)));
            let actions = PyList::new(py, actions.collect::<Vec<_>>())?;
            let began = Instant::now();
            let ended: bool = self.step.bind(py).call1((actions,))?.extract()?;
            Ok((ended, smoothed(self.step_nanos, began)))
        })?;
        self.step_nanos = step_nanos;
        self.stepped += 1;
        Ok(if ended { Outcome::Ended } else { Outcome::Running })
    }

    fn hash(&self, slot: &PySnapshot, hasher: &mut StateHasher) -> PyResult<()> {
        let hash = match slot {
            PySnapshot::State(state) => {
                self.ask(|py| to_hash(self.hash.bind(py).call1((state,))?))?
            }
            PySnapshot::HashOnly { hash, .. } => *hash,
            PySnapshot::Empty => StateHash::default(),
        };
        hasher.replace(hash);
        Ok(())
    }

    fn output(&mut self, output: &mut Vec<u8>) -> PyResult<()> {
        self.ask(|py| {
            let bytes = self.output.bind(py).call0()?;
            output.extend_from_slice(bytes.cast::<PyBytes>()?.as_bytes());
            match &self.on_output {
                Some(on_output) => on_output.call1(py, (self.frame,)).map(drop),
                None => Ok(()),
            }
        })
    }

    fn leaves(&self, slot: &PySnapshot, leaves: &mut Leaves) -> PyResult<()> {
        let PySnapshot::State(state) = slot else { return Ok(()) };
        self.ask(|py| {
            let found: Vec<(String, u64)> = self.leaves.bind(py).call1((state,))?.extract()?;
            for (path, digest) in found {
                let [a, b, c, d, e, f, g, h] = digest.to_le_bytes();
                leaves.push(&path, u32::from_le_bytes([a ^ e, b ^ f, c ^ g, d ^ h]));
            }
            Ok(())
        })
    }

    fn export(&self, slot: &PySnapshot, bytes: &mut Vec<u8>) -> PyResult<bool> {
        let PySnapshot::State(state) = slot else { return Ok(false) };
        self.ask(|py| {
            let exported: Option<Bound<'_, PyBytes>> =
                self.export.bind(py).call1((state,))?.extract()?;
            bytes.extend_from_slice(exported.as_ref().map_or(&[], |bytes| bytes.as_bytes()));
            Ok(exported.is_some())
        })
    }

    fn import(&self, bytes: &[u8], slot: &mut PySnapshot) -> PyResult<bool> {
        self.ask(|py| {
            let imported = self.import.bind(py).call1((PyBytes::new(py, bytes),))?;
            let is_state = !imported.is_none();
            if is_state {
                *slot = PySnapshot::State(imported.unbind());
            }
            Ok(is_state)
        })
    }

    fn costs(&self) -> Costs {
        let save_nanos = self.save_nanos.load(std::sync::atomic::Ordering::Relaxed);
        Costs { save_nanos, step_nanos: self.step_nanos }
    }

    fn same(&self, one: &PySnapshot, other: &PySnapshot) -> Same {
        let (PySnapshot::State(one), PySnapshot::State(other)) = (one, other) else {
            return Same::Unknown;
        };
        match self.ask(|py| self.same.bind(py).call1((one, other))?.extract()) {
            Ok(Some(true)) => Same::Yes,
            Ok(Some(false)) => Same::No,
            Ok(None) | Err(_) => Same::Unknown,
        }
    }
}

/// Python's sixteen bytes, the most significant first.
fn to_hash(bytes: Bound<'_, PyAny>) -> PyResult<StateHash> {
    let bytes: [u8; 16] = bytes.extract()?;
    Ok(StateHash::from_u128(u128::from_be_bytes(bytes)))
}

/// An eighth of the new cost and the rest of the old: steady against a slow frame, quick enough to follow.
fn smoothed(last: u64, began: Instant) -> u64 {
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    if last == 0 { nanos } else { last - last / 8 + nanos / 8 }
}
