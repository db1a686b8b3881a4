"""The overhead of a real session: two members of a room in one process, over a real data channel.

The measured member plays like `overhead.Loop`: it hosts the first agent and the other member the
rest, whose actions of frame f arrive before tick f + D and are never what was predicted. For that
the other member is driven D frames behind, and each tick waits until its datagram has arrived. What
is timed is the tick of the measured member alone: its input, the rollback, the frame, the datagram
and the recording.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rollback_py as rb
from rollback_py._rollback import Episode, Room, Server
from rollback_py.env_game import EnvGame
from rollback_py.environment import Factory
from rollback_py.match import Match

# Frames are stepped as fast as they can be: the rate says only how long `wait` may wait for one.
FPS = 1
ARRIVAL_S = 10.0
# Short, so that the processor does not fall asleep: the Python loops beside do not either.
ARRIVAL_POLL_S = 1e-5
# The number of the reason for the end.
PLAYED = 0

Times = list[tuple[float, float, float, float]]


class Member:
    """One member of the room, driven frame by frame."""

    def __init__(self, match: Match, recording: Path) -> None:
        self.match, self.recording = match, recording
        self.other = 1 - match.slot
        self.episode: Episode | None = None

    def start(self) -> Episode:
        self.episode = self.match.start(0, self.recording, None)
        return self.episode

    def act(self, joint: dict[Any, int]) -> None:
        """Give the actions of the agents that this member hosts."""
        assert self.episode is not None
        for player in self.episode.local_players:
            action = self.match.game.encode_action(player, joint[self.match.agents[player]])
            self.episode.set_input(player, action, 0)

    def has_frames(self, count: int) -> bool:
        """Wait until so many frames of the other member have arrived."""
        assert self.episode is not None
        deadline = time.monotonic() + ARRIVAL_S
        while time.monotonic() < deadline:
            peer = self.episode.peer(self.other)
            if peer is not None and peer["frames_direct"] >= count:
                return True
            self.episode.wait(ARRIVAL_POLL_S)
        return False


class EngineLoop:
    """The measured member and the other one."""

    def __init__(
        self, make: Callable[[], tuple[Any, int]], script: list[dict[Any, int]], depth: int
    ) -> None:
        self.make, self.script, self.depth = make, script, depth
        self.times: Times = []
        self._spent = {"step": 0.0, "save": 0.0, "load": 0.0}

    def run(self, ticks: int) -> str | None:
        """Play; return what is wrong, if anything."""
        with tempfile.TemporaryDirectory() as folder, _room(self.make, Path(folder)) as matches:
            members = [Member(match, Path(folder) / f"{match.slot}.rbk") for match in matches]
            measured, other = sorted(members, key=lambda member: member.match.slot)
            with self._timed(measured):
                failure = self._play(measured, other, ticks)
            for member in members:
                if member.episode is not None:
                    member.episode.release()
            return failure or self._check(measured, other)

    def _play(self, measured: Member, other: Member, ticks: int) -> str | None:
        ours, theirs = measured.start(), other.start()
        shaking = [ours, theirs]
        while shaking:
            # Who waits for nobody any more steps with the next call.
            shaking = [episode for episode in shaking if episode.advance()[3]]
            ours.wait(0.01)
            theirs.wait(0.01)
        clock = time.thread_time
        for frame in range(ticks):
            behind = frame - self.depth
            if behind >= 0:
                other.act(self.script[behind])
                theirs.advance()
                if not measured.has_frames(behind + 1):
                    return f"the actions of frame {behind} did not arrive"
            self._spent = dict.fromkeys(self._spent, 0.0)
            begin = clock()
            measured.act(self.script[frame])
            status, stepped, depth, _ = ours.advance()
            tick = clock() - begin
            if (status, stepped) != ("stepped", frame):
                return f"{status} at frame {stepped}, expected frame {frame} stepped"
            expected = self.depth if behind >= 0 else 0
            if depth != expected:
                return f"rolled back {depth} frames at frame {frame}, expected {expected}"
            spent = self._spent
            self.times.append((tick, spent["step"], spent["save"], spent["load"]))
        return self._end(measured, other)

    def _end(self, measured: Member, other: Member) -> str | None:
        idle = self.script[0]
        assert measured.episode is not None
        assert other.episode is not None
        measured.episode.propose_end(PLAYED)
        deadline = time.monotonic() + ARRIVAL_S
        while measured.episode.end is None or other.episode.end is None:
            for member, episode in ((measured, measured.episode), (other, other.episode)):
                if episode.end is None:
                    member.act(idle)
                episode.advance()
                episode.wait(0.005)
            if time.monotonic() > deadline:
                return "the episode does not end"
        return None

    def _check(self, measured: Member, other: Member) -> str | None:
        if measured.recording.read_bytes() != other.recording.read_bytes():
            return "the members' recordings differ"
        result = rb.verify(measured.recording, env=_maker(self.make))
        return None if result else str(result)

    @contextmanager
    def _timed(self, measured: Member) -> Iterator[None]:
        """Add up what passes in the environment's step, in saving and in loading."""
        clock, spent = time.thread_time, self
        game: Any = measured.match.game
        kind: Any = type(game.env)
        originals = {"step": kind.step, "save": game.save, "load": game.load}

        def timed(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                start = clock()
                result = original(*args)
                spent._spent[name] += clock() - start
                return result

            return call

        kind.step = timed("step", originals["step"])
        game.save, game.load = timed("save", originals["save"]), timed("load", originals["load"])
        try:
            yield
        finally:
            kind.step = originals["step"]
            del game.save, game.load


def _maker(make: Callable[[], tuple[Any, int]]) -> Callable[[], Any]:
    return lambda: make()[0]


@contextmanager
def _room(make: Callable[[], tuple[Any, int]], folder: Path) -> Iterator[list[Match]]:
    """Two matches of one room, as two computers would have one each."""
    factory = Factory.from_callable(_maker(make))
    server = Server("127.0.0.1:0", players=2)
    matches: list[Match] = []
    try:
        rooms = [Room(f"ws://{server.address}/overhead") for _ in range(2)]
        while not all(room.wait(0.1) for room in rooms):
            pass
        settings = rb.Settings(fps=FPS)
        for room in rooms:
            game = EnvGame(factory)
            matches.append(
                Match(room, game, factory, settings, data=folder, hosts=None, observations=False)
            )
        yield matches
    finally:
        for match in matches:
            match.close()
        server.stop()
