"""Is an environment fit for rollback? What ``rollback check MODULE:FACTORY`` prints.

Run as a module it prints the trace of one run, for the comparison with another process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from rollback_py.env_game import EnvGame
from rollback_py.environment import Factory
from rollback_py.outside_sources import noted
from rollback_py.recordings import factory_of
from rollback_py.self_test import Findings
from rollback_py.settings import FRAMES_MAX, SEED_MAX, require_number
from rollback_py.simulation import RandomActions, Simulation
from rollback_py.snapshots import Leaves, SnapshotOptions, first_difference
from rollback_py.state_transfer import NotTransferableError

# How often each cost is measured. A median of this many is steady to a few percent.
_MEASUREMENTS = 200

# A run in another process may not take longer than this many times ours, plus its start.
_OTHER_PROCESS_TIMES = 20
_OTHER_PROCESS_START_SECONDS = 60.0

_RESTORES = "a restored state goes on as the original"
_NOT_TO_BE_TOLD = "not to be told as long as two environments differ"

_SEED_ALL = (
    "seed every generator in reset(seed=…), and keep clocks, addresses and randomness without a "
    "seed out of the state and of what step returns"
)
_SORT_SETS = "sort what is taken out of a set, and let nothing follow from hash() or id()"
_SAVE_IT = (
    "without a way of saving it is played in lockstep: change what is in the way (below), or give "
    "rb.SnapshotOptions(save=…, load=…)"
)


@dataclass
class Verdict:
    """The answer to one question."""

    question: str
    passed: bool | None
    """None if it could not be tried."""
    detail: str = ""
    advice: str = ""
    """What to do where it did not pass."""


@dataclass
class Report:
    """What was found out about an environment, and what it costs."""

    environment: str
    frames: int
    verdicts: list[Verdict] = field(default_factory=list)
    strategy: str | None = None
    rejected: list[str] = field(default_factory=list)
    costs_us: dict[str, float] = field(default_factory=dict)
    """Median microseconds of step, save, load and hash."""
    state_bytes: int = 0
    copied: dict[str, int] = field(default_factory=dict)
    """How many objects of which class are copied with `copy.deepcopy`, the slow way."""
    skipped: dict[str, int] = field(default_factory=dict)
    """How many objects of which class are neither saved nor hashed."""
    excluded_info_keys: list[str] = field(default_factory=list)
    dropped_outputs: list[str] = field(default_factory=list)
    unhashed_fields: list[str] = field(default_factory=list)
    """Fields that drawing or earlier episodes change, and nothing follows from."""
    uncovered: list[str] = field(default_factory=list)
    uses_global_random: bool = False
    holds_drawing_back: bool = False
    """Whether the environment draws in each step, and is kept from it."""
    untransferable: str | None = None
    """Why its state cannot be given to another computer, if it cannot."""
    asks_outside: list[str] = field(default_factory=list)
    """Where it asks for what no seed decides, if it is not deterministic."""

    @property
    def is_deterministic(self) -> bool:
        """Whether no comparison found a difference; what cannot be saved can be, too."""
        asked = [verdict for verdict in self.verdicts if verdict.question != _RESTORES]
        return all(verdict.passed is not False for verdict in asked)

    @property
    def can_rollback(self) -> bool:
        """Whether states can be saved and restored."""
        return self.strategy is not None

    def to_json(self) -> str:
        """Return everything as one JSON object with sorted keys."""
        fields = asdict(self) | {
            "is_deterministic": self.is_deterministic,
            "can_rollback": self.can_rollback,
        }
        return json.dumps(fields, indent=2, sort_keys=True)

    def __str__(self) -> str:
        """Return the report for people."""
        marks = {True: "ok  ", False: "FAIL", None: "?   "}
        lines = [f"{self.environment}, {self.frames} frames"]
        for verdict in self.verdicts:
            detail = f": {verdict.detail}" if verdict.detail else ""
            lines.append(f"  {marks[verdict.passed]} {verdict.question}{detail}")
            if verdict.advice:
                lines.append(f"       {verdict.advice}")
        lines += [f"       it asks for {place}" for place in self.asks_outside]
        lines.append(f"  snapshot  {self.strategy or 'none: lockstep only'}")
        lines += [f"            not {reason}" for reason in self.rejected]
        if self.can_rollback:
            reason = f"impossible: {self.untransferable}" if self.untransferable else "possible"
            lines.append(f"  resync    {reason}")
        if self.costs_us:
            costs = ", ".join(f"{name} {cost:.1f}" for name, cost in self.costs_us.items())
            lines.append(f"  cost      {costs} µs; state {self.state_bytes} bytes")
        for label, counts in (("copied", self.copied), ("skipped", self.skipped)):
            if counts:
                text = ", ".join(f"{count} {name}" for name, count in counts.items())
                lines.append(f"  {label:<9} {text}")
        for label, names in (
            ("infos out", self.excluded_info_keys),
            ("dropped", self.dropped_outputs),
            ("unhashed", self.unhashed_fields),
            ("uncovered", self.uncovered),
        ):
            if names:
                lines.append(f"  {label:<9} {', '.join(names)}")
        if self.holds_drawing_back:
            lines.append("  drawing   in every step: held back, but for the frames that are shown")
        if self.uses_global_random:
            lines.append("  random    uses the global generators; they are kept apart for it")
        return "\n".join(lines)


def check(
    env_factory: Callable[[], Any] | str | Factory,
    seed: int = 0,
    frames: int = 120,
    *,
    snapshots: SnapshotOptions | None = None,
) -> Report:
    """Try an environment for `frames` frames and measure it.

    `env_factory` is a function, or ``module:callable`` as given by this computer's user.
    """
    require_number("seed", seed, 0, SEED_MAX)
    require_number("frames", frames, 1, FRAMES_MAX)
    factory = factory_of(env_factory)
    game = EnvGame(
        factory,
        snapshots=snapshots,
        self_test_seed=seed,
        self_test_frames=frames,
        observations=True,
    )
    with closing(game):
        return _report(factory, game, seed, frames)


def _report(factory: Factory, game: EnvGame, seed: int, frames: int) -> Report:
    found = game.findings
    report = Report(
        environment=factory.spec,
        frames=frames,
        strategy=found.strategy,
        rejected=found.rejected,
        excluded_info_keys=sorted(found.excluded_info_keys),
        unhashed_fields=list(found.unhashed),
        uncovered=found.uncovered,
        uses_global_random=found.uses_global_random,
        holds_drawing_back=found.holds_drawing_back,
    )
    report.verdicts = [
        Verdict(
            "two environments with the same seed are equal",
            found.instances_differ is None,
            found.instances_differ or "",
            "" if found.instances_differ is None else _SEED_ALL,
        ),
        _handled(
            "an episode is the same after another one",
            found,
            found.resets_differ,
            "each episode gets a new environment",
        ),
        _other_process(factory, game, seed, frames),
        _restores(game, found),
        _handled(
            "drawing changes nothing", found, found.render_changes, "undone after each drawing"
        ),
    ]
    if not report.is_deterministic:
        report.asks_outside = _asks_outside(factory, seed, frames)
    report.costs_us = measure(game, seed)
    if game.can_rollback:
        slot = game.save()
        details = game.keeper.strategy.report(slot.state)
        report.copied, report.skipped = details["copied"], details["skipped"]
        report.state_bytes = len(game.keeper.encode(slot))
        if found.instances_differ is not None:
            report.untransferable = "two environments with the same seed differ"
        else:
            try:
                game.require_transfer()
            except NotTransferableError as error:
                report.untransferable = error.reason
    report.dropped_outputs = game.simulation.dropped_outputs
    return report


def _restores(game: EnvGame, found: Findings) -> Verdict:
    if game.can_rollback:
        return Verdict(_RESTORES, True)
    if found.instances_differ is not None:
        return Verdict(_RESTORES, None, _NOT_TO_BE_TOLD)
    return Verdict(_RESTORES, False, advice=_SAVE_IT)


def _handled(question: str, found: Findings, differs: str | None, how: str) -> Verdict:
    """Answer about what does no harm, since something is done about it."""
    if found.instances_differ is not None:
        return Verdict(question, None, _NOT_TO_BE_TOLD)
    return Verdict(
        question, True if differs is None else None, f"{differs} ({how})" if differs else ""
    )


def _asks_outside(factory: Factory, seed: int, frames: int) -> list[str]:
    """Play once more with random actions; return where it asks for what no seed decides."""
    places: list[str] = []
    with noted(places), closing(Simulation(factory)) as simulation:
        simulation.reset(seed)
        actions = RandomActions(simulation, seed)
        # What fails here has failed in the trials, and they passed over it.
        with suppress(Exception):
            for _ in range(frames):
                if simulation.ended:
                    break
                simulation.step(actions.draw())
    return places


def run_trace(game: EnvGame, seed: int, frames: int) -> tuple[list[str], Leaves]:
    """Play with random actions; return a digest of each frame's outputs, and the last state."""
    game.reset(seed)
    actions = RandomActions(game.simulation, seed)
    digests = []
    for _ in range(frames):
        if game.ended:
            break
        game.step(actions.draw())
        digests.append(game.output().hex())
    leaves = game.leaves(game.save()) if game.can_rollback else []
    return digests, leaves


def _other_process(factory: Factory, game: EnvGame, seed: int, frames: int) -> Verdict:
    question = "another process with another hash seed is equal"
    if game.findings.instances_differ is not None:
        return Verdict(question, None, _NOT_TO_BE_TOLD)
    if not factory.is_importable:
        return Verdict(question, None, f"{factory.spec} cannot be imported by another process")
    if factory.kwargs:
        return Verdict(question, None, "the factory has arguments: name one that has none")
    start = time.monotonic()
    outputs, leaves = run_trace(game, seed, frames)
    limit = _OTHER_PROCESS_START_SECONDS + _OTHER_PROCESS_TIMES * (time.monotonic() - start)
    mine = os.environ.get("PYTHONHASHSEED", "random")
    environment = os.environ | {
        "PYTHONHASHSEED": "1" if mine != "1" else "2",
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    command = [
        sys.executable, "-m", "rollback_py.determinism", factory.spec,
        "--seed", str(seed), "--frames", str(frames),
        "--excluded", json.dumps(sorted(game.findings.excluded_info_keys)),
    ]  # fmt: skip
    try:
        run = subprocess.run(  # the command is ours, the factory the user's
            command, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return Verdict(question, None, f"it did not end within {limit:.0f} s")
    if run.returncode != 0:
        reason = (run.stderr.strip().splitlines() or ["no message"])[-1]
        return Verdict(question, None, f"it failed: {reason}")
    other = json.loads(run.stdout.splitlines()[-1])
    for frame, (a, b) in enumerate(zip(outputs, other["outputs"], strict=False)):
        if a != b:
            return Verdict(question, False, f"the outputs of frame {frame + 1}", _SORT_SETS)
    path = first_difference(leaves, [(path, digest) for path, digest in other["leaves"]])
    if path is None:
        return Verdict(question, True)
    return Verdict(question, False, f"state after {len(outputs)} frames: {path}", _SORT_SETS)


def measure(game: EnvGame, seed: int = 0, *, seconds_max: float = math.inf) -> dict[str, float]:
    """Play with random actions; the median microseconds of step, save, load and hash.

    After `seconds_max` it is enough; without a snapshot there is the step only.
    """
    end = time.perf_counter() + seconds_max
    game.reset(seed)
    actions = RandomActions(game.simulation, seed)
    costs: dict[str, list[float]] = {"step": [], "save": [], "load": [], "hash": []}

    def timed(name: str, call: Callable[[Any], Any], argument: Any) -> None:
        start = time.perf_counter()
        call(argument)
        costs[name].append((time.perf_counter() - start) * 1e6)

    slot = game.save() if game.can_rollback else None
    for count in range(_MEASUREMENTS):
        if count and time.perf_counter() > end:
            break
        if game.ended:
            game.reset(seed + count)
        frame = actions.draw()
        if slot is None:
            timed("step", game.step, frame)
            continue
        timed("save", game.save, slot)
        timed("hash", game.hash, slot)
        timed("step", game.step, frame)
        timed("load", game.load, slot)
        game.step(frame)
        game.output()
    return {name: round(statistics.median(values), 2) for name, values in costs.items() if values}


def main(arguments: list[str] | None = None) -> None:
    """Print the trace of one run as a line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m rollback_py.determinism")
    parser.add_argument("factory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--excluded", type=json.loads, default=[])
    options = parser.parse_args(arguments)
    factory = Factory.from_spec(options.factory)
    with closing(EnvGame(factory, self_test_seed=options.seed)) as tried:
        findings = tried.findings
    # What differed in the other process may not have here.
    findings.excluded_info_keys |= frozenset(options.excluded)
    with closing(EnvGame(factory, observations=True, findings=findings)) as game:
        outputs, leaves = run_trace(game, options.seed, options.frames)
    print(json.dumps({"outputs": outputs, "leaves": leaves}))


if __name__ == "__main__":
    main()
