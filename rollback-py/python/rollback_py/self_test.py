"""Tries an environment before it is played: whether it is deterministic, how it can be saved.

Everything is tried on environments of its own, so that the one that is played starts untouched.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rollback_py._rollback import EncodingError, RollbackError, Snapshots, hash_bytes
from rollback_py.drawing import counted_drawings, draws
from rollback_py.global_random import Watch
from rollback_py.layers import innermost, layers
from rollback_py.simulation import RandomActions, Simulation
from rollback_py.snapshots import (
    BOOKKEEPING_FIELDS,
    ByMethods,
    EnvSnapshot,
    Keeper,
    Leaves,
    SnapshotOptions,
    Strategy,
    Structural,
    candidates,
    first_difference,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Frames before the snapshot that is tried, so that it is not that of a fresh environment.
_WARM_FRAMES = 5

# An episode is played to its end for at most this many times the frames of the other trials.
_WHOLE_EPISODE_TIMES = 5

# How many fields that a restore leaves alone are reported.
_UNCOVERED_MAX = 8

_RETURNED = ("observations", "rewards", "terminations", "truncations")


@dataclass
class Findings:
    """What was found out about an environment."""

    strategy: str | None = None
    """The chosen way of saving, or None if none passed."""
    rejected: list[str] = field(default_factory=list)
    """Why the ways that come before the chosen one did not pass."""
    copies_on_save: bool = False
    copies_on_load: bool = False
    uses_global_random: bool = False
    holds_drawing_back: bool = False
    """Whether the environment draws in each step, and is kept from it: nothing else changes."""
    excluded_info_keys: frozenset[str] = frozenset()
    """Infos that differ between two simulations of the same frames."""
    instances_differ: str | None = None
    """What differs first between two environments of the same factory and seed."""
    render_fields: tuple[str, ...] = ()
    """Fields that ``render`` fills, as ``Class.field``: saved, but not hashed."""
    history_fields: tuple[str, ...] = ()
    """Fields that tell of earlier episodes without changing later ones: saved, but not hashed."""
    resets_differ: str | None = None
    """What an earlier episode changes in a later one; if anything, each gets a new environment."""
    render_changes: str | None = None
    """The first thing besides those that ``render`` changes."""
    uncovered: list[str] = field(default_factory=list)
    """Fields that the environment's own methods do not restore, though the outputs are equal."""

    @property
    def unhashed(self) -> tuple[str, ...]:
        """Fields that are left out of the hash."""
        return self.render_fields + self.history_fields


class Examiner:
    """Runs the trials on environments of one factory."""

    def __init__(
        self,
        factory: Callable[[], Any],
        *,
        seed: int,
        frames: int,
        options: SnapshotOptions,
        idle: Any = None,
    ) -> None:
        self._factory = factory
        self._seed = seed
        self._frames = frames
        self._options = options
        self._idle = idle
        self.findings = Findings()

    def examine(self) -> Findings:
        """Run every trial and choose a strategy."""
        with self._simulation() as first:
            self.findings.excluded_info_keys = first.excluded_info_keys
            watch = Watch()
            self._record(first)
            self.findings.uses_global_random = watch.moved
        self._try_without_drawing()
        self._compare_instances()
        self._compare_episodes()
        self._try_rendering()
        self._choose()
        return self.findings

    @contextmanager
    def _simulation(self) -> Iterator[Simulation]:
        simulation = Simulation(
            self._factory,
            idle=self._idle,
            excluded_info_keys=self.findings.excluded_info_keys,
            uses_global_random=self.findings.uses_global_random,
            holds_drawing_back=self.findings.holds_drawing_back,
        )
        try:
            yield simulation
        finally:
            # What fails to close was tried all the same.
            with suppress(Exception):
                simulation.close()

    def _record(self, simulation: Simulation, *, rendering: bool = False) -> Trace:
        simulation.reset(self._seed)
        trace = Trace()
        trace.add(simulation)
        actions = RandomActions(simulation, self._seed)
        for _ in range(self._frames):
            if simulation.ended:
                break
            if rendering:
                simulation.render()
            if not _step(simulation, actions.draw()):
                break
            trace.add(simulation)
        return trace

    def _try_without_drawing(self) -> None:
        """See whether it draws by itself, and whether what it returns is the same if it does not.

        An environment that is observed as a picture has to draw.
        """
        with self._simulation() as simulation:
            if not draws(simulation.env):
                return
            with counted_drawings(simulation.env) as calls:
                drawn = self._record(simulation)
        if not calls:
            return
        self.findings.holds_drawing_back = True
        try:
            with self._simulation() as simulation:
                undrawn = self._record(simulation)
            self.findings.holds_drawing_back = drawn.first_difference(undrawn) is None
        except Exception:  # it needs what it draws, and may miss it in any way
            self.findings.holds_drawing_back = False

    def _compare_instances(self) -> None:
        found = self.findings
        with self._simulation() as one, self._simulation() as other:
            a, b = self._record(one), self._record(other)
            found.excluded_info_keys |= a.differing_info_keys(b)
            found.instances_differ = a.first_difference(b)
            if found.instances_differ is None:
                path = first_difference(self._leaves(one), self._leaves(other))
                found.instances_differ = path and f"state after {len(a.frames) - 1} frames: {path}"

    def _compare_episodes(self) -> None:
        """Play the same episode twice in one environment: a rejoined or verified one is new."""
        found = self.findings
        with self._simulation() as simulation:
            simulation.reset(self._seed)
            fresh = _field_digests(simulation)
            first = self._record(simulation)
            played = _field_digests(simulation)
            # On to the end of the episode: much is counted only there.
            actions = RandomActions(simulation, self._seed + 1)
            for _ in range(_WHOLE_EPISODE_TIMES * self._frames):
                if simulation.ended or not _step(simulation, actions.draw()):
                    break
            simulation.reset(self._seed)
            # Each field at the begin and at the end of the episode.
            pairs = [(fresh, _field_digests(simulation))]
            second = self._record(simulation)
            pairs.append((played, _field_digests(simulation)))
            inner = type(innermost(simulation.env)).__qualname__
        differing = {
            name
            for before, after in pairs
            for name in before.keys() | after.keys()
            if before.get(name, (0, True))[0] != after.get(name, (0, True))[0]
        }
        # A field of a wrapper, or a mere number, may be left out of the hash if nothing follows
        # from it. More than that of the environment itself may not.
        kept = {
            name
            for name in differing
            if name.startswith(f"{inner}.")
            and not all(part.get(name, (0, True))[1] for pair in pairs for part in pair)
        }
        found.resets_differ = first.first_difference(second) or next(iter(sorted(kept)), None)
        if found.resets_differ is None:
            found.history_fields = tuple(sorted(differing))

    def _leaves(self, simulation: Simulation) -> Leaves:
        """Digest the whole state, if it can be seen; nothing if not."""
        try:
            strategy = Structural(simulation.env, self._options, self.findings.unhashed)
            return strategy.leaves(strategy.save())
        except RollbackError:
            return []

    def _try_rendering(self) -> None:
        with self._simulation() as simulation:
            if getattr(innermost(simulation.env), "render_mode", None) is None:
                return
            simulation.reset(self._seed)
            before = _field_digests(simulation)
            numbers = {
                f"{type(layer).__qualname__}.{name}"
                for layer in layers(simulation.env)
                for name, value in vars(layer).items()
                if isinstance(value, (int, float, str)) and not isinstance(value, bool)
            }
            try:
                simulation.render()
            except Exception:  # an environment may fail to draw in any way
                return
            after = _field_digests(simulation)
            self.findings.render_fields = tuple(
                name
                for name, (digest, is_scalar) in sorted(before.items())
                if is_scalar
                and name not in numbers
                and after.get(name, (digest, True))[0] != digest
            ) + tuple(sorted(set(after) - set(before)))
            with self._simulation() as straight:
                a, b = self._record(straight), self._record(simulation, rendering=True)
                changes = a.first_difference(b)
                if changes is None:
                    changes = first_difference(self._leaves(straight), self._leaves(simulation))
            self.findings.render_changes = changes

    def _choose(self) -> None:
        found = self.findings
        incomplete: tuple[str, list[str]] | None = None
        for number, name in enumerate(self._candidates()):
            found.uncovered = []
            try:
                reason = self._try_candidate(number)
            except Exception as error:  # whatever it raises is a reason
                reason = f"{type(error).__name__}: {error}"
            if reason is None and found.uncovered and self._options.strategy == "auto":
                # Outputs are equal so far, but what is not restored may show later: CoGrid's
                # get_state forgets which agents are alive, which only the last frame changes.
                incomplete = incomplete or (name, found.uncovered)
                reason = f"leaves as it is: {', '.join(found.uncovered[:3])}"
            if reason is None:
                found.strategy = name
                return
            found.rejected.append(f"{name}: {reason}")
        if incomplete is not None:
            # Better than lockstep: the outputs were equal, and the state hashes watch the rest.
            found.strategy, found.uncovered = incomplete

    def _candidates(self) -> list[str]:
        with self._simulation() as simulation:
            return [strategy.name for strategy in self._strategies(simulation)]

    def _strategies(self, simulation: Simulation) -> Iterator[Strategy]:
        return candidates(simulation, self._options, self.findings.unhashed)

    def _try_candidate(self, number: int) -> str | None:
        # A fresh environment for each: the one before may have been left in any state.
        with self._simulation() as simulation:
            strategy = list(self._strategies(simulation))[number]
            return self._try(Keeper(simulation, strategy))

    def _try(self, keeper: Keeper) -> str | None:
        """Return why the strategy does not restore the environment, or None if it does."""
        strategy = keeper.strategy
        while True:
            reason, owner = self._try_once(keeper)
            if reason is None or not isinstance(strategy, ByMethods):
                return reason
            # The environment keeps what it gave away or was given: copy, and try again.
            if owner == "save" and not strategy.copies_on_save:
                strategy.copies_on_save = self.findings.copies_on_save = True
            elif owner == "load" and not strategy.copies_on_load:
                strategy.copies_on_load = self.findings.copies_on_load = True
            else:
                return reason

    def _try_once(self, keeper: Keeper) -> tuple[str | None, str | None]:
        simulation = keeper.simulation
        keeper.reset(self._seed)
        actions = RandomActions(simulation, self._seed + 1)
        for _ in range(_WARM_FRAMES):
            if simulation.ended or not _step(simulation, actions.draw()):
                break
        saved = keeper.save()
        saved_bytes, saved_leaves = _encoding(keeper, saved), keeper.leaves(saved)
        whole = self._leaves(simulation)
        script = []
        straight = Trace()
        has_failed = False
        for _ in range(self._frames):
            if simulation.ended:
                break
            script.append(actions.draw())
            if not _step(simulation, script[-1]):
                # What a failed step leaves behind is no state: play never saves it either.
                has_failed = True
                script.pop()
                break
            straight.add(simulation)
        end = keeper.save()
        end_leaves, end_bytes = keeper.leaves(end), _encoding(keeper, end)

        def compare(snapshot: EnvSnapshot, bytes_: bytes, leaves: Leaves) -> str | None:
            if _encoding(keeper, snapshot) == bytes_:
                return None
            return first_difference(keeper.leaves(snapshot), leaves) or "the encoding"

        if path := compare(saved, saved_bytes, saved_leaves):
            return f"a saved state changed while the environment went on: {path}", "save"
        keeper.load(saved)
        if path := compare(keeper.save(), saved_bytes, saved_leaves):
            return f"differs right after restoring: {path}", None
        if isinstance(keeper.strategy, ByMethods):
            after = dict(self._leaves(simulation))
            self.findings.uncovered = [path for path, digest in whole if after.get(path) != digest][
                :_UNCOVERED_MAX
            ]
        again = Trace()
        for frame in script:
            simulation.step(frame)
            again.add(simulation)
        if path := compare(saved, saved_bytes, saved_leaves):
            return f"a saved state changed after it was restored: {path}", "load"
        self.findings.excluded_info_keys |= straight.differing_info_keys(again)
        if difference := straight.first_difference(again):
            return f"after restoring, {difference} differs", None
        if not has_failed and (path := compare(keeper.save(), end_bytes, end_leaves)):
            return f"after restoring and {len(script)} frames, the state differs: {path}", None
        return None, None


def _step(simulation: Simulation, actions: list[bytes]) -> bool:
    """Step with random actions; False when the environment cannot take them, as if it had ended."""
    try:
        simulation.step(actions)
    except Exception:  # play tells of it if the players really do the same
        return False
    return True


class Trace:
    """What an environment returned frame by frame, as digests with paths."""

    def __init__(self) -> None:
        self.frames: list[Leaves] = []
        self._infos: list[dict[tuple[Any, Any], int]] = []

    def add(self, simulation: Simulation) -> None:
        """Note what the last step returned."""
        observations, rewards, terminations, truncations, infos = simulation.returned
        parts = (observations, rewards, terminations, truncations)
        leaves: Leaves = []
        for name, part in zip(_RETURNED, parts, strict=True):
            leaves += _leaves_of(name, part)
        self.frames.append(leaves)
        self._infos.append(
            {
                (agent, key): _digest_of(value)
                for agent, info in infos.items()
                if isinstance(info, dict)
                for key, value in info.items()
            }
        )

    def first_difference(self, other: Trace) -> str | None:
        """Name the first frame and path that differ; infos are not compared."""
        for frame, (a, b) in enumerate(zip(self.frames, other.frames, strict=False)):
            if path := first_difference(a, b):
                return f"frame {frame}: {path}"
        if len(self.frames) != len(other.frames):
            return f"frame {min(len(self.frames), len(other.frames))}: the end of the episode"
        return None

    def differing_info_keys(self, other: Trace) -> frozenset[str]:
        """Return the info keys of which any value differs."""
        return frozenset(
            str(key)
            for a, b in zip(self._infos, other._infos, strict=False)
            for agent, key in a.keys() | b.keys()
            if a.get((agent, key)) != b.get((agent, key))
        )

    def digests(self) -> Iterable[str]:
        """Return one digest for each frame, for a comparison between processes."""
        for leaves in self.frames:
            text = repr(leaves).encode("utf-8", "surrogatepass")
            yield hash_bytes(text).hex()


def _leaves_of(name: str, value: Any, boundary: list[Any] | None = None) -> Leaves:
    snapshots = Snapshots([(name, value)], boundary=boundary or [], unhashed=BOOKKEEPING_FIELDS)
    try:
        return snapshots.leaves(snapshots.save())
    except RollbackError:
        return [(name, 0)]


def _digest_of(value: Any, boundary: list[Any] | None = None) -> int:
    text = repr(_leaves_of("", value, boundary)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hash_bytes(text)[:8], "big")


def _field_digests(simulation: Simulation) -> dict[str, tuple[int, bool]]:
    """Digest each field of each layer, and tell whether it is a plain flag, number or text."""
    chain = layers(simulation.env)
    digests = {}
    for layer in chain:
        for name, value in vars(layer).items():
            field_name = f"{type(layer).__qualname__}.{name}"
            if field_name not in BOOKKEEPING_FIELDS:
                is_scalar = value is None or isinstance(value, (bool, int, float, str))
                digests[field_name] = (_digest_of(value, chain), is_scalar)
    return digests


def _encoding(keeper: Keeper, snapshot: EnvSnapshot) -> bytes:
    try:
        return keeper.encode(snapshot)
    except EncodingError:
        # A state that only the user's own hash understands.
        snapshot.digest = None
        return keeper.hash(snapshot)
