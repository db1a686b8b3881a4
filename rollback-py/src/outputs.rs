//! What an environment returns for one frame, as canonical bytes: rewards, ends, infos and, if wanted,
//! observations. Recordings hold these bytes; they are never unpickled.
//!
//! Layout, little-endian: version `u8` = 1 · content `u8` (1: with observations) · players `u16` · for each
//! player: state `u8` (1 took part, 2 terminated, 4 truncated) and reward `f64` · for each player that
//! took part: the info, and the observation if there are any, each a canonical value.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::canonical::{Decoder, ValueEncoder};
use crate::errors::Error;

const VERSION: u8 = 1;
const WITH_OBSERVATIONS: u8 = 1;
const TOOK_PART: u8 = 1;
const TERMINATED: u8 = 2;
const TRUNCATED: u8 = 4;

/// Encodes and decodes the outputs of an environment with the given agents.
#[pyclass(module = "rollback_py._rollback")]
pub(crate) struct OutputCodec {
    agents: Vec<Py<PyAny>>,
    excluded: Py<PyAny>,
    with_observations: bool,
    dropped: Vec<String>,
    encoder: ValueEncoder,
    out: Vec<u8>,
}

/// How many different dropped keys are remembered for the report.
const DROPPED_MAX: usize = 64;

#[pymethods]
impl OutputCodec {
    #[new]
    #[pyo3(signature = (agents, *, excluded_info_keys, with_observations=false))]
    fn new(agents: Vec<Py<PyAny>>, excluded_info_keys: Py<PyAny>, with_observations: bool) -> Self {
        Self {
            agents,
            excluded: excluded_info_keys,
            with_observations,
            dropped: Vec::new(),
            encoder: ValueEncoder::default(),
            out: Vec::new(),
        }
    }

    /// The paths of values that were left out because they are not plain.
    #[getter]
    fn dropped(&self) -> Vec<String> {
        self.dropped.clone()
    }

    fn encode<'py>(
        &mut self,
        py: Python<'py>,
        observations: &Bound<'py, PyAny>,
        rewards: &Bound<'py, PyDict>,
        terminations: &Bound<'py, PyDict>,
        truncations: &Bound<'py, PyDict>,
        infos: &Bound<'py, PyDict>,
    ) -> Result<Bound<'py, PyBytes>, Error> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.push(VERSION);
        out.push(if self.with_observations { WITH_OBSERVATIONS } else { 0 });
        let players = u16::try_from(self.agents.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&players.to_le_bytes());
        for agent in &self.agents {
            let agent = agent.bind(py);
            let flag = |flags: &Bound<'py, PyDict>, bit: u8| -> Result<u8, Error> {
                Ok(match flags.get_item(agent)? {
                    Some(flag) if flag.is_truthy()? => bit,
                    _ => 0,
                })
            };
            let (state, reward) = match rewards.get_item(agent)? {
                Some(reward) => (TOOK_PART, reward.extract::<f64>()?),
                None => (0, 0.0),
            };
            out.push(state | flag(terminations, TERMINATED)? | flag(truncations, TRUNCATED)?);
            crate::canonical::float_bits(&mut out, reward);
        }
        for agent in 0..self.agents.len() {
            self.info(py, agent, rewards, infos, &mut out)?;
            if self.with_observations {
                self.observation(py, agent, rewards, observations, &mut out)?;
            }
        }
        let encoded = PyBytes::new(py, &out);
        self.out = out;
        Ok(encoded)
    }

    /// The outputs as a dict of dicts keyed by agent; `observations` is None if they were left out.
    fn decode<'py>(&self, py: Python<'py>, encoded: &[u8]) -> Result<Bound<'py, PyDict>, Error> {
        let mut decoder = Decoder::new(encoded);
        let [version, content] = decoder.array()?;
        let players = usize::from(u16::from_le_bytes(decoder.array()?));
        if version != VERSION || content > WITH_OBSERVATIONS {
            return Err(Error::NotCanonical { what: "head", at: 0 });
        }
        if players != self.agents.len() {
            return Err(Error::PlayerCount { expected: self.agents.len(), got: players });
        }
        let [rewards, terminations, truncations, infos, observations] =
            [(); 5].map(|()| PyDict::new(py));
        let mut took_part = Vec::new();
        for agent in &self.agents {
            let [state] = decoder.array()?;
            let reward = f64::from_le_bytes(decoder.array()?);
            if state > TOOK_PART | TERMINATED | TRUNCATED {
                return Err(Error::NotCanonical { what: "player state", at: 0 });
            }
            if state & TOOK_PART != 0 {
                rewards.set_item(agent, reward)?;
                terminations.set_item(agent, state & TERMINATED != 0)?;
                truncations.set_item(agent, state & TRUNCATED != 0)?;
                took_part.push(agent);
            }
        }
        for agent in took_part {
            infos.set_item(agent, decoder.value(py)?)?;
            if content == WITH_OBSERVATIONS {
                observations.set_item(agent, decoder.value(py)?)?;
            }
        }
        decoder.finish()?;
        let outputs = PyDict::new(py);
        outputs.set_item("rewards", rewards)?;
        outputs.set_item("terminations", terminations)?;
        outputs.set_item("truncations", truncations)?;
        outputs.set_item("infos", infos)?;
        let observations = (content == WITH_OBSERVATIONS).then_some(observations);
        outputs.set_item("observations", observations)?;
        Ok(outputs)
    }
}

impl OutputCodec {
    /// The info of one player without the excluded keys; what is not plain is left out and noted.
    fn info<'py>(
        &mut self,
        py: Python<'py>,
        agent: usize,
        rewards: &Bound<'py, PyDict>,
        infos: &Bound<'py, PyDict>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Some(name) = self.agents.get(agent).map(|agent| agent.clone_ref(py)) else {
            return Ok(());
        };
        if !rewards.contains(&name)? {
            return Ok(());
        }
        let plain = PyDict::new(py);
        if let Some(info) = infos.get_item(&name)? {
            let Ok(info) = info.cast::<PyDict>() else {
                self.note(format!("infos[{name}]"));
                return self.encoder.encode(plain.as_any(), out);
            };
            if info.is_empty() || self.try_info(py, info, out)? {
                if info.is_empty() {
                    self.encoder.encode(plain.as_any(), out)?;
                }
                return Ok(());
            }
            for (key, value) in info.iter() {
                // Keys are excluded by their text, whatever they are.
                if self.excluded.bind(py).contains(key.str()?)? {
                    continue;
                }
                let pair = PyList::new(py, [&key, &value])?;
                match self.encoder.encode(pair.as_any(), &mut Vec::new()) {
                    Ok(()) => plain.set_item(key, value)?,
                    Err(Error::Unencodable { .. } | Error::TooDeep { .. }) => {
                        self.note(format!("infos[{name}][{key}]"));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.encoder.encode(plain.as_any(), out)
    }

    /// Encodes an info from which nothing has to be left out; `false` if something has.
    fn try_info(
        &mut self,
        py: Python<'_>,
        info: &Bound<'_, PyDict>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let excluded = self.excluded.bind(py);
        if !excluded.is_empty()? {
            return Ok(false);
        }
        Ok(self.encoder.encode(info.as_any(), out).is_ok())
    }

    fn observation<'py>(
        &mut self,
        py: Python<'py>,
        agent: usize,
        rewards: &Bound<'py, PyDict>,
        observations: &Bound<'py, PyAny>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Some(name) = self.agents.get(agent).map(|agent| agent.clone_ref(py)) else {
            return Ok(());
        };
        if !rewards.contains(&name)? {
            return Ok(());
        }
        let observation = observations.get_item(&name)?;
        match self.encoder.encode(&observation, out) {
            Err(Error::Unencodable { .. } | Error::TooDeep { .. }) => {
                self.note(format!("observations[{name}]"));
                self.encoder.encode(&py.None().into_bound(py), out)
            }
            result => result,
        }
    }

    fn note(&mut self, path: String) {
        if self.dropped.len() < DROPPED_MAX && !self.dropped.contains(&path) {
            self.dropped.push(path);
        }
    }
}
