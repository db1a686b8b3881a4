"""One episode of a match: played to its agreed end, and noted as this computer saw it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rollback_py._rollback import JoinError, RollbackError
from rollback_py.policies import BY_POLICY, FOCUSED, Person, Policy
from rollback_py.recordings import Recording
from rollback_py.summary import PeerSummary, Summary

if TYPE_CHECKING:
    import pandas
    import polars

    from rollback_py.match import Match

# How long a wait may take before Python looks at its signals, so that Ctrl-C works at once.
WAIT_S = 0.05


class DesyncError(RollbackError):
    """The members' states differ; both recordings end where they last agreed."""

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


class Episode:
    """One episode, from its reset to its agreed end."""

    def __init__(self, match: Match, number: int) -> None:
        self._match = match
        self.number = number
        self.recording = match.recording_path(number)
        """The file of the stable frames, the same bytes on every computer."""
        self.events: list[dict[str, Any]] = []
        """What happened, each with its time in seconds since the episode began."""
        self.end: End | None = None
        self._began = time.monotonic()
        self._side = self.recording.with_name(self.recording.name + ".local.jsonl").open("x")
        self._next_sample = 0.0
        self._paths: dict[int, str] = {}
        self._summary: Summary | None = None
        self._native = match.start(number, self.recording)

    @property
    def frame(self) -> int:
        """The frame that is simulated next."""
        return int(self._native.counters()["predicted"])

    @property
    def counters(self) -> dict[str, Any]:
        """What was counted so far: frames, rollbacks, stalls, and the ladder of finality."""
        return self._native.counters()

    def run(
        self,
        players: Mapping[Any, Policy | Person],
        *,
        start_timeout_s: float = 60.0,
        on_frame: Callable[[Episode], None] | None = None,
    ) -> End:
        """Play to the end: `players` gives who plays each of `my_agents`.

        Raises `GameError` when the environment fails, `DesyncError` when the members' states
        differ, `IncompatibleError` when they cannot play together, and `JoinError` when not all
        members have begun within `start_timeout_s`. The recording is complete up to the last
        stable frame in each of these cases.
        """
        seats = self._seats(players)
        try:
            self._play(seats, start_timeout_s, on_frame)
        finally:
            self._finish()
            for person in {id(p): p for _, p in seats if isinstance(p, Person)}.values():
                person.close()
        for event in self.events:
            if event["event"] == "desync":
                raise DesyncError(event)
        if self.end is None:
            raise RollbackError("the episode was left before its end was known")
        return self.end

    def leave(self) -> None:
        """Leave in order; with ``on_departure="continue"`` the others play on."""
        self._native.leave()

    def propose_end(self, code: int = 0) -> bool:
        """End the episode for all, with a number for the reason."""
        return self._native.propose_end(code)

    def summary(self) -> Summary:
        """Say how it went on this computer."""
        return self._summary or self._make_summary()

    def open(self) -> Recording:
        """Open the recording."""
        return Recording.open(self.recording)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the stable frames as a table, a row for each frame and agent."""
        return self.open().to_pandas(env=self._match.factory)

    def to_polars(self) -> polars.DataFrame:
        """Return the stable frames as a table, a row for each frame and agent."""
        return self.open().to_polars(env=self._match.factory)

    def close(self) -> None:
        """Give the connections back; leaves first if the episode is not over."""
        self._finish()

    def _seats(self, players: Mapping[Any, Policy | Person]) -> list[tuple[int, Policy | Person]]:
        agents = self._match.agents
        mine = self._match.my_agents
        missing = [agent for agent in mine if agent not in players]
        foreign = [agent for agent in players if agent not in mine]
        if missing or foreign:
            raise ValueError(f"expected a player for each of {mine}, got {list(players)}")
        return [(agents.index(agent), player) for agent, player in players.items()]

    def _play(
        self,
        seats: list[tuple[int, Policy | Person]],
        start_timeout_s: float,
        on_frame: Callable[[Episode], None] | None,
    ) -> None:
        deadline = time.monotonic() + start_timeout_s
        while True:
            for player, who in seats:
                if self._native.wants_input(player):
                    self._give_input(player, who)
            status, _, _, peers = self._native.advance()
            self._note_events()
            if status == "ended":
                return
            if status == "handshaking":
                if time.monotonic() > deadline:
                    raise JoinError(f"peers {peers} did not begin within {start_timeout_s:g} s")
            else:
                deadline = float("inf")
            self._show(seats, status)
            if on_frame is not None:
                on_frame(self)
            while not self._native.wait(WAIT_S):
                pass

    def _give_input(self, player: int, who: Policy | Person) -> None:
        game = self._match.game
        if isinstance(who, Person):
            action, flags = who.action(), FOCUSED if who.is_focused() else 0
        else:
            action, flags = who(game.observation(player)), BY_POLICY
        encoded = game.idle_action(player) if action is None else game.encode_action(player, action)
        self._native.set_input(player, encoded, flags)

    def _show(self, seats: list[tuple[int, Policy | Person]], status: str) -> None:
        people = {id(who): who for _, who in seats if isinstance(who, Person)}
        if not people:
            return
        picture = self._match.game.render()
        for person in people.values():
            person.show(picture, status)

    def _note_events(self) -> None:
        seconds = time.monotonic() - self._began
        while (event := self._native.poll_event()) is not None:
            event = {"t": round(seconds, 4), **event}
            self.events.append(event)
            self._write_side(event)
        if seconds >= self._next_sample:
            self._next_sample = seconds + 1.0
            sample = {"t": round(seconds, 4), "event": "sample", **self._native.counters()}
            sample["peers"] = self._peers()
            self._write_side(sample)

    def _peers(self) -> list[dict[str, Any]]:
        """Say what is known of each peer; of one that has left, the path is the last there was."""
        peers = []
        for slot in range(len(self._match.members)):
            peer = self._native.peer(slot)
            if peer is None:
                continue
            if peer["path"] is not None:
                self._paths[slot] = peer["path"]
            peers.append({**peer, "peer": slot, "path": self._paths.get(slot)})
        return peers

    def _write_side(self, line: Mapping[str, Any]) -> None:
        self._side.write(json.dumps(line, sort_keys=True) + "\n")

    def _finish(self) -> None:
        if self._summary is not None:
            return
        try:
            if self._native.end is None:
                self._native.leave()
            while not self._native.linger():
                self._note_events()
                while not self._native.wait(WAIT_S):
                    pass
            self._note_events()
        finally:
            end = self._native.end
            self.end = None if end is None else End(**end)
            self._summary = self._make_summary()
            self._write_side({"event": "summary", **self._summary.to_json()})
            self._side.close()
            self._native.release()

    def _make_summary(self) -> Summary:
        counters = self._native.counters()
        end = self._native.end
        return Summary(
            episode=self.number,
            frames=counters["stable"] if end is None else end["frame"],
            cause="playing" if end is None else end["cause"],
            by=None if end is None else end["by"],
            rollbacks=counters["rollbacks"],
            rollback_depths=counters["rollback_depths"],
            resimulated_frames=counters["resimulated_frames"],
            stalls=counters["stalls"],
            recording=str(self.recording),
            peers=[_peer_summary(peer) for peer in self._peers()],
        )


def _peer_summary(peer: Mapping[str, Any]) -> PeerSummary:
    return PeerSummary(
        peer=peer["peer"],
        path=peer["path"],
        rtt_ms=peer["rtt_ms"],
        jitter_ms=peer["jitter_ms"],
        datagrams_sent=peer["datagrams_sent"],
        datagrams_received=peer["datagrams_received"],
        bytes_sent=peer["bytes_sent"],
        bytes_received=peer["bytes_received"],
        frames_direct=peer["frames_direct"],
        frames_relayed=peer["frames_relayed"],
        datagrams_dropped=peer["tags_wrong"] + peer["malformed"],
    )
