"""How a match is played: what all members agree on, and what is each computer's own."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import Any

PREDICTORS = ("repeat", "idle", "learned")
RUN_AHEAD_MAX = 8
MEMBERS_MAX = WATCHERS_MAX = 8
ON_DEPARTURE = ("end", "continue", "wait")
ON_SILENCE = ("depart", "depart_for_good", "wait")
ON_DESYNC = ("end", "pause", "resync")

# Half a second at 60 frames a second.
INPUT_DELAY_MAX = 30

# The least and the most of each number, as the engine takes them; of whole ones these are whole.
LIMITS: dict[str, tuple[float, float]] = {
    "fps": (1, 1000),
    "input_delay": (0, INPUT_DELAY_MAX),
    "prediction_window": (0, 128),
    "report_interval": (1, 60),
    "departure_timeout_s": (0.1, 600.0),
    "linger_s": (0.0, 60.0),
}

# As the engine and recordings count them.
U32_MAX = EPISODES_MAX = FRAMES_MAX = 2**32 - 1
SEED_MAX = 2**64 - 1
END_CODE_MAX = PORT_MAX = 2**16 - 1


def require_number(name: str, got: Any, least: float, most: float) -> None:
    """See that it is a number within these limits, and a whole one if they are whole ones.

    Raises `ValueError` with its name, also for what is no number at all.
    """
    is_whole = isinstance(least, int) and isinstance(most, int)
    is_number = isinstance(got, Integral if is_whole else Real) and not isinstance(got, bool)
    if not is_number:
        raise ValueError(f"{name}: expected a {'whole ' if is_whole else ''}number, got {got!r}")
    if not least <= got <= most:
        limits = f"at least {least:g}" if most >= U32_MAX else f"{least:g} to {most:g}"
        raise ValueError(f"{name}: expected {limits}, got {got!r}")


def require_kind(name: str, got: Any, kind: type) -> None:
    """See that it is of a class, or None where nothing was said; raises `TypeError` if not."""
    if got is not None and not isinstance(got, kind):
        raise TypeError(f"{name}: expected a {kind.__name__}, got {got!r}")


def require_ice_servers(servers: Any) -> None:
    """See that each says its URL, user and password; raises `TypeError` if not."""
    for server in servers if isinstance(servers, list | tuple) else [servers]:
        if not isinstance(server, tuple) or [type(part) for part in server] != [str] * 3:
            raise TypeError(
                "ice_servers: expected a list of (URL, USER, PASSWORD), such as "
                f"('stun:stun.example.org', '', ''), got {server!r}"
            )


@dataclass(frozen=True)
class LinkConditions:
    """A bad network on top of the real one, for what this computer receives."""

    delay_ms: int = 0
    """How much later every datagram comes."""
    jitter_ms: int = 0
    """At most so much more, evenly distributed."""
    loss_percent: float = 0.0
    """How many datagrams of every hundred are lost, 0 to 100."""
    seed: int = 0
    """Of what is drawn: which are lost, and how much later each comes."""

    def __post_init__(self) -> None:
        """Name what is beyond a limit."""
        require_number("delay_ms", self.delay_ms, 0, U32_MAX)
        require_number("jitter_ms", self.jitter_ms, 0, U32_MAX)
        require_number("loss_percent", self.loss_percent, 0.0, 100.0)
        require_number("seed", self.seed, 0, SEED_MAX)


@dataclass(frozen=True)
class Health:
    """How good the ways to the others must be for an episode to begin; this computer's own.

    Whatever it says, both directions of each way must work. With `LinkConditions` a way is what
    they make of it.
    """

    round_trip_max_ms: float = float("inf")
    """The longest round trip to a member."""
    loss_max_percent: float = 100.0
    """The most datagrams that may be lost of every hundred of late, in either direction."""
    patience_s: float = 5.0
    """How long to wait for a way to become so good."""
    or_else: str = "go_on"
    """What to do then: ``go_on`` all the same, or ``end`` with a `JoinError` before it begins."""

    def __post_init__(self) -> None:
        """Name what is not a limit, or not one of the words that are expected."""
        for name in ("round_trip_max_ms", "loss_max_percent", "patience_s"):
            require_number(name, getattr(self, name), 0.0, inf)
        if self.or_else not in ("go_on", "end"):
            raise ValueError(f"or_else: expected 'go_on' or 'end', got {self.or_else!r}")


@dataclass(frozen=True)
class Settings:
    """How the members play; equal on all of them."""

    fps: int = 30
    """Frames a second, 1 to 1000."""
    input_delay: int = 0
    """Frames after which an input takes effect, 0 to 30."""
    prediction_window: int = 12
    """Frames that may be simulated beyond the confirmed one, 0 (lockstep) to 128."""
    report_interval: int = 10
    """Every how many frames state hashes are compared, 1 to 60."""
    on_departure: str = "end"
    """When a member is lost: ``end`` the episode, ``continue`` with its agents idle, or ``wait``.

    With ``end`` it is the last episode of the match. Otherwise the lost one may come back, and the
    match goes on after the episode if all are there again. With ``wait`` play stands still until
    then; when nothing is heard of it for the departure timeout, each computer ends for itself.
    It includes ``on_silence="wait"``, which alone waits without an end.
    """
    departure_timeout_s: float = 5.0
    """How long a member may be silent before the others go on without it, 0.1 to 600.

    Until then play stands still where it needs that member's inputs. Let it be long, such as 60,
    where a lost one is to be waited for. With ``on_departure="continue"`` and two computers, slot 0
    goes on alone after that time, and slot 1 is cut off.
    """
    on_silence: str = "depart"
    """What becomes of a member that is silent for as long as that.

    ``depart``: the others go on without it, and it may come back. ``depart_for_good``: the same,
    but it may not. ``wait``: play stands still until it is heard again or is sent away with
    `Episode.kick`.
    """
    on_desync: str = "end"
    """What follows when the members' states differ.

    ``end``: the episode ends where all last agreed. ``resync``: all take over the state of one and
    play on. ``pause``: all stand still until each has called `Episode.resync`, or one
    `Episode.end_disputed`.
    """
    resync_from: int | None = None
    """With ``resync``, the slot of the computer whose state is taken over.

    None is the majority's; of equally large groups that with slot 0.
    """
    linger_s: float = 3.0
    """How long to stay after the end for those that have not heard of it, at most 60."""

    def __post_init__(self) -> None:
        """Name what is beyond a limit, or not one of the words that are expected."""
        for name, (least, most) in LIMITS.items():
            require_number(name, getattr(self, name), least, most)
        words = {
            "on_departure": ON_DEPARTURE,
            "on_silence": ON_SILENCE,
            "on_desync": ON_DESYNC,
        }
        for name, expected in words.items():
            if (got := getattr(self, name)) not in expected:
                raise ValueError(f"{name}: expected one of {expected}, got {got!r}")
        if self.resync_from is not None and self.on_desync != "resync":
            raise ValueError(f"resync_from: expected None with on_desync={self.on_desync!r}")
        if self.resync_from is not None:
            require_number("resync_from", self.resync_from, 0, MEMBERS_MAX - 1)
