"""A match: episodes of one environment, played with the other members of a room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback_py import _rollback as native
from rollback_py._rollback import RollbackError
from rollback_py.entering import came, inquire
from rollback_py.env_game import EnvGame
from rollback_py.environment import Factory
from rollback_py.episode import Episode
from rollback_py.recorded_facts import facts_to_send
from rollback_py.recordings import factory_of
from rollback_py.settings import (
    EPISODES_MAX,
    PREDICTORS,
    RUN_AHEAD_MAX,
    Health,
    LinkConditions,
    Settings,
    require_ice_servers,
    require_kind,
    require_number,
)
from rollback_py.slot_tokens import SlotToken
from rollback_py.snapshots import SnapshotOptions
from rollback_py.state_transfer import NotTransferableError
from rollback_py.trouble import troubles, warn
from rollback_py.waiting import tell_waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self


def join(
    link: str,
    *,
    env: str | Callable[[], Any] | Factory,
    fps: int | None = None,
    settings: Settings | None = None,
    name: str | None = None,
    data: str | Path = "data",
    token: str | None = None,
    come_back: bool = True,
    hosts: Sequence[int] | None = None,
    idle: Mapping[Any, Any] | None = None,
    observations: bool = False,
    snapshots: SnapshotOptions | None = None,
    lockstep_fallback: bool = True,
    ice_servers: Sequence[tuple[str, str, str]] = (),
    relay_only: bool = False,
    server_relay: bool = True,
    link_conditions: LinkConditions | None = None,
    predictor: str = "repeat",
    run_ahead: int = 0,
    interrupted_after_s: float | None = None,
    told_after_s: float | None = None,
    health: Health | None = None,
    on_progress: Callable[[int, int], None] | None = tell_waiting,
    on_warning: Callable[[str, str], None] = warn,
) -> Match:
    """Join a room and wait until it is complete.

    `env` is a function that makes the environment, or its name as ``"module:function"``. `hosts`
    gives the slot of the computer that hosts each agent; by default they take turns. Agents that
    nobody controls do what `idle` says. `observations` puts them into the recording. Recordings
    go to the folder `data`. An environment whose state cannot be saved is played in lockstep,
    unless `lockstep_fallback` is False. `on_progress` is told how many members there are, and how
    many make the room complete; unless given, a line on stderr says it. Before anybody is waited
    for, `on_warning` is told the name and the text of what the self-test found wrong with the
    environment, ``not_deterministic`` or ``lockstep``: unless given, as an `EnvironmentWarning`.

    Where the server lets a room begin with some of its members (``rollback serve --begin-with``),
    whoever joins later comes into the running match: `Match.came_late`.

    A process that starts after one that was killed takes that one's slot in the running match: with
    its `token`, or by itself if it has the same `data` folder, unless `come_back` is False. Then
    `Match.life` is not 0, and `Match.episodes` begins with the episode that the others are in.

    Computers send to each other directly, through a TURN server of `ice_servers`, or, where neither
    works or while it does not, through the server of the link, unless `server_relay` is False.
    `relay_only` hides this computer's address from the others: nothing is sent directly. The server
    is reached through the HTTP proxy of the environment (``HTTPS_PROXY``, ``NO_PROXY``), if any.

    Some settings are this computer's own, and change nothing that is recorded. `predictor` guesses
    what the others do: ``"repeat"`` what they did last, ``"idle"`` nothing, ``"learned"`` what
    they did most often after holding the same action for as long. `run_ahead` shows, and has
    policies observe, the environment so many frames (0 to 8) ahead of the one that is played, so
    that an input delay is not felt; each costs a step in every frame, and a computer that is too
    slow for the tick rate shows nothing ahead. A connection silent for `interrupted_after_s` (0.2
    to 10; 0.8 unless given) is left for another way. `told_after_s` says after how much silence of
    a member the episode's events tell it: ``interrupted`` of its game, after 0.1 s at least and 0.5
    unless given, and ``peer_reconnecting`` of the ways to it, 1 unless given.

    Before each episode the ways to the others are checked. `health` says how good they must be.
    """
    _check_local(predictor, run_ahead, interrupted_after_s, told_after_s, ice_servers)
    for what, got, kind in (
        ("link", link, str),
        ("name", name, str),
        ("token", token, str),
        ("settings", settings, Settings),
        ("snapshots", snapshots, SnapshotOptions),
        ("health", health, Health),
        ("link_conditions", link_conditions, LinkConditions),
    ):
        require_kind(what, got, kind)
    factory = factory_of(env)
    Path(data).mkdir(parents=True, exist_ok=True)
    settings = settings or Settings()
    if fps is not None:
        settings = Settings(**{**settings.__dict__, "fps": fps})
    conditions = link_conditions or LinkConditions()

    def room_of(token: str | None) -> native.Room:
        return native.Room(
            link,
            name=name,
            token=token,
            ice_servers=list(ice_servers),
            relay_only=relay_only,
            server_relay=server_relay,
            interrupted_after=interrupted_after_s,
            told_after=told_after_s,
            delay_ms=conditions.delay_ms,
            jitter_ms=conditions.jitter_ms,
            loss_percent=conditions.loss_percent,
            seed=conditions.seed,
        )

    with _EXAMINING:
        game = EnvGame(factory, idle=idle, observations=observations, snapshots=snapshots)
    expects_rollback = settings.prediction_window > 0
    room: native.Room | None = None
    try:
        if not game.can_rollback:
            if not lockstep_fallback:
                game.keeper  # raises NotSnapshotableError, which names the reasons  # noqa: B018
            settings = Settings(**{**settings.__dict__, "prediction_window": 0})
        for what, text in troubles(game, factory.spec, expects_rollback=expects_rollback).items():
            on_warning(what, text)
        with _EXAMINING:
            untransferable = _checks_transfer(game, settings)
        former = SlotToken.left_behind(Path(data), link) if come_back and token is None else None
        room, former = came(room_of, token, former, on_progress)
        return Match(
            room,
            game,
            factory,
            settings,
            data=Path(data),
            hosts=hosts,
            observations=observations,
            predictor=predictor,
            run_ahead=run_ahead,
            told_after_s=told_after_s,
            health=health or Health(),
            untransferable=untransferable,
            slot_token=former or SlotToken.keep(Path(data), link, room.token),
        )
    except BaseException:
        if room is not None:
            room.close()
        game.close()
        raise


# An environment that another thread makes draws from the same global generators.
_EXAMINING = threading.Lock()


def _checks_transfer(game: EnvGame, settings: Settings) -> NotTransferableError | None:
    """Say why states cannot be taken over; raise it where they must be."""
    if settings.on_desync == "end":
        return None
    try:
        game.require_transfer()
    except NotTransferableError as error:
        if settings.on_desync == "resync":
            raise
        return error
    return None


def _check_local(
    predictor: str,
    run_ahead: int,
    interrupted_after_s: float | None,
    told_after_s: float | None,
    ice_servers: Sequence[tuple[str, str, str]],
) -> None:
    if predictor not in PREDICTORS:
        raise ValueError(f"predictor: expected one of {PREDICTORS}, got {predictor!r}")
    require_number("run_ahead", run_ahead, 0, RUN_AHEAD_MAX)
    if interrupted_after_s is not None:
        require_number("interrupted_after_s", interrupted_after_s, 0.2, 10.0)
    if told_after_s is not None:
        require_number("told_after_s", told_after_s, 0.0, inf)
    require_ice_servers(ice_servers)


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
        slot_token: SlotToken,
        predictor: str,
        run_ahead: int,
        told_after_s: float | None,
        health: Health,
        untransferable: NotTransferableError | None,
    ) -> None:
        self._room = room
        self._slot_token = slot_token
        self._is_cut_off = False
        self._predictor = predictor
        self._told_after_s = told_after_s
        self._health = health
        self.untransferable = untransferable
        """Why the state of one cannot be taken over by all, where `on_desync` may ask for it."""
        # What is shown is taken back, so an environment that cannot be saved shows what is played.
        self._run_ahead = run_ahead if game.can_rollback else 0
        self.game = game
        """The environment as the engine sees it."""
        self.settings = settings
        """How it is played; without a prediction window where the environment cannot be saved."""
        self.data = data
        """The folder of the recordings."""
        self.factory = factory
        """What makes the environment."""
        peers = len(room.members)
        if settings.resync_from is not None and settings.resync_from not in range(peers):
            raise ValueError(
                f"resync_from: expected a slot below {peers}, got {settings.resync_from}"
            )
        self.hosts = _hosts_of(game.agents, peers, hosts)
        """The slot of the computer that hosts each agent, in their order."""
        self._next = self._asked_for = self._completed = 0
        self.late = room.late
        """The slots for whom the next episode does not wait: of those who have not come yet."""
        self._is_over = False
        self._facts = facts_to_send(factory, game, observations)

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
    def token(self) -> str:
        """The secret with which another process takes this slot, if this one dies.

        Whoever has it is this member: keep it as you keep a password.
        """
        return self._room.token

    @property
    def life(self) -> int:
        """How many processes had this slot before this one.

        Of one that comes late it is 1: nobody had it when the match began.
        """
        return self._room.life

    @property
    def came_late(self) -> bool:
        """Whether this computer came when the match had begun, and not back after a crash."""
        return self.life == 1 and self.slot in self._room.late

    @property
    def members(self) -> list[str]:
        """The names of all members, in the order of their slots."""
        return self._room.members

    @property
    def plays_in_lockstep(self) -> bool:
        """Whether every frame waits for all inputs, so that nothing is ever predicted."""
        return self.settings.prediction_window == 0

    def episodes(self, count: int) -> Iterator[Episode]:
        """Yield up to so many episodes; the one at whose end a member is missing is the last.

        Later ones would need everybody's handshake, and agents without a host. Those who are left
        can join another room. One that came late or back begins with the episode that the others
        are in. Of those who come late and have not come yet nobody is missing.
        Called again, it goes on with the episodes after those that it was called for before.
        """
        require_number("count", count, 0, EPISODES_MAX)
        rejoins = False
        if self.life and not self._asked_for:
            self._next, self._completed, rejoins, self.late = inquire(self._room)
        self._asked_for += count
        while self._next < self._asked_for and not self._is_over:
            # One that was not let in before the last one ended comes into this one.
            episode = Episode(self, self._next, rejoins=rejoins or self.slot in self.late)
            self._next += 1
            rejoins = False
            try:
                yield episode
            finally:
                episode.close()
                # Also when the caller takes no further episode.
                self._conclude(episode)

    def _conclude(self, episode: Episode) -> None:
        """Say what follows from the end of an episode for the match."""
        self._is_cut_off = episode.is_cut_off
        self.late = episode.late
        cause = "" if episode.end is None else episode.end.cause
        is_completed = cause == "finished" or cause.startswith("named")
        self._is_over = bool(episode.absent) or not is_completed
        self._completed += is_completed and not self._is_over

    def way(self, slot: int) -> dict[str, Any] | None:
        """Say what is known of the way to another computer; None while an episode is played.

        Then `Episode` notes it each second. ``link`` has what was measured: round trips, losses,
        and under ``proof`` whether both directions were shown to work.
        """
        require_number("slot", slot, 0, len(self.members) - 1)
        return self._room.way(slot)

    def close(self) -> None:
        """Leave the room and close the environment.

        One that was cut off keeps its slot, for a new process that comes back.
        """
        self._room.close(leave=not self._is_cut_off)
        if self._is_cut_off:
            self._slot_token.release()
        else:
            self._slot_token.forget()
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
        return {
            "players": len(self.agents),
            "fps": s.fps,
            "input_delay": s.input_delay,
            "prediction_window": s.prediction_window,
            "report_interval": s.report_interval,
            "idle_input": _idle_input(self.game),
            "members_min": self._needed() if s.on_departure == "end" else 1,
            "late": self.late,
            "silence": "wait" if s.on_departure == "wait" else s.on_silence,
            "departure_timeout_ms": round(s.departure_timeout_s * 1000),
            "linger_ms": round(s.linger_s * 1000),
            "on_desync": (s.on_desync, s.resync_from),
        }

    def _needed(self) -> int:
        """Say with how many members the match begins, so that it goes on with as many."""
        return len(self.members) - len(self._room.late)

    def start(
        self,
        number: int,
        recording: Path,
        on_output: Callable[[int], object] | None,
        *,
        rejoins: bool = False,
    ) -> native.Episode:
        """Reset the environment and start an episode's engine."""
        self.game.reset(native.Episode.seed_of(self._room, number, self.hosts))
        health = self._health
        try:
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
                rejoins=rejoins,
                on_output=on_output,
                predictor=self._predictor,
                run_ahead=self._run_ahead,
                told_after=self._told_after_s,
                health=(
                    health.round_trip_max_ms / 1000,
                    health.loss_max_percent,
                    health.patience_s,
                    health.or_else == "end",
                ),
            )
        except RollbackError as error:
            self.game.explain(error)
            raise

    def recording_path(self, number: int) -> Path:
        """Return where an episode of this match is recorded on this computer."""
        self.data.mkdir(parents=True, exist_ok=True)
        name = f"{self._room.session:016x}-{number:03d}-peer{self.slot}"
        path = self.data / f"{name}.rbk"
        # What a process that died had written stays.
        return self.data / f"{name}-life{self.life}.rbk" if path.exists() else path


def _hosts_of(agents: list[Any], peers: int, hosts: Sequence[int] | None) -> list[int]:
    """Say which slot hosts each agent: as the caller says, or each computer in turn."""
    if hosts is None:
        return [player % peers for player in range(len(agents))]
    if len(hosts) != len(agents):
        raise ValueError(f"hosts: expected a slot for each of {agents}, got {hosts!r}")
    for slot in hosts:
        require_number("hosts", slot, 0, peers - 1)
    return list(hosts)


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
