"""What is set for a computer or changes in play: delays, pauses, who plays, guesses, run-ahead."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import loopback
import pytest
import rollback_py as rb
from playable import Walkers
from rollback_py import offline
from rollback_py.policies import BY_POLICY


class Walk(Walkers):
    """Walkers for a few seconds."""

    frames = 200


def _equal_and_verified(played: list[loopback.Played]) -> rb.Recording:
    one, other = (peer.episode.recording for peer in played)
    assert one.read_bytes() == other.read_bytes()
    assert rb.verify(one, Walk)
    for peer in played:
        assert (peer.error, peer.end.cause) == (None, "finished")
    return rb.Recording.open(one)


def test_delays_are_set_proposed_for_all_and_recorded(tmp_path: Path) -> None:
    seen: dict[int, list[dict[str, int]]] = {0: [], 1: []}
    proposed: list[bool] = []

    def on_frame(episode: rb.Episode, slot: int) -> None:
        delays = episode.input_delays
        if delays not in seen[slot]:
            seen[slot].append(delays)
        if slot == 0 and episode.frame == 40 and len(seen[0]) == 1:
            with pytest.raises(ValueError, match="frames: expected 0 to 30, got 31"):
                episode.set_input_delay("left", 31)
            with pytest.raises(ValueError, match="expected one of"):
                episode.set_input_delay("nobody", 1)
            with pytest.raises(ValueError, match="not hosted by this peer"):
                episode.set_input_delay("right", 1)
            episode.set_input_delay("left", 3)
        if slot == 1 and episode.frame >= 100 and not proposed:
            with pytest.raises(ValueError, match="frames: expected 0 to 30, got 31"):
                episode.propose_input_delay(31)
            proposed.append(episode.propose_input_delay(5))

    played = loopback.play(tmp_path, Walk, on_frame=on_frame)
    recording = _equal_and_verified(played)
    assert proposed == [True]
    for delays in seen.values():
        assert delays[0] == {"left": 0, "right": 0}
        assert {"left": 3, "right": 0} in delays
        assert delays[-1] == {"left": 5, "right": 5}
    items = [name for frame in recording.frames() for _, name, _ in frame.items]
    # The one that was set, and for each player the one that was proposed.
    assert (items.count("delay"), items.count("shared delay")) == (3, 1)


def test_a_delay_that_follows_the_lateness_of_inputs_grows_on_a_slow_path(tmp_path: Path) -> None:
    recommended: dict[int, list[int | None]] = {0: [], 1: []}
    delays: dict[int, dict[str, int]] = {}

    def on_frame(episode: rb.Episode, slot: int) -> None:
        if not recommended[slot]:
            with pytest.raises(ValueError, match="shortest: expected 0 to 2, got 4"):
                episode.follow_lateness(4, 2)
            episode.follow_lateness(1, 6)
        recommended[slot].append(episode.recommended_input_delay)
        delays[slot] = episode.input_delays

    played = loopback.play(tmp_path, Walk, on_frame=on_frame)
    _equal_and_verified(played)
    for peer in played:
        assert recommended[peer.slot][0] is None
        assert recommended[peer.slot][-1] is not None
    # 40 to 60 ms each way are at least two frames.
    assert all(2 <= delay <= 6 for delay in delays[0].values()), delays


def test_a_pause_holds_all_at_one_frame_until_it_is_ended(tmp_path: Path) -> None:
    stood: dict[int, list[int]] = {0: [], 1: []}
    answers: list[bool] = []

    def on_frame(episode: rb.Episode, slot: int) -> None:
        if episode.paused_by == [0]:
            stood[slot].append(episode.frame)
        if slot != 0:
            return
        if episode.frame >= 60 and not answers:
            answers.extend([episode.resume(), episode.pause(), episode.pause()])
        if len(answers) == 3 and len(stood[0]) > 40:
            answers.append(episode.resume())

    played = loopback.play(tmp_path, Walk, on_frame=on_frame)
    recording = _equal_and_verified(played)
    assert answers == [False, True, False, True]
    # Both played on to the same frame, and stood there.
    assert stood[0].count(stood[0][-1]) > 10
    assert stood[1].count(stood[0][-1]) > 10
    items = [name for frame in recording.frames() for _, name, _ in frame.items]
    assert (items.count("pause"), items.count("resume")) == (1, 1)


class Somebody:
    """A person without a window."""

    def __init__(self, slot: int) -> None:
        self._act = loopback.at_random(slot)
        self.is_gone = False

    def action(self) -> int:
        assert not self.is_gone
        return self._act(None)

    def is_focused(self) -> bool:
        return True

    def show(self, picture: object, caption: str) -> None:
        assert not self.is_gone

    def close(self) -> None:
        self.is_gone = True


def test_a_policy_takes_over_from_a_person_and_gives_back(tmp_path: Path) -> None:
    people: dict[int, list[Somebody]] = {0: [], 1: []}
    seen: dict[int, list[dict[str, str]]] = {0: [], 1: []}

    def person(slot: int) -> Somebody:
        people[slot].append(Somebody(slot))
        return people[slot][-1]

    def on_frame(episode: rb.Episode, slot: int) -> None:
        if not seen[slot] or seen[slot][-1] != episode.players:
            seen[slot].append(episode.players)
        if slot != 0:
            return
        if episode.frame >= 60 and len(seen[0]) == 1:
            with pytest.raises(ValueError, match="expected one of"):
                episode.hand_over("right", loopback.at_random(0))
            episode.hand_over("left", loopback.at_random(0))
        if episode.frame >= 120 and len(seen[0]) == 2:
            episode.hand_over("left", person(0))

    played = loopback.play(tmp_path, Walk, player=person, on_frame=on_frame)
    recording = _equal_and_verified(played)
    by_people = {"left": "person", "right": "person"}
    for each in seen.values():
        assert each == [by_people, {**by_people, "left": "policy"}, by_people]
    assert all(somebody.is_gone for somebody in [*people[0], *people[1]])
    assert len(people[0]) == 2
    frames = list(recording.frames())
    changes = [frame.frame for frame in frames for _, name, _ in frame.items if name == "actor"]
    assert len(changes) == 2
    by_policy = [frame.frame for frame in frames if frame.flags[0] & BY_POLICY]
    assert by_policy == list(range(*changes))


def test_a_game_that_is_shown_ahead_is_recorded_as_it_was_played(tmp_path: Path) -> None:
    ahead: dict[int, list[int]] = {0: [], 1: []}

    def on_frame(episode: rb.Episode, slot: int) -> None:
        ahead[slot].append(episode._match.game.env.frame - episode.frame)

    settings = rb.Settings(fps=60, input_delay=3, linger_s=1.0)
    played = loopback.play(
        tmp_path, Walk, settings=settings, on_frame=on_frame, run_ahead=3, predictor="learned"
    )
    _equal_and_verified(played)
    for each in ahead.values():
        assert each.count(3) > 150
    summary = played[0].episode.summary()
    assert 0 < summary.mispredicted_frames <= summary.predicted_frames


@pytest.mark.parametrize(
    "wrong",
    [
        {"predictor": "best"},
        {"run_ahead": 9},
        {"run_ahead": -1},
        {"told_after_s": -1.0},
        {"interrupted_after_s": 0.1},
        {"interrupted_after_s": 11.0},
    ],
)
def test_what_a_computer_cannot_be_set_to_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        rb.join("ws://127.0.0.1:1/nowhere", env=Walk, **wrong)


class ThreeWalk(Walk):
    """The same with three."""

    names = ("left", "middle", "right")


def test_a_member_that_is_sent_away_is_told_so_and_the_others_play_on(tmp_path: Path) -> None:
    kicked: list[int] = []

    def on_frame(episode: rb.Episode, slot: int) -> None:
        if slot != 0 or episode.frame < 60 or kicked:
            return
        with pytest.raises(ValueError, match="not another peer"):
            episode.kick(0)
        episode.kick(2)
        kicked.append(episode.frame)

    settings = rb.Settings(fps=60, linger_s=1.0, on_departure="continue")
    played = loopback.play(tmp_path, ThreeWalk, peers=3, settings=settings, on_frame=on_frame)
    one, other, away = played
    assert (one.end.cause, other.end.cause, away.end.cause) == ("finished", "finished", "kicked")
    assert away.end.reason == "a member sent this computer away"
    assert one.episode.summary().losses == ["peer 2 was sent away"]
    for peer in (one, other):
        (change,) = (e for e in peer.episode.events if e["event"] == "view_changed")
        # It was honest, and its connection as good as any.
        assert (change["peer"], change["cause"], change["reason"]) == (2, "kicked", None)
    assert one.episode.recording.read_bytes() == other.episode.recording.read_bytes()
    assert rb.verify(one.episode.recording, ThreeWalk)
    assert rb.compare(one.episode.recording, away.episode.recording).verdict == "PREFIX"
    assert away.end.frame >= kicked[0] - 20


def test_where_silence_is_waited_out_nobody_departs(tmp_path: Path) -> None:
    silent_from: list[int] = []

    def on_frame(episode: rb.Episode, slot: int) -> None:
        if slot == 1 and episode.frame >= 60 and not silent_from:
            silent_from.append(episode.frame)
            # Its computer does nothing for far longer than the others would wait.
            time.sleep(2.5)

    settings = rb.Settings(fps=60, linger_s=1.0, departure_timeout_s=0.5, on_silence="wait")
    played = loopback.play(tmp_path, Walk, settings=settings, on_frame=on_frame)
    _equal_and_verified(played)
    assert silent_from
    assert not any(e["event"] == "view_changed" for peer in played for e in peer.episode.events)


@pytest.mark.parametrize("told_after_s", [0.2, 3.0])
def test_after_how_much_silence_it_is_told_is_a_setting(
    tmp_path: Path, told_after_s: float
) -> None:
    silent_from: list[int] = []

    def on_frame(episode: rb.Episode, slot: int) -> None:
        if slot == 1 and episode.frame in (60, 90, 120) and episode.frame not in silent_from:
            silent_from.append(episode.frame)
            time.sleep(0.8)

    played = loopback.play(tmp_path, Walk, on_frame=on_frame, told_after_s=told_after_s)
    _equal_and_verified(played)
    assert len(silent_from) == 3
    events = played[0].episode.events
    silences = [event["silent_ms"] for event in events if event["event"] == "interrupted"]
    if told_after_s == 3.0:
        assert silences == []
    else:
        # However busy the computer is: at least once it is told before it would be without.
        assert min(silences) < 500


@pytest.mark.parametrize("name", ["on_silence", "on_departure"])
def test_a_word_that_is_not_one_of_the_settings_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected one of .* got 'shout'"):
        rb.Settings(**{name: "shout"})


@pytest.mark.parametrize(
    ("name", "least", "most", "beyond"),
    [
        ("fps", 1, 1000, (0, 1001)),
        ("input_delay", 0, 30, (-1, 31)),
        ("prediction_window", 0, 128, (-1, 129)),
        ("report_interval", 1, 60, (0, 61)),
        ("departure_timeout_s", 0.1, 600, (0.09, 601, float("nan"))),
        ("linger_s", 0, 60, (-1, 61, float("nan"))),
    ],
)
def test_a_number_beyond_its_limits_is_named_at_once_and_the_engine_has_the_same_limits(
    name: str,
    least: float,
    most: float,
    beyond: tuple[float, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for got in beyond:
        with pytest.raises(ValueError, match=f"{name}: expected {least} to {most}, got {got}"):
            rb.Settings(**{name: got})
    rb.Settings(**{name: least})
    rb.Settings(**{name: most})

    def record(got: float) -> None:
        if name.endswith("_s"):
            monkeypatch.setitem(offline._ALONE, name[:-2] + "_ms", round(got * 1000))
        elif name != "fps":
            monkeypatch.setitem(offline._ALONE, name, got)
        fps = int(got) if name == "fps" else 30
        rb.record_offline(Walkers, None, 1, 1, tmp_path / f"{got}.rbk", fps=fps)

    # It is taken, though the longest delay ends in no such short episode.
    with suppress(rb.RecordingError):
        record(most)
    with pytest.raises(
        ValueError, match=f"{beyond[1] * 1000 if name.endswith('_s') else beyond[1]}"
    ):
        record(beyond[1])
