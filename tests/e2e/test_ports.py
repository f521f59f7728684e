"""Ports are told to one test alone, however many runs ask at a time."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .ports import free_ports, is_free

CODE = "from tests.e2e.ports import free_ports; print(*free_ports(200))"


def test_nobody_is_told_of_a_port_that_another_was_told_of() -> None:
    root = Path(__file__).parents[2]
    asking = [subprocess.Popen([sys.executable, "-c", CODE], cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = [each.communicate(timeout=60)[0].split() for each in asking]
    told.append([str(port) for port in free_ports(200)])
    assert [len(ports) for ports in told] == [200] * 5
    assert len({port for ports in told for port in ports}) == 1_000


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_in_use_is_none(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        assert not is_free(sock.getsockname()[1], kind)
