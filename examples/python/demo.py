"""Two processes play a real environment over a bad network, and their recordings are equal.

    python demo.py [--env kitchen|spread]

A server in this process brings them together; then they play over WebRTC data channels. The exit
code is 0 if everything that is claimed at the end holds, 1 if not, 2 if it could not be played.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent

# The network, for what each computer receives: 40 to 60 ms late, and one in twenty lost.
DELAY_MS, JITTER_MS, LOSS_PERCENT = 40, 20, 5
PEERS = 2
ROOM = "demo"

# What has to be seen, so that the equality of the recordings says something.
DEEP = 3
DEEP_ROLLBACKS_MIN = 50
CHANGES_PER_SECOND_MIN = 3

# Making the environment, testing it and meeting takes seconds; a busy machine may need more. While
# they play, the peers say something for every second of the episode.
SILENCE_MAX_S = 90.0
EXIT_TIMEOUT_S = 15.0
LINES_MAX = 1000
# Progress is said so often where lines cannot be written over.
PLAIN_PROGRESS_S = 5.0


class Play(NamedTuple):
    """What is played: a module beside this file, a policy of it, and the libraries it needs."""

    env: str
    policy: str
    needs: tuple[str, ...]


PLAYS = {
    "kitchen": Play("kitchen:make_env", "kitchen:Cook", ("cogrid",)),
    "spread": Play("spread:make_env", "spread:Rover", ("mpe2",)),
}


class DemoError(Exception):
    """The demo could not be played to its end."""


@dataclass
class Peer:
    """One of the processes that play."""

    process: subprocess.Popen[str]
    errors: Path
    slot: int | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    summaries: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    has_ended: bool = False


def main() -> int:
    """Play, say how it went, and check what is claimed."""
    parsed = _parse()
    play = PLAYS[parsed.env]
    try:
        _require("rollback_py", "matplotlib", *play.needs)
        data = _fresh_folder(parsed.data, parsed.env)
        peers = _play(play, parsed, data)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return _report(play, parsed, data, peers)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="two processes play, and their recordings are equal"
    )
    parser.add_argument("--env", choices=sorted(PLAYS), default="kitchen")
    parser.add_argument("--episodes", type=int, default=2)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--data", type=Path, default=Path("demo-data"), help="gets a new folder")
    parser.add_argument("--seed", type=int, default=0, help="of the bad network")
    parsed = parser.parse_args()
    if parsed.episodes < 1 or parsed.fps < 1:
        parser.error("--episodes and --fps: expected at least 1")
    return parsed


def _require(*modules: str) -> None:
    """Say how to get what is missing."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        hints = ["make wheel" if m == "rollback_py" else f"pip install {m}" for m in missing]
        raise DemoError(f"not installed: {', '.join(missing)}; get it by {', '.join(hints)}")


def _fresh_folder(parent: Path, name: str) -> Path:
    for number in itertools.count(1):
        folder = parent / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError


# -- playing ---------------------------------------------------------------------------------------


def _play(play: Play, parsed: argparse.Namespace, data: Path) -> list[Peer]:
    """Start a server and the peers; return these in the order of their slots when all is over."""
    import rollback_py as rb

    server = rb.Server("127.0.0.1:0", rooms=[(ROOM, PEERS)])
    peers: list[Peer] = []
    try:
        link = f"ws://{server.address}/{ROOM}"
        print(
            f"{play.env} over WebRTC on this computer: {DELAY_MS} ms each way, up to "
            f"{JITTER_MS} ms of jitter, {LOSS_PERCENT} % lost; "
            f"{parsed.episodes} episodes at {parsed.fps} fps",
            flush=True,
        )
        lines: queue.Queue[tuple[Peer, str | None]] = queue.Queue(LINES_MAX)
        for number in range(PEERS):
            peers.append(_start(number, link, play, parsed, data))
            reader = threading.Thread(target=_read, args=(peers[-1], lines), daemon=True)
            reader.start()
        _follow(peers, lines)
        for peer in peers:
            _await_exit(peer)
        return sorted(peers, key=lambda peer: peer.slot or 0)
    finally:
        for peer in peers:
            if peer.process.poll() is None:
                peer.process.kill()
                peer.process.wait()
        server.stop()


def _start(number: int, link: str, play: Play, parsed: argparse.Namespace, data: Path) -> Peer:
    command = [
        *(sys.executable, "-m", "rollback_py.cli", "play", link, "--json"),
        *("--env", play.env, "--policy", play.policy, "--data", str(data.resolve())),
        *("--episodes", str(parsed.episodes), "--fps", str(parsed.fps)),
        *("--delay-ms", str(DELAY_MS), "--jitter-ms", str(JITTER_MS)),
        *(
            "--loss-percent",
            str(LOSS_PERCENT),
            "--seed",
            str(parsed.seed * PEERS + number),
        ),
    ]
    errors = data / f"process-{number}.stderr"
    with errors.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=HERE,  # the environment and the policy are imported from here
            env={**os.environ, "PYTHONPATH": _python_path()},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    return Peer(process, errors)


def _python_path() -> str:
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(HERE), inherited] if inherited else [str(HERE)])


def _read(peer: Peer, lines: queue.Queue[tuple[Peer, str | None]]) -> None:
    assert peer.process.stdout is not None
    for line in peer.process.stdout:
        lines.put((peer, line))
    lines.put((peer, None))


def _follow(peers: list[Peer], lines: queue.Queue[tuple[Peer, str | None]]) -> None:
    """Take what the peers say until both have ended."""
    shown = _Progress(peers)
    while not all(peer.has_ended for peer in peers):
        try:
            peer, line = lines.get(timeout=SILENCE_MAX_S)
        except queue.Empty:
            raise DemoError(f"the peers said nothing for {SILENCE_MAX_S:.0f} s") from None
        if line is None:
            peer.has_ended = True
            continue
        said = json.loads(line)
        _note(peer, said)
        if said.get("event") == "progress":
            shown.update(peer)
    shown.finish()


def _note(peer: Peer, said: dict[str, Any]) -> None:
    event = said.get("event")
    if "error" in said:
        because = f" ({said['cause']})" if said.get("cause") else ""
        peer.error = f"{said['error']}: {said['message']}{because}"
    elif event == "joined":
        peer.slot = said["slot"]
    elif event == "progress":
        peer.progress = said
    elif event == "episode":
        peer.summaries.append(said)


def _await_exit(peer: Peer) -> None:
    try:
        code = peer.process.wait(EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise DemoError(f"peer {peer.slot} does not exit") from None
    if code:
        told = peer.error or peer.errors.read_text()[-2000:].strip() or "it said nothing"
        raise DemoError(f"peer {peer.slot} exited with {code}: {told}")


class _Progress:
    """A line for each peer, written over on a terminal, and now and then elsewhere."""

    def __init__(self, peers: list[Peer]) -> None:
        self._peers = peers
        self._is_terminal = sys.stdout.isatty()
        self._lines = 0
        self._due: dict[int, float] = {}

    def update(self, peer: Peer) -> None:
        if self._is_terminal:
            playing = sorted((p for p in self._peers if p.progress), key=lambda p: p.slot or 0)
            up = f"\x1b[{self._lines}A" if self._lines else ""
            print(
                up + "\n".join(f"\r\x1b[K{_progress_line(p)}" for p in playing),
                flush=True,
            )
            self._lines = len(playing)
        elif time.monotonic() >= self._due.get(id(peer), 0.0):
            self._due[id(peer)] = time.monotonic() + PLAIN_PROGRESS_S
            print(_progress_line(peer), flush=True)

    def finish(self) -> None:
        print(flush=True)


def _progress_line(peer: Peer) -> str:
    said = peer.progress
    return (
        f"  peer {peer.slot}  episode {said['episode']}  frame {said['predicted']:5}  "
        f"stable {said['stable']:5}  agreed {said['agreed']:5}  rollbacks {said['rollbacks']:4}"
    )


# -- telling and checking --------------------------------------------------------------------------


class Check(NamedTuple):
    """Something that is claimed, and whether it holds."""

    holds: bool
    text: str


def _report(play: Play, parsed: argparse.Namespace, data: Path, peers: list[Peer]) -> int:
    from rollback_py.report import Course, plot

    for peer in peers:
        _print_summaries(peer)
    played = min(len(peer.summaries) for peer in peers)
    episodes = [[_shown(peer.summaries[e]["recording"]) for peer in peers] for e in range(played)]
    courses = [Course.of(recordings[0], play.env) for recordings in episodes]
    module = importlib.import_module(play.env.partition(":")[0])
    picture = plot(
        episodes,
        data / "episodes.png",
        env=play.env,
        title=f"{play.env}: {DELAY_MS} ms each way, {JITTER_MS} ms jitter, {LOSS_PERCENT} % loss",
        action_names=module.ACTION_NAMES,
    )
    print(f"picture    {picture}\n")

    checks = [Check(played == parsed.episodes, f"{played} of {parsed.episodes} episodes played")]
    checks += [_check_rollbacks(peer) for peer in peers]
    checks += _check_changes(courses)
    if hasattr(module, "DELIVERY_REWARD"):
        checks += [_check_soup(e, course, module) for e, course in enumerate(courses)]
    for check in checks:
        print("ok   " if check.holds else "WRONG", check.text)
    print()

    results = [_compare(*pair) for files in episodes for pair in itertools.combinations(files, 2)]
    results += [_verify(file, play.env) for files in episodes for file in files]
    return 0 if all(check.holds for check in checks) and all(results) else 1


def _shown(recording: str) -> Path:
    """Return a path as short as it can be said."""
    path = Path(recording)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _print_summaries(peer: Peer) -> None:
    from rollback_py.summary import PeerSummary, Summary

    print(f"peer {peer.slot}")
    for summary in peer.summaries:
        fields = {name: value for name, value in summary.items() if name != "event"}
        fields["recording"] = str(_shown(fields["recording"]))
        fields["peers"] = [PeerSummary(**other) for other in fields["peers"]]
        print(Summary(**fields))
    print()


def _check_rollbacks(peer: Peer) -> Check:
    deep = sum(sum(summary["rollback_depths"][DEEP - 1 :]) for summary in peer.summaries)
    return Check(
        deep >= DEEP_ROLLBACKS_MIN,
        f"peer {peer.slot}: {deep} rollbacks of {DEEP} frames and more "
        f"(at least {DEEP_ROLLBACKS_MIN})",
    )


def _check_changes(courses: list[Any]) -> list[Check]:
    checks = []
    for player, name in enumerate(courses[0].agents):
        agent = name if name.startswith("agent") else f"agent {name}"
        counts = [int(n) for course in courses for n in course.changes_per_second()[player]]
        least, mean = min(counts, default=0), sum(counts) / max(len(counts), 1)
        checks.append(
            Check(
                least >= CHANGES_PER_SECOND_MIN,
                f"{agent}: changed its action {mean:.1f} times a second, {least} in the "
                f"laziest second (at least {CHANGES_PER_SECOND_MIN})",
            )
        )
    return checks


def _check_soup(episode: int, course: Any, module: Any) -> Check:
    soups = int((course.rewards[0] >= module.DELIVERY_REWARD).sum())
    return Check(soups >= 1, f"episode {episode}: {soups} soups served (at least 1)")


def _compare(one: Path, other: Path) -> bool:
    import rollback_py as rb

    found = rb.compare(one, other)
    print(
        f"EQUAL {one} {other}" if found else f"NOT EQUAL {one} {other}: {found}",
        flush=True,
    )
    return bool(found)


def _verify(file: Path, env: str) -> bool:
    import rollback_py as rb

    found = rb.verify(file, env)
    print(f"VERIFIED {file}" if found else f"NOT VERIFIED {file}: {found}", flush=True)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
