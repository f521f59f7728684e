"""Rigs of connections that are passed on as they are: a client's, plain and inside TLS, and one to a server.

Facts: nothing frames these bytes. Whole is what ends in good order, cut what breaks.
"""

import socket

from vestibule.contract import DOWN, UP, Client, Plan, Relays
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, UPSTREAM_LOST, Fault
from vestibule.http.fields import EMPTY
from vestibule.http.h1 import HeadLimits
from vestibule.http.head import RequestHead, ResponseHead
from vestibule.net.reactor import Reactor
from vestibule.proxy.door import Tally, response_table
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.upstream import Server, Upstream

from .pair import Far
from .rigs_h1 import SpySource, listen
from .stream import Rig, Spy

# As in `rigs_h1`: upstreams outlive exchanges.
_TABLES: list[Upstream] = []


class RawRig(Rig):
    """What both sides share: bytes without framing."""

    far: Far
    reactor: Reactor
    _ends = False

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.turn(1)
            self.far.work()
            if self._ends and not self.far.unsent and self.far.sock.fileno() >= 0:
                self._ends = False
                self.far.finish()

    def heard(self) -> bytes:
        return bytes(self.far.got)

    def state(self) -> str:
        if self.far.broken:
            return "cut"
        return "whole" if self.far.ended else "open"

    def say(self, data: bytes, end: bool) -> None:
        if self.far.sock.fileno() >= 0:
            self.far.send(data)
            self._ends = self._ends or end

    def stall(self, stalled: bool) -> None:
        self.far.reads = not stalled

    def leave(self) -> None:
        self.far.reset()


class RawDownRig(RawRig):
    """The client's connection is under test; the spy is its server."""

    def __init__(self, secure: bool) -> None:
        self.side = DOWN
        self.spy = Spy()
        self.reactor = Reactor()
        self.source = SpySource(self.spy)
        self.tally = Tally()
        self.listener, self.far = listen(self.reactor, self.source, self.tally, secure, raw=True)
        self.until(lambda: self.source.ex is not None)
        assert self.source.ex is not None
        self.ex = self.source.ex
        assert self.ex.down is not None
        self.stream = self.ex.down
        self.ex.on_switched(ResponseHead(200, b"", EMPTY))

    def push(self, data: bytes, end: bool) -> None:
        self.ex.on_response_body(data, end)

    def fail(self) -> None:
        self.ex.on_fault(UP, Fault(UPSTREAM_LOST))

    def close(self) -> None:
        if not self.ex.over:
            self.fail()  # an end of the peer alone would leave the other direction open
        self.far.close()
        self.listener.stop()
        for _ in range(3):
            self.reactor.turn(1)
        assert self.tally.connections == 0 and self.tally.exchanges == 0 and self.tally.tunnels == 0
        self.reactor.close()
        self.source.ex = None


class RawUpRig(RawRig):
    """The connection to a server is under test; the spy is the client."""

    def __init__(self) -> None:
        self.side = UP
        self.spy = Spy()
        self.reactor = Reactor()
        house = socket.create_server(("127.0.0.1", 0))
        self.pool = Pool(
            self.reactor,
            Target("127.0.0.1", house.getsockname()[1], "", None, "", raw=True),
            AddressBook(),
            PoolLimits(),
            HeadLimits(),
            response_table(),
        )
        client = Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http")
        upstream = Upstream("rig", [Server(self.pool)])
        _TABLES.append(upstream)
        self.ex = Exchange(self.spy, client, Plan("rig", upstream), Relays(), self.reactor.now_ms)
        self.ex.on_request(RequestHead(b"TCP", b"-", b"", EMPTY, b"TCP"), False)
        sock, _ = house.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        house.close()
        self.far = Far(sock)
        self.until(lambda: self.ex.up is not None)
        assert self.ex.up is not None
        self.stream = self.ex.up
        assert self.spy.calls == ["head"]

    def push(self, data: bytes, end: bool) -> None:
        self.ex.on_request_body(data, end)

    def fail(self) -> None:
        self.ex.on_fault(DOWN, Fault(CLIENT_GONE))

    def close(self) -> None:
        if not self.ex.over:
            self.fail()  # an end of the peer alone would leave the other direction open
        self.far.close()
        for _ in range(3):
            self.reactor.turn(1)
        assert self.pool.connections == 0
        self.reactor.close()


def raw_down() -> Rig:
    return RawDownRig(False)


def raw_down_tls() -> Rig:
    return RawDownRig(True)


def raw_up() -> Rig:
    return RawUpRig()
