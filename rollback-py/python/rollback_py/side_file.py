"""The side file of a recording: what only one computer saw of an episode, a line of JSON each.

The recording is equal on all computers; whatever is not goes here. ``docs/recording-format.md``
lists the lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_py._rollback import RecordingError

if TYPE_CHECKING:
    from typing_extensions import Self

FORMAT = 1
"""The version of the lines; the first line says it."""


def side_path(recording: str | os.PathLike[str]) -> Path:
    """Return where the side file of a recording is."""
    return Path(os.fspath(recording) + ".local.jsonl")


class SideFileWriter:
    """Writes lines as they come. An error of the disk is kept and ends the writing, not the game.

    Nothing is held in memory but the file's own buffer. There must be no such file yet.
    """

    def __init__(self, recording: str | os.PathLike[str]) -> None:
        self.failure: str | None = None
        """Why the file ends early, or is not there at all."""
        self._file: Any = None
        try:
            self._file = side_path(recording).open("x", encoding="utf-8")
        except OSError as error:
            self._fail(error)

    def write(self, event: str, line: Mapping[str, Any]) -> None:
        """Write a line under a name; its values are such as JSON has."""
        if self._file is None:
            return
        text = json.dumps({"event": event, **line}, sort_keys=True)
        try:
            self._file.write(text + "\n")
        except OSError as error:
            self._fail(error)

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        if self._file is None:
            return
        try:
            self._file.flush()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self.flush()
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as error:
            self._fail(error)
        self._file = None

    def _fail(self, error: OSError) -> None:
        self.failure = str(error)
        if self._file is not None:
            # What is still buffered cannot be written either; closing tries, and fails again.
            with suppress(OSError):
                self._file.close()
            self._file = None


@dataclass(frozen=True, repr=False)
class SideFile:
    """What one computer noted of an episode beside the recording.

    >>> side = rb.SideFile.open("episode-0.rbk")
    >>> side.infos[17]["left"]
    {'elapsed_s': 0.5714}
    """

    lines: list[dict[str, Any]]
    """All lines, each with its name under ``event``."""

    @classmethod
    def open(cls, recording: str | os.PathLike[str]) -> Self:
        """Read the side file of the recording at this path.

        A last line that was not written to its end is left out. Raises `RecordingError` when
        another line is no line of a side file, and `OSError` when the file cannot be read.
        """
        path = side_path(recording)
        *texts, rest = path.read_bytes().split(b"\n")
        lines = [_parse(path, number, text) for number, text in enumerate(texts, 1)]
        if rest:
            with suppress(RecordingError):
                lines.append(_parse(path, len(texts) + 1, rest))
        return cls(lines)

    def __repr__(self) -> str:
        recording = self.head.get("recording")
        return f"<SideFile of {recording!r}: {len(self.lines)} lines>"

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of a name, in order."""
        return [line for line in self.lines if line["event"] == event]

    @property
    def head(self) -> dict[str, Any]:
        """The first line: when the episode began, which peer this is, what is left out."""
        return next(iter(self.named("head")), {})

    @property
    def excluded_info_keys(self) -> list[str]:
        """The info keys that differ between simulations, and so are here and not recorded."""
        return list(self.head.get("excluded_info_keys", []))

    @property
    def infos(self) -> dict[int, dict[str, dict[str, Any]]]:
        """The values of the excluded info keys, by frame and agent."""
        return {line["frame"]: line["infos"] for line in self.named("info")}

    @property
    def experienced(self) -> dict[int, dict[str, Any]]:
        """The frames that were shown from wrong guesses: ``actions`` by agent, and ``guessed``.

        Every other recorded frame was shown from the actions that are recorded.
        """
        return {line["frame"]: line for line in self.named("experienced")}

    @property
    def summary(self) -> dict[str, Any] | None:
        """How the episode went on this computer; None if the file ends before the episode."""
        return next(iter(self.named("summary")), None)


def _parse(path: Path, number: int, text: bytes) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{path}, line {number}: expected JSON ({error})") from error
    if not isinstance(line, dict) or not isinstance(line.get("event"), str):
        raise RecordingError(f"{path}, line {number}: expected an object with an event")
    return line
