"""The infos that differ between two simulations of a frame: not recorded, but kept for one file.

Recordings hold only what is equal on all computers. What an environment says besides, such as how
long something took, is written to the side file of each computer as that computer had it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rollback_py.plain_json import described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollback_py.env_game import EnvGame


class ExcludedInfos:
    """Keeps the excluded infos of each frame's last simulation until the frame is recorded.

    It holds as many frames as lie between what is simulated and what is recorded, which the
    session limits.
    """

    def __init__(self, game: EnvGame) -> None:
        self._game = game
        self._by_frame: dict[int, dict[str, dict[str, Any]]] = {}

    @property
    def keys(self) -> list[str]:
        """The excluded info keys."""
        return sorted(self._game.simulation.excluded_info_keys)

    def note(self, frame: int) -> None:
        """Take the infos of the frame that was stepped just now."""
        simulation = self._game.simulation
        excluded = simulation.excluded_info_keys
        infos = simulation.returned[4]
        found = {}
        for agent in simulation.agents:
            info = infos.get(agent)
            if isinstance(info, dict):
                kept = {
                    str(key): described(value)
                    for key, value in info.items()
                    if str(key) in excluded
                }
                if kept:
                    found[str(agent)] = kept
        self._by_frame[frame] = found

    def take(self, end: int) -> Iterator[tuple[int, dict[str, dict[str, Any]]]]:
        """Yield and forget what was kept of the frames before `end`, in order."""
        for frame in sorted(frame for frame in self._by_frame if frame < end):
            found = self._by_frame.pop(frame)
            if found:
                yield frame, found
