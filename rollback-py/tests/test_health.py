"""The ways to the others before an episode: what is known of them, and what they must be."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import loopback
import pytest
import rollback_py as rb
from playable import Walkers
from rollback_py import _rollback as native


def _known(match: rb.Match, slot: int) -> dict[str, Any]:
    """Return what is known of the way to another, as soon as both directions are shown to work."""
    until = time.monotonic() + loopback.TIMEOUT_S
    while time.monotonic() < until:
        way = match.way(slot)
        assert way is not None, "no episode is played"
        if way["link"]["proof"] == "both":
            return way
        time.sleep(0.01)
    raise AssertionError("the way is never shown to work")


def test_a_way_that_is_slower_than_it_may_be_ends_the_episode_before_it_begins(
    tmp_path: Path,
) -> None:
    server = native.Server("127.0.0.1:0", players=2)
    # No way is as good as that.
    strict = rb.Health(round_trip_max_ms=0, patience_s=0.5, or_else="end")
    found: dict[int, tuple[int, rb.Episode, rb.RollbackError | None]] = {}

    def run(number: int) -> None:
        with rb.join(
            f"ws://{server.address}/room",
            env=Walkers,
            data=tmp_path / f"process{number}",
            health=strict if number == 0 else None,
        ) as match:
            other = 1 - match.slot
            way = _known(match, other)
            assert way["link"]["checked_round_trip_ms"] > 0
            episodes = match.episodes(1)
            episode = next(episodes)
            assert match.way(other) is None, "the episode has the ways now"
            error = None
            try:
                episode.run({agent: loopback.at_random(number) for agent in match.my_agents})
            except rb.RollbackError as raised:
                error = raised
            assert match.way(other) is not None
            found[number] = (match.slot, episode, error)

    try:
        loopback.run_together(run, 2)
    finally:
        server.stop()
    slot, episode, error = found[0]
    assert isinstance(error, rb.JoinError)
    assert (error.code, error.peer) == ("round_trip", 1 - slot)
    assert "the round trip is" in str(error)
    unhealthy = [event for event in episode.events if event["event"] == "peer_unhealthy"]
    assert [(e["peer"], e["reason"]) for e in unhealthy] == [(1 - slot, "round_trip")]
    assert episode.summary().frames == 0
    # The one that asks nothing of the way was left by the other.
    assert found[1][2] is None


@pytest.mark.parametrize("name", ["round_trip_max_ms", "loss_max_percent", "patience_s"])
@pytest.mark.parametrize("limit", [-1.0, -1e-9, float("-inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(name: str, limit: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected at least 0, got"):
        rb.Health(**{name: limit})  # type: ignore[arg-type]
    assert rb.Health(**{name: 0}) != rb.Health()  # type: ignore[arg-type]


def test_a_health_that_is_no_health_is_refused() -> None:
    with pytest.raises(ValueError, match="or_else: expected 'go_on' or 'end', got 'stop'"):
        rb.Health(or_else="stop")
