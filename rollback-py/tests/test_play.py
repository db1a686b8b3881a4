"""Two processes, a server, real data channels: what everything is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import rollback_py as rb
from two_processes import Played, play

BAD_NETWORK = ("--delay-ms", "40", "--jitter-ms", "20", "--loss-percent", "5")
WORSE_NETWORK = ("--delay-ms", "150", "--loss-percent", "20")


def assert_equal_and_verified(players: tuple[Played, Played], env: str, episodes: int) -> None:
    a, b = players
    assert (a.exit_code, b.exit_code) == (0, 0), f"{a.lines[-3:]}\n{a.stderr}\n{b.stderr}"
    assert len(a.recordings) == len(b.recordings) == episodes
    for one, other in zip(a.recordings, b.recordings, strict=True):
        assert one.read_bytes() == other.read_bytes()
        result = rb.verify(one, env=env)
        assert result, str(result)


def test_two_episodes_on_a_bad_network_are_equal_and_verified(tmp_path: Path) -> None:
    players = play(
        tmp_path, "playable:walkers", "playable:at_random", "--episodes", "2", *BAD_NETWORK
    )
    assert_equal_and_verified(players, "playable:walkers", 2)
    for played in players:
        assert sum(e["rollbacks"] for e in played.episodes) > 20
        assert played.episodes[0]["frames"] == 240
        assert "direct" in played.episodes[0]["peers"][0]["path"]


def test_cogrid_on_a_worse_network_is_equal_and_verified(tmp_path: Path) -> None:
    players = play(tmp_path, "playable:cogrid_300", "playable:at_random", *WORSE_NETWORK)
    assert_equal_and_verified(players, "playable:cogrid_300", 1)


@pytest.mark.nightly
def test_1800_frames_of_cogrid_on_a_worse_network_are_equal_and_verified(tmp_path: Path) -> None:
    players = play(tmp_path, "playable:cogrid_1800", "playable:at_random", *WORSE_NETWORK)
    assert_equal_and_verified(players, "playable:cogrid_1800", 1)
    assert players[0].episodes[0]["frames"] == 1800


def test_floats_without_get_state_are_equal_and_verified(tmp_path: Path) -> None:
    players = play(tmp_path, "playable:spread", "playable:at_random", *BAD_NETWORK)
    assert_equal_and_verified(players, "playable:spread", 1)


def test_lockstep_is_equal_and_verified_without_a_rollback(tmp_path: Path) -> None:
    players = play(
        tmp_path, "playable:walkers", "playable:at_random", "--prediction-window", "0",
        "--input-delay", "2",
    )  # fmt: skip
    assert_equal_and_verified(players, "playable:walkers", 1)
    assert players[0].episodes[0]["rollbacks"] == 0


def test_a_divergence_ends_both_recordings_where_the_states_last_agreed(tmp_path: Path) -> None:
    players = play(
        tmp_path, "playable:drifts", "playable:at_random", *BAD_NETWORK,
        environment=({}, {"DRIFTS": "1"}),
    )  # fmt: skip
    assert_desync(players)
    assert players[0].error["frame"] == 78, "the state after frame 77 is the first that differs"
    assert "right" in players[0].error["path"]


def test_another_cpu_is_found_by_the_state_hashes(tmp_path: Path) -> None:
    # simple_tag differs between numpy's AVX-512 code and its other code. Where the CPU has none
    # there is nothing to disable, and the divergence is made by hand, as in the test before.
    if "AVX512_ICL" in _cpu_features():
        env, policy = "playable:tag", "playable:in_all_directions"
        other = {"NPY_DISABLE_CPU_FEATURES": "AVX512_ICL X86_V4"}
    else:
        env, policy, other = "playable:drifts", "playable:at_random", {"DRIFTS": "1"}
    players = play(tmp_path, env, policy, *BAD_NETWORK, environment=({}, other))
    assert_desync(players)
    for played in players:
        assert played.error["frame"] is not None
        assert played.error["path"]


def _cpu_features() -> str:
    return dict(rb.environment.numeric_facts())["cpu features"]


def assert_desync(players: tuple[Played, Played]) -> None:
    for played in players:
        assert played.exit_code == 5, f"{played.lines[-3:]}\n{played.stderr}"
        assert played.error["error"] == "DesyncError"
        recording = rb.Recording.open(played.recordings[0])
        assert recording.end is not None
        assert recording.end.cause == "desync"
        assert recording.end.frame == played.error["agreed"] == recording.frame_count
    a, b = (played.recordings[0].read_bytes() for played in players)
    assert a == b


def test_an_environment_that_fails_on_one_computer_ends_both_recordings_in_order(
    tmp_path: Path,
) -> None:
    failing, other = play(
        tmp_path, "playable:raises_at_frame_100", "playable:at_random", *BAD_NETWORK,
        environment=({"RAISES": "1"}, {}),
    )  # fmt: skip
    assert failing.exit_code == 2
    assert failing.error["error"] == "GameError"
    assert failing.error["frame"] == 100
    assert other.exit_code == 6, f"{other.lines}\n{other.stderr}"
    because = "peer 0's simulation failed at frame 100"
    assert other.events("peer_game_failed")[0]["frame"] == 100
    assert other.episodes[0]["reason"] == because
    assert other.episodes[0]["losses"] == [because]
    assert "ZeroDivisionError" in failing.events("summary")[0]["reason"]
    short, long = (rb.Recording.open(played.recordings[0]) for played in (failing, other))
    assert short.end is not None
    assert short.end.cause == "game_failed"
    assert 90 <= short.frame_count <= 100
    assert long.end is not None
    assert long.end.cause == "departed"
    assert str(short.compare(long)).startswith(("PREFIX", "EQUAL"))


def test_who_plays_on_alone_exits_with_the_code_for_a_lost_member(tmp_path: Path) -> None:
    _, other = play(
        tmp_path, "playable:raises_at_frame_100", "playable:at_random", *BAD_NETWORK,
        "--on-departure", "continue", "--episodes", "2", environment=({"RAISES": "1"}, {}),
    )  # fmt: skip
    assert other.exit_code == 6, f"{other.lines}\n{other.stderr}"
    (episode,) = other.episodes
    assert (episode["cause"], episode["frames"]) == ("finished", 240)
    assert episode["losses"] == ["peer 0's simulation failed at frame 100"]


def test_an_environment_that_fails_only_on_guesses_plays_on(tmp_path: Path) -> None:
    players = play(tmp_path, "playable:raises_on_guess", "playable:three_steps", *BAD_NETWORK)
    assert_equal_and_verified(players, "playable:raises_on_guess", 1)


def test_members_with_other_environments_are_told_what_differs(tmp_path: Path) -> None:
    players = play(
        tmp_path, "playable:walkers", "playable:at_random",
        own=((), ("--input-delay", "3", "--observations")),
    )  # fmt: skip
    for played in players:
        assert played.exit_code == 2
        assert played.error["error"] == "IncompatibleError"
        for field in ("input_delay_frames", "observations recorded"):
            assert field in played.error["message"]
