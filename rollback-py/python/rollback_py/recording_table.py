"""A recording as a table: one row for each frame and agent. Says which columns there are.

`state_hash` is the hash of the state before the frame. `action` is what the agent did in the frame;
`reward`, `terminated`, `truncated`, `info` and `observation` are what `step` returned for it, and
are missing if the agent took no part in the frame any more. `segment` counts the states that all
had taken over after a desync, `disputed` says that the members disagreed on the frame.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete

from rollback_py._rollback import (
    EncodingError,
    OutputCodec,
    RecordedFrame,
    RecordingError,
    RecordingFile,
)
from rollback_py.env_game import EnvGame
from rollback_py.plain_json import to_json
from rollback_py.policies import BY_POLICY, FOCUSED, IDLE_FILLED
from rollback_py.simulation import SINGLE_AGENT, Simulation

# Values of a row group: 32 MB of numbers, so that memory stays small whatever is observed.
_VALUES_PER_GROUP = 4 << 20

# The columns that every row group holds a value of, for counting.
_COLUMNS = 16

# The facts by which a recording names its agents and their spaces (see `EnvironmentDigest`).
_SPACE_FACT = "action space of "
_SINGLE_SPACE_FACT = "action space"
_DISCRETE = re.compile(r"Discrete\((\d{1,18})(?:, start=(-?\d{1,18}))?\)")


@dataclass(frozen=True)
class Resync:
    """After a desync all took over the state of one."""

    frame: int
    """The frame of the state."""
    source: int
    """The slot of the peer whose state it was."""
    disputed_from: int
    """The first frame on which the members disagreed; what is recorded of them is the peer's."""


def resyncs_of(file: RecordingFile) -> list[Resync]:
    """Find the frames at which a state was taken over."""
    found, agreed = [], 0
    for frame in file.frames():
        found += [
            Resync(frame.frame, peer, agreed) for peer, name, _ in frame.items if name == "resync"
        ]
        # A state that was reported is one that all agreed on.
        if frame.state_hash is not None:
            agreed = frame.frame
    return found


@dataclass(frozen=True)
class Players:
    """The agents' names in player order, and how their actions are read."""

    names: list[str]
    kind: str | None
    """The column that actions fit: int64, doubles or text; None if they cannot be read."""
    read: Callable[[int, bytes], Any]
    """The value of a player's action for that column; None if the bytes are no action."""

    @classmethod
    def of_environment(cls, simulation: Simulation) -> Players:
        """Read actions as the environment's spaces say."""
        codec = simulation.codec
        names = [str(agent) for agent in simulation.agents]
        samples = [codec.decode(player, codec.idle(player))[0] for player in range(len(names))]
        convert: Callable[[Any], Any]
        if all(isinstance(space, Discrete) for space in simulation.action_spaces):
            kind, convert = "int64", int
        elif all(_numbers(sample) is not None for sample in samples):
            kind, convert = "doubles", _numbers
        else:
            kind, convert = "text", to_json

        def read(player: int, encoded: bytes) -> Any:
            action, is_action = codec.decode(player, encoded)
            return convert(action) if is_action else None

        return cls(names, kind, read)

    @classmethod
    def of_recording(cls, file: RecordingFile) -> Players:
        """Read what the recording itself says: names, and the actions of Discrete spaces."""
        spaces = _recorded_spaces(file)
        ranges = [_discrete(space) for _, space in spaces]

        def read(player: int, encoded: bytes) -> int | None:
            found = ranges[player]
            offset = int.from_bytes(encoded, "little")
            if found is None or offset >= found[0]:
                return None
            return found[1] + offset

        kind = None if None in ranges else "int64"
        return cls([name for name, _ in spaces], kind, read)


@dataclass
class Table:
    """The columns of a recording, and its rows in groups."""

    file: RecordingFile
    players: Players
    is_decoded: bool
    """Whether there is a column of decoded actions beside their bytes."""

    def __post_init__(self) -> None:
        self._codec = OutputCodec(range(len(self.players.names)), excluded_info_keys=frozenset())
        self._observations = self._observation_kind()
        self._resyncs = resyncs_of(self.file)

    def columns(self) -> list[tuple[str, str, bool]]:
        """Name, kind and whether a row may have no value, in order."""
        action = [("action", self.players.kind or "", True)] if self.is_decoded else []
        observation = {
            None: [],
            "doubles": [
                ("observation", "doubles", True),
                ("observation_shape", "int64s", True),
            ],
            "text": [("observation", "text", True)],
        }[self._observations]
        return [
            ("episode", "int64", False),
            ("frame", "int64", False),
            ("agent", "text", False),
            ("participant", "text", False),
            *action,
            ("action_bytes", "bytes", False),
            ("focused", "bool", False),
            ("idle_filled", "bool", False),
            ("policy", "bool", False),
            ("took_part", "bool", False),
            ("segment", "int64", False),
            ("disputed", "bool", False),
            ("reward", "double", True),
            ("terminated", "bool", True),
            ("truncated", "bool", True),
            ("info", "text", True),
            *observation,
            ("state_hash", "text", True),
        ]

    def groups(self) -> Iterator[list[list[Any]]]:
        """Go through the rows, as a list of values for each column. Equal rows, equal groups."""
        columns: list[list[Any]] = [[] for _ in self.columns()]
        values = 0
        for frame in self.file.frames():
            for row in self._rows(frame):
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
                    values += len(value) if isinstance(value, np.ndarray | str) else 0
                values += _COLUMNS
            if values >= _VALUES_PER_GROUP:
                yield columns
                columns, values = [[] for _ in columns], 0
        if columns[0]:
            yield columns

    def _rows(self, frame: RecordedFrame) -> Iterator[list[Any]]:
        outputs = self._outputs(frame)
        file, hosts, participants = self.file, self.file.hosts, self.file.participants
        flags, actions, state_hash = frame.flags, frame.actions, frame.state_hash
        segment = sum(resync.frame <= frame.frame for resync in self._resyncs)
        disputed = any(r.disputed_from <= frame.frame < r.frame for r in self._resyncs)
        for player, name in enumerate(self.players.names):
            action = actions[player]
            took_part = player in outputs["rewards"]
            yield [
                file.episode,
                frame.frame,
                name,
                participants[hosts[player]],
                *([self.players.read(player, action)] if self.is_decoded else []),
                action,
                bool(flags[player] & FOCUSED),
                bool(flags[player] & IDLE_FILLED),
                bool(flags[player] & BY_POLICY),
                took_part,
                segment,
                disputed,
                outputs["rewards"].get(player),
                outputs["terminations"].get(player),
                outputs["truncations"].get(player),
                to_json(outputs["infos"][player]) if took_part else None,
                *self._observation(outputs, player),
                state_hash,
            ]

    def _observation(self, outputs: dict[str, Any], player: int) -> list[Any]:
        if self._observations is None:
            return []
        observation = (outputs["observations"] or {}).get(player)
        if self._observations == "text":
            return [None if observation is None else to_json(observation)]
        if observation is None:
            return [None, None]
        return [_numbers(observation), list(np.shape(observation))]

    def _outputs(self, frame: RecordedFrame) -> dict[str, Any]:
        try:
            return self._codec.decode(frame.output)
        except (EncodingError, ValueError) as error:
            raise RecordingError(
                f"{self.file.path}: the outputs of frame {frame.frame}: {error}"
            ) from error

    def _observation_kind(self) -> str | None:
        """Numbers if every observation is an array of them, JSON if one is not."""
        kind = None
        for frame in self.file.frames():
            observations = self._outputs(frame)["observations"]
            if observations is None:
                return None
            for observation in observations.values():
                if observation is None:
                    continue
                if not isinstance(observation, np.ndarray | np.number | int | float):
                    return "text"
                if _numbers(observation) is None:
                    return "text"
                kind = "doubles"
        return kind


def players_of(file: RecordingFile, env: Simulation | EnvGame | None) -> Players:
    """Find out who the players are, from the environment or else from the recording."""
    if env is None:
        return Players.of_recording(file)
    players = Players.of_environment(env.simulation if isinstance(env, EnvGame) else env)
    if len(players.names) != len(file.hosts):
        raise RecordingError(
            f"{file.path}: expected an environment of {len(file.hosts)} agents, "
            f"got one of {len(players.names)}"
        )
    return players


def _recorded_spaces(file: RecordingFile) -> list[tuple[str, str]]:
    """Name and space of each player, as far as the facts tell them."""
    spaces = [
        (name.removeprefix(_SPACE_FACT), value)
        for name, value in file.must_match
        if name.startswith(_SPACE_FACT)
    ]
    single = [
        (SINGLE_AGENT, value) for name, value in file.must_match if name == _SINGLE_SPACE_FACT
    ]
    for found in (spaces, single):
        if len(found) == len(file.hosts):
            return found
    return [(str(player), "") for player in range(len(file.hosts))]


def _discrete(space: str) -> tuple[int, int] | None:
    match = _DISCRETE.fullmatch(space)
    return (int(match[1]), int(match[2] or 0)) if match else None


def _numbers(value: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Return all numbers in a value, in order, as one array; None if there is something else."""
    parts: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            pending.extend(reversed(part.values()))
        elif isinstance(part, tuple | list):
            pending.extend(reversed(part))
        elif isinstance(part, bool | int | float | np.generic | np.ndarray):
            array = np.asarray(part)
            if array.dtype.kind not in "biuf":
                return None
            parts.append(array.astype(np.float64).ravel())
        else:
            return None
    return np.concatenate(parts) if parts else np.empty(0)
