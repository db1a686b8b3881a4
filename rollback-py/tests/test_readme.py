"""What the README shows is run as it stands there, but for what would take minutes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rollback_py import _rollback as native
from rollback_py.cli import main

README = Path(__file__).parents[2] / "README.md"

# A short episode in place of the environment's own 1000 frames.
FRAMES = 45
SHORT_ENV = (
    "from cogrid import envs\n"
    f"    config = {{**envs.cramped_room_config, 'max_steps': {FRAMES}}}\n"
    "    return registry.make('Overcooked-CrampedRoom-V0', config=config)"
)

# Far more than two short episodes take, also on a busy machine.
TIMEOUT_S = 120.0


def python_block() -> str:
    """Return the README's only block of Python."""
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    return block


def replaced(text: str, old: str, new: str) -> str:
    """Replace something that must be there once, so that the README and this test go together."""
    assert text.count(old) == 1, f"{old!r} is in the README {text.count(old)} times"
    return text.replace(old, new)


def test_two_people_who_copy_the_python_example_get_verified_equal_recordings(
    tmp_path: Path,
) -> None:
    server = native.Server("127.0.0.1:0", players=2)
    text = replaced(python_block(), "127.0.0.1:8080", server.address)
    text = replaced(text, 'return registry.make("Overcooked-CrampedRoom-V0")', SHORT_ENV)
    (tmp_path / "kitchen.py").write_text(text, "utf-8")
    command = [sys.executable, "kitchen.py"]
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(2):
            process = subprocess.Popen(
                command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            processes.append(process)
        printed = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        server.stop()
    for process, (out, err) in zip(processes, printed, strict=True):
        assert process.returncode == 0, err
        assert out.count(f"VERIFIED {FRAMES} frames") == 2, out
        assert out.count("path direct") == 2, out
        assert f"[{2 * FRAMES} rows" in out, out
    recordings = sorted((tmp_path / "data").glob("*.rbk"))
    assert len(recordings) == 4
    for one, other in zip(recordings[0::2], recordings[1::2], strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_every_command_that_the_readme_names_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"^\$ rollback (\w+)", README.read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert "--json" in capsys.readouterr().out
