"""What each file of an episode tells: of which match it is, and of which episode."""

from __future__ import annotations

from typing import Generic, TypeVar

from rollback_py._rollback import DumpFile, RecordingFile

File = TypeVar("File", RecordingFile, DumpFile)


class EpisodeFile(Generic[File]):
    """A file of one episode."""

    def __init__(self, file: File) -> None:
        self._file: File = file

    @property
    def session(self) -> int:
        """The room's number for the match."""
        return self._file.session

    @property
    def episode(self) -> int:
        """Which episode of the match, from 0."""
        return self._file.episode
