"""Choosing servers and connections: shares, backups, second tries, and pools that are closed.

Not here: retries seen from both ends (`tests/plays/test_retry.py`).
"""

import socket
from collections.abc import Iterator

import pytest

from tests.conformance.stream import Spy
from vestibule.exchange import DOWN, Client, Exchange, Plan, Relays
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.http.fields import fields_of
from vestibule.http.h1 import HeadLimits
from vestibule.http.head import RequestHead
from vestibule.net.reactor import Reactor
from vestibule.proxy.door import response_table
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.upstream import Server, Upstream

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Town:
    """A reactor, houses that listen, and exchanges whose client is a spy."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.houses: list[socket.socket] = []
        self.pools: list[Pool] = []
        self.socks: list[socket.socket] = []
        self.book = AddressBook()

    def pool(self, limits: PoolLimits | None = None, host: str = "127.0.0.1") -> Pool:
        house = socket.create_server(("127.0.0.1", 0))
        house.setblocking(False)
        self.houses.append(house)
        target = Target(host, house.getsockname()[1], "", None, "")
        self.pools.append(Pool(self.reactor, target, self.book, limits or PoolLimits(), HeadLimits(), response_table()))
        return self.pools[-1]

    def ruin(self, at: int) -> None:
        """Nobody listens in this house any more."""
        self.houses[at].close()

    def ask(self, upstream: Upstream, method: bytes = b"GET") -> tuple[Spy, Exchange]:
        spy = Spy()
        ex = Exchange(spy, Client(b"192.0.2.1", 1, b"192.0.2.2", 80, b"http"), Plan("p", upstream), Relays(), self.reactor.now_ms)
        ex.on_request(RequestHead(method, b"/", b"a", fields_of([(b"Host", b"a")]), b"HTTP/1.1"), True)
        return spy, ex

    def turn(self, count: int = 4) -> None:
        for _ in range(count):
            self.reactor.turn(2)
            for house in self.houses:
                try:
                    self.socks.append(house.accept()[0])
                except OSError:
                    continue  # nobody came, or the house is ruined

    def answer_all(self) -> None:
        for sock in self.socks:
            sock.sendall(ANSWER)
        self.turn()

    def close(self) -> None:
        for sock in (*self.socks, *self.houses):
            sock.close()
        self.turn(3)
        assert [pool.connections for pool in self.pools] == [0] * len(self.pools)
        self.reactor.close()


@pytest.fixture
def town() -> Iterator[Town]:
    made = Town()
    yield made
    made.close()


def test_servers_get_their_share_evenly_spread(town: Town) -> None:
    upstream = Upstream("u", [Server(town.pool(), weight=3), Server(town.pool(), weight=1)])
    order = []
    for _ in range(8):
        before = town.pools[0].connections
        town.ask(upstream)
        order.append(int(town.pools[0].connections == before))
    assert order.count(0) == 6 and order[:4].count(1) == 1 and order[4:].count(1) == 1
    town.turn()


@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_a_refused_connection_goes_to_the_next_server(town: Town, method: bytes) -> None:
    """Nothing was sent, so even a POST may."""
    upstream = Upstream("u", [Server(town.pool()), Server(town.pool())])
    town.ruin(0)
    spy, ex = town.ask(upstream, method)
    town.turn()
    town.answer_all()
    assert ex.over and ex.fault is None and ex.tries == 2 and ex.upstream_name == town.pools[1].name
    assert spy.calls == ["head", "end", "release"]


def test_the_second_try_goes_to_another_server_whoever_is_next_in_turn(town: Town) -> None:
    """Round robin alone would meet the heavy server again."""
    upstream = Upstream("u", [Server(town.pool(), weight=10), Server(town.pool())])
    town.ruin(0)
    _, ex = town.ask(upstream)
    town.turn()
    town.answer_all()
    assert ex.over and ex.fault is None and ex.upstream_name == town.pools[1].name


def test_a_backup_serves_when_the_others_do_not(town: Town) -> None:
    upstream = Upstream("u", [Server(town.pool()), Server(town.pool(), backup=True)])
    for _ in range(3):
        town.ask(upstream)
    assert town.pools[1].connections == 0
    town.turn()
    town.answer_all()
    town.ruin(0)
    for pool in town.pools:
        pool.close()
    town.turn()
    _, ex = town.ask(upstream)
    town.turn()
    assert ex.tries == 2 and ex.upstream_name == town.pools[1].name
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    town.turn()


def test_when_nobody_listens_each_is_asked_once(town: Town) -> None:
    upstream = Upstream("u", [Server(town.pool()) for _ in range(4)], tries_most=3)
    for at in range(4):
        town.ruin(at)
    spy, ex = town.ask(upstream)
    town.turn(6)
    assert ex.over and ex.tries == 3 and ex.fault is not None and ex.fault.kind.name == "upstream.refused"
    assert spy.calls[0] == "head" and spy.calls[-1] == "release"


def test_a_connection_nobody_waits_for_any_more_is_kept(town: Town) -> None:
    pool = town.pool()
    upstream = Upstream("u", [Server(pool)])
    _, ex = town.ask(upstream)
    ex.on_fault(DOWN, Fault(CLIENT_GONE))
    town.turn()
    assert (pool.connections, pool.idle()) == (1, 1)
    _, ex = town.ask(upstream)
    assert ex.up is not None and pool.idle() == 0
    town.answer_all()
    assert ex.over and pool.idle() == 1


def test_no_more_idle_connections_than_allowed(town: Town) -> None:
    pool = town.pool(PoolLimits(idle_most=2))
    upstream = Upstream("u", [Server(pool)])
    for _ in range(5):
        town.ask(upstream)
    town.turn(6)
    assert pool.connections == 5
    town.answer_all()
    assert (pool.connections, pool.idle()) == (2, 2)


def test_a_closed_pool_finishes_what_it_serves(town: Town) -> None:
    pool = town.pool()
    upstream = Upstream("u", [Server(pool)])
    _, first = town.ask(upstream)
    _, second = town.ask(upstream)
    town.turn()
    town.socks[0].sendall(ANSWER)
    town.turn()
    assert (pool.connections, pool.idle()) == (2, 1)
    pool.close()
    town.turn()
    assert (pool.connections, pool.idle()) == (1, 0)
    town.socks[1].sendall(ANSWER)
    town.turn()
    assert first.over and second.over and pool.connections == 0


def test_the_connection_used_last_serves_first(town: Town) -> None:
    pool = town.pool()
    upstream = Upstream("u", [Server(pool)])
    for _ in range(2):
        town.ask(upstream)
    town.turn()
    town.socks[1].sendall(ANSWER)
    town.turn()
    town.socks[0].sendall(ANSWER)
    town.turn()
    for sock in town.socks:
        sock.recv(10_000)
    town.ask(upstream)
    town.turn()
    town.socks[1].setblocking(False)
    assert town.socks[0].recv(10_000).startswith(b"GET")
    with pytest.raises(BlockingIOError):
        town.socks[1].recv(1)


def test_addresses_come_from_the_book(town: Town) -> None:
    pool = town.pool(host="immich.internal")
    upstream = Upstream("u", [Server(pool)])
    _, ex = town.ask(upstream)
    town.turn()
    assert ex.fault is not None and ex.fault.kind.name == "upstream.unresolved" and ex.fault.detail == "immich.internal"
    town.book.update("immich.internal", ["127.0.0.1"])
    _, ex = town.ask(upstream)
    town.turn()
    town.answer_all()
    assert ex.over and ex.fault is None


@pytest.mark.parametrize(
    ("host", "path", "text"),
    [("a", "", "a:80"), ("::1", "", "[::1]:80"), ("192.0.2.1", "", "192.0.2.1:80"), ("", "/run/x", "unix:/run/x")],
)
def test_servers_are_named_as_logs_want_them(host: str, path: str, text: str) -> None:
    assert Target(host, 80, path, None, "").text() == text


def test_a_connection_begun_for_a_cancelled_exchange_serves_the_next(town: Town) -> None:
    """Otherwise a storm of cancelled requests would dial as often as it cancels."""
    upstream = Upstream("o", [Server(town.pool())])
    for _ in range(20):
        _, ex = town.ask(upstream)
        ex.on_fault(DOWN, Fault(CLIENT_GONE))
    _, ex = town.ask(upstream)
    town.turn()
    assert town.pools[0].connections == 1
    assert len(town.socks) == 1
    assert not ex.over
