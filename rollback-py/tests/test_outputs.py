"""What `step` returned, as bytes."""

import random

import numpy as np
import pytest
from rollback_py import EncodingError, RollbackError
from rollback_py._rollback import OutputCodec

AGENTS = [0, "b"]


def codec(**options):
    return OutputCodec(AGENTS, excluded_info_keys=options.pop("excluded", ()), **options)


def returned(**infos):
    observations = {0: np.arange(3.0), "b": {"mask": np.ones(2, np.int8)}}
    rewards, no = {0: 1.5, "b": np.float32(0.1)}, {0: False, "b": False}
    return observations, rewards, no, {0: True, "b": False}, {0: infos, "b": {}}


def test_everything_comes_back():
    outputs = codec(with_observations=True)
    decoded = outputs.decode(outputs.encode(*returned(score=3, pos=np.array([1, 2]))))
    assert decoded["rewards"] == {0: 1.5, "b": float(np.float32(0.1))}
    assert decoded["terminations"] == {0: False, "b": False}
    assert decoded["truncations"] == {0: True, "b": False}
    assert decoded["infos"][0]["score"] == 3
    assert decoded["infos"][0]["pos"].tolist() == [1, 2]
    assert decoded["observations"][0].tolist() == [0, 1, 2]
    assert decoded["observations"]["b"]["mask"].dtype == np.int8


def test_observations_are_left_out_by_default():
    outputs = codec()
    assert outputs.decode(outputs.encode(*returned()))["observations"] is None


def test_an_agent_that_takes_no_part_is_in_none_of_the_dicts():
    outputs = codec(with_observations=True)
    decoded = outputs.decode(outputs.encode({0: 1}, {0: 1.0}, {0: False}, {0: False}, {0: {}}))
    assert all(list(part) == [0] for part in decoded.values())


def test_excluded_keys_and_values_that_are_not_plain_are_left_out():
    outputs = codec(excluded={"clock"})
    encoded = outputs.encode(*returned(clock=1.23, env=object(), score=3))
    assert outputs.decode(encoded)["infos"] == {0: {"score": 3}, "b": {}}
    assert outputs.dropped == ["infos[0][env]"]
    assert encoded == outputs.encode(*returned(clock=4.56, env=object(), score=3))


def test_an_observation_that_is_not_plain_is_none():
    outputs = codec(with_observations=True)
    decoded = outputs.decode(outputs.encode({0: object(), "b": 1}, *returned()[1:]))
    assert decoded["observations"] == {0: None, "b": 1}
    assert outputs.dropped == ["observations[0]"]


def test_hostile_bytes_are_an_error_or_outputs():
    outputs = codec(with_observations=True)
    good = outputs.encode(*returned(score=3))
    source = random.Random(3)
    refused = 0
    for _ in range(3000):
        encoded = bytearray(good)
        encoded[source.randrange(len(encoded))] = source.randrange(256)
        if source.random() < 0.3:
            del encoded[source.randrange(len(encoded)) :]
        try:
            decoded = outputs.decode(bytes(encoded))
        except RollbackError:
            refused += 1
        else:
            assert set(decoded) == set(outputs.decode(good))
    assert refused > 500


@pytest.mark.parametrize("length", range(30))
def test_a_cut_encoding_is_refused(length):
    outputs = codec()
    with pytest.raises(EncodingError):
        outputs.decode(outputs.encode(*returned())[:length])
