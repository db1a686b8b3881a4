//! A room server for Python, in a thread of the process.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rollback_server::{
    BackgroundServer, Certificate, GroupSize, IceOptions, RoomName, Rooms, ServerConfig,
};

use crate::errors::{Error, RollbackError};
use crate::room::lock;

/// A signaling server in a thread of this process.
#[pyclass(module = "rollback_py._rollback", name = "Server", frozen, subclass)]
pub(crate) struct PyServer {
    server: Mutex<Option<BackgroundServer>>,
    address: String,
}

#[pymethods]
impl PyServer {
    /// Starts serving. Without rooms any name makes one of `players` members. Each begins with `begin_with` of them.
    #[new]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python constructor")]
    #[pyo3(signature = (listen="127.0.0.1:8080", *, rooms=Vec::new(), players=2, begin_with=None, slot_hold_s=600, watchers=8, unwatched=Vec::new(), relay=true, tls=None, state_file=None, ice=None))]
    fn new(
        listen: &str,
        rooms: Vec<(String, u8)>,
        players: u8,
        begin_with: Option<u8>,
        slot_hold_s: u64,
        watchers: u8,
        unwatched: Vec<String>,
        relay: bool,
        tls: Option<(PathBuf, PathBuf)>,
        state_file: Option<PathBuf>,
        ice: Option<Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let refused = |error: &dyn std::fmt::Display| RollbackError::new_err(error.to_string());
        let address = listen.parse().map_err(|_| Error::ListenAddress { got: listen.into() })?;
        let size = |players: u8| {
            let size = GroupSize::try_from(players);
            let size = size.and_then(|size| size.beginning_with(begin_with.unwrap_or(players)));
            size.map_err(|error| refused(&error))
        };
        let rooms = if rooms.is_empty() {
            Rooms::Any(size(players)?)
        } else {
            let room = |(name, players): (String, u8)| Ok((room_name(&name)?, size(players)?));
            Rooms::Fixed(rooms.into_iter().map(room).collect::<PyResult<_>>()?)
        };
        let playing_slot_hold = Duration::from_secs(slot_hold_s);
        let certificate = tls.map(|(chain, key)| Certificate::from_files(&chain, &key));
        let unwatched = unwatched.iter().map(|name| room_name(name));
        let config = ServerConfig {
            playing_slot_hold,
            watchers_max: watchers,
            relay,
            certificate: certificate.transpose().map_err(|error| refused(&error))?,
            state_file,
            unwatched: unwatched.collect::<Result<_, _>>()?,
            ice: ice_options(ice)?.offer().map_err(|error| refused(&error))?,
            ..ServerConfig::new(rooms)
        };
        let server = BackgroundServer::start(address, config);
        let server = server.map_err(|error| refused(&error))?;
        let address = server.local_addr().to_string();
        Ok(Self { server: Mutex::new(Some(server)), address })
    }

    /// Where it listens, as ``host:port``.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// Whether it still serves.
    #[getter]
    fn is_running(&self) -> bool {
        lock(&self.server).as_ref().is_some_and(BackgroundServer::is_running)
    }

    /// Stops it and waits until it has ended.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let stopped = py.detach(|| lock(&self.server).take().map(BackgroundServer::stop));
        stopped.unwrap_or(Ok(())).map_err(|error| RollbackError::new_err(error.to_string()))
    }
}

fn room_name(name: &str) -> Result<RoomName, Error> {
    name.parse().map_err(|error| Error::RoomName { name: name.to_owned(), error })
}

/// The options under their names, each of which may be missing.
fn ice_options(given: Option<Bound<'_, PyDict>>) -> PyResult<IceOptions> {
    let mut options = IceOptions::default();
    for (name, value) in given.iter().flatten() {
        match name.extract::<&str>()? {
            "stun_urls" => options.stun_urls = value.extract()?,
            "turn_urls" => options.turn_urls = value.extract()?,
            "turn_secret_file" => options.turn_secret_file = value.extract()?,
            "turn_user_file" => options.turn_user_file = value.extract()?,
            "turn_ttl_s" => options.turn_ttl = value.extract()?,
            "turn" => options.turn = value.extract()?,
            "turn_port" => options.turn_port = value.extract()?,
            "turn_listen" => options.turn_listen = value.extract()?,
            "turn_address" => options.turn_address = value.extract()?,
            "turn_relay_ports" => options.turn_relay_ports = value.extract()?,
            name => {
                let text = format!("there is no option {name:?} of STUN and TURN servers");
                return Err(RollbackError::new_err(text));
            }
        }
    }
    Ok(options)
}
