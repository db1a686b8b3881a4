"""Pickles and names of code in every place that others can reach: none is loaded, imported or run.

What reads them runs in processes of its own, where an audit hook and patched functions tell of
every attempt. This file is also the program of those processes.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import io
import json
import marshal
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# Far longer than any of the processes takes.
TIMEOUT_S = 180.0

# What a payload makes when it is loaded or run, in the folder of the test.
MARKER = "marker"

# A module that makes the marker when it is imported.
EVIL_FACTORY = "evil_factory:make"


class _Runs:
    """Runs a command when its pickle is loaded."""

    def __reduce__(self):
        return os.system, (f"touch {MARKER}",)


class _Opens:
    """Makes a file when its pickle is loaded."""

    def __reduce__(self):
        return open, (MARKER, "w")


class _Executes:
    """Runs Python when its pickle is loaded."""

    def __reduce__(self):
        return exec, (f"open({MARKER!r}, 'w')",)


PAYLOADS = [
    *(
        pickle.dumps(kind(), protocol)
        for kind in (_Runs, _Opens, _Executes)
        for protocol in (0, 2, 5)
    ),
    marshal.dumps(compile(f"open({MARKER!r}, 'w')", "payload", "exec")),
    f"__import__('os').system('touch {MARKER}')".encode(),
    b"!!python/object/apply:os.system ['touch marker']",
]

# The same as text, each byte a character; and one that fits a name, 64 bytes without control codes.
TEXTS = [payload.decode("latin1") for payload in PAYLOADS]
NAME = base64.b64encode(pickle.dumps(_Opens(), 2)).decode()


# -- what the processes share ---------------------------------------------------------------------


class Watch:
    """Notes every attempt to load a pickle or code, from `start` on."""

    EVENTS = (
        "code.__new__",
        "compile",
        "exec",
        "import",
        "marshal.load",
        "marshal.loads",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.system",
        "pickle.find_class",
        "subprocess.Popen",
    )

    def __init__(self):
        self.found = []
        self.is_watching = False
        sys.addaudithook(self._hear)
        for module, name in (
            (pickle, "load"),
            (pickle, "loads"),
            (pickle, "Unpickler"),
            (marshal, "load"),
            (marshal, "loads"),
            (builtins, "eval"),
            (builtins, "exec"),
        ):
            setattr(module, name, self._noting(getattr(module, name), f"{module.__name__}.{name}"))

    def start(self):
        self.is_watching = True

    def _hear(self, event, arguments):
        if self.is_watching and event in self.EVENTS:
            self.found.append(f"{event} {arguments!r:.200}")

    def _noting(self, function, name):
        def noting(*arguments, **named):
            if self.is_watching:
                self.found.append(name)
            return function(*arguments, **named)

        return noting


def say(**line):
    """Tell the test something."""
    print(json.dumps(line), flush=True)


# -- recordings -----------------------------------------------------------------------------------


def make_env():
    """Make an environment whose infos are payloads."""
    import recorded_envs

    class Blobs(recorded_envs.Parallel):
        def info(self, agent):
            payload = self.frame % len(PAYLOADS)
            return {TEXTS[payload]: PAYLOADS[payload], "text": TEXTS[payload]}

    return Blobs()


def forged_files(folder, honest):
    """Write recordings that hold payloads, and payloads that pretend to be recordings."""
    import rollback_py as rb
    from rollback_py import _rollback
    from rollback_py.environment import EnvironmentDigest, Factory

    sound = []
    for number, text in enumerate(TEXTS):
        game = rb.EnvGame(make_env)
        game.reset(1)
        facts = EnvironmentDigest.of(Factory.from_callable(make_env), game.env).must_match
        facts = [fact for fact in facts if fact[0] not in ("factory", "arguments")]
        _rollback.record_offline(
            game,
            lambda: [(b"\x00", 0), (b"\x01", 0)],
            path=str(folder / f"sound{number}.rbk"),
            seed=1,
            frames=15,
            config=rb.offline._ALONE | {"fps": 30, "players": 2, "idle_input": b"\x00"},
            participant=text,
            must_match=[("factory", EVIL_FACTORY), ("arguments", text), (text, text), *facts],
            may_differ=[(text, text)],
        )
        game.close()
        sound.append(folder / f"sound{number}.rbk")
    whole = honest.read_bytes()
    for number, payload in enumerate(PAYLOADS):
        for kind, content in (
            ("alone", payload),
            ("opened", whole[:8] + payload),
            ("behind", whole + payload),
            ("within", whole[:300] + payload + whole[300:]),
            ("over", whole[:40] + payload + whole[40 + len(payload) :]),
        ):
            path = folder / f"{kind}{number}.rbk"
            path.write_bytes(content)
    return sound, sorted(path for path in folder.glob("*.rbk") if path not in sound)


def read_in_every_way(path, honest):
    """Do with a recording what can be done with one; True if it could be read."""
    import rollback_py as rb
    from rollback_py import cli, report

    try:
        recording = rb.Recording.open(path)
    except rb.RollbackError:
        for command in (["compare", path, honest], ["verify", path, "--env", "recorded_envs:odd"]):
            with contextlib.redirect_stderr(io.StringIO()):
                assert cli.main([str(word) for word in command]) == 2
        return False
    repr((recording, recording.players, recording.participants, recording.must_match))
    repr((recording.may_differ, recording.config, recording.end, recording.digest))
    frames = [(frame.frame, frame.actions, frame.output) for frame in recording.frames()]
    assert len(frames) == recording.frame_count
    recording.compare(honest)
    assert recording.verify(make_env).frames == 15
    recording.verify("recorded_envs:odd")
    recording.to_polars()
    recording.to_pandas()
    report.Course.of(path)
    with contextlib.redirect_stdout(io.StringIO()):
        for command in (["compare", path, honest], ["export", path, path.with_suffix(".parquet")]):
            assert cli.main([str(word) for word in command]) in (0, 3, 4)
    return True


def read_recordings(folder):
    """Read hostile recordings under the watch, after an honest one without."""
    import rollback_py as rb

    watch = Watch()
    honest = rb.record_offline(make_env, None, 1, 15, folder / "honest" / "a.rbk").path
    sound, broken = forged_files(folder, honest)
    assert read_in_every_way(honest, honest)
    noise = honest.with_name("noise.rbk")
    noise.write_bytes(b"noise")
    assert not read_in_every_way(noise, honest)
    watch.start()
    read = [read_in_every_way(path, honest) for path in sound]
    refused = [read_in_every_way(path, honest) for path in broken]
    found = list(watch.found)
    participants = [rb.Recording.open(path).participants for path in sound]
    say(read=read.count(True), refused=refused.count(False), found=found, texts=participants)


# -- the server and a match -----------------------------------------------------------------------


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
    honest = {"protocol_version": 3, "room": room, "incarnation": "0" * 16, "settings": ""}
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


def load_a_pickle():
    """Do what must never happen, for the test of the tests."""
    watch = Watch()
    watch.start()
    pickle.loads(PAYLOADS[0])
    say(found=watch.found)


# -- the tests ------------------------------------------------------------------------------------


def start(folder, *arguments):
    """Start this file as a program in `folder`."""
    evil = folder / "evil_factory.py"
    evil.write_text(f"open({MARKER!r}, 'w')\ndef make(): raise SystemExit\n")
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )


def last_line(process):
    """Wait for a program and return what it said last."""
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def test_a_pickle_that_is_loaded_is_noticed(tmp_path):
    found = last_line(start(tmp_path, "load"))["found"]
    assert (tmp_path / MARKER).exists()
    assert {event.split()[0] for event in found} == {
        "pickle.loads",
        "pickle.find_class",
        "os.system",
    }


def test_recordings_with_payloads_are_read_without_loading_any(tmp_path):
    (tmp_path / "honest").mkdir()
    said = last_line(start(tmp_path, "recordings"))
    assert said["found"] == []
    assert not (tmp_path / MARKER).exists()
    assert said["read"] == len(PAYLOADS)
    assert said["refused"] == 5 * len(PAYLOADS)
    assert said["texts"] == [[text] for text in TEXTS]


def test_a_server_and_a_match_with_payloads_in_every_field_load_none(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first = start(folders[0], "match")
    try:
        assert first.stdout is not None
        second = start(folders[1], "match", json.loads(first.stdout.readline())["address"])
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
    roles = {"load": load_a_pickle, "match": play_match}
    if sys.argv[1] == "recordings":
        read_recordings(Path.cwd())
    else:
        roles[sys.argv[1]](*sys.argv[2:])
