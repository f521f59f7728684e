"""Rigs of the HTTP/1 streams, plain and TLS: a client connection, and a connection to an upstream."""

import socket

from vestibule.contract import DOWN, UP, Client, Plan, Relays, Source, Timeouts
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, UPSTREAM_TRUNCATED, Fault
from vestibule.http.fields import FieldsTable, fields_of
from vestibule.http.h1 import DATA, HEAD, NEED, PAUSED, HeadLimits, RequestReader, ResponseReader, chunk_bytes
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.listen import Listener
from vestibule.net.reactor import Reactor
from vestibule.net.tls import TlsChoice
from vestibule.proxy.door import Door, Porch, Tally, response_table
from vestibule.proxy.entry import Entry
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.upstream import Server, Upstream

from .pair import Far, FarTls, server_side
from .stream import Rig, Spy

# Upstreams are part of the configuration: they and their servers know each other, and outlive exchanges.
_TABLES: list[Upstream] = []


class SpySource(Source):
    """Answers with a spy."""

    def __init__(self, spy: Spy) -> None:
        self.spy = spy
        self.ex: Exchange | None = None

    def start(self, ex: Exchange) -> None:
        self.ex = ex
        ex.connected(self.spy, "spy")


def listen(reactor: Reactor, source: Source, tally: Tally, secure: bool, raw: bool = False) -> tuple[Listener, Far]:
    """Have a listener of ours take one client, whose connection is the far end; with `raw` it passes on what it reads."""
    choice = TlsChoice(server_side(), server_side()) if secure else None
    door = Door("rig", Plan("rig", source), HeadLimits(), Timeouts(), tls=choice, http2=True, raw=raw)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    listener = Listener(reactor, listening, Entry(Porch(reactor, door, Relays(), tally)))
    listener.start()
    sock = socket.create_connection(listening.getsockname())
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener, FarTls(sock) if secure else Far(sock)


def dial(reactor: Reactor, spy: Spy, h2: bool) -> tuple[Exchange, Pool, Far]:
    """Begin a request with a body to a server; return it, the pool of its connection, and the server's end."""
    house = socket.create_server(("127.0.0.1", 0))
    target = Target("127.0.0.1", house.getsockname()[1], "", None, "", h2=h2)
    pool = Pool(reactor, target, AddressBook(), PoolLimits(), HeadLimits(), response_table())
    client = Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http")
    upstream = Upstream("rig", [Server(pool)])
    _TABLES.append(upstream)
    ex = Exchange(spy, client, Plan("rig", upstream), Relays(), reactor.now_ms)
    fields = FieldsTable(0, 100).find(b"Host: a\r\nTransfer-Encoding: chunked\r\n")
    ex.on_request(RequestHead(b"POST", b"/", b"a", fields, b"HTTP/1.1"), False)
    sock, _ = house.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    house.close()
    return ex, pool, Far(sock)


class H1Rig(Rig):
    """What both sides share: the reader at the far end, and the chunk coding."""

    far: Far
    reactor: Reactor
    reader: RequestReader | ResponseReader

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.turn(1)
            self.far.work()
        self._read()

    def _read(self) -> None:
        if not self.far.got:
            return
        self.reader.feed(bytes(self.far.got))
        self.far.got.clear()
        while True:
            event = self.reader.next()
            if event == DATA:
                self._heard += self.reader.data
            elif event != HEAD:
                assert event in (NEED, PAUSED)
                return

    _heard = b""

    def heard(self) -> bytes:
        return self._heard

    def state(self) -> str:
        if self.reader.is_over():
            return "whole"
        return "cut" if self.far.ended or self.far.broken else "open"

    def say(self, data: bytes, end: bool) -> None:
        self.far.send((chunk_bytes(data) if data else b"") + (b"0\r\n\r\n" if end else b""))

    def stall(self, stalled: bool) -> None:
        self.far.reads = not stalled

    def leave(self) -> None:
        self.far.reset()


class H1DownRig(H1Rig):
    """The client connection is under test; the spy is its upstream."""

    def __init__(self, secure: bool) -> None:
        self.side = DOWN
        self.spy = Spy()
        self.reactor = Reactor()
        self.source = SpySource(self.spy)
        self.tally = Tally()
        self.listener, self.far = listen(self.reactor, self.source, self.tally, secure)
        self.reader = ResponseReader(HeadLimits(), response_table())
        self.reader.expect(b"POST")
        self.far.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.until(lambda: self.source.ex is not None)
        assert self.source.ex is not None
        self.ex = self.source.ex
        assert self.ex.down is not None
        self.stream = self.ex.down
        self.ex.on_response(ResponseHead(200, b"OK", fields_of([])), False)

    def push(self, data: bytes, end: bool) -> None:
        self.ex.on_response_body(data, end)

    def fail(self) -> None:
        self.ex.on_fault(UP, Fault(UPSTREAM_TRUNCATED))

    def close(self) -> None:
        self.far.close()
        self.listener.stop()
        self.reactor.turn(1)
        self.reactor.turn(1)
        assert self.tally.connections == 0 and self.tally.exchanges == 0
        self.reactor.close()
        self.source.ex = None


class H1UpRig(H1Rig):
    """The connection to an upstream is under test; the spy is the client."""

    def __init__(self) -> None:
        self.side = UP
        self.spy = Spy()
        self.reactor = Reactor()
        self.ex, self.pool, self.far = dial(self.reactor, self.spy, h2=False)
        self.reader = RequestReader(HeadLimits(), FieldsTable(0, 100))
        self.until(lambda: self.ex.up is not None)
        assert self.ex.up is not None
        self.stream = self.ex.up
        self.far.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.until(lambda: "head" in self.spy.calls)

    def push(self, data: bytes, end: bool) -> None:
        self.ex.on_request_body(data, end)

    def fail(self) -> None:
        self.ex.on_fault(DOWN, Fault(CLIENT_GONE))

    def close(self) -> None:
        self.far.close()
        for _ in range(3):
            self.reactor.turn(1)
        assert self.pool.connections == 0
        self.reactor.close()


def down() -> Rig:
    return H1DownRig(False)


def down_tls() -> Rig:
    return H1DownRig(True)


def up() -> Rig:
    return H1UpRig()
