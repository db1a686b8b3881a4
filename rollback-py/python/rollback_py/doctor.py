"""The command ``rollback doctor``: which ways work, why others do not, is it fast enough."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rollback_py import _rollback as native
from rollback_py import determinism
from rollback_py.command_output import OK, WRONG, say
from rollback_py.env_game import EnvGame
from rollback_py.environment import Factory
from rollback_py.settings import U32_MAX, require_number

if TYPE_CHECKING:
    import argparse

# A rollback of the whole prediction window, by default 12 frames, is to fit into one frame.
_REPLAYED_FRAMES = 12

# What is asked is the cost, not whether it is deterministic: `rollback check` plays longer.
_SELF_TEST_FRAMES = 10

# Slow environments are measured less often than others.
_SECONDS_MAX = 2.0


def add_parser(commands: Any) -> None:
    """Add the command."""
    summary = "find out what works between this computer and a link, and what does not"
    doctor = commands.add_parser("doctor", help=summary, description=summary)
    doctor.add_argument("link", metavar="LINK", help="such as ws://127.0.0.1:8080/kitchen")
    doctor.add_argument("--env", metavar="MODULE:FUNCTION", help="is this computer fast enough?")
    doctor.add_argument("--fps", type=int, default=30, help="of the environment (30)")
    doctor.add_argument("--ice-server", action="append", default=[], metavar="URL[,USER,PASSWORD]")
    doctor.add_argument("--relay-only", action="store_true", help="as it is played with")
    doctor.add_argument("--no-server-relay", action="store_true", help="as it is played with")
    doctor.add_argument("--json", action="store_true", help="print one line of JSON")
    doctor.set_defaults(handler=_doctor)


def ice_server(text: str) -> tuple[str, str, str]:
    """Take a STUN or TURN server from a command line."""
    parts = text.split(",")
    if len(parts) not in (1, 3):
        raise ValueError(f"--ice-server: expected URL or URL,USER,PASSWORD, got {text!r}")
    url, user, password = (*parts, "", "")[:3]
    return url, user, password


def _doctor(parsed: argparse.Namespace) -> int:
    require_number("--fps", parsed.fps, 1, U32_MAX)
    servers = [ice_server(text) for text in parsed.ice_server]
    # First, since what is measured at once with the network would be slower.
    measured = None if parsed.env is None else _environment(parsed.env, parsed.fps)
    found = native.examine(
        parsed.link,
        ice_servers=servers,
        relay_only=parsed.relay_only,
        server_relay=not parsed.no_server_relay,
        environment=None if measured is None else (parsed.env, measured.outcome, measured.text),
    )
    if measured is not None:
        more = {"costs_us": measured.costs_us, "replayed_frames": measured.replayed_frames}
        found["findings"][-1].update(more)
    text = found.pop("text")
    say(parsed.json, found, f"{text}\n\n{found['verdict']}")
    return OK if found["can_play"] else WRONG


@dataclass
class _Environment:
    """What a frame of an environment costs, and how many this computer replays within one."""

    outcome: str
    text: str
    costs_us: dict[str, float]
    replayed_frames: int


def _environment(spec: str, fps: int) -> _Environment:
    """Measure an environment."""
    factory = Factory.from_spec(spec)
    with closing(EnvGame(factory, self_test_frames=_SELF_TEST_FRAMES)) as game:
        costs = determinism.measure(game, seconds_max=_SECONDS_MAX)
    frame = 1e6 / fps
    each = costs["step"] + costs.get("save", 0.0)
    replayed = int(max(0.0, frame - costs.get("load", 0.0)) / max(each, 0.01))
    shown = ", ".join(f"{name} {cost:.0f}" for name, cost in costs.items())
    text = f"{shown} µs; a frame at {fps} a second has {frame:.0f}: "
    if each >= frame:
        outcome, text = "bad", text + "too slow to be played at that rate"
    elif "save" not in costs:
        outcome, text = "note", text + "it cannot be saved, so it is played in lockstep"
    elif replayed < _REPLAYED_FRAMES:
        outcome, text = "note", text + f"replays only {replayed} of {_REPLAYED_FRAMES} in one"
    else:
        outcome, text = "good", text + f"replays {replayed} in one"
    return _Environment(outcome, text, costs, replayed)
