"""The command ``rollback serve``: how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]
)
def test_a_server_that_is_told_to_stop_says_so_and_ends_well(
    number: signal.Signals, name: str
) -> None:
    command = [sys.executable, "-m", "rollback_py", "serve", "--listen", "127.0.0.1:0", "--json"]
    serve = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert serve.stdout is not None
    serving = json.loads(serve.stdout.readline())
    serve.send_signal(number)
    told, errors = serve.communicate(timeout=60)
    assert json.loads(told) == {"event": "stopped", "by": name}
    assert (serve.returncode, errors) == (0, "")
    host, _, port = serving["address"].rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=10)
