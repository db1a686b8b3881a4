"""Recordings of real environments, played alone: read, compared, verified, and never trusted."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import recorded_envs
import rollback_py as rb
from rollback_py import _rollback
from rollback_py.offline import _ALONE
from rollback_py.recorded_facts import as_recorded, differences
from rollback_py.recordings import first_difference

CONFIG = _ALONE | {"fps": 30, "players": 2, "idle_input": b"\x00"}


class Scripted:
    """What the engine calls, with outputs of the test's choice."""

    can_rollback = False

    def __init__(self, output=b""):
        self._output = output
        self.frame = 0

    def step(self, actions):
        self.frame += 1
        return False

    def output(self):
        return self._output

    def live_hash(self):
        return self.frame.to_bytes(16, "big")

    def save(self, slot):
        raise AssertionError("it is never saved")

    load = hash = leaves = same = export_state = import_state = simulate_again = save


def record_scripted(path, game, *, action=b"\x00", frames=20, **header):
    header = {"seed": 1, "participant": "p", "must_match": [], "may_differ": []} | header
    config = CONFIG | {"idle_input": bytes(len(action))}
    _rollback.record_offline(
        game, lambda: [(action, 0)] * 2, path=path, frames=frames, config=config, **header
    )
    return rb.Recording.open(path)


def header_bytes(recording):
    """Where the first block begins: magic and version take 8 bytes, the head of a section 30."""
    return 8 + 30 + int.from_bytes(recording[10:14], "little")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    path = tmp_path_factory.mktemp("room") / "room.rbk"
    return rb.record_offline(recorded_envs.cramped_room, None, 7, 300, path)


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    path = tmp_path_factory.mktemp("spread") / "spread.rbk"
    return rb.record_offline(recorded_envs.spread, None, 3, 300, path, observations=True)


@pytest.mark.parametrize("name", ["room", "spread"])
def test_what_was_played_alone_is_verified(name, request):
    recording = request.getfixturevalue(name)
    factory = {"room": recorded_envs.cramped_room, "spread": recorded_envs.spread}[name]
    found = recording.verify(factory)
    assert found, found
    # The start, and every tenth of 300 frames.
    assert (found.frames, found.hashes_checked, found.outputs_checked) == (300, 31, 300)
    assert (str(found), found.warnings) == ("VERIFIED 300 frames", ())
    assert (recording.end.frame, recording.end.cause) == (300, "named 0")


def test_a_recording_says_what_was_played(spread):
    assert (spread.session, spread.episode, spread.seed) == (0, 0, 3)
    assert spread.players == ["agent_0", "agent_1"]
    assert (spread.hosts, spread.participants) == ([0, 0], ["offline"])
    assert spread.config["tick_rate_hz"] == 30
    assert dict(spread.must_match)["factory"] == "recorded_envs:spread"
    assert dict(spread.may_differ[0])["numpy"] == np.__version__
    assert spread.has_observations
    frames = list(spread.frames())
    assert [frame.frame for frame in frames] == list(range(300))
    assert frames[0].state_hash == spread.start_hash
    assert [frame.frame for frame in frames if frame.state_hash] == list(range(0, 300, 10))
    assert {(len(frame.actions), *frame.flags) for frame in frames} == {(2, 4, 4)}


def test_an_episode_ends_with_the_environment(tmp_path):
    recording = rb.record_offline(recorded_envs.parallel, {}, 1, 300, tmp_path / "a.rbk")
    assert (recording.end.frame, recording.end.cause, recording.end.by) == (20, "finished", None)
    assert recording.verify(recorded_envs.parallel)


def test_an_episode_that_ends_in_its_last_frame_is_finished(tmp_path):
    recording = rb.record_offline(recorded_envs.parallel, {}, 1, 20, tmp_path / "a.rbk")
    assert (recording.frame_count, recording.end.cause) == (20, "finished")


def test_policies_act_on_what_their_agents_observe(tmp_path):
    seen = []

    def chase(observation):
        seen.append(observation.tolist())
        return 1

    path = tmp_path / "a.rbk"
    recording = rb.record_offline(recorded_envs.parallel, {"right": chase}, 5, 8, path)
    # Who has no policy does the space's first action, -1; "left" is gone after four frames.
    assert seen[:5] == [[5, 0], [5, 1], [5, 2], [5, 3], [5, 4]]
    assert seen[5:] == [[6, 5], [7, 6], [8, 7]]
    assert [frame.flags for frame in recording.frames()] == [[0, 4]] * 8
    table = recording.to_polars()
    assert table["policy"].to_list() == [False, True] * 8
    assert not (table["focused"] | table["idle_filled"]).any()


def test_unknown_agents_and_existing_files_are_refused(tmp_path, spread):
    with pytest.raises(ValueError, match="there is no agent 'up'"):
        rb.record_offline(recorded_envs.parallel, {"up": len}, 1, 5, tmp_path / "a.rbk")
    before = spread.path.read_bytes()
    with pytest.raises(FileExistsError):
        rb.record_offline(recorded_envs.spread, None, 1, 5, spread.path)
    assert spread.path.read_bytes() == before


def test_a_failure_of_the_environment_is_raised_and_leaves_a_readable_recording(
    tmp_path, monkeypatch
):
    def break_it(observation):
        if observation[1] == 70:
            monkeypatch.setattr(sys, "rollback_failure", 70, raising=False)
        return 0

    path = tmp_path / "a.rbk"
    with pytest.raises(RuntimeError, match="no more of this"):
        rb.record_offline(recorded_envs.Endless, {"right": break_it}, 1, 300, path)
    recording = rb.Recording.open(path)
    assert (recording.end, recording.frame_count) == (None, 60)


def test_every_flipped_byte_is_found(tmp_path):
    whole = rb.record_offline(recorded_envs.parallel, None, 3, 12, tmp_path / "whole.rbk")
    sound = whole.path.read_bytes()
    damaged = tmp_path / "damaged.rbk"
    for place in range(len(sound)):
        changed = bytearray(sound)
        changed[place] ^= 1 << (place % 8)
        damaged.write_bytes(changed)
        with pytest.raises(rb.RecordingError, match=r"damaged\.rbk: byte \d+: "):
            rb.Recording.open(damaged)


def test_a_recording_that_was_cut_short_is_a_prefix(tmp_path):
    whole = rb.record_offline(recorded_envs.spread, None, 3, 130, tmp_path / "whole.rbk")
    sound = whole.path.read_bytes()
    cut = tmp_path / "cut.rbk"
    counts = set()
    header = header_bytes(sound)
    for length in range(len(sound)):
        cut.write_bytes(sound[:length])
        if length < header:
            with pytest.raises(rb.RecordingError, match="the file ends within its header"):
                rb.Recording.open(cut)
            continue
        prefix = rb.Recording.open(cut)
        assert prefix.end is None
        found = prefix.compare(whole)
        assert (found.verdict, found.frame) == ("PREFIX", prefix.frame_count)
        counts.add(prefix.frame_count)
    assert counts == {0, 60, 120, 130}
    cut.write_bytes(sound[:-1])
    found = rb.verify(cut, recorded_envs.spread)
    assert found.frames == 130
    assert any("was not finished" in warning for warning in found.warnings)


def test_recordings_are_compared_frame_by_frame(tmp_path):
    def play(name, policy, seed=3):
        path = tmp_path / name
        return rb.record_offline(recorded_envs.parallel, {"right": policy}, seed, 12, path)

    one, same = play("one.rbk", lambda _: 0), play("same.rbk", lambda _: 0)
    assert (str(rb.compare(one, same.path)), bool(rb.compare(one, same))) == ("EQUAL", True)
    later = play("later.rbk", lambda seen: int(seen[1] == 5))
    found = rb.compare(one.path, later.path)
    assert (found.verdict, found.frame, bool(found)) == ("DIFFERENT", 5, False)
    assert str(found) == "DIFFERENT at frame 5: input of player 1"
    other = play("other.rbk", lambda _: 0, seed=4)
    assert str(one.compare(other)) == "DIFFERENT at frame 0: header: seed"


def test_another_seed_is_named(tmp_path):
    game = rb.EnvGame(recorded_envs.spread)
    game.reset(8)
    path = tmp_path / "a.rbk"
    config = CONFIG | {"idle_input": game.idle_action(0)}
    _rollback.record_offline(
        game,
        lambda: [(game.idle_action(0), 0)] * 2,
        path=path,
        seed=9,
        frames=5,
        config=config,
        participant="p",
        must_match=[],
        may_differ=[],
    )
    found = rb.verify(path, recorded_envs.spread)
    assert not found
    assert str(found).startswith("WRONG at frame 0: expected the start state ")


def test_another_environment_is_named(spread):
    found = spread.verify(recorded_envs.parallel)
    assert found.frame == 0
    assert found.what.startswith("expected the start state")
    assert any(warning.startswith("factory: recorded with") for warning in found.warnings)
    assert any(warning.startswith("distribution mpe2") for warning in found.warnings)
    steered = spread.verify(recorded_envs.steered_spread)
    assert str(steered) == (
        "WRONG at frame 0: expected an environment of 1 bytes an action, got one of 20"
    )


def test_a_wrong_output_is_named_with_its_path(tmp_path, monkeypatch):
    recording = rb.record_offline(recorded_envs.moody, None, 3, 12, tmp_path / "a.rbk")
    assert recording.verify(recorded_envs.moody)
    monkeypatch.setattr(sys, "rollback_mood", 6, raising=False)
    found = recording.verify(recorded_envs.moody)
    assert (found.frame, found.path) == (6, "rewards['right']")
    assert str(found) == "WRONG at frame 6: rewards['right'] (recorded 1.0, got 5.0)"


def test_a_failure_while_verifying_is_a_mismatch(tmp_path, monkeypatch):
    recording = rb.record_offline(recorded_envs.moody, None, 3, 60, tmp_path / "a.rbk")
    game = rb.EnvGame(recorded_envs.moody)
    monkeypatch.setattr(sys, "rollback_failure", 4, raising=False)
    found = recording.verify(game)
    assert found.frame == 4
    assert "no more of this" in found.what


def test_an_interrupt_while_verifying_is_raised(tmp_path):
    recording = rb.record_offline(recorded_envs.parallel, None, 3, 12, tmp_path / "a.rbk")
    game = rb.EnvGame(recorded_envs.parallel)

    def interrupted(actions):
        raise KeyboardInterrupt

    game.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        recording.verify(game)


def test_facts_that_differ_are_warnings(tmp_path):
    facts = {
        "must_match": [("max steps", "7"), ("snapshot", "user"), ("fps", "30")],
        "may_differ": [("numpy", "0.1")],
    }
    recording = record_scripted(tmp_path / "a.rbk", Scripted(), **facts)
    found = recording.verify(recorded_envs.parallel)
    assert found.warnings == (
        "max steps: recorded with 7, here None",
        "snapshot: recorded with user, here structural",
        f"numpy: 0.1 with p, here {np.__version__}",
    )


def test_facts_that_were_shortened_are_still_compared():
    long, other = "x" * 300, "x" * 299 + "y"
    facts = as_recorded([("name", long), ("ä" * 200, "1"), ("distribution gone", "1")])
    assert all(len(text.encode()) <= 255 for fact in facts for text in fact)
    assert list(differences(facts, [("name", long), ("ä" * 200, "1")])) == [
        ("distribution gone", "1", None)
    ]
    found = differences(facts[:1], [("name", other)])
    assert [(name, here) for name, _, here in found] == [("name", other)]
    assert list(differences([("only there", "1")], [("only here", "2")])) == []


def test_a_missing_file_is_the_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        rb.Recording.open(tmp_path / "none.rbk")
    assert caught.value.filename == str(tmp_path / "none.rbk")


class Bomb:
    """Leaves a file behind wherever it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_pickles_are_never_loaded_whatever_holds_them(tmp_path):
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark), protocol=0)
    text = bomb.decode("ascii")
    assert len(text) <= 255
    places = {
        "output": {"game": Scripted(bomb)},
        "output head": {"game": Scripted(b"\x01\x00\x02\x00" + bytes(18) + bomb)},
        "action": {"game": Scripted(), "action": bomb},
        "participant": {"game": Scripted(), "participant": text},
        "fact": {"game": Scripted(), "must_match": [(text, text)], "may_differ": [(text, text)]},
        "spaces": {
            "game": Scripted(),
            "must_match": [(f"action space of {agent}", text) for agent in (0, 1)],
        },
    }
    for name, header in places.items():
        recording = record_scripted(tmp_path / name, **header)
        assert not recording.verify(recorded_envs.parallel)
        repr([recording, recording.end, recording.players, list(recording.frames())])
        with pytest.raises(rb.RecordingError):
            recording.export(tmp_path / "a.parquet")
        with pytest.raises(rb.RecordingError):
            recording.export(tmp_path / "a.parquet", decode_actions=False)
    (tmp_path / "whole").write_bytes(bomb)
    with pytest.raises(rb.RecordingError):
        rb.Recording.open(tmp_path / "whole")
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists(), "the bomb would have gone off"


def test_two_processes_record_and_export_the_same_bytes(tmp_path):
    script = (
        "import sys, recorded_envs, rollback_py as rb\n"
        "rb.record_offline(recorded_envs.spread, None, 3, 60, sys.argv[1] + '.rbk',"
        " observations=True).export(sys.argv[1] + '.parquet')\n"
        "rb.record_offline(recorded_envs.odd, None, 3, 60, sys.argv[1] + '.odd.rbk',"
        " observations=True).export(sys.argv[1] + '.odd.parquet')\n"
    )
    for seed in ("1", "2"):
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        arguments = [sys.executable, "-c", script, str(tmp_path / seed)]
        subprocess.run(arguments, env=environment, check=True)
    for name in (".rbk", ".parquet", ".manifest.json", ".odd.rbk", ".odd.parquet"):
        one, two = (tmp_path / f"{seed}{name}" for seed in "12")
        assert one.read_bytes() == two.read_bytes(), name


@pytest.mark.parametrize(
    ("recorded", "got", "expected"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {"a": 2}, ("a", "recorded 1, got 2")),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ("a['b'][1]", "recorded 2, got 3")),
        ({"a": np.arange(3)}, {"a": np.array([0, 1, 5])}, None),
        ({"a": {1: 1}}, {"a": {2: 1}}, ("a", "recorded {1: 1}, got {2: 1}")),
        ({"a": 1}, {"a": True}, ("a", "recorded 1, got True")),
        ({"a": float("nan")}, {"a": float("nan")}, None),
    ],
)
def test_the_first_difference_is_named(recorded, got, expected):
    if isinstance(recorded.get("a"), np.ndarray):
        expected = ("a[2]", f"recorded {recorded['a'][2]!r}, got {got['a'][2]!r}")
    assert first_difference(recorded, got) == expected
