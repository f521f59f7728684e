"""Servers that names stand for: they come and go as DNS says, and those that stay are not disturbed."""

from collections.abc import Iterator

import pytest

from tests.proxy.yard import Yard
from vestibule.http.h1 import HeadLimits
from vestibule.proxy.door import response_table
from vestibule.proxy.family import Family, Kin, PoolMaker
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.upstream import Upstream


class Pools(PoolMaker):
    def __init__(self, yard: Yard, book: AddressBook) -> None:
        self.made: list[Pool] = []
        self._yard = yard
        self._book = book

    def make(self, host: str, port: int) -> Pool:
        target = Target(host, port, "", None, "")
        self.made.append(Pool(self._yard.reactor, target, self._book, PoolLimits(), HeadLimits(), response_table()))
        return self.made[-1]


@pytest.fixture
def yard() -> Iterator[Yard]:
    made = Yard()
    yield made
    made.close()


def upstream_of(yard: Yard, is_srv: bool) -> tuple[Upstream, Pools, Kin]:
    book = AddressBook()
    pools = Pools(yard, book)
    kin = Kin(pools, book)
    family = Family(kin, yard.board, "u", "immich.test", 2283, is_srv, 3, False, 1, False)
    return Upstream("u", [], board=yard.board, families=[family], reactor=yard.reactor), pools, kin


def names(upstream: Upstream, yard: Yard) -> list[str]:
    upstream.choose(yard.exchange())
    return [server.pool.name for server in upstream.servers]


@pytest.mark.interpreted_only  # who makes pools is a trait, and those cannot be derived from
def test_every_address_is_a_server(yard: Yard) -> None:
    upstream, pools, kin = upstream_of(yard, False)
    book = kin.book
    assert upstream.choose(yard.exchange()) is None
    book.update("immich.test", ["192.0.2.9"])
    assert names(upstream, yard) == [], "this is what other servers of the name look at"
    book.update("all:immich.test", ["192.0.2.1", "2001:db8::1"])
    assert names(upstream, yard) == ["192.0.2.1:2283", "[2001:db8::1]:2283"]
    kept = upstream.servers[0]
    kept.standing.fails = 2
    book.update("all:immich.test", ["192.0.2.3", "192.0.2.1"])
    assert names(upstream, yard) == ["192.0.2.3:2283", "192.0.2.1:2283"]
    assert upstream.servers[1] is kept and kept.standing.fails == 2
    assert [pool.closing for pool in pools.made] == [False, True, False]
    assert kin.all() == [pools.made[0], pools.made[2]]
    assert [server.bit for server in upstream.servers] == [1, 2]
    assert all(server.weight == 3 for server in upstream.servers)


@pytest.mark.interpreted_only  # who makes pools is a trait, and those cannot be derived from
def test_services_bring_ports_weights_and_priorities(yard: Yard) -> None:
    upstream, _, kin = upstream_of(yard, True)
    book = kin.book
    book.update("srv:immich.test", ["192.0.2.1 2283 5 10", "192.0.2.2 2284 0 20"])
    assert names(upstream, yard) == ["192.0.2.1:2283", "192.0.2.2:2284"]
    assert [(server.weight, server.priority) for server in upstream.servers] == [(5, 11), (1, 21)]
    assert {upstream.choose(yard.exchange()) for _ in range(3)} == {upstream.servers[0]}
    before = upstream.servers[0].pool
    book.update("srv:immich.test", ["192.0.2.1 2283 7 10"])
    assert names(upstream, yard) == ["192.0.2.1:2283"]
    assert upstream.servers[0].weight == 7 and upstream.servers[0].pool is before
