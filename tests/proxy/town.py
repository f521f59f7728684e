"""Servers on the loopback that a test plays, pools of connections to them, and exchanges whose client is a spy."""

import socket
import ssl
import time
from collections.abc import Callable

from tests.conformance.stream import Spy
from tests.h2.far import Far
from vestibule.contract import Client, Plan, Relays, Timeouts
from vestibule.exchange import Exchange
from vestibule.http.fields import fields_of
from vestibule.http.h1 import HeadLimits
from vestibule.http.head import RequestHead
from vestibule.net.reactor import Reactor
from vestibule.proxy.door import response_table
from vestibule.proxy.keyed import Keying
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.upstream import Upstream

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Town:
    """A reactor, houses that listen, and exchanges whose client is a spy."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.houses: list[socket.socket] = []
        self.pools: list[Pool] = []
        self.socks: list[socket.socket] = []
        self.fars: list[Far] = []  # connections to houses that speak HTTP/2
        self.streams = 100  # that those take at a time
        self.tunnels = False  # they take WebSockets
        self.book = AddressBook()

    def pool(
        self,
        limits: PoolLimits | None = None,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        keyed: Keying | None = None,
        raw: bool = False,
        h2: bool = False,
        datagrams: bool = False,
    ) -> Pool:
        house = socket.create_server(("127.0.0.1", 0))
        house.setblocking(False)
        self.houses.append(house)
        target = Target(host, house.getsockname()[1], "", tls, "", keyed, raw, h2, datagrams)
        self.pools.append(Pool(self.reactor, target, self.book, limits or PoolLimits(), HeadLimits(), response_table()))
        return self.pools[-1]

    def ruin(self, at: int) -> None:
        """Nobody listens in this house any more."""
        self.houses[at].close()

    def rebuild(self, at: int) -> None:
        """Somebody does again."""
        self.houses[at] = socket.create_server(("127.0.0.1", self.pools[at].target.port))
        self.houses[at].setblocking(False)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Turn until a condition holds, 5 s at most."""
        end = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < end
            self.turn(1)

    def exchange(self, upstream: Upstream, spy: Spy | None = None, hold_ms: int = 0, address: bytes = b"192.0.2.1") -> Exchange:
        client = Client(address, 1, b"192.0.2.2", 80, b"http")
        plan = Plan("p", upstream, timeouts=Timeouts(hold_ms=hold_ms))
        return Exchange(spy or Spy(), client, plan, Relays(), self.reactor.now_ms)

    def ask(
        self,
        upstream: Upstream,
        method: bytes = b"GET",
        hold_ms: int = 0,
        address: bytes = b"192.0.2.1",
        client: Client | None = None,
        host: bytes = b"a",
    ) -> tuple[Spy, Exchange]:
        spy = Spy()
        ex = self.exchange(upstream, spy, hold_ms, address)
        if client is not None:
            client.requests += 1
            ex.client = client
        ex.on_request(RequestHead(method, b"/", host, fields_of([(b"Host", host)]), b"HTTP/1.1"), True)
        return spy, ex

    def turn(self, count: int = 4) -> None:
        for _ in range(count):
            self.reactor.turn(2)
            for house, pool in zip(self.houses, self.pools, strict=True):
                try:
                    self.socks.append(house.accept()[0])
                except OSError:
                    continue  # nobody came, or the house is ruined
                if pool.target.h2 and pool.target.tls is None:
                    self.fars.append(Far(self.socks[-1], self.streams, tunnels=self.tunnels))
            for far in self.fars:
                far.work()

    def answer_all(self) -> None:
        for sock in self.socks:
            sock.sendall(ANSWER)
        self.turn()

    def close(self) -> None:
        self.fars.clear()
        for sock in (*self.socks, *self.houses):
            sock.close()
        self.turn(3)
        assert [pool.connections for pool in self.pools] == [0] * len(self.pools)
        self.reactor.close()
