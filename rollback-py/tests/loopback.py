"""The peers of a match in threads of this process, over real data channels on loopback.

An environment can so tell the test what was really asked of it: `witnessed.log` of each thread.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import rollback_py as rb
from playable import Walkers
from rollback_py import _rollback as native

# Far more than any of the tests plays.
TIMEOUT_S = 120.0

BAD_NETWORK = {"delay_ms": 40, "jitter_ms": 20, "loss_percent": 5.0}


class _Witnessed(threading.local):
    """What the environment of this thread did since its last reset, in order."""

    def __init__(self) -> None:
        self.slot: int | None = None
        self.log: list[tuple[int, dict[str, int], float]] = []


witnessed = _Witnessed()

_examining = threading.Lock()


class _Examined(rb.EnvGame):
    """Is tried alone: whether it uses the global generators cannot be told from another thread."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        with _examining:
            super().__init__(*arguments, **options)


def examined_one_at_a_time() -> AbstractContextManager[Any]:
    """While in it, threads that join try their environments one after the other."""
    return mock.patch("rollback_py.match.EnvGame", _Examined)


class Handle:
    """No plain value; another one each time."""

    def __init__(self) -> None:
        self.number = random.SystemRandom().getrandbits(40)


class Stopwatch(Walkers):
    """Says in its infos what no two computers say alike."""

    frames = 150

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        witnessed.log = []
        return super().reset(seed, options)

    def step(self, actions: dict[str, int]) -> Any:
        frame = self.frame
        observations, rewards, ends, truncations, infos = super().step(actions)
        lap = random.SystemRandom().random()
        for agent, info in infos.items():
            info["lap_s"] = np.float64(lap)
            info[7] = float("inf") if frame % 2 else lap
            info["handle"] = Handle()
            info["picture"] = np.frombuffer(random.SystemRandom().randbytes(5000), np.uint8)
            if agent == "left":
                info["left only"] = [lap, (None, "é")]
        witnessed.log.append((frame, dict(actions), lap))
        return observations, rewards, ends, truncations, infos


class FailsOnSlot1(Walkers):
    """Fails at frame 40, on the peer of slot 1 alone."""

    frames = 150

    def step(self, actions: dict[str, int]) -> Any:
        if self.frame == 40 and witnessed.slot == 1:
            raise ZeroDivisionError("the environment's own error")
        return super().step(actions)


class SlowOnSlot1(Walkers):
    """Takes two frames at 60 fps for a step, on the peer of slot 1 alone."""

    frames = 150

    def step(self, actions: dict[str, int]) -> Any:
        if witnessed.slot == 1:
            time.sleep(1 / 30)
        return super().step(actions)


class ThreeFailOnSlot1(FailsOnSlot1):
    """The same with three agents."""

    names = ("a", "b", "c")


@dataclass
class Played:
    """What a peer came to."""

    slot: int
    episode: rb.Episode
    my_agents: list[Any]
    error: Exception | None = None
    log: list[tuple[int, dict[str, int], float]] = field(default_factory=list)

    @property
    def end(self) -> rb.End:
        assert self.episode.end is not None
        return self.episode.end


def at_random(seed: int) -> Callable[[Any], int]:
    """Return a policy that holds an action for some frames, then another."""
    source = random.Random(seed)
    held = [0, 0]

    def act(observation: Any) -> int:
        if held[0] == 0:
            held[:] = [source.randrange(1, 6), source.randrange(3)]
        held[0] -= 1
        return held[1]

    return act


def play(
    folder: Path,
    env: Callable[[], Any],
    *,
    peers: int = 2,
    episodes: int = 1,
    settings: rb.Settings | None = None,
    player: Callable[[int], rb.Policy | rb.Person] = lambda slot: at_random(slot),
    on_frame: Callable[[rb.Episode, int], None] = lambda episode, slot: None,
    **joining: Any,
) -> list[Played]:
    """Play, and return what each peer came to in each episode, in the order of their slots.

    `player` makes who plays an agent of a slot, `on_frame` is called with each peer's episode and
    its slot, `joining` goes to `rb.join`.
    """
    server = native.Server("127.0.0.1:0", players=peers)
    settings = settings or rb.Settings(fps=60, linger_s=1.0)
    found: list[Played] = []

    def run(number: int) -> None:
        conditions = rb.LinkConditions(**BAD_NETWORK, seed=number)
        link = f"ws://{server.address}/room"
        data = folder / f"process{number}"
        with rb.join(
            link, env=env, settings=settings, data=data, link_conditions=conditions, **joining
        ) as match:
            witnessed.slot = match.slot
            for episode in match.episodes(episodes):
                played = Played(match.slot, episode, match.my_agents)
                found.append(played)
                players = {agent: player(match.slot) for agent in match.my_agents}
                try:
                    episode.run(players, on_frame=lambda e: on_frame(e, match.slot))
                except rb.RollbackError as error:
                    played.error = error
                played.log = witnessed.log

    try:
        run_together(run, peers)
    finally:
        server.stop()
    return sorted(found, key=lambda played: (played.slot, played.episode.number))


def run_together(run: Callable[[int], None], peers: int) -> None:
    """Run peers in threads of this process, each with its number, until all have ended."""
    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(peers)]
    with examined_one_at_a_time():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive(), "a peer does not end"
