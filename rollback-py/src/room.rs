//! Rooms and servers for Python: who plays together, and over what.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rollback_core::{PeerId, PeerSet, Roster, Ticket, Timestamp};
use rollback_server::{BackgroundServer, GroupSize, IceOptions, RoomName, Rooms, ServerConfig};
use rollback_webrtc::{
    ErrorCode, IceServer, Inquiry, Joining, LinkConditions, LinkError, LinkReport, PathPolicy,
    PeerStats, Proof, Room, ShutOut, Transport, TransportConfig, TransportEvent, WayCounters,
};

use crate::config::seconds_or_ever;
use crate::errors::{Error, RollbackError, join_error, return_error};

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
    #[pyo3(signature = (listen="127.0.0.1:8080", *, rooms=Vec::new(), players=2, begin_with=None, slot_hold_s=600, watchers=8, unwatched=Vec::new(), relay=true, ice=None))]
    fn new(
        listen: &str,
        rooms: Vec<(String, u8)>,
        players: u8,
        begin_with: Option<u8>,
        slot_hold_s: u64,
        watchers: u8,
        unwatched: Vec<String>,
        relay: bool,
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
        let unwatched = unwatched.iter().map(|name| room_name(name));
        let config = ServerConfig {
            playing_slot_hold,
            watchers_max: watchers,
            relay,
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

/// The number of the episode that the others are in, how many were completed, whether it has begun, and who is late: a
/// tuple for Python.
#[derive(IntoPyObject)]
struct Stood(u32, u32, bool, Vec<usize>);

pub(crate) fn slots(peers: PeerSet) -> Vec<usize> {
    peers.iter().map(PeerId::index).collect()
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

/// What was counted about the way to a peer.
pub(crate) fn stats_dict<'py>(py: Python<'py>, stats: &PeerStats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("is_connected", stats.is_connected)?;
    dict.set_item("path", stats.path.map(|path| path.to_string()))?;
    dict.set_item("attempts", stats.attempts)?;
    dict.set_item("certificates_refused", stats.certificates_refused)?;
    dict.set_item("datagrams_lost_by_conditions", stats.datagrams_lost_by_conditions)?;
    dict.set_item("datagrams_not_sent", stats.datagrams_not_sent)?;
    dict.set_item("violations", stats.violations)?;
    dict.set_item("stale_signals", stats.stale_signals)?;
    dict.set_item("replayed_signals", stats.replayed_signals)?;
    dict.set_item("shut_out", stats.shut_out.map(ShutOut::name))?;
    dict.set_item("switches", stats.switches)?;
    let ways =
        [("direct", stats.direct), ("turn", stats.turn), ("server_relay", stats.server_relay)];
    for (name, way) in ways {
        dict.set_item(name, way_dict(py, &way)?)?;
    }
    Ok(dict)
}

fn way_dict<'py>(py: Python<'py>, way: &WayCounters) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("datagrams_sent", way.datagrams_sent)?;
    dict.set_item("bytes_sent", way.bytes_sent)?;
    dict.set_item("datagrams_received", way.datagrams_received)?;
    dict.set_item("bytes_received", way.bytes_received)?;
    dict.set_item("datagrams_overtaken", way.datagrams_overtaken)?;
    dict.set_item("datagrams_duplicate", way.datagrams_duplicate)?;
    Ok(dict)
}

/// What was measured of the way to a peer.
pub(crate) fn link_dict<'py>(
    py: Python<'py>,
    link: &LinkReport,
    now: Timestamp,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let LinkReport { round_trip, round_trip_p50, round_trip_p95, round_trip_p99, .. } = link;
    dict.set_item("round_trip_ms", round_trip.map(millis))?;
    dict.set_item("round_trip_p50_ms", round_trip_p50.map(millis))?;
    dict.set_item("round_trip_p95_ms", round_trip_p95.map(millis))?;
    dict.set_item("round_trip_p99_ms", round_trip_p99.map(millis))?;
    dict.set_item("jitter_ms", millis(link.jitter))?;
    dict.set_item("loss_out_percent", link.loss_out_percent)?;
    dict.set_item("loss_in_percent", link.loss_in_percent)?;
    dict.set_item("outages", link.outages)?;
    dict.set_item("outage_total_ms", millis(link.outage_total))?;
    let longest = link.last_outages.iter().map(|outage| outage.length).max();
    dict.set_item("outage_longest_ms", longest.map(millis))?;
    // How long ago each began, and how long it was: the clock of connections is known to nobody else.
    let outages = link.last_outages.iter();
    let outages = outages.map(|one| (now.since(one.began).as_millis(), one.length.as_millis()));
    dict.set_item("last_outages_ms", outages.collect::<Vec<_>>())?;
    dict.set_item("recent_loss_out_percent", link.recent_loss_out_percent)?;
    dict.set_item("recent_loss_in_percent", link.recent_loss_in_percent)?;
    dict.set_item("proof", link.proof.map(Proof::name))?;
    dict.set_item("checked_round_trip_ms", link.checked_round_trip.map(millis))?;
    dict.set_item("outstanding_bytes_max", link.outstanding_bytes_max)?;
    dict.set_item("queue_age_ms", millis(link.queue_age))?;
    Ok(dict)
}

/// An event of the transport as a dictionary with its name under ``event``.
pub(crate) fn transport_event_dict(
    py: Python<'_>,
    event: TransportEvent,
) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    let peer_event = |name: &str, peer: PeerId| {
        dict.set_item("event", name)?;
        dict.set_item("peer", peer.slot())
    };
    match event {
        TransportEvent::PeerConnected { peer } => peer_event("peer_connected", peer)?,
        TransportEvent::PathChosen { peer, path } => {
            peer_event("path_chosen", peer)?;
            dict.set_item("path", path.to_string())?;
        }
        TransportEvent::TurnFailed { peer, trouble } => {
            peer_event("turn_failed", peer)?;
            dict.set_item("reason", trouble.to_string())?;
        }
        TransportEvent::CertificateRefused { peer, whose } => {
            peer_event("certificate_refused", peer)?;
            dict.set_item("whose", whose.name())?;
        }
        TransportEvent::PeerProved { peer, round_trip } => {
            peer_event("peer_proved", peer)?;
            dict.set_item("round_trip_ms", round_trip.as_secs_f64() * 1000.0)?;
        }
        TransportEvent::PeerReconnecting { peer, why } => {
            peer_event("peer_reconnecting", peer)?;
            dict.set_item("reason", why.name())?;
        }
        TransportEvent::PeerReconnected { peer, after } => {
            peer_event("peer_reconnected", peer)?;
            dict.set_item("after_ms", after.as_secs_f64() * 1000.0)?;
        }
        TransportEvent::PeerUnhealthy { peer, why } => {
            peer_event("peer_unhealthy", peer)?;
            dict.set_item("reason", why.name())?;
            dict.set_item("text", why.to_string())?;
        }
        TransportEvent::PeerShutOut { peer, why } => {
            peer_event("peer_shut_out", peer)?;
            dict.set_item("reason", why.name())?;
        }
        TransportEvent::WatcherShutOut { watcher, why } => {
            dict.set_item("event", "watcher_shut_out")?;
            dict.set_item("watcher", watcher.0)?;
            dict.set_item("reason", why.name())?;
        }
        TransportEvent::PeerDisconnected { peer } => peer_event("peer_disconnected", peer)?,
        TransportEvent::SignalsReplayed { peer } => peer_event("signals_replayed", peer)?,
        TransportEvent::PeerLeft { peer } => peer_event("peer_left", peer)?,
        TransportEvent::SignalingLost => dict.set_item("event", "signaling_lost")?,
        TransportEvent::SignalingRegained => dict.set_item("event", "signaling_regained")?,
        TransportEvent::SignalingEnded => dict.set_item("event", "signaling_ended")?,
        TransportEvent::RelayRefused { trouble } => {
            dict.set_item("event", "relay_refused")?;
            dict.set_item("reason", trouble.to_string())?;
        }
        TransportEvent::Replaced => dict.set_item("event", "replaced")?,
    }
    Ok(dict)
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
