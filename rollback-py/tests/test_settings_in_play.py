"""Input delays that change and pauses, while an environment is played."""

from __future__ import annotations

from pathlib import Path

import loopback
import pytest
import rollback_py as rb
from playable import Walkers


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
            with pytest.raises(ValueError, match="at most 30 frames, got 31"):
                episode.set_input_delay("left", 31)
            with pytest.raises(ValueError, match="expected one of"):
                episode.set_input_delay("nobody", 1)
            with pytest.raises(ValueError, match="not hosted by this peer"):
                episode.set_input_delay("right", 1)
            episode.set_input_delay("left", 3)
        if slot == 1 and episode.frame >= 100 and not proposed:
            with pytest.raises(ValueError, match="expected 0 to 30 frames, got 31"):
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
            with pytest.raises(ValueError, match="expected 0 <= shortest <= longest <= 30"):
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
