"""How the state of an environment is saved and restored, and which way is right for which one."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rollback_py._rollback import (
    EncodingError,
    Snapshot,
    SnapshotError,
    Snapshots,
    encode_value,
    hash_bytes,
)
from rollback_py.layers import innermost, rename

if TYPE_CHECKING:
    from rollback_py.simulation import Simulation

Leaves = list[tuple[str, int]]

# A function that returns a state, and one that takes it back.
Methods = tuple[Callable[[], Any], Callable[[Any], None]]

# Fields of known wrappers that hold times or tell of earlier episodes: saved, but not hashed.
BOOKKEEPING_FIELDS = tuple(
    f"RecordEpisodeStatistics.{name}"
    for name in (
        "episode_start_time", "time_queue", "episode_count", "return_queue", "length_queue",
    )
)  # fmt: skip


class NotSnapshotableError(SnapshotError):
    """No way of saving the environment passed its test; only lockstep is possible."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("the environment cannot be saved and restored:\n" + "\n".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class SnapshotOptions:
    """What the user knows about the environment's state."""

    save: Callable[[Any], Any] | None = None
    """Returns the state of the environment it is given."""
    load: Callable[[Any, Any], None] | None = None
    """Puts a state that `save` returned back into the environment."""
    load_is_safe: bool = False
    """Whether `load` or `set_state` may be given a value that another computer made up.

    A `load` that unpickles may not: it would run whatever that computer wants. Only then can a
    state travel to another computer, as `on_desync` asks for.
    """
    hash: Callable[[Any], bytes] | None = None
    """Sixteen bytes that are equal for equal states; by default the canonical hash."""
    strategy: str = "auto"
    """``auto``, ``user``, ``state`` or ``structural``."""
    shared: tuple[type, ...] = ()
    """Classes whose instances are no state: neither saved nor hashed."""
    unhashed: tuple[str, ...] = ()
    """Fields, each as ``Class.field``, that are saved but may differ between equal states."""


class Strategy(Protocol):
    """One way of saving, restoring and hashing an environment."""

    name: str

    def begin_episode(self) -> None:
        """Look again at what `reset` may have replaced."""

    def save(self, slot: Any = None) -> Any:
        """Save the state, if possible into a snapshot that is no longer needed."""

    def load(self, snapshot: Any) -> None:
        """Restore a state; the snapshot stays as it is."""

    def hash(self, snapshot: Any) -> bytes:
        """Return the 128-bit hash of the state."""

    def encode(self, snapshot: Any) -> bytes:
        """Return the canonical encoding of the state."""

    def leaves(self, snapshot: Any) -> Leaves:
        """Return the paths and digests of all values."""

    def describe(self, snapshot: Any) -> Any:
        """Return the state as a plain value; raises an error that names what is in the way."""

    def receive(self, described: Any, constants: set[int]) -> None:
        """Take over a described state, which nobody vouches for. On an error it is undefined.

        What has one of the addresses `constants` is not written to, but made anew.
        """

    def same(self, a: Any, b: Any) -> bool | None:
        """Tell whether two states are equal; None if that cannot be known."""

    def report(self, snapshot: Any) -> dict[str, Any]:
        """Describe what the snapshot consists of."""


class Structural:
    """Saves every object that can be reached from the environment, in place."""

    name = "structural"

    def __init__(self, env: Any, options: SnapshotOptions, unhashed: tuple[str, ...] = ()) -> None:
        self._env = env
        self._snapshots = Snapshots(
            [("", env)],
            shared=list(options.shared),
            unhashed=[*BOOKKEEPING_FIELDS, *options.unhashed, *unhashed],
        )
        self.load = self._snapshots.load
        self.hash = self._snapshots.hash
        self.encode = self._snapshots.encode
        self.describe = self._snapshots.describe
        self.same = self._snapshots.same
        self.report = self._snapshots.report

    def save(self, slot: Snapshot | None = None) -> Snapshot:
        """Save the state, reusing the memory of `slot`."""
        if slot is None:
            return self._snapshots.save()
        self._snapshots.save_into(slot)
        return slot

    def begin_episode(self) -> None:
        """Nothing: every snapshot starts at the outermost wrapper."""

    def receive(self, described: Any, constants: set[int]) -> None:
        """Take over a described state."""
        self._snapshots.receive(described, constants)

    def leaves(self, snapshot: Snapshot) -> Leaves:
        """Digest each value, with paths that leave out the wrappers."""
        return rename(self._env, self._snapshots.leaves(snapshot))


@dataclass
class _Saved:
    """A state as the environment gave it, and the state of the wrappers."""

    state: Any
    wrappers: Snapshot
    digest: bytes | None = None


class ByMethods:
    """Saves through functions of the environment or the user, and the wrappers structurally."""

    def __init__(
        self,
        name: str,
        env: Any,
        find: Callable[[Any], Methods],
        options: SnapshotOptions,
        unhashed: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._env = env
        self._find = find
        self._hash = options.hash
        self._load_is_safe = options.load_is_safe
        self._shared = list(options.shared)
        self._unhashed = [*BOOKKEEPING_FIELDS, *options.unhashed, *unhashed]
        self.begin_episode()
        # Found by the self-test: the environment goes on changing what it gave away or was given.
        self.copies_on_save = False
        self.copies_on_load = False

    def begin_episode(self) -> None:
        """Ask for the methods again: `reset` may have made another environment inside."""
        inner = innermost(self._env)
        self._save, self._load = self._find(inner)
        self._wrappers = Snapshots(
            [("", self._env)], boundary=[inner], shared=self._shared, unhashed=self._unhashed
        )

    def save(self, slot: Any = None) -> _Saved:
        """Ask the environment for its state."""
        state = self._save()
        if self.copies_on_save:
            state = copy.deepcopy(state)
        if slot is None:
            return _Saved(state, self._wrappers.save())
        self._wrappers.save_into(slot.wrappers)
        slot.state, slot.digest = state, None
        return slot  # type: ignore[no-any-return]

    def load(self, snapshot: _Saved) -> None:
        """Give the environment a state, then the wrappers theirs."""
        state = copy.deepcopy(snapshot.state) if self.copies_on_load else snapshot.state
        self._load(state)
        self._wrappers.load(snapshot.wrappers)

    def hash(self, snapshot: _Saved) -> bytes:
        """Hash the state and the wrappers."""
        if snapshot.digest is None:
            snapshot.digest = self.digest(snapshot)
        return snapshot.digest

    def digest(self, snapshot: _Saved) -> bytes:
        """Hash without remembering the result."""
        if self._hash is None:
            return hash_bytes(self.encode(snapshot))
        wrappers = self._wrappers.hash(snapshot.wrappers)
        return hash_bytes(self._hash(snapshot.state) + wrappers)

    def encode(self, snapshot: _Saved) -> bytes:
        """Encode the state and the wrappers."""
        try:
            encoded = encode_value(snapshot.state)
        except EncodingError:
            holder = Snapshots([("", snapshot.state)])
            encoded = holder.encode(holder.save())
        return encoded + self._wrappers.encode(snapshot.wrappers)

    def leaves(self, snapshot: _Saved) -> Leaves:
        """Digest each value of the state and the wrappers."""
        holder = Snapshots([("", snapshot.state)])
        wrappers = self._wrappers.leaves(snapshot.wrappers)
        return holder.leaves(holder.save()) + rename(self._env, wrappers)

    def describe(self, snapshot: _Saved) -> Any:
        """Return the state, if it is a plain value, and that of the wrappers."""
        try:
            encode_value(snapshot.state)
        except EncodingError as error:
            raise SnapshotError(f"the state of {self.name} is no plain value: {error}") from error
        self._check_consent(snapshot.state)
        return [snapshot.state, self._wrappers.describe(snapshot.wrappers)]

    def receive(self, described: Any, constants: set[int]) -> None:
        """Give the environment a state that came from elsewhere, then the wrappers theirs."""
        state, wrappers = described
        self._check_consent(state)
        self._load(state)
        self._wrappers.receive(wrappers, constants)

    def _check_consent(self, state: Any) -> None:
        """Refuse to have a stranger's value loaded by what may unpickle it."""
        if self._load_is_safe or (self.name != "user" and not _has_bytes(state)):
            return
        raise SnapshotError(
            f"the {self.name} functions would be given another computer's value, and a load that "
            "unpickles it would run what that computer wants; if yours takes any value without "
            "harm, say SnapshotOptions(load_is_safe=True)"
        )

    def same(self, a: _Saved, b: _Saved) -> bool | None:
        """Tell states apart by their hashes; that two are equal in every bit cannot be known."""
        if a is b:
            return True
        return None if self.hash(a) == self.hash(b) else False

    def report(self, snapshot: _Saved) -> dict[str, Any]:
        """Describe the wrappers' part, and how large the state is."""
        report = self._wrappers.report(snapshot.wrappers)
        report["state_bytes"] = len(self.encode(snapshot))
        return report


def candidates(
    simulation: Simulation, options: SnapshotOptions, unhashed: tuple[str, ...] = ()
) -> Iterator[Strategy]:
    """Yield the ways that the environment offers, the most particular first."""
    env = simulation.env
    if (options.save is None) != (options.load is None):
        raise ValueError("save and load belong together: give both or none")
    if options.strategy not in ("auto", "user", "state", "structural"):
        raise ValueError(f"expected auto, user, state or structural, got {options.strategy!r}")
    wanted = options.strategy
    if options.save is not None and options.load is not None and wanted in ("auto", "user"):
        save, load = options.save, options.load

        def users(_: Any) -> Methods:
            return lambda: save(env), lambda state: load(env, state)

        yield ByMethods("user", env, users, options, unhashed)
        return
    if wanted in ("auto", "state"):
        for name, find in _STATE_METHODS.items():
            if find(innermost(env)) is not None:
                yield ByMethods(name, env, _required(find), options, unhashed)
    if wanted in ("auto", "structural"):
        yield Structural(env, options, unhashed)


def _get_state(inner: Any) -> Methods | None:
    # The arity tells: mujoco's `set_state(qpos, qvel)` is something else.
    get: Any = getattr(inner, "get_state", None)
    put: Any = getattr(inner, "set_state", None)
    return (get, put) if _takes(get, 0) and _takes(put, 1) else None


def _clone_state(inner: Any) -> Methods | None:
    clone: Any = getattr(inner, "clone_state", None)
    restore: Any = getattr(inner, "restore_state", None)
    if not _takes(clone, 0) or not _takes(restore, 1):
        return None
    if "include_rng" in inspect.signature(clone).parameters:
        return partial(clone, include_rng=True), restore
    return clone, restore


def _clone_system_state(inner: Any) -> Methods | None:
    emulator = getattr(inner, "ale", None)
    clone = getattr(emulator, "cloneSystemState", None)
    restore = getattr(emulator, "restoreSystemState", None)
    return None if clone is None or restore is None else (clone, restore)


_STATE_METHODS: dict[str, Callable[[Any], Methods | None]] = {
    "get_state": _get_state,
    "clone_state": _clone_state,
    "cloneSystemState": _clone_system_state,
}


def _required(find: Callable[[Any], Methods | None]) -> Callable[[Any], Methods]:
    def found(inner: Any) -> Methods:
        methods = find(inner)
        if methods is None:
            raise SnapshotError("after a reset the environment has no methods for its state")
        return methods

    return found


def _has_bytes(state: Any) -> bool:
    pending = [state]
    while pending:
        value = pending.pop()
        if isinstance(value, bytes | bytearray | np.void | np.bytes_):
            return True
        if isinstance(value, np.ndarray) and value.dtype.kind in "OSV":
            return True
        if isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            pending += value
    return False


def _takes(function: Any, count: int) -> bool:
    """Tell whether a function can be called with so many arguments, and not with fewer."""
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function)
        signature.bind(*range(count))
    except (TypeError, ValueError):
        return False
    required = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(required) == count


class EnvSnapshot:
    """A saved frame: the environment's state and what its last step returned."""

    __slots__ = ("digest", "ended", "globals", "returned", "state")

    state: Any
    globals: tuple[Any, Any] | None
    returned: tuple[Any, Any, Any, Any, Any]
    ended: bool
    digest: bytes | None


class Keeper:
    """Saves and restores a simulation by one strategy."""

    def __init__(self, simulation: Simulation, strategy: Strategy) -> None:
        self.simulation = simulation
        self.strategy = strategy

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self.simulation.reset(seed)
        self.strategy.begin_episode()

    def save(self, slot: EnvSnapshot | None = None) -> EnvSnapshot:
        """Save the frame, if possible into a snapshot that is no longer needed."""
        simulation = self.simulation
        if slot is None:
            slot = EnvSnapshot()
            slot.state = self.strategy.save()
        else:
            slot.state = self.strategy.save(slot.state)
        slot.globals = None if simulation.globals is None else simulation.globals.save()
        slot.returned = simulation.returned
        slot.ended = simulation.ended
        slot.digest = None
        return slot

    def load(self, snapshot: EnvSnapshot) -> None:
        """Go back to a saved frame."""
        simulation = self.simulation
        self.strategy.load(snapshot.state)
        if simulation.globals is not None and snapshot.globals is not None:
            simulation.globals.load(snapshot.globals)
        simulation.returned = snapshot.returned
        simulation.ended = snapshot.ended

    def hash(self, snapshot: EnvSnapshot) -> bytes:
        """Return the 128-bit hash of the saved state."""
        if snapshot.digest is None:
            digest = self.strategy.hash(snapshot.state)
            if snapshot.globals is not None:
                digest = hash_bytes(digest + _encode_globals(snapshot.globals))
            snapshot.digest = digest
        return snapshot.digest

    def encode(self, snapshot: EnvSnapshot) -> bytes:
        """Return the canonical encoding of the saved state."""
        encoded = self.strategy.encode(snapshot.state)
        return encoded + (b"" if snapshot.globals is None else _encode_globals(snapshot.globals))

    def leaves(self, snapshot: EnvSnapshot) -> Leaves:
        """Return the path and the 64-bit digest of every value, in canonical order."""
        leaves = self.strategy.leaves(snapshot.state)
        if snapshot.globals is not None:
            digest = hash_bytes(_encode_globals(snapshot.globals))
            leaves.append(("<global random>", int.from_bytes(digest[:8], "big")))
        return leaves

    def same(self, a: EnvSnapshot, b: EnvSnapshot) -> bool | None:
        """Tell whether two saved states are exactly equal; None if that cannot be known."""
        if (a.globals is None) != (b.globals is None):
            return False
        if (
            a.globals is not None
            and b.globals is not None
            and _encode_globals(a.globals) != _encode_globals(b.globals)
        ):
            return False
        return self.strategy.same(a.state, b.state)


def first_difference(a: Leaves, b: Leaves) -> str | None:
    """Return the path of the first value that differs, or None if none does."""
    for (path, digest), (other_path, other_digest) in zip(a, b, strict=False):
        if path != other_path or digest != other_digest:
            return path or "the environment itself"
    if len(a) != len(b):
        longer = a if len(a) > len(b) else b
        return longer[min(len(a), len(b))][0]
    return None


def _encode_globals(state: tuple[Any, Any]) -> bytes:
    python, numpy = state
    return encode_value([python, numpy])
