"""Recordings with pickles and names of code in every place: none is loaded, imported or run.

They are read in a process of its own, which is watched. This file is also its program.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
from pathlib import Path

from payloads import EVIL_FACTORY, MARKER, PAYLOADS, TEXTS, Watch, last_line, say, start


def make_env():
    """Make an environment whose infos are payloads."""
    import recorded_envs

    class Blobs(recorded_envs.Parallel):
        def info(self, agent):
            payload = self.frame % len(PAYLOADS)
            return {TEXTS[payload]: PAYLOADS[payload], "text": TEXTS[payload]}

    return Blobs()


def forged_files(folder, honest):
    """Write recordings that hold payloads, and payloads that pretend to be recordings."""
    import rollback_py as rb
    from rollback_py import _rollback
    from rollback_py.environment import EnvironmentDigest, Factory

    sound = []
    for number, text in enumerate(TEXTS):
        game = rb.EnvGame(make_env)
        game.reset(1)
        facts = EnvironmentDigest.of(Factory.from_callable(make_env), game.env).must_match
        facts = [fact for fact in facts if fact[0] not in ("factory", "arguments")]
        _rollback.record_offline(
            game,
            lambda: [(b"\x00", 0), (b"\x01", 0)],
            path=str(folder / f"sound{number}.rbk"),
            seed=1,
            frames=15,
            config=rb.offline._ALONE | {"fps": 30, "players": 2, "idle_input": b"\x00"},
            participant=text,
            must_match=[("factory", EVIL_FACTORY), ("arguments", text), (text, text), *facts],
            may_differ=[(text, text)],
        )
        game.close()
        sound.append(folder / f"sound{number}.rbk")
    whole = honest.read_bytes()
    for number, payload in enumerate(PAYLOADS):
        for kind, content in (
            ("alone", payload),
            ("opened", whole[:8] + payload),
            ("behind", whole + payload),
            ("within", whole[:300] + payload + whole[300:]),
            ("over", whole[:40] + payload + whole[40 + len(payload) :]),
        ):
            path = folder / f"{kind}{number}.rbk"
            path.write_bytes(content)
    return sound, sorted(path for path in folder.glob("*.rbk") if path not in sound)


def read_in_every_way(path, honest):
    """Do with a recording what can be done with one; True if it could be read."""
    import rollback_py as rb
    from rollback_py import cli, report

    try:
        recording = rb.Recording.open(path)
    except rb.RollbackError:
        for command in (["compare", path, honest], ["verify", path, "--env", "recorded_envs:odd"]):
            with contextlib.redirect_stderr(io.StringIO()):
                assert cli.main([str(word) for word in command]) == 2
        return False
    repr((recording, recording.players, recording.participants, recording.must_match))
    repr((recording.may_differ, recording.config, recording.end, recording.digest))
    frames = [(frame.frame, frame.actions, frame.output) for frame in recording.frames()]
    assert len(frames) == recording.frame_count
    recording.compare(honest)
    assert recording.verify(make_env).frames == 15
    recording.verify("recorded_envs:odd")
    recording.to_polars()
    recording.to_pandas()
    report.Course.of(path)
    with contextlib.redirect_stdout(io.StringIO()):
        for command in (["compare", path, honest], ["export", path, path.with_suffix(".parquet")]):
            assert cli.main([str(word) for word in command]) in (0, 3, 4)
    return True


def read_recordings(folder):
    """Read hostile recordings under the watch, after an honest one without."""
    import rollback_py as rb

    watch = Watch()
    honest = rb.record_offline(make_env, None, 1, 15, folder / "honest" / "a.rbk").path
    sound, broken = forged_files(folder, honest)
    assert read_in_every_way(honest, honest)
    noise = honest.with_name("noise.rbk")
    noise.write_bytes(b"noise")
    assert not read_in_every_way(noise, honest)
    watch.start()
    read = [read_in_every_way(path, honest) for path in sound]
    refused = [read_in_every_way(path, honest) for path in broken]
    found = list(watch.found)
    participants = [rb.Recording.open(path).participants for path in sound]
    say(read=read.count(True), refused=refused.count(False), found=found, texts=participants)


def load_a_pickle():
    """Do what must never happen, for the test of the tests."""
    watch = Watch()
    watch.start()
    pickle.loads(PAYLOADS[0])
    say(found=watch.found)


# -- the tests ------------------------------------------------------------------------------------


def test_a_pickle_that_is_loaded_is_noticed(tmp_path):
    found = last_line(start(__file__, tmp_path, "load"))["found"]
    assert (tmp_path / MARKER).exists()
    assert {event.split()[0] for event in found} == {
        "pickle.loads",
        "pickle.find_class",
        "os.system",
    }


def test_recordings_with_payloads_are_read_without_loading_any(tmp_path):
    (tmp_path / "honest").mkdir()
    said = last_line(start(__file__, tmp_path, "recordings"))
    assert said["found"] == []
    assert not (tmp_path / MARKER).exists()
    assert said["read"] == len(PAYLOADS)
    assert said["refused"] == 5 * len(PAYLOADS)
    assert said["texts"] == [[text] for text in TEXTS]


if __name__ == "__main__":
    if sys.argv[1] == "recordings":
        read_recordings(Path.cwd())
    else:
        load_a_pickle()
