"""Environments to be recorded: real ones that last long, and small ones with one trait each."""

import math
import sys

import numpy as np
from gymnasium.spaces import Box, Discrete
from sample_envs import cramped_room  # noqa: F401


def spread():
    from mpe2 import simple_spread_v3

    return simple_spread_v3.parallel_env(N=2, max_cycles=400)


def steered_spread():
    from mpe2 import simple_spread_v3

    return simple_spread_v3.parallel_env(N=2, max_cycles=400, continuous_actions=True)


class Parallel:
    """As little as a PettingZoo environment needs: two agents who add up what they do."""

    render_mode = None
    possible_agents = ("left", "right")
    length = 20

    def __init__(self):
        self.agents = []
        self.total = 0
        self.frame = 0
        self._spaces = {agent: Discrete(3, start=-1) for agent in self.possible_agents}

    def observation_space(self, agent):
        return Box(-np.inf, np.inf, (2,))

    def action_space(self, agent):
        return self._spaces[agent]

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        self.total, self.frame = int(seed), 0
        return self.each(self.observation), self.each(lambda _: {})

    def step(self, actions):
        self.frame += 1
        self.total += int(sum(actions.values()))
        returned = (
            self.each(self.observation),
            self.each(self.reward),
            self.each(lambda agent: agent == "left" and self.frame == 4),
            self.each(lambda agent: self.frame == self.length),
            self.each(self.info),
        )
        if self.frame == 4:
            self.agents.remove("left")
        return returned

    def each(self, function):
        return {agent: function(agent) for agent in self.agents}

    def observation(self, agent):
        return np.array([self.total, self.frame], np.float32)

    def reward(self, agent):
        return float(self.total)

    def info(self, agent):
        return {}

    def render(self):
        return None

    def close(self):
        pass


class Odd(Parallel):
    """Returns what Parquet and JSON have no natural place for."""

    def observation(self, agent):
        return {"place": np.arange(4, dtype=np.int8).reshape(2, 2), "text": agent}

    def reward(self, agent):
        return {1: float("nan"), 2: float("-inf"), 3: -0.0}.get(self.frame, 0.1)

    def info(self, agent):
        return {
            "z": float("nan"),
            "a": (1, b"\x00\xff"),
            "é": {3: np.float32(0.1)},
            "big": 1 << 2000,
        }


def parallel():
    return Parallel()


def odd():
    return Odd()


class Moody(Parallel):
    """Its rewards and its failures depend on the process, as no state does."""

    def reward(self, agent):
        return (
            5.0
            if agent == "right" and self.frame > getattr(sys, "rollback_mood", math.inf)
            else 1.0
        )

    def step(self, actions):
        if self.frame >= getattr(sys, "rollback_failure", math.inf):
            raise RuntimeError("no more of this")
        return super().step(actions)


def moody():
    return Moody()


class Endless(Moody):
    """Lasts long."""

    length = 1000
