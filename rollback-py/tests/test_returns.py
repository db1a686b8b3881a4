"""Processes that are killed, and started again: they come back into the running match."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import rollback_py as rb
from rollback_py import _rollback as native
from rollback_py.slot_tokens import SlotToken
from test_readme import TIMEOUT_S, python_block, replaced
from two_processes import Played, await_line, finish, start


class Table:
    """Some processes that play with each other, and those that come back in their place."""

    def __init__(self, folder: Path, players: int, *arguments: str) -> None:
        self.folder = folder
        self.arguments = arguments
        self.server = native.Server("127.0.0.1:0", players=players)
        self.processes: list[subprocess.Popen[str]] = []
        self.killed: list[subprocess.Popen[str]] = []
        for slot in range(players):
            self.processes.append(self._start(slot))
            if slot + 1 < players:
                await_line(self.processes[slot], "waiting")

    def _start(self, slot: int, *arguments: str) -> subprocess.Popen[str]:
        data = self.folder / f"peer{slot}"
        return start(self.server.address, data, "--seed", str(slot), *self.arguments, *arguments)

    def kill(self, slot: int, frame: int, episode: int = 0) -> None:
        """Kill a process as the system does that has no memory left, once it is so far."""
        is_there = lambda line: line["episode"] >= episode and line["stable"] >= frame  # noqa: E731
        await_line(self.processes[slot], "progress", is_there)
        self.processes[slot].kill()
        self.processes[slot].wait()

    def restart(self, slot: int, *arguments: str) -> dict[str, Any]:
        """Start it again as it was started before; return what it says when it is in the room."""
        self.killed.append(self.processes[slot])
        self.processes[slot] = self._start(slot, *arguments)
        return await_line(self.processes[slot], "joined")

    def finish(self) -> list[Played]:
        return [finish(p, self.folder / f"peer{slot}") for slot, p in enumerate(self.processes)]

    def close(self) -> None:
        for process in [*self.processes, *self.killed]:
            process.kill()
            process.communicate()
        self.server.stop()


@contextmanager
def table(folder: Path, players: int, env: str, *arguments: str) -> Iterator[Table]:
    play = ("--env", env, "--policy", "playable:at_random", "--on-departure", "continue")
    found = Table(folder, players, *play, *arguments)
    try:
        yield found
    finally:
        found.close()


def whole(played: Played, episode: int) -> Path:
    """Return the recording of an episode that has an end."""
    paths = [path for path in played.recordings if f"-{episode:03d}-peer" in path.name]
    (path,) = [path for path in paths if rb.Recording.open(path).end is not None]
    return path


def assert_equal_and_verified(players: list[Played], env: str, episodes: int) -> None:
    for played in players:
        assert played.exit_code == 0, f"{played.lines[-3:]}\n{played.stderr}"
    for episode in range(episodes):
        first, *others = [whole(played, episode) for played in players]
        assert all(first.read_bytes() == other.read_bytes() for other in others)
        result = rb.verify(first, env=env)
        assert result, str(result)


@pytest.mark.parametrize(("gone", "mode"), [(0, "wait"), (1, "continue")])
def test_a_match_of_two_waits_for_the_one_that_was_killed(
    tmp_path: Path, gone: int, mode: str
) -> None:
    env = "playable:walkers"
    settings = ("--departure-timeout", "60", "--on-departure", mode, "--episodes", "2")
    with table(tmp_path, 2, env, *settings) as playing:
        playing.kill(gone, frame=60)
        assert playing.restart(gone)["life"] == 1
        players = playing.finish()
    assert_equal_and_verified(players, env, episodes=2)
    survivor, back = players[1 - gone], players[gone]
    (joined,) = survivor.events("joined")
    assert joined["peer"] == gone
    assert survivor.episodes[0]["returns"] == [f"peer {gone} came back at frame {joined['from']}"]
    assert [len(episode["returns"]) for episode in back.episodes] == [1, 0]
    # It stood still but for the moment in which the other one was let in.
    recording = rb.Recording.open(whole(survivor, 0))
    idle = [frame for frame in recording.frames() if frame.flags[gone] & 2]
    assert 0 < len(idle) < 60
    # What the killed process had written is the beginning of the same.
    (partial,) = [path for path in back.recordings if rb.Recording.open(path).end is None]
    assert str(rb.Recording.open(partial).compare(recording)).startswith("PREFIX")


@pytest.mark.parametrize("gone", [0, 1])
def test_who_waits_in_vain_ends_where_it_stood_still(tmp_path: Path, gone: int) -> None:
    env = "playable:walkers"
    settings = ("--departure-timeout", "2", "--on-departure", "wait")
    with table(tmp_path, 2, env, *settings) as playing:
        playing.kill(gone, frame=60)
        left = finish(playing.processes[1 - gone], tmp_path / f"peer{1 - gone}")
    assert left.exit_code == 6, left.stderr
    (episode,) = left.episodes
    assert (episode["cause"], episode["returns"]) == ("partitioned", [])
    assert episode["reason"] == f"peer {gone} was lost and did not come back within 2 s"
    assert 60 <= episode["frames"] < 240
    (recording,) = left.recordings
    assert rb.verify(recording, env=env)
    # It has left: whoever starts here next is somebody new.
    assert list((left.data / ".slots").iterdir()) == []


def test_one_of_three_comes_back_while_the_others_play(tmp_path: Path) -> None:
    env = "playable:three_walkers"
    with table(tmp_path, 3, env, "--departure-timeout", "1") as playing:
        playing.kill(1, frame=60)
        # It is missed, and the others go on.
        await_line(playing.processes[0], "progress", lambda line: line["stable"] >= 120)
        assert playing.restart(1)["life"] == 1
        players = playing.finish()
    assert_equal_and_verified(players, env, episodes=1)
    for played in players:
        (joined,) = played.events("joined")
        assert (joined["peer"], played.episodes[0]["frames"]) == (1, 600)
        assert played.episodes[0]["returns"] == [f"peer 1 came back at frame {joined['from']}"]
    for played in (players[0], players[2]):
        assert played.events("view_changed")[0]["peer"] == 1
        assert played.events("view_changed")[0]["reason"] in ("ice_failed", "reconnection_timeout")
        assert played.episodes[0]["losses"] == ["peer 1 was lost: nothing was heard of it any more"]


def test_one_that_was_given_up_for_its_silence_ends_and_comes_back(tmp_path: Path) -> None:
    env = "playable:three_walkers"
    with table(tmp_path, 3, env, "--departure-timeout", "1") as playing:
        silent, other = playing.processes[2], playing.processes[0]
        await_line(silent, "progress", lambda line: line["stable"] >= 60)
        silent.send_signal(signal.SIGSTOP)  # as when a laptop is closed
        await_line(other, "progress", lambda line: line["stable"] >= 120)
        silent.send_signal(signal.SIGCONT)
        given_up = finish(silent, tmp_path / "peer2")
        assert given_up.exit_code == 6, given_up.stderr
        assert given_up.episodes[0]["cause"] == "partitioned"
        assert playing.restart(2)["life"] == 1
        players = playing.finish()
    for played in players:
        assert played.exit_code == 0, f"{played.lines[-3:]}\n{played.stderr}"
    first, second = (whole(played, 0) for played in players[:2])
    (third,) = [path for path in players[2].recordings if "life1" in path.name]
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    (short,) = [path for path in players[2].recordings if path != third]
    assert str(rb.Recording.open(short).compare(rb.Recording.open(first))).startswith("PREFIX")


def test_no_file_but_its_own_names_a_token(tmp_path: Path) -> None:
    env = "playable:walkers"
    with table(tmp_path, 2, env, "--departure-timeout", "60") as playing:
        playing.kill(1, frame=30)
        (kept,) = (tmp_path / "peer1" / ".slots").iterdir()
        assert kept.stat().st_mode & 0o077 == 0
        link = f"ws://{playing.server.address}/room"
        found = SlotToken.left_behind(tmp_path / "peer1", link)
        assert found is not None
        token = found.token
        # A live process's token is nobody's to take, and this one is alive.
        assert SlotToken.left_behind(tmp_path / "peer1", link) is None
        assert SlotToken.left_behind(tmp_path / "peer0", link) is None
        found.release()
        playing.restart(1)
        players = playing.finish()
    for played in players:
        files = [path for path in played.data.rglob("*") if path.is_file()]
        assert files
        assert not any(token.encode() in path.read_bytes() for path in files)
        assert token not in played.stderr
        assert not any(token in str(line) for line in played.lines)


def test_who_may_not_come_back_is_told_why(tmp_path: Path) -> None:
    slow = ("--departure-timeout", "20")
    with table(tmp_path, 2, "playable:walkers", "--on-departure", "end", *slow) as playing:
        playing.kill(1, frame=30)
        data = tmp_path / "peer1"
        again = start(playing.server.address, data, "--seed", "1", *playing.arguments)
        refused = finish(again, data)
        assert refused.exit_code == 2
        assert refused.error["message"] == (
            "peer 0 lets nobody back in: this match ends when a member is lost"
        )
        other = finish(playing.processes[0], tmp_path / "peer0")
        assert (other.exit_code, other.episodes[0]["cause"]) == (6, "departed")
        # The next start is a new match's, not that one's.
        assert SlotToken.left_behind(data, f"ws://{playing.server.address}/room") is None


def test_a_computer_with_another_environment_is_not_let_in(tmp_path: Path) -> None:
    env = "playable:walkers"
    with table(tmp_path, 2, env, "--departure-timeout", "60") as playing:
        playing.kill(1, frame=30)
        data = tmp_path / "peer1"
        arguments = (*playing.arguments, "--input-delay", "3")
        refused = finish(start(playing.server.address, data, *arguments), data)
        assert refused.exit_code == 2
        assert refused.error["error"] == "IncompatibleError"
        assert "input_delay_frames" in refused.error["message"]


def test_of_a_match_that_is_over_nothing_is_left_but_a_new_one(tmp_path: Path) -> None:
    server = native.Server("127.0.0.1:0", players=1)
    link = f"ws://{server.address}/room"
    try:
        SlotToken.keep(tmp_path, link, "0" * 32).release()
        with rb.join(link, env="playable:walkers", data=tmp_path) as match:
            assert (match.life, match.slot) == (0, 0)
            assert match.token != "0" * 32
        assert list((tmp_path / ".slots").iterdir()) == []
        with pytest.raises(rb.JoinError, match="UnknownToken") as caught:
            rb.join(link, env="playable:walkers", data=tmp_path, token="0" * 32)
        assert caught.value.code == "unknown_token"
    finally:
        server.stop()


GUIDE = Path(__file__).parents[2] / "docs" / "coming-back.md"


def test_the_guide_s_example_started_again_goes_on_where_it_was(tmp_path: Path) -> None:
    """Both computers' processes run in one folder, as when somebody tries it out."""
    server = native.Server("127.0.0.1:0", players=2)
    text = replaced(python_block(GUIDE), "127.0.0.1:8080", server.address)
    text = replaced(
        text,
        'return registry.make("Overcooked-CrampedRoom-V0")',
        "from cogrid import envs; config = {**envs.cramped_room_config, 'max_steps': 150}; "
        'return registry.make("Overcooked-CrampedRoom-V0", config=config)',
    )
    agents = "{agent: cook for agent in match.my_agents}"
    text = replaced(text, agents, f"{agents}, on_frame=show")
    show = "def show(episode):\n    print(episode.frame, flush=True)\n\nsettings ="
    (tmp_path / "kitchen.py").write_text(replaced(text, "settings =", show), "utf-8")
    processes: list[subprocess.Popen[str]] = []

    def run() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "kitchen.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    try:
        other, lost = run(), run()
        assert lost.stdout is not None
        assert next(line for line in lost.stdout if line.strip() == "60")
        lost.kill()
        back = run()
        printed = [process.communicate(timeout=TIMEOUT_S)[0] for process in (other, back)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        server.stop()
    for out, process in zip(printed, (other, back), strict=True):
        assert process.returncode == 0
        assert out.count("VERIFIED 150 frames") == 2, out
        assert out.count("came back at frame") == 1, out
    assert ("life 0" in printed[0], "life 1" in printed[1]) == (True, True)
