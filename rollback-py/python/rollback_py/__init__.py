"""Play your own Gymnasium or PettingZoo environment across computers, with rollback."""

from __future__ import annotations

from rollback_py._rollback import EncodingError, RollbackError, SnapshotError, SpaceError
from rollback_py.determinism import Report, check
from rollback_py.env_game import EnvGame
from rollback_py.environment import EnvironmentDigest, Factory
from rollback_py.simulation import EnvironmentUnsuitableError
from rollback_py.snapshots import EnvSnapshot, NotSnapshotableError, SnapshotOptions

__all__ = [
    "EncodingError",
    "EnvGame",
    "EnvSnapshot",
    "EnvironmentDigest",
    "EnvironmentUnsuitableError",
    "Factory",
    "NotSnapshotableError",
    "Report",
    "RollbackError",
    "SnapshotError",
    "SnapshotOptions",
    "SpaceError",
    "check",
]
