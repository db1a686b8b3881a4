"""The dump of a desync: what one side had, and how two sides differ."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_py._rollback import DumpFile, EncodingError, RecordingError
from rollback_py.described_states import differences
from rollback_py.episode_file import EpisodeFile
from rollback_py.state_transfer import described_state

if TYPE_CHECKING:
    from typing_extensions import Self

# How a dump begins, without its version.
_MAGIC = b"RBD"

# The longest file that is read: two states of 16 MiB and the inputs of some hundred frames.
_BYTES_MAX = 64 << 20

# How many values are named that differ.
_VALUES_MAX = 10


def dump_path(recording: str | os.PathLike[str], number: int) -> Path:
    """Return where a recording's dump of its first, second and so on desync is."""
    return Path(f"{os.fspath(recording)}.desync-{number}.rbd")


def keep_dump(dump: bytes, recording: Path, kept: list[Path]) -> dict[str, str]:
    """Write one side of a desync beside the recording; say where it is, or what failed."""
    path = dump_path(recording, len(kept) + 1)
    try:
        with path.open("xb") as file:
            file.write(dump)
    except OSError as error:
        return {"dump_error": str(error)}
    kept.append(path)
    return {"dump": path.name}


def is_dump(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is a dump of a desync, of whatever version."""
    with Path(path).open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


@dataclass(frozen=True)
class StateDifference:
    """How a state differs that both sides hold."""

    frame: int
    """The frame that the state is the one before."""
    is_replayed: bool
    """Whether both stepped to it again after the desync was noticed."""
    bytes: tuple[int, int] | None
    """From the first byte that differs to behind the last one; None if they are equal."""
    values: list[tuple[str, str, str]]
    """The path of each value that differs, and the value of either side; the first ten."""

    def __str__(self) -> str:
        how = "stepped to again" if self.is_replayed else "as it was reported"
        head = f"the state of frame {self.frame}, {how}:"
        if self.bytes is None:
            return f"{head} equal"
        if not self.values:
            return f"{head} bytes {self.bytes[0]} to {self.bytes[1]} differ"
        return head + "".join(f"\n  {path}: {one} | {other}" for path, one, other in self.values)


@dataclass(frozen=True)
class DumpComparison:
    """How two sides of a desync differ. It is true if nothing that both hold does."""

    inputs: int | None
    """The first frame of which they hold other inputs."""
    states: list[StateDifference]

    def __bool__(self) -> bool:
        return self.inputs is None and all(state.bytes is None for state in self.states)

    def __str__(self) -> str:
        inputs = (
            "the inputs are equal"
            if self.inputs is None
            else f"the inputs differ from frame {self.inputs} on"
        )
        return "\n".join([inputs, *map(str, self.states)])

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


class DesyncDump(EpisodeFile[DumpFile]):
    """One side of a desync: its states as bytes, and the actions of the last frames.

    >>> one, other = (rb.DesyncDump.open(path) for path in paths)
    >>> print(one.compare(other))
    """

    def __init__(self, path: Path, file: DumpFile) -> None:
        super().__init__(file)
        self.path = path
        """The file."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file. Raises `RecordingError` when it is no dump."""
        path = Path(path)
        if (got := path.stat().st_size) > _BYTES_MAX:
            raise RecordingError(f"{path}: expected at most {_BYTES_MAX} bytes, got {got}")
        try:
            return cls(path, DumpFile(path.read_bytes()))
        except RecordingError as error:
            raise RecordingError(f"{path}: {error}") from error

    @property
    def peer(self) -> int:
        """The slot of the computer whose side it is."""
        return self._file.peer

    @property
    def agreed(self) -> int:
        """All agree on the states up to this frame."""
        return self._file.agreed

    @property
    def states(self) -> list[tuple[int, bool, bytes]]:
        """Each state: its frame, whether it was stepped to again, and its bytes.

        There is none where the environment cannot be saved.
        """
        return self._file.states

    @property
    def rows(self) -> list[tuple[int, list[bytes], list[int]]]:
        """The last frames: the frame, each player's action as bytes, and its flags."""
        return self._file.rows

    def compare(self, other: DesyncDump) -> DumpComparison:
        """Say how another side differs; raises `RecordingError` if it is of another episode."""
        inputs, found = self._file.compare(other._file)
        states = [
            StateDifference(frame, again, span, self._values(other, frame, again) if span else [])
            for frame, again, span in found
        ]
        return DumpComparison(inputs, states)

    def _values(self, other: DesyncDump, frame: int, again: bool) -> list[tuple[str, str, str]]:
        of_frame = [
            next(state for at, is_again, state in side.states if (at, is_again) == (frame, again))
            for side in (self, other)
        ]
        try:
            (name, mine), (other_name, its) = map(described_state, of_frame)
        except EncodingError:
            return []
        if name is None or name != other_name:
            return []
        return differences(mine, its, is_plain=name != "structural", count=_VALUES_MAX)
