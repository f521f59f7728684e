"""Ports for the programs that tests start.

Facts: a port that was free a moment ago is no longer free when the program comes that was to have it, if somebody else was told the
same; some tests take hundreds at once.
Rules: whichever test run of this machine asks, each port is given to one of them alone, until all others were given. They lie below
those that the kernel gives to whoever asks for any.
"""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

SPAN = 16_384


def free_ports(count: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> list[int]:
    """Return so many ports nobody is on now, and nobody else is told of."""
    end = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    begin = max(end - SPAN, 1_024)
    file = Path(tempfile.gettempdir()) / f"vestibule-tests-{os.getuid()}.port"
    with open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+") as last:
        fcntl.flock(last, fcntl.LOCK_EX)
        said = last.read()
        at = int(said) if said.isdigit() else random.SystemRandom().randrange(begin, end)
        ports: list[int] = []
        for _ in range(begin, end):
            if len(ports) == count:
                break
            at = at + 1 if begin <= at + 1 < end else begin
            if is_free(at, kind):
                ports.append(at)
        last.seek(0)
        last.truncate()
        last.write(str(at))
    assert len(ports) == count, f"{len(ports)} ports are free"
    return ports


def is_free(port: int, kind: socket.SocketKind) -> bool:
    """Say whether nobody is on a port."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("", port))
        return True
    return False
