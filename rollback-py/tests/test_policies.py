"""People at a keyboard, with a window that nobody sees."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
import rollback_py as rb
from loopback import examined_one_at_a_time
from rollback_py import _rollback as native
from rollback_py import cli
from rollback_py.cli import main


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Return the sizes of the windows that are opened from now on."""
    opened: list[tuple[int, int]] = []
    set_mode = pygame.display.set_mode

    def counted(size: tuple[int, int]) -> Any:
        opened.append(size)
        return set_mode(size)

    monkeypatch.setattr(pygame.display, "set_mode", counted)
    yield opened
    pygame.display.quit()


def press(key: str, kind: int = pygame.KEYDOWN) -> None:
    pygame.event.post(pygame.event.Event(kind, key=pygame.key.key_code(key)))


def test_the_key_pressed_last_of_those_held_says_the_action(windows: list[Any]) -> None:
    person = rb.keyboard({"w": 0, "s": 1}, noop=6)
    assert isinstance(person, rb.Person)
    assert person.action() == 6
    assert not person.is_focused()
    person.show(np.zeros((20, 30, 3), np.uint8), "playing")
    assert windows == [(30, 20)]
    assert pygame.display.get_caption()[0] == "rollback: playing"
    for key, kind, action in (
        ("w", pygame.KEYDOWN, 0),
        ("s", pygame.KEYDOWN, 1),
        ("x", pygame.KEYDOWN, 1),
        ("s", pygame.KEYUP, 0),
        ("w", pygame.KEYUP, 6),
        ("w", pygame.KEYDOWN, 0),
    ):
        press(key, kind)
        assert person.action() == action
    person.close()
    assert person.action() == 6, "a key that was held when the window closed is not held for ever"
    person.show(None, "playing")
    assert len(windows) == 2
    assert "rgb_array" in pygame.display.get_caption()[0]
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    with pytest.raises(KeyboardInterrupt):
        person.action()


def test_a_picture_is_shown_as_it_is_and_larger_by_the_zoom(windows: list[Any]) -> None:
    person = rb.keyboard({"w": 0}, zoom=2)
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[1, 5] = (10, 200, 30)
    person.show(picture, "")
    assert windows == [(12, 8)]
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    assert np.array_equal(shown, picture.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize(
    ("words", "while_none_is_held"), [("w=0,d=3,none=6", 6), ("w=0,d=3", None), ("wd", None)]
)
def test_a_command_line_may_say_what_is_done_while_no_key_is_held(
    words: str, while_none_is_held: int | None, windows: list[Any]
) -> None:
    parsed = cli._parser().parse_args(["play", "LINK", "--env", "m:f", "--keys", words])
    person = cli._players(parsed)["any"]()
    assert person.action() == while_none_is_held
    person.show(None, "playing")
    press("w")
    assert person.action() == 0


def test_a_key_that_pygame_does_not_know_is_named() -> None:
    with pytest.raises(rb.RollbackError, match="no key 'up arrow': expected names of pygame"):
        rb.keyboard({"w": 1, "up arrow": 0})
    with pytest.raises(TypeError, match=r"expected a dict such as .*, got 'wasd'"):
        rb.keyboard("wasd")  # type: ignore[arg-type]


def test_all_agents_of_a_computer_are_played_in_one_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: list[Any]
) -> None:
    pump = rb.Keyboard._pump
    pressed: list[str] = []

    def hold_d(self: rb.Keyboard) -> None:
        if windows and not pressed:
            press("d")
            pressed.append("d")
        pump(self)

    monkeypatch.setattr(rb.Keyboard, "_pump", hold_d)
    server = native.Server("127.0.0.1:0", players=2)
    command = ["play", f"ws://{server.address}/room", "--env", "playable:four_walkers"]
    codes: list[int] = []

    def play_by_policy() -> None:
        data = str(tmp_path / "policy")
        codes.append(main([*command, "--policy", "playable:at_random", "--data", data]))

    other = threading.Thread(target=play_by_policy, daemon=True)
    try:
        with examined_one_at_a_time():
            other.start()
            codes.append(main([*command, "--keys", "wsd", "--data", str(tmp_path / "keys")]))
            other.join(60)
    finally:
        server.stop()
    assert codes == [0, 0]
    assert len(windows) == 1
    (path,) = (tmp_path / "keys").glob("*.rbk")
    recording = rb.Recording.open(path)
    mine = int(path.stem[-1])
    rows = recording.to_polars("playable:four_walkers")
    agents = [agent for agent, host in zip("abcd", recording.hosts, strict=True) if host == mine]
    assert len(agents) == 2
    for agent in agents:
        played = [row for row in rows.iter_rows(named=True) if row["agent"] == agent]
        assert not any(row["policy"] for row in played)
        actions = [row["action"] for row in played]
        assert set(actions) == {0, 2}, "idle until the key is held, then its action"
        assert actions == sorted(actions)


def play_words(*policies: str) -> list[str]:
    named = [word for policy in policies for word in ("--policy", policy)]
    # Nobody listens there: what is wrong is told before.
    return ["play", "ws://127.0.0.1:1/room", "--env", "playable:walkers", *named]


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (["up=playable:at_random"], "there is no agent 'up': the agents are ['left', 'right']"),
        (["left=playable:at_random"], "there is none for ['right']: name one for each"),
        (["playable:at_random", "playable:at_random"], "expected one for all that are not named"),
        (["left=playable:at_random"] * 2, "expected one for agent 'left', got a second: playable"),
    ],
)
def test_policies_that_are_no_choice_are_named_before_anybody_is_waited_for(
    policies: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(play_words(*policies)) == 2
    assert f"rollback: --policy: {message}" in capsys.readouterr().err


def test_an_agent_may_have_a_policy_of_its_own_beside_that_of_all_others(tmp_path: Path) -> None:
    server = rb.Server("127.0.0.1:0", players=1)
    command = [
        "play", f"ws://{server.address}/room", "--env", "playable:walkers", "--fps", "400",
        "--policy", "left=playable:three_steps", "--policy", "playable:stands_still",
        "--data", str(tmp_path),
    ]  # fmt: skip
    try:
        assert main(command) == 0
    finally:
        server.stop()
    (path,) = tmp_path.glob("*.rbk")
    rows = list(rb.Recording.open(path).to_polars("playable:walkers").iter_rows(named=True))
    actions = {a: {row["action"] for row in rows if row["agent"] == a} for a in ("left", "right")}
    assert actions["right"] == {1}
    assert 2 in actions["left"]


def test_a_process_with_a_keyboard_is_ended_as_any_other() -> None:
    code = """
import os, signal
import rollback_py as rb
rb.keyboard({"w": 0})
os.kill(os.getpid(), signal.SIGTERM)
"""
    run = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert run.returncode == -signal.SIGTERM
