"""Connecting without blocking: every address of a server, the next one started before the last gave up.

Facts: a host may have addresses of both families, of which one leads nowhere. Waiting for the kernel's
time-out would take minutes; starting the next attempt after 250 ms costs nothing (RFC 8305 5, 8).

Rules: exactly one of `on_dialed` and `on_dial_failed` is called, never from inside `start`.

Not here: names (the control process resolves them), TLS (`transport.py`), pools (`proxy/pool.py`).
"""

import os
import socket
from errno import EAGAIN, ECONNREFUSED, EINPROGRESS, ENOENT
from typing import Final

from mypy_extensions import trait

from vestibule.fault import (
    UPSTREAM_REFUSED,
    UPSTREAM_TIMEOUT_CONNECT,
    UPSTREAM_UNREACHABLE,
    UPSTREAM_UNRESOLVED,
    Fault,
)
from vestibule.net.reactor import WRITE, Later, Pollable, Reactor
from vestibule.net.timers import Deadline, Timed

# RFC 8305 5: the recommended delay between attempts.
_NEXT_AFTER_MS: Final = 250

# IP_BIND_ADDRESS_NO_PORT: the port is chosen when it is known where to, so one may serve for many servers.
_PORT_LATER: Final = 24


@trait
class Dialer:
    """Who wants the connection."""

    def on_dialed(self, sock: socket.socket, before: Pollable) -> None:
        """Connected. The reactor knows the descriptor as `before`'s."""
        raise NotImplementedError

    def on_dial_failed(self, fault: Fault) -> None:
        raise NotImplementedError


class Endpoint:
    """One address to connect to: an IP address with a port, or a unix socket's path. `local` is our own to connect from, if it is said."""

    def __init__(self, family: int, host: str, port: int) -> None:
        self.family = family
        self.host = host
        self.port = port
        self.local = ""

    def text(self) -> str:
        if self.family == socket.AF_UNIX:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoints_of(addresses: list[str], port: int) -> list[Endpoint]:
    """Make endpoints of IP addresses, the families taking turns so that a dead one costs one delay only."""
    first: list[Endpoint] = []
    second: list[Endpoint] = []
    for address in addresses:
        family = int(socket.AF_INET6 if ":" in address else socket.AF_INET)
        row = first if not first or first[0].family == family else second
        row.append(Endpoint(family, address, port))
    mixed: list[Endpoint] = []
    for i in range(max(len(first), len(second))):
        mixed.extend(first[i : i + 1])
        mixed.extend(second[i : i + 1])
    return mixed


class _Attempt(Pollable):
    """One socket on its way."""

    def __init__(self, dial: "Dial", sock: socket.socket, endpoint: Endpoint) -> None:
        super().__init__(sock.fileno())
        self.dial: Dial | None = dial
        self.sock = sock
        self.endpoint = endpoint

    def on_readable(self) -> None:
        """It failed: reading was not asked for, and an error is reported as readable and comes before all else."""
        if self.dial is not None:
            self.dial.on_attempt(self, self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def on_writable(self) -> None:
        if self.dial is not None:
            self.dial.on_attempt(self, 0)

    def close_fd(self) -> None:
        self.sock.close()


class Dial(Timed, Later):
    """One connection being made."""

    def __init__(self, reactor: Reactor, dialer: Dialer, endpoints: list[Endpoint], limit_ms: int) -> None:
        self._reactor = reactor
        self._dialer: Dialer | None = dialer
        self._endpoints = endpoints
        self._limit_ms = limit_ms
        self._until_ms = reactor.now_ms + limit_ms
        self._deadline = Deadline(self)
        self._attempts: list[_Attempt] = []
        self._next = 0
        self._fault: Fault | None = None

    def start(self) -> None:
        """Begin. The outcome comes in a later turn, or at the end of this one."""
        self._reactor.call_later(self)
        self._try_next()

    def on_turn(self) -> None:
        """Report a failure that was known at once."""
        if self._dialer is not None and not self._attempts and self._next >= len(self._endpoints):
            self._fail(self._fault or Fault(UPSTREAM_UNRESOLVED))

    def _try_next(self) -> None:
        """Start the next address that can be started."""
        while self._next < len(self._endpoints):
            endpoint = self._endpoints[self._next]
            self._next += 1
            if self._begin(endpoint):
                break
        left = self._until_ms - self._reactor.now_ms
        wait = min(_NEXT_AFTER_MS, left) if self._next < len(self._endpoints) else left
        self._reactor.timers.arm(self._deadline, self._reactor.now_ms + max(wait, 1))

    def _begin(self, endpoint: Endpoint) -> bool:
        try:
            sock = socket.socket(endpoint.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            self._fault = fault_of(error.errno or 0, endpoint)
            return False
        if endpoint.family == socket.AF_UNIX:
            code = sock.connect_ex(endpoint.host)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = bind_local(sock, endpoint) if endpoint.local else 0
            if code == 0:
                code = sock.connect_ex((endpoint.host, endpoint.port))
        if code not in (0, EINPROGRESS):
            # EAGAIN from a unix socket: its backlog is full, which is as good as refused.
            sock.close()
            self._fault = fault_of(code, endpoint)
            return False
        attempt = _Attempt(self, sock, endpoint)
        self._attempts.append(attempt)
        self._reactor.add(attempt, WRITE)
        return True

    def on_attempt(self, attempt: _Attempt, code: int) -> None:
        """One attempt came to an end."""
        dialer = self._dialer
        if dialer is None:
            return
        self._attempts.remove(attempt)
        attempt.dial = None
        if code == 0:
            self._stop()
            dialer.on_dialed(attempt.sock, attempt)
            return
        self._fault = fault_of(code, attempt.endpoint)
        self._reactor.doom(attempt)
        if self._next < len(self._endpoints):
            self._try_next()
        if not self._attempts and self._next >= len(self._endpoints):
            self._fail(self._fault)

    def on_deadline(self) -> None:
        if self._dialer is None:
            return
        if self._reactor.now_ms >= self._until_ms:
            self._fail(Fault(UPSTREAM_TIMEOUT_CONNECT, f"{self._limit_ms} ms (timeouts.connect)"))
        else:
            self._try_next()

    def cancel(self) -> None:
        """Stop; neither outcome will be reported."""
        self._stop()

    def _fail(self, fault: Fault) -> None:
        dialer = self._dialer
        self._stop()
        if dialer is not None:
            dialer.on_dial_failed(fault)

    def _stop(self) -> None:
        self._dialer = None
        self._deadline.drop()
        for attempt in self._attempts:
            attempt.dial = None
            self._reactor.doom(attempt)
        self._attempts.clear()


def bind_local(sock: socket.socket, endpoint: Endpoint) -> int:
    """Have a socket connect from our own address that its endpoint names; return the number of an error, or 0."""
    try:
        sock.setsockopt(socket.IPPROTO_IP, _PORT_LATER, 1)
        sock.bind((endpoint.local, 0))
    except OSError as error:
        return error.errno or 0
    return 0


def fault_of(code: int, endpoint: Endpoint) -> Fault:
    """Return the fault that an error of connecting is."""
    detail = f"{endpoint.text()}: {os.strerror(code)}"
    return Fault(UPSTREAM_REFUSED if code in (ECONNREFUSED, ENOENT, EAGAIN) else UPSTREAM_UNREACHABLE, detail)
