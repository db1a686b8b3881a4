"""What every command has in common: how it answers, how it fails, and what it exits with."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from rollback_py._rollback import GameError, IncompatibleError

if TYPE_CHECKING:
    from types import FrameType

# What commands exit with. `check`, `verify`, `doctor` answer no with WRONG, `compare` with PREFIX,
# DIFFERENT, `play` and `watch` with DESYNC or LOST, `check` of what can only be played in lockstep
# with LOCKSTEP; what could not be done is FAILED, for all.
OK, WRONG, FAILED, PREFIX, DIFFERENT, DESYNC, LOST, LOCKSTEP = range(8)
INTERRUPTED = 130

# Whose lines lead to the user's.
_ON_THE_WAY = ("rollback_py", "contextlib", "importlib")

EXIT_CODES = (
    "exit codes: 0 well; 1 check, verify, doctor: no; 2 an error; 3 compare: one is the beginning "
    "of the other; 4 compare: they differ; 5 play, watch: the states differ; 6 play, watch: a "
    "member was lost; 7 check: deterministic, but it cannot be saved, so only lockstep"
)


class UsageError(Exception):
    """The command line is none of this program; `usage` says what is."""

    def __init__(self, usage: str, message: str) -> None:
        super().__init__(message)
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """Raises `UsageError` in place of exiting, so that it can be said as JSON, too."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise UsageError(self.format_usage(), message)


def say(wants_json: bool, fields: dict[str, Any], text: str) -> None:
    """Answer with one line of JSON, or with the text."""
    print(json.dumps(fields, sort_keys=True) if wants_json else text, flush=True)


def say_error(wants_json: bool, error: BaseException, **more: Any) -> None:
    """Say what went wrong: as a JSON object with ``error``, or to people."""
    cause = error.__cause__
    if isinstance(error, GameError) and cause is not None:
        print_trace(cause)
    if wants_json:
        told = None if cause is None else repr(cause)
        fields = {"error": type(error).__name__, "message": str(error), "cause": told, **more}
        print(json.dumps(fields, sort_keys=True), flush=True)
        return
    if isinstance(error, UsageError):
        print(error.usage, end="", file=sys.stderr)
    because = "" if cause is None else f" ({type(cause).__name__}: {cause})"
    text = str(error)
    if isinstance(error, IncompatibleError):  # a line for each field that differs
        text = text.replace(": ", ":\n  ", 1).replace("; ", "\n  ")
    print(f"rollback: {text}{because}", file=sys.stderr)


def print_trace(error: BaseException) -> None:
    """Print where the user's code failed, without the way to it through this package."""
    trace = error.__traceback__
    while trace is not None and _package(trace.tb_frame) in _ON_THE_WAY:
        trace = trace.tb_next
    # Without a line of the user's, all of it tells more.
    shown = error if trace is None else error.with_traceback(trace)
    traceback.print_exception(shown)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
