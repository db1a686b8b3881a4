"""CoGrid's Overcooked in the cramped room, and a scripted cook who plays either agent.

rollback play LINK --env kitchen:make_env --policy kitchen:Cook
rollback play LINK --env kitchen:make_env --keys w=0,s=1,a=2,d=3,space=4,none=6
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cogrid.envs import registry

if TYPE_CHECKING:
    import numpy as np

UP, DOWN, LEFT, RIGHT, PICK_OR_DROP, _TOGGLE, NOOP = range(7)
ACTION_NAMES = ["up", "down", "left", "right", "pick up / drop", "toggle", "no key"]

# What makes a reward in this kitchen: 20 for each agent for every soup that is served.
DELIVERY_REWARD = 20.0


def make_env() -> Any:
    """Make the environment, unchanged; it can be drawn, for those who play at a keyboard."""
    return registry.make("Overcooked-CrampedRoom-V0", render_mode="rgb_array")


# The kitchen, by row and column: cooks walk on the six cells in the middle.
#
#       0 1 2 3 4
#   0   # # U # #      U pot
#   1   O . . . O      O onions
#   2   # . . . #
#   3   # = # @ #      = plates, @ counter where soup is served
FLOOR = frozenset((row, column) for row in (1, 2) for column in (1, 2, 3))
STEPS = {UP: (-1, 0), DOWN: (1, 0), LEFT: (0, -1), RIGHT: (0, 1)}

# Where to stand for each thing, and where to look from there.
POT = ((1, 2), UP)
PLATES = ((2, 1), DOWN)
SERVING = ((2, 3), DOWN)
ONIONS = (((1, 1), LEFT), ((1, 3), RIGHT))
# Where to wait with a plate: nobody has to stand there.
WAITING = ((2, 2), DOWN)

POT_SIZE = 3

Cell = tuple[int, int]
Place = tuple[Cell, int]


@dataclass(frozen=True)
class Seen:
    """What an observation says of one cook."""

    cell: Cell
    looks: int
    """The key that turns a cook this way."""
    holds: str | None

    @classmethod
    def of(cls, features: np.ndarray) -> Seen:
        """Read the features of one cook, in the order of the environment's config."""
        looks = (RIGHT, DOWN, LEFT, UP)[int(features[0:4].argmax())]
        held = features[4:9]
        things = ("onion", "soup", "plate", "tomato", "soup")
        return cls(
            cell=(int(features[55]), int(features[56])),
            looks=looks,
            holds=things[int(held.argmax())] if held.any() else None,
        )


@dataclass(frozen=True)
class Kitchen:
    """What an observation says: the first 61 features are this cook's, the next 61 the other's."""

    me: Seen
    other: Seen
    onions_in_pot: int
    is_cooking: bool
    is_ready: bool

    @classmethod
    def of(cls, observation: np.ndarray) -> Kitchen:
        """Read an observation."""
        pot = observation[29:41]
        return cls(
            me=Seen.of(observation[0:61]),
            other=Seen.of(observation[61:122]),
            onions_in_pot=int(pot[5]),
            is_cooking=bool(pot[3]),
            is_ready=bool(pot[1]),
        )


class Cook:
    """Cooks and serves with whoever else is there, by tapping keys.

    A tap lasts one frame, since the cook moves a cell in each frame in which a key is held. What
    comes next is decided anew at each tap, from what is seen then. No person taps as often: here
    every frame differs from the one before, so that every guess of the other's action is wrong.
    """

    FRAMES_A_TAP = 2

    def __init__(self) -> None:
        self._frame = 0

    def __call__(self, observation: np.ndarray) -> int:
        """Return the key that is held in the next frame."""
        self._frame += 1
        if self._frame % self.FRAMES_A_TAP:
            return NOOP
        kitchen = Kitchen.of(observation)
        place, is_to_act = task(kitchen)
        return key_for(kitchen, place, is_to_act=is_to_act)


def task(kitchen: Kitchen) -> tuple[Place, bool]:
    """Say where to go next, and whether to pick up or drop something there or to wait."""
    me, other = kitchen.me, kitchen.other
    is_full = kitchen.is_cooking or kitchen.is_ready
    if me.holds == "soup":
        return SERVING, True
    if me.holds == "plate":
        if other.holds == "plate" and me.cell < other.cell:
            return (me.cell, _to_counter(me.cell)), True  # one plate is enough
        return (POT, True) if kitchen.is_ready else (WAITING, False)
    if me.holds == "onion":
        return (_nearest(ONIONS, kitchen), False) if is_full else (POT, True)
    onions = kitchen.onions_in_pot + (other.holds == "onion")
    is_onion_missing = not is_full and onions < POT_SIZE
    if is_onion_missing or other.holds in ("plate", "soup"):
        return _nearest(ONIONS, kitchen), True
    if other.holds is None and _distance(other, PLATES, me) < _distance(me, PLATES, other):
        return _nearest(ONIONS, kitchen), True  # the other one is nearer to the plates
    return PLATES, True


def key_for(kitchen: Kitchen, place: Place, *, is_to_act: bool) -> int:
    """Return the key to tap on the way to a place, or there."""
    cell, looks = place
    me = kitchen.me
    if me.cell != cell:
        return _step(me.cell, cell, kitchen.other.cell)
    return PICK_OR_DROP if is_to_act and me.looks == looks else looks


def _step(start: Cell, goal: Cell, taken: Cell) -> int:
    """Return the first step of a shortest way around the other cook."""
    came_by = {start: NOOP}
    cells = [start]
    for cell in cells:
        for key, (down, right) in STEPS.items():
            beside = (cell[0] + down, cell[1] + right)
            if beside in FLOOR and beside != taken and beside not in came_by:
                came_by[beside] = key if cell == start else came_by[cell]
                cells.append(beside)
    if goal in came_by:
        return came_by[goal]
    # The other cook stands there: go near and wait.
    return min(STEPS, key=lambda key: _steps_between(_beside(start, key), goal))


def _nearest(places: tuple[Place, ...], kitchen: Kitchen) -> Place:
    free = [place for place in places if place[0] != kitchen.other.cell]
    return min(free, key=lambda place: _steps_between(kitchen.me.cell, place[0]))


def _distance(cook: Seen, place: Place, other: Seen) -> tuple[int, Cell]:
    """Order two cooks by how near they are to a place; no two are equal."""
    return _steps_between(cook.cell, place[0]), cook.cell


def _steps_between(one: Cell, other: Cell) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _beside(cell: Cell, key: int) -> Cell:
    return cell[0] + STEPS[key][0], cell[1] + STEPS[key][1]


def _to_counter(cell: Cell) -> int:
    """Return the key that turns to a free counter, from cells that have one."""
    return {(1, 1): UP, (1, 3): UP, (2, 1): LEFT, (2, 3): RIGHT, (2, 2): DOWN}.get(cell, DOWN)
