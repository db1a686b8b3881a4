"""When the states part in a match: all take one's over, or the members decide, or it ends."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import loopback
import pytest
import rollback_py as rb
import sample_envs
from loopback import witnessed
from playable import Walkers
from rollback_py.cli import main
from two_processes import play as play_in_two_processes

FRAMES = 150


class Drifts(Walkers):
    """Goes apart by itself at frame 77, on the computer of slot 1."""

    frames = FRAMES

    def step(self, actions: dict[str, int]) -> Any:
        if self.frame == 77 and witnessed.slot == 1:
            self.places["right"] += 2.0**-30
        return super().step(actions)


class DriftsTwice(Drifts):
    """The same, and once more."""

    def step(self, actions: dict[str, int]) -> Any:
        if self.frame == 113 and witnessed.slot == 1:
            self.places["left"] -= 2.0**-30
        return super().step(actions)


class ThreeDrift(Drifts):
    """The same with three."""

    names = ("left", "right", "up")


class HoldsAnIterator(Drifts):
    """The same, with a part that cannot travel."""

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.numbers = iter([1, 2, 3])
        return super().reset(seed, options)


class HoldsAGenerator(Drifts):
    """The same, with a part that cannot even be saved: it is played in lockstep."""

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.numbers = (number for number in range(10**6))
        return super().reset(seed, options)

    def step(self, actions: dict[str, int]) -> Any:
        next(self.numbers)
        return super().step(actions)


def resyncing(source: int | None = None) -> rb.Settings:
    return rb.Settings(fps=60, linger_s=1.0, on_desync="resync", resync_from=source)


def assert_resynced(played: list[loopback.Played], sources: list[int]) -> rb.Recording:
    """All ended alike, and their recordings are equal and say whose state was taken over."""
    for peer in played:
        assert (peer.error, peer.end.cause) == (None, "finished")
    one, *others = (peer.episode.recording for peer in played)
    for other in others:
        assert one.read_bytes() == other.read_bytes()
    recording = rb.Recording.open(one)
    assert [resync.source for resync in recording.resyncs] == sources
    return recording


def test_the_frame_is_named_also_where_no_state_can_be_saved(tmp_path: Path) -> None:
    told: list[str] = []
    played = loopback.play(
        tmp_path, HoldsAGenerator, on_warning=lambda name, text: told.append(name)
    )
    assert told == ["lockstep"] * 2
    for peer in played:
        assert isinstance(peer.error, rb.DesyncError)
        # Outputs are compared in place of states: those of frame 77 part, which lead to state 78.
        assert peer.error.frame == 78
        assert peer.end.cause == "desync"
        assert peer.end.frame == peer.error.agreed <= 77
    one, other = (peer.episode.recording for peer in played)
    assert one.read_bytes() == other.read_bytes()
    assert rb.verify(one, HoldsAGenerator)


def test_all_take_over_the_state_of_one_and_play_on(tmp_path: Path) -> None:
    played = loopback.play(tmp_path, Drifts, settings=resyncing())
    recording = assert_resynced(played, [0])
    (resync,) = recording.resyncs
    assert resync.disputed_from <= 77 < resync.frame <= 90
    assert recording.frame_count == FRAMES
    for peer in played:
        (text,) = peer.episode.summary().resyncs
        assert text == f"after a desync the state of peer 0 was taken over at frame {resync.frame}"
    # Here nothing drifts, so it is as on the computer whose state it was.
    found = rb.verify(recording, env=Drifts)
    assert isinstance(found, rb.Verified)
    assert [(s.first_frame, s.source, s.disputed) for s in found.segments] == [
        (0, None, None), (resync.frame, 0, None),
    ]  # fmt: skip
    assert str(found).splitlines() == [
        f"VERIFIED {FRAMES} frames in 2 segments",
        "  from frame 0: the state after reset",
        f"  from frame {resync.frame}: the state of peer 0; this environment comes to it, too",
    ]
    table = recording.to_polars()
    assert table["segment"].to_list() == [
        int(frame >= resync.frame) for frame in table["frame"].to_list()
    ]
    disputed = set(table.filter(table["disputed"])["frame"].to_list())
    assert disputed == set(range(resync.disputed_from, resync.frame))


def test_the_state_of_a_named_computer_is_taken_over_and_verified_elsewhere(
    tmp_path: Path,
) -> None:
    played = loopback.play(tmp_path, DriftsTwice, settings=resyncing(source=1))
    recording = assert_resynced(played, [1, 1])
    found = rb.verify(recording, env=DriftsTwice)
    assert isinstance(found, rb.Verified)
    first, *drifted = found.segments
    assert (first.source, first.disputed) == (None, None)
    for segment, resync in zip(drifted, recording.resyncs, strict=True):
        assert (segment.source, segment.first_frame) == (1, resync.frame)
        # Here nothing drifts.
        assert segment.disputed is not None
        assert resync.disputed_from <= segment.disputed.frame <= resync.frame
    assert "of the disputed ones is otherwise" in str(found)


def test_of_three_it_is_the_majoritys(tmp_path: Path) -> None:
    played = loopback.play(tmp_path, ThreeDrift, peers=3, settings=resyncing())
    (resync,) = assert_resynced(played, [0]).resyncs
    (desync,) = (e for e in played[1].episode.events if e["event"] == "desync")
    assert (desync["frame"], desync["path"]) == (78, "places['right']")
    assert desync["frame"] <= resync.frame


class HoldsASet(Drifts):
    """Goes by the order of a set, which depends on what was in it before, and which no hash has."""

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.held = set(range(200))
        self.held -= set(range(200)) - {1, 8, 16}
        return super().reset(seed, options)

    def step(self, actions: dict[str, int]) -> Any:
        self.places["left"] += next(iter(self.held)) / 16
        return super().step(actions)


def test_the_order_of_a_set_is_alike_where_the_state_that_all_took_over_is_the_own_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = loopback.play(tmp_path, HoldsASet, settings=resyncing())
    recording = assert_resynced(played, [0])
    found = rb.verify(recording, env=HoldsASet)
    assert found, str(found)
    assert [segment.disputed for segment in found.segments] == [None, None]
    # Whoever goes on with its own state in its place has the set as it was before.
    monkeypatch.setattr(rb.EnvGame, "import_state", lambda self, encoded: None)
    assert not rb.verify(recording, env=HoldsASet)


class Drifting:
    """A real environment that goes apart by itself at some frames, on the computer of slot 1."""

    drifts_at: tuple[int, ...]

    def __init__(self) -> None:
        self.env = self.make()
        self.frame = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)

    def make(self) -> Any:
        raise NotImplementedError

    def drift(self) -> None:
        """Change something that no action does: what these do depends on the match's seed."""
        raise NotImplementedError

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.frame = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: dict[Any, int]) -> Any:
        self.frame += 1
        returned = self.env.step(actions)
        if self.frame in self.drifts_at and witnessed.slot == 1:
            self.drift()
        return returned


class DriftingSpread(Drifting):
    """MPE's simple_spread, of which the last bit of one place goes apart."""

    drifts_at = (33,)

    def make(self) -> Any:
        return sample_envs.spread()

    def drift(self) -> None:
        self.env.unwrapped.world.agents[0].state.p_pos[0] += 2.0**-40


class DriftingKitchen(Drifting):
    """CoGrid's Overcooked, in which the score is off by one, twice."""

    drifts_at = (40, 70)

    def make(self) -> Any:
        kitchen = sample_envs.cramped_room()
        kitchen.unwrapped.max_steps = 120
        return kitchen

    def drift(self) -> None:
        self.env.unwrapped.cumulative_score += 1


@pytest.mark.parametrize("env", [DriftingSpread, DriftingKitchen])
def test_a_real_environment_that_parts_is_played_on_equally(tmp_path: Path, env: Any) -> None:
    played = loopback.play(tmp_path, env, settings=resyncing())
    sources = [0] * len(rb.Recording.open(played[0].episode.recording).resyncs)
    assert sources
    recording = assert_resynced(played, sources)
    found = rb.verify(recording, env=env)
    assert found, str(found)
    assert len(found.segments) == 1 + len(sources)


def test_each_side_keeps_a_dump_and_two_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = loopback.play(tmp_path, Drifts)
    for peer in played:
        assert isinstance(peer.error, rb.DesyncError)
        assert (peer.error.frame, peer.error.path) == (78, "places['right']")
        assert peer.end.cause == "desync"
    one, other = (rb.DesyncDump.open(*peer.episode.dumps) for peer in played)
    assert one.path == Path(f"{played[0].episode.recording}.desync-1.rbd")
    (event,) = rb.SideFile.open(played[0].episode.recording).named("desync")
    assert event["dump"] == one.path.name
    assert (one.peer, other.peer, one.agreed) == (0, 1, played[0].end.frame)
    last = [frame for frame, _, _ in one.rows]
    assert set(range(one.agreed, 78)) <= set(last)
    recorded = {
        row.frame: row.actions for row in rb.Recording.open(played[0].episode.recording).frames()
    }
    assert all(recorded[f] == actions for f, actions, _ in one.rows if f in recorded)
    found = one.compare(other)
    assert not found
    assert found.inputs is None
    first = found.states[0]
    assert (first.frame, first.is_replayed) == (78, True)
    assert "places['right']" in [path for path, _, _ in first.values]
    (place,) = (v for v in first.values if v[0] == "places['right']")
    assert abs(float(place[2]) - float(place[1])) == pytest.approx(2.0**-30, rel=1e-3)
    assert main(["compare", str(one.path), str(other.path)]) == 4
    printed = capsys.readouterr().out
    assert printed.startswith("the inputs are equal\nthe state of frame 78, stepped to again:")
    assert "places['right']: " in printed
    assert main(["compare", "--json", str(one.path), str(one.path)]) == 0
    assert json.loads(capsys.readouterr().out)["inputs"] is None


def test_what_is_no_dump_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.rbd"
    path.write_bytes(b"RBD\x01 and no more")
    with pytest.raises(rb.RecordingError, match=r"a\.rbd: "):
        rb.DesyncDump.open(path)
    path.write_bytes(b"")
    with pytest.raises(rb.RecordingError):
        rb.DesyncDump.open(path)


@pytest.mark.parametrize("ends", [False, True])
def test_in_a_pause_the_application_decides(tmp_path: Path, ends: bool) -> None:
    seen: dict[int, list[str]] = {0: [], 1: []}
    answers: dict[int, list[bool]] = {0: [], 1: []}

    def on_frame(episode: rb.Episode, slot: int) -> None:
        if episode.dispute is None:
            return
        seen[slot].append(str(episode.dispute.path))
        # The second to decide lets the first one wait.
        if len(seen[slot]) == (5 if slot == 0 else 40):
            decide = episode.end_disputed if ends and slot == 1 else episode.resync
            answers[slot] += [decide(), decide()]

    settings = rb.Settings(fps=60, linger_s=1.0, on_desync="pause")
    played = loopback.play(tmp_path, Drifts, settings=settings, on_frame=on_frame)
    assert answers == {0: [True, False], 1: [True, False]}
    assert set(seen[0]) == {"places['right']"}
    assert len(seen[0]) > 20
    if not ends:
        assert rb.verify(assert_resynced(played, [0]), env=Drifts)
        return
    one, other = (peer.episode.recording for peer in played)
    assert one.read_bytes() == other.read_bytes()
    for peer in played:
        assert isinstance(peer.error, rb.DesyncError)
        assert peer.end.cause == "desync"
        assert len(peer.episode.dumps) == 1


def test_an_environment_that_cannot_give_its_state_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(rb.NotTransferableError, match="numbers is a list_iterator"):
        rb.join("ws://127.0.0.1:1/nowhere", env=HoldsAnIterator, settings=resyncing())


def test_where_the_state_cannot_be_given_a_pause_can_only_end(tmp_path: Path) -> None:
    refused: list[str] = []
    lock = threading.Lock()

    def on_frame(episode: rb.Episode, slot: int) -> None:
        if episode.dispute is not None:
            with lock, pytest.raises(rb.NotTransferableError) as error:
                episode.resync()
            refused.append(str(error.value))
            episode.end_disputed()

    settings = rb.Settings(fps=60, linger_s=1.0, on_desync="pause")
    played = loopback.play(tmp_path, HoldsAnIterator, settings=settings, on_frame=on_frame)
    assert all("list_iterator" in text for text in refused)
    assert [peer.end.cause for peer in played] == ["desync", "desync"]
    one, other = (rb.DesyncDump.open(*peer.episode.dumps) for peer in played)
    # What cannot be taken over can still be laid side by side.
    assert one.compare(other).states[0].bytes is not None


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"on_desync": "shout"}, "on_desync: expected one of .* got 'shout'"),
        ({"resync_from": 1}, "resync_from: expected None with on_desync='end'"),
    ],
)
def test_a_setting_that_is_none_is_named(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        rb.Settings(**wrong)


def test_two_processes_play_on_and_verify_each_segment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    played = play_in_two_processes(
        tmp_path, "playable:drifts", "playable:at_random", "--on-desync", "resync",
        "--resync-from", "1", "--delay-ms", "40", "--loss-percent", "5",
        environment=({}, {"DRIFTS": "1"}),
    )  # fmt: skip
    for peer in played:
        assert peer.exit_code == 0, f"{peer.lines[-3:]}\n{peer.stderr}"
        assert len(peer.episodes[0]["resyncs"]) == 1
    one, other = (peer.recordings[0] for peer in played)
    assert one.read_bytes() == other.read_bytes()
    assert main(["verify", str(one), "--env", "playable:drifts"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"from frame 80: the state of peer 1; here frame (7\d|80) of the", printed)
