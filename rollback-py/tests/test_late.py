"""Processes that come while the others play: late into the match, and members like the others."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rollback_py as rb
from rollback_py import _rollback as native
from rollback_py import entering
from test_returns import assert_equal_and_verified, whole
from two_processes import Played, await_line, finish, start

ENV = "playable:three_walkers"


class LateTable:
    """Processes that come one after the other into a room for three that begins with two."""

    def __init__(self, folder: Path, *arguments: str, begin_with: int = 2) -> None:
        self.folder = folder
        self.arguments = ("--env", ENV, "--policy", "playable:at_random", "--fps", "60", *arguments)
        self.server = native.Server("127.0.0.1:0", players=3, begin_with=begin_with)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        slot = len(self.processes)
        data = self.folder / f"peer{slot}"
        more = ("--name", f"p-{slot}", "--seed", str(slot))
        self.processes.append(start(self.server.address, data, *more, *self.arguments))
        return self.processes[-1]

    def finish(self) -> list[Played]:
        return [finish(p, self.folder / f"peer{slot}") for slot, p in enumerate(self.processes)]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self.server.stop()


@contextmanager
def table(folder: Path, *arguments: str, begin_with: int = 2) -> Iterator[LateTable]:
    found = LateTable(folder, *arguments, begin_with=begin_with)
    try:
        yield found
    finally:
        found.close()


def idle_frames(recording: Path, slot: int) -> list[int]:
    frames = rb.Recording.open(recording).frames()
    return [number for number, frame in enumerate(frames) if frame.flags[slot] & 2]


@pytest.mark.parametrize("on_departure", ["end", "wait"])
def test_one_that_comes_late_is_a_member_like_the_others(tmp_path: Path, on_departure: str) -> None:
    with table(tmp_path, "--episodes", "2", "--on-departure", on_departure) as playing:
        first = playing.start()
        await_line(first, "waiting", lambda line: (line["members"], line["expected"]) == (1, 2))
        playing.start()
        assert await_line(first, "joined")["late"] == [2]
        await_line(first, "progress", lambda line: line["stable"] >= 60)
        assert await_line(playing.start(), "joined")["life"] == 1
        players = playing.finish()
    assert_equal_and_verified(players, ENV, episodes=2)
    for played in players:
        (joined,) = played.events("joined")
        assert (joined["peer"], joined["is_late"]) == (2, True)
        first_episode, second_episode = played.episodes
        assert first_episode["arrivals"] == [f"peer 2 came in at frame {joined['from']}"]
        assert (first_episode["returns"], first_episode["losses"]) == ([], [])
        assert second_episode["arrivals"] == []
        # Its first inputs are from where it was let in, and until then nobody gave any.
        assert idle_frames(whole(played, 0), 2) == list(range(joined["from"]))
        assert idle_frames(whole(played, 1), 2) == []
    arrived = [line for line in players[1].lines if line.get("event") == "arrived"]
    assert [(line["peer"], line["frame"]) for line in arrived] == [(2, joined["from"])]
    participants = [rb.Recording.open(whole(players[0], n)).participants for n in range(2)]
    assert participants == [["p-0", "p-1", ""], ["p-0", "p-1", "p-2"]]


def test_a_match_ends_right_without_one_that_never_comes(tmp_path: Path) -> None:
    with table(tmp_path, "--episodes", "2", "--on-departure", "continue") as playing:
        await_line(playing.start(), "waiting")
        playing.start()
        players = playing.finish()
    assert_equal_and_verified(players, ENV, episodes=2)
    for played in players:
        assert [episode["cause"] for episode in played.episodes] == ["finished"] * 2
        assert not played.events("joined")
        assert len(idle_frames(whole(played, 1), 2)) == played.episodes[1]["frames"]


def test_two_come_late_to_one_who_plays_alone(tmp_path: Path) -> None:
    with table(tmp_path, "--episodes", "2", begin_with=1) as playing:
        alone = playing.start()
        await_line(alone, "progress", lambda line: line["stable"] >= 60)
        playing.start()
        await_line(alone, "arrived")
        # One more comes into the second episode, or in the last frames of the first.
        await_line(alone, "progress", lambda line: line["episode"] == 1)
        playing.start()
        players = playing.finish()
    for played in players:
        assert played.exit_code == 0, f"{played.lines[-3:]}\n{played.stderr}"
    first, second = (whole(played, 0) for played in players[:2])
    assert first.read_bytes() == second.read_bytes()
    assert_equal_and_verified([players[0]], ENV, episodes=2)
    last = [whole(played, 1).read_bytes() for played in players]
    assert last[0] == last[1] == last[2]
    assert [len(played.recordings) for played in players] == [2, 2, 1]


def test_one_that_is_lost_before_it_is_let_in_comes_again(tmp_path: Path) -> None:
    with table(tmp_path) as playing:
        first = playing.start()
        await_line(first, "waiting")
        playing.start()
        await_line(first, "progress", lambda line: line["stable"] >= 30)
        lost = playing.start()
        await_line(lost, "joined")
        lost.kill()
        lost.communicate()
        playing.processes.pop()
        assert await_line(playing.start(), "joined")["life"] == 2
        players = playing.finish()
    assert_equal_and_verified(players, ENV, episodes=1)


class WaitsForOthersError(Exception):
    """It is the first in a room."""


def waits(members: int, expected: int) -> None:
    if (members, expected) == (1, 2):
        raise WaitsForOthersError


def test_who_comes_when_the_match_is_over_begins_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = native.Server("127.0.0.1:0", players=3, begin_with=2)
    link = f"ws://{server.address}/room"
    rooms = [native.Room(link) for _ in range(2)]
    real = entering.inquire

    def leave_and_inquire(room: native.Room) -> tuple[int, int, bool, list[int]]:
        assert (room.life, room.local) == (1, 2)
        for other in rooms:
            other.close()
        return real(room)

    monkeypatch.setattr(entering, "inquire", leave_and_inquire)
    try:
        for room in rooms:
            while not room.wait(1.0):
                pass
        with pytest.raises(WaitsForOthersError):
            rb.join(link, env=ENV, data=tmp_path, on_progress=waits)
    finally:
        for room in rooms:
            room.close()
        server.stop()


def test_more_than_there_are_cannot_begin() -> None:
    for begin_with in (0, 4):
        with pytest.raises(ValueError, match="begin_with: expected 1 to 3"):
            rb.Server("127.0.0.1:0", players=3, begin_with=begin_with)
    with pytest.raises(ValueError, match="begin_with: expected 1 to 2"):
        rb.Server("127.0.0.1:0", rooms=[("a", 3), ("b", 2)], begin_with=3)
