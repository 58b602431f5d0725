"""Nothing is sent or fetched: all tests run without a network, and one that tries to reach it fails (`attempts`)."""

import socket
import subprocess
import sys

import pytest


def test_an_attempt_to_reach_the_network_is_seen_here_and_in_other_processes(attempts):
    with pytest.raises(OSError, match="no network in tests"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    code = "import urllib.request; urllib.request.urlopen('http://example.org')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode != 0
    assert attempts.read_text(encoding="utf-8").splitlines() == ["192.0.2.1", "example.org"]
    attempts.unlink()


def test_this_machine_can_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
