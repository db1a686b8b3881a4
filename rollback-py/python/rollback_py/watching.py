"""Watching a match that others play: no member of it, and nothing waits for who watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rollback_py import _rollback as native
from rollback_py._rollback import IncompatibleError, RollbackError
from rollback_py.endings import End, reason_of
from rollback_py.env_game import EnvGame
from rollback_py.environment import Factory
from rollback_py.episode import WAIT_S
from rollback_py.recorded_facts import facts_to_send
from rollback_py.recordings import Recording, factory_of
from rollback_py.settings import LinkConditions, require_ice_servers, require_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    import numpy as np
    from typing_extensions import Self

    from rollback_py.snapshots import SnapshotOptions

# After so long without a connection, nothing more is to be expected: of an episode, and after one.
_ALONE_S = 10.0
_OVER_S = 1.0


class Window(Protocol):
    """Shows what is watched; a `Keyboard` without keys is one."""

    def show(self, picture: np.ndarray[Any, Any] | None, caption: str) -> None:
        """Show a frame; `picture` is height x width x 3 bytes, or None if there is none."""

    def close(self) -> None:
        """Close the window."""


def watch(
    link: str,
    *,
    env: str | Callable[[], Any] | Factory,
    data: str | Path | None = "data",
    idle: Mapping[Any, Any] | None = None,
    snapshots: SnapshotOptions | None = None,
    ice_servers: Sequence[tuple[str, str, str]] = (),
    relay_only: bool = False,
    server_relay: bool = True,
    link_conditions: LinkConditions | None = None,
    timeout_s: float = 60.0,
) -> Watching:
    """Go to a room where others play, and watch their episodes.

    `env`, `idle` and `snapshots` are those of who plays, as `join` takes them. What is seen is
    recorded in the folder `data`, unless that is None. Raises `JoinError` when nobody plays there
    within `timeout_s`, and with the code ``watching_forbidden`` where nobody may watch.
    """
    require_ice_servers(ice_servers)
    require_number("timeout_s", timeout_s, 0.0, inf)
    factory = factory_of(env)
    game = EnvGame(factory, idle=idle, snapshots=snapshots)
    conditions = link_conditions or LinkConditions()
    room: native.Watching | None = None
    try:
        room = native.Watching(
            link,
            ice_servers=list(ice_servers),
            relay_only=relay_only,
            server_relay=server_relay,
            delay_ms=conditions.delay_ms,
            jitter_ms=conditions.jitter_ms,
            loss_percent=conditions.loss_percent,
            seed=conditions.seed,
            timeout_s=timeout_s,
        )
        while not room.wait(WAIT_S):
            pass
        made = {"idle": idle, "snapshots": snapshots}
        folder = None if data is None else Path(data)
        return Watching(room, game, factory, made, data=folder, timeout_s=timeout_s)
    except BaseException:
        if room is not None:
            room.close()
        game.close()
        raise


class Watching:
    """A match that is watched. Leave the ``with`` block to go away."""

    def __init__(
        self,
        room: native.Watching,
        game: EnvGame,
        factory: Factory,
        made: Mapping[str, Any],
        *,
        data: Path | None,
        timeout_s: float,
    ) -> None:
        self._room = room
        self._made = made
        self._observations = False
        self._timeout_s = timeout_s
        self.game = game
        """The environment as the engine sees it."""
        self.factory = factory
        """What makes the environment."""
        self.data = data
        """The folder of the recordings; None if nothing is recorded."""

    @property
    def agents(self) -> list[Any]:
        """All agents, in the order of the environment."""
        return self.game.agents

    @property
    def members(self) -> list[str]:
        """The names of all who play, in the order of their slots."""
        return self._room.members

    def episodes(self, count: int | None = None) -> Iterator[WatchedEpisode]:
        """Yield the episode that is played now, and those after it, up to so many.

        It ends when those who play have gone, or begin no further episode within `timeout_s`.
        """
        watched = 0
        while count is None or watched < count:
            header = self._begin(is_first=watched == 0)
            if header is None:
                return
            episode = WatchedEpisode(self, self._room, header)
            try:
                yield episode
            finally:
                self._room.stop_recording()
            watched += 1

    def close(self) -> None:
        """Go away and close the environment."""
        self._room.close()
        self.game.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def recording_path(self, session: int, number: int) -> Path | None:
        """Return where an episode is recorded, a file that does not exist; None if nowhere."""
        if self.data is None:
            return None
        self.data.mkdir(parents=True, exist_ok=True)
        name, again = f"{session:016x}-{number:03d}-watched", 1
        path = self.data / f"{name}.rbk"
        while path.exists():
            again += 1
            path = self.data / f"{name}-{again}.rbk"
        return path

    def fit(self, header: Mapping[str, Any]) -> None:
        """Make the environment that of who plays, or raise `IncompatibleError`."""
        theirs: dict[str, str] = dict(header["must_match"])
        observations = theirs.get("observations recorded") == "True"
        if observations != self._observations:
            before = self.game
            self.game = EnvGame(
                self.factory, observations=observations, findings=before.findings, **self._made
            )
            self._observations = observations
            before.close()
        must_match, _ = facts_to_send(self.factory, self.game, observations)
        mine = dict(must_match)
        fields = [name for name in {**theirs, **mine} if theirs.get(name) != mine.get(name)]
        if fields:
            error = IncompatibleError(
                "this computer cannot watch them play, since it differs in " + ", ".join(fields)
            )
            error.peer, error.fields = None, fields
            raise error

    def _begin(self, *, is_first: bool) -> dict[str, Any] | None:
        """Wait for an episode; None when there will be none."""
        deadline = time.monotonic() + self._timeout_s
        alone_since: float | None = None
        while (header := self._room.begin(WAIT_S)) is None:
            now = time.monotonic()
            if self._room.hosts:
                alone_since = None
            elif alone_since is None:
                alone_since = now
            is_over = not is_first and alone_since is not None and now >= alone_since + _OVER_S
            if is_first and now >= deadline:
                raise RollbackError(f"no episode could be seen within {self._timeout_s:g} s")
            if is_over or now >= deadline:
                return None
        return header


class WatchedEpisode:
    """One episode that is watched, from its first frame on, to its end."""

    def __init__(
        self, watching: Watching, room: native.Watching, header: Mapping[str, Any]
    ) -> None:
        self._watching = watching
        self._room = room
        self._header = header
        self.number: int = header["episode"]
        """Which episode of the match, from 0."""
        self.fps: int = header["fps"]
        """How many frames a second are played."""
        self.frame = 0
        """The frame that is shown next."""
        self.recording: Path | None = None
        """The file of what is seen, once it runs. With an agreed end it is that of who plays."""
        self.end: End | None = None
        """How it ended, once that was seen."""

    @property
    def frames_known(self) -> int:
        """How many frames have come."""
        return self._room.frames

    @property
    def contradictions(self) -> list[tuple[int, int | None]]:
        """The slots of members that said otherwise than another did, and from which frame on."""
        return self._room.contradictions

    def run(
        self,
        *,
        window: Window | None = None,
        on_frame: Callable[[WatchedEpisode], None] | None = None,
    ) -> End:
        """Watch to the end. What was played before is shown faster.

        Raises `DivergedError` when the environment here is in another state than that of who
        plays, `GameError` when it fails, `IncompatibleError` when it is another one, and
        `RollbackError` when nothing more comes before the end was seen.
        """
        try:
            self._start()
            self._watch(window, on_frame)
        finally:
            if window is not None:
                window.close()
            self._room.stop_recording()
        end = self._room.end
        if end is None:
            raise RollbackError("the episode was left before its end was seen")
        self.end = End(**end, reason=_reason_of(end))
        return self.end

    def open(self) -> Recording:
        """Open the recording."""
        if self.recording is None:
            raise RollbackError("what is watched was not recorded")
        return Recording.open(self.recording)

    def _start(self) -> None:
        watching, header = self._watching, self._header
        watching.fit(header)
        watching.game.reset(header["seed"])
        path = watching.recording_path(header["session"], self.number)
        # A match goes on only after episodes that were completed.
        self._room.start(watching.game, recording=path, completed_episodes=self.number)
        self.recording = path

    def _advance(self) -> tuple[str, int]:
        try:
            return self._room.advance()
        except RollbackError as error:
            self._watching.game.explain(error)
            raise

    def _watch(
        self, window: Window | None, on_frame: Callable[[WatchedEpisode], None] | None
    ) -> None:
        alone_since: float | None = None
        while True:
            status, frame = self._advance()
            if frame != self.frame:
                self.frame = frame
                self._show(window, status)
                if on_frame is not None:
                    on_frame(self)
            if status == "ended":
                return
            if status == "left_behind":
                raise RollbackError(
                    f"those who play have gone on; of episode {self.number} only {frame} frames "
                    "were seen"
                )
            now = time.monotonic()
            if self._room.hosts or frame < self._room.frames:
                alone_since = None
            elif alone_since is None:
                alone_since = now
            elif now >= alone_since + _ALONE_S:
                raise RollbackError(
                    f"nobody who plays was connected for {_ALONE_S:g} s; {frame} frames were seen"
                )
            self._room.wait_for_frame()

    def _show(self, window: Window | None, status: str) -> None:
        if window is None:
            return
        try:
            picture = self._watching.game.render()
        except NotImplementedError:  # as PettingZoo's own base class says that it draws nothing
            picture = None
        window.show(picture, status)


def _reason_of(end: Mapping[str, Any]) -> str:
    if end["cause"] in ("partitioned", "kicked", "game_failed", "incompatible"):
        return f"those who showed it did not play on: {end['cause']}"
    return reason_of(end, [], None, local=-1)
