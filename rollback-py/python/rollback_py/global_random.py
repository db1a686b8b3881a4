"""The generators of ``random`` and ``numpy.random``, kept apart for one environment.

An environment that draws from them would be disturbed by everything else in the process that does,
and nothing else runs on the other computers.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from types import TracebackType

# The seeds that ``numpy.random.seed`` takes.
_NUMPY_SEEDS = 2**32


class GlobalRandom:
    """The environment's own state of the global generators, in force within ``with``."""

    def __init__(self, seed: int) -> None:
        self._outer = _get()
        self._own = self._outer
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start anew from a seed."""
        outer = _get()
        random.seed(seed)
        np.random.seed(seed % _NUMPY_SEEDS)
        self._own = _get()
        _set(outer)

    def save(self) -> tuple[Any, Any]:
        """Return the state; it is never changed afterwards."""
        return self._own

    def load(self, state: tuple[Any, Any]) -> None:
        """Go back to a saved state."""
        self._own = state

    def __enter__(self) -> None:
        self._outer = _get()
        _set(self._own)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._own = _get()
        _set(self._outer)


class Watch:
    """Tells whether anything drew from the global generators since it was made."""

    def __init__(self) -> None:
        self._python, self._numpy = _get()

    @property
    def moved(self) -> bool:
        """Whether a generator moved."""
        python, numpy = _get()
        keys = np.array_equal(numpy[1], self._numpy[1])
        return bool(python != self._python or not keys or numpy[2:] != self._numpy[2:])


def _get() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()


def _set(state: tuple[Any, Any]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
