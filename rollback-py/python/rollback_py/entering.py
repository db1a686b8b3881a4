"""How a process gets into a match: as one of the first, late, or back after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollback_py._rollback import JoinError
from rollback_py.episode import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_py import _rollback as native
    from rollback_py.slot_tokens import SlotToken

RETURN_PATIENCE_S = 60.0
"""How long one that comes late or back waits for somebody who plays."""


def came(
    room_of: Callable[[str | None], native.Room],
    token: str | None,
    former: SlotToken | None,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[native.Room, SlotToken | None]:
    """Come back into the slot of a former process, or else come anew; say which slot it is."""
    if former is None:
        if token is not None:
            return _entered(room_of(token), on_progress), None
        return _come_anew(room_of, on_progress), None
    try:
        return _entered(room_of(former.token), on_progress), former
    except JoinError as error:
        if error.code in ("closed", "nobody_answers"):
            # Whoever starts once more is somebody new.
            former.forget()
        if error.code not in ("unknown_token", "match_over"):
            former.release()
            raise
        # The match that the former process was in is over, so this is the beginning of another.
        former.forget()
    return _come_anew(room_of, on_progress), None


def inquire(room: native.Room) -> tuple[int, int, bool, list[int]]:
    """Ask the others which episode they are in.

    Return its number, how many are completed, whether it has begun, and the slots of those who come
    late and had not come when it began.
    """
    while (standing := room.inquire(WAIT_S, RETURN_PATIENCE_S)) is None:
        pass
    return standing


def _come_anew(
    room_of: Callable[[str | None], native.Room],
    on_progress: Callable[[int, int], None] | None,
) -> native.Room:
    try:
        return _entered(room_of(None), on_progress, is_new=True)
    except JoinError as error:
        if error.code != "match_over":
            raise
    # It came late, into a match that was just over: so it is one of the first in the next.
    return _entered(room_of(None), on_progress, is_new=True)


def _entered(
    room: native.Room,
    on_progress: Callable[[int, int], None] | None,
    *,
    is_new: bool = False,
) -> native.Room:
    """Wait until the room is complete; one that comes late or back, until it knows of a match."""
    try:
        _await_room(room, on_progress)
        if room.life:
            inquire(room)
    except JoinError as error:
        # A new one has no token to come back with, and where all have left is nothing to come to.
        room.close(leave=is_new or error.code == "match_over")
        raise
    except BaseException:
        room.close()
        raise
    return room


def _await_room(room: native.Room, on_progress: Callable[[int, int], None] | None) -> None:
    told: tuple[int, int] | None = None
    while not room.wait(WAIT_S):
        if on_progress is not None and (progress := room.progress()) != told:
            told = progress
            on_progress(*progress)
