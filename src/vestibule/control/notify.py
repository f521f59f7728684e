"""What systemd is told, and what it passes on: sd_notify(3) and sd_listen_fds(3), without its library.

Facts: NOTIFY_SOCKET names a datagram socket; a leading `@` stands for the zero byte of an abstract name. LISTEN_FDS sockets start
at descriptor 3, belong to the process LISTEN_PID and are named by LISTEN_FDNAMES, joined by `:`; a socket without a name is called
`unknown` there.

Rules: both are taken out of the environment once read, so that no worker believes them to be its own.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping

_FIRST_FD = 3


class Notifier:
    """Tells the service manager how far we are; does nothing where there is none."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        path = environment.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path

    def ready(self, status: str) -> None:
        """Say that we serve, after a start or a reload."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` must follow, whatever becomes of it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def succeeded(self, pid: int) -> None:
        """Say which process is the service from now on: only our word for it counts."""
        self._send(f"MAINPID={pid}")

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return an environment in which a process may speak for the service."""
        if not self._address:
            return dict(environment)
        return {**environment, "NOTIFY_SOCKET": self._address.replace("\0", "@", 1)}

    def stopping(self) -> None:
        """Say that we are about to end."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            try:
                sock.sendto(text.encode(), self._address)
            except OSError:
                # The manager is gone or busy; it will ask in its own ways.
                pass


def take_inherited(environment: MutableMapping[str, str], pid: int) -> dict[str, list[socket.socket]]:
    """Return the sockets passed to the process `pid` by name, and take them out of the environment."""
    owner = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    inherited: dict[str, list[socket.socket]] = {}
    if owner != str(pid) or not count.isascii() or not count.isdigit():
        return inherited
    for index in range(int(count)):
        name = names[index] if index < len(names) and names[index] else "unknown"
        sock = socket.socket(fileno=_FIRST_FD + index)
        sock.set_inheritable(False)
        inherited.setdefault(name, []).append(sock)
    return inherited
