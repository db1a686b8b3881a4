//! Rooms for Python: who plays together, and over what.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rollback_core::{PeerId, PeerSet, Roster, Ticket};
use rollback_webrtc::{
    ErrorCode, IceServer, Inquiry, Joining, LinkConditions, LinkError, PathPolicy, Room, Transport,
    TransportConfig,
};

use crate::config::seconds_or_ever;
use crate::errors::{Error, RollbackError, join_error, return_error};
use crate::ways::{link_dict, stats_dict};

/// A room being joined, and the transport once it is complete.
#[pyclass(module = "rollback_py._rollback", name = "Room", frozen)]
pub(crate) struct PyRoom {
    joining: Mutex<Option<Joining>>,
    room: Mutex<Option<Room>>,
    inquiry: Mutex<Option<Inquiry>>,
    /// Lent to the episode that is played.
    pub(crate) transport: TransportSlot,
}

/// Where the transport lies while no episode has it.
pub(crate) type TransportSlot = Arc<Mutex<Option<Transport>>>;

#[pymethods]
impl PyRoom {
    /// Starts joining.
    #[new]
    #[pyo3(signature = (link, *, name=None, token=None, ice_servers=Vec::new(), relay_only=false, server_relay=true, interrupted_after=None, told_after=None, delay_ms=0, jitter_ms=0, loss_percent=0.0, seed=0))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python constructor")]
    fn new(
        link: &str,
        name: Option<String>,
        token: Option<String>,
        ice_servers: Vec<(String, String, String)>,
        relay_only: bool,
        server_relay: bool,
        interrupted_after: Option<f64>,
        told_after: Option<f64>,
        delay_ms: u32,
        jitter_ms: u32,
        loss_percent: f64,
        seed: u64,
    ) -> PyResult<Self> {
        let server = |(url, username, credential)| IceServer { url, username, credential };
        let unless_said = TransportConfig::default();
        let told_after = told_after.map(seconds_or_ever).transpose()?;
        let interrupted_after = interrupted_after.map(seconds_or_ever).transpose()?;
        let config = TransportConfig {
            name,
            token,
            ice_servers: ice_servers.into_iter().map(server).collect(),
            path_policy: if relay_only { PathPolicy::RelayOnly } else { PathPolicy::All },
            server_relay,
            link_conditions: LinkConditions { delay_ms, jitter_ms, loss_percent, seed },
            interrupted_after: interrupted_after.unwrap_or(unless_said.interrupted_after),
            told_after: told_after.unwrap_or(unless_said.told_after),
            ..unless_said
        };
        let joining = Transport::join(link, config).map_err(|error| refused_link(link, error))?;
        Ok(Self {
            joining: Mutex::new(Some(joining)),
            room: Mutex::new(None),
            inquiry: Mutex::new(None),
            transport: Arc::new(Mutex::new(None)),
        })
    }

    /// Waits for the room to be complete; `False` when the time is over.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let joined = py.detach(|| {
            let mut joining = lock(&self.joining);
            joining.as_mut().map(|joining| joining.wait(timeout))
        });
        let Some(joined) = joined else { return Ok(lock(&self.room).is_some()) };
        let Some(transport) = joined.map_err(refused)? else { return Ok(false) };
        *lock(&self.room) = Some(transport.room().clone());
        *lock(&self.transport) = Some(transport);
        *lock(&self.joining) = None;
        Ok(true)
    }

    /// How many members there are, and how many make the room complete.
    fn progress(&self) -> (usize, usize) {
        let joining = lock(&self.joining);
        let progress = joining.as_ref().map(Joining::progress);
        match (progress, &*lock(&self.room)) {
            (Some(progress), _) => (progress.members, progress.expected),
            (None, Some(room)) => (room.members.len(), room.members.len()),
            (None, None) => (0, 0),
        }
    }

    /// This member's slot.
    #[getter]
    fn local(&self) -> PyResult<u8> {
        self.of_room(|room| room.local.slot())
    }

    /// The slots of those who may come late.
    #[getter]
    fn late(&self) -> PyResult<Vec<usize>> {
        self.of_room(|room| slots(room.late))
    }

    /// The names of all members, in the order of their slots.
    #[getter]
    pub(crate) fn members(&self) -> PyResult<Vec<String>> {
        self.of_room(|room| {
            let name = |member: &rollback_webrtc::RoomMember| member.name.clone();
            room.members.iter().map(|member| name(member).unwrap_or_default()).collect()
        })
    }

    /// The number of the match.
    #[getter]
    fn session(&self) -> PyResult<u64> {
        self.of_room(|room| room.session_id)
    }

    /// The seed that all members share.
    #[getter]
    fn seed(&self) -> PyResult<u64> {
        self.of_room(|room| room.seed)
    }

    /// The secret with which a new process takes this member's slot.
    #[getter]
    fn token(&self) -> PyResult<String> {
        self.of_room(|room| room.token.clone())
    }

    /// Which life of its slot this process lives.
    #[getter]
    fn life(&self) -> PyResult<u8> {
        self.of_room(|room| room.life)
    }

    /// What is known of the way to another member, while no episode is played.
    fn way<'py>(&self, py: Python<'py>, slot: u8) -> PyResult<Option<Bound<'py, PyDict>>> {
        let peer = PeerId::new(slot).ok_or(Error::NoSuchPeer { slot })?;
        let transport = lock(&self.transport);
        let Some(transport) = &*transport else { return Ok(None) };
        let dict = stats_dict(py, &transport.stats(peer))?;
        dict.set_item("link", link_dict(py, &transport.link_report(peer), transport.now())?)?;
        Ok(Some(dict))
    }

    /// Asks the others where they are, for so many seconds: the number of the episode, how many were completed, whether it
    /// has begun, and who had not come when it began. `None` when that is not known yet; raises after `patience` seconds of
    /// questions.
    fn inquire(&self, py: Python<'_>, seconds: f64, patience: f64) -> PyResult<Option<Stood>> {
        let [seconds, patience] =
            [seconds, patience].map(|s| Duration::try_from_secs_f64(s).unwrap_or_default());
        let mut inquiry = lock(&self.inquiry);
        if inquiry.is_none() {
            *inquiry = Some(self.of_room(Inquiry::new)?);
        }
        let asking = inquiry.as_mut().ok_or(Error::RoomIncomplete)?;
        let answered = py.detach(|| {
            let mut transport = lock(&self.transport);
            let transport = transport.as_mut().ok_or(Error::EpisodeRunning)?;
            let until = transport.now().plus(seconds);
            loop {
                let answered = asking.poll(transport, patience);
                if !matches!(answered, Ok(None)) || transport.now() >= until {
                    return Ok::<_, Error>(answered);
                }
                let _ = Transport::wait(transport, until.since(transport.now()));
            }
        })?;
        let standing = answered.map_err(|error| {
            *inquiry = None;
            return_error(&error)
        })?;
        Ok(standing.map(|it| {
            *inquiry = None;
            Stood(it.episode, it.completed_episodes, it.has_begun, slots(it.late))
        }))
    }

    /// Closes all connections and leaves the room; or stays in it for a new process, as if this one was killed.
    #[pyo3(signature = (*, leave=true))]
    fn close(&self, py: Python<'_>, leave: bool) {
        py.detach(|| {
            drop(lock(&self.joining).take());
            if let Some(transport) = lock(&self.transport).take() {
                if leave {
                    transport.close()
                } else {
                    transport.abandon()
                };
            }
        });
    }
}

impl PyRoom {
    pub(crate) fn of_room<R>(&self, get: impl FnOnce(&Room) -> R) -> PyResult<R> {
        let room = lock(&self.room);
        Ok(room.as_ref().map(get).ok_or(Error::RoomIncomplete)?)
    }

    /// This member's ticket for an episode of the match, in which these slots host the players.
    pub(crate) fn ticket(&self, hosts: &[u8], episode: u32) -> PyResult<Ticket> {
        let host = |slot: &u8| PeerId::new(*slot).ok_or(Error::NoSuchPeer { slot: *slot });
        let hosts: Vec<PeerId> = hosts.iter().map(host).collect::<Result<_, _>>()?;
        let roster =
            Roster::new(&hosts).map_err(|error| RollbackError::new_err(error.to_string()))?;
        self.of_room(|room| {
            let (expected, got) = (room.members.len(), roster.peer_count());
            if got != expected {
                return Err(Error::PeerCount { expected, got });
            }
            let ticket = Ticket {
                session: room.session_id,
                episode,
                seed: room.seed,
                roster,
                local: room.local,
                incarnation: room.life,
            };
            Ok(ticket.for_episode(room.seed, episode))
        })?
        .map_err(PyErr::from)
    }
}

/// The number of the episode that the others are in, how many were completed, whether it has begun, and who is late: a
/// tuple for Python.
#[derive(IntoPyObject)]
struct Stood(u32, u32, bool, Vec<usize>);

pub(crate) fn slots(peers: PeerSet) -> Vec<usize> {
    peers.iter().map(PeerId::index).collect()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a link is refused at once; of a room's name, what is wrong with it and what is allowed.
pub(crate) fn refused_link(link: &str, error: rollback_webrtc::JoinError) -> PyErr {
    let rollback_webrtc::JoinError::Link(LinkError::Room(error)) = error else {
        return refused(error);
    };
    // As the link is read there: what follows its last slash, without a question behind it.
    let path = link.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    join_error(format!("{link}: {}", Error::RoomName { name, error }), None, None)
}

pub(crate) fn refused(error: rollback_webrtc::JoinError) -> PyErr {
    let code = match &error {
        rollback_webrtc::JoinError::Refused { code: ErrorCode::UnknownToken, .. } => {
            Some("unknown_token")
        }
        rollback_webrtc::JoinError::Refused { code: ErrorCode::WatchingForbidden, .. } => {
            Some("watching_forbidden")
        }
        _ => None,
    };
    join_error(error.to_string(), code, None)
}
