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
  5. Where the server may choose its version (ALPN), what it chose for the last connection is what it speaks. Until the first is made, and
     after one failed while there was no other, requests wait for one connection and not for one each. A request for an upgrade has a
     connection that offered HTTP/1.1 alone: few servers take WebSockets over HTTP/2.

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
from vestibule.net.connect import Dial, Dialer, Endpoint, endpoints_of, fault_of
from vestibule.net.datagram import connect_datagrams
from vestibule.net.reactor import Pollable, Reactor
from vestibule.net.timers import Deadline, Timed
from vestibule.net.tls_transport import TlsTransport
from vestibule.net.transport import Owner, PlainTransport, Transport
from vestibule.proxy.keyed import Keying
from vestibule.proxy.raw import RawUp
from vestibule.proxy.udp import UdpUp
from vestibule.proxy.up_h1 import H1UpConnection, Keeper
from vestibule.proxy.up_h2 import H2UpConnection, Sharer

# Methods whose repetition does no harm (RFC 9110 9.2.2).
IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PROPFIND", b"REPORT"))

# What a server speaks.
_UNKNOWN: Final = 0
_H1: Final = 1
_H2: Final = 2


class AddressBook:
    """Addresses of upstream names, as the control process last told them."""

    def __init__(self) -> None:
        self.version = 0
        self._names: dict[str, list[str]] = {}

    def update(self, name: str, addresses: list[str]) -> None:
        """Learn the addresses of a name; none means that it does not resolve."""
        self._names[name] = addresses
        self.version += 1

    def forget(self, name: str) -> None:
        """Forget a name that requests named, or a configuration before."""
        self._names.pop(name, None)

    def names(self) -> list[str]:
        """Return the names that something is known of, or that there is nothing."""
        return list(self._names)

    def find(self, name: str) -> list[str]:
        """Return what is known; an address stands for itself."""
        return self._names.get(name, [])


class Target:
    """Where and how to connect: a host and port or a unix socket, plain or TLS.

    `keyed` says which requests may share a connection, None where all may. `raw` connections carry bytes, not HTTP; `h2` ones HTTP/2.
    With `datagrams` there is a session of its own for each exchange. With `narrow`, which offers HTTP/1.1 alone, the
    server chooses its version from what `tls` offers.
    """

    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        tls: ssl.SSLContext | None,
        tls_name: str,
        keyed: Keying | None = None,
        raw: bool = False,
        h2: bool = False,
        datagrams: bool = False,
        narrow: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.path = path
        self.tls = tls
        self.tls_name = tls_name
        self.keyed = keyed
        self.raw = raw
        self.h2 = h2
        self.datagrams = datagrams
        self.narrow = narrow
        self.is_address = is_address(host)
        self.local = ""  # the address that connections are made from, if it is said

    def text(self) -> str:
        """Return the server as logs name it."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def endpoints(self, book: AddressBook) -> list[Endpoint]:
        if self.path:
            return [Endpoint(int(socket.AF_UNIX), self.path, 0)]
        addresses = [self.host] if self.is_address else book.find(self.host)
        if not self.local:
            return endpoints_of(addresses, self.port)
        found = endpoints_of([each for each in addresses if (":" in each) == (":" in self.local)], self.port)
        for endpoint in found:
            endpoint.local = self.local
        return found


def is_address(host: str) -> bool:
    """Tell whether a host is an IP address and no name."""
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
        self.most = limits.connections_most  # at a time, -1 for any number
        self.closing = False
        self._by_request = target.h2 or target.narrow is not None  # what is counted and limited (rule 4)
        self._keyed = target.keyed
        self._spoken = _H2 if target.h2 else _H1 if target.narrow is None else _UNKNOWN
        self._book = book
        self._idle: list[H1UpConnection] = []
        self._shared: list[H2UpConnection] = []
        self._opening: list[_Opening] = []
        self._waiting: deque[_Waiter] = deque()

    def idle(self) -> int:
        return len(self._idle)

    def load(self) -> int:
        """Return how many exchanges it serves, or that wait for it."""
        if self._by_request:
            return self._carried() + len(self._waiting)
        return self.connections - len(self._idle) + len(self._waiting)

    def waiting(self) -> int:
        """Return how many exchanges wait for a connection to be free."""
        return len(self._waiting)

    def is_full(self) -> bool:
        """Tell whether one more request would have to wait."""
        most = self.most
        if self._by_request:
            return 0 <= most <= self._carried()
        return 0 <= most <= self.connections and not self._idle

    def limit(self, told: int) -> None:
        """Allow so many at a time: 0 is any number, -1 what the configuration says. Those above go when they are free."""
        most = self.limits.connections_most if told < 0 else told or -1
        if most == self.most:
            return
        self.most = most
        while self._idle and self._is_over():
            self._idle.pop(0).retire()
        for _ in range(len(self._waiting)):
            self._serve_next()

    def _is_over(self) -> bool:
        """Tell whether there are more connections than are allowed now; where requests are counted, they are not too many."""
        return not self._by_request and 0 <= self.most < self.connections

    # ---- for exchanges

    def acquire(self, ex: Exchange, fresh: bool) -> None:
        """Give the exchange a connection, now or later, or a fault. `fresh` asks for a new one."""
        if self._by_request:
            if self._waiting or self.is_full() or not self._start(ex, fresh):
                self._wait(ex)
            return
        if self.target.datagrams:
            self._begin_session(ex)
            return
        keyed = self._keyed
        if keyed is not None:
            self._acquire_keyed(ex, fresh, keyed)
            return
        if not fresh:
            if self._idle and ex.request.method in IDEMPOTENT:  # as most are: no call more than must be
                self._idle.pop().serve(ex, self.name)
                return
            if self._serve_idle(ex):
                return
        for opening in self._opening:
            if opening.ex is None and not self.target.raw:
                opening.ex = ex  # it was begun for an exchange that is over: a storm of cancels must not dial again and again
                return
        most = self.most
        if 0 <= most <= self.connections:
            self._wait(ex)
            return
        self._open(ex)

    def _serve_idle(self, ex: Exchange) -> bool:
        """Have an idle connection serve the exchange, if there is one that may (rule 2)."""
        careful = ex.request.method not in IDEMPOTENT
        while self._idle:
            connection = self._idle.pop()
            if careful and not connection.is_usable():
                connection.retire()
                continue
            connection.serve(ex, self.name)
            return True
        return False

    # ---- shared connections, and those that may be (rules 4 and 5)

    def _carried(self) -> int:
        """Return how many exchanges are carried, or have a connection made for them."""
        count = self.connections - len(self._idle) - len(self._shared) - len(self._opening)
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

    def _is_alone(self, ex: Exchange) -> bool:
        """Tell whether the exchange must have a connection of HTTP/1.1, where the server may choose (rule 5)."""
        return self.target.narrow is not None and ex.request.fields.upgrade != b""

    def _start(self, ex: Exchange, fresh: bool) -> bool:
        """Have a connection serve the exchange, or one be made for it; False if it shall wait for one that is being made."""
        alone = self._is_alone(ex)
        if not alone:
            connection = self._roomy(ex.request.method not in IDEMPOTENT)
            if connection is not None:
                connection.serve(ex, self.name)
                return True
        if not fresh and (alone or self._spoken != _H2) and self._serve_idle(ex):
            return True
        for opening in self._opening:
            if opening.ex is None and (opening.narrow or not alone):
                opening.ex = ex
                return True
        if not alone and self._spoken != _H1 and self._is_making():
            return False  # it will have room for many
        self._open(ex)
        return True

    def _is_making(self) -> bool:
        """Tell whether a connection is being made, or has not yet heard how many requests the server takes at a time."""
        for opening in self._opening:
            if not opening.narrow:
                return True
        return True in [connection.is_new() for connection in self._shared]

    def _serve_waiting(self) -> None:
        """Give connections to those who wait, as far as there is room."""
        while self._waiting and not self.is_full():
            waiter = self._waiting.popleft()
            if not self._start(waiter.ex, False):
                self._waiting.appendleft(waiter)
                return
            waiter.deadline.drop()

    def _learn(self, spoken: int) -> None:
        """Note what the server chose for the last connection (rule 5)."""
        self._spoken = spoken
        if spoken == _H1:
            for connection in list(self._shared):
                connection.leave()

    def freed(self, connection: H2UpConnection) -> None:
        self._serve_waiting()
        if self.closing and not connection.streams:
            connection.leave()

    def strike_off_shared(self, connection: H2UpConnection) -> None:
        self.connections -= 1
        self._shared.remove(connection)
        self._serve_waiting()

    def _acquire_keyed(self, ex: Exchange, fresh: bool, keyed: Keying) -> None:
        """Have a connection that the exchange may have serve it (`keyed.py`)."""
        key = keyed.key(ex, keyed.header(ex, False), keyed.server_name(ex, self.target.tls_name))
        for connection in reversed(self._idle):
            if not fresh and connection.key == key and keyed.may_serve(ex, connection.served):
                self._idle.remove(connection)
                if ex.request.method in IDEMPOTENT or connection.is_usable():
                    connection.serve(ex, self.name)
                    return
                connection.retire()
                break
        most = self.most
        if 0 <= most <= self.connections:
            if not self._idle:
                self._wait(ex)
                return
            self._idle.pop(0).retire()  # kept for others
        self._open(ex)

    def _begin_session(self, ex: Exchange) -> None:
        """Give the exchange a socket of its own, at once; nobody waits with datagrams in hand."""
        most = self.limits.connections_most
        if 0 <= most <= self.connections:
            ex.on_fault(UP, Fault(UPSTREAM_BUSY, f"{self.name}: it has {self.connections} sessions"))
            return
        fault = Fault(UPSTREAM_UNRESOLVED, self.target.host)
        for endpoint in self.target.endpoints(self._book):
            try:
                sock = connect_datagrams(endpoint)
            except OSError as error:
                fault = fault_of(error.errno or 0, endpoint)
                continue
            self.connections += 1
            UdpUp(self.reactor, sock, self, b"" if self._keyed is None else self._keyed.header(ex, True)).serve(ex, self.name)
            return
        ex.on_fault(UP, fault)

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

    def _open(self, ex: Exchange) -> None:
        self.connections += 1
        opening = _Opening(self, ex, self._is_alone(ex))
        self._opening.append(opening)
        keyed = self._keyed
        if keyed is not None:
            opening.announced = keyed.header(ex, False)
            opening.name = keyed.server_name(ex, self.target.tls_name)
            opening.key = keyed.key(ex, opening.announced, opening.name)
        opening.start(self.target.endpoints(self._book))

    def _serve_next(self) -> None:
        """A place is free: make a connection for the one who waits longest."""
        if self._by_request:
            self._serve_waiting()
            return
        most = self.most
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
        if self.target.narrow is not None and not opening.narrow:
            self._learn(_H2 if opening.chose_h2 else _H1)
        if self.target.h2 or opening.chose_h2:
            self._opened_shared(opening, transport)
            return
        connection = H1UpConnection(self.reactor, transport, self, self.head_limits, self.table)
        connection.key = opening.key
        transport.owner = connection
        transport.patient = True
        if ex is not None:
            ex.connect_ms = self.reactor.now_ms - opening.began_ms
            connection.serve(ex, self.name)
        else:
            self.take_back(connection)
        if self._by_request:
            self._serve_waiting()

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
        kind = fault.kind  # what a client is told may be another (`Rules.told`)
        ex = opening.ex
        if ex is not None:
            ex.on_fault(UP, fault)
        if self.target.narrow is not None and self.connections == 0:
            self._spoken = _UNKNOWN
        if self._by_request and self._spoken != _H1 and not self._shared and not self._is_making():
            # They waited for this connection, and another would not come about either.
            waiting = self._waiting
            self._waiting = deque()
            for waiter in waiting:
                waiter.deadline.drop()
                waiter.ex.on_fault(UP, Fault(kind, fault.detail, fault.retry))
        self._serve_next()

    def take_back(self, connection: H1UpConnection) -> None:
        if 0 <= self.most < self.connections and not self._by_request:  # `_is_over`, without a call
            connection.retire()
            return
        if self._waiting:
            if self._keyed is not None:
                connection.retire()  # it is for some requests, and another waits; `strike_off` makes room
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


class _Opening(Dialer):
    """A connection being made for an exchange that may go away meanwhile."""

    def __init__(self, pool: Pool, ex: Exchange, narrow: bool) -> None:
        self.pool = pool
        self.ex: Exchange | None = ex
        self.narrow = narrow  # HTTP/1.1 alone is offered
        self.chose_h2 = False
        self.began_ms = pool.reactor.now_ms
        self.limit_ms = ex.timeouts.connect_ms
        self.announced = b""  # the PROXY header it begins with
        self.name = pool.target.tls_name
        self.key = b""

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
        context = target.narrow if self.narrow and target.narrow is not None else target.tls
        secure = TlsTransport(pool.reactor, sock, None, context, False, self.name or None)
        secure.owner = _Handshake(self, secure)
        secure.start(before)

    def _announce(self, sock: socket.socket, before: Pollable) -> bool:
        """Send the PROXY header, which an empty socket buffer takes whole; return whether it did."""
        try:
            sock.sendall(self.announced)
        except OSError:  # the server is gone again
            self.pool.reactor.doom(before)
            self.pool.failed(self, Fault(UPSTREAM_UNREACHABLE, f"{self.pool.name}: the PROXY header was not taken"))
            return False
        return True

    def on_dial_failed(self, fault: Fault) -> None:
        if fault.kind is UPSTREAM_UNRESOLVED:
            fault = Fault(UPSTREAM_UNRESOLVED, self.pool.target.host)
        self.pool.failed(self, fault)


class _Handshake(Owner, Timed):
    """TLS with an upstream, which may take what is left of the time to connect."""

    def __init__(self, opening: _Opening, secure: TlsTransport) -> None:
        self._opening = opening
        self._secure = secure
        self._deadline = Deadline(self)
        opening.pool.reactor.timers.arm(self._deadline, opening.began_ms + opening.limit_ms)

    def on_secured(self) -> None:
        opening = self._opening
        pool = opening.pool
        opening.chose_h2 = self._secure.tls.selected_alpn_protocol() == "h2"
        if pool.target.h2 and not opening.chose_h2:
            self._fail(Fault(UPSTREAM_TLS, f"{pool.name} does not speak HTTP/2 (ALPN)"))
            return
        self._deadline.drop()
        pool.opened(self._opening, self._secure)

    def on_data(self, data: bytes) -> None:
        """Nothing comes before the handshake is over."""

    def on_end(self) -> None:
        """A connection that ends before the handshake is over is lost."""

    def on_lost(self, detail: str) -> None:
        self._fail(Fault(UPSTREAM_TLS, f"{self._opening.pool.name}: {detail}"))

    def on_drained(self) -> None:
        """Nothing is written before the handshake is over."""

    def on_stopping(self) -> None:
        """An exchange waits for this connection, and it is given the time to."""

    def on_deadline(self) -> None:
        self._fail(Fault(UPSTREAM_TIMEOUT_CONNECT, f"TLS, {self._opening.limit_ms} ms (timeouts.connect)"))

    def _fail(self, fault: Fault) -> None:
        self._deadline.drop()
        self._secure.abort()
        self._opening.pool.failed(self._opening, fault)
