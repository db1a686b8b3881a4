"""Play your own Gymnasium or PettingZoo environment across computers, with rollback."""

from __future__ import annotations

from rollback_py._rollback import (
    EncodingError,
    RecordingError,
    RollbackError,
    SnapshotError,
    SpaceError,
)
from rollback_py.determinism import Report, check
from rollback_py.env_game import EnvGame
from rollback_py.environment import EnvironmentDigest, Factory
from rollback_py.offline import record_offline
from rollback_py.recordings import (
    Comparison,
    Export,
    Recording,
    Verified,
    Wrong,
    compare,
    export,
    verify,
)
from rollback_py.simulation import EnvironmentUnsuitableError
from rollback_py.snapshots import EnvSnapshot, NotSnapshotableError, SnapshotOptions

__all__ = [
    "Comparison",
    "EncodingError",
    "EnvGame",
    "EnvSnapshot",
    "EnvironmentDigest",
    "EnvironmentUnsuitableError",
    "Export",
    "Factory",
    "NotSnapshotableError",
    "Recording",
    "RecordingError",
    "Report",
    "RollbackError",
    "SnapshotError",
    "SnapshotOptions",
    "SpaceError",
    "Verified",
    "Wrong",
    "check",
    "compare",
    "export",
    "record_offline",
    "verify",
]
