"""Play your own Gymnasium or PettingZoo environment across computers, with rollback."""

from __future__ import annotations

from rollback_py._rollback import (
    DivergedError,
    EncodingError,
    GameError,
    IncompatibleError,
    JoinError,
    RecordingError,
    RollbackError,
    SnapshotError,
    SpaceError,
)
from rollback_py.desync_dump import DesyncDump, DumpComparison, StateDifference
from rollback_py.determinism import Report, check
from rollback_py.endings import DesyncError, End
from rollback_py.env_game import EnvGame
from rollback_py.environment import EnvironmentDigest, Factory
from rollback_py.episode import Episode
from rollback_py.match import Match, join
from rollback_py.offline import record_offline
from rollback_py.policies import Keyboard, Person, Policy, keyboard
from rollback_py.recording_table import Resync
from rollback_py.recordings import Export, Recording, compare, export, verify
from rollback_py.serving import Server
from rollback_py.settings import Health, LinkConditions, Settings
from rollback_py.side_file import SideFile
from rollback_py.simulation import EnvironmentUnsuitableError
from rollback_py.snapshots import EnvSnapshot, NotSnapshotableError, SnapshotOptions
from rollback_py.state_transfer import NotTransferableError
from rollback_py.summary import PeerSummary, Summary
from rollback_py.trouble import EnvironmentWarning
from rollback_py.verdicts import Comparison, Segment, Verified, Wrong
from rollback_py.watching import WatchedEpisode, Watching, Window, watch

__all__ = [
    "Comparison",
    "DesyncDump",
    "DesyncError",
    "DivergedError",
    "DumpComparison",
    "EncodingError",
    "End",
    "EnvGame",
    "EnvSnapshot",
    "EnvironmentDigest",
    "EnvironmentUnsuitableError",
    "EnvironmentWarning",
    "Episode",
    "Export",
    "Factory",
    "GameError",
    "Health",
    "IncompatibleError",
    "JoinError",
    "Keyboard",
    "LinkConditions",
    "Match",
    "NotSnapshotableError",
    "NotTransferableError",
    "PeerSummary",
    "Person",
    "Policy",
    "Recording",
    "RecordingError",
    "Report",
    "Resync",
    "RollbackError",
    "Segment",
    "Server",
    "Settings",
    "SideFile",
    "SnapshotError",
    "SnapshotOptions",
    "SpaceError",
    "StateDifference",
    "Summary",
    "Verified",
    "WatchedEpisode",
    "Watching",
    "Window",
    "Wrong",
    "check",
    "compare",
    "export",
    "join",
    "keyboard",
    "record_offline",
    "verify",
    "watch",
]
