"""Whatever fails, what was opened is closed: environments, windows, connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import rollback_py as rb
from playable import FourWalkers, at_random
from rollback_py import doctor
from sample_envs import ForgetsInSetState, TinyGrid


class Counted(TinyGrid):
    """Knows how many of its kind are open."""

    opened: ClassVar[set[int]] = set()
    made: ClassVar[list[Any]] = []
    mode: ClassVar[str | None] = "rgb_array"

    def __init__(self) -> None:
        super().__init__()
        self.render_mode = self.mode
        self.opened.add(len(self.made))
        self.number = len(self.made)
        self.made.append(self)

    def close(self) -> None:
        self.opened.discard(self.number)


class CountedWithMethods(Counted, ForgetsInSetState):
    """Has a way of saving that does not pass."""


class FailsAfterTrials(Counted):
    """Fails in a step, but not before it has been tried."""

    def step(self, actions: Any) -> Any:
        if len(self.made) > self.trials:
            raise ZeroDivisionError
        return super().step(actions)

    trials = 0


class FailsToClose(Counted):
    """Is one of those that cannot be closed before they were drawn."""

    def close(self) -> None:
        super().close()
        raise AttributeError("viewer")


@pytest.fixture(autouse=True)
def _none_open() -> Iterator[None]:
    yield
    Counted.opened.clear()
    Counted.made.clear()


@pytest.mark.parametrize("kind", [Counted, CountedWithMethods])
def test_only_the_environment_that_is_played_stays_open(kind: type[Counted]) -> None:
    game = rb.EnvGame(kind, self_test_frames=5)
    assert len(Counted.made) > 5
    assert list(Counted.opened) == [game.env.number]
    game.close()
    assert not Counted.opened


def test_one_that_fails_to_close_after_a_trial_is_played_all_the_same() -> None:
    game = rb.EnvGame(FailsToClose, self_test_frames=5)
    assert game.can_rollback
    assert list(Counted.opened) == [game.env.number]


def test_a_check_that_fails_leaves_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    rb.EnvGame(Counted, self_test_frames=5).close()
    monkeypatch.setattr(FailsAfterTrials, "trials", len(Counted.made) - 1)
    Counted.made.clear()
    with pytest.raises(ZeroDivisionError):
        rb.check(FailsAfterTrials, frames=5)
    assert not Counted.opened
    Counted.made.clear()
    monkeypatch.setattr(doctor.Factory, "from_spec", lambda spec: FailsAfterTrials)
    with pytest.raises(ZeroDivisionError):
        doctor._environment("module:function", 30)
    assert not Counted.opened


def test_one_that_is_refused_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(rb.SpaceError):
        rb.EnvGame(Counted, idle={"a": 99})
    assert not Counted.opened
    monkeypatch.setattr(Counted, "mode", "human")
    with pytest.raises(rb.EnvironmentUnsuitableError, match="human"):
        rb.EnvGame(Counted)
    assert not Counted.opened


class Somebody:
    """Does nothing, and may fail to close its window."""

    def __init__(self, *, closes: bool) -> None:
        self.closes = closes
        self.is_closed = False

    def action(self) -> None:
        return None

    def is_focused(self) -> bool:
        return True

    def show(self, picture: Any, caption: str) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True
        if not self.closes:
            raise OSError("the window is gone")


def test_an_end_in_which_something_fails_closes_all_windows_and_gives_the_connections_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = rb.Server("127.0.0.1:0", players=1)
    people = [Somebody(closes=closes) for closes in (False, True, False, True)]
    make_summary, made = rb.Episode._make_summary, []

    def fail_once(self: rb.Episode) -> Any:
        made.append(self)
        if len(made) == 1:
            raise KeyboardInterrupt
        return make_summary(self)

    monkeypatch.setattr(rb.Episode, "_make_summary", fail_once)
    link = f"ws://{server.address}/room"
    try:
        with rb.join(link, env=FourWalkers, fps=200, data=tmp_path) as match:
            episode = rb.Episode(match, 0)
            with pytest.raises(OSError, match="the window is gone") as raised:
                episode.run(dict(zip(match.my_agents, people, strict=True)))
            assert isinstance(raised.value.__context__, OSError | KeyboardInterrupt)
            assert all(person.is_closed for person in people)
            assert episode._side._file is None
            episode.close()  # as leaving `match.episodes` does: nothing is left to be done
            following = rb.Episode(match, 1)
            assert following.run(dict.fromkeys(match.my_agents, at_random)).cause == "finished"
    finally:
        server.stop()
