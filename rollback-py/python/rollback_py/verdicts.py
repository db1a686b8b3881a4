"""What can be said of recordings: how far two are equal, and whether one is simulated again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Comparison:
    """How far two recordings are equal. It is true if they are equal in every byte."""

    verdict: Literal["EQUAL", "PREFIX", "DIFFERENT"]
    frame: int
    """How many frames are equal, from the first."""
    what: str | None = None
    """What differs in that frame."""

    def __bool__(self) -> bool:
        return self.verdict == "EQUAL"

    def __str__(self) -> str:
        if self.verdict == "DIFFERENT":
            return f"DIFFERENT at frame {self.frame}: {self.what}"
        return self.verdict if self else f"PREFIX {self.frame}"


@dataclass(frozen=True)
class Segment:
    """A part of an episode that was checked by itself; a state that all took over begins it."""

    first_frame: int
    source: int | None
    """The slot of the peer whose state it begins with; None for the state after `reset`."""
    disputed: Wrong | None = None
    """What this environment does otherwise in the frames before it, on which the members disagreed.

    None where it does as that peer's did.
    """

    def __str__(self) -> str:
        if self.source is None:
            return f"from frame {self.first_frame}: the state after reset"
        here = (
            "this environment comes to it, too"
            if self.disputed is None
            else (f"here frame {self.disputed.frame} of the disputed ones is otherwise")
        )
        return f"from frame {self.first_frame}: the state of peer {self.source}; {here}"


@dataclass(frozen=True)
class Verified:
    """The environment did again what was recorded, in every frame. It is true.

    Where all took over a state after a desync, that holds of each of the `segments` by itself.
    """

    frames: int
    hashes_checked: int
    """How many state hashes were equal, with that of the start."""
    outputs_checked: int
    segments: tuple[Segment, ...] = ()
    """The parts that were checked each by itself: one, and one more for each resync."""
    warnings: tuple[str, ...] = ()
    """What differs between this computer and those that recorded, and still made no difference."""

    def __bool__(self) -> Literal[True]:
        return True

    def __str__(self) -> str:
        if len(self.segments) < 2:
            return f"VERIFIED {self.frames} frames"
        parts = "".join(f"\n  {segment}" for segment in self.segments)
        return f"VERIFIED {self.frames} frames in {len(self.segments)} segments{parts}"


@dataclass(frozen=True)
class Wrong:
    """The environment did something else than was recorded. It is false."""

    frame: int
    """The first frame that is known to be wrong."""
    what: str
    path: str | None = None
    """The first value that differs, where values were recorded; of states only hashes are."""
    warnings: tuple[str, ...] = ()
    """What differs between this computer and those that recorded: perhaps the cause."""

    def __bool__(self) -> Literal[False]:
        return False

    def __str__(self) -> str:
        where = f"{self.path} ({self.what})" if self.path else self.what
        return f"WRONG at frame {self.frame}: {where}"
