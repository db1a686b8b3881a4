"""How a match is played: what all members agree on, and what is each computer's own."""

from __future__ import annotations

from dataclasses import dataclass

PREDICTORS = ("repeat", "idle", "learned")
RUN_AHEAD_MAX = 8
ON_DEPARTURE = ("end", "continue", "wait")
ON_SILENCE = ("depart", "depart_for_good", "wait")
ON_DESYNC = ("end", "pause", "resync")

# The least and the most of each number, as the engine takes them.
_LIMITS = {
    "fps": (1, 1000),
    "input_delay": (0, 30),
    "prediction_window": (0, 128),
    "report_interval": (1, 60),
    "departure_timeout_s": (0.1, 600),
    "linger_s": (0, 60),
}


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


@dataclass(frozen=True)
class Health:
    """How good the ways to the others must be for an episode to begin; this computer's own.

    Whatever it says, both directions of each way must work. `LinkConditions` do not count.
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
            # Neither is what is no number.
            if not (got := getattr(self, name)) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {got!r}")
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
        for name, (least, most) in _LIMITS.items():
            # What is no number is neither.
            if not least <= (got := getattr(self, name)) <= most:
                raise ValueError(f"{name}: expected {least} to {most}, got {got!r}")
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
