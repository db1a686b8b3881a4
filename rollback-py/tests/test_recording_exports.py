"""What analysts read is what the environment returned: Parquet, pandas, polars; the commands."""

import json
import math
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import recorded_envs
import rollback_py as rb
from rollback_py import command_output
from rollback_py._rollback import TableWriter
from rollback_py.cli import main
from rollback_py.plain_json import to_json


def record(folder, factory, frames, **options):
    return rb.record_offline(factory, None, 11, frames, folder / "a.rbk", **options)


def stepped(factory, seed, actions):
    """Step an environment directly; return what it returned in each frame."""
    env = factory()
    env.reset(seed=seed)
    for frame in actions:
        yield env.step({agent: frame[str(agent)] for agent in env.agents})


def rows_of(frame):
    """The rows of a DataFrame by frame and agent, missing values as None."""
    rows = {}
    for row in frame.to_dict("records"):
        rows.setdefault(row["frame"], {})[row["agent"]] = row
    return [rows[frame] for frame in sorted(rows)]


@pytest.mark.parametrize(
    ("factory", "frames", "observations"),
    [
        (recorded_envs.cramped_room, 120, False),
        (recorded_envs.spread, 120, True),
        (recorded_envs.steered_spread, 60, True),
    ],
)
def test_a_table_holds_what_the_environment_returns(tmp_path, factory, frames, observations):
    recording = record(tmp_path, factory, frames, observations=observations)
    done = recording.export(tmp_path / "a.parquet", factory)
    assert done.rows == frames * 2
    rows = rows_of(pd.read_parquet(done.path))
    is_steered = factory is recorded_envs.steered_spread

    def action(row):
        return np.array(row["action"], np.float32) if is_steered else int(row["action"])

    actions = [{agent: action(row) for agent, row in frame.items()} for frame in rows]
    for row, returned in zip(rows, stepped(factory, 11, actions), strict=True):
        seen, rewards, terminations, truncations, infos = returned
        for agent in rewards:
            found = row[str(agent)]
            assert found["took_part"]
            assert found["reward"] == rewards[agent]
            assert found["terminated"] == terminations[agent]
            assert found["truncated"] == truncations[agent]
            assert found["info"] == to_json(infos[agent])
            if observations:
                array = np.asarray(found["observation"]).reshape(found["observation_shape"])
                assert np.array_equal(array, np.asarray(seen[agent], np.float64))
    hashed = [frame for frame, row in enumerate(rows) for each in row.values() if has_hash(each)]
    assert hashed == [frame for frame in range(0, frames, 10) for _ in range(2)]


def has_hash(row):
    return isinstance(row["state_hash"], str) and len(row["state_hash"]) == 32


def test_pandas_and_polars_read_the_same_rows(tmp_path):
    recording = record(tmp_path, recorded_envs.spread, 40, observations=True)
    one, two = recording.to_pandas(), recording.to_polars()
    assert list(one.columns) == two.columns
    for column in two.columns:
        values = [None if value is pd.NA or value is None else value for value in one[column]]
        other = two[column].to_list()
        for value, expected in zip(values, other, strict=True):
            if expected is None:
                assert value is None or value != value, column
            else:
                assert np.array_equal(value, expected), column


def test_who_takes_no_part_any_more_has_no_values(tmp_path):
    table = record(tmp_path, recorded_envs.parallel, 300, participant="p-01").to_polars()
    assert table.height == 2 * 20
    assert table["participant"].unique().to_list() == ["p-01"]
    gone = table.filter((pl.col("agent") == "left") & (pl.col("frame") >= 4))
    assert gone["took_part"].any() is False
    for column in ("reward", "terminated", "truncated", "info"):
        assert gone[column].null_count() == 16, column
    left = table.filter((pl.col("agent") == "left") & pl.col("terminated"))
    assert left["frame"].to_list() == [3]
    # Discrete(3, start=-1): the actions are the space's own numbers, not their bytes.
    assert set(table["action"].to_list()) <= {-1, 0, 1}
    assert set(table["action_bytes"].to_list()) <= {b"\x00", b"\x01", b"\x02"}


def test_odd_values_have_a_stated_form(tmp_path):
    recording = record(tmp_path, recorded_envs.odd, 6, observations=True)
    assert recording.verify(recorded_envs.odd)
    table = recording.to_polars().filter(pl.col("agent") == "right")
    rewards = table["reward"].to_list()
    assert math.isnan(rewards[0])
    assert rewards[1] == -math.inf
    assert math.copysign(1, rewards[2]) == -1
    assert json.loads(table["info"][0]) == {
        "a": [1, "00ff"],
        "big": hex(1 << 2000),
        "z": "NaN",
        "é": [[3, float(np.float32(0.1))]],
    }
    assert json.loads(table["observation"][0]) == {"place": [[0, 1], [2, 3]], "text": "right"}


def test_equal_values_have_equal_text():
    assert to_json({"b": 1, "a": 2}) == to_json({"a": 2, "b": 1}) == '{"a":2,"b":1}'
    assert to_json([math.inf, -math.inf, math.nan]) == '["Infinity","-Infinity","NaN"]'
    assert to_json({2: "x", (1, 1): "y"}) == '[[2,"x"],[[1,1],"y"]]'
    assert (
        to_json([1 + 2j, np.float32(0.5), np.arange(2), True, None])
        == "[[1.0,2.0],0.5,[0,1],true,null]"
    )
    assert to_json("\ud800é") == '"\\ud800\\u00e9"'


def test_the_environment_is_needed_only_for_actions_of_other_spaces(tmp_path):
    discrete = record(tmp_path, recorded_envs.spread, 20)
    one = discrete.export(tmp_path / "one.parquet").path
    two = discrete.export(tmp_path / "two.parquet", recorded_envs.spread).path
    three = discrete.export(tmp_path / "three.parquet", rb.EnvGame(recorded_envs.spread)).path
    assert one.read_bytes() == two.read_bytes() == three.read_bytes()

    path = tmp_path / "steered.rbk"
    steered = rb.record_offline(recorded_envs.steered_spread, None, 1, 20, path)
    with pytest.raises(rb.RecordingError, match="give the environment to decode them"):
        steered.export(tmp_path / "b.parquet")
    assert not (tmp_path / "b.parquet").exists()
    bytes_only = steered.export(tmp_path / "b.parquet", decode_actions=False)
    table = pl.read_parquet(bytes_only.path)
    assert "action" not in table.columns
    actions = [action for frame in steered.frames() for action in frame.actions]
    assert table["action_bytes"].to_list() == actions
    with pytest.raises(
        rb.RecordingError, match="expected an environment of 2 agents, got one of 1"
    ):
        steered.export(tmp_path / "c.parquet", "sample_envs:cartpole")


def test_bytes_that_are_no_action_have_none(tmp_path):
    game = rb.EnvGame(recorded_envs.spread)
    game.reset(1)
    from rollback_py import _rollback
    from rollback_py.environment import EnvironmentDigest, Factory
    from rollback_py.offline import _ALONE

    facts = EnvironmentDigest.of(Factory.from_callable(recorded_envs.spread), game.env)
    _rollback.record_offline(
        game,
        lambda: [(b"\x04", 0), (b"\x05", 1)],
        path=tmp_path / "a.rbk",
        seed=1,
        frames=3,
        config=_ALONE | {"fps": 30, "players": 2, "idle_input": b"\x00"},
        participant="p",
        must_match=facts.must_match,
        may_differ=[],
    )
    recording = rb.Recording.open(tmp_path / "a.rbk")
    for env in (None, recorded_envs.spread):
        table = recording.to_polars(env)
        assert table["action"].to_list() == [4, None] * 3
        assert table["focused"].to_list() == [False, True] * 3
    assert recording.verify(recorded_envs.spread)


def test_the_manifest_says_what_the_rows_are(tmp_path):
    recording = record(tmp_path, recorded_envs.spread, 20)
    done = recording.export(tmp_path / "rows.parquet")
    text = done.manifest.read_text()
    manifest = json.loads(text)
    assert done.manifest.name == "rows.manifest.json"
    assert text == json.dumps(manifest, sort_keys=True, separators=(",", ":")) + "\n"
    assert (manifest["rows"], manifest["rows_xxh3_128"]) == (40, done.digest)
    assert (manifest["seed"], manifest["episode"], manifest["format"]) == (11, 0, 1)
    assert manifest["end"]["cause"] == "named 0"
    assert manifest["recording_xxh3_64"] == recording.digest
    assert dict(manifest["must_match"])["factory"] == "recorded_envs:spread"
    stored = pl.read_parquet_metadata(done.path)["rollback"]
    assert stored + "\n" == text


def test_the_digest_is_that_of_the_rows_and_not_of_their_groups(tmp_path):
    columns = [("number", "int64", True), ("word", "text", False), ("list", "doubles", True)]
    rows = [[1, None, 3, 4], ["a", "", "é", "d"], [np.zeros(2), None, np.empty(0), np.ones(1)]]
    digests = set()
    for cut in range(5):
        writer = TableWriter(tmp_path / "a.parquet", columns)
        writer.write([column[:cut] for column in rows])
        writer.write([column[cut:] for column in rows])
        digests.add(writer.digest)
        writer.finish([])
        table = pl.read_parquet(tmp_path / "a.parquet")
        assert table["number"].to_list() == rows[0]
        assert table["word"].to_list() == rows[1]
        assert table["list"].to_list() == [[0, 0], None, [], [1]]
    assert len(digests) == 1
    writer = TableWriter(tmp_path / "b.parquet", columns)
    writer.write([[1], ["a"], [np.zeros(3)]])
    assert writer.digest not in digests


def test_a_long_recording_is_written_in_groups_of_rows(tmp_path, monkeypatch):
    recording = record(tmp_path, recorded_envs.spread, 40, observations=True)
    whole = recording.export(tmp_path / "whole.parquet")
    monkeypatch.setattr("rollback_py.recording_table._VALUES_PER_GROUP", 500)
    parts = recording.export(tmp_path / "parts.parquet")
    groups = pq.ParquetFile(parts.path).metadata.num_row_groups
    assert pq.ParquetFile(whole.path).metadata.num_row_groups == 1
    assert 5 < groups < 20
    assert pq.ParquetFile(whole.path).metadata.created_by == "rollback-py table 1"
    assert (parts.rows, parts.digest) == (whole.rows, whole.digest)
    assert pl.read_parquet(parts.path).equals(pl.read_parquet(whole.path))


def test_a_table_that_is_not_finished_leaves_no_file(tmp_path):
    writer = TableWriter(tmp_path / "a.parquet", [("a", "int64", False)])
    for columns, message in (
        ([[1, None]], "column 0 is required, and row 1 has no value"),
        ([[1], [2]], "expected 1 values in each of 1 columns"),
        ([], "in each of 1 columns"),
    ):
        with pytest.raises(ValueError, match=message):
            writer.write(columns)
    with pytest.raises(TypeError):
        writer.write([["a"]])
    assert writer.rows == 0
    del writer
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="no column of kind"):
        TableWriter(tmp_path / "a.parquet", [("a", "object", False)])
    writer = TableWriter(tmp_path / "a.parquet", [("a", "int64", False)])
    writer.finish([])
    with pytest.raises(ValueError, match="finished"):
        writer.write([[1]])
    with pytest.raises(FileNotFoundError):
        TableWriter(tmp_path / "none" / "a.parquet", [("a", "int64", False)])


def test_a_recording_is_not_written_over(tmp_path):
    recording = record(tmp_path, recorded_envs.parallel, 4)
    before = recording.path.read_bytes()
    with pytest.raises(ValueError, match="is the recording itself"):
        recording.export(tmp_path / "none" / ".." / "a.rbk")
    assert recording.path.read_bytes() == before


def test_pandas_that_is_missing_is_named(tmp_path, monkeypatch):
    recording = record(tmp_path, recorded_envs.parallel, 4)
    monkeypatch.setattr("rollback_py.recordings.find_spec", lambda name: None)
    for method, name in ((recording.to_pandas, "pandas"), (recording.to_polars, "polars")):
        with pytest.raises(ImportError, match=f"pip install {name}"):
            method()


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_the_commands_answer_with_their_exit_codes(tmp_path, capsys):
    path = tmp_path / "a.rbk"
    record(tmp_path, recorded_envs.parallel, 12)
    other = rb.record_offline(recorded_envs.parallel, {}, 11, 12, tmp_path / "b.rbk").path
    cut = tmp_path / "c.rbk"
    cut.write_bytes(path.read_bytes()[:-1])

    assert run("compare", path, path) == 0
    assert run("compare", path, cut) == 3
    assert run("compare", path, other) == 4
    assert run("compare", path, tmp_path / "none.rbk") == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines()[:2] == ["EQUAL", "PREFIX 12"]
    assert "none.rbk" in printed.err

    assert run("verify", path, "--env", "recorded_envs:parallel") == 0
    assert run("verify", path, "--env", "recorded_envs:spread") == 1
    assert run("verify", path, "--env", "recorded_envs:none") == 2
    assert run("verify", path, "--env", "json:loads") == 2
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "VERIFIED 12 frames"
    assert printed[1].startswith("WRONG at frame 0: ")

    assert run("export", path) == 0
    assert (tmp_path / "a.parquet").exists()
    assert run("export", path, tmp_path / "b.parquet", "--env", "recorded_envs:parallel") == 0
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert run("export", cut.with_suffix(".txt")) == 2


def test_the_commands_print_json(tmp_path, capsys):
    record(tmp_path, recorded_envs.parallel, 12)
    path = tmp_path / "a.rbk"

    def printed(*arguments):
        run(*arguments, "--json")
        return json.loads(capsys.readouterr().out)

    assert printed("compare", path, path) == {"verdict": "EQUAL", "frame": 12, "what": None}
    assert printed("verify", path, "--env", "recorded_envs:parallel") == {
        "verdict": "VERIFIED",
        "frames": 12,
        "hashes_checked": 3,
        "outputs_checked": 12,
        "segments": [{"first_frame": 0, "source": None, "disputed": None}],
        "warnings": [],
    }
    found = printed("verify", path, "--env", "recorded_envs:spread")
    assert (found["verdict"], found["frame"]) == ("WRONG", 0)
    assert printed("export", path)["rows"] == 24


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("compare", "a.rbk", "none.rbk"), "FileNotFoundError", "none.rbk"),
        (("compare", "a.rbk", "damaged.rbk"), "RecordingError", "damaged.rbk"),
        (("verify", "a.rbk", "--env", "recorded_envs:none"), "FactoryError", "no 'none'"),
        (("verify", "a.rbk", "--env", "json:loads"), "FactoryError", "argument"),
        (("verify", "a.rbk"), "UsageError", "--env"),
        (("export", "a.rbk", "a.rbk"), "ValueError", "the recording itself"),
        (("export", "none.rbk"), "FileNotFoundError", "none.rbk"),
        (("check", "none:make"), "FactoryError", "cannot import 'none'"),
        (("check", "json:loads"), "FactoryError", "argument"),
        (("check",), "UsageError", "MODULE:FUNCTION"),
        (("play", "here", "--env", "json:loads", "--keys", "w=x"), "ValueError", "--keys"),
        (("serve", "--listen", "nowhere"), "RollbackError", '"nowhere"'),
    ],
)
def test_every_command_tells_an_error_as_one_json_object_or_to_people(
    tmp_path, capsys, monkeypatch, arguments, error, message
):
    monkeypatch.chdir(tmp_path)
    record(tmp_path, recorded_envs.parallel, 4)
    (tmp_path / "damaged.rbk").write_bytes(b"no recording")
    assert run(*arguments, "--json") == 2
    told = json.loads(capsys.readouterr().out)
    assert told["error"] == error
    assert message in told["message"]
    assert set(told) >= {"error", "message", "cause"}

    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert ("usage: rollback" in printed.err) == (error == "UsageError")


def test_the_exit_codes_are_distinct_and_explained(capsys):
    codes = [
        getattr(command_output, name)
        for name in ("OK", "WRONG", "FAILED", "PREFIX", "DIFFERENT", "DESYNC", "LOST")
    ]
    assert codes == [0, 1, 2, 3, 4, 5, 6]
    with pytest.raises(SystemExit):
        main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    for code in codes:
        assert re.search(rf"[:;] {code} ", said), code
