"""What the README shows is run as it stands there, but for what would take minutes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rollback_py as rb
from rollback_py import _rollback as native
from rollback_py.cli import main

README = Path(__file__).parents[2] / "README.md"
GUIDE = Path(__file__).parents[2] / "docs" / "while-playing.md"
DETERMINISM = Path(__file__).parents[2] / "docs" / "determinism.md"
WHEEL_README = Path(__file__).parents[1] / "README.md"

# A short episode in place of the environment's own 1000 frames.
FRAMES = 45
SHORT = (
    "from cogrid import envs; ",
    f", config={{**envs.cramped_room_config, 'max_steps': {FRAMES}}})",
)

# Has the score be another one after frame 20, in a process whose variable says so.
DRIFTING = """import os
from cogrid.cogrid_env import CoGridEnv

_step = CoGridEnv.step

def _drifting(self, actions):
    drifts = self.t == 20 and os.environ.get("DRIFTS") == "1"
    returned = _step(self, actions)
    self.cumulative_score += drifts
    return returned

CoGridEnv.step = _drifting

"""

# Far more than two short episodes take, also on a busy machine.
TIMEOUT_S = 120.0


def python_block(readme: Path) -> str:
    """Return the only block of Python of a file."""
    (block,) = re.findall(r"```python\n(.*?)```", readme.read_text("utf-8"), re.DOTALL)
    return block


def replaced(text: str, old: str, new: str) -> str:
    """Replace something that must be there once, so that the README and this test go together."""
    assert text.count(old) == 1, f"{old!r} is in the README {text.count(old)} times"
    return text.replace(old, new)


def played_by_two(readme: Path, folder: Path, before: str = "") -> list[str]:
    """Copy the example, shortened, and run it in two processes; return what each printed.

    `before` comes before it; only in the second process is the variable DRIFTS 1.
    """
    server = native.Server("127.0.0.1:0", players=2)
    text = replaced(python_block(readme), "127.0.0.1:8080", server.address)
    made = re.compile(r"return (registry\.make\(.*)\)$", re.MULTILINE)
    assert len(made.findall(text)) == 1
    text = made.sub(rf"{SHORT[0]}return \1{SHORT[1]}", text)
    (folder / "kitchen.py").write_text(before + text, "utf-8")
    processes: list[subprocess.Popen[str]] = []
    try:
        for number in range(2):
            process = subprocess.Popen(
                [sys.executable, "kitchen.py"],
                cwd=folder,
                env=os.environ | {"DRIFTS": str(number)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.append(process)
        printed = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        server.stop()
    for process, (_, err) in zip(processes, printed, strict=True):
        assert process.returncode == 0, err
    recordings = sorted((folder / "data").glob("*.rbk"))
    assert len(recordings) == 4
    for one, other in zip(recordings[0::2], recordings[1::2], strict=True):
        assert one.read_bytes() == other.read_bytes()
    return [out for out, _ in printed]


def test_two_people_who_copy_the_python_example_get_verified_equal_recordings(
    tmp_path: Path,
) -> None:
    for out in played_by_two(README, tmp_path):
        assert out.count(f"VERIFIED {FRAMES} frames") == 2, out
        assert out.count("path direct") == 2, out
        assert f"[{2 * FRAMES} rows" in out, out


def test_two_people_who_copy_the_guide_hand_over_to_a_policy_that_rests(tmp_path: Path) -> None:
    for out in played_by_two(GUIDE, tmp_path):
        assert out.count(f"VERIFIED {FRAMES} frames") == 2, out
    for recording in sorted((tmp_path / "data").glob("*.rbk")):
        frames = list(rb.Recording.open(recording).frames())
        assert [name for frame in frames[:3] for _, name, _ in frame.items] == ["actor"] * 2
        table = rb.Recording.open(recording).to_polars()
        last = table.filter(table["frame"] >= FRAMES - 10)
        assert set(last["action"].to_list()) == {6}
        assert len(set(table["action"].to_list())) > 1


def test_two_people_who_copy_the_page_on_determinism_play_on_after_a_desync(
    tmp_path: Path,
) -> None:
    for out in played_by_two(DETERMINISM, tmp_path, DRIFTING):
        assert out.count(f"VERIFIED {FRAMES} frames in 2 segments") == 2, out
        assert "desync with peer" in out, out
        assert out.count("after a desync the state of peer 0 was taken over") == 2, out
    for recording in sorted((tmp_path / "data").glob("*.rbk")):
        (resync,) = rb.Recording.open(recording).resyncs
        assert resync.disputed_from <= 20 < resync.frame


def test_two_people_who_copy_the_keyboard_example_play_in_a_window(tmp_path: Path) -> None:
    assert 'render_mode="rgb_array"' in python_block(WHEEL_README), "there would be no picture"
    for out in played_by_two(WHEEL_README, tmp_path):
        assert out.count(f"VERIFIED {FRAMES} frames") == 2, out
        assert out.count("path direct") == 2, out
    for recording in sorted((tmp_path / "data").glob("*.rbk")):
        table = rb.Recording.open(recording).to_polars()
        assert set(table["action"].to_list()) == {6}, "no key was pressed"
        assert not table["policy"].any()


def test_every_command_that_the_readme_names_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^\$ rollback (\w+)", README.read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert "--json" in capsys.readouterr().out
