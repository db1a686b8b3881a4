"""Where an environment asks for what no seed decides: clocks, randomness of the system, addresses.

Only what is asked for while it is watched is seen; the order of a set asks for nothing.
"""

from __future__ import annotations

import builtins
import datetime
import os
import random
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_OF_THE_SYSTEM = "randomness without a seed"

# What functions written in C are called with, as people write it.
_FUNCTIONS = {
    time.time: "time.time()",
    time.time_ns: "time.time_ns()",
    time.monotonic: "time.monotonic()",
    time.monotonic_ns: "time.monotonic_ns()",
    time.perf_counter: "time.perf_counter()",
    time.perf_counter_ns: "time.perf_counter_ns()",
    time.process_time: "time.process_time()",
    datetime.datetime.now: "datetime.now()",
    datetime.datetime.utcnow: "datetime.utcnow()",
    datetime.date.today: "date.today()",
    # Generators of numpy, too, and uuid.uuid4, take their seed from here.
    os.urandom: _OF_THE_SYSTEM,
}

# Others use these without harm; an environment's own code hardly does.
_ONLY_DIRECTLY = {builtins.id: "id()", builtins.hash: "hash()"}

# Whose code asks on behalf of whoever calls it.
_LIBRARIES = sys.stdlib_module_names | {"gymnasium", "numpy"}

_PLACES_MAX = 8


@contextmanager
def noted(places: list[str]) -> Iterator[None]:
    """Note each place that asks, in the block and in this thread, as ``what at file:line``."""

    def note(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            what = _FUNCTIONS.get(called)
            if what is None and _package(frame) not in _LIBRARIES:
                what = _ONLY_DIRECTLY.get(called)
        elif event == "call" and frame.f_code is random.Random.seed.__code__:
            what = _OF_THE_SYSTEM if frame.f_locals["a"] is None else None
        else:
            return
        if what is None or (place := _place(frame)) is None or len(places) == _PLACES_MAX:
            return
        if (line := f"{what} at {place}") not in places:
            places.append(line)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def _place(frame: FrameType | None) -> str | None:
    """Name the line of the environment for which it was called; None if it was called for us."""
    while frame is not None and _package(frame) in _LIBRARIES:
        frame = frame.f_back
    if frame is None or _package(frame) == "rollback_py":
        return None
    code = frame.f_code
    file = Path(code.co_filename)
    if file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    return f"{file}:{frame.f_lineno} in {code.co_name}"


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
