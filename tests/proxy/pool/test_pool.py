"""Connections to one server: who gets which, who waits, what is closed, and what a server is told first.

Not here: which server (`test_upstream.py`), what is said on a connection (`tests/plays`, `tests/h2/test_up.py`).
"""

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.conformance.pair import Record, client_side, papers
from tests.proxy.town import ANSWER, Town
from vestibule.contract import DOWN
from vestibule.exchange import Exchange
from vestibule.fault import CLIENT_GONE, Fault
from vestibule.net.connect import Dialer
from vestibule.net.reactor import WRITE, Pollable, Reactor
from vestibule.net.tls import client_context, server_context
from vestibule.net.tls_transport import TlsTransport
from vestibule.proxy import pool as pool_module
from vestibule.proxy.keyed import Keying
from vestibule.proxy.pool import AddressBook, Pool, PoolLimits, Target
from vestibule.proxy.upstream import Server, Upstream


@pytest.fixture
def town() -> Iterator[Town]:
    made = Town()
    yield made
    made.close()


def upstream_of(pool: Pool) -> Upstream:
    return Upstream("u", [Server(pool)], tries_most=1)


def fault_of(ex: Exchange) -> str:
    assert ex.over and ex.fault is not None
    return ex.fault.kind.name


def leave(ex: Exchange) -> None:
    ex.on_fault(DOWN, Fault(CLIENT_GONE))


# ---------------------------------------------------------------- kept and new


def test_a_unix_socket_is_a_place_by_itself() -> None:
    target = Target("", 0, "/run/x", None, "")
    (place,) = target.endpoints(AddressBook())
    assert place.text() == target.text() == "unix:/run/x"


def test_an_address_of_our_own_reaches_those_of_its_family() -> None:
    target = Target("immich.internal", 2283, "", None, "")
    book = AddressBook()
    book.update("immich.internal", ["192.0.2.7", "2001:db8::7"])
    assert [(each.host, each.local) for each in target.endpoints(book)] == [("192.0.2.7", ""), ("2001:db8::7", "")]
    for local, there in (("127.0.0.1", "192.0.2.7"), ("::1", "2001:db8::7")):
        target.local = local
        assert [(each.host, each.local) for each in target.endpoints(book)] == [(there, local)]


def test_the_book_forgets_names_and_knows_addresses_by_themselves() -> None:
    book = AddressBook()
    book.update("immich.internal", ["192.0.2.7"])
    assert book.find("immich.internal") == ["192.0.2.7"] and book.version == 1
    assert book.names() == ["immich.internal"]
    book.forget("immich.internal")
    book.forget("never.known")
    assert book.find("immich.internal") == []


def test_a_name_is_where_the_book_says_now(town: Town) -> None:
    pool = town.pool(host="immich.internal")
    upstream = upstream_of(pool)
    _, ex = town.ask(upstream)
    town.turn()
    assert fault_of(ex) == "upstream.unresolved" and ex.fault is not None and ex.fault.detail == "immich.internal"
    town.book.update("immich.internal", ["127.0.0.1"])
    assert town.book.version == 1
    _, ex = town.ask(upstream)
    town.turn()
    town.answer_all()
    assert ex.over and ex.fault is None


@pytest.mark.parametrize(("method", "kept"), [(b"GET", True), (b"POST", False)])
def test_only_what_may_be_repeated_tries_a_connection_that_may_be_closed(town: Town, method: bytes, kept: bool) -> None:
    """The server has closed, and nobody has looked yet."""
    pool = town.pool()
    upstream = upstream_of(pool)
    town.ask(upstream)
    town.turn()
    town.answer_all()
    town.socks[0].close()
    _, ex = town.ask(upstream, method)
    assert (ex.up is not None) is kept, "it is given at once, or another is made"
    town.turn()
    assert len(town.socks) == 2
    town.socks[1].sendall(ANSWER)
    town.turn()
    assert ex.over and ex.fault is None


def test_what_cannot_be_repeated_has_a_kept_connection_that_is_well(town: Town) -> None:
    pool = town.pool()
    upstream = upstream_of(pool)
    town.ask(upstream)
    town.turn()
    town.answer_all()
    _, ex = town.ask(upstream, b"POST")
    assert ex.up is not None and pool.idle() == 0
    town.answer_all()
    assert ex.over and ex.fault is None and len(town.socks) == 1


def test_a_fresh_connection_is_made_beside_one_that_is_idle(town: Town) -> None:
    pool = town.pool()
    upstream = upstream_of(pool)
    town.ask(upstream)
    town.turn()
    town.answer_all()
    ex = town.exchange(upstream)
    pool.acquire(ex, True)
    town.turn()
    assert (pool.connections, pool.idle(), len(town.socks)) == (2, 1, 2)
    leave(ex)


# ---------------------------------------------------------------- waiting


def test_those_who_wait_are_served_in_turn_and_at_most_so_many(town: Town) -> None:
    pool = town.pool(PoolLimits(connections_most=1, waiting_most=2))
    upstream = upstream_of(pool)
    asked = [town.ask(upstream)[1] for _ in range(4)]
    town.turn()
    assert fault_of(asked[3]) == "upstream.busy" and asked[3].fault is not None and "2 requests wait" in asked[3].fault.detail
    assert pool.load() == 3 and pool.is_full()
    leave(asked[1])
    assert pool.load() == 2, "who left waits no more"
    town.answer_all()
    assert asked[0].over and not asked[2].over and pool.connections == 1, "the same connection serves the next"
    town.answer_all()
    assert asked[2].over and asked[2].fault is None and pool.idle() == 1


def test_who_waits_gets_the_place_of_a_connection_that_broke(town: Town) -> None:
    pool = town.pool(PoolLimits(connections_most=1))
    upstream = upstream_of(pool)
    _, first = town.ask(upstream)
    _, second = town.ask(upstream)
    town.turn()
    town.socks[0].close()
    town.turn()
    assert fault_of(first) == "upstream.lost" and len(town.socks) == 2
    town.socks[1].sendall(ANSWER)
    town.turn()
    assert second.over and second.fault is None


def test_waiting_ends_with_a_fault(town: Town) -> None:
    pool = town.pool(PoolLimits(connections_most=1, wait_ms=1_000))
    upstream = upstream_of(pool)
    _, first = town.ask(upstream)
    _, second = town.ask(upstream)
    town.turn()
    town.reactor.ahead_ms += 1_200
    town.turn()
    assert fault_of(second) == "upstream.busy" and not first.over and pool.load() == 1
    town.answer_all()


def test_a_connection_begun_for_a_cancelled_exchange_serves_the_next_or_is_kept(town: Town) -> None:
    pool = town.pool()
    upstream = upstream_of(pool)
    for _ in range(5):
        leave(town.ask(upstream)[1])
    _, ex = town.ask(upstream)
    _, gone = town.ask(upstream)
    leave(gone)
    town.turn()
    assert len(town.socks) == 2 and ex.up is not None and pool.idle() == 1
    town.answer_all()
    assert ex.over and pool.idle() == 1, "bytes that nobody asked for ended the other"


def test_a_closed_pool_keeps_nothing(town: Town) -> None:
    pool = town.pool(PoolLimits(idle_most=1))
    upstream = upstream_of(pool)
    asked = [town.ask(upstream)[1] for _ in range(3)]
    town.turn()
    for sock in town.socks[:2]:
        sock.sendall(ANSWER)
    town.turn()
    assert (pool.connections, pool.idle()) == (2, 1), "no more idle ones than allowed"
    pool.close()
    town.turn()
    assert (pool.connections, pool.idle()) == (1, 0)
    town.socks[2].sendall(ANSWER)
    town.turn()
    assert all(ex.over and ex.fault is None for ex in asked) and pool.connections == 0


def test_a_connection_that_was_made_for_nobody_and_one_that_could_not_be_made(town: Town) -> None:
    pool = town.pool()
    upstream = upstream_of(pool)
    _, ex = town.ask(upstream)
    _, other = town.ask(upstream)
    leave(ex)
    leave(other)
    town.ruin(0)
    town.turn()
    assert pool.connections == 0
    town.rebuild(0)


# ---------------------------------------------------------------- PROXY headers


def announced(town: Town, sock: socket.socket) -> bytes:
    """Return the first line that came on a connection."""
    town.turn()
    return sock.recv(10_000, socket.MSG_PEEK).partition(b"\r\n")[0]


def test_a_connection_that_names_a_client_serves_no_other(town: Town) -> None:
    pool = town.pool(keyed=Keying(1))
    upstream = upstream_of(pool)
    for address in (b"192.0.2.1", b"192.0.2.1", b"192.0.2.9"):
        _, ex = town.ask(upstream, address=address)
        town.turn()
        town.socks[-1].sendall(ANSWER)
        town.turn()
        assert ex.over and ex.fault is None
    assert len(town.socks) == 2 and pool.idle() == 2
    assert [announced(town, sock) for sock in town.socks] == [b"PROXY TCP4 192.0.2.%d 192.0.2.2 1 80" % at for at in (1, 9)]


def test_a_client_that_another_proxy_named_has_no_port(town: Town) -> None:
    pool = town.pool(keyed=Keying(1))
    ex = town.exchange(upstream_of(pool))
    ex.client_address = b"198.51.100.7"
    pool.acquire(ex, False)
    town.turn()
    assert announced(town, town.socks[0]) == b"PROXY TCP4 198.51.100.7 192.0.2.2 0 80"
    leave(ex)


@pytest.mark.parametrize(("method", "kept"), [(b"GET", True), (b"POST", False)])
def test_a_named_connection_that_was_closed_is_not_given_to_what_cannot_be_repeated(town: Town, method: bytes, kept: bool) -> None:
    pool = town.pool(keyed=Keying(1))
    upstream = upstream_of(pool)
    town.ask(upstream)
    town.turn()
    town.answer_all()
    town.socks[0].close()
    _, ex = town.ask(upstream, method)
    assert (ex.up is not None) is kept
    town.turn()
    assert len(town.socks) == 2 and not ex.over
    leave(ex)


def test_a_place_that_is_kept_for_another_client_is_given_up(town: Town) -> None:
    pool = town.pool(PoolLimits(connections_most=1), keyed=Keying(1))
    upstream = upstream_of(pool)
    town.ask(upstream)
    town.turn()
    town.answer_all()
    assert pool.idle() == 1
    _, other = town.ask(upstream, address=b"192.0.2.9")
    _, third = town.ask(upstream, address=b"192.0.2.7")
    town.turn()
    assert len(town.socks) == 2 and announced(town, town.socks[1]) == b"PROXY TCP4 192.0.2.9 192.0.2.2 1 80"
    assert pool.load() == 2, "the third waits"
    town.socks[1].sendall(ANSWER)
    town.turn()
    assert other.over and len(town.socks) == 3, "what named the second is closed, since the third waits"
    assert announced(town, town.socks[2]) == b"PROXY TCP4 192.0.2.7 192.0.2.2 1 80"
    town.socks[2].sendall(ANSWER)
    town.turn()
    assert third.over and third.fault is None


class Taken(Pollable):
    """What the reactor knows a descriptor as."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.fileno())
        self.sock = sock

    def close_fd(self) -> None:
        self.sock.close()


class Deaf:
    """Dials a server that is gone once it is connected."""

    def __init__(self, reactor: Reactor, dialer: Dialer, *_: object) -> None:
        self._reactor = reactor
        self._dialer = dialer

    def start(self) -> None:
        sock, self._far = socket.socketpair()
        sock.setblocking(False)
        sock.shutdown(socket.SHUT_WR)
        before = Taken(sock)
        self._reactor.add(before, WRITE)
        self._dialer.on_dialed(sock, before)
        self._far.close()


@pytest.mark.interpreted_only  # takes the place of what dials
def test_a_header_that_is_not_taken_is_a_server_that_cannot_be_reached(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "Dial", Deaf)
    pool = town.pool(keyed=Keying(1))
    _, ex = town.ask(upstream_of(pool))
    assert fault_of(ex) == "upstream.unreachable" and pool.connections == 0
    town.turn()


# ---------------------------------------------------------------- TLS


class Secured:
    """The server's side of a connection in TLS, which the reactor of the town turns."""

    def __init__(self, town: Town, alpn: tuple[str, ...] = ()) -> None:
        self.record = Record()
        sock = town.socks.pop()
        sock.setblocking(False)
        self.transport = TlsTransport(town.reactor, sock, self.record, server_context(*papers(), alpn=alpn), True, None)
        self.transport.start()


@pytest.mark.interpreted_only  # the owner is a trait, and those cannot be derived from
def test_tls_comes_first_and_its_time_counts(town: Town) -> None:
    pool = town.pool(tls=client_side())
    upstream = upstream_of(pool)
    _, ex = town.ask(upstream)
    town.turn()
    secured = Secured(town)
    town.wait(lambda: secured.record.got.startswith(b"GET / HTTP/1.1"))
    assert ex.connect_ms >= 0
    secured.transport.write(ANSWER)
    town.wait(lambda: ex.over)
    assert ex.fault is None and pool.idle() == 1
    secured.transport.abort()
    town.turn()
    assert pool.connections == 0


def test_a_handshake_that_takes_too_long_fails(town: Town) -> None:
    pool = town.pool(tls=client_side())
    _, ex = town.ask(upstream_of(pool))
    town.turn()
    town.reactor.ahead_ms += 5_200
    town.turn()
    assert fault_of(ex) == "upstream.timeout_connect" and ex.fault is not None and ex.fault.detail.startswith("TLS")
    assert pool.connections == 0


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_closes_or_speaks_no_tls_fails(town: Town, says: bytes) -> None:
    pool = town.pool(tls=client_side())
    _, ex = town.ask(upstream_of(pool))
    town.turn()
    with contextlib.suppress(OSError):
        town.socks[0].recv(10_000)
        town.socks[0].sendall(says)
    town.socks[0].close()
    town.turn()
    assert fault_of(ex) == "upstream.tls" and pool.name in (ex.fault.detail if ex.fault is not None else "")
    assert pool.connections == 0


@pytest.mark.interpreted_only  # the owner is a trait, and those cannot be derived from
@pytest.mark.parametrize("alpn", [(), ("h2",)])
def test_http2_in_tls_is_what_the_server_agrees_to(town: Town, alpn: tuple[str, ...]) -> None:
    pool = town.pool(tls=client_context(verify=False, offers=("h2",)), h2=True)
    _, ex = town.ask(upstream_of(pool))
    town.turn()
    secured = Secured(town, alpn)
    if alpn:
        town.wait(lambda: secured.record.got.startswith(b"PRI * HTTP/2.0"))
        leave(ex)
    else:
        town.wait(lambda: ex.over)
        assert fault_of(ex) == "upstream.tls" and "ALPN" in (ex.fault.detail if ex.fault is not None else "")
        assert pool.connections == 0
    secured.transport.abort()
    town.turn()
    assert pool.connections == 0


# ---------------------------------------------------------------- bytes


def test_a_raw_connection_is_one_exchange(town: Town) -> None:
    pool = town.pool(raw=True)
    ex = town.exchange(upstream_of(pool))
    pool.acquire(ex, False)
    town.turn()
    assert ex.up is not None and ex.connect_ms >= 0 and pool.connections == 1
    leave(ex)
    town.turn()
    assert pool.connections == 0


def test_a_raw_connection_made_for_nobody_is_closed_and_not_given_to_another(town: Town) -> None:
    pool = town.pool(PoolLimits(connections_most=2), raw=True)
    upstream = upstream_of(pool)
    exchanges = [town.exchange(upstream) for _ in range(3)]
    pool.acquire(exchanges[0], False)
    pool.cancel(exchanges[0])
    for ex in exchanges[1:]:
        pool.acquire(ex, False)
    town.turn()
    assert len(town.socks) == 3 and pool.connections == 2 and all(ex.up is not None for ex in exchanges[1:])
    for ex in exchanges[1:]:
        leave(ex)
    town.turn()


# ---------------------------------------------------------------- datagrams


def test_a_session_has_a_socket_of_its_own_at_once_or_a_fault(town: Town) -> None:
    pool = town.pool(PoolLimits(connections_most=1), host="dns.internal", datagrams=True)
    upstream = upstream_of(pool)
    lost = town.exchange(upstream)
    pool.acquire(lost, False)
    assert fault_of(lost) == "upstream.unresolved" and lost.fault is not None and lost.fault.detail == "dns.internal"
    town.book.update("dns.internal", ["255.255.255.255"])
    barred = town.exchange(upstream)
    pool.acquire(barred, False)
    assert fault_of(barred) == "upstream.unreachable" and pool.connections == 0
    town.book.update("dns.internal", ["255.255.255.255", "127.0.0.1"])
    first, second = town.exchange(upstream), town.exchange(upstream)
    pool.acquire(first, False)
    assert first.up is not None and pool.connections == 1, "by the address that can be reached"
    pool.acquire(second, False)
    assert fault_of(second) == "upstream.busy" and pool.waiting() == 0, "nobody waits with datagrams in hand"
    leave(first)
    town.turn()


# ---------------------------------------------------------------- shared (HTTP/2)


def shared(town: Town, streams: int = 100, limits: PoolLimits | None = None) -> tuple[Pool, Upstream]:
    town.streams = streams
    pool = town.pool(limits, h2=True)
    return pool, upstream_of(pool)


def answer(town: Town, far: int, *streams: int) -> None:
    for stream in streams:
        town.fars[far].head(stream, end=True)
    town.turn()


def test_requests_wait_for_the_first_answer_to_a_greeting_and_share_it(town: Town) -> None:
    pool, upstream = shared(town)
    asked = [town.ask(upstream)[1] for _ in range(3)]
    assert pool.connections == 1 and pool.load() == 3
    town.wait(lambda: bool(town.fars) and len(town.fars[0].heads) == 3)
    answer(town, 0, 1, 3, 5)
    assert all(ex.over and ex.fault is None for ex in asked) and pool.load() == 0 and pool.connections == 1


def test_a_full_connection_gets_another_beside_it(town: Town) -> None:
    pool, upstream = shared(town, streams=1)
    _, first = town.ask(upstream)
    town.wait(lambda: bool(town.fars) and len(town.fars[0].heads) == 1)
    _, second = town.ask(upstream)
    town.wait(lambda: len(town.fars) == 2 and len(town.fars[1].heads) == 1)
    answer(town, 0, 1)
    answer(town, 1, 1)
    assert first.over and second.over and pool.connections == 2


def test_what_is_limited_are_requests(town: Town) -> None:
    pool, upstream = shared(town, limits=PoolLimits(connections_most=1))
    asked = [town.ask(upstream)[1] for _ in range(3)]
    town.wait(lambda: bool(town.fars) and len(town.fars[0].heads) == 1)
    assert pool.is_full() and pool.load() == 3
    leave(asked[1])
    answer(town, 0, 1)
    town.wait(lambda: len(town.fars[0].heads) == 2)
    answer(town, 0, 3)
    assert asked[0].over and asked[2].over and asked[2].fault is None and pool.load() == 0


def test_a_shared_connection_begun_for_a_cancelled_exchange_serves_the_next_and_stays(town: Town) -> None:
    pool, upstream = shared(town)
    for _ in range(5):
        leave(town.ask(upstream)[1])
    assert pool.load() == 0 and pool.connections == 1
    _, ex = town.ask(upstream)
    town.wait(lambda: bool(town.fars) and len(town.fars[0].heads) == 1)
    answer(town, 0, 1)
    assert ex.over and len(town.fars) == 1
    pool.close()
    town.turn()
    assert pool.connections == 0
    leave(town.ask(upstream)[1])
    town.wait(lambda: len(town.fars) == 2)
    assert pool.connections == 1, "nobody wants it, and the next may"


@pytest.mark.parametrize(("method", "kept"), [(b"GET", True), (b"POST", False)])
def test_an_idle_shared_connection_is_looked_at_before_what_cannot_be_repeated(town: Town, method: bytes, kept: bool) -> None:
    _pool, upstream = shared(town)
    town.ask(upstream)
    town.wait(lambda: bool(town.fars) and len(town.fars[0].heads) == 1)
    answer(town, 0, 1)
    town.socks[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    town.socks[0].close()
    del town.fars[0]
    _, ex = town.ask(upstream, method)
    assert (ex.up is not None) is kept
    town.wait(lambda: bool(town.fars) and len(town.fars[0].heads) == 1)
    answer(town, 0, 1)
    assert ex.over and ex.fault is None


def test_those_who_wait_for_a_connection_that_does_not_come_about_wait_no_longer(town: Town) -> None:
    pool, upstream = shared(town)
    town.ruin(0)
    asked = [town.ask(upstream)[1] for _ in range(3)]
    town.turn()
    assert [fault_of(ex) for ex in asked] == ["upstream.refused"] * 3 and (pool.connections, pool.load()) == (0, 0)


def test_those_who_wait_are_served_by_another_when_the_shared_one_breaks(town: Town) -> None:
    _pool, upstream = shared(town, limits=PoolLimits(connections_most=1))
    _, first = town.ask(upstream)
    _, second = town.ask(upstream, b"POST")
    town.wait(lambda: bool(town.fars) and len(town.fars[0].heads) == 1)
    town.socks[0].close()
    town.fars.clear()
    town.wait(lambda: bool(town.fars) and len(town.fars[0].heads) == 1)
    assert fault_of(first) == "upstream.lost"
    answer(town, 0, 1)
    assert second.over and second.fault is None


def test_a_closed_pool_of_shared_connections_finishes_what_it_serves(town: Town) -> None:
    pool, upstream = shared(town)
    asked = [town.ask(upstream)[1] for _ in range(2)]
    town.wait(lambda: bool(town.fars) and len(town.fars[0].heads) == 2)
    pool.close()
    answer(town, 0, 1)
    assert asked[0].over and pool.connections == 1
    answer(town, 0, 3)
    assert asked[1].over and pool.connections == 0
