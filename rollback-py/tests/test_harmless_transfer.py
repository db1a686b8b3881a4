"""A state that is taken over changes nothing but the environment, and nothing harmful comes in."""

import pickle
import random

import gymnasium as gym
import numpy as np
import pytest
import sample_envs
from rollback_py import EnvGame, NotTransferableError, SnapshotError, SnapshotOptions
from rollback_py._rollback import Snapshots, decode_value, encode_value
from rollback_py.state_transfer import try_transfer


class Way:
    def __init__(self, dx):
        self.dx = dx


DIRS = [np.array([1, 0]), np.array([0, 1]), np.array([-1, 0])]
UP, DOWN = Way(1), Way(-1)


class Walker(gym.Env):
    """Refers to what its module holds."""

    observation_space = gym.spaces.Discrete(1000)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.v, self.way, self.x = DIRS[0], UP, 500
        return self.x, {}

    def step(self, action):
        self.v, self.way = DIRS[action], (UP, DOWN)[action % 2]
        self.x += int(self.v[0]) + 2 * self.way.dx
        return self.x, float(self.x), False, False, {}


def test_what_the_module_holds_is_never_written_to():
    def held():
        return [d.tolist() for d in DIRS], UP.dx, DOWN.dx

    before = held()
    game = EnvGame(Walker, self_test_frames=10)
    game.require_transfer()
    assert held() == before
    one, other = EnvGame(Walker, findings=game.findings), EnvGame(Walker, findings=game.findings)
    for action, player in ((1, one), (2, other)):
        player.reset(3)
        player.step([player.encode_action(0, action)])
    given = one.save()
    taken = other.import_state(one.export_state(given))
    assert taken is not None, other.refusal
    other.load(taken)
    assert held() == before
    assert (other.env.unwrapped.v.tolist(), other.env.unwrapped.way.dx) == ([0, 1], -1)


def test_what_a_class_that_no_module_holds_refers_to_is_never_written_to():
    near = [Way(3), Way(4)]

    class Holding(Walker):
        held = (Way(5), Way(6))

        def step(self, action):
            self.one, self.other = near[action % 2], self.held[action % 2]
            return super().step(action)

    game = EnvGame(Holding, self_test_frames=10)
    game.require_transfer()
    one, other = EnvGame(Holding, findings=game.findings), EnvGame(Holding, findings=game.findings)
    for action, player in ((1, one), (2, other)):
        player.reset(3)
        player.step([player.encode_action(0, action)])
    taken = other.import_state(one.export_state(one.save()))
    assert taken is not None, other.refusal
    other.load(taken)
    assert (other.env.one.dx, other.env.other.dx) == (4, 6)
    assert [way.dx for way in (*near, *Holding.held)] == [3, 4, 5, 6]


def test_what_the_factory_gives_to_each_environment_is_never_written_to():
    class Given(Walker):
        def __init__(self, way):
            self.given = way

    theirs, mine = Way(7), Way(8)
    one = EnvGame(lambda: Given(theirs), self_test_frames=10)
    other = EnvGame(lambda: Given(mine), findings=one.findings)
    for player in (one, other):
        player.reset(3)
    taken = other.import_state(one.export_state(one.save()))
    assert taken is not None, other.refusal
    other.load(taken)
    assert (other.env.given.dx, theirs.dx, mine.dx) == (7, 7, 8)


@pytest.mark.parametrize(
    ("part", "pairs"),
    [
        (0, [[0, "text"]]),
        (1, [[0, "text"]]),
        (1, [[-1, 1.0]]),
        (1, [[7, 1.0]]),
        (1, [[True, 1.0]]),
        (2, [[0, 1]]),
        (3, [[0, "no"]]),
        (4, [[0, [1]]]),
    ],
)
def test_what_a_step_cannot_have_returned_is_refused(part, pairs):
    game = EnvGame(Walker, self_test_frames=10)
    game.reset(1)
    game.step([game.encode_action(0, 1)])
    parts = decode_value(game.export_state(game.save()))
    assert game.import_state(encode_value(parts)) is not None
    parts[5][part] = pairs
    assert game.import_state(encode_value(parts)) is None
    assert "what a step returns" in game.refusal


class Thing:
    def __init__(self, **fields):
        self.__dict__.update(fields)


def described(given):
    snapshots = Snapshots([("", given)])
    return decode_value(encode_value(snapshots.describe(snapshots.save())))


def test_a_field_that_numpy_looks_up_is_refused():
    harmful = {"data": (8, False), "shape": (9,), "typestr": "<i8", "version": 3}
    given = Thing(inner=Thing(a=1))
    vars(given.inner)["__array_interface__"] = harmful
    for own in (Thing(inner=Thing(a=2)), Thing(inner=None)):
        with pytest.raises(SnapshotError, match="__array_interface__"):
            Snapshots([("", own)]).receive(described(given))
        assert not hasattr(own.inner, "__array_interface__")


def test_no_strangers_value_is_unpickled():
    def make():
        return gym.make("CartPole-v1")

    def save(env):
        inner = env.unwrapped
        return pickle.dumps([inner.state, inner.steps_beyond_terminated])

    def load(env, state):
        env.unwrapped.state, env.unwrapped.steps_beyond_terminated = pickle.loads(state)

    game = EnvGame(make, self_test_frames=10, snapshots=SnapshotOptions(save=save, load=load))
    with pytest.raises(NotTransferableError, match="load_is_safe"):
        game.require_transfer()


class Pickler(sample_envs.Sum):
    """Gives its state as bytes, by methods of its own."""

    def get_state(self):
        return {"x": pickle.dumps(self.x)}

    def set_state(self, state):
        self.x = pickle.loads(state["x"])


def test_bytes_for_an_environments_own_methods_need_a_consent():
    wanted = SnapshotOptions(strategy="state")
    with pytest.raises(NotTransferableError, match="load_is_safe"):
        EnvGame(Pickler, self_test_frames=10, snapshots=wanted).require_transfer()
    agreed = SnapshotOptions(strategy="state", load_is_safe=True)
    EnvGame(Pickler, self_test_frames=10, snapshots=agreed).require_transfer()


def test_the_order_of_a_set_is_alike_after_it_was_taken_over():
    # The same elements in the same order, but in a set that once held more.
    roomy = set(range(200))
    for number in range(200):
        if number not in (8, 9, 16):
            roomy.discard(number)
    given, own = Thing(a={8, 9, 16}), Thing(a=roomy)
    text = described(given)
    orders = []
    for thing in (given, own):
        snapshots = Snapshots([("", thing)])
        before = snapshots.save()
        snapshots.receive(text)
        taken = snapshots.save()
        snapshots.load(before)
        snapshots.load(taken)
        thing.a.add(0)
        orders.append(list(thing.a))
    assert orders[0] == orders[1]


@pytest.mark.parametrize(
    ("given", "own"),
    [
        (lambda a: a[1:3], lambda a: a[:2]),
        (lambda a: a[::2], lambda a: a[:2]),
        (lambda a: a[:2], lambda a: a[1::-1]),
    ],
)
def test_a_view_onto_another_place_is_refused(given, own):
    one, other = np.arange(4), np.arange(4)
    with pytest.raises(SnapshotError, match="not at the same place"):
        Snapshots([("", Thing(a=other, v=own(other)))]).receive(
            described(Thing(a=one, v=given(one)))
        )


def test_the_order_of_an_arrays_memory_travels():
    given = Thing(a=np.asfortranarray(np.arange(6).reshape(2, 3)))
    for own in (Thing(a=np.zeros((2, 3), int)), Thing(a=None)):
        Snapshots([("", own)]).receive(described(given))
        assert own.a.flags.f_contiguous
        assert own.a.tolist() == given.a.tolist()
    with pytest.raises(SnapshotError, match="order of its own"):
        described(Thing(a=np.zeros((2, 3, 4)).transpose(1, 0, 2).copy("K")))


def test_a_frozenset_of_objects_does_not_travel():
    with pytest.raises(SnapshotError, match="frozenset that leads to objects"):
        described(Thing(a=frozenset({(1, Thing(n=random.random()))})))


LOG = []


class Noting(gym.Env):
    """Notes each step in a list that all of its kind share."""

    observation_space = gym.spaces.Discrete(1000)
    action_space = gym.spaces.Discrete(3)

    def __init__(self):
        self.log = LOG

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        self.log.append(int(action))
        return len(self.log), 0.0, False, False, {}


def test_the_trial_puts_back_what_environments_share():
    games = [EnvGame(Noting, self_test_frames=10)]
    games += [EnvGame(Noting, findings=games[0].findings) for _ in range(2)]
    LOG[:] = [7]
    # The third one would observe that the others had noted something.
    assert try_transfer(games, seed=0) is None
    assert LOG == [7]
