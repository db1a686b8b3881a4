"""Real environments as games: rolled back at random, they end like the straight run."""

import random

import gymnasium as gym
import numpy as np
import pytest
import sample_envs
from rollback_py import EnvGame, EnvironmentUnsuitableError, NotSnapshotableError, SnapshotOptions
from rollback_py.simulation import RandomActions

FRAMES = 40


@pytest.fixture(scope="module")
def findings():
    """Remember the self-tests: each environment is examined once for this file."""
    return {}


def make(findings, name, **options):
    factory = sample_envs.REAL[name]
    game = EnvGame(factory, findings=findings.get(name), self_test_frames=10, **options)
    findings.setdefault(name, game.findings)
    return game


def straight_run(game, seed):
    game.reset(seed)
    actions = RandomActions(game.simulation, seed)
    script, outputs, hashes = [], [], [game.live_hash()]
    while not game.ended and len(script) < FRAMES:
        script.append(actions.draw())
        game.step(script[-1])
        outputs.append(game.output())
        hashes.append(game.live_hash())
    return script, outputs, hashes


@pytest.mark.parametrize("name", sample_envs.REAL)
@pytest.mark.parametrize("strategy", ["auto", "structural"])
def test_random_rollbacks_end_like_the_straight_run(findings, name, strategy):
    options = SnapshotOptions(strategy=strategy)
    findings = findings if strategy == "auto" else {}
    script, outputs, hashes = straight_run(make(findings, name, snapshots=options), 3)
    assert len(set(hashes)) > len(hashes) // 3, "the hash does not see the state change"
    game = make(findings, name, snapshots=options)
    game.reset(3)
    source = random.Random(7)
    wrong = RandomActions(game.simulation, 99)
    saved = {}
    frame = furthest = 0
    while furthest < len(script):
        saved[frame] = game.save(saved.get(frame))
        assert game.hash(saved[frame]) == hashes[frame]
        game.step(script[frame])
        assert game.output() == outputs[frame]
        frame += 1
        furthest = max(furthest, frame)
        if source.random() < 0.3:
            # Wrong guesses first, so that there is something to undo.
            for _ in range(source.randrange(4)):
                if not game.ended:
                    game.step(wrong.draw())
            frame = source.randrange(max(0, frame - 8), frame)
            game.load(saved[frame])
    assert game.live_hash() == hashes[-1]


@pytest.mark.parametrize("name", sample_envs.REAL)
def test_two_games_are_equal_and_another_seed_is_not(findings, name):
    one = straight_run(make(findings, name), 5)
    assert straight_run(make(findings, name), 5) == one
    if name not in ("connect_four",):
        assert straight_run(make(findings, name), 6)[2][0] != one[2][0]


def test_the_strategy_is_the_most_particular_that_restores_everything(findings):
    # CoGrid's get_state leaves out which agents are alive, and what is drawn.
    cramped_room = make(findings, "cramped_room")
    assert cramped_room.strategy == "structural"
    assert cramped_room.findings.rejected[0].startswith("get_state: leaves as it is")
    assert make(findings, "spread").strategy == "structural"
    assert make(findings, "wrapped_cartpole").strategy == "structural"


def test_an_episode_that_ended_can_be_taken_back():
    game = EnvGame(sample_envs.short_cramped_room, idle={0: 6, 1: 6}, self_test_frames=10)
    game.reset(3)
    idle = [game.idle_action(player) for player in range(2)]
    for _ in range(38):
        assert not game.step(idle)
    kept = game.save()
    while not game.step(idle):
        pass
    end = game.live_hash()
    game.load(kept)
    assert game.env.agents == [0, 1]
    while not game.step(idle):
        pass
    assert game.live_hash() == end


def test_the_state_of_wrappers_is_restored(findings):
    game = make(findings, "wrapped_cartpole")
    game.reset(0)
    saved = game.save()
    limit = game.env
    while not hasattr(limit, "_elapsed_steps"):
        limit = limit.env
    for _ in range(3):
        game.step([b"\1"])
    assert limit._elapsed_steps == 3
    game.load(saved)
    assert limit._elapsed_steps == 0
    paths = [path for path, _ in game.leaves(saved)]
    assert "TimeLimit._elapsed_steps" in paths
    assert "state" in paths


def test_the_environment_stays_the_same_object():
    game = EnvGame(sample_envs.TinyGrid, self_test_frames=10)
    env = game.env
    game.reset(1)
    cells, saved = env.cells, game.save()
    for _ in range(5):
        game.step([b"\1", b"\2"])
    game.load(saved)
    assert game.env is env
    assert env.cells is cells
    assert [cell.visits for cell in cells] == [0] * 5


def test_players_are_the_possible_agents_in_order(findings):
    game = make(findings, "cramped_room")
    assert game.agents == [0, 1]
    assert game.players == ["0", "1"]
    assert game.width == 1
    assert make(findings, "cartpole").players == ["agent"]


def test_an_episode_ends_and_holds_its_last_outputs():
    game = EnvGame(sample_envs.TinyGrid, self_test_frames=10)
    game.reset(1)
    for frame in range(50):
        assert not game.ended
        assert game.step([b"\1", b"\1"]) is (frame == 49)
    outputs = game.decode_output(game.output())
    assert outputs["truncations"] == {"a": True, "b": True}
    assert outputs["infos"] == {"a": {"t": 50}, "b": {"t": 50}}
    assert game.env.agents == []


def test_a_load_takes_back_the_end_of_an_episode():
    game = EnvGame(sample_envs.TinyGrid, self_test_frames=10)
    game.reset(1)
    for _ in range(49):
        game.step([b"\1", b"\1"])
    saved = game.save()
    assert game.step([b"\1", b"\1"])
    game.load(saved)
    assert not game.ended
    assert game.env.agents == ["a", "b"]
    assert game.observation(0) is not None


def test_bytes_that_are_no_action_are_the_idle_action(findings):
    game = make(findings, "cramped_room", idle={0: 6, 1: 6})
    game.reset(1)
    game.step([b"\xff", b"\6"])
    hostile = game.live_hash()
    assert game.invalid_actions == 1
    game.reset(1)
    game.step([b"\6", b"\6"])
    assert game.live_hash() == hostile


def test_actions_are_encoded_for_their_player(findings):
    game = make(findings, "cramped_room")
    action, valid = game.decode_action(1, game.encode_action(1, np.int64(3)))
    assert (action, valid, type(action)) == (3, True, np.int64)


def test_numpy_seeds_are_taken(findings):
    game = make(findings, "cramped_room")
    game.reset(np.int64(4))
    first = game.live_hash()
    game.reset(4)
    assert game.live_hash() == first


def test_the_users_own_functions_come_first():
    def save(env):
        return env.get_state()

    def load(env, state):
        env.set_state(state)

    options = SnapshotOptions(save=save, load=load, hash=lambda state: repr(state["t"]).encode())
    game = EnvGame(sample_envs.cramped_room, snapshots=options, self_test_frames=5)
    assert game.strategy == "user"
    game.reset(1)
    first = game.save()
    game.step([b"\1", b"\1"])
    second = game.save()
    assert game.hash(first) != game.hash(second)
    game.load(first)
    again = game.save()
    assert game.hash(again) == game.hash(first)
    assert game.same(first, again) is None
    assert game.same(first, second) is False
    with pytest.raises(ValueError, match="belong together"):
        EnvGame(sample_envs.cramped_room, snapshots=SnapshotOptions(save=save))


def test_an_environment_that_draws_and_waits_in_step_is_refused():
    with pytest.raises(EnvironmentUnsuitableError, match="human"):
        EnvGame(lambda: gym.make("CartPole-v1", render_mode="human"))


def test_a_turn_based_environment_is_refused_with_advice():
    from pettingzoo.classic import tictactoe_v3

    with pytest.raises(EnvironmentUnsuitableError, match="turn_based_aec_to_parallel"):
        EnvGame(tictactoe_v3.env)


def test_what_is_no_environment_is_refused():
    with pytest.raises(EnvironmentUnsuitableError, match="a dict, which has no reset"):
        EnvGame(dict)


def test_an_environment_that_cannot_be_saved_is_left_to_lockstep():
    game = EnvGame(sample_envs.HoldsAGenerator, self_test_frames=10)
    assert not game.can_rollback
    game.reset(1)
    game.step([b"\1", b"\1"])
    with pytest.raises(NotSnapshotableError, match=r"cells\[2\]\.ticks.*generator"):
        game.save()


def test_what_cannot_be_saved_goes_back_by_being_simulated_again():
    game = EnvGame(sample_envs.HoldsAGenerator, self_test_frames=10)
    game.reset(3)
    actions = RandomActions(game.simulation, 3)
    hashes = [game.live_hash()]
    drawn = [actions.draw() for _ in range(8)]
    for row in drawn:
        game.step(row)
        hashes.append(game.live_hash())
    for frames in (5, 0):
        game.simulate_again(frames)
        assert game.live_hash() == hashes[frames]
        for frame, row in enumerate(drawn[frames:], frames + 1):
            game.step(row)
            assert game.live_hash() == hashes[frame]


def test_an_episode_is_the_same_after_another_one_and_in_a_new_environment():
    for factory in (
        sample_envs.wrapped_cartpole,
        sample_envs.RemembersEpisodes,
        sample_envs.CountsEpisodes,
    ):
        game = EnvGame(factory, self_test_frames=10)
        straight_run(game, 1)
        second = straight_run(game, 2)
        assert straight_run(EnvGame(factory, findings=game.findings), 2) == second


def test_an_environment_that_draws_in_every_step_draws_only_when_it_is_asked_to():
    game = EnvGame(sample_envs.DrawsInStep, self_test_frames=10)
    assert game.findings.holds_drawing_back
    game.reset(1)
    sample_envs.pictures.clear()
    state = game.save()
    for _ in range(3):
        game.step([b"\1", b"\2"])
        game.load(state)
    assert sample_envs.pictures == []
    game.step([b"\1", b"\2"])
    for _ in range(2):
        assert game.render()[0, 0, 0] == 1
    assert len(sample_envs.pictures) == 2
    game.step([b"\1", b"\2"])
    assert len(sample_envs.pictures) == 2


def test_an_environment_that_is_observed_as_a_picture_goes_on_drawing():
    game = EnvGame(sample_envs.ObservesItsPicture, self_test_frames=10)
    assert not game.findings.holds_drawing_back
    game.reset(1)
    game.step([b"\1", b"\2"])
    assert game.observation(0) == 12


def test_a_real_kitchen_that_can_be_drawn_is_not_drawn_in_its_steps(monkeypatch):
    from cogrid.cogrid_env import CoGridEnv

    game = EnvGame(sample_envs.drawn_cramped_room, self_test_frames=5)
    frames = []
    draw = CoGridEnv.get_frame
    monkeypatch.setattr(
        CoGridEnv, "get_frame", lambda self, **k: (frames.append(None), draw(self, **k))[1]
    )
    game.reset(1)
    for _ in range(3):
        game.step([b"\0", b"\1"])
    assert frames == []
    assert game.render().ndim == 3
    assert len(frames) == 1


def test_drawing_between_frames_changes_neither_state_nor_outputs():
    for factory in (sample_envs.drawn_cartpole, sample_envs.ChangesWhenDrawn, sample_envs.Drawn):
        game = EnvGame(factory, self_test_frames=10)
        script, outputs, hashes = straight_run(game, 2)
        game.reset(2)
        for frame, actions in enumerate(script):
            assert game.render() is not None
            assert game.live_hash() == hashes[frame]
            game.step(actions)
            assert game.output() == outputs[frame]
