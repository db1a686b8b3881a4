"""Environments and policies for the processes of `two_processes`."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from pettingzoo import ParallelEnv


class Walkers(ParallelEnv):
    """Two walkers on a line, who see each other; an episode has 240 frames."""

    metadata: ClassVar[dict[str, Any]] = {"name": "walkers"}
    frames = 240
    names = ("left", "right")

    def __init__(self) -> None:
        self.possible_agents = list(self.names)
        self.agents: list[str] = []
        space = gymnasium.spaces.Box(-1e6, 1e6, (len(self.names),))
        self._observations = dict.fromkeys(self.names, space)
        self._actions = {name: gymnasium.spaces.Discrete(3) for name in self.names}

    def observation_space(self, agent: str) -> Any:
        return self._observations[agent]

    def action_space(self, agent: str) -> Any:
        return self._actions[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.random = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self.places = {agent: float(self.random.integers(10)) for agent in self.agents}
        self.frame = 0
        return self._observe(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> Any:
        for agent, action in actions.items():
            self.places[agent] += float(action) - 1.0 + self.random.normal() / 8
        self.frame += 1
        done = self.frame == self.frames
        agents = self.agents
        distance = max(self.places.values()) - min(self.places.values())
        rewards = dict.fromkeys(agents, -distance)
        infos = {agent: {"frame": self.frame} for agent in agents}
        ends = dict.fromkeys(agents, False)
        truncations = dict.fromkeys(agents, done)
        observations = self._observe()
        if done:
            self.agents = []
        return observations, rewards, ends, truncations, infos

    def _observe(self) -> dict[str, Any]:
        all_places = np.array(list(self.places.values()), np.float32)
        return dict.fromkeys(self.agents, all_places)


class FourWalkers(Walkers):
    """Four of them, two for each of two computers; an episode has 60 frames."""

    frames = 60
    names = ("a", "b", "c", "d")


class ThreeWalkers(Walkers):
    """Three of them, for long enough that one can be lost and come back."""

    frames = 600
    names = ("a", "b", "c")


class RaisesAtFrame100(Walkers):
    """Fails at a frame, on the computer whose variable says so."""

    def step(self, actions: dict[str, int]) -> Any:
        if self.frame == 100 and os.environ.get("RAISES"):
            raise ZeroDivisionError("the environment's own error")
        return super().step(actions)


class RaisesOnGuess(Walkers):
    """Fails when an agent goes on walking right where it really stopped: only a guess does that."""

    def step(self, actions: dict[str, int]) -> Any:
        # The policy `three_steps` never walks right for a fourth frame; a repeated guess does.
        runs = getattr(self, "runs", {})
        self.runs = {a: runs.get(a, 0) + 1 if action == 2 else 0 for a, action in actions.items()}
        if max(self.runs.values()) > 3:
            raise ZeroDivisionError("four steps to the right")
        return super().step(actions)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.runs: dict[str, int] = {}
        return super().reset(seed, options)


class Drifts(Walkers):
    """Goes apart by itself at frame 77, on the computer whose variable says so."""

    def step(self, actions: dict[str, int]) -> Any:
        if self.frame == 77 and os.environ.get("DRIFTS"):
            self.places["right"] += 2.0**-30
        return super().step(actions)


class Endless(Walkers):
    """Goes on until an agent stops."""

    frames = 0

    def __init__(self) -> None:
        super().__init__()
        # So many that what is drawn at random seldom stops.
        self._actions = {name: gymnasium.spaces.Discrete(STOPS + 1) for name in self.names}

    def step(self, actions: dict[str, int]) -> Any:
        self.frames = self.frame + 1 if STOPS in actions.values() else 0
        return super().step({agent: action % 3 for agent, action in actions.items()})


class DriftsEndlessly(Drifts, Endless):
    """Drifts, and goes on until an agent stops."""


STOPS = 1000


questions: list[Callable[[], object]] = []
"""What `Asks` calls in each step, in this process."""


class Asks(Endless):
    """Calls what a test wants to be called from within a step."""

    def step(self, actions: dict[str, int]) -> Any:
        for ask in questions:
            ask()
        return super().step(actions)


def walkers() -> Any:
    return Walkers()


def four_walkers() -> Any:
    return FourWalkers()


def three_walkers() -> Any:
    return ThreeWalkers()


def raises_at_frame_100() -> Any:
    return RaisesAtFrame100()


def raises_on_guess() -> Any:
    return RaisesOnGuess()


def asks() -> Any:
    return Asks()


def drifts() -> Any:
    return Drifts()


def endless() -> Any:
    return Endless()


def drifts_endlessly() -> Any:
    return DriftsEndlessly()


def cogrid(steps: int = 1000) -> Any:
    from cogrid.envs import registry

    env = registry.make("Overcooked-CrampedRoom-V0")
    env.unwrapped.max_steps = steps
    return env


def cogrid_1800() -> Any:
    return cogrid(1800)


def cogrid_300() -> Any:
    return cogrid(300)


def spread() -> Any:
    from mpe2 import simple_spread_v3

    return simple_spread_v3.parallel_env(N=2, max_cycles=300)


def tag() -> Any:
    from mpe2 import simple_tag_v3

    return simple_tag_v3.parallel_env(max_cycles=300)


_random = random.Random(os.getpid())
_held = [0, 0]


def at_random(observation: Any) -> int:
    """Hold an action for some frames, then another."""
    if _held[0] == 0:
        _held[:] = [_random.randrange(1, 8), _random.randrange(3)]
    _held[0] -= 1
    return _held[1]


class UntilTold:
    """Holds actions at random, and stops once the file says that so many episodes are to end."""

    episodes = 0

    def __init__(self) -> None:
        self.episode = UntilTold.episodes
        UntilTold.episodes += 1

    def __call__(self, observation: Any) -> int:
        told = Path(os.environ["TOLD"])
        if told.exists() and told.stat().st_size > self.episode:
            return STOPS
        return at_random(observation)


def in_all_directions(observation: Any) -> int:
    """Any of five actions, another one each time."""
    return _random.randrange(5)


_count = [0]


def three_steps(observation: Any) -> int:
    """Three steps to the right, one to the left."""
    _count[0] += 1
    return 0 if _count[0] % 4 == 0 else 2


def stands_still(observation: Any) -> int:
    """Do what moves no walker."""
    return 1
