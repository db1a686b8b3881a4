"""Mistakes of the caller: each is named at once, before anybody is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rollback_py as rb
from playable import FourWalkers, at_random
from rollback_py.policies import require_player

NOWHERE = "ws://127.0.0.1:1/nowhere"


@pytest.fixture
def link() -> Iterator[str]:
    server = rb.Server("127.0.0.1:0", players=1)
    yield f"ws://{server.address}/room"
    server.stop()


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (rb.Settings, {"fps": "30"}),
        (rb.Settings, {"fps": 29.97}),
        (rb.Settings, {"prediction_window": True}),
        (rb.Settings, {"departure_timeout_s": None}),
        (rb.Health, {"patience_s": "5"}),
        (rb.LinkConditions, {"delay_ms": -5}),
        (rb.LinkConditions, {"jitter_ms": 0.5}),
        (rb.LinkConditions, {"loss_percent": 150.0}),
        (rb.LinkConditions, {"loss_percent": float("nan")}),
        (rb.LinkConditions, {"seed": 2**64}),
    ],
)
def test_a_setting_that_is_no_such_number_is_named(kind: Any, wrong: dict[str, Any]) -> None:
    ((name, got),) = wrong.items()
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got {got!r}$"):
        kind(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"settings": {"fps": 60}},
        {"snapshots": {"strategy": "auto"}},
        {"health": {"patience_s": 1}},
        {"link_conditions": {"delay_ms": 40}},
        {"name": 5},
        {"ice_servers": "stun:stun.example.org"},
        {"ice_servers": ["stun:stun.example.org"]},
        {"ice_servers": [("turn:turn.example.org", "user")]},
    ],
)
def test_an_argument_of_another_kind_is_named_before_the_server_is_asked(
    wrong: dict[str, Any],
) -> None:
    (name,) = wrong
    with pytest.raises(TypeError, match=f"^{name}: expected .*, got "):
        rb.join(NOWHERE, env=FourWalkers, **wrong)


def test_a_data_folder_that_is_none_is_told_before_the_server_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.touch()
    with pytest.raises(OSError, match="data"):
        rb.join(NOWHERE, env=FourWalkers, data=file)


def test_idle_actions_are_of_agents_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"idle: expected agents of .*'a', .*, got 'A'"):
        rb.EnvGame(FourWalkers, idle={"A": 1})


@pytest.mark.parametrize("hosts", [[0], [0, 0, 0, 1], [0, 0, 0, -1], "0000"])
def test_hosts_are_slots_of_members_one_for_each_agent(
    hosts: Any, link: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"^hosts: expected"):
        rb.join(link, env=FourWalkers, hosts=hosts, data=tmp_path)


def test_who_plays_is_a_function_or_a_person() -> None:
    class Policy:
        def __call__(self, observation: Any) -> int:
            return 0

    require_player("left", Policy())
    with pytest.raises(TypeError, match=r"left: .* got the class: Policy\(…\)\?"):
        require_player("left", Policy)
    with pytest.raises(TypeError, match="left: expected a function of the observation, got 3"):
        require_player("left", 3)


def test_players_are_given_by_agent(link: str, tmp_path: Path) -> None:
    with rb.join(link, env=FourWalkers, data=tmp_path) as match:
        episode = rb.Episode(match, 0)
        for wrong in (at_random, [at_random], {"a": at_random}):
            with pytest.raises(ValueError, match="expected a dict with a player for each of"):
                episode.run(wrong)  # type: ignore[arg-type]
        episode.close()


def test_further_episodes_go_on_where_the_former_ended(link: str, tmp_path: Path) -> None:
    with rb.join(link, env=FourWalkers, data=tmp_path, fps=500) as match:
        players = dict.fromkeys(match.my_agents, at_random)
        numbers = []
        for count in (1, 2):
            for episode in match.episodes(count):
                episode.run(players)
                numbers.append(episode.number)
        assert numbers == [0, 1, 2]
        assert len(list(tmp_path.glob("*.rbk"))) == 3
        for episode in match.episodes(1):
            episode.leave()
        assert list(match.episodes(1)) == [], "it was left"
        with pytest.raises(ValueError, match="count: expected a whole number, got '2'"):
            next(match.episodes("2"))  # type: ignore[arg-type]
