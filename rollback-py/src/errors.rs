//! Every failure of this crate, one cause a variant, and the Python exception each becomes.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use rollback_core::{AdvanceError, PeerId};
use rollback_server::NameError;
use rollback_webrtc::{LoopError, ReturnError};

create_exception!(rollback_py, RollbackError, PyException, "Base of every error of rollback_py.");
create_exception!(
    rollback_py,
    SnapshotError,
    RollbackError,
    "The environment's state cannot be saved or restored."
);
create_exception!(
    rollback_py,
    EncodingError,
    RollbackError,
    "A value has no canonical encoding, or bytes are not one."
);
create_exception!(
    rollback_py,
    SpaceError,
    RollbackError,
    "An action space cannot be sent as bytes, or an action is outside it."
);

create_exception!(rollback_py, JoinError, RollbackError, "The room cannot be joined.");
create_exception!(
    rollback_py,
    IncompatibleError,
    RollbackError,
    "The members cannot play together: `peer` differs in `fields`."
);
create_exception!(
    rollback_py,
    GameError,
    RollbackError,
    "The environment failed at `frame`; its own exception is the cause."
);
create_exception!(
    rollback_py,
    DivergedError,
    RollbackError,
    "The simulation of one who watches is in another state than the members' at `frame`."
);
create_exception!(
    rollback_py,
    RecordingError,
    RollbackError,
    "A recording cannot be written or read."
);

/// What goes wrong in this crate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{path}: a {class} can be neither copied nor restored ({cause})")]
    Uncopyable { path: String, class: String, cause: String },
    #[error(
        "an array of {expected} bytes was saved, but it has {got} bytes now: arrays may not be resized in place"
    )]
    ArrayResized { expected: usize, got: usize },
    #[error("this snapshot was made by another set of snapshots")]
    ForeignSnapshot,
    #[error("{path} is a {class}: {cause}")]
    Untransferable { path: String, class: String, cause: &'static str },
    #[error("the state has {what}")]
    Refused { what: String },
    #[error("the snapshot is empty: save into it before using it")]
    EmptySnapshot,
    #[error("more than {max} objects belong to the state")]
    TooManyObjects { max: usize },
    #[error("{path}: a {class} has no canonical encoding ({cause})")]
    Unencodable { path: String, class: String, cause: String },
    #[error("the canonical encoding is longer than {max} bytes")]
    EncodingTooLong { max: usize },
    #[error("values are nested more than {max} deep")]
    TooDeep { max: usize },
    #[error("the encoding ends at byte {at}, but {needed} more bytes were announced")]
    Truncated { at: usize, needed: usize },
    #[error("{extra} bytes follow the end of the encoding")]
    TrailingBytes { extra: usize },
    #[error("unknown tag {tag:#04x} at byte {at}")]
    UnknownTag { tag: u8, at: usize },
    #[error("the bytes at {at} are not the canonical form of a {what}")]
    NotCanonical { what: &'static str, at: usize },
    #[error("{agent}: the space {space} cannot be sent as fixed-width bytes: {reason}")]
    UnsupportedSpace { agent: String, space: String, reason: &'static str },
    #[error("{agent}: the actions of {space} need {width} bytes, {max} are allowed")]
    TooWide { agent: String, space: String, width: usize, max: usize },
    #[error("{agent}: the action {value} is not in {space}")]
    OutsideSpace { agent: String, value: String, space: String },
    #[error("there is no player {player}: the environment has {players}")]
    UnknownPlayer { player: usize, players: usize },
    #[error("expected {expected} values, one for each player, got {got}")]
    PlayerCount { expected: usize, got: usize },
    #[error("the room is not complete yet: wait for it first")]
    RoomIncomplete,
    #[error("an episode of this room is running: release it first")]
    EpisodeRunning,
    #[error("this thread is using the episode already: an environment cannot ask for its own")]
    EpisodeInUse,
    #[error("this episode has given its connections back")]
    EpisodeReleased,
    #[error("there is no player {player}: expected one below 64")]
    NoSuchPlayer { player: u8 },
    #[error("there is no peer {slot}: expected one below 8")]
    NoSuchPeer { slot: u8 },
    #[error("the room has {expected} members, but {got} host players")]
    PeerCount { expected: usize, got: usize },
    #[error("the setting {name} is missing")]
    NoSetting { name: String },
    #[error("{name}: expected at most 255, got {got}")]
    SettingTooLarge { name: String, got: u64 },
    #[error("expected an address such as 127.0.0.1:8080, got {got:?}")]
    ListenAddress { got: String },
    #[error(
        "the room name {name:?}: {error}; allowed are 1 to 64 of a-z, 0-9, _ and -, but not admin, console, health"
    )]
    RoomName { name: String, error: NameError },
    #[error(transparent)]
    Python(#[from] PyErr),
}

impl From<pyo3::CastError<'_, '_>> for Error {
    fn from(error: pyo3::CastError<'_, '_>) -> Self {
        Self::Python(error.into())
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Python(error) => error,
            Error::Uncopyable { .. }
            | Error::ArrayResized { .. }
            | Error::ForeignSnapshot
            | Error::EmptySnapshot
            | Error::Untransferable { .. }
            | Error::Refused { .. }
            | Error::TooManyObjects { .. } => SnapshotError::new_err(message),
            Error::Unencodable { .. }
            | Error::EncodingTooLong { .. }
            | Error::TooDeep { .. }
            | Error::Truncated { .. }
            | Error::TrailingBytes { .. }
            | Error::UnknownTag { .. }
            | Error::NotCanonical { .. } => EncodingError::new_err(message),
            Error::RoomIncomplete
            | Error::EpisodeRunning
            | Error::EpisodeInUse
            | Error::EpisodeReleased
            | Error::NoSuchPlayer { .. }
            | Error::NoSuchPeer { .. }
            | Error::PeerCount { .. }
            | Error::NoSetting { .. }
            | Error::SettingTooLarge { .. }
            | Error::ListenAddress { .. }
            | Error::RoomName { .. } => RollbackError::new_err(message),
            Error::UnsupportedSpace { .. }
            | Error::TooWide { .. }
            | Error::OutsideSpace { .. }
            | Error::UnknownPlayer { .. }
            | Error::PlayerCount { .. } => SpaceError::new_err(message),
        }
    }
}

/// Puts the exception tree into the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("RollbackError", py.get_type::<RollbackError>())?;
    module.add("SnapshotError", py.get_type::<SnapshotError>())?;
    module.add("EncodingError", py.get_type::<EncodingError>())?;
    module.add("JoinError", py.get_type::<JoinError>())?;
    module.add("IncompatibleError", py.get_type::<IncompatibleError>())?;
    module.add("GameError", py.get_type::<GameError>())?;
    module.add("DivergedError", py.get_type::<DivergedError>())?;
    module.add("RecordingError", py.get_type::<RecordingError>())?;
    module.add("SpaceError", py.get_type::<SpaceError>())
}

/// What a game loop raises in Python.
pub(crate) fn loop_error(error: LoopError<PyErr>) -> PyErr {
    let message = error.to_string();
    match error {
        LoopError::Advance(AdvanceError::Game(error)) => game_error(error),
        LoopError::Advance(AdvanceError::Incompatible { peer, mismatches }) => {
            Python::attach(|py| {
                let raised = IncompatibleError::new_err(message);
                let value = raised.value(py);
                let _ = value.setattr("peer", peer.slot());
                let fields: Vec<&str> = mismatches.iter().map(|one| one.field.as_str()).collect();
                let _ = value.setattr("fields", fields);
                raised
            })
        }
        LoopError::Advance(
            AdvanceError::MissingInput { .. }
            | AdvanceError::OtherState { .. }
            | AdvanceError::Unreadable { .. },
        ) => RollbackError::new_err(message),
        LoopError::NotStarted { peers, .. } => join_error(message, None, peers.iter().next()),
        LoopError::Unhealthy { peer, why, .. } => join_error(message, Some(why.name()), Some(peer)),
        LoopError::Replaced => join_error(message, Some("replaced"), None),
        LoopError::Return(error) => return_error(&error),
        LoopError::Record(_) => RecordingError::new_err(message),
    }
}

/// An environment that failed; its own exception is the cause.
pub(crate) fn game_error(error: rollback_core::GameError<PyErr>) -> PyErr {
    Python::attach(|py| {
        let (message, frame) = (error.to_string(), error.frame().index());
        let raised = GameError::new_err(message);
        raised.set_cause(py, Some(error.into_source()));
        // The frame is part of the message as well; a value that cannot hold it is still raised.
        let _ = raised.value(py).setattr("frame", frame);
        raised
    })
}

/// A room that cannot be joined, an episode that cannot begin, or a match that cannot be gone back to; `code` says which,
/// where a program may care, and `peer` is the member in the way, if one is.
pub(crate) fn join_error(message: String, code: Option<&str>, peer: Option<PeerId>) -> PyErr {
    Python::attach(|py| {
        let raised = JoinError::new_err(message);
        // The message says it as well.
        let _ = raised.value(py).setattr("code", code);
        let _ = raised.value(py).setattr("peer", peer.map(PeerId::slot));
        raised
    })
}

/// Why one that came back does not play.
pub(crate) fn return_error(error: &ReturnError) -> PyErr {
    let message = error.to_string();
    let code = match error {
        ReturnError::Differs { fields } => {
            return Python::attach(|py| {
                let raised = IncompatibleError::new_err(message);
                let value = raised.value(py);
                let _ = value.setattr("peer", py.None());
                let _ = value.setattr("fields", fields.clone());
                raised
            });
        }
        ReturnError::MatchOver => "match_over",
        ReturnError::NobodyAnswers { .. } => "nobody_answers",
        ReturnError::Closed { .. } => "closed",
        ReturnError::EpisodeOver { .. } => "episode_over",
        ReturnError::NotLetIn { .. } => "not_let_in",
        ReturnError::TooLong | ReturnError::Log(_) | ReturnError::Backfill(_) => "log",
    };
    join_error(message, Some(code), None)
}
