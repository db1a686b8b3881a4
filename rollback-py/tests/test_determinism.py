"""The checker: it passes what is deterministic, and names what is not."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sample_envs
from rollback_py import EnvGame, SnapshotOptions, check, cli
from rollback_py.determinism import main
from rollback_py.simulation import RandomActions

HASHES = """
import sys
sys.path[:0] = {path!r}
import conftest, sample_envs
from rollback_py import EnvGame
from rollback_py.simulation import RandomActions
if {clutter}:
    others = [sample_envs.REAL[name]() for name in reversed(list(sample_envs.REAL))]
game = EnvGame(sample_envs.REAL[{name!r}], self_test_frames=5)
game.reset(9)
actions = RandomActions(game.simulation, 9)
for _ in range(20):
    if not game.ended:
        game.step(actions.draw())
    print(game.output().hex(), game.live_hash().hex())
"""


@pytest.mark.parametrize("name", sample_envs.REAL)
def test_hashes_are_equal_in_processes_with_other_hash_seeds_and_histories(name):
    runs = []
    for seed, clutter in (("0", False), ("12345", True)):
        code = HASHES.format(
            path=[str(Path(__file__).parent), *sys.path], name=name, clutter=clutter
        )
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        runs.append([line for line in run.stdout.splitlines() if len(line.split()) == 2])
    assert len(runs[0]) == 20
    assert runs[0] == runs[1]


def verdicts(report):
    return {verdict.question.split(" ")[0]: verdict for verdict in report.verdicts}


def test_a_good_environment_passes_everything():
    report = check("sample_envs:cramped_room", frames=20)
    assert report.is_deterministic
    assert report.can_rollback
    assert [verdict.passed for verdict in report.verdicts] == [True] * 5
    assert set(report.costs_us) == {"step", "save", "load", "hash"}
    assert report.state_bytes > 1000
    assert json.loads(report.to_json())["strategy"] == "structural"
    assert "structural" in str(report)


def test_an_order_that_depends_on_the_hash_seed_is_found_in_another_process():
    report = check("sample_envs:OrdersByHash", frames=20)
    verdict = verdicts(report)["another"]
    assert verdict.passed is False
    assert "order[" in verdict.detail
    assert "FAIL" in str(report)
    assert "sort what is taken out of a set" in str(report)


def test_a_number_shared_by_all_instances_is_named():
    verdict = verdicts(check(sample_envs.CountsInstances, frames=20))["two"]
    assert verdict.passed is False
    assert verdict.detail.endswith("cells[1].visits")


@pytest.mark.parametrize(
    ("name", "what", "function"),
    [
        ("KeepsTheTime", "time.time()", "step"),
        ("SeedsNothing", "randomness without a seed", "reset"),
        ("DrawsOfItsOwn", "randomness without a seed", "__init__"),
        ("DrawsNames", "randomness without a seed", "draw_names"),
        ("FollowsAddresses", "id()", "step"),
    ],
)
def test_where_it_asks_for_what_no_seed_decides_is_named(name, what, function):
    report = check(f"sample_envs:{name}", frames=20)
    assert verdicts(report)["two"].passed is False
    assert verdicts(report)["drawing"].detail.startswith("not to be told")
    source = Path(sample_envs.__file__)
    (place,) = report.asks_outside
    file, line = place.removeprefix(f"{what} at ").removesuffix(f" in {function}").split(":")
    assert Path(file).name == source.name
    assert "# asks" in source.read_text().splitlines()[int(line) - 1]
    assert f"it asks for {place}" in str(report)
    assert "seed every generator in reset(seed=…)" in str(report)


def test_what_is_asked_for_without_harm_is_not_told():
    assert check(sample_envs.TellsTime, frames=20).asks_outside == []


def test_a_check_takes_seeds_and_frames_that_there_are():
    for wrong in ({"seed": -1}, {"seed": "0"}, {"frames": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            check(sample_envs.TinyGrid, **wrong)


def test_times_in_infos_are_excluded():
    game = EnvGame(sample_envs.TellsTime, self_test_frames=10)
    assert game.findings.excluded_info_keys == {"clock"}
    game.reset(1)
    game.step([b"\1", b"\1"])
    assert game.decode_output(game.output())["infos"]["a"] == {"t": 1}


def test_another_process_leaves_out_the_infos_that_this_one_does(capsys):
    # Nothing differs in the infos of the other process itself.
    game = EnvGame(sample_envs.TinyGrid, self_test_frames=5)
    for excluded in ([], ["t"]):
        main(["sample_envs:TinyGrid", "--frames", "5", "--excluded", json.dumps(excluded)])
        first, *_ = json.loads(capsys.readouterr().out)["outputs"]
        infos = game.decode_output(bytes.fromhex(first))["infos"]
        assert ("t" in infos["a"]) == (not excluded)


def test_wall_clock_statistics_of_gymnasium_are_excluded_before_they_show():
    game = EnvGame(sample_envs.wrapped_cartpole, self_test_frames=5)
    assert "episode" in game.findings.excluded_info_keys
    hashes = []
    for _ in range(2):
        game = EnvGame(sample_envs.wrapped_cartpole, findings=game.findings)
        game.reset(1)
        actions = RandomActions(game.simulation, 1)
        while not game.ended:
            game.step(actions.draw())
        hashes.append((game.live_hash(), game.output()))
    assert hashes[0] == hashes[1]


def test_global_generators_are_captured_and_kept_apart():
    report = check(sample_envs.UsesGlobalRandom, frames=20)
    assert report.uses_global_random
    assert report.is_deterministic
    game = EnvGame(sample_envs.UsesGlobalRandom, self_test_frames=10)
    game.reset(4)
    actions = [b"\1", b"\2"]
    game.step(actions)
    saved, outputs = game.save(), []
    for disturbance in (1, 2):
        random.seed(disturbance)
        np.random.seed(disturbance)
        game.load(saved)
        for _ in range(3):
            random.random()
            game.step(actions)
        outputs.append((game.output(), game.live_hash()))
        assert random.random() == pytest.approx(_after(disturbance, 3))
    assert outputs[0] == outputs[1]
    assert game.same(saved, saved)
    assert game.leaves(saved)[-1][0] == "<global random>"


def _after(seed, draws):
    source = random.Random(seed)
    return [source.random() for _ in range(draws + 1)][-1]


def test_methods_that_forget_a_part_of_the_state_are_passed_over():
    game = EnvGame(sample_envs.ForgetsInSetState, self_test_frames=20)
    assert game.strategy == "structural"
    assert game.findings.rejected[0].startswith("get_state: ")


def test_a_state_that_is_shared_with_the_environment_is_copied():
    options = SnapshotOptions(strategy="state")
    game = EnvGame(sample_envs.SharesItsState, snapshots=options, self_test_frames=20)
    assert game.strategy == "get_state"
    assert (game.findings.copies_on_save, game.findings.copies_on_load) == (True, True)
    game.reset(1)
    saved = game.save()
    first = game.hash(saved)
    for _ in range(2):
        for _ in range(4):
            game.step([b"\1", b"\1"])
        game.load(saved)
        assert game.live_hash() == first


def test_opaque_objects_are_reported_by_class():
    report = check(sample_envs.HoldsAnIterator, frames=20)
    assert report.can_rollback
    assert report.copied == {"list_iterator": 1, "tuple": 1}


def test_an_environment_that_cannot_be_saved_is_reported_with_the_path():
    report = check(sample_envs.HoldsAGenerator, frames=20)
    assert not report.can_rollback
    assert report.is_deterministic, "what cannot be saved is played in lockstep"
    assert report.asks_outside == []
    assert "cells[2].ticks" in report.rejected[0]
    assert "lockstep only" in str(report)


@pytest.mark.parametrize(
    ("env", "code"), [("TinyGrid", 0), ("CountsInstances", 1), ("HoldsAGenerator", 7)]
)
def test_the_exit_code_says_what_an_environment_is_fit_for(env, code, capsys):
    assert cli.main(["check", f"sample_envs:{env}", "--frames", "20", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert (told["is_deterministic"], told["can_rollback"]) == (code != 1, code != 7)


def test_drawing_that_changes_the_state_is_named():
    verdict = verdicts(check(sample_envs.ChangesWhenDrawn, frames=20))["drawing"]
    assert verdict.passed is None
    assert "undone after each drawing" in verdict.detail


def test_windows_that_are_made_when_drawn_are_not_hashed():
    report = check(sample_envs.Drawn, frames=20)
    assert report.unhashed_fields == ["Drawn.screen"]
    assert verdicts(report)["drawing"].passed


def test_what_an_earlier_episode_leaves_behind_is_named():
    report = check(sample_envs.RemembersEpisodes, frames=20)
    assert "RemembersEpisodes.bonus" in str(report) or "rewards" in str(report)
    assert "each episode gets a new environment" in str(report)
    report = check(sample_envs.CountsEpisodes, frames=20)
    assert report.unhashed_fields == ["CountsEpisodes.finished"]


def test_a_factory_that_no_other_process_can_import_is_not_guessed_about():
    def local():
        return sample_envs.TinyGrid()

    verdict = verdicts(check(local, frames=10))["another"]
    assert verdict.passed is None
    assert "cannot be imported" in verdict.detail


def test_an_unknown_strategy_is_an_error():
    with pytest.raises(ValueError, match="expected auto"):
        EnvGame(sample_envs.TinyGrid, snapshots=SnapshotOptions(strategy="pickle"))
