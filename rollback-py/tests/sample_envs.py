"""Environments for the tests: real ones as users make them, small ones with one flaw each."""

import random
import time
import uuid
from itertools import count
from typing import ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.utils import EzPickle


def cramped_room():
    from cogrid.envs import registry

    return registry.make("Overcooked-CrampedRoom-V0")


def short_cramped_room():
    env = cramped_room()
    env.unwrapped.max_steps = 40
    return env


def spread():
    from mpe2 import simple_spread_v3

    return simple_spread_v3.parallel_env(N=2, max_cycles=60)


def tag():
    from mpe2 import simple_tag_v3

    return simple_tag_v3.parallel_env(max_cycles=60)


def cartpole():
    return gym.make("CartPole-v1")


def wrapped_cartpole():
    env = gym.make("CartPole-v1")
    return gym.wrappers.RecordEpisodeStatistics(gym.wrappers.FrameStackObservation(env, 3))


def drawn_cartpole():
    return gym.make("CartPole-v1", render_mode="rgb_array")


def drawn_cramped_room():
    from cogrid.envs import registry

    return registry.make("Overcooked-CrampedRoom-V0", render_mode="rgb_array")


def taxi():
    return gym.make("Taxi-v4")


def knights():
    from pettingzoo.butterfly import knights_archers_zombies_v11

    return knights_archers_zombies_v11.parallel_env(render_mode="rgb_array", max_cycles=60)


def connect_four():
    from pettingzoo.classic import connect_four_v3
    from pettingzoo.utils import turn_based_aec_to_parallel

    return turn_based_aec_to_parallel(connect_four_v3.raw_env())


REAL = {
    "cramped_room": cramped_room,
    "spread": spread,
    "tag": tag,
    "cartpole": cartpole,
    "wrapped_cartpole": wrapped_cartpole,
    "taxi": taxi,
    "knights": knights,
    "connect_four": connect_four,
}


class Cell:
    """A thing on the grid."""

    def __init__(self, name):
        self.name = name
        self.visits = 0
        self.neighbours = []


class TinyGrid(EzPickle):
    """Two agents on a ring of cells. Pure Python, and `EzPickle` as so many."""

    metadata: ClassVar = {}
    render_mode = None

    def __init__(self, size=5):
        EzPickle.__init__(self, size)
        self.size = size
        self.possible_agents = ["a", "b"]
        self.agents = []
        self._spaces = {agent: Discrete(4) for agent in self.possible_agents}

    def action_space(self, agent):
        return self._spaces[agent]

    def observation_space(self, agent):
        return Discrete(self.size)

    def reset(self, seed=None, options=None):
        self.random = random.Random(seed)
        self.agents = list(self.possible_agents)
        self.cells = [Cell(f"c{i}") for i in range(self.size)]
        for i, cell in enumerate(self.cells):
            cell.neighbours = [self.cells[i - 1], self.cells[(i + 1) % self.size]]
        self.where = dict.fromkeys(self.agents, self.cells[0])
        self.goal = self.random.randrange(self.size)
        self.on_move = self._moved
        self.moves = 0
        self.t = 0
        return self._observations(), {agent: {} for agent in self.agents}

    def _moved(self, agent):
        self.moves += 1

    def _observations(self):
        return {agent: self.cells.index(self.where[agent]) for agent in self.agents}

    def step(self, actions):
        self.t += 1
        rewards = {}
        for agent in self.agents:
            action = int(actions[agent])
            if action in (1, 2):
                self.where[agent] = self.where[agent].neighbours[action - 1]
                self.where[agent].visits += 1
                self.on_move(agent)
            rewards[agent] = float(self.cells.index(self.where[agent]) == self.goal)
            if rewards[agent]:
                self.goal = self.random.randrange(self.size)
        ended = self.t >= 50
        flags = dict.fromkeys(self.agents, ended)
        no = dict.fromkeys(self.agents, False)
        infos = {agent: {"t": self.t} for agent in self.agents}
        observations = self._observations()
        if ended:
            self.agents = []
        return observations, rewards, no, flags, infos

    def render(self):
        return np.zeros((2, 2, 3), np.uint8)

    def close(self):
        pass


class Sum(gym.Env):
    """Adds up the actions of one."""

    observation_space = gym.spaces.Discrete(1000)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = 5
        return self.x, {}

    def step(self, action):
        self.x = (self.x + int(action)) % 1000
        return self.x, 0.0, False, False, {}


class UsesGlobalRandom(TinyGrid):
    """Draws from `random` and `numpy.random`."""

    def step(self, actions):
        self.noise = (random.random(), float(np.random.uniform()))
        result = super().step(actions)
        for info in result[4].values():
            info["noise"] = self.noise
        return result


class CountsInstances(TinyGrid):
    """Carries a number that every instance takes from the class."""

    number = count()

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        self.cells[1].visits = next(self.number)
        return result


class OrdersByHash(TinyGrid):
    """Puts strings into an order that depends on the hash seed."""

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        self.order = list({f"name{i}" for i in range(40)})
        return result


class TellsTime(TinyGrid):
    """Puts the time of day into its infos, and only there."""

    def step(self, actions):
        result = super().step(actions)
        for info in result[4].values():
            info["clock"] = time.perf_counter()
        return result


class ForgetsInSetState(TinyGrid):
    """Offers `get_state` and `set_state` that leave out the goal."""

    def get_state(self):
        return {"t": self.t, "where": [self.cells.index(c) for c in self.where.values()]}

    def set_state(self, state):
        self.t = state["t"]
        for agent, place in zip(self.where, state["where"], strict=True):
            self.where[agent] = self.cells[place]


class SharesItsState(TinyGrid):
    """Gives away, and takes, the very list that it goes on changing."""

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        self.log = []
        return result

    def step(self, actions):
        self.log.append(self.t)
        return super().step(actions)

    def get_state(self):
        return {
            "t": self.t,
            "log": self.log,
            "moves": self.moves,
            "visits": [c.visits for c in self.cells],
            "agents": list(self.agents),
            "goal": self.goal,
            "where": [self.cells.index(c) for c in self.where.values()],
            "random": self.random.getstate(),
        }

    def set_state(self, state):
        self.t, self.log, self.moves = state["t"], state["log"], state["moves"]
        self.goal, self.agents = state["goal"], list(state["agents"])
        self.random.setstate(state["random"])
        for cell, visits in zip(self.cells, state["visits"], strict=True):
            cell.visits = visits
        for agent, place in zip(self.where, state["where"], strict=True):
            self.where[agent] = self.cells[place]


class HoldsAGenerator(TinyGrid):
    """Keeps a Python generator, whose state cannot be seen or copied."""

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        self.cells[2].ticks = (i for i in range(10**6))
        return result

    def step(self, actions):
        next(self.cells[2].ticks)
        return super().step(actions)


class HoldsAnIterator(TinyGrid):
    """Keeps an iterator: opaque, but `copy.deepcopy` can copy it."""

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        self.ticks = iter(list(range(1000)))
        self.pair = (self.ticks, "with a tuple around")
        return result

    def step(self, actions):
        result = super().step(actions)
        tick = next(self.ticks)
        assert self.pair[0] is self.ticks
        for agent in result[1]:
            result[1][agent] = float(tick)
        return result


class ChangesWhenDrawn(TinyGrid):
    """Moves its goal when it is drawn."""

    def __init__(self):
        super().__init__()
        self.render_mode = "rgb_array"
        self.screen = None

    def render(self):
        self.screen = True
        self.goal = self.random.randrange(self.size)
        return super().render()


class Drawn(TinyGrid):
    """Makes its window when it is first drawn."""

    def __init__(self):
        super().__init__()
        self.render_mode = "rgb_array"
        self.screen = None

    def render(self):
        if self.screen is None:
            self.screen = object()
        return super().render()


pictures = []
"""An element for each picture that was drawn."""


class DrawsInStep(TinyGrid):
    """Draws after each step, whether anybody looks or not."""

    def __init__(self):
        super().__init__()
        self.render_mode = "rgb_array"

    def step(self, actions):
        result = super().step(actions)
        self.render()
        return result

    def render(self):
        pictures.append(None)
        return np.full((2, 2, 3), self.t, np.uint8)


class ObservesItsPicture(DrawsInStep):
    """Is observed as a picture."""

    def _observations(self):
        return {agent: self.render().sum() for agent in self.agents}


class RemembersEpisodes(TinyGrid):
    """Pays more in every episode."""

    def __init__(self):
        super().__init__()
        self.bonus = [0]

    def reset(self, seed=None, options=None):
        self.bonus[0] += 1
        return super().reset(seed, options)

    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        return observations, {agent: self.bonus[0] * r for agent, r in rewards.items()}, *rest


class CountsEpisodes(TinyGrid):
    """Counts its episodes when they end, and makes no use of it."""

    finished = 0

    def step(self, actions):
        result = super().step(actions)
        self.finished += not self.agents
        return result


class KeepsTheTime(TinyGrid):
    """Has the time of day in its state."""

    def step(self, actions):
        self.at = time.time()  # asks
        return super().step(actions)


class SeedsNothing(TinyGrid):
    """Takes a seed and makes no use of it."""

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        self.random = random.Random()  # asks
        self.goal = self.random.random()
        return result


class DrawsOfItsOwn(TinyGrid):
    """Has a generator that `reset` does not seed."""

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng()  # asks

    def step(self, actions):
        self.noise = self.generator.normal()
        return super().step(actions)


class DrawsNames(TinyGrid):
    """Names its things as no other does."""

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        self.draw_names()
        return result

    def draw_names(self):
        for cell in self.cells:
            cell.name = uuid.uuid4().hex  # asks


class FollowsAddresses(TinyGrid):
    """Does what the places of its things in memory say."""

    def step(self, actions):
        self.first = id(self.cells) + id(self)  # asks
        return super().step(actions)
