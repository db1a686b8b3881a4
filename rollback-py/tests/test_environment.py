"""What the computers of a match compare before they play."""

import gymnasium
import pytest
import sample_envs
from rollback_py import EnvGame, EnvironmentDigest, EnvironmentUnsuitableError, Factory
from rollback_py.environment import FactoryError


def digest(function, **kwargs):
    factory = Factory.from_callable(function, kwargs)
    return EnvironmentDigest.of(factory, factory())


def test_the_same_environment_has_the_same_digest():
    one, other = digest(sample_envs.cramped_room), digest(sample_envs.cramped_room)
    assert one == other
    assert one.mismatches(other) == ([], [])
    names = dict(one.must_match)
    assert names["factory"] == "sample_envs:cramped_room"
    assert names["distribution cogrid"].count(" ") == 1
    assert names["agents"] == "[0, 1]"
    assert dict(one.may_differ)["numpy"]


def test_what_differs_is_named():
    small, large = digest(sample_envs.TinyGrid), digest(sample_envs.TinyGrid, size=7)
    must, may = small.mismatches(large)
    assert [name for name, _ in must] == ["arguments"]
    assert may == []
    must, _ = digest(sample_envs.spread).mismatches(digest(sample_envs.tag))
    assert {"factory", "agents"} <= {name for name, _ in must}


def test_code_outside_of_distributions_is_told_by_its_source():
    names = dict(digest(sample_envs.TinyGrid).must_match)
    assert len(names["source sample_envs"]) == 32


def test_the_step_limit_is_found_through_wrappers():
    assert dict(digest(sample_envs.wrapped_cartpole).must_match)["max steps"] == "500"


def test_a_factory_is_found_by_its_name():
    factory = Factory.from_spec("sample_envs:TinyGrid", {"size": 6})
    assert factory().size == 6
    assert factory.is_importable


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sample_envs", "MODULE:CALLABLE"),
        ("sample_envs:", "MODULE:CALLABLE"),
        ("../evil:make", "MODULE:CALLABLE"),
        ("sample_envs:make()", "MODULE:CALLABLE"),
        ("sample_envs:TinyGrid; import os", "MODULE:CALLABLE"),
        ("no_such_module_here:make", "cannot import"),
        ("sample_envs:nothing", "has no 'nothing'"),
        ("sample_envs:REAL", "a dict, expected a function"),
    ],
)
def test_a_name_that_is_no_factory_is_an_error(spec, message):
    with pytest.raises(FactoryError, match=message.replace("(", r"\(")):
        Factory.from_spec(spec)


def test_what_cannot_make_an_environment_is_an_error():
    with pytest.raises(FactoryError, match=r"since more than one is made, .* got a TinyGrid"):
        Factory.from_callable(sample_envs.TinyGrid())

    def sized(size, *, walls=2):
        return sample_envs.TinyGrid(size + walls)

    with pytest.raises(FactoryError, match="'size': expected a function that needs no arguments"):
        Factory.from_callable(sized)()
    assert Factory.from_callable(sized, {"size": 5})().size == 7
    with pytest.raises(FactoryError, match="needs no arguments but size, wall"):
        Factory.from_callable(sized, {"size": 5, "wall": 1})()


def test_many_environments_at_once_are_refused():
    with pytest.raises(EnvironmentUnsuitableError, match="many environments at once"):
        EnvGame(lambda: gymnasium.make_vec("CartPole-v1", num_envs=2))
