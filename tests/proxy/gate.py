"""One listener without its socket: connections that a test hands in, and the far ends of them."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cast import Slow
from tests.conformance.pair import Far, FarTls, papers, tcp_pair
from vestibule.contract import DOWN, Plan, Relays, Source, Timeouts
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.http.address import NetworkSet
from vestibule.http.h1 import HeadLimits
from vestibule.net.reactor import Reactor
from vestibule.net.tls import TlsChoice, client_context, server_context
from vestibule.net.transport import Transport
from vestibule.proxy.door import Door, Porch, Tally
from vestibule.proxy.entry import Entry

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Says(Source):
    """Answers, and remembers of whom it was asked."""

    def __init__(self) -> None:
        self.asked: list[Exchange] = []

    def start(self, ex: Exchange) -> None:
        self.asked.append(ex)
        ex.answer(200, [], b"ok")


class Waits(Slow):
    """Has every exchange wait for a server that the test plays."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Exchange] = []

    def start(self, ex: Exchange) -> None:
        super().start(ex)
        self.all.append(ex)


class Gate:
    """A porch whose door the test chooses."""

    def __init__(
        self,
        source: Source | None = None,
        tls: TlsChoice | None = None,
        announcers: NetworkSet | None = None,
        http1: bool = True,
        http2: bool = False,
        raw: bool = False,
        inspects: int = -1,
        connections_most: int = -1,
        connections_rate: int = -1,
        **times: int,
    ) -> None:
        self.reactor = Reactor()
        self.tally = Tally()
        self.says = Says()
        self.slow = Waits()
        self.plan = Plan("gate", source or (self.slow if raw else self.says), timeouts=Timeouts(**times))
        door = Door("gate", self.plan, HeadLimits(), Timeouts(**times), tls, http2)
        door.announcers, door.http1, door.raw, door.inspects = announcers, http1, raw, inspects
        door.connections_most, door.connections_rate = connections_most, connections_rate
        self.porch = Porch(self.reactor, door, Relays(), self.tally)
        self.entry = Entry(self.porch)
        self.fars: list[Far] = []

    def connect(self) -> Far:
        """Return the far end of a new connection."""
        near, sock = tcp_pair(False)
        self.fars.append(Far(sock))
        self.entry.on_accepted(near, *ends_of(near))
        return self.fars[-1]

    def secure(self, context: ssl.SSLContext | None = None, name: str = "localhost", before: bytes = b"") -> FarTls:
        """Return the far end of a new connection that speaks TLS, after saying something else."""
        near, sock = tcp_pair(False)
        sock.sendall(before)
        far = FarTls(sock, context, name)
        self.fars.append(far)
        self.entry.on_accepted(near, *ends_of(near))
        return far

    def turn(self, count: int = 4) -> None:
        for _ in range(count):
            self.reactor.turn(1)
            for far in self.fars:
                far.work()

    def pass_time(self, seconds: float) -> None:
        self.turn(2)
        self.reactor.ahead_ms += int(seconds * 1000) + 101
        self.turn(4)

    def exchange(self) -> Exchange:
        """Return the exchange that reached the source."""
        assert self.slow.ex is not None
        return self.slow.ex

    def owner(self) -> object:
        """Return who has the only connection."""
        (transport,) = [each for each in self.reactor.pollables() if isinstance(each, Transport)]
        return transport.owner

    def stop(self) -> None:
        """Tell every connection that the worker stops."""
        for each in self.reactor.pollables():
            if isinstance(each, Transport) and each.owner is not None:
                each.owner.on_stopping()
        self.turn()

    def close(self) -> None:
        for far in self.fars:
            far.close()
        self.turn()
        for ex in self.slow.all:
            ex.on_fault(DOWN, Fault(CLIENT_GONE))  # an end alone leaves the other direction open
        for each in self.reactor.pollables():
            if isinstance(each, Transport):
                each.abort()
        self.turn(1)
        tally = self.tally
        assert (tally.connections, tally.exchanges, tally.tunnels) == (0, 0, 0)
        self.reactor.close()


@contextmanager
def gate(*args: Source | None, **settings: object) -> Iterator[Gate]:
    """Have a gate, and see that nothing is left of it."""
    made = Gate(*args, **settings)  # type: ignore[arg-type]
    yield made
    made.close()


def choice(*alpn: str) -> TlsChoice:
    """Return a choice of one certificate for every name."""
    made = server_context(*papers(), alpn=alpn)
    chosen = TlsChoice(made, made)
    chosen.arm()
    return chosen


def ends_of(sock: socket.socket) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return what a listener tells of a connection."""
    peer, local = sock.getpeername(), sock.getsockname()
    return (peer[0], peer[1]), (local[0], local[1])


def client(protocol: str = "") -> ssl.SSLContext:
    """Return a client that offers one protocol, or none."""
    return client_context(verify=False, offers=(protocol,) if protocol else ())


def hello(name: str = "immich.example", *alpn: str) -> bytes:
    """Return what a client of TLS says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outward = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outward, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outward.read()
    raise AssertionError("a handshake with nobody")


def unix_pair() -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    return near, far
