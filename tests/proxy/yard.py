"""Servers whose load a test sets, and exchanges to choose for; nothing is connected."""

from collections import Counter
from collections.abc import Iterable

from tests.conformance.stream import Spy
from vestibule.contract import Client, Plan, Relays, Timeouts
from vestibule.exchange import Exchange
from vestibule.http.fields import fields_of
from vestibule.http.h1 import HeadLimits
from vestibule.http.head import RequestHead
from vestibule.net.reactor import Reactor
from vestibule.plan.sources.fixed import Respond
from vestibule.proxy.balance import Balancer, Server
from vestibule.proxy.door import response_table
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.standing import Board


class Yard:
    """A reactor and servers with weights."""

    def __init__(self, *weights: int, most: int = -1) -> None:
        self.reactor = Reactor()
        self.board = Board()
        self.servers = [self.server(at, weight, most) for at, weight in enumerate(weights)]

    def server(self, at: int, weight: int = 1, most: int = -1) -> Server:
        target = Target("127.0.0.1", 1000 + at, "", None, "")
        pool = Pool(self.reactor, target, AddressBook(), PoolLimits(connections_most=most), HeadLimits(), response_table())
        return Server(pool, weight, standing=self.board.find(f"u {pool.name}"))

    def exchange(self, address: str = "192.0.2.1", target: str = "/", headers: Iterable[tuple[bytes, bytes]] = ()) -> Exchange:
        plan = Plan("p", Respond(204, [], [], None), timeouts=Timeouts())
        ex = Exchange(Spy(), Client(address.encode(), 1, b"192.0.2.2", 80, b"http"), plan, Relays(), self.reactor.now_ms)
        ex.request = RequestHead(b"GET", target.encode(), b"a", fields_of([(b"Host", b"a"), *headers]), b"HTTP/1.1")
        ex.request_ended = True
        return ex

    def count(self, balancer: Balancer, times: int, keep: bool = False) -> Counter[int]:
        """Choose so many times; `keep` leaves each request in flight."""
        counts: Counter[int] = Counter()
        for n in range(times):
            chosen = balancer.choose(self.servers, self.exchange(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"/{n}"))
            counts[self.servers.index(chosen)] += 1
            if keep:
                chosen.pool.connections += 1
        return counts

    def close(self) -> None:
        self.reactor.close()
