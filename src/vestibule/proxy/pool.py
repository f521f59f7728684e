"""Connections to one upstream server: kept, made, waited for.

Facts: the server closes an idle connection when it likes; Node does after 5 s. Who closes first must be
us, or a request meets a closed door. The connection used last is the one most surely alive, so idle
ones are a stack.

Rules
  1. A connection is idle here, serving an exchange, or gone; never two of these.
  2. A request that cannot be repeated gets a connection that was looked at this very moment.
  3. Waiting is first come, first served, and ends.
  4. Connections that carry several requests (HTTP/2) are shared: the fullest use of one comes before another. What is counted and
     limited there are requests.

Not here: which server (`upstream.py`), retries (`upstream.py`).
"""

import socket
import ssl
from collections import deque
from typing import Final

from vestibule.contract import UP
from vestibule.exchange import Exchange
from vestibule.fault import UPSTREAM_BUSY, UPSTREAM_TIMEOUT_CONNECT, UPSTREAM_TLS, UPSTREAM_UNREACHABLE, UPSTREAM_UNRESOLVED, Fault
from vestibule.http.fields import FieldsTable
from vestibule.http.h1 import HeadLimits
from vestibule.http.proxy_protocol import proxy_header
from vestibule.net.connect import Dial, Dialer, Endpoint, endpoints_of
from vestibule.net.reactor import Pollable, Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.net.transport import Owner, PlainTransport, TlsTransport, Transport
from vestibule.proxy.raw import RawUp
from vestibule.proxy.up_h1 import H1UpConnection, Keeper
from vestibule.proxy.up_h2 import H2UpConnection, Sharer

# Methods whose repetition does no harm (RFC 9110 9.2.2).
IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PROPFIND", b"REPORT"))


class AddressBook:
    """Addresses of upstream names, as the control process last told them."""

    def __init__(self) -> None:
        self.version = 0
        self._names: dict[str, list[str]] = {}

    def update(self, name: str, addresses: list[str]) -> None:
        """Learn the addresses of a name; none means that it does not resolve."""
        self._names[name] = addresses
        self.version += 1

    def find(self, name: str) -> list[str]:
        """Return what is known; an address stands for itself."""
        return self._names.get(name, [])


class Target:
    """Where and how to connect: a host and port or a unix socket, plain or TLS.

    `announce` is the version of the PROXY header that connections begin with, 0 for none. `raw` connections carry bytes, not HTTP;
    `h2` ones HTTP/2.
    """

    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        tls: ssl.SSLContext | None,
        tls_name: str,
        announce: int = 0,
        raw: bool = False,
        h2: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.path = path
        self.tls = tls
        self.tls_name = tls_name
        self.announce = announce
        self.raw = raw
        self.h2 = h2
        self.is_address = _is_address(host)

    def text(self) -> str:
        """Return the server as logs name it."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def endpoints(self, book: AddressBook) -> list[Endpoint]:
        if self.path:
            return [Endpoint(int(socket.AF_UNIX), self.path, 0)]
        return endpoints_of([self.host] if self.is_address else book.find(self.host), self.port)


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
            return True
        except OSError:
            continue
    return False


class PoolLimits:
    """How many connections, how long: the pool part of an upstream's configuration. -1 is no limit."""

    def __init__(
        self, idle_ms: int = 4_000, idle_most: int = 64, connections_most: int = -1, waiting_most: int = 1_024, wait_ms: int = 30_000
    ) -> None:
        self.idle_ms = idle_ms
        self.idle_most = idle_most
        self.connections_most = connections_most
        self.waiting_most = waiting_most
        self.wait_ms = wait_ms


class _Waiter(Timed):
    """An exchange that waits for a connection to be free."""

    def __init__(self, pool: "Pool", ex: Exchange) -> None:
        self.pool = pool
        self.ex = ex
        self.deadline = Deadline(self)

    def on_deadline(self) -> None:
        self.pool.give_up(self)


class Pool(Keeper, Sharer):
    """All connections of this worker to one server. Outlives reloads."""

    def __init__(
        self, reactor: Reactor, target: Target, book: AddressBook, limits: PoolLimits, head_limits: HeadLimits, table: FieldsTable
    ) -> None:
        self.reactor = reactor
        self.target = target
        self.limits = limits
        self.head_limits = head_limits
        self.table = table
        self.name = target.text()
        self.connections = 0  # made or being made
        self.closing = False
        self._book = book
        self._idle: list[H1UpConnection] = []
        self._shared: list[H2UpConnection] = []
        self._opening: list[_Opening] = []
        self._waiting: deque[_Waiter] = deque()

    def idle(self) -> int:
        return len(self._idle)

    def load(self) -> int:
        """Return how many exchanges it serves, or that wait for it."""
        if self.target.h2:
            return self._carried() + len(self._waiting)
        return self.connections - len(self._idle) + len(self._waiting)

    def is_full(self) -> bool:
        """Tell whether one more request would have to wait."""
        most = self.limits.connections_most
        if self.target.h2:
            return 0 <= most <= self._carried()
        return 0 <= most <= self.connections and not self._idle

    # ---- for exchanges

    def acquire(self, ex: Exchange, fresh: bool) -> None:
        """Give the exchange a connection, now or later, or a fault. `fresh` asks for a new one."""
        if self.target.h2:
            self._acquire_shared(ex)
            return
        if self.target.announce:
            self._acquire_announced(ex, fresh)
            return
        if not fresh:
            careful = ex.request.method not in IDEMPOTENT
            while self._idle:
                connection = self._idle.pop()
                if careful and not connection.is_usable():
                    connection.retire()
                    continue
                connection.serve(ex, self.name)
                return
        for opening in self._opening:
            if opening.ex is None and not self.target.raw:
                opening.ex = ex  # it was begun for an exchange that is over: a storm of cancels must not dial again and again
                return
        most = self.limits.connections_most
        if 0 <= most <= self.connections:
            self._wait(ex)
            return
        self._open(ex)

    # ---- shared connections (rule 4)

    def _carried(self) -> int:
        """Return how many exchanges the shared connections carry, or are made for."""
        count = 0
        for connection in self._shared:
            count += len(connection.streams)
        for opening in self._opening:
            if opening.ex is not None:
                count += 1
        return count

    def _roomy(self, careful: bool) -> H2UpConnection | None:
        """Return a connection that can carry one more."""
        for connection in list(self._shared):
            if not connection.has_room():
                continue
            if careful and not connection.streams and not connection.is_usable():
                connection.leave()  # rule 2
                continue
            return connection
        return None

    def _acquire_shared(self, ex: Exchange) -> None:
        if self._waiting or self.is_full():
            self._wait(ex)
            return
        connection = self._roomy(ex.request.method not in IDEMPOTENT)
        if connection is not None:
            connection.serve(ex, self.name)
            return
        for opening in self._opening:
            if opening.ex is None:
                opening.ex = ex
                return
        if self._is_making():
            self._wait(ex)  # it will have room for many
            return
        self._open(ex)

    def _is_making(self) -> bool:
        """Tell whether a connection is being made, or has not yet heard how many requests the server takes at a time."""
        return bool(self._opening) or True in [connection.is_new() for connection in self._shared]

    def _serve_waiting(self) -> None:
        """Give shared connections those who wait, as far as there is room."""
        while self._waiting and not self.is_full():
            connection = self._roomy(self._waiting[0].ex.request.method not in IDEMPOTENT)
            if connection is None and self._is_making():
                return
            waiter = self._waiting.popleft()
            waiter.deadline.drop()
            if connection is None:
                self._open(waiter.ex)
                return
            connection.serve(waiter.ex, self.name)

    def freed(self, connection: H2UpConnection) -> None:
        self._serve_waiting()
        if self.closing and not connection.streams:
            connection.leave()

    def strike_off_shared(self, connection: H2UpConnection) -> None:
        self.connections -= 1
        if connection in self._shared:
            self._shared.remove(connection)
        self._serve_waiting()

    def _acquire_announced(self, ex: Exchange, fresh: bool) -> None:
        """A connection that began with a PROXY header serves the client it named, and nobody else."""
        header = self._header(ex)
        for connection in reversed(self._idle):
            if connection.announced == header and not fresh:
                self._idle.remove(connection)
                if ex.request.method in IDEMPOTENT or connection.is_usable():
                    connection.serve(ex, self.name)
                    return
                connection.retire()
                break
        most = self.limits.connections_most
        if 0 <= most <= self.connections:
            if not self._idle:
                self._wait(ex)
                return
            self._idle.pop(0).retire()  # kept for another client
        self._open(ex)

    def _header(self, ex: Exchange) -> bytes:
        """Return the PROXY header that tells the server of the client of an exchange."""
        client = ex.client
        port = client.port if ex.client_address == client.address else 0
        return proxy_header(self.target.announce, ex.client_address, port, client.local_address, client.local_port)

    def cancel(self, ex: Exchange) -> None:
        """The exchange is over: whatever it waited for goes to somebody else."""
        for opening in self._opening:
            if opening.ex is ex:
                opening.ex = None
                return
        for waiter in self._waiting:
            if waiter.ex is ex:
                waiter.deadline.drop()
                self._waiting.remove(waiter)
                return

    def _wait(self, ex: Exchange) -> None:
        if len(self._waiting) >= self.limits.waiting_most:
            ex.on_fault(UP, Fault(UPSTREAM_BUSY, f"{self.name}: {len(self._waiting)} requests wait already"))
            return
        waiter = _Waiter(self, ex)
        self._waiting.append(waiter)
        self.reactor.timers.arm(waiter.deadline, self.reactor.now_ms + self.limits.wait_ms)

    def give_up(self, waiter: _Waiter) -> None:
        """A waiter's time is over."""
        waiter.deadline.drop()
        self._waiting.remove(waiter)
        waiter.ex.on_fault(UP, Fault(UPSTREAM_BUSY, f"{self.name}: none was free within {self.limits.wait_ms} ms"))

    def _open(self, ex: Exchange | None) -> None:
        self.connections += 1
        opening = _Opening(self, ex)
        self._opening.append(opening)
        if self.target.announce and ex is not None:
            opening.announced = self._header(ex)
        opening.start(self.target.endpoints(self._book))

    def _serve_next(self) -> None:
        """A place is free: make a connection for the one who waits longest."""
        if self.target.h2:
            self._serve_waiting()
            return
        most = self.limits.connections_most
        if self._waiting and (most < 0 or self.connections < most):
            waiter = self._waiting.popleft()
            waiter.deadline.drop()
            self._open(waiter.ex)

    # ---- from connections

    def opened(self, opening: "_Opening", transport: Transport) -> None:
        """A connection is made and secured."""
        self._opening.remove(opening)
        ex = opening.ex
        if self.target.raw:
            self._opened_raw(opening, transport)
            return
        if self.target.h2:
            self._opened_shared(opening, transport)
            return
        connection = H1UpConnection(self.reactor, transport, self, self.head_limits, self.table)
        connection.announced = opening.announced
        transport.owner = connection
        transport.patient = True
        if ex is not None:
            ex.connect_ms = self.reactor.now_ms - opening.began_ms
            connection.serve(ex, self.name)
        else:
            self.take_back(connection)

    def _opened_raw(self, opening: "_Opening", transport: Transport) -> None:
        ex = opening.ex
        if ex is None:
            transport.abort()
            self.let_go()
            return
        ex.connect_ms = self.reactor.now_ms - opening.began_ms
        raw = RawUp(self.reactor, transport, self)
        transport.owner = raw
        raw.serve(ex, self.name)

    def _opened_shared(self, opening: "_Opening", transport: Transport) -> None:
        ex = opening.ex
        scheme = b"http" if self.target.tls is None else b"https"
        connection = H2UpConnection(self.reactor, transport, self, self.head_limits, self.table, scheme, self.limits.idle_ms)
        transport.owner = connection
        self._shared.append(connection)
        if ex is not None:
            ex.connect_ms = self.reactor.now_ms - opening.began_ms
            connection.serve(ex, self.name)
        self._serve_waiting()

    def failed(self, opening: "_Opening", fault: Fault) -> None:
        """A connection could not be made."""
        self._opening.remove(opening)
        self.connections -= 1
        ex = opening.ex
        if ex is not None:
            ex.on_fault(UP, fault)
        if self.target.h2 and not self._shared:
            # They waited for this connection, and another would not come about either.
            for waiter in list(self._waiting):
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                    waiter.deadline.drop()
                    waiter.ex.on_fault(UP, fault)
        self._serve_next()

    def take_back(self, connection: H1UpConnection) -> None:
        if self._waiting:
            if connection.announced:
                connection.retire()  # it is one client's, and another waits; `strike_off` makes room
                return
            waiter = self._waiting.popleft()
            waiter.deadline.drop()
            connection.serve(waiter.ex, self.name)
            return
        if self.closing or len(self._idle) >= self.limits.idle_most:
            connection.retire()
            return
        self._idle.append(connection)
        self.reactor.timers.arm(connection.deadline, self.reactor.now_ms + self.limits.idle_ms)

    def strike_off(self, connection: H1UpConnection) -> None:
        self.connections -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        self._serve_next()

    def let_go(self) -> None:
        self.connections -= 1
        self._serve_next()

    def close(self) -> None:
        """Nobody names this server any more: close what is idle now, the rest when it is free."""
        self.closing = True
        for connection in list(self._idle):
            connection.retire()
        for shared in list(self._shared):
            shared.leave()


class _Opening(Dialer, Owner):
    """A connection being made for an exchange that may go away meanwhile."""

    def __init__(self, pool: Pool, ex: Exchange | None) -> None:
        self.pool = pool
        self.ex = ex
        self.began_ms = pool.reactor.now_ms
        self.limit_ms = ex.timeouts.connect_ms if ex is not None else 5_000
        self.secure: TlsTransport | None = None
        self.deadline: Deadline | None = None
        self.announced = b""

    def start(self, endpoints: list[Endpoint]) -> None:
        Dial(self.pool.reactor, self, endpoints, self.limit_ms).start()

    def on_dialed(self, sock: socket.socket, before: Pollable) -> None:
        pool = self.pool
        target = pool.target
        if self.announced and not self._announce(sock, before):
            return
        if target.tls is None:
            transport = PlainTransport(pool.reactor, sock, None)
            transport.start(before)
            pool.opened(self, transport)
            return
        self.secure = secure = TlsTransport(pool.reactor, sock, self, target.tls, False, target.tls_name or None)
        self.deadline = Deadline(_Patience(self))
        pool.reactor.timers.arm(self.deadline, self.began_ms + self.limit_ms)
        secure.start(before)

    def _announce(self, sock: socket.socket, before: Pollable) -> bool:
        """Send the PROXY header, which an empty socket buffer takes whole; return whether it did."""
        try:
            if sock.send(self.announced) == len(self.announced):
                return True
        except OSError:
            pass  # the server is gone again
        self.pool.reactor.doom(before)
        self.pool.failed(self, Fault(UPSTREAM_UNREACHABLE, f"{self.pool.name}: the PROXY header was not taken"))
        return False

    def on_dial_failed(self, fault: Fault) -> None:
        if fault.kind is UPSTREAM_UNRESOLVED:
            fault = Fault(UPSTREAM_UNRESOLVED, self.pool.target.host)
        self.pool.failed(self, fault)

    def on_secured(self) -> None:
        if self.deadline is not None:
            self.deadline.drop()
        secure = self.secure
        assert secure is not None
        if self.pool.target.h2 and secure.tls.selected_alpn_protocol() != "h2":
            self._fail(Fault(UPSTREAM_TLS, f"{self.pool.name} does not speak HTTP/2 (ALPN)"))
            return
        self.pool.opened(self, secure)

    def on_data(self, data: bytes) -> None:
        self._fail(Fault(UPSTREAM_TLS, "bytes before the handshake was over"))

    def on_end(self) -> None:
        self._fail(Fault(UPSTREAM_TLS, "closed during the handshake"))

    def on_lost(self, detail: str) -> None:
        self._fail(Fault(UPSTREAM_TLS, f"{self.pool.name}: {detail}"))

    def on_drained(self) -> None:
        """Nothing is written before the handshake is over."""

    def on_stopping(self) -> None:
        """An exchange waits for this connection, and it is given the time to."""

    def on_late(self) -> None:
        self._fail(Fault(UPSTREAM_TIMEOUT_CONNECT, f"TLS, {self.limit_ms} ms (timeouts.connect)"))

    def _fail(self, fault: Fault) -> None:
        if self.deadline is not None:
            self.deadline.drop()
        if self.secure is not None:
            self.secure.abort()
        self.pool.failed(self, fault)


class _Patience(Timed):
    """The time a TLS handshake with an upstream may take."""

    def __init__(self, opening: _Opening) -> None:
        self._opening = opening

    def on_deadline(self) -> None:
        self._opening.on_late()
