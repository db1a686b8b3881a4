"""The server that brings members together, and the command ``rollback serve``."""

from __future__ import annotations

import ipaddress
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rollback_py import _rollback as native
from rollback_py.command_output import OK, say
from rollback_py.settings import (
    MEMBERS_MAX,
    PORT_MAX,
    U32_MAX,
    WATCHERS_MAX,
    require_kind,
    require_number,
)

if TYPE_CHECKING:
    import argparse
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from typing_extensions import Self

# How often it is looked whether the server still serves.
_LOOK_S = 0.2


class Server(native.Server):
    """A signaling server in a thread of this process; it stops when it is let go."""

    def __new__(
        cls,
        listen: str = "127.0.0.1:8080",
        *,
        rooms: Sequence[tuple[str, int]] = (),
        players: int = 2,
        begin_with: int | None = None,
        slot_hold_s: int = 600,
        watchers: int = WATCHERS_MAX,
        unwatched: Sequence[str] = (),
        relay: bool = True,
        tls: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        state_file: str | os.PathLike[str] | None = None,
        ice: Mapping[str, Any] | None = None,
    ) -> Self:
        """Listen on an address; port 0 takes a free one.

        Each of `rooms` is a name and how many members make it complete; without any, every name
        makes a room of `players`. With `begin_with` they begin when so many are there, and the
        others come into the running match, or do not. The slot of a member that is away is kept for
        `slot_hold_s`. Up to `watchers`, at most 8, may watch a match, and nobody in the rooms
        `unwatched`. With `relay`, members that have no better way to each other send through the
        server. With `tls`, the files of a certificate (followed by those up to an authority) and of
        its key, both in PEM, links begin with ``wss:``. In a `state_file` the server keeps who
        plays, so that a member that is lost after a restart of the server comes back all the same;
        the file holds their secrets.
        `ice` says which STUN and TURN servers members are offered: `stun_urls`, `turn_urls` with
        `turn_secret_file` or `turn_user_file`, `turn_ttl_s`; `turn` for one of this process, with
        `turn_port`, `turn_listen`, `turn_address` and `turn_relay_ports`.
        """
        require_kind("listen", listen, str)
        for room in rooms:
            if not isinstance(room, tuple) or len(room) != 2:
                raise TypeError(f"rooms: expected a list of (NAME, MEMBERS), got {room!r}")
            require_number(f"players of the room {room[0]}", room[1], 1, MEMBERS_MAX)
        require_number("players", players, 1, MEMBERS_MAX)
        if begin_with is not None:
            fewest = min([members for _, members in rooms] or [players])
            require_number("begin_with", begin_with, 1, fewest)
        require_number("slot_hold_s", slot_hold_s, 0, U32_MAX)
        require_number("watchers", watchers, 0, WATCHERS_MAX)
        ice = dict(ice or {})
        if "turn_ttl_s" in ice:
            require_number("turn_ttl_s", ice["turn_ttl_s"], 1, U32_MAX)
        if "turn_port" in ice:
            require_number("turn_port", ice["turn_port"], 0, PORT_MAX)
        for port in ice.get("turn_relay_ports") or ():
            require_number("turn_relay_ports", port, 1, PORT_MAX)
        return super().__new__(
            cls,
            listen,
            rooms=list(rooms),
            players=players,
            begin_with=begin_with,
            slot_hold_s=slot_hold_s,
            watchers=watchers,
            unwatched=list(unwatched),
            relay=relay,
            tls=tls,
            state_file=state_file,
            ice=ice,
        )


def add_parser(commands: Any) -> None:
    """Add the command."""
    serve = commands.add_parser("serve", help="bring the members of matches together")
    serve.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT")
    serve.add_argument("--room", action="append", default=[], metavar="NAME", help="repeatable")
    serve.add_argument("--players", type=int, default=2, help="members of each room (2)")
    serve.add_argument(
        "--begin-with", type=int, metavar="N", help="do not wait for more; the others may come late"
    )
    serve.add_argument("--slot-hold", type=int, default=600, metavar="S", help="for who is lost")
    serve.add_argument("--watchers", type=int, default=8, metavar="N", help="of a match, 0 to 8")
    serve.add_argument(
        "--unwatched", action="append", default=[], metavar="NAME", help="a room nobody may watch"
    )
    serve.add_argument("--tls-certificate", metavar="FILE", help="in PEM; links begin with wss:")
    serve.add_argument("--tls-key", metavar="FILE", help="of the certificate, in PEM")
    serve.add_argument(
        "--state", metavar="FILE", help="keep who plays over a restart; holds secrets"
    )
    serve.add_argument("--no-relay", action="store_true", help="pass nothing between members")
    _add_ice(serve)
    serve.add_argument("--json", action="store_true", help="print lines of JSON")
    serve.set_defaults(handler=_serve)


def _add_ice(serve: argparse.ArgumentParser) -> None:
    ice = serve.add_argument_group("STUN and TURN servers for the members (docs/turn.md)")
    ice.add_argument("--turn", action="store_true", help="run a TURN server, by UDP, in here")
    ice.add_argument("--turn-port", type=int, default=3478, metavar="PORT")
    ice.add_argument("--turn-listen", metavar="ADDRESS", help="where, if not at --listen")
    ice.add_argument("--turn-address", metavar="ADDRESS", help="where members reach it")
    ice.add_argument("--turn-relay-ports", metavar="LOW-HIGH", help="any free ones without it")
    ice.add_argument("--turn-url", action="append", default=[], metavar="URL", help="repeatable")
    access = ice.add_mutually_exclusive_group()
    access.add_argument("--turn-secret-file", metavar="FILE", help="coturn's static-auth-secret")
    access.add_argument("--turn-user-file", metavar="FILE", help="one line NAME:PASSWORD")
    ice.add_argument("--turn-ttl", type=int, default=43200, metavar="S", help="of credentials")
    ice.add_argument("--stun-url", action="append", default=[], metavar="URL", help="repeatable")


def _ice_options(parsed: argparse.Namespace) -> dict[str, Any]:
    ports = parsed.turn_relay_ports
    return {
        "stun_urls": parsed.stun_url,
        "turn_urls": parsed.turn_url,
        "turn_secret_file": parsed.turn_secret_file,
        "turn_user_file": parsed.turn_user_file,
        "turn_ttl_s": parsed.turn_ttl,
        "turn": parsed.turn,
        "turn_port": parsed.turn_port,
        "turn_listen": _address("--turn-listen", parsed.turn_listen),
        "turn_address": _address("--turn-address", parsed.turn_address),
        "turn_relay_ports": ports and _port_range(ports),
    }


def _address(name: str, text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if text is None else ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{name}: expected an address such as 192.0.2.1, got {text!r}") from None


def _port_range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    try:
        return int(low), int(high)
    except ValueError:
        raise ValueError(f"--turn-relay-ports: expected LOW-HIGH, got {text!r}") from None


def _serve(parsed: argparse.Namespace) -> int:
    files = (parsed.tls_certificate, parsed.tls_key)
    if (files[0] is None) != (files[1] is None):
        raise ValueError("--tls-certificate and --tls-key: expected both or none")
    tls = None if files[0] is None else files
    server = Server(
        parsed.listen,
        rooms=[(name, parsed.players) for name in parsed.room],
        players=parsed.players,
        begin_with=parsed.begin_with,
        slot_hold_s=parsed.slot_hold,
        watchers=parsed.watchers,
        unwatched=parsed.unwatched,
        relay=not parsed.no_relay,
        tls=tls,
        state_file=parsed.state,
        ice=_ice_options(parsed),
    )
    scheme = "ws" if tls is None else "wss"
    links = [f"{scheme}://{server.address}/{name}" for name in parsed.room or ["ROOM"]]
    invitations = [f"    rollback play {link} --env MODULE:FUNCTION …" for link in links]
    text = "\n".join([f"serving on {server.address}; people join with", *invitations])
    serving = {"event": "serving", "address": server.address, "links": links}
    try:
        with _told_to_stop() as told:
            say(parsed.json, serving, text)
            # A server that ended by itself says why when it is stopped.
            while server.is_running and not told.by:
                time.sleep(_LOOK_S)
    finally:
        server.stop()
    if told.by:
        say(parsed.json, {"event": "stopped", "by": told.by}, f"stopped: {told.by}")
    return OK


class _Told:
    """Whether the process was told to stop, and by what."""

    by = ""


@contextmanager
def _told_to_stop() -> Iterator[_Told]:
    """Note Ctrl-C and SIGTERM in place of what they do otherwise."""
    told = _Told()

    def note(number: int, _: Any) -> None:
        told.by = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"

    if threading.current_thread() is not threading.main_thread():
        yield told  # signals are the main thread's
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
