"""A server and a match with pickles and names of code in every place: none is loaded or run.

They run in processes of their own, which are watched. This file is also their program.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import struct
import sys
import threading
from pathlib import Path

import pytest
from payloads import MARKER, NAME, PAYLOADS, TEXTS, TIMEOUT_S, Watch, last_line, say, start


class RawClient:
    """A WebSocket to a room of the server (RFC 6455), which says what it likes."""

    def __init__(self, address, room):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /{room} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self._stream = self._socket.makefile("rb")
        assert b" 101 " in self._stream.readline()
        while self._stream.readline() != b"\r\n":
            pass

    def send(self, payload, opcode):
        """Send one frame: opcode 1 for text, 2 for bytes."""
        mask = os.urandom(4)
        length = len(payload)
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | min(length, 126))
        head += struct.pack("!H", length) if length >= 126 else b""
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        # The server may have closed the socket already.
        with contextlib.suppress(OSError):
            self._socket.sendall(head + mask + masked)

    def say(self, **message):
        """Send a message as JSON."""
        self.send(json.dumps(message).encode(), 1)

    def hear(self):
        """Return the next message, or None when the socket is closed."""
        while True:
            head = self._stream.read(2)
            if len(head) < 2 or head[0] & 0x0F == 8:
                return None
            length = head[1]
            if length == 126:
                (length,) = struct.unpack("!H", self._stream.read(2))
            payload = self._stream.read(length)
            if head[0] & 0x0F == 1:
                return json.loads(payload)

    def close(self):
        """Close the socket without a word."""
        self._stream.close()
        self._socket.close()


def join_message(room, changes):
    """Return an honest join with some fields changed."""
    honest = {"protocol_version": 4, "room": room, "incarnation": "0" * 16, "settings": ""}
    return {"kind": "join", **honest, **changes}


def attack_server(address):
    """Send payloads to the server in every place; how often it refused and took them."""
    refused = taken = 0

    def answered(client):
        nonlocal refused, taken
        answer = client.hear()
        refused += answer is not None and answer["kind"] == "error"
        taken += answer is not None and answer["kind"] == "joined"
        client.close()

    for payload, text in zip(PAYLOADS, TEXTS, strict=True):
        for content, opcode in ((payload, 2), (text.encode(), 1), (base64.b64encode(payload), 1)):
            client = RawClient(address, "attacked")
            client.send(content, opcode)
            answered(client)
        for field in ("room", "token", "incarnation", "protocol_version", "name", "settings", "x"):
            client = RawClient(address, "attacked")
            client.say(**join_message("attacked", {field: text}))
            answered(client)
    client = RawClient(address, "named")
    client.say(**join_message("named", {"name": NAME}))
    answered(client)
    return refused, taken


def attack_member(address):
    """Be an honest member's partner who signals payloads in place of descriptions."""
    import playable
    import rollback_py as rb

    client = RawClient(address, "signals")
    client.say(**join_message("signals", {"name": NAME}))
    assert client.hear()["kind"] == "joined"
    gave_up = []

    def play():
        link = f"ws://{address}/signals"
        with rb.join(link, env=playable.walkers, data="signals") as match:
            episodes = match.episodes(1)
            policies = dict.fromkeys(match.my_agents, at_random)
            with pytest.raises(rb.JoinError, match=r"peer 0 .* after 3s: there is no connection"):
                next(episodes).run(policies, start_timeout_s=3)
            gave_up.append(True)

    honest = threading.Thread(target=play)
    honest.start()
    while client.hear()["kind"] != "ready":
        pass
    for attempt, text in enumerate(TEXTS, 1):
        readable = "".join(c for c in text if c in "\t\r\n" or not c < " ")
        for payload in (
            {"kind": "offer", "attempt": attempt, "sdp": readable},
            {"kind": "candidate", "attempt": attempt, "candidate": readable},
            {"kind": "candidate", "attempt": attempt, "candidate": json.dumps(readable)},
            {"kind": "candidate", "attempt": attempt, "candidate": json.dumps({"candidate": text})},
        ):
            client.say(kind="signal", to=1, payload=payload)
    honest.join()
    client.close()
    return gave_up == [True]


def at_random(_observation):
    """Choose any action."""
    return os.urandom(1)[0] % 3


def own_udp_ports():
    """Return the ports at which this process takes UDP packets."""
    sockets = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    rows = [row.split() for row in Path("/proc/self/net/udp").read_text().splitlines()[1:]]
    return [int(row[1].rpartition(":")[2], 16) for row in rows if f"socket:[{row[9]}]" in sockets]


def play_episode(address, room, name, text=None):
    """Play an episode; with `text`, the facts say it and payloads hit every socket meanwhile."""
    import playable
    import rollback_py as rb

    playable.Walkers.frames = 90
    sprayed = 0

    def spray(_episode):
        nonlocal sprayed
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for port in own_udp_ports():
                for payload in PAYLOADS:
                    out.sendto(payload, ("127.0.0.1", port))
                    sprayed += 1

    settings = rb.Settings(fps=60, departure_timeout_s=20)
    link = f"ws://{address}/{room}"
    with rb.join(link, env=playable.walkers, settings=settings, name=name, data=room) as match:
        if text is not None:
            must_match, may_differ = match._facts
            match._facts = ([*must_match, ("x", text)], [*may_differ, (text[:40], text)])
        for episode in match.episodes(1):
            episode.run(dict.fromkeys(match.my_agents, at_random), on_frame=text and spray)
        assert episode.end.cause == "finished"
        recording = episode.open()
        assert recording.verify(playable.walkers)
        recording.to_polars()
        return sprayed, recording


def is_refused(link, name):
    """Say whether a member with such a link or name is refused."""
    from rollback_py import _rollback

    try:
        _rollback.Room(link, name=name)
    except _rollback.JoinError:
        return True
    return False


def play_match(address=None):
    """Play an honest match, then one with payloads; without an address, be the server too."""
    import rollback_py as rb

    watch = Watch()
    is_server = address is None
    server = rb.Server("127.0.0.1:0", players=2) if is_server else None
    if server is not None:
        address = server.address
        say(address=address)
    play_episode(address, "honest", "ann")
    if server is not None:
        client = RawClient(address, "honest")
        client.send(b"nonsense", 1)
        client.hear()
        client.close()
    watch.start()
    result = {}
    refusals = 0
    for text in TEXTS:
        refusals += is_refused(f"ws://{address}/{text}", None)
        refusals += is_refused(f"ws://{address}/refused", text)
    if server is not None:
        result["refused"], result["taken"] = attack_server(address)
        result["gave_up"] = attack_member(address)
    text = TEXTS[0]
    sprayed, recording = play_episode(address, "hostile", NAME, text)
    say(
        found=watch.found,
        refusals=refusals,
        sprayed=sprayed,
        recording=str(recording.path.resolve()),
        participants=recording.participants,
        facts=recording.may_differ,
        **result,
    )
    if server is not None:
        server.stop()


# -- the tests ------------------------------------------------------------------------------------


def test_a_server_and_a_match_with_payloads_in_every_field_load_none(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first = start(__file__, folders[0])
    try:
        assert first.stdout is not None
        address = json.loads(first.stdout.readline())["address"]
        second = start(__file__, folders[1], address)
        try:
            said = [last_line(first), last_line(second)]
        finally:
            second.kill()
    finally:
        first.kill()
    for line, folder in zip(said, folders, strict=True):
        assert line["found"] == []
        assert not (folder / MARKER).exists()
        # No room has such a name; a name of a member may be any text that can be read.
        assert line["refusals"] == len(TEXTS) + sum(not text.isprintable() for text in TEXTS)
        assert line["sprayed"] > 1000
        assert line["participants"] == [NAME, NAME]
        assert all([TEXTS[0][:40], TEXTS[0]] in facts for facts in line["facts"])
    one, two = (Path(line["recording"]).read_bytes() for line in said)
    assert one == two
    assert said[0]["refused"] > 5 * len(PAYLOADS)
    assert said[0]["taken"] >= 1
    assert said[0]["gave_up"]


if __name__ == "__main__":
    play_match(*sys.argv[1:])
