"""The command ``rollback serve``: how it ends, and what it keeps."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import rollback_py as rb
from rollback_py import _rollback as native
from rollback_py.cli import main

LOCALHOST = Path(__file__).parent / "localhost"


def started(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server; say where it listens."""
    command = [sys.executable, "-m", "rollback_py", "serve", "--json", *arguments]
    serve = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert serve.stdout is not None
    return serve, json.loads(serve.stdout.readline())["address"]


def complete(room: native.Room) -> native.Room:
    while not room.wait(1.0):
        pass
    return room


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]
)
def test_a_server_that_is_told_to_stop_says_so_and_ends_well(
    number: signal.Signals, name: str
) -> None:
    serve, address = started("--listen", "127.0.0.1:0")
    serve.send_signal(number)
    told, errors = serve.communicate(timeout=60)
    assert json.loads(told) == {"event": "stopped", "by": name}
    assert (serve.returncode, errors) == (0, "")
    host, _, port = address.rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=10)


def test_who_plays_is_known_to_a_server_that_was_killed_and_keeps_it(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    serve, address = started("--listen", "127.0.0.1:0", *state)
    link = f"ws://{address}/room"
    stays, lost = (complete(room) for room in [native.Room(link) for _ in range(2)])
    token, session = lost.token, lost.session
    lost.close(leave=False)
    serve.kill()
    serve.communicate()
    serve, _ = started("--listen", address, *state)
    try:
        back = complete(native.Room(link, token=token))
        assert (back.local, back.life, back.session) == (1, 1, session)
        back.close()
        stays.close()
    finally:
        serve.kill()
        serve.communicate()


def test_a_file_that_keeps_something_else_is_named_and_stays(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    diary.write_text("dear diary")
    with pytest.raises(rb.RollbackError, match="diary: this is no file of groups"):
        rb.Server("127.0.0.1:0", state_file=diary)
    assert diary.read_text() == "dear diary"


def test_links_are_secure_with_a_certificate_and_its_key() -> None:
    # Signed by itself, for localhost, and of no other use.
    chain, key = LOCALHOST / "chain.pem", LOCALHOST / "key.pem"
    serve, address = started(
        *("--listen", "127.0.0.1:0", "--tls-certificate", str(chain), "--tls-key", str(key))
    )
    try:
        host, _, port = address.rpartition(":")
        context = ssl.create_default_context(cafile=chain)
        with (
            socket.create_connection((host, int(port)), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert secure.recv(12) == b"HTTP/1.1 200"
    finally:
        serve.kill()
        serve.communicate()


def test_a_certificate_without_its_key_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    chain = str(LOCALHOST / "chain.pem")
    assert main(["serve", "--tls-certificate", chain]) == 2
    assert "--tls-certificate and --tls-key: expected both or none" in capsys.readouterr().err
    with pytest.raises(rb.RollbackError, match=r"nowhere\.pem: "):
        rb.Server("127.0.0.1:0", tls=(chain, "nowhere.pem"))
