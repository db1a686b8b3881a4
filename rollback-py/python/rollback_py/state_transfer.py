"""A state on its way to another computer: as bytes, and read from bytes that nobody vouches for.

What travels is a plain value in the canonical encoding. It is written into the environment that is
there already; nothing is unpickled, imported or evaluated (``src/transfer/mod.rs``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rollback_py._rollback import (
    EncodingError,
    SnapshotError,
    decode_value,
    encode_value,
)
from rollback_py.constants import constants_beside
from rollback_py.self_test import Trace
from rollback_py.simulation import RandomActions

if TYPE_CHECKING:
    from rollback_py.env_game import EnvGame
    from rollback_py.simulation import Simulation
    from rollback_py.snapshots import EnvSnapshot, Keeper

# What the bytes are: a state, or the canonical encoding of one that can only be looked at.
_STATE, _ONLY_SEEN = 1, 0

# How many numbers the generator of ``numpy.random`` makes at once.
_MT19937_NUMBERS = 624

# Frames of the trial: before the state that is given over, of the receiver alone, and after it.
_BEFORE_FRAMES, _ALONE_FRAMES, _AFTER_FRAMES = 9, 5, 20


class NotTransferableError(SnapshotError):
    """The environment's state cannot be given to another computer, which `on_desync` asks for."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the environment's state cannot be given to another computer: {reason}")
        self.reason = reason


class RefusedStateError(SnapshotError):
    """Bytes are no state of this environment."""


def export_state(keeper: Keeper, snapshot: EnvSnapshot) -> bytes:
    """Return a saved state as bytes that depend on it alone; raise where it cannot be given."""
    described = keeper.strategy.describe(snapshot.state)
    drawn = None if snapshot.globals is None else list(snapshot.globals)
    returned = _plain_returned(keeper.simulation, snapshot.returned)
    name = keeper.strategy.name
    return encode_value([_STATE, name, described, drawn, snapshot.ended, returned])


def export_to_be_seen(keeper: Keeper, snapshot: EnvSnapshot) -> bytes:
    """Return a state that cannot be given as bytes to lay beside another's."""
    return encode_value([_ONLY_SEEN, keeper.encode(snapshot)])


def import_state(keeper: Keeper, encoded: bytes) -> EnvSnapshot:
    """Return the state as a snapshot; what is simulated stays as it is.

    Raises an exception, of any kind where the environment's own methods see what is wrong.
    """
    described, drawn, ended, returned = _opened(keeper, decode_value(encoded))
    simulation = keeper.simulation
    before = keeper.save()
    try:
        keeper.strategy.receive(described, set(constants_beside(simulation)))
        if simulation.globals is not None:
            simulation.globals.load(_checked_generators(drawn))
        simulation.returned = _returned(simulation, returned)
        simulation.ended = ended
        snapshot = keeper.save()
        keeper.hash(snapshot)
        return snapshot
    finally:
        keeper.load(before)


def described_state(encoded: bytes) -> tuple[str | None, Any]:
    """Return the strategy's name and what it described; None and bytes for one only to be seen."""
    parts = decode_value(encoded)
    if isinstance(parts, list) and len(parts) == 6 and parts[0] == _STATE:
        return str(parts[1]), parts[2]
    if isinstance(parts, list) and len(parts) == 2 and parts[0] == _ONLY_SEEN:
        return None, parts[1]
    raise EncodingError("these bytes are no state")


def try_transfer(games: list[EnvGame], seed: int) -> str | None:
    """Give a state of the first environment to the second, and play on in both.

    Return why they do not play on alike, or None if they do. The third one shows whether an
    environment is as it was after all this.
    """
    giver, receiver, fresh = games
    first, again = Trace(), Trace()
    try:
        with _begun(giver, seed, first), _begun(receiver, seed, Trace()):
            reason = _transfer(giver, receiver, seed)
        if reason is not None:
            return reason
        with _begun(fresh, seed, again):
            pass
    except Exception as error:  # whatever the environment raises is a reason
        return str(error) or type(error).__name__
    if difference := first.first_difference(again):
        return f"a new environment with the same seed has another {difference} after it"
    return None


@contextmanager
def _begun(game: EnvGame, seed: int, trace: Trace) -> Iterator[None]:
    """Play the first frames of an episode; afterwards put back what environments share."""
    game.reset(seed)
    beginning = game.save()
    try:
        _play(game, seed + 1, _BEFORE_FRAMES, trace)
        yield
    finally:
        game.load(beginning)


def _transfer(giver: EnvGame, receiver: EnvGame, seed: int) -> str | None:
    one, other = giver.keeper, receiver.keeper
    given = one.save()
    # The receiver has come further, and elsewhere, when it hears of the desync.
    other.save()
    _play(receiver, seed + 2, _ALONE_FRAMES)
    encoded = export_state(one, given)
    taken = import_state(other, encoded)
    if other.hash(taken) != one.hash(given):
        return "the state that arrives has another hash"
    other.load(taken)
    # As the one does whose state all take over: what is no part of it is then alike, too.
    one.load(import_state(one, encoded))
    straight, again = Trace(), Trace()
    actions = RandomActions(giver.simulation, seed + 3)
    for _ in range(_AFTER_FRAMES):
        if giver.ended:
            break
        drawn = actions.draw()
        giver.step(drawn)
        receiver.step(drawn)
        straight.add(giver.simulation)
        again.add(receiver.simulation)
    if difference := straight.first_difference(again):
        return f"after it was taken over, {difference} differs"
    if one.hash(one.save()) != other.hash(other.save()):
        return "after it was taken over, the states part"
    return None


def _play(game: EnvGame, seed: int, frames: int, trace: Trace | None = None) -> None:
    actions = RandomActions(game.simulation, seed)
    for _ in range(frames):
        if game.ended:
            break
        game.step(actions.draw())
        if trace is not None:
            trace.add(game.simulation)


def _opened(keeper: Keeper, parts: Any) -> tuple[Any, Any, bool, Any]:
    if not isinstance(parts, list) or len(parts) != 6 or parts[0] != _STATE:
        raise RefusedStateError("expected a state that can be taken over")
    _, name, described, drawn, ended, returned = parts
    if name != keeper.strategy.name:
        raise RefusedStateError(f"expected a state saved by {keeper.strategy.name}, got {name!r}")
    if (drawn is None) != (keeper.simulation.globals is None) or not isinstance(ended, bool):
        raise RefusedStateError("expected a state with the same parts")
    return described, drawn, ended, returned


def _checked_generators(drawn: Any) -> tuple[Any, Any]:
    """Return states of the global generators that these take without harm."""
    python, numbers = drawn
    random.Random().setstate(python)
    name, key, place, has_gauss, gauss = numbers
    # numpy does not look at how far into its numbers a generator is.
    if not isinstance(place, int) or not 0 <= place <= _MT19937_NUMBERS:
        raise RefusedStateError("expected a state of the generator MT19937")
    checked = (name, np.asarray(key, np.uint32), place, int(has_gauss), float(gauss))
    np.random.RandomState().set_state(checked)
    return python, checked


def _plain_returned(simulation: Simulation, returned: tuple[Any, ...]) -> list[Any]:
    """Return what a step returned, as far as it is plain, by the agents' places."""
    *parts, infos = returned
    plain: list[Any] = []
    for part in parts:
        found = [[i, part[a]] for i, a in enumerate(simulation.agents) if a in part]
        plain.append([pair for pair in found if _is_plain(pair)])
    of_infos = []
    for index, agent in enumerate(simulation.agents):
        if isinstance(info := infos.get(agent), dict):
            kept = {
                key: value
                for key, value in info.items()
                if str(key) not in simulation.excluded_info_keys and _is_plain([key, value])
            }
            of_infos.append([index, kept])
    return [*plain, of_infos]


def _returned(simulation: Simulation, plain: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Read what a step returned; an observation that did not travel stays the one that is there."""
    before = simulation.returned[0]
    parts: list[dict[Any, Any]] = []
    for fits, pairs in zip(_FITS, plain, strict=True):
        part: dict[Any, Any] = {}
        for index, value in pairs:
            if type(index) is not int or not 0 <= index < len(simulation.agents):
                raise RefusedStateError("expected what a step returns, got an unknown agent")
            agent = simulation.agents[index]
            if agent in part or not fits(simulation, agent, value):
                raise RefusedStateError(f"expected what a step returns to {agent}, got {value!r}")
            part[agent] = value
        parts.append(part)
    observations, rewards, terminations, truncations, infos = parts
    for agent in rewards:
        if agent not in observations and agent in before:
            observations[agent] = before[agent]
    return observations, rewards, terminations, truncations, infos


def _is_observation(simulation: Simulation, agent: Any, value: Any) -> bool:
    # Not every environment keeps to its own space, or has one.
    if _is_alike(value, simulation.returned[0].get(agent)):
        return True
    spaces = getattr(simulation.env, "observation_space", None)
    try:
        space = spaces if simulation.is_single or spaces is None else spaces(agent)
        return space is not None and bool(space.contains(value))
    except (AttributeError, KeyError, NotImplementedError, TypeError, ValueError):
        return False


def _is_alike(value: Any, own: Any) -> bool:
    if type(value) is not type(own):
        return False
    if isinstance(value, np.ndarray):
        return bool(value.dtype == own.dtype and value.shape == own.shape)
    if isinstance(value, dict):
        return value.keys() == own.keys() and all(_is_alike(value[k], own[k]) for k in own)
    if isinstance(value, list | tuple):
        return len(value) == len(own) and all(map(_is_alike, value, own))
    return True


def _is_number(_: Simulation, __: Any, value: Any) -> bool:
    is_array = isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf"
    return isinstance(value, int | float | np.number | np.bool_) or is_array


def _is_end(_: Simulation, __: Any, value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_info(_: Simulation, __: Any, value: Any) -> bool:
    return isinstance(value, dict)


# What each part of what a step returns may be, by agent.
_FITS = (_is_observation, _is_number, _is_end, _is_end, _is_info)


def _is_plain(value: Any) -> bool:
    try:
        encode_value(value)
    except EncodingError:
        return False
    return True
