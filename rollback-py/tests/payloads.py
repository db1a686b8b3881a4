"""Pickles and names of code that do something when they are loaded, imported or run.

Programs that read them are watched: an audit hook and patched functions tell of every attempt.
"""

from __future__ import annotations

import base64
import builtins
import json
import marshal
import os
import pickle
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent

# Far longer than any of the processes takes.
TIMEOUT_S = 180.0

# What a payload makes when it is loaded or run, in the folder of the test.
MARKER = "marker"

# A module that makes the marker when it is imported.
EVIL_FACTORY = "evil_factory:make"


class _Runs:
    """Runs a command when its pickle is loaded."""

    def __reduce__(self):
        return os.system, (f"touch {MARKER}",)


class _Opens:
    """Makes a file when its pickle is loaded."""

    def __reduce__(self):
        return open, (MARKER, "w")


class _Executes:
    """Runs Python when its pickle is loaded."""

    def __reduce__(self):
        return exec, (f"open({MARKER!r}, 'w')",)


PAYLOADS = [
    *(
        pickle.dumps(kind(), protocol)
        for kind in (_Runs, _Opens, _Executes)
        for protocol in (0, 2, 5)
    ),
    marshal.dumps(compile(f"open({MARKER!r}, 'w')", "payload", "exec")),
    f"__import__('os').system('touch {MARKER}')".encode(),
    b"!!python/object/apply:os.system ['touch marker']",
]

# The same as text, each byte a character; and one that fits a name, 64 bytes without control codes.
TEXTS = [payload.decode("latin1") for payload in PAYLOADS]
NAME = base64.b64encode(pickle.dumps(_Opens(), 2)).decode()


# -- in the programs ------------------------------------------------------------------------------


class Watch:
    """Notes every attempt to load a pickle or code, from `start` on."""

    EVENTS = (
        "code.__new__",
        "compile",
        "exec",
        "import",
        "marshal.load",
        "marshal.loads",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.system",
        "pickle.find_class",
        "subprocess.Popen",
    )

    def __init__(self):
        self.found = []
        self.is_watching = False
        sys.addaudithook(self._hear)
        for module, name in (
            (pickle, "load"),
            (pickle, "loads"),
            (pickle, "Unpickler"),
            (marshal, "load"),
            (marshal, "loads"),
            (builtins, "eval"),
            (builtins, "exec"),
        ):
            setattr(module, name, self._noting(getattr(module, name), f"{module.__name__}.{name}"))

    def start(self):
        self.is_watching = True

    def _hear(self, event, arguments):
        if self.is_watching and event in self.EVENTS:
            self.found.append(f"{event} {arguments!r:.200}")

    def _noting(self, function, name):
        def noting(*arguments, **named):
            if self.is_watching:
                self.found.append(name)
            return function(*arguments, **named)

        return noting


def say(**line):
    """Tell the test something."""
    print(json.dumps(line), flush=True)


# -- in the tests ---------------------------------------------------------------------------------


def start(program, folder, *arguments):
    """Start a file of tests as a program in `folder`, where it watches itself."""
    evil = folder / "evil_factory.py"
    evil.write_text(f"open({MARKER!r}, 'w')\ndef make(): raise SystemExit\n")
    return subprocess.Popen(
        [sys.executable, program, *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )


def last_line(process):
    """Wait for a program and return what it said last."""
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])
