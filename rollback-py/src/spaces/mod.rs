//! Actions of gymnasium spaces as fixed-width bytes, and back as what `space.sample()` would give.
//!
//! Reading is total: bytes that are no action of the space, from whomever they come, mean the player's
//! idle action. Every computer does the same with the same bytes, so a hostile one cannot part them.

mod build;
mod node;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::errors::Error;
use node::Node;

/// The widest action: the engine's limit for the input of one player.
const WIDTH_BYTES_MAX: usize = 512;

/// The action spaces of an environment's agents, in player order.
#[pyclass(module = "rollback_py._rollback")]
pub(crate) struct ActionCodec {
    players: Vec<Player>,
    /// From agent to player.
    index: Py<PyDict>,
    width: usize,
    invalid: u64,
}

struct Player {
    agent: Py<PyAny>,
    space: Py<PyAny>,
    node: Node,
    idle: Vec<u8>,
}

#[pymethods]
impl ActionCodec {
    #[new]
    #[pyo3(signature = (agents, spaces, *, idle=None))]
    fn new<'py>(
        py: Python<'py>,
        agents: Vec<Bound<'py, PyAny>>,
        spaces: Vec<Bound<'py, PyAny>>,
        idle: Option<Bound<'py, PyDict>>,
    ) -> Result<Self, Error> {
        if agents.len() != spaces.len() {
            return Err(Error::PlayerCount { expected: agents.len(), got: spaces.len() });
        }
        let index = PyDict::new(py);
        let mut players = Vec::new();
        for (player, (agent, space)) in agents.into_iter().zip(spaces).enumerate() {
            let name = agent.str()?.to_string_lossy().into_owned();
            let node = build::node(&name, &space)?;
            let width = node.width();
            if width > WIDTH_BYTES_MAX {
                let space = space.repr()?.to_string_lossy().into_owned();
                return Err(Error::TooWide { agent: name, space, width, max: WIDTH_BYTES_MAX });
            }
            index.set_item(&agent, player)?;
            players.push(Player {
                agent: agent.unbind(),
                space: space.unbind(),
                node,
                idle: Vec::new(),
            });
        }
        let width = players.iter().map(|player| player.node.width()).max().unwrap_or(0).max(1);
        let mut codec = Self { players, index: index.unbind(), width, invalid: 0 };
        for player in 0..codec.players.len() {
            let bytes = codec.default_idle(py, player, idle.as_ref())?;
            if let Some(player) = codec.players.get_mut(player) {
                player.idle = bytes;
            }
        }
        Ok(codec)
    }

    /// Bytes of one action: the widest of the players' actions, the same for all.
    #[getter]
    fn width(&self) -> usize {
        self.width
    }

    /// How many times bytes were read that are no action.
    #[getter]
    fn invalid_actions(&self) -> u64 {
        self.invalid
    }

    fn encode<'py>(
        &self,
        py: Python<'py>,
        player: usize,
        action: &Bound<'py, PyAny>,
    ) -> Result<Bound<'py, PyBytes>, Error> {
        Ok(PyBytes::new(py, &self.bytes(player, action)?))
    }

    /// The action, and whether the bytes were one; if not, it is the idle action.
    fn decode<'py>(
        &mut self,
        py: Python<'py>,
        player: usize,
        encoded: &[u8],
    ) -> Result<(Bound<'py, PyAny>, bool), Error> {
        let known = self.player(player)?;
        if let Some(action) = known.node.read_all(py, encoded, self.width)? {
            return Ok((action, true));
        }
        let idle = known.node.read_all(py, &known.idle, self.width)?;
        let idle = idle.ok_or(Error::NotCanonical { what: "idle action", at: 0 })?;
        self.invalid += 1;
        Ok((idle, false))
    }

    /// The actions of the agents that take part, from the bytes of all players in player order.
    fn decode_joint<'py>(
        &mut self,
        py: Python<'py>,
        encoded: Vec<Bound<'py, PyBytes>>,
        active: &Bound<'py, PyList>,
    ) -> Result<Bound<'py, PyDict>, Error> {
        if encoded.len() != self.players.len() {
            return Err(Error::PlayerCount { expected: self.players.len(), got: encoded.len() });
        }
        let actions = PyDict::new(py);
        for agent in active.iter() {
            let player = self.index.bind(py).as_any().get_item(&agent)?.extract::<usize>()?;
            let Some(bytes) = encoded.get(player) else { continue };
            let (action, _) = self.decode(py, player, bytes.as_bytes())?;
            actions.set_item(agent, action)?;
        }
        Ok(actions)
    }

    /// The bytes of a player's idle action.
    fn idle<'py>(&self, py: Python<'py>, player: usize) -> Result<Bound<'py, PyBytes>, Error> {
        Ok(PyBytes::new(py, &self.player(player)?.idle))
    }

    /// The agents, in player order.
    #[getter]
    fn agents(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.players.iter().map(|player| player.agent.clone_ref(py)).collect()
    }
}

impl ActionCodec {
    fn player(&self, player: usize) -> Result<&Player, Error> {
        self.players.get(player).ok_or(Error::UnknownPlayer { player, players: self.players.len() })
    }

    fn bytes(&self, player: usize, action: &Bound<'_, PyAny>) -> Result<Vec<u8>, Error> {
        let known = self.player(player)?;
        let mut bytes = Vec::with_capacity(self.width);
        if known.node.write(action, &mut bytes)? {
            bytes.resize(self.width, 0);
            return Ok(bytes);
        }
        Err(Error::OutsideSpace {
            agent: known.agent.bind(action.py()).str()?.to_string_lossy().into_owned(),
            value: action.repr()?.to_string_lossy().into_owned(),
            space: known.space.bind(action.py()).repr()?.to_string_lossy().into_owned(),
        })
    }

    fn default_idle(
        &self,
        py: Python<'_>,
        player: usize,
        idle: Option<&Bound<'_, PyDict>>,
    ) -> Result<Vec<u8>, Error> {
        let known = self.player(player)?;
        if let Some(idle) = idle
            && let Some(action) = idle.get_item(&known.agent)?
        {
            return self.bytes(player, &action);
        }
        let mut bytes = Vec::new();
        known.node.write_idle(py, &mut bytes)?;
        bytes.resize(self.width, 0);
        Ok(bytes)
    }
}
