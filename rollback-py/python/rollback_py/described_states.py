"""How two described states differ, value by value. ``src/transfer/mod.rs`` says what they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any

import numpy as np

from rollback_py._rollback import encode_value

_MISSING = ("missing",)

# Of one array no more elements are shown than this.
_SHOWN_ELEMENTS = 1000


def differences(one: Any, other: Any, *, is_plain: bool, count: int) -> list[tuple[str, str, str]]:
    """Return path and both values of the first values that differ.

    `is_plain` says that these are a plain value and the wrappers' state, in place of one state.
    """
    found: Iterator[tuple[str, str, str]]
    found = _of_methods(one, other) if is_plain else _States(one, other).differences()
    try:
        return list(islice(found, count))
    except (TypeError, ValueError, IndexError, KeyError):  # no state that this program described
        return []


def _of_methods(one: Any, other: Any) -> Iterator[tuple[str, str, str]]:
    (state, wrappers), (other_state, other_wrappers) = one, other
    yield from _of_plain("state", state, other_state)
    yield from _States(wrappers, other_wrappers).differences()


def _of_plain(path: str, one: Any, other: Any) -> Iterator[tuple[str, str, str]]:
    """Compare two plain values."""
    pending = [(path, one, other)]
    while pending:
        path, one, other = pending.pop()
        if _is_equal(one, other):
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            keys = [*one, *(key for key in other if key not in one)]
            inner = [
                (f"{path}[{key!r}]", one.get(key, _MISSING), other.get(key, _MISSING))
                for key in keys
            ]
            pending += reversed(inner)
        elif isinstance(one, list | tuple) and type(one) is type(other):
            pending += reversed(_in_order(path, one, other))
        else:
            places = _of_arrays(path, one, other)
            if places is None:
                yield _shown(path, one, other)
            else:
                pending += reversed(places)


class _States:
    """Two described states, walked from their roots at the same time."""

    def __init__(self, one: Any, other: Any) -> None:
        (self._roots, self._nodes), (self._other_roots, self._other_nodes) = one, other
        self._seen: set[tuple[int, int]] = set()

    def differences(self) -> Iterator[tuple[str, str, str]]:
        """Compare value by value, each pair of objects once."""
        pending = [("", a, b) for a, b in zip(self._roots, self._other_roots, strict=True)]
        while pending:
            path, one, other = pending.pop()
            inner = self._inner(path, one, other)
            if inner is not None:
                pending += reversed(inner)
            elif not _is_equal(one, other):
                yield _shown(
                    path, self._named(one, self._nodes), self._named(other, self._other_nodes)
                )

    def _inner(self, path: str, one: Any, other: Any) -> list[tuple[str, Any, Any]] | None:
        """Return what two values of the same form consist of; None where they are compared."""
        if isinstance(one, np.ndarray):
            return _of_arrays(path, one, other)
        if not isinstance(one, tuple) or not isinstance(other, tuple) or one[0] != other[0]:
            return None
        if one[0] in ("t", "T", "z"):
            return _in_order(path, one[-1], other[-1])
        if one[0] != "r":
            return None
        pair = one[1], other[1]
        if pair in self._seen:
            return []
        self._seen.add(pair)
        return self._of_nodes(path, self._nodes[pair[0]], self._other_nodes[pair[1]])

    def _of_nodes(self, path: str, one: Any, other: Any) -> list[tuple[str, Any, Any]] | None:
        (name, entries), (other_name, other_entries) = one, other
        codes, other_codes = [e[0] for e in entries], [e[0] for e in other_entries]
        if name != other_name:
            return [(f"{path} is a", name, other_name)]
        if codes != other_codes:
            return [(f"{path} (parts)", codes, other_codes)]
        inner: list[tuple[str, Any, Any]] = []
        for entry, its in zip(entries, other_entries, strict=True):
            # Such as the order of an array's memory, or where in another one it lies.
            inner += [(f"{path} (form)", a, b) for a, b in zip(entry[1:-1], its[1:-1], strict=True)]
            if entry[0] == "F":
                inner += _in_pairs(path, entry[1], its[1], ".{}")
            elif entry[0] in ("d", "D"):
                inner += _in_pairs(path, entry[1], its[1], "[{!r}]")
            elif entry[0] == "R":
                inner += [(f"{path} (generator)", repr(entry[1]), repr(its[1]))]
            elif isinstance(entry[-1], list):
                inner += _in_order(path, entry[-1], its[-1])
            else:
                inner += [(path, entry[-1], its[-1])]
        return inner

    def _named(self, value: Any, nodes: Any) -> Any:
        """Return what is shown of a value: of an object its class."""
        if isinstance(value, tuple) and value[0] == "r":
            return f"a {nodes[value[1]][0]}"
        return value


def _in_order(path: str, one: Any, other: Any) -> list[tuple[str, Any, Any]]:
    pairs = zip_longest(one, other, fillvalue=_MISSING)
    return [(f"{path}[{index}]", a, b) for index, (a, b) in enumerate(pairs)]


def _in_pairs(path: str, one: Any, other: Any, step: str) -> list[tuple[str, Any, Any]]:
    """Compare by name or key; that they come in another order is a difference, too."""
    mine, its = ({repr(key): (key, value) for key, value in _twos(of)} for of in (one, other))
    inner = []
    if list(mine) != list(its) and mine.keys() == its.keys():
        inner.append((f"{path} (order)", ", ".join(mine), ", ".join(its)))
    for name in [*mine, *(name for name in its if name not in mine)]:
        key, value = mine.get(name, (None, _MISSING))
        other_key, other_value = its.get(name, (None, _MISSING))
        shown = _key(key if name in mine else other_key)
        inner.append(((path + step.format(shown)).removeprefix("."), value, other_value))
    return inner


def _twos(values: Any) -> Iterator[tuple[Any, Any]]:
    return zip(values[::2], values[1::2], strict=True)


def _key(key: Any) -> Any:
    """Return a key as it was: a tuple is described by its elements."""
    if isinstance(key, tuple) and key[0] == "t":
        return tuple(_key(element) for element in key[1])
    return key


def _of_arrays(path: str, one: Any, other: Any) -> list[tuple[str, Any, Any]] | None:
    """Return the elements that differ; None for what are no two arrays of one form."""
    if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
        return None
    if one.dtype != other.dtype or one.shape != other.shape or one.ndim == 0 or one.nbytes == 0:
        return None
    size = one.dtype.itemsize
    bits, others = (
        np.frombuffer(array.tobytes(), np.uint8).reshape(-1, size) for array in (one, other)
    )
    places = np.flatnonzero((bits != others).any(axis=1))[:_SHOWN_ELEMENTS]
    differ = [tuple(map(int, np.unravel_index(place, one.shape))) for place in places]
    return [(f"{path}[{', '.join(map(str, index))}]", one[index], other[index]) for index in differ]


def _is_equal(one: Any, other: Any) -> bool:
    return encode_value(one) == encode_value(other)


def _shown(path: str, one: Any, other: Any) -> tuple[str, str, str]:
    return path or "the environment itself", _brief(one), _brief(other)


def _brief(value: Any) -> str:
    if value is _MISSING:
        return "nothing"
    text = value if isinstance(value, str) and value.startswith("a ") else repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
