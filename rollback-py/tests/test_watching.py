"""Two processes that play, and this one, which comes in the middle and watches."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import playable
import pytest
import rollback_py as rb
from rollback_py import _rollback as native
from rollback_py.cli import main
from two_processes import Played, await_line, finish, start

ENV = "playable:endless"

# Play goes on until it is told to end, so that whoever watches comes in the middle however long
# that takes; and nobody who is slow is lost.
PLAYING = ("--policy", "playable:UntilTold", "--fps", "30", "--departure-timeout", "60")


@dataclass
class Match:
    """Two processes that are well in the first episode."""

    address: str
    told: Path
    processes: list[tuple[subprocess.Popen[str], Path]] = field(default_factory=list)

    @property
    def link(self) -> str:
        return f"ws://{self.address}/room"

    def end_episode(self, number: int = 0) -> None:
        """Have this episode end, and all before it."""
        self.told.write_bytes(b"." * (number + 1))

    def ends(self) -> list[Played]:
        """Wait for the ends of both."""
        return [finish(process, data) for process, data in self.processes]


@contextmanager
def playing(
    folder: Path,
    *arguments: str,
    env: str = ENV,
    environment: tuple[dict[str, str], dict[str, str]] = ({}, {}),
) -> Iterator[Match]:
    """Have two processes play until both are well in the first episode."""
    server = native.Server("127.0.0.1:0", players=2)
    match = Match(server.address, folder / "told")
    try:
        for slot in range(2):
            data = folder / f"peer{slot}"
            command = ["--env", env, *PLAYING, *arguments]
            told = {"TOLD": str(match.told), **environment[slot]}
            process = start(server.address, data, *command, environment=told)
            match.processes.append((process, data))
        for process, _ in match.processes:
            await_line(process, "progress", lambda line: line["stable"] >= 60)
        yield match
    finally:
        for process, _ in match.processes:
            process.kill()
            process.wait()
        server.stop()


class Pictures:
    """A window that counts."""

    def __init__(self) -> None:
        self.shown = 0
        self.is_closed = False

    def show(self, picture: np.ndarray[Any, Any] | None, caption: str) -> None:
        self.shown += 1

    def close(self) -> None:
        self.is_closed = True


def test_whoever_watches_takes_over_the_state_that_all_take_over(tmp_path: Path) -> None:
    # One of the two goes apart at frame 77, and its state is taken over: here nothing does.
    env = "playable:drifts_endlessly"
    drifting = ({"DRIFTS": "1"}, {})
    with playing(tmp_path, "--on-desync", "resync", env=env, environment=drifting) as match:

        def look(episode: rb.WatchedEpisode) -> None:
            if episode.frame > 150:
                match.end_episode()

        with rb.watch(match.link, env=env, data=tmp_path / "watched") as watching:
            (episode,) = watching.episodes(1)
            end = episode.run(on_frame=look)
        members = match.ends()
    assert [played.exit_code for played in members] == [0, 0], members[0].stderr
    one, other = (rb.Recording.open(played.recordings[0]) for played in members)
    assert rb.compare(one, other)
    assert (end.frame, end.cause) == (one.frame_count, "finished")
    assert len(one.resyncs) == 1
    watched = episode.open()
    assert [resync.frame for resync in watched.resyncs] == [one.resyncs[0].frame]
    assert rb.verify(watched, env=env)


def test_whoever_comes_in_the_middle_sees_and_records_what_is_recorded(tmp_path: Path) -> None:
    with playing(tmp_path, "--episodes", "2") as match:
        window, frames, ahead = Pictures(), [], []
        with rb.watch(match.link, env=ENV, data=tmp_path / "watched") as watching:
            assert watching.agents == ["left", "right"]
            assert len(watching.members) == 2

            def look(episode: rb.WatchedEpisode) -> None:
                frames.append((episode.number, episode.frame))
                ahead.append(episode.frames_known - episode.frame)
                # It came when more than a second had been played, and caught up.
                if ahead[0] > 30 and ahead[-1] < 15:
                    match.end_episode(episode.number)

            watched = []
            for episode in watching.episodes():
                end = episode.run(window=window, on_frame=look)
                assert (end.cause, end.is_agreed) == ("finished", True)
                assert episode.contradictions == []
                watched.append(episode)
        members = match.ends()
    assert [played.exit_code for played in members] == [0, 0], members[0].stderr
    assert [episode.number for episode in watched] == [0, 1]
    assert frames == sorted(set(frames))
    last = watched[1].open().frame_count
    assert [frames[-1], window.shown, window.is_closed] == [(1, last), len(frames), True]
    for number, episode in enumerate(watched):
        assert episode.recording is not None
        seen = episode.recording.read_bytes()
        assert [seen] * 2 == [played.recordings[number].read_bytes() for played in members]
        assert rb.verify(episode.open(), env=ENV)


def test_the_command_watches_and_says_how_it_ended(tmp_path: Path) -> None:
    with playing(tmp_path) as match:
        data = tmp_path / "watched"
        watching = start(match.address, data, "--env", ENV, command="watch")
        try:
            for _ in range(3):
                await_line(watching, "seen")
            match.end_episode()
            done = finish(watching, data)
        finally:
            watching.kill()
            watching.wait()
        members = match.ends()
    assert done.exit_code == 0, done.stderr
    (end,) = [line for line in done.lines if line["event"] == "watched"]
    recording = members[0].recordings[0]
    assert end["frame"] == rb.Recording.open(recording).frame_count
    assert (end["cause"], end["is_agreed"]) == ("finished", True)
    assert Path(end["recording"]).read_bytes() == recording.read_bytes()


def test_a_computer_that_simulates_otherwise_is_told_at_which_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = "playable:drifts_endlessly"
    with playing(tmp_path, env=env) as match:
        monkeypatch.setenv("DRIFTS", "1")  # from frame 77 on, in this process
        with rb.watch(match.link, env=env, data=tmp_path / "watched") as watching:
            (episode,) = watching.episodes(1)
            with pytest.raises(rb.DivergedError, match="frame 80") as raised:
                episode.run()
        assert raised.value.frame == 80
        # What was proved by a state is in the file.
        assert 60 <= episode.open().frame_count < 80


def test_who_has_another_environment_is_told_what_differs(tmp_path: Path) -> None:
    with (
        playing(tmp_path) as match,
        rb.watch(match.link, env="playable:three_walkers", data=None) as watching,
    ):
        with pytest.raises(rb.IncompatibleError) as raised:
            next(watching.episodes()).run()
        assert "factory" in raised.value.fields


def test_an_environment_that_asks_for_what_shows_it_fails_and_does_not_wait(tmp_path: Path) -> None:
    env = "playable:asks"
    with (
        playing(tmp_path, env=env) as match,
        rb.watch(match.link, env=env, data=None) as watching,
    ):
        playable.questions.append(watching.close)
        try:
            with pytest.raises(rb.GameError) as raised:
                next(watching.episodes()).run()
        finally:
            playable.questions.clear()
    assert raised.value.frame == 0
    assert "cannot ask for its own" in str(raised.value.__cause__)


def test_a_room_that_lets_nobody_watch_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for serving in ({"watchers": 0}, {"unwatched": ["room"]}):
        server = native.Server("127.0.0.1:0", players=2, **serving)
        link = f"ws://{server.address}/room"
        try:
            with pytest.raises(rb.JoinError, match="not to be watched") as raised:
                rb.watch(link, env=playable.walkers, data=tmp_path)
            assert main(["watch", link, "--env", ENV, "--json"]) == 2
        finally:
            server.stop()
        assert raised.value.code == "watching_forbidden"
        assert json.loads(capsys.readouterr().out)["error"] == "JoinError"


def test_where_nobody_plays_one_is_told(tmp_path: Path) -> None:
    server = native.Server("127.0.0.1:0", players=2)
    try:
        with pytest.raises(rb.JoinError):
            rb.watch(f"ws://{server.address}/room", env=ENV, data=tmp_path, timeout_s=0.3)
    finally:
        server.stop()
