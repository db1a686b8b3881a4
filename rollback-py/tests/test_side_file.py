"""What only one computer saw is beside its recording, and the recordings are equal all the same."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import loopback
import pytest
import rollback_py as rb
from loopback import Played, Stopwatch
from rollback_py import side_file
from rollback_py.plain_json import DESCRIBED_BYTES_MAX, described
from rollback_py.side_file import SideFileWriter, side_path


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> list[Played]:
    """Return both peers of an episode whose infos differ in each simulation."""
    peers = loopback.play(tmp_path_factory.mktemp("stopwatch"), Stopwatch)
    for peer in peers:
        assert peer.error is None
    return peers


def sides(played: list[Played]) -> list[tuple[Played, rb.SideFile]]:
    return [(peer, rb.SideFile.open(peer.episode.recording)) for peer in played]


def test_the_recordings_are_equal_and_verified_although_infos_differ(played: list[Played]) -> None:
    one, other = (peer.episode.recording for peer in played)
    assert one.read_bytes() == other.read_bytes()
    assert rb.verify(one, Stopwatch)
    rows = rb.Recording.open(one).to_polars(Stopwatch)
    assert {json.dumps(json.loads(info)) for info in rows["info"]} == {
        json.dumps({"frame": frame + 1}) for frame in range(Stopwatch.frames)
    }


def test_excluded_infos_of_every_frame_are_those_of_its_last_simulation(
    played: list[Played],
) -> None:
    laps = []
    for peer, side in sides(played):
        assert side.excluded_info_keys == ["7", "handle", "lap_s", "left only", "picture"]
        assert sorted(side.infos) == list(side.infos) == list(range(Stopwatch.frames))
        last = {frame: lap for frame, _, lap in peer.log}
        assert len(peer.log) > len(last), "nothing was simulated again"
        for frame, infos in side.infos.items():
            assert infos["left"]["lap_s"] == infos["right"]["lap_s"] == last[frame]
            assert infos["left"]["7"] == ("Infinity" if frame % 2 else last[frame])
            assert infos["left"]["left only"] == [last[frame], [None, "é"]]
            assert "left only" not in infos["right"]
            assert infos["left"]["picture"] == {"type": "numpy.ndarray", "bytes": 5017}
            assert infos["left"]["handle"]["type"] == "loopback.Handle"
            assert infos["left"]["handle"]["repr"].startswith("<loopback.Handle object at")
            assert "frame" not in infos["left"]
        laps.append([infos["left"]["lap_s"] for infos in side.infos.values()])
    assert laps[0] != laps[1]


def test_frames_shown_from_wrong_guesses_are_told_with_what_was_shown(
    played: list[Played],
) -> None:
    for peer, side in sides(played):
        recorded = _recorded_actions(peer.episode.recording)
        first: dict[int, dict[str, int]] = {}
        for frame, actions, _ in peer.log:
            first.setdefault(frame, actions)
        wrong = [frame for frame in sorted(first) if first[frame] != recorded[frame]]
        assert len(wrong) > 10
        assert list(side.experienced) == wrong
        (other,) = {"left", "right"} - set(peer.my_agents)
        for frame, shown in side.experienced.items():
            assert shown["actions"] == first[frame]
            assert shown["guessed"] == [other]
        summary = peer.episode.summary()
        assert summary.mispredicted_frames == len(wrong)
        assert len(wrong) < summary.predicted_frames <= Stopwatch.frames


def _recorded_actions(recording: Path) -> dict[int, dict[str, int]]:
    actions: dict[int, dict[str, int]] = {}
    for row in rb.Recording.open(recording).to_polars(Stopwatch).iter_rows(named=True):
        actions.setdefault(row["frame"], {})[row["agent"]] = row["action"]
    return actions


def test_who_was_too_slow_is_told_to_all_and_not_recorded(tmp_path: Path) -> None:
    played = loopback.play(tmp_path, loopback.SlowOnSlot1)
    one, other = (peer.episode.recording for peer in played)
    assert one.read_bytes() == other.read_bytes()
    for peer, side in sides(played):
        paces = [line["percent"] for line in side.named("pace_changed") if line["peer"] == 1]
        assert min(paces) == 50
        summary = peer.episode.summary()
        assert "peer 1: to 50 % of the frame rate" in summary.slowed
        assert "slowed by  peer 1: to 50 %" in str(summary)


def test_the_side_file_says_how_it_began_went_and_ended(played: list[Played]) -> None:
    for peer, side in sides(played):
        assert side.lines[0] == side.head
        assert side.head["format"] == side_file.FORMAT
        assert side.head["peer"] == peer.slot
        assert side.head["agents"] == ["left", "right"]
        assert side.head["recording"] == peer.episode.recording.name
        summary = peer.episode.summary()
        assert side.lines[-1] == side.summary
        assert {"event": "summary", **summary.to_json()}.items() <= (side.summary or {}).items()
        assert summary.reason == peer.end.reason == "the environment ended"
        assert summary.side_file_error is None
        assert summary.left_out == side.excluded_info_keys
        assert summary.peers[0].rtt_ms is not None
        backs = [line["frames_back"] for line in side.named("rollback")]
        counted = [backs.count(depth) for depth in range(1, len(summary.rollback_depths) + 1)]
        assert counted == summary.rollback_depths
        assert len(backs) == summary.rollbacks > 10
        assert len(side.named("started")) == 1
        assert side.named("sample")


def test_a_disk_that_fails_ends_the_side_file_and_not_the_game(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = side_file.side_path

    def missing_for_slot_0(recording: Any) -> Path:
        return whole(f"{recording}/missing" if str(recording).endswith("peer0.rbk") else recording)

    class FullDisk:
        def write(self, text: str) -> None:
            raise OSError(errno.ENOSPC, "no space left on the device")

        flush = close = lambda self: self.write("")

    def fill(episode: rb.Episode, slot: int) -> None:
        if slot == 1 and episode.frame == 30:
            episode._side._file.close()
            episode._side._file = FullDisk()

    monkeypatch.setattr(side_file, "side_path", missing_for_slot_0)
    one, other = loopback.play(tmp_path, Stopwatch, on_frame=fill)
    assert (one.error, other.error) == (None, None)
    assert one.episode.recording.read_bytes() == other.episode.recording.read_bytes()
    assert one.end.cause == other.end.cause == "finished"
    first, second = (peer.episode.summary().side_file_error or "" for peer in (one, other))
    assert "missing" in first
    assert "no space left" in second
    assert "side file" in str(other.episode.summary())
    assert not whole(one.episode.recording).exists()
    assert rb.SideFile.open(other.episode.recording).summary is None


def test_a_member_whose_simulation_failed_is_named_with_the_frame_by_the_other(
    tmp_path: Path,
) -> None:
    survivor, failed = loopback.play(tmp_path, loopback.FailsOnSlot1)
    assert isinstance(failed.error, rb.GameError)
    assert failed.end.cause == "game_failed"
    assert "frame 40" in failed.end.reason
    assert "ZeroDivisionError: the environment's own error" in failed.end.reason

    because = "peer 1's simulation failed at frame 40"
    assert (survivor.end.cause, survivor.end.by) == ("departed", 1)
    assert survivor.end.reason == because
    summary = survivor.episode.summary()
    assert summary.losses == [because]
    assert because in str(summary).splitlines()[0]
    for peer in (survivor, failed):
        side = rb.SideFile.open(peer.episode.recording)
        assert side.summary is not None
        assert side.summary["reason"] == peer.end.reason


def test_those_who_play_on_say_whom_they_lost_and_their_match_ends_with_the_episode(
    tmp_path: Path,
) -> None:
    settings = rb.Settings(fps=60, linger_s=1.0, on_departure="continue")
    played = loopback.play(
        tmp_path, loopback.ThreeFailOnSlot1, peers=3, episodes=2, settings=settings
    )
    assert [(peer.slot, peer.episode.number) for peer in played] == [(0, 0), (1, 0), (2, 0)]
    one, _, other = played
    for peer in (one, other):
        assert (peer.end.cause, peer.end.frame) == ("finished", 150)
        assert peer.episode.summary().losses == ["peer 1's simulation failed at frame 40"]
        assert "lost       peer 1's simulation failed" in str(peer.episode.summary())
        # Its connection has nothing to do with it.
        (change,) = rb.SideFile.open(peer.episode.recording).named("view_changed")
        assert (change["peer"], change["cause"], change["reason"]) == (1, "lost", None)
    assert one.episode.recording.read_bytes() == other.episode.recording.read_bytes()


def test_a_line_that_was_not_written_to_its_end_is_left_out(tmp_path: Path) -> None:
    recording = tmp_path / "a.rbk"
    writer = SideFileWriter(recording)
    writer.write("head", {"excluded_info_keys": ["clock"]})
    writer.write("info", {"frame": 3, "infos": {"left": {"clock": 1.5}}})
    writer.close()
    whole = side_path(recording).read_bytes()
    side = rb.SideFile.open(recording)
    assert side.excluded_info_keys == ["clock"]
    assert side.infos == {3: {"left": {"clock": 1.5}}}
    assert side.summary is None
    for length in range(whole.index(b"\n") + 1, len(whole) - 1):
        side_path(recording).write_bytes(whole[:length])
        assert [line["event"] for line in rb.SideFile.open(recording).lines] == ["head"]


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"frame": 3}', b"\xff", b"[" * 100_000])
def test_what_is_no_side_file_is_refused_by_its_line(tmp_path: Path, line: bytes) -> None:
    recording = tmp_path / "a.rbk"
    side_path(recording).write_bytes(b'{"event": "head"}\n' + line + b"\n")
    with pytest.raises(rb.RecordingError, match="line 2: expected"):
        rb.SideFile.open(recording)


def test_a_side_file_is_not_written_over(tmp_path: Path) -> None:
    side_path(tmp_path / "a.rbk").write_text("mine")
    writer = SideFileWriter(tmp_path / "a.rbk")
    assert "exists" in (writer.failure or "")
    writer.write("head", {})
    writer.close()
    assert side_path(tmp_path / "a.rbk").read_text() == "mine"


def test_a_value_that_json_lacks_is_described_in_few_bytes() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no")

    fits, too_long = bytes(DESCRIBED_BYTES_MAX - 5), bytes(DESCRIBED_BYTES_MAX - 4)
    assert described(fits) == fits.hex()
    assert described(too_long) == {"type": "builtins.bytes", "bytes": DESCRIBED_BYTES_MAX + 1}
    assert described({1, 2}) == {"type": "builtins.set", "repr": "{1, 2}"}
    assert described(Odd())["repr"] == "its repr raises ValueError"
    assert len(described({"x" * 500, 1})["repr"]) == 200
    cycle: list[Any] = []
    cycle.append(cycle)
    assert described(cycle)["repr"] == "[[...]]"


def test_the_ways_were_proved_before_the_episode_and_the_side_file_says_so(
    played: list[Played],
) -> None:
    for _, side in sides(played):
        # Others follow when a way is lost and regained.
        proved = side.named("peer_proved")
        assert all(0 < line["round_trip_ms"] < 10_000 for line in proved)
        assert proved[0]["t"] <= side.named("started")[0]["t"]
        links = [peer["link"] for line in side.named("sample") for peer in line["peers"]]
        checked = [link for link in links if link["proof"] == "both"]
        assert checked
        assert all(link["checked_round_trip_ms"] is not None for link in checked)
