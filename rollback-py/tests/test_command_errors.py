"""What a command says when something of the user's fails: the user's lines, and not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import rollback_py as rb
from rollback_py import cli
from rollback_py.cli import main
from rollback_py.command_output import say_error

MODULE = """
import playable

def fails():
    raise RuntimeError("of the user")

def sized(size):
    return playable.Walkers()

class FailsInPlay(playable.Walkers):
    def step(self, actions):
        if self.frame == 40:
            raise RuntimeError("in a step")
        return super().step(actions)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module where commands look for it; return its name."""
    name = f"of_the_user_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_an_environment_that_cannot_be_made_shows_the_lines_of_its_user(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", f"{module}:fails"]) == 2
    told = capsys.readouterr().err
    assert "RuntimeError: of the user" in told
    assert f"{module}.py" in told
    assert "rollback_py/" not in told


def test_a_step_that_fails_shows_the_lines_of_its_user_and_the_frame(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = rb.Server("127.0.0.1:0", players=1)
    link = f"ws://{server.address}/room"
    command = ["play", link, "--env", f"{module}:FailsInPlay", "--policy", "playable:at_random"]
    try:
        assert main([*command, "--fps", "200", "--data", str(tmp_path / "data")]) == 2
    finally:
        server.stop()
    told = capsys.readouterr().err
    assert f"{module}.py" in told
    assert 'raise RuntimeError("in a step")' in told
    assert "rollback_py/" not in told
    assert told.splitlines()[-1].startswith("rollback: ")
    assert "40" in told.splitlines()[-1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_module:make", "cannot import 'no_such_module': No module named 'no_such_module'"),
        ("{}:sized", "expected a function that needs no arguments"),
        ("{}:nothing", "has no 'nothing'"),
    ],
)
def test_a_name_that_makes_nothing_is_told_in_one_line(
    spec: str, message: str, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", spec.format(module)]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.count("rollback: ") == 1
    assert message in told
    assert told.count("No module named") < 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--episodes", "-3"], "--episodes: expected at least 1, got -3"),
        (["--fps", "2000"], "fps: expected 1 to 1000, got 2000"),
        (["--loss-percent", "150"], "loss_percent: expected 0 to 100, got 150.0"),
        (["--ice-server", "stun:stun.example.org,user"], "--ice-server: expected URL or URL,USER"),
    ],
)
def test_an_option_that_cannot_be_is_told_before_the_server_is_asked(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["play", "ws://127.0.0.1:1/nowhere", "--env", "playable:walkers"]
    assert main([*command, "--policy", "playable:at_random", *words]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"rollback: {message}")


def test_a_range_of_ports_is_two_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("5", "5-", "a-b"):
        assert main(["serve", "--turn", "--turn-relay-ports", wrong]) == 2
        (told,) = capsys.readouterr().err.splitlines()
        assert told == f"rollback: --turn-relay-ports: expected LOW-HIGH, got {wrong!r}"


def test_what_differs_between_members_is_told_line_by_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_error(False, rb.IncompatibleError("peer 0 does not fit: fps: expected 1, got 2; x: …"))
    assert capsys.readouterr().err.splitlines() == [
        "rollback: peer 0 does not fit:",
        "  fps: expected 1, got 2",
        "  x: …",
    ]


def test_whoever_ends_an_episode_by_the_keyboard_is_told_where_it_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(progress: cli._Progress, episode: rb.Episode) -> None:
        if episode.frame == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli._Progress, "__call__", interrupt)
    server = rb.Server("127.0.0.1:0", players=1)
    command = ["play", f"ws://{server.address}/room", "--env", "playable:walkers", "--fps", "200"]
    try:
        assert main([*command, "--policy", "playable:at_random", "--data", str(tmp_path)]) == 130
    finally:
        server.stop()
    (recording,) = tmp_path.glob("*.rbk")
    told = capsys.readouterr().out
    assert "20 frames, left" in told
    assert str(recording) in told
