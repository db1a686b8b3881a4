"""Mistakes of the caller: each is named at once, before anybody is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rollback_py as rb
from playable import FourWalkers, at_random
from rollback_py.cli import main
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


@pytest.mark.parametrize(
    ("wrong", "limits"),
    [
        ({"players": 0}, "1 to 8"),
        ({"players": -1}, "1 to 8"),
        ({"players": 2**70}, "1 to 8"),
        ({"rooms": [("hall", 9)]}, "1 to 8"),
        ({"watchers": 256}, "0 to 8"),
        ({"slot_hold_s": -1}, "at least 0"),
        ({"ice": {"turn_port": 65_536}}, "0 to 65535"),
        ({"ice": {"turn_ttl_s": -5}}, "at least 1"),
        ({"ice": {"turn_relay_ports": (1, 70_000)}}, "1 to 65535"),
    ],
)
def test_a_number_of_a_server_that_cannot_be_is_named_with_what_can(
    wrong: dict[str, Any], limits: str
) -> None:
    (value,) = wrong.values()
    name = next(iter(value)) if isinstance(value, dict) else next(iter(wrong))
    with pytest.raises(
        ValueError, match=f"{name if name != 'rooms' else 'hall'}: expected {limits}, got "
    ):
        rb.Server("127.0.0.1:0", **wrong)


@pytest.mark.parametrize("name", ["Hall", "two words", "health", "", "a" * 65])
def test_a_room_name_that_cannot_be_is_told_with_what_can(name: str) -> None:
    message = f'room name "{name}": .*; allowed are 1 to 64 of a-z, 0-9, _ and -, but not admin'
    with pytest.raises(rb.RollbackError, match=message):
        rb.Server("127.0.0.1:0", rooms=[(name, 2)])
    with pytest.raises(rb.RollbackError, match=message):
        rb.Server("127.0.0.1:0", unwatched=[name])
    if name != "two words":  # that is no link at all
        with pytest.raises(rb.JoinError, match=f"ws://127.0.0.1:1/{name}\\?x=/y: .*{message}"):
            rb.join(f"ws://127.0.0.1:1/{name}?x=/y", env=FourWalkers)


def test_an_environment_has_players_and_seeds_that_there_are() -> None:
    game = rb.EnvGame(FourWalkers)
    with pytest.raises(ValueError, match="seed: expected at least 0, got -1"):
        game.reset(-1)
    game.reset(1)
    calls: list[Any] = [
        lambda player: game.encode_action(player, 0),
        lambda player: game.decode_action(player, b"\0"),
        game.idle_action,
        game.observation,
    ]
    for call in calls:
        for player in (-1, 4):
            with pytest.raises(ValueError, match=f"player: expected 0 to 3, got {player}"):
                call(player)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["play", "--policy", "playable:at_random", "--start-timeout", "-1"], "--start-timeout: "),
        (["watch", "--episodes", "-1"], "--episodes: expected at least 1, got -1"),
    ],
)
def test_a_number_of_a_command_is_named_before_the_server_is_asked(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *options = words
    paths = ["--env", "playable:walkers", "--data", str(tmp_path)]
    assert main([command, NOWHERE, *paths, *options]) == 2
    assert capsys.readouterr().err.startswith(f"rollback: {message}")


def test_where_a_server_listens_and_its_rooms_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TypeError, match="listen: expected a str, got 8080"):
        rb.Server(8080)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"rooms: expected a list of \(NAME, MEMBERS\), got 'hall'"):
        rb.Server("127.0.0.1:0", rooms=["hall"])  # type: ignore[list-item]
    assert main(["serve", "--turn", "--turn-listen", "300.1.1.1"]) == 2
    assert "--turn-listen: expected an address such as" in capsys.readouterr().err


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


def test_a_number_beyond_what_there_is_is_named(link: str, tmp_path: Path) -> None:
    with rb.join(link, env=FourWalkers, data=tmp_path) as match:
        with pytest.raises(ValueError, match=r"^slot: expected 0 to 0, got -1$"):
            match.way(-1)
        episode = rb.Episode(match, 0)
        wrong: list[tuple[str, Any]] = [
            ("slot: expected 0 to 0, got -1", lambda: episode.kick(-1)),
            ("slot: expected 0 to 0, got 300", lambda: episode.kick(300)),
            ("code: expected 0 to 65535, got 65536", lambda: episode.propose_end(65_536)),
            ("frames: expected 0 to 30, got -1", lambda: episode.set_input_delay("a", -1)),
            ("frames: expected 0 to 30, got 31", lambda: episode.propose_input_delay(31)),
            ("frames: expected a whole number", lambda: episode.propose_input_delay(1.5)),  # type: ignore[arg-type]
            ("longest: expected 0 to 30, got 31", lambda: episode.follow_lateness(0, 31)),
            ("start_timeout_s: expected", lambda: episode.run({}, start_timeout_s=-1)),
        ]
        for message, call in wrong:
            with pytest.raises(ValueError, match=f"^{message}"):
                call()
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
