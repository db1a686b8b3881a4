"""Who is waited for: what is said to people when it begins, and when it changes."""

from __future__ import annotations

import sys
import time

# Play waits for an instant now and then, which is nothing to be told of.
_TOLD_AFTER_S = 1.0


def room_text(members: int, expected: int) -> str:
    """Say who is there and who is lacking; nothing as long as the server has not said."""
    if not expected:
        return ""
    if members >= expected:
        return f"all {expected} members are in the room"
    lacking = expected - members
    return (
        f"waiting for members: {members} of {expected} are in the room, {lacking} lacking "
        "(who plays already is not counted)"
    )


def tell_waiting(members: int, expected: int) -> None:
    """Say it on stderr."""
    if text := room_text(members, expected):
        print(f"rollback: {text}", file=sys.stderr, flush=True)


class Waiting:
    """Notes whom an episode waits for, and says so once when it has lasted."""

    def __init__(self, members: list[str]) -> None:
        self._members = members
        self._peers: list[int] = []
        self._since = 0.0
        self._told: list[int] = []

    def told(self, peers: list[int]) -> str | None:
        """Look at the slots that are waited for now; return a line if there is news."""
        now = time.monotonic()
        if peers != self._peers:
            self._peers, self._since = list(peers), now
        if self._peers == self._told:
            return None
        if self._peers and now < self._since + _TOLD_AFTER_S:
            return None
        self._told = self._peers
        if not self._told:
            return "goes on"
        return f"waiting for {', '.join(map(self._name, self._told))}"

    def _name(self, slot: int) -> str:
        name = self._members[slot]
        return f"peer {slot} ({name})" if name else f"peer {slot}"
