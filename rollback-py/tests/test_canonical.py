"""The canonical encoding of values and of states."""

import collections
import enum
import functools
import random
from dataclasses import dataclass

import numpy as np
import pytest
import random_values
import reference_encoder
from rollback_py import EncodingError
from rollback_py._rollback import Snapshots, decode_value, encode_value, hash_bytes


def encode_state(value):
    snapshots = Snapshots([("", value)])
    return snapshots.encode(snapshots.save())


def leaves(value):
    snapshots = Snapshots([("", value)])
    return snapshots.leaves(snapshots.save())


def test_the_encoding_equals_the_reference_for_thousands_of_random_values():
    source = random.Random(11)
    for _ in range(8000):
        value = random_values.plain(source)
        assert encode_value(value) == reference_encoder.encode(value), repr(value)


def test_decoding_gives_back_a_value_of_the_same_types_and_bytes():
    source = random.Random(12)
    for _ in range(3000):
        value = random_values.plain(source)
        encoded = encode_value(value)
        decoded = decode_value(encoded)
        assert encode_value(decoded) == encoded
        assert type(decoded) is type(value)


def test_the_state_of_a_value_without_shared_parts_is_its_encoding():
    source = random.Random(13)
    for _ in range(2000):
        value = random_values.plain(source)
        assert encode_state(value) == encode_value(value), repr(value)


def test_hostile_bytes_are_an_error_or_the_canonical_form_of_something():
    source = random.Random(14)
    outcomes = collections.Counter()
    for _ in range(3000):
        encoded = bytearray(encode_value(random_values.plain(source)))
        for _ in range(source.randrange(1, 4)):
            encoded[source.randrange(len(encoded))] = source.randrange(256)
        if source.random() < 0.3:
            del encoded[source.randrange(len(encoded)) :]
        try:
            value = decode_value(bytes(encoded))
        except EncodingError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            if b"a" not in encoded and b"n" not in encoded:
                assert encode_value(value) == bytes(encoded)
    assert min(outcomes["refused"], outcomes["read"]) > 100


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"?",
        b"l\xff\xff\xff\xff",
        b"d\xff\xff\xff\x7f",
        b"s\xff\xff\xff\xff",
        b"i\x00\x00\x00\x00",
        b"i\x02\x00\x00\x00\x01\x00",
        b"s\x01\x00\x00\x00\xff",
        b"f\x01\x00\x00\x00\x00\x00\xf8\x7f",
        b"NN",
        b"a\x03\x00\x00\x00|O8\x00",
        b"a\x03\x00\x00\x00<f8\x02" + b"\xff" * 16,
        b"a\x03\x00\x00\x00<f8\xff" + b"\x00" * 100,
        b"n\x03\x00\x00\x00|b1\x07",
        b"d\x02\x00\x00\x00" + 2 * (b"i\x01\x00\x00\x00\x01" + b"N"),
        b"d\x02\x00\x00\x00" + b"T" + b"N" + b"i\x01\x00\x00\x00\x01" + b"N",
        b"d\x01\x00\x00\x00" + b"l\x00\x00\x00\x00" + b"N",
        b"l\x01\x00\x00\x00" * 5000 + b"N",
    ],
)
def test_bytes_that_are_no_canonical_value_are_refused(hostile):
    with pytest.raises(EncodingError):
        decode_value(hostile)


def test_nesting_is_decoded_up_to_its_limit_and_not_beyond():
    at_limit = b"l\x01\x00\x00\x00" * 64 + b"N"
    assert encode_value(decode_value(at_limit)) == at_limit
    with pytest.raises(EncodingError, match="64 deep"):
        decode_value(b"l\x01\x00\x00\x00" + at_limit)
    value = None
    for _ in range(65):
        value = [value]
    with pytest.raises(EncodingError, match="64 deep"):
        encode_value(value)


def test_values_of_different_types_are_different():
    values = [True, 1, 1.0, np.int64(1), np.int32(1), np.float64(1), np.bool_(1), "1", b"1"]
    values += [(1,), [1], np.array([1]), np.array(1), 0.0, -0.0]
    for encode in (encode_value, encode_state):
        assert len({encode(value) for value in values}) == len(values)


def test_every_nan_is_one():
    odd = np.frombuffer(bytes.fromhex("010000000000f8ff"), "<f8").item()
    assert encode_value(odd) == encode_value(float("nan")) == encode_value(-float("nan"))


def test_insertion_order_does_not_matter():
    for make in (dict, lambda items: {k for k, _ in items}, lambda items: frozenset(dict(items))):
        items = [(f"k{i}", i) for i in range(50)] + [((i, "t"), i) for i in range(50)]
        first = encode_state(make(items))
        random.Random(1).shuffle(items)
        assert encode_state(make(items)) == first


def test_arrays_are_equal_whatever_their_memory_is():
    array = np.arange(24, dtype="<i4").reshape(2, 3, 4)
    forms = [array, array.astype(">i4"), np.asfortranarray(array), np.repeat(array, 2, 0)[::2]]
    assert len({encode_state(form) for form in forms}) == 1
    assert len({encode_value(form) for form in forms}) == 1
    assert encode_state(array) != encode_state(array.reshape(3, 2, 4))


def test_a_graph_takes_linear_space_and_cycles_end():
    node = []
    for _ in range(200):
        node = [node, node]
    assert len(encode_state(node)) < 200 * 20
    node = {}
    node["self"] = node
    assert encode_state(node) == encode_state(node)


def test_a_long_linked_list_is_no_problem():
    class Node:
        pass

    first = node = Node()
    for _ in range(100_000):
        node.next = Node()
        node = node.next
    assert len(encode_state(first)) > 100_000


def test_sharing_is_part_of_the_state():
    one, two = [1], [1]
    assert encode_state([one, one]) != encode_state([one, two])


@pytest.mark.parametrize("holder", [lambda x: [x, {"again": x}], lambda x: [{"again": x}, x]])
def test_the_content_of_a_shared_object_counts_wherever_it_is_met(holder):
    shared = {"x": 1}
    before = encode_state(holder(shared))
    shared["x"] = 2
    assert encode_state(holder(shared)) != before


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: list


Pair = collections.namedtuple("Pair", "a b")


class CountingDict(dict):
    def __init__(self):
        super().__init__()
        self.extra = 1


class Age(int):
    pass


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: [Colour.RED], lambda v: v.__setitem__(0, Colour.BLUE)),
        (lambda: Point(1, [2]), lambda v: v.y.append(1)),
        (lambda: Pair(1, [2]), lambda v: v.b.append(1)),
        (lambda: collections.deque([1, 2]), lambda v: v.rotate(1)),
        (lambda: collections.OrderedDict(a=1, b=2), lambda v: v.move_to_end("a")),
        (lambda: collections.defaultdict(list, a=[1]), lambda v: v["a"].append(1)),
        (lambda: collections.Counter("abc"), lambda v: v.update("a")),
        (CountingDict, lambda v: setattr(v, "extra", 2)),
        (lambda: [Age(3)], lambda v: v.__setitem__(0, 3)),
        (lambda: {1, 2}, lambda v: v.add(3)),
        (lambda: bytearray(b"ab"), lambda v: v.append(1)),
        (lambda: np.random.default_rng(1), lambda v: v.random()),
        (lambda: np.random.RandomState(1), lambda v: v.rand()),
        (lambda: random.Random(1), lambda v: v.random()),
        (lambda: np.array([{}, []], object), lambda v: v[0].update(a=1)),
        (lambda: functools.partial(print, [1]), lambda v: v.args[0].append(2)),
        (lambda: [slice(1, 2), range(3)], lambda v: v.__setitem__(1, range(4))),
        (lambda: {(1, 2): []}, lambda v: v[1, 2].append(1)),
    ],
)
def test_equal_things_are_equal_and_a_change_shows(make, change):
    one, other = make(), make()
    assert encode_state(one) == encode_state(other)
    change(one)
    assert encode_state(one) != encode_state(other)
    change(other)
    assert encode_state(one) == encode_state(other)


def test_closures_are_state():
    def make():
        count = 0

        def tick():
            nonlocal count
            count += 1
            return count

        return tick

    one, other = make(), make()
    assert encode_state(one) == encode_state(other)
    one()
    assert encode_state(one) != encode_state(other)


def test_what_has_no_encoding_is_named_with_its_path():
    class Env:
        pass

    env, agent = Env(), Env()
    agent._foo = object()
    env.agents = [agent, {"deep": (1, iter([3]), complex(1, 2))}]
    assert encode_state(env)
    with pytest.raises(EncodingError, match="plain values"):
        encode_value({"a": object()})


def test_leaves_name_the_first_difference():
    class Env:
        def __init__(self, pos):
            self.agents = [{"pos": (0, 0)}, {"pos": pos}]

    a, b = leaves(Env((1, 2))), leaves(Env((1, 3)))
    assert [path for path, _ in a] == [path for path, _ in b]
    differing = [x[0] for x, y in zip(a, b, strict=True) if x != y]
    assert differing == ["agents[1]['pos'][1]"]


def test_the_hash_is_that_of_the_encoding():
    value = {"a": np.arange(10_000), "b": [1, 2, {3}]}
    snapshots = Snapshots([("", value)])
    snapshot = snapshots.save()
    assert snapshots.hash(snapshot) == hash_bytes(snapshots.encode(snapshot))
    assert len(snapshots.hash(snapshot)) == 16
