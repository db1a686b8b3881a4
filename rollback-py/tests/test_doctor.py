"""`rollback doctor`: what it says, to people and programs, and what it exits with."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rollback_py import _rollback as native
from rollback_py.cli import main

GUIDE = Path(__file__).parents[2] / "docs" / "turn.md"


@pytest.fixture
def server() -> Iterator[native.Server]:
    """Serve a room `kitchen`, and a TURN server beside it."""
    ice = {"turn": True, "turn_port": 0}
    server = native.Server("127.0.0.1:0", rooms=[("kitchen", 2)], ice=ice)
    yield server
    server.stop()


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Run the command with ``--json``; what it exits with, and its only line."""
    code = main(["doctor", *words, "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    return code, json.loads(line)


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in found["findings"]}


def test_a_healthy_link_is_fit_to_play(
    server: native.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    link = f"ws://{server.address}/kitchen"
    code, found = told(capsys, link, "--env", "playable:walkers")
    assert code == 0, found
    assert found["can_play"]
    assert not found["only_local"]
    assert found["link"] == link
    assert {finding["outcome"] for finding in found["findings"]} <= {"good", "note"}
    findings = by_name(found)
    (turn,) = [name for name in findings if name.startswith("turn:127.0.0.1")]
    for name in ("direct", turn, "the server"):
        assert findings[name]["outcome"] == "good"
        assert 40 <= findings[name]["received"] <= findings[name]["sent"] == 50
        assert 0 < findings[name]["median_ms"] <= findings[name]["slowest_ms"]
    assert findings["playable:walkers"]["costs_us"]["step"] > 0
    assert findings["playable:walkers"]["replayed_frames"] > 0


def test_people_read_what_the_guide_shows(
    server: native.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (shown,) = re.findall(r"```console\n\$ (rollback doctor .*?)```", GUIDE.read_text(), re.DOTALL)
    command, *lines = shown.splitlines()
    words = command.replace("play.example.org:8080", server.address).split()[1:]
    words[words.index("kitchen:make_env")] = "playable:walkers"
    assert main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].split(":")[0] == lines[-1].split(":")[0] == "fit to play"
    # The same things in the same order. A name is looked up only where there is one.
    names = [line.split()[1] for line in lines if line.startswith("  ")]
    names[names.index("kitchen:make_env")] = "playable:walkers"
    names.remove("name")
    seen = [line.split()[1] for line in printed if line.startswith("  ")]
    assert [name.split(":")[0] for name in seen] == [name.split(":")[0] for name in names]


def test_what_does_not_work_is_said_with_its_reason(
    server: native.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = f"turn:127.0.0.1:{silent.getsockname()[1]}"
        code, found = told(
            capsys, f"ws://{server.address}/cellar", "--ice-server", f"{url},ada,x", "--relay-only"
        )
    assert code == 1
    assert not found["can_play"]
    findings = by_name(found)
    assert "no room of that name" in findings["room"]["text"]
    assert findings[f"{url}?transport=udp"]["outcome"] == "bad"
    assert "UDP to port" in findings[f"{url}?transport=udp"]["text"]
    assert "room" in found["verdict"]


def test_without_a_relay_one_plays_on_this_network_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = native.Server("127.0.0.1:0", rooms=[("kitchen", 2)], relay=False)
    try:
        code, found = told(capsys, f"ws://{server.address}/kitchen")
    finally:
        server.stop()
    # The server is on this computer, so that is what was asked for.
    assert code == 0
    assert found["can_play"]
    assert found["only_local"]
    assert "only on this network" in found["verdict"]


def test_a_machine_that_is_too_slow_is_told(
    server: native.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = told(
        capsys, f"ws://{server.address}/kitchen", "--env", "playable:walkers", "--fps", "1000000"
    )
    assert code == 1
    assert by_name(found)["playable:walkers"]["outcome"] == "bad"
    assert "too slow" in found["verdict"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("http://h/kitchen",), "ws://"),
        (("nonsense",), "expected a link"),
        (("ws://h/kitchen", "--ice-server", "turn:t,ada"), "--ice-server"),
        (("ws://h/kitchen", "--ice-server", "http:t"), "stun:"),
        (("ws://h/kitchen", "--env", "none:make"), "none"),
        (("ws://h/kitchen", "--fps", "0"), "--fps"),
        (("ws://h/kitchen", "--fps", "x"), "--fps"),
        ((), "LINK"),
    ],
)
def test_a_command_that_makes_no_sense_is_one_object(
    words: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = told(capsys, *words)
    assert code == 2
    assert part in answer["message"], answer
