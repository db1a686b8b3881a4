"""Saving and restoring object graphs in place."""

import array
import collections
import functools
import random
import threading
import weakref

import numpy as np
import pytest
from rollback_py import SnapshotError
from rollback_py._rollback import Snapshots


class Thing:
    """A plain object with some fields."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


class Slotted:
    __slots__ = ("__weakref__", "a", "b")


def digest(snapshots):
    return snapshots.encode(snapshots.save())


def check_restore(root, change):
    """Save, change, restore, compare; twice, since the first restore must not use it up."""
    snapshots = Snapshots([("", root)])
    snapshot = snapshots.save()
    before = snapshots.encode(snapshot)
    for _ in range(2):
        change(root)
        assert digest(snapshots) != before, "the change is not seen"
        assert snapshots.encode(snapshot) == before, "the snapshot changed"
        snapshots.load(snapshot)
        assert digest(snapshots) == before


def replace_all(root):
    root.__dict__.clear()
    root.other = 1


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: Thing(a=1), lambda r: setattr(r, "a", 2)),
        (lambda: Thing(a=1, b=2), replace_all),
        (lambda: Thing(a=1), lambda r: setattr(r, "b", 2)),
        (lambda: Thing(a=[1, [2]]), lambda r: r.a[1].append(3)),
        (lambda: Thing(a=[1, 2, 3]), lambda r: r.a.clear()),
        (lambda: Thing(a=[1, 2, 3]), lambda r: r.a.reverse()),
        (lambda: Thing(a={"x": 1, "y": 2}), lambda r: r.a.pop("x")),
        (lambda: Thing(a={"x": 1}), lambda r: r.a.update(x=2, z=3)),
        (lambda: Thing(a={1, 2}), lambda r: r.a.symmetric_difference_update({2, 3})),
        (lambda: Thing(a=(1, [2])), lambda r: r.a[1].append(3)),
        (lambda: Thing(a=frozenset({Thing(b=1)})), lambda r: setattr(next(iter(r.a)), "b", 2)),
        (lambda: Thing(a=np.zeros((2, 3))), lambda r: r.a.fill(1)),
        (lambda: Thing(a=np.zeros((2, 3), order="F")), lambda r: r.a.fill(1)),
        (lambda: Thing(a=np.zeros((4, 6))[::2, ::3]), lambda r: r.a.fill(1)),
        (lambda: Thing(a=np.array([[1], {}], object)), lambda r: r.a.fill(None)),
        (lambda: Thing(a=np.array([([1],)], [("f", object)])), lambda r: r.a["f"][0].append(2)),
        (lambda: Thing(a=np.frombuffer(bytearray(8), np.uint8)), lambda r: r.a.fill(1)),
        (lambda: Thing(a=np.ma.masked_array([1, 2], [0, 1])), lambda r: r.a.__setitem__(1, 5)),
        (lambda: Thing(a=collections.deque([1, 2], 3)), lambda r: r.a.extend([3, 4])),
        (lambda: Thing(a=collections.OrderedDict(x=1, y=2)), lambda r: r.a.move_to_end("x")),
        (lambda: Thing(a=collections.defaultdict(list)), lambda r: r.a["new"].append(1)),
        (lambda: Thing(a=collections.Counter("ab")), lambda r: r.a.update("b")),
        (lambda: Thing(a=bytearray(b"ab")), lambda r: r.a.extend(b"c")),
        (lambda: Thing(a=array.array("d", [1, 2])), lambda r: r.a.append(3)),
        (lambda: Thing(a=random.Random(1)), lambda r: r.a.random()),
        (lambda: Thing(a=np.random.default_rng(1)), lambda r: r.a.normal()),
        (lambda: Thing(a=np.random.RandomState(1)), lambda r: r.a.normal()),
        (lambda: Thing(a=np.random.Generator(np.random.MT19937(1))), lambda r: r.a.normal()),
        (lambda: Thing(a=iter([1, 2, 3])), lambda r: next(r.a)),
        (lambda: Thing(a=(iter([1, 2, 3]), 1)), lambda r: next(r.a[0])),
    ],
)
def test_a_change_is_undone(make, change):
    check_restore(make(), change)


def test_slots_are_restored_also_empty_ones():
    thing = Slotted()
    thing.a = [1]

    def change(root):
        root.x.a = [2]
        root.x.b = 3

    check_restore(Thing(x=thing), change)
    assert not hasattr(thing, "b")


def test_every_object_keeps_its_identity():
    inner, values = Thing(n=1), [1, 2]
    root = Thing(inner=inner, values=values, where={"x": inner}, arr=np.zeros(3))
    arr, where = root.arr, root.where
    snapshots = Snapshots([("", root)])
    snapshot = snapshots.save()
    inner.n, root.inner, root.values, root.arr, root.where = 2, None, None, None, {}
    values.append(3)
    arr += 1
    snapshots.load(snapshot)
    assert root.inner is inner
    assert root.values is values
    assert root.arr is arr
    assert root.where is where
    assert where["x"] is inner
    assert (inner.n, values, arr.sum()) == (1, [1, 2], 0)


def test_aliases_and_cycles_stay():
    root = Thing()
    root.me, root.pair = root, [[1], [1]]
    root.pair.append(root.pair[0])
    snapshots = Snapshots([("", root)])
    snapshot = snapshots.save()
    root.pair[0].append(2)
    root.pair = None
    snapshots.load(snapshot)
    assert root.me is root
    assert root.pair == [[1], [1], [1]]
    assert root.pair[2] is root.pair[0]
    assert root.pair[1] is not root.pair[0]


def test_a_view_still_shows_the_array_it_was_made_of():
    root = Thing(grid=np.zeros((4, 4)))
    root.row = root.grid[1]
    snapshots = Snapshots([("", root)])
    snapshot = snapshots.save()
    root.row[:] = 5
    snapshots.load(snapshot)
    assert root.grid.sum() == 0
    root.grid[1, 2] = 7
    assert root.row[2] == 7


def test_a_view_without_its_array_among_the_state_is_restored():
    root = Thing(row=np.zeros((4, 4))[1])
    check_restore(root, lambda r: r.row.fill(3))


def test_bound_methods_partials_and_closures_go_on_meaning_the_same_objects():
    class Env:
        def __init__(self):
            self.count = 0
            self.queue = []
            self.on_step = self.tick
            self.push = self.queue.append
            self.later = functools.partial(self.add, by=2)
            total = 0

            def closure():
                nonlocal total
                total += 1
                self.count += 10
                return total

            self.closure = closure

        def tick(self):
            self.count += 1

        def add(self, by):
            self.count += by

    env = Env()
    snapshots = Snapshots([("", env)])
    snapshot = snapshots.save()
    before = snapshots.encode(snapshot)
    for _ in range(3):
        env.on_step()
        env.later()
        env.push(1)
        assert env.closure() == 1
        assert (env.count, env.queue) == (13, [1])
        snapshots.load(snapshot)
        assert digest(snapshots) == before
        assert (env.count, env.queue) == (0, [])


def test_what_is_shared_is_neither_copied_nor_restored():
    lock, thing = threading.Lock(), Thing()
    root = Thing(lock=lock, cls=Thing, fn=check_restore, module=np, ref=weakref.ref(thing))
    snapshots = Snapshots([("", root)])
    snapshot = snapshots.save()
    root.lock = None
    snapshots.load(snapshot)
    assert root.lock is lock
    report = snapshots.report(snapshot)
    assert report["skipped"] == {"_thread.lock": 1, "weakref.ReferenceType": 1}
    assert report["copied"] == {}


def test_classes_named_by_the_user_are_shared():
    cache = Thing(n=1)

    class Cache(Thing):
        pass

    root = Thing(cache=Cache(n=1), other=cache)
    snapshots = Snapshots([("", root)], shared=[Cache])
    snapshot = snapshots.save()
    root.cache.n, root.other.n = 2, 2
    snapshots.load(snapshot)
    assert (root.cache.n, root.other.n) == (2, 1)


def test_fields_named_by_the_user_are_saved_but_not_hashed():
    root = Thing(clock=1, x=[1])
    snapshots = Snapshots([("", root)], unhashed=["Thing.clock"])
    snapshot = snapshots.save()
    root.clock = 2
    assert snapshots.hash(snapshots.save()) == snapshots.hash(snapshot)
    snapshots.load(snapshot)
    assert root.clock == 1


def test_opaque_objects_are_copied_and_counted_and_keep_their_relations():
    shared = [5]
    root = Thing(a=iter([1, 2, 3]), shared=shared)
    root.pair, root.list = (root.a, shared), [root.a]
    snapshots = Snapshots([("", root)])
    snapshot = snapshots.save()
    for _ in range(2):
        assert next(root.a) == 1
        snapshots.load(snapshot)
        assert root.pair[0] is root.a
        assert root.list[0] is root.a
        assert root.pair[1] is shared
    assert snapshots.report(snapshot)["copied"] == {"list_iterator": 1, "tuple": 1}


def test_an_object_that_cannot_be_saved_is_named():
    root = Thing(agents=[Thing(), Thing(_foo={"bar": (i for i in "x")})])
    with pytest.raises(SnapshotError, match=r"agents\[1\]\._foo\['bar'\].*generator"):
        Snapshots([("", root)]).save()


def test_an_opaque_part_is_left_to_the_object_that_knows_how_to_copy_itself():
    class Engine:
        def __init__(self, start=0):
            self.ticks = (i for i in range(start, 100))
            self.now = start

        def tick(self):
            self.now += 1
            return next(self.ticks)

        def __reduce__(self):
            return (Engine, (self.now,))

    root = Thing(engine=Engine())
    root.engine.tick()
    snapshots = Snapshots([("", root)])
    snapshot = snapshots.save()
    assert [root.engine.tick() for _ in range(3)] == [1, 2, 3]
    snapshots.load(snapshot)
    assert [root.engine.tick() for _ in range(3)] == [1, 2, 3]
    assert list(snapshots.report(snapshot)["copied"].values()) == [1]


def test_an_array_that_was_resized_in_place_is_an_error():
    root = Thing(a=np.zeros(3))
    snapshots = Snapshots([("", root)])
    snapshot = snapshots.save()
    root.a.resize(5, refcheck=False)
    with pytest.raises(SnapshotError, match="24 bytes was saved, but it has 40"):
        snapshots.load(snapshot)


def test_a_snapshot_of_others_is_refused():
    one, other = Snapshots([("", Thing())]), Snapshots([("", Thing())])
    snapshot = one.save()
    for call in (other.load, other.hash, other.encode, other.leaves):
        with pytest.raises(SnapshotError, match="another"):
            call(snapshot)
    other.save_into(snapshot)
    other.load(snapshot)


def test_saving_into_a_snapshot_replaces_what_it_held():
    root = Thing(a=[1])
    snapshots = Snapshots([("", root)])
    snapshot = snapshots.save()
    old = snapshots.hash(snapshot)
    root.a.append(2)
    snapshots.save_into(snapshot)
    assert snapshots.hash(snapshot) != old
    root.a.clear()
    snapshots.load(snapshot)
    assert root.a == [1, 2]


def test_same_is_exact():
    root = Thing(a=[1], b={"x": Thing(c=2)})
    snapshots = Snapshots([("", root)])
    first = snapshots.save()
    assert snapshots.same(first, snapshots.save())
    root.b = {"x": Thing(c=2)}
    second = snapshots.save()
    assert snapshots.same(first, second)
    root.b["x"].c = 3
    third = snapshots.save()
    assert not snapshots.same(first, third)
    snapshots.hash(first), snapshots.hash(third)
    assert snapshots.same(first, third) is False


def test_same_sees_fields_that_are_not_hashed():
    root = Thing(drawn=1, a=[1])
    snapshots = Snapshots([("", root)], unhashed=["Thing.drawn"])
    first = snapshots.save()
    root.drawn = 2
    second = snapshots.save()
    assert snapshots.hash(first) == snapshots.hash(second)
    assert snapshots.same(first, second) is False


def test_same_sees_the_order_of_dicts_and_every_bit_of_a_number():
    root = Thing(a={"x": 1, "y": 2}, b=float("nan"), c=(0.0, [1]))
    snapshots = Snapshots([("", root)])
    first = snapshots.save()
    root.a["x"] = root.a.pop("x")
    second = snapshots.save()
    assert snapshots.hash(first) == snapshots.hash(second)
    assert snapshots.same(first, second) is False
    snapshots.load(first)
    assert snapshots.same(first, snapshots.save()) is True
    root.b = -root.b
    assert snapshots.same(first, snapshots.save()) is False
    snapshots.load(first)
    root.c = (-0.0, root.c[1])
    assert snapshots.same(first, snapshots.save()) is False
    root.c = (0.0, root.c[1])
    assert snapshots.same(first, snapshots.save()) is True
    root.c = (0.0, [1])
    assert snapshots.same(first, snapshots.save()) is True
    root.c = (0.0, [1, 1])
    assert snapshots.same(first, snapshots.save()) is False


def test_same_knows_arrays_made_anew_by_their_form():
    root = Thing(a=np.zeros((2, 3)))
    snapshots = Snapshots([("", root)])
    first = snapshots.save()
    assert snapshots.same(first, snapshots.save()) is True
    root.a = np.zeros((2, 3))
    assert snapshots.same(first, snapshots.save()) is True
    for other in (np.zeros((3, 2)), np.zeros((2, 3), dtype=np.int64), np.zeros((3, 2)).T):
        root.a = other
        assert snapshots.same(first, snapshots.save()) is not True


def test_same_is_unknown_where_something_was_copied():
    root = Thing(a=iter([1, 2]), b=[1])
    snapshots = Snapshots([("", root)])
    first, second = snapshots.save(), snapshots.save()
    assert snapshots.report(first)["copied"]
    assert snapshots.same(first, second) is None


def test_random_changes_to_random_graphs_are_undone():
    source = random.Random(5)
    for _ in range(150):
        things = [Thing(n=i, links=[], bag={}) for i in range(source.randrange(2, 12))]
        root = things[0]
        snapshots = Snapshots([("", root)])
        history = []

        def mutate(things=things, root=root):
            a, b = source.choice(things), source.choice(things)
            action = source.randrange(6)
            if action == 0:
                a.links.append(b)
            elif action == 1:
                a.bag[source.randrange(4)] = b
            elif action == 2:
                a.__dict__[f"f{source.randrange(3)}"] = [b, (b, source.randrange(9))]
            elif action == 3 and a.links:
                a.links.pop(source.randrange(len(a.links)))
            elif action == 4 and a.bag:
                a.bag.pop(source.choice(list(a.bag)))
            else:
                a.n = source.random()
            root.links.append(a)

        for _ in range(12):
            mutate()
            snapshot = snapshots.save()
            history.append((snapshot, snapshots.encode(snapshot)))
        for _ in range(12):
            snapshot, encoded = source.choice(history)
            snapshots.load(snapshot)
            assert digest(snapshots) == encoded
            for _ in range(source.randrange(3)):
                mutate()
