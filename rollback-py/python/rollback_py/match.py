"""A match: episodes of one environment, played with the other members of a room."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_py import _rollback as native
from rollback_py._rollback import JoinError, RollbackError
from rollback_py.env_game import EnvGame
from rollback_py.environment import EnvironmentDigest, Factory, Facts
from rollback_py.policies import BY_POLICY, FOCUSED, Person, Policy
from rollback_py.recorded_facts import settings_of, shortened
from rollback_py.recordings import Recording
from rollback_py.summary import PeerSummary, Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    import pandas
    import polars
    from typing_extensions import Self

    from rollback_py.snapshots import SnapshotOptions

# How long a wait may take before Python looks at its signals, so that Ctrl-C works at once.
_WAIT_S = 0.05

# What fits one datagram beside everything else that a hello says.
_MUST_MATCH_BYTES_MAX = 660
_MAY_DIFFER_BYTES_MAX = 260


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


@dataclass(frozen=True)
class LinkConditions:
    """A bad network on top of the real one, for what this computer receives."""

    delay_ms: int = 0
    jitter_ms: int = 0
    """At most so much more, evenly distributed."""
    loss_percent: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Settings:
    """How the members play; equal on all of them."""

    fps: int = 30
    input_delay: int = 0
    """Frames after which an input takes effect, 0 to 30."""
    prediction_window: int = 12
    """Frames that may be simulated beyond the confirmed one, 0 (lockstep) to 128."""
    report_interval: int = 10
    """Every how many frames state hashes are compared."""
    on_departure: str = "end"
    """``end`` the episode when a member is lost, or ``continue`` with its agents idle."""
    departure_timeout_s: float = 5.0
    """How long a member may be silent before the others go on without it."""
    linger_s: float = 3.0
    """How long to stay after the end for those that have not heard of it."""


def join(
    link: str,
    *,
    env: str | Callable[[], Any] | Factory,
    fps: int | None = None,
    settings: Settings | None = None,
    name: str | None = None,
    data: str | Path = "data",
    hosts: Sequence[int] | None = None,
    idle: Mapping[Any, Any] | None = None,
    observations: bool = False,
    snapshots: SnapshotOptions | None = None,
    lockstep_fallback: bool = True,
    ice_servers: Sequence[tuple[str, str, str]] = (),
    relay_only: bool = False,
    link_conditions: LinkConditions | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Match:
    """Join a room and wait until it is complete.

    `env` is a function that makes the environment, or its name as ``"module:function"``. `hosts`
    gives the slot of the computer that hosts each agent; by default they take turns. Agents that
    nobody controls do what `idle` says. `observations` puts them into the recording. Recordings
    go to the folder `data`. An environment whose state cannot be saved is played in lockstep,
    unless `lockstep_fallback` is False. `on_progress` is told how many members there are, and how
    many make the room complete.
    """
    factory = Factory.from_spec(env) if isinstance(env, str) else env
    if not isinstance(factory, Factory):
        factory = Factory.from_callable(factory)
    settings = settings or Settings()
    if fps is not None:
        settings = Settings(**{**settings.__dict__, "fps": fps})
    game = EnvGame(factory, idle=idle, observations=observations, snapshots=snapshots)
    if not game.can_rollback:
        if not lockstep_fallback:
            game.close()
            game.keeper  # raises NotSnapshotableError, which names the reasons  # noqa: B018
        settings = Settings(**{**settings.__dict__, "prediction_window": 0})
    conditions = link_conditions or LinkConditions()
    room = native.Room(
        link,
        name=name,
        ice_servers=list(ice_servers),
        relay_only=relay_only,
        delay_ms=conditions.delay_ms,
        jitter_ms=conditions.jitter_ms,
        loss_percent=conditions.loss_percent,
        seed=conditions.seed,
    )
    try:
        _await_room(room, on_progress)
        return Match(
            room, game, factory, settings, data=Path(data), hosts=hosts, observations=observations
        )
    except BaseException:
        room.close()
        raise


def _await_room(room: native.Room, on_progress: Callable[[int, int], None] | None) -> None:
    told: tuple[int, int] | None = None
    while not room.wait(_WAIT_S):
        if on_progress is not None and (progress := room.progress()) != told:
            told = progress
            on_progress(*progress)


class Match:
    """The episodes that the members of a room play together. Leave the ``with`` block to leave."""

    def __init__(
        self,
        room: native.Room,
        game: EnvGame,
        factory: Factory,
        settings: Settings,
        *,
        data: Path,
        hosts: Sequence[int] | None,
        observations: bool,
    ) -> None:
        self._room = room
        self.game = game
        """The environment as the engine sees it."""
        self.settings = settings
        self.data = data
        self.factory = factory
        peers = len(room.members)
        if hosts is None:
            hosts = [player % peers for player in range(len(game.agents))]
        self.hosts = list(hosts)
        """The slot of the computer that hosts each agent, in their order."""
        self._completed = 0
        digest = EnvironmentDigest.of(factory, game.env, settings_of(game, observations))
        self._facts = (
            _fitted(digest.must_match, _MUST_MATCH_BYTES_MAX),
            _fitted(digest.may_differ, _MAY_DIFFER_BYTES_MAX),
        )

    @property
    def agents(self) -> list[Any]:
        """All agents, in the order of the environment."""
        return self.game.agents

    @property
    def my_agents(self) -> list[Any]:
        """The agents that this computer hosts."""
        local = self._room.local
        return [a for a, host in zip(self.agents, self.hosts, strict=True) if host == local]

    @property
    def slot(self) -> int:
        """The slot of this computer."""
        return self._room.local

    @property
    def members(self) -> list[str]:
        """The names of all members, in the order of their slots."""
        return self._room.members

    @property
    def plays_in_lockstep(self) -> bool:
        """Whether every frame waits for all inputs, so that nothing is ever predicted."""
        return self.settings.prediction_window == 0

    def episodes(self, count: int) -> Iterator[Episode]:
        """Yield up to so many episodes; fewer when a member is lost."""
        for number in range(count):
            episode = Episode(self, number)
            try:
                yield episode
            finally:
                episode.close()
            end = episode.end
            is_whole = not any(e["event"] in ("view_changed", "left") for e in episode.events)
            if (
                not is_whole
                or end is None
                or (end.cause != "finished" and not end.cause.startswith("named"))
            ):
                return
            self._completed += 1

    def close(self) -> None:
        """Leave the room and close the environment."""
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

    def config(self) -> dict[str, Any]:
        """Return the settings as the engine takes them."""
        s = self.settings
        if s.on_departure not in ("end", "continue"):
            raise ValueError(f"on_departure: expected 'end' or 'continue', got {s.on_departure!r}")
        return {
            "players": len(self.agents),
            "fps": s.fps,
            "input_delay": s.input_delay,
            "prediction_window": s.prediction_window,
            "report_interval": s.report_interval,
            "idle_input": _idle_input(self.game),
            "members_min": len(self.members) if s.on_departure == "end" else 1,
            "departure_timeout_ms": round(s.departure_timeout_s * 1000),
            "linger_ms": round(s.linger_s * 1000),
        }

    def start(self, number: int, recording: Path) -> native.Episode:
        """Reset the environment and start an episode's engine."""
        self.game.reset(native.Episode.seed_of(self._room, number, self.hosts))
        return native.Episode(
            self._room,
            self.game,
            episode=number,
            hosts=self.hosts,
            config=self.config(),
            must_match=self._facts[0],
            may_differ=self._facts[1],
            recording=recording,
            completed_episodes=self._completed,
        )

    def recording_path(self, number: int) -> Path:
        """Return where an episode of this match is recorded on this computer."""
        self.data.mkdir(parents=True, exist_ok=True)
        return self.data / f"{self._room.session:016x}-{number:03d}-peer{self.slot}.rbk"


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
            while not self._native.wait(_WAIT_S):
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
                while not self._native.wait(_WAIT_S):
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


def _idle_input(game: EnvGame) -> bytes:
    """Return bytes that mean idle for every player."""
    idle = {game.idle_action(player) for player in range(len(game.agents))}
    if len(idle) == 1:
        return idle.pop()
    # Bytes that are no action mean the idle one, each player's own.
    none = b"\xff" * game.width
    for player in range(len(game.agents)):
        if game.decode_action(player, none)[1]:
            raise RollbackError(
                "the idle actions differ between players: give them one with `idle`"
            )
    return none


def _fitted(facts: Facts, bytes_max: int) -> Facts:
    """Shorten facts so that all fit a datagram: what only must be equal before what is read."""
    code = [fact for fact in facts if fact[0].startswith(("distribution ", "source "))]
    folded = [("code", hashlib.sha256(repr(code).encode()).hexdigest()[:32])]
    folded += [fact for fact in facts if fact not in code]
    for candidates in (facts, folded):
        for limit in (200, 80, 48, 32):
            fitted = [(shortened(name, 40), shortened(value, limit)) for name, value in candidates]
            if sum(len(n.encode()) + len(v.encode()) + 2 for n, v in fitted) <= bytes_max:
                return fitted
    return [("all facts", hashlib.sha256(repr(facts).encode()).hexdigest())]
