"""Who waits is told for whom: once, and when that changes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import rollback_py as rb
from playable import FourWalkers
from rollback_py import waiting
from rollback_py.waiting import Waiting


def test_whoever_is_alone_in_a_room_is_told_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = rb.Server("127.0.0.1:0", players=2)
    link = f"ws://{server.address}/room"
    alone = threading.Event()

    def told(members: int, expected: int) -> None:
        rb.match.tell_waiting(members, expected)
        if expected:
            alone.set()

    def second() -> None:
        assert alone.wait(60)
        rb.join(link, env=FourWalkers, data=tmp_path / "b", on_progress=None).close()

    other = threading.Thread(target=second)
    other.start()
    try:
        rb.join(link, env=FourWalkers, data=tmp_path / "a", on_progress=told).close()
        other.join()
    finally:
        server.stop()
    first, *further = capsys.readouterr().err.splitlines()
    assert first == (
        "rollback: waiting for members: 1 of 2 are in the room, 1 lacking "
        "(who plays already is not counted)"
    )
    assert further in ([], ["rollback: all 2 members are in the room"])


def test_a_wait_in_play_is_told_when_it_lasts_and_when_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now)
    waits = Waiting(["ann", "bob", ""])
    assert waits.told([1]) is None, "for an instant"
    now += 0.9
    assert waits.told([1]) is None
    now += 0.2
    assert waits.told([1]) == "waiting for peer 1 (bob)"
    now += 9
    assert waits.told([1]) is None, "once"
    assert waits.told([1, 2]) is None
    now += 1
    assert waits.told([1, 2]) == "waiting for peer 1 (bob), peer 2"
    assert waits.told([]) == "goes on"
    assert waits.told([]) is None
    assert waits.told([2]) is None
    assert waits.told([]) is None, "it was short"
