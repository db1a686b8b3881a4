"""Why a state could not be given or taken over reaches the user, and an interrupt reaches all."""

from pathlib import Path
from types import SimpleNamespace

import loopback
import pytest
import rollback_py as rb
import sample_envs
from loopback import at_random, witnessed
from playable import Walkers
from rollback_py import EnvGame, SnapshotOptions
from rollback_py import _rollback as native
from rollback_py.state_transfer import import_state
from rollback_py.watching import WatchedEpisode

RESYNCING = rb.Settings(fps=60, linger_s=1.0, on_desync="resync")


def came_to(folder: Path, env, settings: rb.Settings) -> dict[int, BaseException]:
    """Have two play in threads of this process; return what each of them raised."""
    server = native.Server("127.0.0.1:0", players=2)
    raised: dict[int, BaseException] = {}

    def play(number: int) -> None:
        link = f"ws://{server.address}/room"
        conditions = rb.LinkConditions(**loopback.BAD_NETWORK, seed=number)
        with rb.join(
            link, env=env, settings=settings, data=folder / f"{number}", link_conditions=conditions
        ) as match:
            witnessed.slot = match.slot
            try:
                for episode in match.episodes(1):
                    policy = at_random(match.slot)
                    episode.run(dict.fromkeys(match.my_agents, policy))
            except BaseException as error:
                raised[match.slot] = error

    try:
        loopback.run_together(play, 2)
    finally:
        server.stop()
    return raised


def test_a_reason_is_kept_until_the_next_episode():
    game = EnvGame(sample_envs.HoldsAnIterator, self_test_frames=10)
    game.reset(1)
    assert (game.withheld, game.refusal) == (None, None)
    encoded = game.export_state(game.save())
    assert "is a list_iterator" in game.withheld
    assert game.import_state(encoded) is None
    assert game.refusal == "RefusedStateError: expected a state that can be taken over"
    game.reset(2)
    assert (game.withheld, game.refusal) == (None, None)


class Fragile(sample_envs.Sum):
    """Has methods for its state, which fail when it is told to."""

    fails = False

    def get_state(self):
        return {"x": self.x}

    def set_state(self, state):
        if type(self).fails:
            type(self).fails = False
            raise ZeroDivisionError("as the test says")
        self.x = state["x"]


def test_what_the_environments_own_methods_raise_is_a_reason():
    game = EnvGame(Fragile, self_test_frames=10, snapshots=SnapshotOptions(strategy="state"))
    game.reset(1)
    before = game.live_hash()
    encoded = game.export_state(game.save())
    assert encoded is not None
    Fragile.fails = True
    assert game.import_state(encoded) is None
    assert game.refusal == "ZeroDivisionError: as the test says"
    assert game.live_hash() == before


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_trial_before_an_episode_reaches_the_caller(
    tmp_path, monkeypatch, interrupt
):
    def interrupted(keeper, encoded):
        raise interrupt

    monkeypatch.setattr("rollback_py.env_game.import_state", interrupted)
    raised = came_to(tmp_path, Walkers, RESYNCING)
    assert [type(raised[slot]) for slot in (0, 1)] == [interrupt, interrupt]


def test_an_interrupt_of_the_trial_at_the_join_reaches_the_caller(monkeypatch):
    closed = []

    def interrupted(keeper, encoded):
        raise KeyboardInterrupt

    class Closing(Walkers):
        def close(self):
            closed.append(self)

    monkeypatch.setattr("rollback_py.state_transfer.import_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rb.join("ws://127.0.0.1:1/nowhere", env=Closing, settings=RESYNCING)
    # Those of the self-test, three of the trial, and the one that would have been played.
    assert len(closed) == len(set(map(id, closed))) >= 4


class Interrupted(Walkers):
    """Is interrupted in the middle of a step, on the computer of slot 1."""

    def step(self, actions):
        if self.frame == 40 and witnessed.slot == 1:
            raise KeyboardInterrupt
        return super().step(actions)


def test_an_interrupt_of_a_step_is_no_failure_of_the_environment(tmp_path):
    raised = came_to(tmp_path, Interrupted, rb.Settings(fps=60, linger_s=1.0))
    assert type(raised[1]) is KeyboardInterrupt


class HoldsAnIteratorLater(Walkers):
    """Can give its state after the reset of the trial, and of no match."""

    def reset(self, seed=None, options=None):
        self.numbers = None if seed == 0 else iter([1, 2, 3])
        return super().reset(seed, options)


def test_an_episode_that_begins_with_a_state_that_cannot_be_given_says_why(tmp_path):
    raised = came_to(tmp_path, HoldsAnIteratorLater, RESYNCING)
    for slot in (0, 1):
        assert type(raised[slot]) is rb.RollbackError
        assert "on_desync: expected a game that exports" in str(raised[slot])
        assert "numbers is a list_iterator" in str(raised[slot])


class Drifts(Walkers):
    """Goes apart by itself at frame 77, on the computer of slot 1."""

    def step(self, actions):
        if self.frame == 77 and witnessed.slot == 1:
            self.places["right"] += 2.0**-30
        return super().step(actions)


def refusing(error):
    """Refuse on slot 1 every state but that after the reset, with which a session tries it."""

    def refuse(keeper, encoded):
        snapshot = import_state(keeper, encoded)
        if witnessed.slot == 1 and snapshot.returned[1]:
            raise error
        return snapshot

    return refuse


def test_who_cannot_take_over_a_state_says_why(tmp_path, monkeypatch):
    refuse = refusing(ValueError("as the test says"))
    monkeypatch.setattr("rollback_py.env_game.import_state", refuse)
    raised = came_to(tmp_path, Drifts, RESYNCING)
    assert type(raised[1]) is rb.RollbackError
    assert str(raised[1]).endswith("; ValueError: as the test says")


def test_an_interrupt_while_a_state_is_taken_over_reaches_the_caller(tmp_path, monkeypatch):
    # To the engine it is a state that cannot be read.
    monkeypatch.setattr("rollback_py.env_game.import_state", refusing(KeyboardInterrupt()))
    raised = came_to(tmp_path, Drifts, RESYNCING)
    assert type(raised[1]) is KeyboardInterrupt


def test_who_verifies_and_cannot_take_over_a_state_is_told_why(tmp_path, monkeypatch):
    settings = rb.Settings(fps=60, linger_s=1.0, on_desync="resync", resync_from=1)
    played = loopback.play(tmp_path, Drifts, settings=settings)
    recording = rb.Recording.open(played[0].episode.recording)
    assert rb.verify(recording, env=Drifts)

    def refused(keeper, encoded):
        raise ValueError("as the test says")

    monkeypatch.setattr("rollback_py.env_game.import_state", refused)
    found = rb.verify(recording, env=Drifts)
    assert not found
    assert found.frame == recording.resyncs[0].frame
    assert found.what.endswith("; ValueError: as the test says")


@pytest.mark.parametrize("kind", [rb.DivergedError, rb.RollbackError, rb.GameError])
def test_who_watches_and_cannot_take_over_a_state_is_told_why(kind):
    game = EnvGame(Walkers, self_test_frames=10)
    game.reset(1)
    assert game.import_state(b"no state") is None

    def advance():
        raise kind("frame 80")

    room = SimpleNamespace(advance=advance)
    episode = WatchedEpisode(SimpleNamespace(game=game), room, {"episode": 0, "fps": 30})
    with pytest.raises(kind) as raised:
        episode._advance()
    # What the environment raises itself has nothing to do with it.
    reason = "" if kind is rb.GameError else f"; {game.refusal}"
    assert str(raised.value) == f"frame 80{reason}"
