"""The token of a slot, kept beside the recordings so that a process that died can be followed.

A live process holds a lock on its file, which the system lets go however the process ends. So
whoever starts next in the same folder for the same link knows the tokens of those that died from
the others'. A token lets in whoever has it: its file is for this user alone, and nothing else
names it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import fcntl
except ImportError:  # not on Windows: there a token is given by whoever starts the process
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = ".slots"


class SlotToken:
    """A token in a file that this process holds."""

    def __init__(self, token: str, path: Path | None, file: Any) -> None:
        self.token = token
        self._path = path
        self._file = file

    @classmethod
    def keep(cls, data: Path, link: str, token: str) -> SlotToken:
        """Write a token down for the process that may come after this one.

        Where the disk or the system does not allow that, it is known to this process alone.
        """
        if fcntl is None:
            return cls(token, None, None)
        try:
            folder = data / _FOLDER
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / f"{_name_of(link)}-{secrets.token_hex(4)}.json"
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            json.dump({"link": link, "token": token}, file)
            file.flush()
        except OSError:
            return cls(token, None, None)
        return cls(token, path, file)

    @classmethod
    def left_behind(cls, data: Path, link: str) -> SlotToken | None:
        """Take over the token of a process that joined this link from here and did not leave."""
        for path in _paths(data, link):
            with suppress(OSError, ValueError, KeyError, TypeError):
                file = path.open("r+")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    known = json.load(file)
                    is_there = os.fstat(file.fileno()).st_nlink > 0
                    if is_there and known["link"] == link and isinstance(known["token"], str):
                        return cls(known["token"], path, file)
                except BaseException:
                    file.close()
                    raise
                file.close()
        return None

    def forget(self) -> None:
        """Give the slot up: nobody is to follow."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
        self.release()

    def release(self) -> None:
        """Let another process follow when this one ends."""
        if self._file is not None:
            self._file.close()
        self._path = self._file = None


def _paths(data: Path, link: str) -> Iterator[Path]:
    if fcntl is None:
        return iter(())
    return iter(sorted((data / _FOLDER).glob(f"{_name_of(link)}-*.json")))


def _name_of(link: str) -> str:
    return hashlib.sha256(link.encode()).hexdigest()[:16]
