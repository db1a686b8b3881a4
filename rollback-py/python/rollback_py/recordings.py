"""The recording of an episode: read, compared, verified by simulating it again, exported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rollback_py._rollback import (
    RecordedFrame,
    RecordingError,
    RecordingFile,
    RollbackError,
    TableWriter,
    compare_recordings,
    encode_value,
    verify_recording,
)
from rollback_py.env_game import EnvGame
from rollback_py.environment import EnvironmentDigest, Factory, Facts
from rollback_py.episode_file import EpisodeFile
from rollback_py.plain_json import to_json
from rollback_py.recorded_facts import differences, settings_of
from rollback_py.recording_table import Resync, Table, players_of, resyncs_of
from rollback_py.simulation import Simulation
from rollback_py.verdicts import Comparison, Segment, Verified, Wrong

if TYPE_CHECKING:
    import pandas
    import polars

EnvSource = Callable[[], Any] | str | Factory | EnvGame
"""An environment: its factory, the factory's ``module:callable``, or an `EnvGame` made of it."""

# The format of the export: columns, metadata and manifest.
_TABLE_FORMAT = 1


class MissingLibraryError(RollbackError, ImportError):
    """A library that is not needed otherwise is not installed; the message says how to get it."""


@dataclass(frozen=True)
class RecordedEnd:
    """How an episode ended."""

    frame: int
    """How many frames were played."""
    cause: str
    by: int | None
    """The slot of the peer whose doing it was."""
    is_agreed: bool
    """Whether all members that were present record the same end."""
    completed_episodes: int


@dataclass(frozen=True)
class Export:
    """The files of an export."""

    path: Path
    manifest: Path
    rows: int
    digest: str
    """The 128-bit XXH3 of all rows: it depends on no library that writes or compresses them."""


class Recording(EpisodeFile[RecordingFile]):
    """The recording of one episode, of which every byte was checked.

    >>> recording = rb.Recording.open("episode-0.rbk")
    >>> print(recording.verify("kitchen:make_env"))
    VERIFIED 1800 frames
    """

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Recording:
        """Read and check a file. Raises `RecordingError` with the place of a damage.

        A recording that was cut short, as by a crash, is read up to its last whole block.
        """
        return cls(RecordingFile(os.fspath(path)))

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self._file.path)

    @property
    def seed(self) -> int:
        """The seed that the environment was reset with."""
        return self._file.seed

    @property
    def players(self) -> list[str]:
        """The agents' names in player order, as far as the recording tells them."""
        return players_of(self._file, None).names

    @property
    def hosts(self) -> list[int]:
        """The slot of the peer that hosted each player."""
        return self._file.hosts

    @property
    def participants(self) -> list[str]:
        """The pseudonym of who sat at each peer."""
        return self._file.participants

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the match."""
        return self._file.config

    @property
    def must_match(self) -> Facts:
        """Facts about the environment that were equal on all computers."""
        return self._file.must_match

    @property
    def may_differ(self) -> list[Facts]:
        """Facts about each peer's numbers and processor."""
        return self._file.may_differ

    @property
    def start_hash(self) -> str:
        """The hash of the state after `reset`."""
        return self._file.start_hash

    @property
    def frame_count(self) -> int:
        """How many frames are recorded."""
        return self._file.frame_count

    @property
    def end(self) -> RecordedEnd | None:
        """How the episode ended; None for a recording that was not finished."""
        end = self._file.end
        return None if end is None else RecordedEnd(**end)

    @property
    def digest(self) -> str:
        """A digest of the whole recording: equal digests, equal recordings."""
        return self._file.digest

    @property
    def has_observations(self) -> bool:
        """Whether observations are recorded."""
        first = next(self.frames(), None)
        return first is not None and first.output[1:2] == b"\x01"

    def frames(self) -> Iterator[RecordedFrame]:
        """Go through the frames, with actions and outputs as the bytes they are recorded as."""
        return iter(self._file.frames())

    @cached_property
    def resyncs(self) -> list[Resync]:
        """Each time that all took over the state of one after a desync."""
        return resyncs_of(self._file)

    def compare(self, other: Recording | str | os.PathLike[str]) -> Comparison:
        """Say how far another recording of the episode is equal to this one."""
        return Comparison(*compare_recordings(self._file, _recording(other)._file))

    def verify(self, env: EnvSource) -> Verified | Wrong:
        """Simulate the episode again from its seed, and compare everything that was recorded.

        Give an `EnvGame` where the match was played with other than the default options.
        """
        game = env if isinstance(env, EnvGame) else self._make_game(factory_of(env))
        try:
            return self._verify(game, None if isinstance(env, EnvGame) else factory_of(env))
        finally:
            if game is not env:
                game.close()

    def export(
        self,
        path: str | os.PathLike[str],
        env: EnvSource | None = None,
        *,
        decode_actions: bool = True,
    ) -> Export:
        """Write a Parquet file with a row for each frame and agent, and a manifest beside it.

        Equal recordings give equal files. The environment is needed only for actions that are not
        of Discrete spaces; their `action` is a list of numbers.
        """
        if Path(path).resolve() == self.path.resolve():
            raise ValueError(f"{path} is the recording itself: name another file")
        simulation = None if env is None else _simulation(env)
        try:
            table = Table(self._file, players_of(self._file, simulation), decode_actions)
            if decode_actions and table.players.kind is None:
                raise RecordingError(
                    f"{self.path}: the actions are not all of Discrete spaces: give the "
                    "environment to decode them, or decode_actions=False to have their bytes only"
                )
            return self._write(table, Path(path))
        finally:
            if simulation is not None and not isinstance(env, EnvGame):
                simulation.close()

    def to_pandas(self, env: EnvSource | None = None) -> pandas.DataFrame:
        """Return the rows of `export` as a pandas DataFrame."""
        _need("pandas", "pyarrow")
        import pandas

        with tempfile.TemporaryDirectory() as folder:
            return pandas.read_parquet(self.export(Path(folder, "rows.parquet"), env).path)

    def to_polars(self, env: EnvSource | None = None) -> polars.DataFrame:
        """Return the rows of `export` as a polars DataFrame."""
        _need("polars")
        import polars

        with tempfile.TemporaryDirectory() as folder:
            path = self.export(Path(folder, "rows.parquet"), env).path
            return polars.read_parquet(path, memory_map=False)

    def __repr__(self) -> str:
        return f"<Recording {self.path.name!r}: {self.frame_count} frames>"

    def _make_game(self, factory: Factory) -> EnvGame:
        return EnvGame(factory, observations=self.has_observations)

    def _verify(self, game: EnvGame, factory: Factory | None) -> Verified | Wrong:
        warnings = (*self._state_warnings(), *self._fact_warnings(game, factory))
        for what, expected, got in (
            ("agents", len(self.hosts), len(game.agents)),
            ("bytes an action", self.config["input_width"], game.width),
        ):
            if expected != got:
                text = f"expected an environment of {expected} {what}, got one of {got}"
                return Wrong(0, text, warnings=warnings)
        game.reset(self.seed)
        found = verify_recording(self._file, game)
        if isinstance(found[1], int):
            frames, hashes, outputs, segments = found
            checked = tuple(
                Segment(first, source, disputed and Wrong(disputed[0], disputed[2]))
                for first, source, disputed in segments
            )
            return Verified(frames, hashes, outputs, checked, warnings)
        frame, kind, what = found
        path = None
        if kind == "output":
            path, what = self._first_output_difference(game, frame) or (None, what)
        if game.refusal is not None:
            what = f"{what}; {game.refusal}"
        return Wrong(frame, what, path, warnings)

    def _first_output_difference(self, game: EnvGame, frame: int) -> tuple[str, str] | None:
        """Name what `step` returned otherwise. The game stands where the wrong step left it."""
        recorded = next(row for row in self.frames() if row.frame == frame)
        try:
            theirs = game.decode_output(recorded.output)
        except (RollbackError, ValueError):
            return None
        return first_difference(theirs, game.decode_output(game.output()))

    def _state_warnings(self) -> Iterator[str]:
        if self._file.dropped_bytes:
            yield f"the last {self._file.dropped_bytes} bytes are no whole block and are not read"
        if self.end is None:
            yield "the recording has no end: it was not finished"
        elif not self.end.is_agreed:
            yield f"the end was not agreed: {self.end.cause}"

    def _fact_warnings(self, game: EnvGame, factory: Factory | None) -> Iterator[str]:
        local = EnvironmentDigest.of(
            factory or Factory(_unknown, ""), game.env, settings_of(game, self.has_observations)
        )
        mine = local.must_match
        if factory is None:
            mine = [fact for fact in mine if fact[0] not in ("factory", "arguments")]
        for name, value, here in differences(self.must_match, mine):
            yield f"{name}: recorded with {value}, {f'here {here}' if here else 'not used here'}"
        for participant, facts in zip(self.participants, self.may_differ, strict=True):
            for name, value, here in differences(facts, local.may_differ):
                yield f"{name}: {value} with {participant or 'a peer'}, here {here or 'nothing'}"

    def _write(self, table: Table, path: Path) -> Export:
        columns = table.columns()
        writer = TableWriter(os.fspath(path), columns)
        for group in table.groups():
            writer.write(group)
        rows, digest = writer.rows, writer.digest
        manifest = self._manifest(columns, rows, digest, table.players.names)
        writer.finish([("rollback", manifest)])
        manifest_path = path.with_suffix(".manifest.json")
        manifest_path.write_bytes(manifest.encode() + b"\n")
        return Export(path, manifest_path, rows, digest)

    def _manifest(
        self, columns: list[tuple[str, str, bool]], rows: int, digest: str, agents: list[str]
    ) -> str:
        file = self._file
        return to_json(
            {
                "format": _TABLE_FORMAT,
                "recording_format": file.format_version,
                "recording_xxh3_64": file.digest,
                "rows": rows,
                "rows_xxh3_128": digest,
                "columns": [[name, kind] for name, kind, _ in columns],
                "session": file.session,
                "episode": file.episode,
                "seed": file.seed,
                "agents": agents,
                "hosts": file.hosts,
                "participants": file.participants,
                "config": file.config,
                "must_match": file.must_match,
                "may_differ": file.may_differ,
                "start_hash": file.start_hash,
                "frames": file.frame_count,
                "end": file.end,
            }
        )


def verify(recording: Recording | str | os.PathLike[str], env: EnvSource) -> Verified | Wrong:
    """Simulate a recorded episode again, and compare everything that was recorded of it."""
    return _recording(recording).verify(env)


def compare(
    one: Recording | str | os.PathLike[str], other: Recording | str | os.PathLike[str]
) -> Comparison:
    """Say how far two recordings are equal."""
    return _recording(one).compare(other)


def export(
    recording: Recording | str | os.PathLike[str],
    path: str | os.PathLike[str],
    env: EnvSource | None = None,
    *,
    decode_actions: bool = True,
) -> Export:
    """Write a recording as a Parquet file; see `Recording.export`."""
    return _recording(recording).export(path, env, decode_actions=decode_actions)


def factory_of(env: Callable[[], Any] | str | Factory) -> Factory:
    """Return the factory itself, from a function or the name that this computer's user gave."""
    if isinstance(env, Factory):
        return env
    return Factory.from_spec(env) if isinstance(env, str) else Factory.from_callable(env)


def first_difference(recorded: Any, got: Any) -> tuple[str, str] | None:
    """Name the first value that differs, as a path, and both values. Both are plain."""
    if encode_value(recorded) == encode_value(got):
        return None
    path = ""
    while True:
        inner = _first_different_part(recorded, got)
        if inner is None:
            return path, f"recorded {_brief(recorded)}, got {_brief(got)}"
        key, recorded, got = inner
        path += key if path else key.strip("[]'")


def _first_different_part(recorded: Any, got: Any) -> tuple[str, Any, Any] | None:
    if type(recorded) is not type(got):
        return None
    if isinstance(recorded, np.ndarray):
        if recorded.shape != got.shape or recorded.dtype != got.dtype or not recorded.shape:
            return None
    elif isinstance(recorded, dict):
        if recorded.keys() != got.keys():
            return None
        for key, value in recorded.items():
            if encode_value(value) != encode_value(got[key]):
                return f"[{key!r}]", value, got[key]
        return None
    elif not isinstance(recorded, list | tuple) or len(recorded) != len(got):
        return None
    for index, (value, other) in enumerate(zip(recorded, got, strict=True)):
        if encode_value(value) != encode_value(other):
            return f"[{index}]", value, other
    return None


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _unknown() -> None:
    """Stand for the factory of an `EnvGame`, which is not known."""


def _recording(recording: Recording | str | os.PathLike[str]) -> Recording:
    return recording if isinstance(recording, Recording) else Recording.open(recording)


def _simulation(env: EnvSource) -> Simulation:
    return env.simulation if isinstance(env, EnvGame) else Simulation(factory_of(env))


def _need(*names: str) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MissingLibraryError(
            f"this needs {' and '.join(missing)}: pip install {' '.join(names)}"
        )
