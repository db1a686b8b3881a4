"""How an episode ended, and why, as far as this computer knows: for the caller and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rollback_py._rollback import RollbackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class DesyncError(RollbackError):
    """The members' states differ; where the episode ends by it, it ends where they last agreed."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self.frame: int | None = event["frame"]
        self.path: str | None = event["path"]
        self.agreed: int = event["agreed"]
        self.peer: int = event["peer"]
        where = event["finding"] if self.frame is None else f"the state of frame {self.frame}"
        if self.path:
            where += f" at {self.path}"
        blame = (
            "the inputs are equal, so the environment is not deterministic across these computers"
            if event["inputs_are_equal"]
            else "the inputs differ, which is an error of rollback itself"
        )
        super().__init__(
            f"desync with peer {self.peer}: {where} differs first, {blame}; "
            f"all agree on the first {self.agreed} frames"
        )


@dataclass(frozen=True)
class End:
    """How an episode ended."""

    frame: int
    """How many frames it has."""
    cause: str
    by: int | None
    is_agreed: bool
    """Whether all members that were present record the same end."""
    reason: str
    """Why, in a sentence, as far as this computer knows; others may know it otherwise."""


def reason_of(
    end: Mapping[str, Any] | None,
    events: Sequence[Mapping[str, Any]],
    failure: BaseException | None,
    local: int,
) -> str:
    """Say why an episode ended; `failure` is what was raised here, and `local` this peer's slot."""
    if failure is not None:
        return error_text(failure)
    if end is None:
        return "the episode is not over"
    cause, by = end["cause"], end["by"]
    desync = next((event for event in reversed(events) if event["event"] == "desync"), None)
    if cause == "desync" and desync is not None:
        return str(DesyncError(desync))
    if cause == "departed" and by is not None:
        return loss_of(by, events)
    if cause == "left":
        return "this computer left" if by == local else f"peer {by} left"
    if cause == "kicked":
        return "a member sent this computer away"
    if cause == "partitioned":
        return "this computer could not reach enough of the others"
    if cause.startswith("named"):
        return f"peer {by} ended it with the number {cause.removeprefix('named ')}"
    return "the environment ended" if cause == "finished" else cause


def told_of(events: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Say what a summary tells of the events of an episode, under its names."""
    told = (losses, returns, arrivals, resyncs, slowed)
    return {say.__name__: say(events) for say in told}


def losses(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each member that the others went on without why it is gone."""
    found = []
    for event in events:
        if event["event"] == "view_changed":
            found.append(loss_of(event["peer"], events))
        elif event["event"] == "left":
            found.append(f"peer {event['peer']} left")
    return found


def returns(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each time that a member came back when that was."""
    return [
        f"peer {event['peer']} came back at frame {event['from']}"
        for event in events
        if event["event"] == "joined" and not event["is_late"]
    ]


def arrivals(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each member that came late when that was."""
    return [
        f"peer {event['peer']} came in at frame {event['from']}"
        for event in events
        if event["event"] == "joined" and event["is_late"]
    ]


def slowed(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each member for whose sake all played slower how slow that was at most."""
    slowest: dict[int, int] = {}
    for event in events:
        if event["event"] == "pace_changed" and event["percent"] < 100:
            peer = event["peer"]
            slowest[peer] = min(event["percent"], slowest.get(peer, 100))
    return [f"peer {peer}: to {percent} % of the frame rate" for peer, percent in slowest.items()]


def resyncs(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say of each desync that did not end the episode whose state was taken over, and where."""
    return [
        f"after a desync the state of peer {event['peer']} was taken over at frame {event['frame']}"
        for event in events
        if event["event"] == "resynced"
    ]


def loss_of(peer: int, events: Sequence[Mapping[str, Any]]) -> str:
    """Say why a peer was lost: what it told, if it told anything."""
    for event in events:
        if event["event"] == "peer_game_failed" and event["peer"] == peer:
            return f"peer {peer}'s simulation failed at frame {event['frame']}"
        if event["event"] == "peer_shut_out" and event["peer"] == peer:
            return f"peer {peer} was shut out: {_SHUT_OUT[event['reason']]}"
        went = event["event"] == "view_changed" and event["peer"] == peer
        if went and event.get("cause") == "kicked":
            return f"peer {peer} was sent away"
    return f"peer {peer} was lost: nothing was heard of it any more"


_SHUT_OUT = {
    "flood": "it sent more than any honest member",
    "malformed": "it sent what no honest member sends",
    "forged": "it sent what is not of the session",
}


def error_text(error: BaseException) -> str:
    """Name an error and what caused it."""
    cause = error.__cause__
    return _named(error) if cause is None else f"{_named(error)} ({_named(cause)})"


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
