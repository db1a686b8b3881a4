"""What rollback costs per frame beyond `env.step`, in pure Python and with our snapshots.

    python benchmarks/overhead.py [--ticks 600] [--env NAME …] [--json FILE]

The game loop is the same for every row and written in plain Python: one peer, no network, one agent
local and the others remote. A remote action of frame f arrives at the start of tick f + D and is
never what was predicted, so that every tick with D > 0 rolls back and simulates D frames again. A
frame's overhead is the time of its tick without the time in `env.step`, both as this thread runs,
without the turns of other programs; reading that clock costs a microsecond, in every row. The rows
differ only in how a state is saved and restored:

    deepcopy    copy.deepcopy of the environment, as it is
    patched     copy.deepcopy that copies `EzPickle` classes by their fields, and shares what cannot
                or need not be copied: without the patch most environments lose their state
    structural  our snapshots, restored in place
    get_state   the environment's own methods, where it has them
    engine      no Python loop: a session of the engine as `rollback play` runs it, over a real data
                channel, recording included (`engine_loop.py`)

What each row but the last exports is compared with what D = 0 exports; a row that lost
the state says so. The recordings of the last are compared and verified.
"""

from __future__ import annotations

import argparse
import copy
import copyreg
import gc
import json
import os
import random
import statistics
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import gymnasium
from engine_loop import EngineLoop
from rollback_py._rollback import encode_value, hash_bytes
from rollback_py.snapshots import SnapshotOptions, Structural

SEED = 7
SCRIPT_SEED = 3
DEPTHS = (0, 2, 7)
RING = 9
STALL_FRAMES = 8
DROPPED_TICKS = 60
COMPARED_FRAMES = 500


TINY_ACTIONS = gymnasium.spaces.Discrete(5)


class TinyGrid:
    """Two agents on a 5 by 5 grid, without numpy: the step costs next to nothing."""

    def __init__(self) -> None:
        self.possible_agents = ["a", "b"]
        self.agents: list[str] = []

    def action_space(self, agent: str) -> Any:
        return TINY_ACTIONS

    def reset(self, seed: int) -> tuple[Any, Any]:
        self.agents = list(self.possible_agents)
        self.random = random.Random(seed).getrandbits(31)
        self.positions = {"a": [0, 0], "b": [4, 4]}
        self.scores = {"a": 0, "b": 0}
        self.walls = [[0] * 5 for _ in range(5)]
        self.goal = [2, 2]
        self.t = 0
        return {agent: tuple(self.positions[agent]) for agent in self.agents}, {}

    def step(self, actions: dict[str, int]) -> tuple[Any, ...]:
        self.t += 1
        rewards = {}
        for agent in self.agents:
            x, y = self.positions[agent]
            action = actions[agent]
            if action == 1:
                x = min(x + 1, 4)
            elif action == 2:
                x = max(x - 1, 0)
            elif action == 3:
                y = min(y + 1, 4)
            elif action == 4:
                y = max(y - 1, 0)
            self.positions[agent] = [x, y]
            rewards[agent] = 0.0
            if [x, y] == self.goal:
                rewards[agent] = 1.0
                self.scores[agent] += 1
                self.random = (self.random * 1103515245 + 12345) % 2**31
                self.goal = [self.random % 5, self.random // 5 % 5]
        ended = dict.fromkeys(self.agents, False)
        observations = {agent: tuple(self.positions[agent]) for agent in self.agents}
        return observations, rewards, ended, ended, {agent: {} for agent in self.agents}

    def close(self) -> None:
        pass


def make_tiny() -> tuple[Any, int]:
    return TinyGrid(), 5


def make_spread() -> tuple[Any, int]:
    from mpe2 import simple_spread_v3

    return simple_spread_v3.parallel_env(N=2, max_cycles=10**9), 5


def make_kitchen() -> tuple[Any, int]:
    from cogrid.envs import registry

    return registry.make("Overcooked-CrampedRoom-V0"), 7


ENVIRONMENTS = {"TinyGrid": make_tiny, "simple_spread": make_spread, "CrampedRoom": make_kitchen}


class Saver(ABC):
    """A way of saving. `load` returns the environment to go on with."""

    def __init__(self, env: Any) -> None:
        self.env = env

    @abstractmethod
    def save(self, slot: Any) -> Any: ...

    @abstractmethod
    def load(self, snapshot: Any) -> Any: ...


class Deepcopy(Saver):
    def save(self, slot: Any) -> Any:
        return copy.deepcopy(self.env)

    def load(self, snapshot: Any) -> Any:
        self.env = copy.deepcopy(snapshot)
        return self.env


class PatchedDeepcopy(Saver):
    """`deepcopy` after a user has found out what it does to the environment."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._patched: dict[type, Any] = {}
        pending, seen = [env], set()
        while pending:
            value = pending.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            kind = type(value)
            if any(base.__name__ in ("Space", "Font", "Surface", "Clock") for base in kind.__mro__):
                self._patched[kind] = lambda shared, memo: shared
            elif any(base.__name__ == "EzPickle" for base in kind.__mro__):
                self._patched[kind] = _copy_fields
            pending += list(getattr(value, "__dict__", {}).values())
            if isinstance(value, (list, tuple, set)):
                pending += list(value)
            elif isinstance(value, dict):
                pending += list(value.values())

    def _copy(self, value: Any) -> Any:
        # The table that `copy.deepcopy` looks into first.
        table = copy._deepcopy_dispatch  # type: ignore[attr-defined]
        table.update(self._patched)
        return copy.deepcopy(value)

    def save(self, slot: Any) -> Any:
        return self._copy(self.env)

    def load(self, snapshot: Any) -> Any:
        self.env = self._copy(snapshot)
        return self.env


def _copy_fields(value: Any, memo: dict[int, Any]) -> Any:
    new = copyreg.__newobj__(type(value))  # type: ignore[attr-defined]
    memo[id(value)] = new
    new.__dict__.update(copy.deepcopy(value.__dict__, memo))
    return new


class OurSnapshots(Saver):
    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._strategy = Structural(env, SnapshotOptions())
        self.save = self._strategy.save  # type: ignore[method-assign]

    def save(self, slot: Any) -> Any:  # replaced above, one call less
        return self._strategy.save(slot)

    def load(self, snapshot: Any) -> Any:
        self._strategy.load(snapshot)
        return self.env


class OwnMethods(Saver):
    def save(self, slot: Any) -> Any:
        return self.env.get_state()

    def load(self, snapshot: Any) -> Any:
        self.env.set_state(snapshot)
        return self.env


SAVERS: dict[str, type[Saver]] = {
    "deepcopy": Deepcopy,
    "patched": PatchedDeepcopy,
    "structural": OurSnapshots,
    "get_state": OwnMethods,
}


@dataclass
class Row:
    """Medians in µs of one environment, saver and depth."""

    environment: str
    saver: str
    depth: int
    tick: float = 0.0
    step: float = 0.0
    save: float = 0.0
    load: float = 0.0
    overhead: float = 0.0
    failure: str | None = None


class Loop:
    """The rollback loop, the same for every saver."""

    def __init__(self, make: Any, saver: type[Saver], depth: int, ticks: int) -> None:
        self.env, actions = make()
        self.env.reset(seed=SEED)
        agents = self.env.possible_agents
        self.agents, self.local, self.remote = agents, agents[:1], agents[1:]
        self.saver = saver(self.env)
        self.depth, self.ticks = depth, ticks
        self.script = script(agents, actions, ticks + 2)
        self.ring: list[Any] = [None] * RING
        self.used: list[dict[Any, int]] = [{} for _ in range(ticks + 2)]
        self.known: dict[Any, int] = dict.fromkeys(self.remote, -1)
        self.last = dict.fromkeys(self.remote, 0)
        self.outputs: list[Any] = [None] * (ticks + 2)
        self.exported: list[bytes] = []
        self.times: list[tuple[float, float, float, float]] = []

    def run(self) -> None:
        for frame in range(self.ticks):
            self.tick(frame)

    def tick(self, frame: int) -> None:
        clock = time.thread_time
        begin = clock()
        step = save = load = 0.0
        wrong = None
        arrived = frame - self.depth
        if arrived >= 0:
            for agent in self.remote:
                action = self.script[arrived][agent]
                self.known[agent], self.last[agent] = arrived, action
                if arrived < frame and self.used[arrived][agent] != action and wrong is None:
                    wrong = arrived
        if wrong is not None:
            start = clock()
            self.env = self.saver.load(self.ring[wrong % RING])
            load += clock() - start
            for again in range(wrong, frame):
                saved, stepped = self.simulate(again)
                save, step = save + saved, step + stepped
        confirmed = min(self.known.values())
        while len(self.exported) <= confirmed and len(self.exported) < frame:
            self.exported.append(self.outputs[len(self.exported)])
        if frame - confirmed <= STALL_FRAMES:
            saved, stepped = self.simulate(frame)
            save, step = save + saved, step + stepped
        self.times.append((clock() - begin, step, save, load))

    def simulate(self, frame: int) -> tuple[float, float]:
        joint = {agent: self.script[frame][agent] for agent in self.local}
        for agent in self.remote:
            known = frame <= self.known[agent]
            joint[agent] = self.script[frame][agent] if known else self.last[agent]
        clock = time.thread_time
        start = clock()
        slot = frame % RING
        self.ring[slot] = self.saver.save(self.ring[slot])
        saved = clock()
        self.used[frame] = joint
        self.outputs[frame] = self.env.step(joint)
        return saved - start, clock() - saved


def script(agents: list[Any], actions: int, frames: int) -> list[dict[Any, int]]:
    """Draw the actions; a remote one differs from the one before it, in every frame."""
    source = random.Random(SCRIPT_SEED)
    drawn: dict[Any, list[int]] = {}
    for number, agent in enumerate(agents):
        if number == 0:
            drawn[agent] = [source.randrange(actions) for _ in range(frames)]
            continue
        previous, column = 1, [1]
        for _ in range(frames - 1):
            previous = (previous + 1 + source.randrange(actions - 1)) % actions
            column.append(previous)
        drawn[agent] = column
    return [{agent: drawn[agent][frame] for agent in agents} for frame in range(frames)]


def measure(name: str, saver: str, depth: int, ticks: int, expected: str | None) -> tuple[Row, str]:
    """Run one row; return it with a digest of what it exported."""
    row = Row(name, saver, depth)
    table = dict(copy._deepcopy_dispatch)  # type: ignore[attr-defined]
    try:
        loop = Loop(ENVIRONMENTS[name], SAVERS[saver], depth, ticks)
        gc.collect()
        loop.run()
    except Exception as error:
        row.failure = f"{type(error).__name__}: {error}"
        return row, ""
    finally:
        copy._deepcopy_dispatch.clear()  # type: ignore[attr-defined]
        copy._deepcopy_dispatch.update(table)  # type: ignore[attr-defined]
    _fill(row, loop.times)
    compared = min(COMPARED_FRAMES, ticks - max(DEPTHS) - 1)
    digest = hash_bytes(
        encode_value([[dict(part) for part in out] for out in loop.exported[:compared]])
    ).hex()
    if expected is not None and digest != expected:
        row.failure = "the exported frames are wrong: the state was lost"
    return row, digest


def measure_engine(name: str, depth: int, ticks: int) -> Row:
    """Run one row with a session of the engine."""
    row = Row(name, "engine", depth)
    make = ENVIRONMENTS[name]
    env, actions = make()
    loop = EngineLoop(make, script(env.possible_agents, actions, ticks + 2), depth)
    gc.collect()
    try:
        row.failure = loop.run(ticks)
    except Exception as error:
        row.failure = f"{type(error).__name__}: {error}"
    _fill(row, loop.times)
    return row


def _fill(row: Row, all_times: list[tuple[float, float, float, float]]) -> None:
    times = all_times[min(DROPPED_TICKS, len(all_times) // 2) :]
    if not times:
        return
    row.tick, row.step, row.save, row.load = (
        statistics.median(part) * 1e6 for part in zip(*times, strict=True)
    )
    row.overhead = statistics.median(tick - step for tick, step, _, _ in times) * 1e6


def table(rows: list[Row]) -> str:
    """Lay out the rows, each with how many times less it costs than the patched deepcopy."""
    lines = [
        f"{'environment':<14}{'saver':<12}{'D':>2}{'tick':>10}{'step':>10}{'save':>9}{'load':>8}"
        f"{'overhead':>10}{'ratio':>7}"
    ]
    for row in rows:
        if row.failure:
            lines.append(f"{row.environment:<14}{row.saver:<12}{row.depth:>2}  {row.failure[:70]}")
            continue
        base = next(
            (
                other.overhead
                for other in rows
                if (other.environment, other.depth) == (row.environment, row.depth)
                and other.saver == "patched"
                and not other.failure
            ),
            None,
        )
        ratio = f"{base / row.overhead:6.1f}x" if base else ""
        lines.append(
            f"{row.environment:<14}{row.saver:<12}{row.depth:>2}{row.tick:>10.1f}{row.step:>10.1f}"
            f"{row.save:>9.1f}{row.load:>8.1f}{row.overhead:>10.1f}{ratio:>7}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=600)
    parser.add_argument("--env", nargs="*", choices=list(ENVIRONMENTS), default=list(ENVIRONMENTS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.env:
        expected = None
        for depth in DEPTHS:
            for saver in ("structural", *(other for other in SAVERS if other != "structural")):
                if saver == "get_state" and not hasattr(ENVIRONMENTS[name]()[0], "get_state"):
                    continue
                row, digest = measure(name, saver, depth, options.ticks, expected)
                expected = expected or digest
                rows.append(row)
                print(f"{name} {saver} D={depth}", file=sys.stderr)
            rows.append(measure_engine(name, depth, options.ticks))
            print(f"{name} engine D={depth}", file=sys.stderr)
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, medians in µs")
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
