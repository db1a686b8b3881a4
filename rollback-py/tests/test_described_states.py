"""How two states differ, value by value, as two dumps of a desync are compared."""

import numpy as np
import pytest
from rollback_py._rollback import Snapshots, decode_value, encode_value
from rollback_py.described_states import differences


class Thing:
    def __init__(self, **fields):
        self.__dict__.update(fields)


def differ(one, other, count=10):
    """Describe both as they travel, and compare."""
    found = []
    for thing in (one, other):
        snapshots = Snapshots([("", thing)])
        described = snapshots.describe(snapshots.save())
        found.append(decode_value(encode_value(described)))
    return differences(*found, is_plain=False, count=count)


GRID = np.arange(6.0).reshape(2, 3).copy()


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (GRID, GRID.copy(), []),
        (GRID, changed(GRID, (1, 2), 7), [("a[1, 2]", "np.float64(5.0)", "np.float64(7.0)")]),
        # Equal to Python, and not the same bits.
        (
            GRID,
            changed(GRID, (0, 0), -0.0),
            [("a[0, 0]", "np.float64(0.0)", "np.float64(-0.0)")],
        ),
        # Unequal to themselves, and the same bits.
        (changed(GRID, (0, 1), np.nan), changed(GRID, (0, 1), np.nan), []),
        (np.float32(2), np.float32(3), [("a", "np.float32(2.0)", "np.float32(3.0)")]),
        (np.float32(2), np.float64(2), [("a", "np.float32(2.0)", "np.float64(2.0)")]),
        (np.float64(2), 2.0, [("a", "np.float64(2.0)", "2.0")]),
        (np.bool_(True), True, [("a", "np.True_", "True")]),
        (np.array(3), np.array(4), [("a", "array(3)", "array(4)")]),
        (
            np.zeros(2, np.int8),
            np.zeros(2, np.int16),
            [("a", "array([0, 0], dtype=int8)", "array([0, 0], dtype=int16)")],
        ),
        (np.zeros(2), np.zeros(3), [("a", "array([0., 0.])", "array([0., 0., 0.])")]),
        (np.zeros(0), np.zeros((0, 2)), [
            ("a", "array([], dtype=float64)", "array([], shape=(0, 2), dtype=float64)"),
        ]),
        (np.asfortranarray(GRID), GRID, [("a (form)", "'F'", "'C'")]),
        (GRID[:], GRID, [("a (parts)", "['v']", "['a']")]),
        ([GRID, {"x": np.int64(1)}], [GRID, {"x": np.int64(2)}], [
            ("a[1]['x']", "np.int64(1)", "np.int64(2)"),
        ]),
        (np.array([1, "x"], object), np.array([1, "y"], object), [("a[1]", "'x'", "'y'")]),
        (GRID, None, [("a", "a ndarray", "None")]),
    ],
)  # fmt: skip
def test_numpy_values_are_compared_by_their_bits_and_named_by_their_places(one, other, expected):
    assert differ(Thing(a=one), Thing(a=other)) == expected
    turned = [(path, its, mine) for path, mine, its in expected]
    assert differ(Thing(a=other), Thing(a=one)) == turned


def test_views_onto_other_places_differ():
    one, other = Thing(all=np.zeros(4)), Thing(all=np.zeros(4))
    one.part, other.part = one.all[:2], other.all[1:3]
    assert differ(one, other) == [("part (form)", "0", "8")]


def test_so_many_elements_are_named_and_no_more():
    one, other = Thing(a=np.zeros(5000)), Thing(a=np.ones(5000))
    assert [path for path, *_ in differ(one, other, count=3)] == ["a[0]", "a[1]", "a[2]"]


def test_a_plain_value_of_the_environments_own_methods_is_compared_likewise():
    wrappers = [[], []]
    one, other = {"grid": GRID, "n": (np.int8(1), 2)}, {"grid": GRID + 0, "n": (np.int8(3), 2)}
    (found,) = differences([one, wrappers], [other, wrappers], is_plain=True, count=10)
    assert found == ("state['n'][0]", "np.int8(1)", "np.int8(3)")
    other = {"grid": changed(GRID, (0, 1), 5), "n": one["n"]}
    (found,) = differences([one, wrappers], [other, wrappers], is_plain=True, count=10)
    assert found == ("state['grid'][0, 1]", "np.float64(1.0)", "np.float64(5.0)")
