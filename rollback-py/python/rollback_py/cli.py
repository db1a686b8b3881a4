"""The command ``rollback``: serve, play, watch, doctor, check, compare, verify, export."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING, Any

from rollback_py import determinism, doctor, recording_commands, serving
from rollback_py._rollback import DivergedError, RollbackError
from rollback_py.command_output import (
    DESYNC,
    EXIT_CODES,
    FAILED,
    INTERRUPTED,
    LOCKSTEP,
    LOST,
    OK,
    WRONG,
    Parser,
    UsageError,
    print_trace,
    say,
    say_error,
)
from rollback_py.doctor import ice_server
from rollback_py.endings import DesyncError
from rollback_py.environment import Factory
from rollback_py.episode import Episode
from rollback_py.match import join
from rollback_py.named_policies import policies_of
from rollback_py.policies import Person, Policy, keyboard
from rollback_py.settings import (
    EPISODES_MAX,
    ON_DEPARTURE,
    ON_SILENCE,
    PREDICTORS,
    LinkConditions,
    Settings,
    require_number,
)
from rollback_py.waiting import Waiting, room_text
from rollback_py.watching import WatchedEpisode, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns what the process exits with."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parsed = _parser().parse_args(words)
    except UsageError as error:
        say_error("--json" in words, error)
        return FAILED
    handler: Callable[[argparse.Namespace], int] = parsed.handler
    try:
        return handler(parsed)
    except DesyncError as error:
        say_error(parsed.json, error, frame=error.frame, path=error.path, agreed=error.agreed)
        return DESYNC
    except DivergedError as error:
        say_error(parsed.json, error, frame=error.frame)
        return DESYNC
    except (RollbackError, OSError, ValueError) as error:
        frame = getattr(error, "frame", None)
        say_error(parsed.json, error, **({} if frame is None else {"frame": frame}))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # of the user's environment or policy: not to be taken for WRONG
        print_trace(error)
        if parsed.json:
            say_error(parsed.json, error)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="rollback",
        description="Play your own Gymnasium or PettingZoo environment across computers.",
        epilog=EXIT_CODES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serving.add_parser(commands)
    _add_play(commands)
    _add_watch(commands)
    doctor.add_parser(commands)
    _add_check(commands)
    recording_commands.add_parsers(commands)
    return parser


def _add_play(commands: Any) -> None:
    play = commands.add_parser("play", help="join a room and play")
    play.add_argument("link", metavar="LINK", help="such as ws://127.0.0.1:8080/kitchen")
    play.add_argument("--env", required=True, metavar="MODULE:FUNCTION")
    who = play.add_mutually_exclusive_group(required=True)
    who.add_argument(
        "--policy",
        action="append",
        metavar="[AGENT=]MODULE:FUNCTION",
        help="a function of the observation, or a class of such: one for each agent and episode; "
        "repeatable, with AGENT= for one agent and without it for all others",
    )
    who.add_argument(
        "--keys",
        metavar="KEYS",
        help="wasd: the n-th key is action n; or w=0,s=1,none=2, where none is no key",
    )
    play.add_argument("--episodes", type=int, default=1)
    play.add_argument("--fps", type=int, default=30)
    play.add_argument("--input-delay", type=int, default=0, metavar="FRAMES")
    play.add_argument("--prediction-window", type=int, default=12, metavar="FRAMES")
    play.add_argument("--on-departure", choices=ON_DEPARTURE, default="end")
    play.add_argument("--on-silence", choices=ON_SILENCE, default="depart")
    play.add_argument("--on-desync", choices=("end", "resync"), default="end")
    play.add_argument("--resync-from", type=int, metavar="SLOT", help="not of the majority")
    play.add_argument("--departure-timeout", type=float, default=5.0, metavar="SECONDS")
    play.add_argument("--start-timeout", type=float, default=60.0, metavar="SECONDS")
    play.add_argument("--predictor", choices=PREDICTORS, default="repeat", help="of the others")
    play.add_argument(
        "--run-ahead", type=int, default=0, metavar="FRAMES", help="show so many frames ahead"
    )
    play.add_argument("--no-lockstep", action="store_true", help="refuse what cannot be saved")
    play.add_argument("--observations", action="store_true", help="record observations, too")
    play.add_argument("--data", default="data", metavar="FOLDER", help="where recordings go")
    play.add_argument("--name", help="what the others call you")
    play.add_argument("--anew", action="store_true", help="do not go back to where a crash was")
    play.add_argument("--ice-server", action="append", default=[], metavar="URL[,USER,PASSWORD]")
    play.add_argument("--relay-only", action="store_true", help="nothing directly, for privacy")
    play.add_argument("--no-server-relay", action="store_true", help="nothing through the server")
    play.add_argument("--delay-ms", type=int, default=0, help="a bad network: each way, later by")
    play.add_argument("--jitter-ms", type=int, default=0, help="… and at most so much more")
    play.add_argument("--loss-percent", type=float, default=0.0, help="… and so many lost")
    play.add_argument("--seed", type=int, default=0, help="of the bad network")
    play.add_argument("--json", action="store_true", help="print lines of JSON")
    play.set_defaults(handler=_play)


def _play(parsed: argparse.Namespace) -> int:
    settings = Settings(
        fps=parsed.fps,
        input_delay=parsed.input_delay,
        prediction_window=parsed.prediction_window,
        on_departure=parsed.on_departure,
        on_silence=parsed.on_silence,
        on_desync=parsed.on_desync,
        resync_from=parsed.resync_from,
        departure_timeout_s=parsed.departure_timeout,
    )
    conditions = LinkConditions(
        delay_ms=parsed.delay_ms,
        jitter_ms=parsed.jitter_ms,
        loss_percent=parsed.loss_percent,
        seed=parsed.seed,
    )
    require_number("--episodes", parsed.episodes, 1, EPISODES_MAX)
    require_number("--start-timeout", parsed.start_timeout, 0.0, inf)
    who = _players(parsed)
    match = join(
        parsed.link,
        env=parsed.env,
        settings=settings,
        name=parsed.name,
        data=parsed.data,
        come_back=not parsed.anew,
        observations=parsed.observations,
        lockstep_fallback=not parsed.no_lockstep,
        ice_servers=[ice_server(text) for text in parsed.ice_server],
        relay_only=parsed.relay_only,
        server_relay=not parsed.no_server_relay,
        link_conditions=conditions,
        predictor=parsed.predictor,
        run_ahead=parsed.run_ahead,
        on_progress=lambda members, expected: _say_waiting(parsed, members, expected),
        on_warning=lambda name, text: _say(
            parsed, "warning", f"warning: {text}", name=name, message=text
        ),
    )
    with match:
        agents = ", ".join(map(str, match.my_agents))
        how = "came late" if match.came_late else "came back" if match.life else "joined"
        text = f"{how} as peer {match.slot}, playing {agents}"
        late = [] if match.life else match.late
        if late:
            text += f"; {_here(len(match.members), late)}, and {len(late)} may come late"
        _say(parsed, "joined", text, slot=match.slot, life=match.life, late=late)
        for episode in match.episodes(parsed.episodes):
            players = {agent: who[str(agent)]() for agent in match.my_agents}
            progress = _Progress(parsed, match.members)
            try:
                end = episode.run(players, start_timeout_s=parsed.start_timeout, on_frame=progress)
            except KeyboardInterrupt:
                _say_summary(parsed, episode)
                raise
            _say_summary(parsed, episode)
            if episode.absent or end.cause in ("departed", "partitioned", "left"):
                return LOST
    return OK


def _say_summary(parsed: argparse.Namespace, episode: Episode) -> None:
    summary = episode.summary()
    _say(parsed, "episode", str(summary), **summary.to_json())


class _Progress:
    """Says once a second how the episode goes."""

    def __init__(self, parsed: argparse.Namespace, members: list[str]) -> None:
        self._parsed = parsed
        self._next = 0
        self._waiting = Waiting(members)
        self._members = len(members)
        self._late: list[int] = []

    def __call__(self, episode: Episode) -> None:
        """Look at a frame."""
        self._tell_arrivals(episode)
        if (text := self._waiting.told(episode.waits_for)) is not None:
            _say(self._parsed, "waiting_for", text, peers=episode.waits_for)
        frame = episode.frame
        if frame < self._next:
            return
        self._next = frame + self._parsed.fps
        counters = episode.counters
        _say(
            self._parsed,
            "progress",
            f"episode {episode.number}  frame {frame:5}  stable {counters['stable']:5}  "
            f"agreed {counters['agreed']:5}  rollbacks {counters['rollbacks']:4}",
            episode=episode.number,
            **{name: counters[name] for name in ("predicted", "stable", "agreed", "rollbacks")},
        )

    def _tell_arrivals(self, episode: Episode) -> None:
        """Say who has come into the match since it was looked last."""
        late, self._late = self._late, episode.late
        here = _here(self._members, self._late)
        for event in episode.events if late != self._late else ():
            came = event["event"] == "joined" and event["is_late"] and event["peer"] in late
            if came and event["peer"] not in self._late:
                peer, frame = event["peer"], event["from"]
                text = f"{here}: peer {peer} came in at frame {frame}"
                _say(self._parsed, "arrived", text, peer=peer, frame=frame)


def _here(members: int, late: list[int]) -> str:
    return f"{members - len(late)} of {members} are here"


def _add_watch(commands: Any) -> None:
    command = commands.add_parser("watch", help="watch a match that others play")
    command.add_argument("link", metavar="LINK", help="such as ws://127.0.0.1:8080/kitchen")
    command.add_argument("--env", required=True, metavar="MODULE:FUNCTION")
    command.add_argument("--episodes", type=int, help="at most so many; else all that are played")
    command.add_argument("--window", action="store_true", help="show it")
    command.add_argument("--data", default="data", metavar="FOLDER", help="where recordings go")
    command.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="to wait")
    command.add_argument("--ice-server", action="append", default=[], metavar="URL[,USER,PASSWORD]")
    command.add_argument("--relay-only", action="store_true", help="nothing directly, for privacy")
    command.add_argument("--no-server-relay", action="store_true", help="nothing by the server")
    command.add_argument("--json", action="store_true", help="print lines of JSON")
    command.set_defaults(handler=_watch)


def _watch(parsed: argparse.Namespace) -> int:
    if parsed.episodes is not None:
        require_number("--episodes", parsed.episodes, 1, EPISODES_MAX)
    window = keyboard({}) if parsed.window else None
    with watch(
        parsed.link,
        env=parsed.env,
        data=parsed.data,
        ice_servers=[ice_server(text) for text in parsed.ice_server],
        relay_only=parsed.relay_only,
        server_relay=not parsed.no_server_relay,
        timeout_s=parsed.timeout,
    ) as watching:
        _say(parsed, "watching", f"watching {len(watching.members)} who play")
        for episode in watching.episodes(parsed.episodes):
            end = episode.run(window=window, on_frame=_Watched(parsed))
            text = f"episode {episode.number}: {end.frame} frames; {end.reason}"
            file = {"recording": str(episode.recording)}
            _say(parsed, "watched", text, **file, **end.__dict__, episode=episode.number)
            if end.cause in ("departed", "partitioned", "left"):
                return LOST
    return OK


class _Watched:
    """Says once a second what is seen."""

    def __init__(self, parsed: argparse.Namespace) -> None:
        self._parsed = parsed
        self._next = 0

    def __call__(self, episode: WatchedEpisode) -> None:
        """Look at a frame."""
        if episode.frame < self._next:
            return
        self._next = episode.frame + episode.fps
        frame, known = episode.frame, episode.frames_known
        text = f"episode {episode.number}  frame {frame:5}  known {known:5}"
        _say(self._parsed, "seen", text, episode=episode.number, frame=frame, known=known)


def _say(parsed: argparse.Namespace, event: str, text: str, **fields: Any) -> None:
    say(parsed.json, {"event": event, **fields}, text)


def _say_waiting(parsed: argparse.Namespace, members: int, expected: int) -> None:
    if text := room_text(members, expected):
        _say(parsed, "waiting", text, members=members, expected=expected)


def _players(parsed: argparse.Namespace) -> Mapping[str, Callable[[], Policy | Person]]:
    """Say who plays each agent: makes one for each episode, by the name of the agent."""
    if parsed.keys is not None:
        keys = _keys(parsed.keys)
        noop = keys.pop("none", None)
        person = keyboard(keys, noop=noop)  # one window, for all agents and episodes
        return defaultdict(lambda: lambda: person)
    return policies_of(parsed.policy, Factory.from_spec(parsed.env))


def _keys(text: str) -> dict[str, int]:
    if "=" not in text:
        return {key: action for action, key in enumerate(text)}
    pairs = [pair.partition("=") for pair in text.split(",")]
    try:
        return {key.strip(): int(action) for key, _, action in pairs}
    except ValueError:
        raise ValueError(f"--keys: expected wasd or w=0,s=1, got {text!r}") from None


def _add_check(commands: Any) -> None:
    check = commands.add_parser(
        "check", help="is an environment deterministic, and what does it cost?"
    )
    check.add_argument("env", metavar="MODULE:FUNCTION")
    check.add_argument("--seed", type=int, default=0)
    check.add_argument("--frames", type=int, default=200)
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(handler=_check)


def _check(parsed: argparse.Namespace) -> int:
    factory = Factory.from_spec(parsed.env)
    report = determinism.check(factory, seed=parsed.seed, frames=parsed.frames)
    print(report.to_json() if parsed.json else report)
    if not report.is_deterministic:
        return WRONG
    return OK if report.can_rollback else LOCKSTEP


if __name__ == "__main__":
    sys.exit(main())
