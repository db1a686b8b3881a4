"""Actions as bytes."""

import random

import numpy as np
import pytest
from gymnasium import spaces
from rollback_py import SpaceError
from rollback_py._rollback import ActionCodec

SPACES = [
    spaces.Discrete(1),
    spaces.Discrete(7),
    spaces.Discrete(256, start=-3),
    spaces.Discrete(257),
    spaces.Discrete(70_000, start=10),
    spaces.Discrete(2**40),
    spaces.MultiDiscrete([3, 300, 2]),
    spaces.MultiDiscrete([[2, 3], [4, 70_000]], dtype=np.int32),
    spaces.MultiDiscrete([3, 4], start=[-1, 5]),
    spaces.MultiBinary(5),
    spaces.MultiBinary((2, 3)),
    spaces.Box(-1, 1, (2,), np.float32),
    spaces.Box(np.array([-np.inf, 0]), np.array([0, np.inf]), dtype=np.float64),
    spaces.Box(-2, 3, (), np.float16),
    spaces.Box(0, 255, (2, 2), np.uint8),
    spaces.Box(-(2**62), 2**62, (1,), np.int64),
    spaces.Box(0, 2**64 - 1, (1,), np.uint64),
    spaces.Box(0, 1, (3,), np.bool_) if hasattr(np, "bool_") else spaces.Discrete(2),
    spaces.Text(4),
    spaces.Text(3, min_length=0, charset="ab€"),
    spaces.Tuple([spaces.Discrete(3), spaces.Box(0, 1, (2,))]),
    spaces.Dict(b=spaces.Discrete(3), a=spaces.Tuple([spaces.MultiBinary(2), spaces.Text(2)])),
]


def codec(*members, **options):
    return ActionCodec([f"agent{i}" for i in range(len(members))], list(members), **options)


def same(a, b):
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return type(b) is tuple and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_what_is_sampled_comes_back_with_its_types(space):
    actions = codec(space)
    space.seed(1)
    for _ in range(200):
        action = space.sample()
        encoded = actions.encode(0, action)
        assert len(encoded) == actions.width
        decoded, valid = actions.decode(0, encoded)
        assert valid
        assert same(action, decoded), (action, decoded)
        assert actions.encode(0, decoded) == encoded


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_any_bytes_become_a_member_of_the_space(space):
    actions = codec(space)
    source = random.Random(1)
    idle = actions.idle(0)
    for length in [actions.width] * 300 + [0, 1, actions.width + 1, 1000]:
        encoded = source.randbytes(length)
        before = actions.invalid_actions
        action, valid = actions.decode(0, encoded)
        assert space.contains(action)
        assert actions.invalid_actions == before + (not valid)
        if valid:
            assert actions.encode(0, action) == encoded
        else:
            assert actions.encode(0, action) == idle


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_the_idle_action_is_in_the_space(space):
    actions = codec(space)
    action, valid = actions.decode(0, actions.idle(0))
    assert valid
    assert space.contains(action)


def test_the_idle_action_is_the_first_or_nearest_to_zero():
    actions = codec(spaces.Discrete(5, start=3), spaces.Box(2, 4, (1,)), spaces.Box(-1, 1, (1,)))
    assert [actions.decode(i, actions.idle(i))[0] for i in range(3)] == [3, [2], [0]]


def test_the_user_can_say_what_idle_is():
    actions = codec(spaces.Discrete(7), spaces.Discrete(7), idle={"agent1": 6})
    assert [actions.decode(i, actions.idle(i))[0] for i in range(2)] == [0, 6]
    assert actions.decode(1, b"\xff") == (6, False)
    with pytest.raises(SpaceError, match=r"agent0: the action 7 is not in Discrete\(7\)"):
        codec(spaces.Discrete(7), idle={"agent0": 7})


@pytest.mark.parametrize(
    ("space", "action"),
    [
        (spaces.Discrete(3), 3),
        (spaces.Discrete(3), -1),
        (spaces.Discrete(3), 1.0),
        (spaces.Discrete(3), True),
        (spaces.Discrete(3), "1"),
        (spaces.Discrete(3), None),
        (spaces.Discrete(3), 2**200),
        (spaces.MultiDiscrete([2, 2]), [0, 2]),
        (spaces.MultiDiscrete([2, 2]), [0]),
        (spaces.MultiDiscrete([2, 2]), [0.5, 0]),
        (spaces.MultiBinary(2), [0, 2]),
        (spaces.Box(0, 1, (2,)), [0, 2]),
        (spaces.Box(0, 1, (2,)), [0, float("nan")]),
        (spaces.Box(0, 1, (2,)), ["a", "b"]),
        (spaces.Text(2, charset="ab"), "abc"),
        (spaces.Text(2, charset="ab"), ""),
        (spaces.Text(2, charset="ab"), "c"),
        (spaces.Text(2, charset="ab"), 1),
        (spaces.Tuple([spaces.Discrete(2)]), (0, 0)),
        (spaces.Tuple([spaces.Discrete(2)]), 0),
        (spaces.Dict(a=spaces.Discrete(2)), {"b": 0}),
        (spaces.Dict(a=spaces.Discrete(2)), {"a": 0, "b": 0}),
        (spaces.Dict(a=spaces.Discrete(2)), None),
    ],
)
def test_an_action_outside_the_space_is_named_with_its_agent(space, action):
    with pytest.raises(SpaceError, match=r"agent1: the action .* is not in"):
        codec(spaces.Discrete(2), space).encode(1, action)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Graph(spaces.Discrete(2), None),
        spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]),
        spaces.Tuple([spaces.Discrete(2), spaces.Sequence(spaces.Discrete(2))]),
    ],
)
def test_spaces_without_a_fixed_width_are_refused_by_name(space):
    with pytest.raises(SpaceError, match=r"agent0: the space .*(Sequence|Graph|OneOf)"):
        codec(space)


def test_the_width_is_limited():
    assert codec(spaces.Box(0, 1, (128,), np.float32)).width == 512
    with pytest.raises(SpaceError, match="need 516 bytes, 512 are allowed"):
        codec(spaces.Box(0, 1, (129,), np.float32))


def test_narrow_actions_are_padded_and_the_padding_is_checked():
    actions = codec(spaces.Discrete(2), spaces.MultiBinary(4))
    assert actions.width == 4
    assert actions.encode(0, 1) == b"\1\0\0\0"
    assert actions.decode(0, b"\1\0\0\1") == (0, False)


def test_joint_actions_are_of_the_agents_that_take_part():
    actions = ActionCodec(["x", "y"], [spaces.Discrete(3)] * 2)
    assert actions.decode_joint([b"\1", b"\2"], ["y"]) == {"y": 2}
    assert actions.decode_joint([b"\1", b"\xff"], ["x", "y"]) == {"x": 1, "y": 0}
    assert actions.invalid_actions == 1
    with pytest.raises(SpaceError, match="expected 2 values"):
        actions.decode_joint([b"\1"], ["x"])


def test_a_player_that_is_not_there_is_an_error():
    with pytest.raises(SpaceError, match="no player 1"):
        codec(spaces.Discrete(2)).idle(1)
