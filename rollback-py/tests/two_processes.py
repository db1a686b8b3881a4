"""Two processes that play an environment of `playable` with each other, over real data channels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollback_py import _rollback as native

TESTS = Path(__file__).parent

# Far more than any of the tests plays; a process that hangs is ended and shown.
TIMEOUT_S = 240.0


@dataclass
class Played:
    """What a process printed and left."""

    exit_code: int
    lines: list[dict[str, Any]]
    stderr: str
    data: Path

    @property
    def recordings(self) -> list[Path]:
        """Return its recordings, in the order of the episodes."""
        return sorted(self.data.glob("*.rbk"))

    @property
    def error(self) -> dict[str, Any]:
        """Return the line that says what went wrong."""
        return next(line for line in self.lines if "error" in line)

    @property
    def episodes(self) -> list[dict[str, Any]]:
        """Return the summaries."""
        return [line for line in self.lines if line.get("event") == "episode"]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what happened under this name, from the side files."""
        found = []
        for path in sorted(self.data.glob("*.local.jsonl")):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found += [line for line in lines if line["event"] == name]
        return found


def play(
    folder: Path,
    env: str,
    policy: str,
    *arguments: str,
    environment: tuple[dict[str, str], dict[str, str]] = ({}, {}),
    own: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
) -> tuple[Played, Played]:
    """Play with the same command line in both processes, but for what each has of its `own`."""
    server = native.Server("127.0.0.1:0", players=2)
    processes: list[tuple[subprocess.Popen[str], Path]] = []
    try:
        for slot in range(2):
            command = ["--env", env, "--policy", policy, "--seed", str(slot)]
            command += [*arguments, *own[slot]]
            data = folder / f"peer{slot}"
            process = start(server.address, data, *command, environment=environment[slot])
            processes.append((process, data))
            if slot == 0:
                await_line(process, "waiting")
        played = [finish(process, data) for process, data in processes]
    finally:
        for process, _ in processes:
            process.kill()
            process.wait()
        server.stop()
    return played[0], played[1]


def start(
    address: str,
    data: Path,
    *arguments: str,
    command: str = "play",
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a process that plays in a room of the server, with its recordings in `data`."""
    words = [sys.executable, "-m", "rollback_py.cli", command, f"ws://{address}/room"]
    return subprocess.Popen(
        [*words, "--json", "--data", str(data), *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS), **(environment or {})},
        cwd=data.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_line(
    process: subprocess.Popen[str], event: str, is_it: Callable[[Any], bool] = lambda line: True
) -> dict[str, Any]:
    """Wait for a line that a process prints; the first one in the room has slot 0."""
    assert process.stdout is not None
    for text in process.stdout:
        line: dict[str, Any] = json.loads(text)
        if line.get("event") == event and is_it(line):
            return line
    error = process.stderr.read() if process.stderr is not None else ""
    raise AssertionError(f"a process ended before {event}: {error}")


def finish(process: subprocess.Popen[str], data: Path) -> Played:
    """Wait for the end of a process."""
    out, err = process.communicate(timeout=TIMEOUT_S)
    lines = [json.loads(line) for line in out.splitlines()]
    return Played(process.returncode, lines, err, data)
