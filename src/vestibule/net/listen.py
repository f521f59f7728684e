"""Accepting connections.

Facts: `accept4` on a ready listener may be asked several times before it would block; each further one
saves a turn. When descriptors run out the connection stays in the kernel's queue and epoll reports it
for ever, so the listener must look away for a while. A client may be gone before it is accepted. A connection has the TCP_NODELAY
of its listener (Linux). Python asks the kernel for the family, type and protocol of a descriptor unless it is told.

Rules: what the kernel has said already is not asked for again: who connected, and to which address if only one is listened on.

Not here: what happens to a connection (`proxy/entry.py`), binding (the control process).
"""

import socket
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Final

from mypy_extensions import trait

from vestibule.net.reactor import READ, Pollable, Reactor
from vestibule.net.timers import Deadline, Timed

# Connections taken in one go: enough to keep up with a burst, few enough not to starve the others.
_AT_ONCE: Final = 16

# How long to look away when there are no descriptors or no memory left.
_PAUSE_MS: Final = 250


@trait
class Acceptor:
    """Who gets the connections."""

    def on_accepted(self, sock: socket.socket, peer: tuple[str, int] | None, local: tuple[str, int] | None) -> None:
        """Take a connection, and both its ends: None is that of a unix socket, and for `local` also one to be asked for."""
        raise NotImplementedError

    def is_full(self) -> bool:
        """Tell whether no more connections are wanted for now."""
        raise NotImplementedError


class Listener(Pollable, Timed):
    """One listening socket. The control process holds it too, and so may other workers."""

    def __init__(self, reactor: Reactor, sock: socket.socket, acceptor: Acceptor) -> None:
        super().__init__(sock.fileno())
        self.shared = True
        self.sock = sock
        self._reactor = reactor
        self._acceptor = acceptor
        self._deadline = Deadline(self)
        self._open = True
        self._family = int(sock.family)
        self._kind = int(sock.type)
        self._local: tuple[str, int] | None = None
        if self._family != socket.AF_UNIX:
            bound = sock.getsockname()
            if bound[0] not in ("0.0.0.0", "::", "::ffff:0.0.0.0"):
                self._local = (bound[0], bound[1])

    def start(self) -> None:
        """Begin to accept."""
        if self._family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reactor.add(self, READ)

    def on_readable(self) -> None:
        for _ in range(_AT_ONCE):
            if self._acceptor.is_full():
                self._look_away()
                return
            try:
                fd, address = self.sock._accept()  # type: ignore[attr-defined]  # the method below accept(), because accept() switches to blocking
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                    self._look_away()
                    return
                continue  # this one is gone already
            sock = socket.socket(self._family, self._kind, self.sock.proto, fileno=fd)
            sock.setblocking(False)
            peer: tuple[str, int] | None = None
            if self._family != socket.AF_UNIX:
                peer = (address[0], address[1])
            self._acceptor.on_accepted(sock, peer, self._local)

    def on_writable(self) -> None:
        """Never asked for."""

    def _look_away(self) -> None:
        self._reactor.want(self, 0)
        self._reactor.timers.arm(self._deadline, self._reactor.now_ms + _PAUSE_MS)

    def on_deadline(self) -> None:
        if self._open:
            self._reactor.want(self, READ)

    def stop(self) -> None:
        """Accept no more; what waits in the kernel's queue stays for others who hold the socket."""
        if self._open:
            self._open = False
            self._deadline.drop()
            self._reactor.doom(self)

    def close_fd(self) -> None:
        self.sock.close()
